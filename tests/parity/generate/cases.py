"""What the generators share: seeded inputs, differentiation, comparison, files."""

import itertools
import json
import zlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
PACKAGES = ("torch", "pytorch-metric-learning")
TORCH = "torch " + version("torch")
PML = "pytorch-metric-learning " + version("pytorch-metric-learning")

SAMPLES, FEATURES, CLASSES = 7, 5, 6
LABELS = [4, 0, 2, 5, 0, 3, 4]  # class 1 is absent, 0 and 4 come twice


def draws(name):
    """An endless row of seeded generators: a case takes the first one whose inputs it accepts."""
    for attempt in itertools.count():
        yield np.random.default_rng([zlib.crc32(name.encode()), attempt])


def single(array):
    """Rounds to f32-representable values, so that f32 and f64 tests share their inputs."""
    return np.asarray(array, dtype=np.float32).astype(np.float64)


def rows(rng, count, features, smallest, largest):
    """Random directions; the norms are a geometric series over the range, in random order."""
    directions = rng.standard_normal((count, features))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * rng.permutation(np.geomspace(smallest, largest, count))[:, None]


def turn(embeddings, centers, cosines):
    """Turns every embedding within the plane of itself and its center until it has that cosine."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    centers = centers / np.linalg.norm(centers, axis=1, keepdims=True)
    across = embeddings - (embeddings * centers).sum(axis=1, keepdims=True) * centers
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    cosines = np.asarray(cosines)[:, None]
    return norms * (cosines * centers + np.sqrt(1.0 - cosines**2) * across)


def cotangent(rng, *shape):
    return single(rng.uniform(0.2, 1.5, shape) * rng.choice([-1.0, 1.0], shape, p=[0.3, 0.7]))


def stored(array):
    array = np.asarray(array) + 0.0  # no negative zeros
    return {"shape": list(array.shape), "data": array.ravel().tolist()}


def differentiate(function, inputs, trained, upstream):
    """Losses and gradients of sum(upstream * losses), as numpy arrays."""
    tensors = {name: torch.tensor(value) for name, value in inputs.items()}
    for name in trained:
        tensors[name].requires_grad_()
    losses = function(*tensors.values())
    scalar = (losses * torch.tensor(upstream)).sum()
    leaves = [tensors[name] for name in trained]
    gradients = torch.autograd.grad(scalar, leaves, materialize_grads=True)
    return losses.detach().numpy(), {name: g.numpy() for name, g in zip(trained, gradients)}


def case(name, loss, settings, inputs, labels, upstream, results, source, outputs=None):
    losses, gradients = results
    expected = {
        "losses": stored(losses),
        "gradients": {key: stored(value) for key, value in gradients.items()},
    }
    if outputs:
        expected["outputs"] = {key: stored(value) for key, value in outputs.items()}
    return {
        "name": name,
        "loss": loss,
        "settings": settings,
        "inputs": {key: stored(value) for key, value in inputs.items()},
        "labels": labels,
        "cotangent": upstream.ravel().tolist(),
        "expected": expected,
        "source": source,
    }


def agree(name, actual, expected, tolerance=1e-12):
    """Equal up to the tolerance times the largest number of the array (at least 1)."""
    actual, expected = np.ravel(actual), np.ravel(expected)
    assert actual.shape == expected.shape, name
    error = np.abs(actual - expected).max()
    assert error <= tolerance * max(1.0, np.abs(expected).max()), f"{name}: off by {error}"


def agree_all(name, results, expected, tolerance=1e-12):
    agree(f"{name} losses", results[0], expected[0])
    for key, value in results[1].items():
        agree(f"{name} gradient of {key}", value, expected[1][key], tolerance)


def write(family, cases):
    names = [entry["name"] for entry in cases]
    assert len(set(names)) == len(names)
    versions = json.dumps({package: version(package) for package in PACKAGES})
    lines = ",\n".join(json.dumps(entry, allow_nan=False, separators=(",", ":")) for entry in cases)
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / f"{family}.json").write_text(f'{{"versions": {versions},\n"cases": [\n{lines}\n]}}\n')
    print(family, *names, sep="\n  ")
