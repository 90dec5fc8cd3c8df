"""Writes the golden values of the parity tests: see README.md."""

import itertools
import json
import math
import zlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning.reducers import DoNothingReducer
from torch.nn import functional

import plain

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
TORCH = "torch " + version("torch")
PML = "pytorch-metric-learning " + version("pytorch-metric-learning")

SAMPLES, FEATURES, CLASSES = 7, 5, 6
LABELS = [4, 0, 2, 5, 0, 3, 4]  # class 1 is absent, 0 and 4 come twice
OWN_COSINES = {
    "random": None,
    "opposite": [-0.98, 0.3, -0.93, -0.5, -0.99, 0.73, -0.9],
    "high-cosine": [0.99, 0.95, 0.999, 0.9, 0.99, 0.5, 0.97],
    "both-signs": [0.9, -0.6, 0.4, -0.2, 0.15, -0.95, 0.75],
}
KINK_GAP = 0.01


# ---------------------------------------------------------------- inputs


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


def head_batch(rng, layout):
    samples, features, classes, labels = SAMPLES, FEATURES, CLASSES, LABELS
    if layout == "big":
        samples, features, classes = 16, 12, 40
        labels = rng.integers(0, classes, samples).tolist()
        own_cosines = rng.permutation(np.linspace(-0.96, 0.97, samples))
    else:
        own_cosines = OWN_COSINES[layout]
    weights = single(rows(rng, classes, features, 0.05, 2.0))
    embeddings = rows(rng, samples, features, 0.3, 5.0)
    if own_cosines is not None:
        embeddings = turn(embeddings, weights[labels], own_cosines)
    return {"embeddings": single(embeddings), "weights": weights}, labels


# ---------------------------------------------------------------- golden cases


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


# ---------------------------------------------------------------- margin heads


def folded_cosine(phi):
    k = torch.floor(phi.detach() / math.pi)
    return (1.0 - 2.0 * torch.remainder(k, 2.0)) * torch.cos(phi) - 2.0 * k


def arcface_margin(cosine, margin, large_angle):
    angle = torch.acos(cosine)
    if large_angle == "Fold":
        return folded_cosine(angle + margin)
    if large_angle == "EasyMargin":
        return torch.where(cosine > 0.0, torch.cos(angle + margin), cosine)
    fallen = cosine - margin * math.sin(margin)
    return torch.where(angle <= math.pi - margin, torch.cos(angle + margin), fallen)


def margin(loss, settings, cosine):
    if loss == "ArcFace":
        value = arcface_margin(cosine, settings["margin"], settings["large_angle"])
    else:
        phi = settings["angle_factor"] * torch.acos(cosine) + settings["angle_margin"]
        value = folded_cosine(phi) - settings["cosine_margin"]
    if settings["gradient"] == "Detached":
        return cosine + (value - cosine).detach()
    return value


def torch_head(loss, settings, labels):
    target = torch.tensor(labels)[:, None]

    def losses(embeddings, weights):
        cosines = functional.normalize(embeddings) @ functional.normalize(weights).T
        own = margin(loss, settings, cosines.gather(1, target))
        logits = settings["scale"] * cosines.scatter(1, target, own)
        return functional.cross_entropy(logits, target[:, 0], reduction="none")

    return losses


def pml_head(loss, settings, labels):
    """The head of pytorch-metric-learning, which keeps its weights as [features, classes]."""
    sizes = {"num_classes": settings["classes"], "embedding_size": settings["embedding_dim"]}
    if loss == "NormFace":
        head = pml_losses.NormalizedSoftmaxLoss(**sizes, temperature=1.0 / settings["scale"])
    elif loss == "CosFace":
        head = pml_losses.CosFaceLoss(**sizes, margin=settings["margin"], scale=settings["scale"])
    else:
        degrees = math.degrees(settings["margin"])
        head = pml_losses.ArcFaceLoss(**sizes, margin=degrees, scale=settings["scale"])
    head.reducer = DoNothingReducer()
    # The parameter makes room for a transposed view, so that the gradient arrives as
    # [classes, features]; `cast_types` would write into it, and has nothing to cast here.
    del head.W
    head.cast_types = lambda *_: None

    def losses(embeddings, weights):
        head.W = weights.T
        return head(embeddings, torch.tensor(labels))["loss"]["losses"]

    return losses


PML_SOURCES = {
    "NormFace": f"{PML} NormalizedSoftmaxLoss (temperature = 1 / scale, embeddings normalised)",
    "CosFace": f"{PML} CosFaceLoss",
    "ArcFace": f"{PML} ArcFaceLoss (margin in degrees converted)",
}


def head_of(loss, settings):
    """Which code is the oracle of these settings, and its name."""
    plain_variant = settings.get("large_angle", "LinearFall") == "LinearFall"
    exact = settings.get("gradient", "Exact") == "Exact"
    if loss in PML_SOURCES and plain_variant and exact:
        return pml_head, PML_SOURCES[loss]
    detached = "" if exact else ", straight-through gradient by detach"
    return torch_head, f"{TORCH} autograd of the formula{detached}"


def head_inputs(name, loss, settings, layout):
    for rng in draws(name):
        inputs, labels = head_batch(rng, layout)
        own_cosines = plain.own_cosines(*(array.tolist() for array in inputs.values()), labels)
        if min(plain.kink_distance(loss, settings, c) for c in own_cosines) > KINK_GAP:
            return inputs, labels, cotangent(rng, len(labels))


def head_case(name, loss, settings, layout):
    inputs, labels, upstream = head_inputs(name, loss, settings, layout)
    classes, features = inputs["weights"].shape
    settings = {"classes": classes, "embedding_dim": features, **settings}
    build, source = head_of(loss, settings)
    results = differentiate(build(loss, settings, labels), inputs, inputs, upstream)
    as_lists = {key: value.tolist() for key, value in inputs.items()}
    agree_all(name, results, plain.head(loss, settings, as_lists, labels, upstream.tolist()))
    return case(name, loss, settings, inputs, labels, upstream, results, source)


def normface(scale):
    return "NormFace", {"scale": scale}


def cosface(margin, scale):
    return "CosFace", {"scale": scale, "margin": margin}


def arcface(margin, scale, large_angle="LinearFall", gradient="Exact"):
    settings = {"scale": scale, "margin": margin, "large_angle": large_angle, "gradient": gradient}
    return "ArcFace", settings


def combined(angle_factor, angle_margin, cosine_margin, scale=64.0, gradient="Exact"):
    return "CombinedMargin", {
        "scale": scale,
        "angle_factor": angle_factor,
        "angle_margin": angle_margin,
        "cosine_margin": cosine_margin,
        "gradient": gradient,
    }


HEADS = [
    ("normface/scale-20", normface(20.0), "random"),
    ("normface/scale-64", normface(64.0), "random"),
    ("normface/opposite", normface(20.0), "opposite"),
    ("normface/high-cosine", normface(16.0), "high-cosine"),
    ("normface/big", normface(64.0), "big"),
    ("cosface/plain", cosface(0.35, 64.0), "random"),
    ("cosface/scale-30", cosface(0.4, 30.0), "random"),
    ("cosface/opposite", cosface(0.35, 64.0), "opposite"),
    ("cosface/high-cosine", cosface(0.35, 16.0), "high-cosine"),
    ("cosface/big", cosface(0.35, 64.0), "big"),
    ("arcface/plain", arcface(0.5, 64.0), "random"),
    ("arcface/small-margin", arcface(0.3, 16.0), "random"),
    ("arcface/opposite", arcface(0.5, 64.0), "opposite"),
    ("arcface/opposite-small-margin", arcface(0.3, 16.0), "opposite"),
    ("arcface/high-cosine", arcface(0.5, 16.0), "high-cosine"),
    ("arcface/big", arcface(0.5, 64.0), "big"),
    ("arcface/detached", arcface(0.5, 64.0, gradient="Detached"), "random"),
    ("arcface/detached-opposite", arcface(0.5, 64.0, gradient="Detached"), "opposite"),
    ("arcface/detached-high-cosine", arcface(0.5, 16.0, gradient="Detached"), "high-cosine"),
    ("arcface/detached-big", arcface(0.5, 64.0, gradient="Detached"), "big"),
    ("arcface/easy-margin", arcface(0.5, 64.0, "EasyMargin"), "both-signs"),
    ("arcface/easy-margin-opposite", arcface(0.3, 16.0, "EasyMargin"), "opposite"),
    ("arcface/easy-margin-high-cosine", arcface(0.5, 16.0, "EasyMargin"), "high-cosine"),
    ("arcface/easy-margin-detached", arcface(0.5, 64.0, "EasyMargin", "Detached"), "both-signs"),
    ("arcface/fold", arcface(0.5, 64.0, "Fold"), "random"),
    ("arcface/fold-opposite", arcface(0.5, 64.0, "Fold"), "opposite"),
    ("arcface/fold-high-cosine", arcface(0.5, 16.0, "Fold"), "high-cosine"),
    ("arcface/fold-detached", arcface(0.5, 64.0, "Fold", "Detached"), "opposite"),
    ("combined/paper", combined(1.0, 0.3, 0.2), "random"),
    ("combined/paper-opposite", combined(1.0, 0.3, 0.2), "opposite"),
    ("combined/paper-high-cosine", combined(1.0, 0.3, 0.2, 16.0), "high-cosine"),
    ("combined/factor-below-one", combined(0.9, 0.4, 0.15), "both-signs"),
    ("combined/factor-only", combined(1.35, 0.0, 0.0), "random"),
    ("combined/factor-only-opposite", combined(1.35, 0.0, 0.0, 30.0), "opposite"),
    ("combined/factor-two", combined(2.0, 0.1, 0.05), "both-signs"),
    ("combined/factor-3.7", combined(3.7, 0.2, 0.1, 16.0), "both-signs"),
    ("combined/factor-3.7-opposite", combined(3.7, 0.2, 0.1), "opposite"),
    ("combined/negative-angle-margin", combined(1.0, -0.2, 0.1, 16.0), "high-cosine"),
    ("combined/detached", combined(1.0, 0.3, 0.2, gradient="Detached"), "opposite"),
    ("combined/big", combined(1.0, 0.3, 0.2), "big"),
]


# ---------------------------------------------------------------- center loss


def center_losses(labels):
    return lambda embeddings, centers: 0.5 * (embeddings - centers[labels]).square().sum(dim=1)


def updated_centers(inputs, centers, labels, rate):
    """Wen et al. 2016, equation 4."""
    labels, centers = torch.tensor(labels), torch.tensor(centers)
    differences = centers[labels] - torch.tensor(inputs["embeddings"])
    sums = torch.zeros_like(centers).index_add(0, labels, differences)
    counts = torch.bincount(labels, minlength=len(centers))
    return (centers - rate * sums / (1 + counts)[:, None]).numpy()


def center_outputs(name, inputs, labels, rate):
    once = updated_centers(inputs, inputs["centers"], labels, rate)
    twice = updated_centers(inputs, once, labels, rate)
    embeddings = inputs["embeddings"].tolist()
    for before, after in ((inputs["centers"], once), (once, twice)):
        expected = plain.updated_centers(embeddings, before.tolist(), labels, rate)
        agree(f"{name} centers", after, expected)
    return {"centers": once, "centers_after_two": twice}


def center_case(name, settings, labels, classes, features):
    rng = next(draws(name))
    inputs = {
        "embeddings": single(rows(rng, len(labels), features, 0.3, 5.0)),
        "centers": single(rows(rng, classes, features, 0.05, 2.0)),
    }
    upstream = cotangent(rng, len(labels))
    updated = settings["mode"] == "Updated"
    trained = ["embeddings"] if updated else ["embeddings", "centers"]
    results = differentiate(center_losses(labels), inputs, trained, upstream)
    as_lists = [array.tolist() for array in inputs.values()]
    agree_all(name, results, plain.center_loss(*as_lists, labels, upstream.tolist()))
    outputs = center_outputs(name, inputs, labels, settings["update_rate"]) if updated else None
    settings = {"classes": classes, "embedding_dim": features, **settings}
    source = f"{TORCH} autograd of 0.5 * |x - c|^2"
    source += "; centers by Wen et al., ECCV 2016, equation 4" if updated else ""
    return case(name, "CenterLoss", settings, inputs, labels, upstream, results, source, outputs)


BIG_LABELS = [33, 2, 17, 2, 2, 39, 0, 21, 17, 8, 33, 2, 5, 28, 0, 13]

CENTERS = [
    ("center/updated", "Updated", 0.5, LABELS, CLASSES, FEATURES),
    ("center/updated-slowly", "Updated", 0.3, LABELS, CLASSES, FEATURES),
    ("center/updated-one-class", "Updated", 0.5, [3] * SAMPLES, CLASSES, FEATURES),
    ("center/updated-big", "Updated", 0.5, BIG_LABELS, 40, 12),
    ("center/trained", "Trained", 0.5, LABELS, CLASSES, FEATURES),
    ("center/trained-big", "Trained", 0.5, BIG_LABELS, 40, 12),
]


# ---------------------------------------------------------------- distances

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


# ---------------------------------------------------------------- files


def margin_cases():
    return [head_case(name, *head, layout) for name, head, layout in HEADS]


def center_cases():
    return [
        center_case(name, {"update_rate": rate, "mode": mode}, *sizes)
        for name, mode, rate, *sizes in CENTERS
    ]


def distance_cases():
    forms = itertools.product(DISTANCES.items(), ("rowwise", "matrix"))
    small = [distance_case(f"distance/{name}-{form}", kind, form) for (name, kind), form in forms]
    big = [
        distance_case(f"distance/{name}-matrix-big", DISTANCES[name], "matrix", big=True)
        for name in SMOOTH
    ]
    return small + big


def write(family, cases):
    names = [entry["name"] for entry in cases]
    assert len(set(names)) == len(names)
    packages = ("torch", "pytorch-metric-learning")
    versions = json.dumps({package: version(package) for package in packages})
    lines = ",\n".join(json.dumps(entry, allow_nan=False, separators=(",", ":")) for entry in cases)
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / f"{family}.json").write_text(f'{{"versions": {versions},\n"cases": [\n{lines}\n]}}\n')
    print(family, *names, sep="\n  ")


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    write("margin", margin_cases())
    write("center", center_cases())
    write("distance", distance_cases())


if __name__ == "__main__":
    main()
