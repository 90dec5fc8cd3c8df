"""Writes what src/model/trunk/weights/tests.rs compares with: testdata/networks.json and testdata/small.pth.

    python -m venv venv && venv/bin/pip install torch==2.15.0 numpy==2.4.6
    venv/bin/python generate.py

Every weight and running statistic is a formula of its name and its place, which the test computes too, so no weights are
in the repository but those of small.pth, as torch.save writes them. The embeddings are computed in f64.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from networks import network

assert torch.__version__.split("+")[0] == "2.15.0", torch.__version__

TESTDATA = Path(__file__).parent.parent / "src/model/trunk/weights/testdata"
EMBEDDING_SIZE = 64
SMALL = {"image_size": 16, "width": 2, "embedding_size": 4}


def noise(name, count):
    """Numbers in [-1, 1), exact in f32: FNV-1a of the name, then the last step of MurmurHash3 over the places."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = (seed ^ byte) * 0x01000193 & 0xFFFFFFFF
    bits = np.uint32(seed) + np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9)
    bits ^= bits >> np.uint32(16)
    bits *= np.uint32(0x85EBCA6B)
    bits ^= bits >> np.uint32(13)
    bits *= np.uint32(0xC2B2AE35)
    bits ^= bits >> np.uint32(16)
    return ((bits >> np.uint32(16)).astype(np.float64) - 32768) / 32768


def value(name, shape):
    """A weight or a running statistic."""
    numbers = noise(name, int(np.prod(shape))).reshape(shape)
    if len(shape) > 1:
        amplitude, fan_in = 1.0, int(np.prod(shape[1:]))
        while amplitude * amplitude * fan_in > 6:
            amplitude /= 2
        return numbers * amplitude
    if name.endswith("running_var"):
        return 1 + numbers / 2
    if name.endswith("weight"):
        return 0.75 + numbers / 4
    return numbers / 4


def filled(model):
    """With the values of the formula."""
    state = {
        name: torch.tensor(0 if name.endswith("num_batches_tracked") else value(name, list(old.shape)), dtype=old.dtype)
        for name, old in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model.eval()


def embeddings(model, image_size):
    shape = [2, 3, image_size, image_size]
    pictures = torch.tensor(noise("pictures", int(np.prod(shape))).reshape(shape))
    with torch.no_grad():
        return [[round(number, 9) for number in row] for row in model.double()(pictures).tolist()]


def outline(model):
    """How many tensors and numbers there are, and a digest of their names and shapes."""
    tensors = [(name, list(old.shape)) for name, old in model.state_dict().items()]
    tensors = sorted(tensor for tensor in tensors if not tensor[0].endswith("num_batches_tracked"))
    lines = "".join(f"{name} {shape}\n" for name, shape in tensors)
    numbers = sum(int(np.prod(shape)) for _, shape in tensors)
    return {"tensors": len(tensors), "numbers": numbers, "sha256": hashlib.sha256(lines.encode()).hexdigest()}


def main():
    TESTDATA.mkdir(exist_ok=True)
    names = ["mobilefacenet", "iresnet18", "iresnet34", "iresnet50", "iresnet100"]
    outlines = {name: outline(network(name, 512)) for name in names}
    expected = {
        name: embeddings(filled(network(name, EMBEDDING_SIZE)), 112) for name in names if name != "iresnet100"
    }
    small = filled(network("small", **SMALL))
    torch.save(small.state_dict(), TESTDATA / "small.pth")
    expected["small"] = embeddings(small, SMALL["image_size"])
    lines = lambda group: ",\n".join(f"    {json.dumps(name)}: {json.dumps(entry)}" for name, entry in group.items())
    text = f'{{\n  "outlines": {{\n{lines(outlines)}\n  }},\n  "embeddings": {{\n{lines(expected)}\n  }}\n}}\n'
    (TESTDATA / "networks.json").write_text(text)


main()
