"""Losses of a linear layer: cross-entropy, and distillation from another one."""

import torch
import torch.nn.functional as F

from cases import CLASSES, FEATURES, LABELS, SAMPLES, TORCH, case, cotangent, differentiate, draws, rows, single

WEIGHTS = [0.5, 2.0, 1.25, 0.25, 3.0, 1.5]


def cases():
    return [*cross_entropy(), *distillation()]


def layer(rng, with_bias):
    inputs = {
        "embeddings": single(rows(rng, SAMPLES, FEATURES, 0.3, 5.0)),
        "weights": single(rows(rng, CLASSES, FEATURES, 0.05, 2.0)),
    }
    if with_bias:
        inputs["bias"] = single(rng.standard_normal((CLASSES, 1)))
    return inputs


def cross_entropy():
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
            inputs = layer(rng, with_bias)
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


def distillation():
    source = f"{TORCH} nn.functional.kl_div of log_softmax, mixed as by TRL's generalized_jsd_loss, times temperature²"
    for special, divergence, temperature, with_bias in (
        ("forward", "ForwardKl", 1.0, False),
        ("forward-warm-bias", "ForwardKl", 2.5, True),
        ("reverse", "ReverseKl", 1.0, False),
        ("reverse-cold-bias", "ReverseKl", 0.5, True),
        ("jensen-shannon", {"JensenShannon": 0.5}, 1.0, False),
        ("jensen-shannon-near-teacher-bias", {"JensenShannon": 0.9}, 1.5, True),
        ("jensen-shannon-near-student", {"JensenShannon": 0.1}, 4.0, False),
        ("jensen-shannon-0", {"JensenShannon": 0.0}, 2.0, False),
        ("jensen-shannon-1", {"JensenShannon": 1.0}, 2.0, False),
    ):
        name = f"linear/distillation-{special}"
        rng = next(draws(name))
        inputs = layer(rng, with_bias)
        trained = list(inputs)
        # A teacher of another width.
        inputs["teacher_embeddings"] = single(rows(rng, SAMPLES, FEATURES + 2, 0.5, 3.0))
        inputs["teacher_weights"] = single(rows(rng, CLASSES, FEATURES + 2, 0.2, 2.0))
        if with_bias:
            inputs["teacher_bias"] = single(rng.standard_normal((CLASSES, 1)))
        upstream = cotangent(rng, SAMPLES)
        settings = {"divergence": divergence, "temperature": temperature}
        results = differentiate(distilled(divergence, temperature, list(inputs)), inputs, trained, upstream)
        yield case(name, "LinearDistillationLoss", settings, inputs, LABELS, upstream, results, source)


def distilled(divergence, temperature, names):
    def log_probabilities(embeddings, weights, bias):
        logits = F.linear(embeddings, weights, None if bias is None else bias.reshape(-1))
        return F.log_softmax(logits / temperature, dim=1)

    def kl(of, other):
        return F.kl_div(other, of, reduction="none", log_target=True).sum(1)

    def function(*tensors):
        given = dict(zip(names, tensors))
        student = log_probabilities(given["embeddings"], given["weights"], given.get("bias"))
        teacher = log_probabilities(given["teacher_embeddings"], given["teacher_weights"], given.get("teacher_bias"))
        beta = divergence["JensenShannon"] if isinstance(divergence, dict) else None
        if divergence == "ForwardKl" or beta == 0.0:
            losses = kl(teacher, student)
        elif divergence == "ReverseKl" or beta == 1.0:
            losses = kl(student, teacher)
        else:
            weights = torch.log(torch.tensor([beta, 1.0 - beta]))
            mixture = torch.logsumexp(torch.stack([teacher + weights[0], student + weights[1]]), dim=0)
            losses = beta * kl(teacher, mixture) + (1.0 - beta) * kl(student, mixture)
        return temperature**2 * losses

    return function
