"""Cross-entropy of a linear layer."""

import torch
import torch.nn.functional as F

from cases import CLASSES, FEATURES, LABELS, SAMPLES, TORCH, case, cotangent, differentiate, draws, rows, single

WEIGHTS = [0.5, 2.0, 1.25, 0.25, 3.0, 1.5]


def cases():
    return list(every())


def every():
    plain = f"{TORCH} nn.functional.linear_cross_entropy"
    composed = f"{TORCH} nn.functional.cross_entropy of the capped logits, and autograd of the z-loss"
    for special, settings, source in (
        ("plain", {}, plain),
        ("smoothing", {"label_smoothing": 0.3}, plain),
        ("weights", {"class_weights": WEIGHTS}, plain),
        ("smoothing-weights", {"label_smoothing": 0.1, "class_weights": WEIGHTS}, plain),
        ("soft-cap", {"soft_cap": 2.0}, composed),
        ("z-loss", {"z_loss": 0.25}, composed),
        ("all", {"label_smoothing": 0.2, "class_weights": WEIGHTS, "soft_cap": 3.0, "z_loss": 0.01}, composed),
    ):
        for with_bias in (False, True):
            settings = {"class_weights": None, "label_smoothing": 0.0, "soft_cap": None, "z_loss": 0.0, **settings}
            name = f"linear/{special}" + ("-bias" if with_bias else "")
            rng = next(draws(name))
            inputs = {
                "embeddings": single(rows(rng, SAMPLES, FEATURES, 0.3, 5.0)),
                "weights": single(rows(rng, CLASSES, FEATURES, 0.05, 2.0)),
            }
            if with_bias:
                inputs["bias"] = single(rng.standard_normal((CLASSES, 1)))
            upstream = cotangent(rng, SAMPLES)
            function = composition(settings) if source == composed else linear(settings)
            results = differentiate(function, inputs, list(inputs), upstream)
            yield case(name, "LinearCrossEntropyLoss", settings, inputs, LABELS, upstream, results, source)


def arguments(settings):
    weights = settings["class_weights"]
    return {
        "weight": None if weights is None else torch.tensor(weights),
        "label_smoothing": settings["label_smoothing"],
        "reduction": "none",
    }


def linear(settings):
    def function(embeddings, weights, bias=None):
        bias = None if bias is None else bias.reshape(-1)
        labels = torch.tensor(LABELS)
        return F.linear_cross_entropy(embeddings, weights, labels, linear_bias=bias, **arguments(settings))

    return function


def composition(settings):
    def function(embeddings, weights, bias=None):
        logits = F.linear(embeddings, weights, None if bias is None else bias.reshape(-1))
        if (cap := settings["soft_cap"]) is not None:
            logits = cap * torch.tanh(logits / cap)
        losses = F.cross_entropy(logits, torch.tensor(LABELS), **arguments(settings))
        return losses + settings["z_loss"] * torch.logsumexp(logits, 1) ** 2

    return function
