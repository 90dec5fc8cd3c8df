"""Writes the files of pairs that packed.rs reads, and figures.json, which it compares with.

    python -m venv venv && venv/bin/pip install scikit-learn==1.9.1 numpy==2.4.6 pillow==13.0.0
    venv/bin/python generate.py

A file of pairs is what InsightFace's lfw2pack.py makes: pickle.dump((pictures, issame)). Those of Python 2 are written
instruction by instruction, as its pickle.py does, since there is no Python 2 any more; that they are right, Python 3 says by
reading them.

The figures are those of the functions of recognition/arcface_torch/eval/verification.py, as the test of embedding-eval has them
(generate_insightface.py there), on sums of embeddings of pictures and of their mirror images, as its test() makes them.
"""

import io
import json
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[3].parent / "crates/embedding-eval/tests"))
from generate_insightface import calculate_roc, calculate_val  # noqa: E402


def picture(number):
    """One colour; the last is a JPEG."""
    image = Image.new("RGB", (16, 16), (10 * number, 20 * number, 255 - 10 * number))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95) if number == 7 else image.save(file, "PNG", optimize=True)
    return file.getvalue()


def python_2(pictures, same, protocol):
    """What Python 2.7 writes: pickle.Pickler.save_tuple, save_list, save_string, save_bool and memoize."""
    out, memo, places = [], 0, {}

    def put():
        nonlocal memo
        out.append(b"p%d\n" % memo if protocol == 0 else b"q" + bytes([memo]))
        memo += 1

    def string(data):
        if id(data) in places:
            place = places[id(data)]
            out.append(b"g%d\n" % place if protocol == 0 else b"h" + bytes([place]))
            return
        places[id(data)] = memo
        if protocol == 0:
            # repr() of a str of Python 2, which is that of bytes without the b.
            out.append(b"S" + repr(data)[1:].encode() + b"\n")
        elif len(data) < 256:
            out.append(b"U" + bytes([len(data)]) + data)
        else:
            out.append(b"T" + struct.pack("<i", len(data)) + data)
        put()

    def items(values, save):
        out.append(b"(l" if protocol == 0 else b"]")
        put()
        if protocol > 0:
            out.append(b"(")
        for value in values:
            save(value)
            if protocol == 0:
                out.append(b"a")
        if protocol > 0:
            out.append(b"e")

    def bool_(value):
        out.append((b"\x88" if value else b"\x89") if protocol == 2 else (b"I01\n" if value else b"I00\n"))

    out.append(b"\x80\x02" if protocol == 2 else b"(")
    items(pictures, string)
    items(same, bool_)
    out.append(b"\x86" if protocol == 2 else b"t")
    put()
    out.append(b".")
    return b"".join(out)


def files_of_pairs():
    pictures = [picture(number) for number in [0, 0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 0]]
    # The same object again, which a pickle refers to.
    pictures[11] = pictures[0]
    same = [True, False, True, False, True, False]
    for protocol in range(6):
        (HERE / f"python3-{protocol}.bin").write_bytes(pickle.dumps((pictures, same), protocol=protocol))
    for protocol in range(3):
        data = python_2(pictures, same, protocol)
        assert pickle.loads(data, encoding="bytes") == (pictures, same), protocol
        (HERE / f"python2-{protocol}.bin").write_bytes(data)


def figures():
    random = np.random.default_rng(20261128)
    pairs, folds, size = 240, 10, 4
    same = np.tile(np.arange(pairs // folds) < pairs // folds // 2, folds)
    first = random.normal(size=(pairs, size))
    second = np.where(same[:, None], first, random.normal(size=(pairs, size))) + 0.35 * random.normal(size=(pairs, size))
    rows = np.round(np.stack([first, second], 1).reshape(2 * pairs, size), 3)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    dist = np.sum(np.square(unit[0::2] - unit[1::2]), 1)
    accuracy, _ = calculate_roc(np.arange(0, 4, 0.01), dist, same, folds)
    vals = {}
    for name, target in [("1e-2", 1e-2), ("1e-3", 1e-3)]:
        val, far, _ = calculate_val(np.arange(0, 4, 0.001), dist, same, target, folds)
        vals[name] = [float(np.mean(val)), float(np.std(val)), float(np.mean(far))]
    # By counting: the largest share of genuine pairs below a distance that at most so many impostor pairs are below.
    tars = {}
    for name, target in [("1e-1", 1e-1), ("1e-2", 1e-2)]:
        shares = [
            np.mean(dist[same] <= bound) for bound in [-1, *dist] if np.mean(dist[~same] <= bound) <= target + 1e-15
        ]
        tars[name] = float(max(shares))
    figures = {
        "rows": rows.reshape(-1).tolist(),
        "same": same.tolist(),
        "accuracy": float(np.mean(accuracy)),
        "accuracy_std": float(np.std(accuracy)),
        "val_at_far": vals,
        "tar_at_far": tars,
    }
    (HERE / "figures.json").write_text(json.dumps(figures) + "\n")


if __name__ == "__main__":
    files_of_pairs()
    figures()
