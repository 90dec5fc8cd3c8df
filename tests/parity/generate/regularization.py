"""Regularizers of embeddings and class weights."""

import math

import numpy as np
from pytorch_metric_learning import regularizers
from pytorch_metric_learning.reducers import DoNothingReducer

from cases import FEATURES, PML, SAMPLES, case, cotangent, differentiate, draws, rows, single

KINK_GAP = 0.02
EXPONENTS = {
    "Manhattan": 1.0,
    "Euclidean": 2.0,
    "Chebyshev": math.inf,
    "SmallestDifference": -math.inf,
    "DifferentCount": 0.0,
}


def unreduced(regularizer):
    regularizer.reducer = DoNothingReducer()
    return lambda array: regularizer(array)["loss"]["losses"]


def leads(numbers):
    """How far the smallest and the largest number are from the next one."""
    gaps = np.diff(np.sort(numbers))
    return gaps[[0, -1]] if len(gaps) else np.array([math.inf] * 2)


def cosines_with_others(array):
    unit = array / np.linalg.norm(array, axis=1, keepdims=True)
    cosines = unit @ unit.T
    return [np.delete(row, place) for place, row in enumerate(cosines)]


def smooth(loss, array):
    """Whether no maximum, minimum or absolute value of the loss is near a change of its branch."""
    if loss == "LpRegularizer":
        magnitudes = np.abs(array)
        return magnitudes.min() > KINK_GAP and min(leads(row).min() for row in magnitudes) > KINK_GAP
    if loss == "ZeroMeanRegularizer":
        return np.abs(array.sum(axis=1)).min() > KINK_GAP
    if loss == "RegularFaceRegularizer":
        return min(leads(row)[-1] for row in cosines_with_others(array)) > KINK_GAP
    return True


def oracle(loss, settings):
    """The function, and the name of what computes it."""
    if loss == "LpRegularizer":
        norm, power = settings["norm"], settings["power"]
        p = norm["Minkowski"] if isinstance(norm, dict) else EXPONENTS.get(norm)
        if norm == "SquaredEuclidean":
            p, power = 2.0, 2.0 * power
        return unreduced(regularizers.LpRegularizer(p=p, power=power)), "LpRegularizer"
    if loss == "SparseCentersRegularizer":
        sizes = settings["classes"], settings["centers_per_class"]
        whole = unreduced(regularizers.SparseCentersRegularizer(*sizes))
        return lambda array: 0.5 * whole(array), "SparseCentersRegularizer, times 1/2 (its divisor)"
    return unreduced(getattr(regularizers, loss)()), loss


def regularizer_case(name, loss, settings, count, smallest, largest):
    for rng in draws(name):
        array = single(rows(rng, count, FEATURES, smallest, largest))
        if smooth(loss, array):
            break
    of_classes = loss not in ("LpRegularizer", "ZeroMeanRegularizer")
    inputs = {"weights" if of_classes else "embeddings": array}
    function, source = oracle(loss, settings)
    losses = count
    if loss == "SparseCentersRegularizer":
        centers = settings["centers_per_class"]
        losses = settings["classes"] * centers * (centers - 1) // 2
    upstream = cotangent(rng, losses)
    results = differentiate(function, inputs, list(inputs), upstream)
    return case(name, loss, settings, inputs, [], upstream, results, f"{PML} {source}")


def lp(name, norm, power):
    settings = {"norm": norm, "power": power}
    return f"lp/{name}", "LpRegularizer", settings, SAMPLES, 0.3, 3.0


def sparse(name, classes, centers):
    settings = {"classes": classes, "centers_per_class": centers}
    return f"sparse-centers/{name}", "SparseCentersRegularizer", settings, classes * centers, 0.05, 3.0


CASES = [
    lp("euclidean", "Euclidean", 1.0),
    lp("euclidean-squared", "Euclidean", 2.0),
    lp("squared-euclidean", "SquaredEuclidean", 1.0),
    lp("manhattan", "Manhattan", 1.0),
    lp("manhattan-power-1.5", "Manhattan", 1.5),
    lp("minkowski-3-power-0.5", {"Minkowski": 3.0}, 0.5),
    lp("minkowski-0.5", {"Minkowski": 0.5}, 1.0),
    lp("chebyshev-cubed", "Chebyshev", 3.0),
    lp("smallest", "SmallestDifference", 1.0),
    lp("count", "DifferentCount", 1.0),
    ("zero-mean/short", "ZeroMeanRegularizer", {}, SAMPLES, 0.05, 0.5),
    ("zero-mean/long", "ZeroMeanRegularizer", {}, SAMPLES, 0.5, 20.0),
    ("zero-mean/one-row", "ZeroMeanRegularizer", {}, 1, 1.0, 1.0),
    ("center-invariant/alike", "CenterInvariantRegularizer", {}, SAMPLES, 0.9, 1.2),
    ("center-invariant/different", "CenterInvariantRegularizer", {}, SAMPLES, 0.1, 2.0),
    ("center-invariant/two-classes", "CenterInvariantRegularizer", {}, 2, 0.5, 1.5),
    ("regular-face/alike", "RegularFaceRegularizer", {}, SAMPLES, 0.9, 1.2),
    ("regular-face/different", "RegularFaceRegularizer", {}, SAMPLES, 0.05, 4.0),
    ("regular-face/two-classes", "RegularFaceRegularizer", {}, 2, 0.5, 1.5),
    sparse("two-of-three", 3, 2),
    sparse("three-of-two", 2, 3),
    sparse("seven-of-one", 1, 7),
]


def cases():
    return [regularizer_case(*entry) for entry in CASES]
