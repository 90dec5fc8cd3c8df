"""Distances."""

import itertools
import math

import numpy as np
import torch
from torch.nn import functional

import plain
from cases import (
    CLASSES,
    FEATURES,
    SAMPLES,
    TORCH,
    agree_all,
    case,
    cotangent,
    differentiate,
    draws,
    rows,
    single,
)

NORMS = {
    "Manhattan": 1.0,
    "Euclidean": 2.0,
    "Chebyshev": math.inf,
    "DifferentCount": 0.0,
}


def exponent(kind):
    return kind["Minkowski"] if isinstance(kind, dict) else NORMS.get(kind)


def torch_distance(kind, form):
    """The function, and the name of what computes it."""
    matrix = form == "matrix"

    def spread(first, second):
        return (first[:, None], second[None]) if matrix else (first, second)

    def differences(first, second):
        first, second = spread(first, second)
        return first - second

    def cosine(first, second):
        return 1.0 - functional.cosine_similarity(*spread(first, second), dim=-1)

    def squares(first, second):
        return differences(first, second).square().sum(dim=-1)

    def smallest(first, second):
        return torch.linalg.vector_norm(differences(first, second), ord=-math.inf, dim=-1)

    def norm(first, second):
        if matrix:
            exactly = "donot_use_mm_for_euclid_dist"
            return torch.cdist(first, second, p=exponent(kind), compute_mode=exactly)
        return functional.pairwise_distance(first, second, p=exponent(kind), eps=0.0)

    if kind == "Cosine":
        return cosine, "1 - cosine_similarity"
    if kind == "SmallestDifference":
        return smallest, "linalg.vector_norm of order -inf"
    if kind == "SquaredEuclidean":
        return squares, "sum of squared differences"
    return norm, ("cdist without matrix product" if matrix else "pairwise_distance with eps 0")


def distance_batch(rng, kind, form, big):
    samples, others, features = (16, 40, 12) if big else (SAMPLES, CLASSES, FEATURES)
    if form == "rowwise":
        others = samples
    first = single(rows(rng, samples, features, 0.3, 5.0))
    second = single(rows(rng, others, features, 0.4, 3.0))
    if kind == "DifferentCount":
        share_coordinates(first, second)
    return {"first": first, "second": second}


def share_coordinates(first, second):
    """Makes coordinates equal in an irregular pattern, the whole of the last row among them."""
    for i in range(len(second) - 1):
        second[i, : i % 4] = first[i, : i % 4]
    second[-1] = first[len(second) - 1]


def separated(kind, form, first, second, gap):
    """No difference near 0, and neither the largest nor the smallest of a pair near the next."""
    if kind == "DifferentCount":
        return True
    pairs = plain.pairs(form, first, second)
    ordered = np.sort([np.abs(first[i] - second[j]) for i, j in pairs], axis=1)
    ends = (ordered[:, 0], ordered[:, 1] - ordered[:, 0], ordered[:, -1] - ordered[:, -2])
    return min(values.min() for values in ends) > gap


def distance_case(name, kind, form, big=False):
    gap = 0.0 if big else 0.005
    for rng in draws(name):
        inputs = distance_batch(rng, kind, form, big)
        if separated(kind, form, *inputs.values(), gap):
            break
    function, origin = torch_distance(kind, form)
    shape = [len(inputs["first"])] + ([len(inputs["second"])] if form == "matrix" else [])
    upstream = cotangent(rng, *shape)
    results = differentiate(function, inputs, inputs, upstream)
    as_lists = [array.tolist() for array in inputs.values()]
    expected = plain.distances(kind, form, *as_lists)
    slopes = plain.distance_gradients(kind, form, *as_lists, upstream.ravel().tolist())
    agree_all(name, results, (expected, slopes), tolerance=1e-6)
    settings = {"distance": kind, "form": form}
    return case(name, "Distance", settings, inputs, [], upstream, results, f"{TORCH} {origin}")


DISTANCES = {
    "manhattan": "Manhattan",
    "euclidean": "Euclidean",
    "squared-euclidean": "SquaredEuclidean",
    "chebyshev": "Chebyshev",
    "cosine": "Cosine",
    "smallest-difference": "SmallestDifference",
    "different-count": "DifferentCount",
    "minkowski-0.5": {"Minkowski": 0.5},
    "minkowski-1.5": {"Minkowski": 1.5},
    "minkowski-3": {"Minkowski": 3.0},
}
SMOOTH = ("euclidean", "squared-euclidean", "cosine")


def cases():
    forms = itertools.product(DISTANCES.items(), ("rowwise", "matrix"))
    small = [distance_case(f"distance/{name}-{form}", kind, form) for (name, kind), form in forms]
    big = [
        distance_case(f"distance/{name}-matrix-big", DISTANCES[name], "matrix", big=True)
        for name in SMOOTH
    ]
    return small + big
