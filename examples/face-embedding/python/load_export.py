"""Embeds pictures with a trunk that `export` wrote, in PyTorch.

    python -m venv venv && venv/bin/pip install torch==2.15.0 safetensors pillow numpy
    venv/bin/python load_export.py DIR PICTURE...

Pictures must have the size that the network wants already; prints the first numbers of each embedding.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from networks import network
from PIL import Image
from safetensors.torch import load_file


def moved(pictures, down, right):
    most = max(abs(down), abs(right))
    size = pictures.shape[2]
    padded = torch.nn.functional.pad(pictures, [most] * 4, mode="replicate")
    return padded[:, :, most - down : most - down + size, most - right : most - right + size]


def main():
    folder, *paths = map(Path, sys.argv[1:])
    wants = json.loads((folder / "preprocessing.json").read_text())
    trunk = network(wants["network"], wants["embedding_size"], wants["image_size"], wants["width"])
    missing, unexpected = trunk.load_state_dict(load_file(folder / "backbone.safetensors"), strict=False)
    # The tool does not count batches.
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing), (missing, unexpected)
    trunk.eval()
    for path in paths:
        picture = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32)
        assert picture.shape[:2] == (wants["image_size"],) * 2, (path, picture.shape)
        picture = (picture - np.float32(wants["mean"])) / np.float32(wants["std"])
        picture = torch.from_numpy(picture).permute(2, 0, 1)[None]
        with torch.no_grad():
            views = [moved(view, *place) for view in (picture, picture.flip(3)) for place in wants.get("places", [[0, 0]])]
            embedding = sum(map(trunk, views))
        print(path.name, [round(number, 5) for number in embedding[0].tolist()][:6])


main()
