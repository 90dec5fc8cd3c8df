"""Heads that see the other classes otherwise than a plain softmax does."""

import math

import numpy as np
import torch
from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning.reducers import DoNothingReducer
from torch.nn import functional

from cases import (
    CLASSES,
    FEATURES,
    LABELS,
    PML,
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

KINK_GAP = 0.01
OPPOSITE = [-0.98, 0.3, -0.93, -0.5, -0.99, 0.73, -0.9]
MIXED = [0.9, 0.35, 0.6, -0.2, 0.15, 0.8, 0.5]
MOMENTUM = 0.3


def cosines_of(embeddings, weights, sub_centers):
    cosines = functional.normalize(embeddings) @ functional.normalize(weights).T
    return cosines.unflatten(1, (-1, sub_centers)).amax(dim=2)


def own_of(cosines, labels):
    return cosines.gather(1, torch.tensor(labels)[:, None])


def angular(own, margin):
    """cos(angle + margin), and beyond pi what keeps falling."""
    shifted = torch.cos(torch.acos(own) + margin)
    fallen = own - margin * math.sin(margin)
    return shifted, torch.where(own > math.cos(math.pi - margin), shifted, fallen)


def cross_entropy(cosines, target, labels, scale):
    labels = torch.tensor(labels)
    logits = scale * cosines.scatter(1, labels[:, None], target)
    return functional.cross_entropy(logits, labels, reduction="none")


def sub_center_arcface(settings, labels):
    def losses(embeddings, weights):
        cosines = cosines_of(embeddings, weights, settings["sub_centers"])
        _, target = angular(own_of(cosines, labels), settings["margin"])
        return cross_entropy(cosines, target, labels, settings["scale"])

    return losses


def pml_sub_center_arcface(settings, labels):
    """pytorch-metric-learning keeps its weights as [features, classes·sub_centers], class by class."""

    def losses(embeddings, weights):
        head = pml_losses.SubCenterArcFaceLoss(
            num_classes=settings["classes"],
            embedding_size=settings["embedding_dim"],
            margin=math.degrees(settings["margin"]),
            scale=settings["scale"],
            sub_centers=settings["sub_centers"],
        )
        head.reducer = DoNothingReducer()
        del head.W
        head.cast_types = lambda *_: None
        head.W = weights.T
        return head(embeddings, torch.tensor(labels))["loss"]["losses"]

    return losses


def curricular_face(settings, labels):
    def losses(embeddings, weights):
        cosines = cosines_of(embeddings, weights, 1)
        own = own_of(cosines, labels)
        shifted, target = angular(own, settings["margin"])
        t = (settings["momentum"] * own.mean()).detach()
        hard = cosines > shifted.detach()
        cosines = torch.where(hard, cosines * (t + cosines), cosines)
        return cross_entropy(cosines, target, labels, settings["scale"])

    return losses


def mv_softmax(settings, labels):
    def losses(embeddings, weights):
        cosines = cosines_of(embeddings, weights, 1)
        own = own_of(cosines, labels)
        if settings["margin_kind"] == "Cosine":
            target = own - settings["margin"]
        else:
            _, target = angular(own, settings["margin"])
        hard = cosines > target.detach()
        weight = settings["weight"]
        if settings["weighting"] == "Adaptive":
            replaced = (1.0 + weight) * cosines + weight
        else:
            replaced = cosines + weight
        return cross_entropy(torch.where(hard, replaced, cosines), target, labels, settings["scale"])

    return losses


def softplus(x):
    """Not torch's, which is x itself from 20 on."""
    return torch.logaddexp(x, torch.zeros_like(x))


def others_mask(cosines, labels):
    return torch.ones_like(cosines).scatter(1, torch.tensor(labels)[:, None], 0.0)


def uni_face(settings, labels):
    def losses(embeddings, weights, bias):
        cosines = cosines_of(embeddings, weights, 1)
        scale = settings["scale"]
        own = scale * (own_of(cosines, labels)[:, 0] - settings["margin"]) - bias[0]
        others = softplus(scale * cosines - bias[0]) * others_mask(cosines, labels)
        return softplus(-own) + settings["balance"] * others.sum(dim=1)

    return losses


def sphere_face_2(settings, labels):
    def losses(embeddings, weights, bias):
        cosines = cosines_of(embeddings, weights, 1)
        scale, margin = settings["scale"], settings["margin"]
        bent = 2.0 * ((cosines + 1.0) / 2.0) ** settings["exponent"] - 1.0
        if settings["gradient"] == "Detached":
            bent = cosines + (bent - cosines).detach()
        own = scale * (own_of(bent, labels)[:, 0] - margin) + bias[0]
        others = softplus(scale * (bent + margin) + bias[0]) * others_mask(cosines, labels)
        balance = settings["balance"]
        return (balance * softplus(-own) + (1.0 - balance) * others.sum(dim=1)) / scale

    return losses


SOURCES = {
    "SubCenterArcFace": (sub_center_arcface, f"{PML} SubCenterArcFaceLoss (margin in degrees converted)"),
    "CurricularFace": (curricular_face, f"{TORCH} autograd of Huang et al., CVPR 2020 (CurricularFace)"),
    "MvSoftmax": (mv_softmax, f"{TORCH} autograd of Wang et al., AAAI 2020 (MV-Softmax)"),
    "UniFace": (uni_face, f"{TORCH} autograd of Zhou et al., ICCV 2023 (UniFace, unified cross-entropy)"),
    "SphereFace2": (sphere_face_2, f"{TORCH} autograd of Wen et al., ICLR 2022 (SphereFace2)"),
}


def clear_of_kinks(loss, settings, inputs, labels):
    """No other class near the place where it becomes hard, no two centers of a class near each other."""
    embeddings, weights = torch.tensor(inputs["embeddings"]), torch.tensor(inputs["weights"])
    sub_centers = settings.get("sub_centers", 1)
    cosines = cosines_of(embeddings, weights, sub_centers)
    own = own_of(cosines, labels)
    gaps = []
    if sub_centers > 1:
        each = functional.normalize(embeddings) @ functional.normalize(weights).T
        top = each.unflatten(1, (-1, sub_centers)).topk(2, dim=2).values
        gaps.append((top[..., 0] - top[..., 1]).min())
    if "margin" in settings and loss != "UniFace" and loss != "SphereFace2":
        gaps.append((own - math.cos(math.pi - settings["margin"])).abs().min())
        shifted, target = angular(own, settings["margin"])
        if settings.get("margin_kind") == "Cosine":
            target = own - settings["margin"]
        if loss in ("CurricularFace", "MvSoftmax"):
            edge = shifted if loss == "CurricularFace" else target
            others = cosines + 9.0 * torch.nn.functional.one_hot(torch.tensor(labels), cosines.shape[1])
            gaps.append((others - edge).abs().min())
    return all(gap > KINK_GAP for gap in gaps)


def rival_case(name, loss, settings, own_cosines=None):
    sub_centers = settings.get("sub_centers", 1)
    for rng in draws(name):
        weights = single(rows(rng, CLASSES * sub_centers, FEATURES, 0.05, 2.0))
        embeddings = rows(rng, len(LABELS), FEATURES, 0.3, 5.0)
        if own_cosines is not None:
            firsts = weights[np.asarray(LABELS) * sub_centers]
            embeddings = turn(embeddings, firsts, own_cosines)
        inputs = {"embeddings": single(embeddings), "weights": weights}
        if loss in ("UniFace", "SphereFace2"):
            inputs["bias"] = single(rng.uniform(-3.0, 3.0, (1, 1)))
        if clear_of_kinks(loss, settings, inputs, LABELS):
            break
    upstream = cotangent(rng, len(LABELS))
    settings = {"classes": CLASSES, "embedding_dim": FEATURES, **settings}
    build, source = SOURCES[loss]
    results = differentiate(build(settings, LABELS), inputs, inputs, upstream)
    if loss == "SubCenterArcFace":
        library = differentiate(pml_sub_center_arcface(settings, LABELS), inputs, inputs, upstream)
        agree_all(name, results, library)
        results = library
    outputs = None
    if loss == "CurricularFace":
        own = own_of(cosines_of(*(torch.tensor(inputs[key]) for key in inputs), 1), LABELS)
        outputs = {"average_cosine": [[settings["momentum"] * own.mean().item()]]}
    entry = case(name, loss, settings, inputs, LABELS, upstream, results, source, outputs)
    if settings.get("momentum"):
        entry["measures_batch"] = True
    return entry


def sub_center(sub_centers, margin, scale):
    return "SubCenterArcFace", {"sub_centers": sub_centers, "margin": margin, "scale": scale}


def curricular(margin, scale, momentum=MOMENTUM):
    return "CurricularFace", {"margin": margin, "scale": scale, "momentum": momentum}


def mv(margin_kind, margin, weighting, weight, scale):
    return "MvSoftmax", {
        "margin_kind": margin_kind,
        "margin": margin,
        "weighting": weighting,
        "weight": weight,
        "scale": scale,
    }


def uni(margin, scale, balance):
    return "UniFace", {"margin": margin, "scale": scale, "balance": balance}


def sphere2(margin, scale, balance, exponent, gradient="Exact"):
    return "SphereFace2", {
        "margin": margin,
        "scale": scale,
        "balance": balance,
        "exponent": exponent,
        "gradient": gradient,
    }


HEADS = [
    ("sub-center-arcface/three", sub_center(3, 0.5, 64.0), None),
    ("sub-center-arcface/two", sub_center(2, 0.3, 16.0), MIXED),
    ("sub-center-arcface/one", sub_center(1, 0.5, 30.0), OPPOSITE),
    ("curricular-face/random", curricular(0.5, 64.0), None),
    ("curricular-face/mixed", curricular(0.5, 16.0), MIXED),
    ("curricular-face/opposite", curricular(0.3, 16.0), OPPOSITE),
    ("curricular-face/without-average", curricular(0.5, 16.0, 0.0), MIXED),
    ("mv-softmax/cosine-adaptive", mv("Cosine", 0.35, "Adaptive", 0.12, 32.0), MIXED),
    ("mv-softmax/cosine-fixed", mv("Cosine", 0.35, "Fixed", 0.2, 32.0), None),
    ("mv-softmax/angle-adaptive", mv("Angle", 0.5, "Adaptive", 0.3, 16.0), MIXED),
    ("mv-softmax/angle-fixed-opposite", mv("Angle", 0.5, "Fixed", 0.2, 32.0), OPPOSITE),
    ("uni-face/paper", uni(0.4, 64.0, 1.0), MIXED),
    ("uni-face/balanced", uni(0.2, 16.0, 0.3), None),
    ("uni-face/opposite", uni(0.4, 30.0, 2.0), OPPOSITE),
    ("sphere-face-2/paper", sphere2(0.4, 40.0, 0.7, 3.0), MIXED),
    ("sphere-face-2/straight", sphere2(0.3, 16.0, 0.5, 1.0), None),
    ("sphere-face-2/opposite", sphere2(0.4, 20.0, 0.8, 2.5), OPPOSITE),
    ("sphere-face-2/detached", sphere2(0.4, 30.0, 0.7, 3.0, "Detached"), MIXED),
]


def cases():
    return [rival_case(name, *head, own_cosines) for name, head, own_cosines in HEADS]
