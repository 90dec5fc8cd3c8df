"""Angular-margin heads."""

import math

import numpy as np
import torch
from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning.reducers import DoNothingReducer
from torch.nn import functional

import plain
from cases import (
    CLASSES,
    FEATURES,
    LABELS,
    PML,
    SAMPLES,
    TORCH,
    agree_all,
    case,
    cotangent,
    differentiate,
    draws,
    rows,
    single,
    turn,
)

OWN_COSINES = {
    "random": None,
    "opposite": [-0.98, 0.3, -0.93, -0.5, -0.99, 0.73, -0.9],
    "high-cosine": [0.99, 0.95, 0.999, 0.9, 0.99, 0.5, 0.97],
    "both-signs": [0.9, -0.6, 0.4, -0.2, 0.15, -0.95, 0.75],
}
KINK_GAP = 0.01


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


def cases():
    return [head_case(name, *head, layout) for name, head, layout in HEADS]
