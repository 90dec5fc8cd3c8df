"""Losses of logits and targets."""

import os

os.environ["KERAS_BACKEND"] = "torch"

from importlib.metadata import version

import keras
import numpy as np
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from cases import LABELS, TORCH, case, cotangent, differentiate, draws, single

KERAS = "keras " + version("keras") + " (torch backend)"
TORCHVISION = "torchvision " + version("torchvision")
LABEL_COUNT, CLASSES = len(LABELS), 6
ROWS, COLUMNS = 5, 4
WEIGHTS = [0.5, 2.0, 1.25, 0.25, 3.0, 1.5]

keras.backend.set_floatx("float64")


def labelled(name, loss, settings, function, source):
    rng = next(draws(name))
    inputs = {"logits": single(2.0 * rng.standard_normal((LABEL_COUNT, CLASSES)))}
    upstream = cotangent(rng, LABEL_COUNT)
    labels = torch.tensor(LABELS)
    results = differentiate(lambda logits: function(logits, labels), inputs, ["logits"], upstream)
    return case(name, loss, settings, inputs, LABELS, upstream, results, source)


def distributions(rng, count, classes):
    return single(rng.dirichlet(np.full(classes, 1.5), count) * 0.9 + 0.1 / classes)


def soft(name, loss, settings, function, source, trained=("logits", "targets")):
    rng = next(draws(name))
    inputs = {
        "logits": single(2.0 * rng.standard_normal((ROWS, COLUMNS))),
        "targets": distributions(rng, ROWS, COLUMNS),
    }
    upstream = cotangent(rng, ROWS)
    results = differentiate(function, inputs, list(trained), upstream)
    return case(name, loss, settings, inputs, [], upstream, results, source)


def multilabel(name, loss, settings, function, source, trained, hard, far_from=None):
    for rng in draws(name):
        logits = single(2.0 * rng.standard_normal((ROWS, COLUMNS)))
        p = 1.0 / (1.0 + np.exp(-logits))
        if far_from is None or np.abs(p - far_from).min() > 0.01:
            break
    targets = rng.uniform(0.05, 0.95, (ROWS, COLUMNS))
    targets = single(targets > 0.6) if hard else single(targets)
    inputs = {"logits": logits, "targets": targets}
    upstream = cotangent(rng, ROWS * COLUMNS)
    flat = lambda logits, targets: function(logits, targets).reshape(-1)
    results = differentiate(flat, inputs, trained, upstream)
    return case(name, loss, settings, inputs, [], upstream, results, source)


def cross_entropies():
    source = f"{TORCH} nn.functional.cross_entropy"
    for special, weights, smoothing in (
        ("plain", None, 0.0),
        ("weights", WEIGHTS, 0.0),
        ("smoothing", None, 0.1),
        ("weights-smoothing", WEIGHTS, 0.3),
    ):
        settings = {"class_weights": weights, "label_smoothing": smoothing}
        options = {
            "weight": None if weights is None else torch.tensor(weights),
            "label_smoothing": smoothing,
            "reduction": "none",
        }
        yield labelled(
            f"classification/cross-entropy-{special}",
            "CrossEntropyLoss",
            settings,
            lambda logits, labels: F.cross_entropy(logits, labels, **options),
            source,
        )
        options["weight"] = None if weights is None else torch.tensor(weights[:COLUMNS])
        settings = {
            "class_weights": None if weights is None else weights[:COLUMNS],
            "label_smoothing": smoothing,
        }
        yield soft(
            f"classification/cross-entropy-soft-{special}",
            "CrossEntropyLoss soft",
            settings,
            lambda logits, targets: F.cross_entropy(logits, targets, **options),
            source,
        )


def binary_cross_entropies():
    for special, weights, hard in (
        ("plain", None, False),
        ("weights", [0.5, 3.0, 1.25, 2.0], False),
        ("hard", [4.0, 1.0, 0.25, 2.0], True),
    ):
        pos_weight = None if weights is None else torch.tensor(weights)
        yield multilabel(
            f"classification/binary-cross-entropy-{special}",
            "BinaryCrossEntropyLoss",
            {"positive_weights": weights},
            lambda logits, targets: F.binary_cross_entropy_with_logits(
                logits, targets, pos_weight=pos_weight, reduction="none"
            ),
            f"{TORCH} nn.functional.binary_cross_entropy_with_logits",
            ["logits", "targets"],
            hard,
        )


def binary_focal_of_torchvision(alpha, gamma):
    def function(logits, targets):
        columns = [
            sigmoid_focal_loss(logits[:, c], targets[:, c], -1 if alpha is None else alpha[c], gamma)
            for c in range(COLUMNS)
        ]
        return torch.stack(columns, dim=1)

    return function


def expected_binary_focal(alpha, gamma):
    alpha = torch.tensor(alpha)

    def function(logits, targets):
        p = torch.sigmoid(logits)
        present = -alpha * targets * (1 - p) ** gamma * torch.log(p)
        return present - (1 - alpha) * (1 - targets) * p**gamma * torch.log(1 - p)

    return function


def binary_focals():
    alpha = [0.25, 0.5, 0.75, 0.1]
    source = f"{TORCHVISION} ops.sigmoid_focal_loss, class by class"
    for special, alpha_, gamma in (
        ("plain", None, 2.0),
        ("alpha", alpha, 2.0),
        ("gamma-0.5", alpha, 0.5),
        ("gamma-0", None, 0.0),
    ):
        function = binary_focal_of_torchvision(alpha_, gamma)
        settings = {"gamma": gamma, "alpha": alpha_}
        name = f"classification/binary-focal-{special}"
        yield multilabel(name, "BinaryFocalLoss", settings, function, source, ["logits"], True)
    yield multilabel(
        "classification/binary-focal-soft",
        "BinaryFocalLoss",
        {"gamma": 1.5, "alpha": alpha},
        expected_binary_focal(alpha, 1.5),
        f"{TORCH} autograd of Lin et al. 2017, equation 5, weighted by soft targets",
        ["logits"],
        False,
    )


def keras_focal(targets, logits, alpha, gamma):
    return keras.losses.categorical_focal_crossentropy(
        targets, logits, alpha=alpha, gamma=gamma, from_logits=True
    )


def focals():
    source = f"{KERAS} losses.categorical_focal_crossentropy"
    for special, alpha, gamma in (
        ("plain", None, 2.0),
        ("alpha", WEIGHTS, 2.0),
        ("gamma-0.5", WEIGHTS, 0.5),
        ("gamma-0", None, 0.0),
    ):
        one = 1.0 if alpha is None else torch.tensor(alpha)
        yield labelled(
            f"classification/focal-{special}",
            "FocalLoss",
            {"gamma": gamma, "alpha": alpha},
            lambda logits, labels: keras_focal(F.one_hot(labels, CLASSES).double(), logits, one, gamma),
            source,
        )
        few = 1.0 if alpha is None else torch.tensor(alpha[:COLUMNS])
        yield soft(
            f"classification/focal-soft-{special}",
            "FocalLoss soft",
            {"gamma": gamma, "alpha": None if alpha is None else alpha[:COLUMNS]},
            lambda logits, targets: keras_focal(targets, logits, few, gamma),
            source,
            ["logits"],
        )


def asymmetrics():
    for special, negative, positive, clip in (
        ("plain", 4.0, 1.0, 0.05),
        ("clip", 2.0, 0.0, 0.2),
        ("no-clip", 3.0, 1.5, 0.0),
    ):
        def function(logits, targets):
            p = torch.sigmoid(logits)
            shifted = (p - clip).clamp_min(0.0)
            losses = -targets * (1 - p) ** positive * torch.log(p)
            return losses - (1 - targets) * shifted**negative * torch.log(1 - shifted)

        yield multilabel(
            f"classification/asymmetric-{special}",
            "AsymmetricLoss",
            {"gamma_negative": negative, "gamma_positive": positive, "clip": clip},
            function,
            f"{TORCH} autograd of Ridnik et al. 2020, equation 7",
            ["logits"],
            True,
            far_from=clip,
        )


def of_own_probability():
    own = lambda logits, labels: torch.softmax(logits, 1)[torch.arange(LABEL_COUNT), labels]
    for epsilon in (1.0, -0.75, 2.0):
        yield labelled(
            f"classification/poly-{epsilon:g}",
            "PolyLoss",
            {"epsilon": epsilon},
            lambda logits, labels: F.cross_entropy(logits, labels, reduction="none")
            + epsilon * (1 - own(logits, labels)),
            f"{TORCH} cross_entropy and autograd of Leng et al. 2022, section 4.3",
        )
    for q in (0.7, 0.25, 1.0):
        yield labelled(
            f"classification/generalized-cross-entropy-{q:g}",
            "GeneralizedCrossEntropyLoss",
            {"q": q},
            lambda logits, labels: (1 - own(logits, labels) ** q) / q,
            f"{TORCH} autograd of Zhang, Sabuncu 2018, equation 6",
        )


def hinges():
    for special, margin, power in (("plain", 1.0, 1), ("squared", 1.0, 2), ("margin", 0.25, 2)):
        name = f"classification/multiclass-hinge-{special}"
        for attempt in range(1000):
            entry = labelled(
                name if attempt == 0 else f"{name}@{attempt}",
                "MulticlassHingeLoss",
                {"margin": margin, "power": ["Linear", "Squared"][power - 1]},
                lambda logits, labels: F.multi_margin_loss(
                    logits, labels, p=power, margin=margin, reduction="none"
                ),
                f"{TORCH} nn.functional.multi_margin_loss",
            )
            logits = np.array(entry["inputs"]["logits"]["data"]).reshape(LABEL_COUNT, CLASSES)
            gaps = margin - logits[np.arange(LABEL_COUNT), LABELS][:, None] + logits
            if np.abs(gaps).min() > 0.02:
                break
        yield {**entry, "name": name}


def divergences():
    for special, count in (("two", 2), ("three", 3), ("far", 2)):
        name = f"classification/jensen-shannon-{special}"
        rng = next(draws(name))
        spread = 4.0 if special == "far" else 1.5
        names = ("first", "second", "third")[:count]
        inputs = {key: single(spread * rng.standard_normal((ROWS, COLUMNS))) for key in names}
        upstream = cotangent(rng, ROWS)

        def function(*views):
            views = [torch.softmax(view, 1) for view in views]
            mixture = (sum(views) / len(views)).log()
            each = [F.kl_div(mixture, view, reduction="none").sum(1) for view in views]
            return sum(each) / len(each)

        results = differentiate(function, inputs, list(names), upstream)
        source = f"{TORCH} nn.functional.kl_div to the mixture"
        yield case(name, "JensenShannonLoss", {}, inputs, [], upstream, results, source)
    for special, log_target in (("plain", False), ("log-target", True), ("far", False)):
        name = f"classification/kl-div-{special}"
        rng = next(draws(name))
        targets = distributions(rng, ROWS, COLUMNS)
        spread = 4.0 if special == "far" else 1.0
        logits = torch.tensor(spread * rng.standard_normal((ROWS, COLUMNS)))
        inputs = {
            "predictions": single(torch.log_softmax(logits, 1).numpy()),
            "targets": single(np.log(targets)) if log_target else targets,
        }
        upstream = cotangent(rng, ROWS * COLUMNS)
        function = lambda p, t: F.kl_div(p, t, reduction="none", log_target=log_target).reshape(-1)
        results = differentiate(function, inputs, ["predictions", "targets"], upstream)
        source = f"{TORCH} nn.functional.kl_div"
        settings = {"log_target": log_target}
        yield case(name, "KLDivLoss", settings, inputs, [], upstream, results, source)


def cases():
    families = (
        cross_entropies(),
        binary_cross_entropies(),
        binary_focals(),
        focals(),
        asymmetrics(),
        of_own_probability(),
        hinges(),
        divergences(),
    )
    return [entry for family in families for entry in family]
