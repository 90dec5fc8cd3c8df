"""Heads whose margin or scale depends on more than the own cosine, and SphereFace."""

import math

import numpy as np
import torch
from torch.nn import functional

from cases import (
    CLASSES,
    FEATURES,
    LABELS,
    TORCH,
    case,
    cotangent,
    differentiate,
    draws,
    rows,
    single,
    turn,
)
from rivals import MIXED, OPPOSITE, cosines_of, cross_entropy, own_of

FIRST_LENGTHS = (20.0, 100.0)
KINK_GAP = 0.01


def folded_cosine(phi):
    k = torch.floor(phi.detach() / math.pi)
    return (1.0 - 2.0 * torch.remainder(k, 2.0)) * torch.cos(phi) - 2.0 * k


def softmax_head(settings, labels, target_of):
    def losses(embeddings, weights):
        cosines = cosines_of(embeddings, weights, 1)
        own = own_of(cosines, labels)
        target = target_of(own, embeddings.norm(dim=1, keepdim=True))
        return cross_entropy(cosines, target, labels, settings["scale"])

    return losses


def sphereface(settings, labels):
    def target(own, _):
        value = folded_cosine(settings["multiplier"] * torch.acos(own))
        return own + (value - own).detach() if settings["gradient"] == "Detached" else value

    return softmax_head(settings, labels, target)


def magface(settings, labels):
    shortest, longest = settings["shortest"], settings["longest"]
    smallest, largest = settings["smallest_margin"], settings["largest_margin"]

    def target(own, lengths):
        lengths = lengths.clamp(shortest, longest)
        margin = smallest + (largest - smallest) / (longest - shortest) * (lengths - shortest)
        return folded_cosine(torch.acos(own) + margin)

    head = softmax_head(settings, labels, target)

    def losses(embeddings, weights):
        lengths = embeddings.norm(dim=1).clamp(shortest, longest)
        penalty = settings["length_weight"] * (lengths / longest**2 + 1.0 / lengths)
        return head(embeddings, weights) + penalty

    return losses


def length_statistics(lengths, momentum):
    mean = momentum * lengths.mean() + (1.0 - momentum) * FIRST_LENGTHS[0]
    deviation = momentum * lengths.std() + (1.0 - momentum) * FIRST_LENGTHS[1]
    return mean, deviation


def adaface(settings, labels):
    def target(own, lengths):
        lengths = lengths.detach().clamp(0.001, 100.0)
        mean, deviation = length_statistics(lengths, settings["momentum"])
        quality = (lengths - mean) / (deviation + 1e-3) * settings["concentration"]
        quality = quality.clamp(-1.0, 1.0)
        margin = settings["margin"]
        angle = (torch.acos(own) - margin * quality).clamp(min=0.0)
        return folded_cosine(angle) - margin * (1.0 + quality)

    return softmax_head(settings, labels, target)


def elasticface(settings, labels):
    def target(own, _):
        if settings["margin_kind"] == "Cosine":
            return own - settings["margin"]
        return folded_cosine(torch.acos(own) + settings["margin"])

    return softmax_head(settings, labels, target)


def measured_scale(cosines, labels):
    fixed = math.sqrt(2.0) * math.log(cosines.shape[1] - 1.0)
    own = own_of(cosines, labels)
    others = torch.exp(fixed * cosines).scatter(1, torch.tensor(labels)[:, None], 0.0)
    median = torch.acos(own).median()
    return torch.log(others.sum() / len(labels)) / torch.cos(median.clamp(max=math.pi / 4.0))


def adacos(settings, labels):
    def losses(embeddings, weights):
        cosines = cosines_of(embeddings, weights, 1)
        if settings["scale"] == "Fixed":
            scale = math.sqrt(2.0) * math.log(cosines.shape[1] - 1.0)
        else:
            scale = measured_scale(cosines.detach(), labels)
        return cross_entropy(cosines, own_of(cosines, labels), labels, scale)

    return losses


HEADS = {
    "SphereFace": (sphereface, "Liu et al., CVPR 2017 and 2021 (SphereFace-R, normalised scale)"),
    "MagFace": (magface, "Meng et al., CVPR 2021 (MagFace), folded beyond pi"),
    "AdaFace": (adaface, "Kim et al., CVPR 2022 (AdaFace), folded beyond pi"),
    "ElasticFace": (elasticface, "Boutros et al., CVPRW 2022 (ElasticFace) without deviation"),
    "AdaCos": (adacos, "Zhang et al., CVPR 2019 (AdaCos)"),
}


def smooth(loss, settings, inputs):
    """No length at a bound, no angle where a fold or a clamp begins."""
    lengths = np.linalg.norm(inputs["embeddings"], axis=1)
    if loss == "MagFace":
        bounds = (settings["shortest"], settings["longest"])
        return all(np.abs(lengths - bound).min() > KINK_GAP for bound in bounds)
    if loss == "AdaFace":
        tensors = [torch.tensor(value) for value in inputs.values()]
        clipped = torch.tensor(lengths).clamp(0.001, 100.0)
        mean, deviation = length_statistics(clipped, settings["momentum"])
        quality = (clipped - mean) / (deviation + 1e-3) * settings["concentration"]
        angle = torch.acos(own_of(cosines_of(*tensors, 1), LABELS))[:, 0]
        ends = (angle - settings["margin"] * quality.clamp(-1.0, 1.0)).abs().min()
        return ends > KINK_GAP and (quality.abs() - 1.0).abs().min() > KINK_GAP
    return True


def adaptive_case(name, loss, settings, own_cosines=None, lengths=(0.3, 5.0)):
    for rng in draws(name):
        weights = single(rows(rng, CLASSES, FEATURES, 0.05, 2.0))
        embeddings = rows(rng, len(LABELS), FEATURES, *lengths)
        if own_cosines is not None:
            embeddings = turn(embeddings, weights[LABELS], own_cosines)
        inputs = {"embeddings": single(embeddings), "weights": weights}
        if smooth(loss, settings, inputs):
            break
    upstream = cotangent(rng, len(LABELS))
    settings = {"classes": CLASSES, "embedding_dim": FEATURES, **settings}
    build, source = HEADS[loss]
    results = differentiate(build(settings, LABELS), inputs, inputs, upstream)
    outputs = None
    measures = loss == "AdaFace"
    if loss == "AdaFace":
        clipped = torch.tensor(np.linalg.norm(inputs["embeddings"], axis=1)).clamp(0.001, 100.0)
        outputs = {"length_statistics": [[x.item()] for x in length_statistics(clipped, settings["momentum"])]}
    if loss == "AdaCos" and settings["scale"] == "Dynamic":
        tensors = [torch.tensor(value) for value in inputs.values()]
        outputs = {"scale": [[measured_scale(cosines_of(*tensors, 1), LABELS).item()]]}
        measures = True
    source = f"{TORCH} autograd of {source}"
    entry = case(name, loss, settings, inputs, LABELS, upstream, results, source, outputs)
    if measures:
        entry["measures_batch"] = True
    return entry


def sphere(multiplier, scale, gradient="Exact"):
    return "SphereFace", {"multiplier": multiplier, "scale": scale, "gradient": gradient}


def mag(shortest, longest, margins, weight, scale):
    return "MagFace", {
        "shortest": shortest,
        "longest": longest,
        "smallest_margin": margins[0],
        "largest_margin": margins[1],
        "length_weight": weight,
        "scale": scale,
    }


def ada(margin, concentration, momentum, scale):
    return "AdaFace", {
        "margin": margin,
        "concentration": concentration,
        "momentum": momentum,
        "scale": scale,
    }


def elastic(margin_kind, margin, scale):
    return "ElasticFace", {"margin_kind": margin_kind, "margin": margin, "deviation": 0.0, "scale": scale}


CASES = [
    ("sphereface/paper", *sphere(1.7, 30.0), None),
    ("sphereface/four", *sphere(4.0, 16.0), MIXED),
    ("sphereface/opposite", *sphere(1.35, 30.0), OPPOSITE),
    ("sphereface/detached", *sphere(1.7, 30.0, "Detached"), OPPOSITE),
    ("magface/paper", *mag(10.0, 110.0, (0.45, 0.8), 35.0, 64.0), MIXED, (5.0, 150.0)),
    ("magface/short", *mag(0.5, 4.0, (0.2, 0.5), 1.0, 16.0), None, (0.3, 5.0)),
    ("magface/opposite", *mag(1.0, 6.0, (0.3, 0.6), 3.0, 30.0), OPPOSITE, (0.5, 8.0)),
    ("adaface/paper", *ada(0.4, 0.333, 0.01, 64.0), MIXED, (3.0, 60.0)),
    ("adaface/fast", *ada(0.4, 0.333, 0.9, 16.0), None, (3.0, 60.0)),
    ("adaface/still", *ada(0.3, 2.0, 0.0, 30.0), OPPOSITE, (1.0, 200.0)),
    ("elasticface/angle", *elastic("Angle", 0.5, 64.0), MIXED),
    ("elasticface/angle-opposite", *elastic("Angle", 0.3, 16.0), OPPOSITE),
    ("elasticface/cosine", *elastic("Cosine", 0.35, 32.0), None),
    ("adacos/fixed", "AdaCos", {"scale": "Fixed"}, None),
    ("adacos/dynamic", "AdaCos", {"scale": "Dynamic"}, MIXED),
    ("adacos/dynamic-near", "AdaCos", {"scale": "Dynamic"}, [0.9, 0.95, 0.8, 0.99, 0.85, 0.7, 0.97]),
    ("adacos/dynamic-random", "AdaCos", {"scale": "Dynamic"}, None),
]


def cases():
    return [adaptive_case(*entry) for entry in CASES]
