"""Losses of predictions and targets."""

import os

os.environ["KERAS_BACKEND"] = "torch"

from importlib.metadata import version

import keras
import numpy as np
import torch
import torch.nn.functional as F

from cases import TORCH, agree, case, cotangent, differentiate, draws, single

KERAS = "keras " + version("keras") + " (torch backend)"
ROWS, COLUMNS = 4, 3

keras.backend.set_floatx("float64")


def batch(rng, positive):
    errors = rng.uniform(0.2, 2.0, (ROWS, COLUMNS)) * rng.choice([-1.0, 1.0], (ROWS, COLUMNS))
    targets = rng.uniform(2.5, 6.0, (ROWS, COLUMNS))
    if not positive:
        targets *= rng.choice([-0.5, 0.5], (ROWS, COLUMNS))
    return single(targets + errors), single(targets)


def entry(name, loss, settings, function, source, positive=False, kink=0.0, variances=False):
    name = f"regression/{name}"
    for rng in draws(name):
        predictions, targets = batch(rng, positive)
        if np.abs(np.abs(predictions - targets) - kink).min() > 0.02:
            break
    inputs = {"predictions": predictions, "targets": targets}
    if variances:
        inputs["variances"] = single(rng.uniform(0.1, 3.0, (ROWS, COLUMNS)))
    upstream = cotangent(rng, ROWS * COLUMNS)
    flat = lambda *inputs: function(*inputs).reshape(-1)
    results = differentiate(flat, inputs, list(inputs), upstream)
    return case(name, loss, settings, inputs, [], upstream, results, source)


def checked(name, function):
    """The formula in f64; Keras computes in f32 in places, so it is the check."""
    of_keras = getattr(keras.losses, name)

    def both(p, t):
        losses = function(p, t)
        flat = [tensor.detach().reshape(-1, 1) for tensor in (t, p)]
        agree(name, losses.detach().numpy(), of_keras(*flat).detach().numpy(), 1e-6)
        return losses

    return both, f"{TORCH} autograd of the formula; agrees with {KERAS} losses.{name} to 1e-6"


def of_torch():
    functional = f"{TORCH} nn.functional."
    for special in ("plain", "again", "positive"):
        function = lambda p, t: F.mse_loss(p, t, reduction="none")
        source = functional + "mse_loss"
        yield entry(f"mse-{special}", "MseLoss", {}, function, source, special == "positive")
    l1 = lambda p, t: F.l1_loss(p, t, reduction="none")
    yield entry("lp-1", "LpLoss", {"p": 1.0}, l1, functional + "l1_loss")
    l2 = lambda p, t: F.mse_loss(p, t, reduction="none")
    yield entry("lp-2", "LpLoss", {"p": 2.0}, l2, functional + "mse_loss")
    l3 = lambda p, t: (p - t).abs() ** 3
    yield entry("lp-3", "LpLoss", {"p": 3.0}, l3, f"{TORCH} autograd of abs(p - t)^3")
    for delta in (1.0, 0.5, 4.0):
        function = lambda p, t: F.huber_loss(p, t, reduction="none", delta=delta)
        source = functional + "huber_loss"
        yield entry(f"huber-{delta:g}", "HuberLoss", {"delta": delta}, function, source, kink=delta)
    for beta in (1.0, 0.5, 4.0):
        function = lambda p, t: F.smooth_l1_loss(p, t, reduction="none", beta=beta)
        source = functional + "smooth_l1_loss"
        yield entry(f"smooth-l1-{beta:g}", "SmoothL1Loss", {"beta": beta}, function, source, kink=beta)
    for special, full, eps in (("plain", False, 1e-6), ("full", True, 1e-6), ("eps", True, 1e-3)):
        yield entry(
            f"gaussian-{special}",
            "GaussianNLLLoss",
            {"full": full, "eps": eps},
            lambda p, t, v: F.gaussian_nll_loss(p, t, v, full=full, eps=eps, reduction="none"),
            functional + "gaussian_nll_loss",
            variances=True,
        )
    for special, input_, term in (
        ("plain", "LogRate", "Omitted"),
        ("stirling", "LogRate", "Stirling"),
        ("rate", "Rate", "Omitted"),
        ("rate-stirling", "Rate", "Stirling"),
    ):
        yield entry(
            f"poisson-{special}",
            "PoissonNllLoss",
            {"input": input_, "target_term": term, "epsilon": 1e-8},
            lambda p, t: F.poisson_nll_loss(
                p, t, log_input=input_ == "LogRate", full=term == "Stirling", eps=1e-8, reduction="none"
            ),
            functional + "poisson_nll_loss",
            positive=True,
        )


def of_keras():
    def log_cosh(p, t):
        return p - t + F.softplus(-2.0 * (p - t)) - np.log(2.0)

    function, source = checked("log_cosh", log_cosh)
    for special in ("plain", "again", "positive"):
        yield entry(f"log-cosh-{special}", "LogCoshLoss", {}, function, source, special == "positive")
    name = "MeanSquaredLogarithmicErrorLoss"
    squares = lambda p, t: (torch.log1p(p) - torch.log1p(t)) ** 2
    function, source = checked("mean_squared_logarithmic_error", squares)
    for special in ("plain", "again", "third"):
        yield entry(f"squared-logarithmic-{special}", name, {}, function, source, True)
    name = "MeanAbsolutePercentageErrorLoss"
    percentage = lambda p, t: 100.0 * ((p - t) / t.abs()).abs()
    function, source = checked("mean_absolute_percentage_error", percentage)
    for special in ("plain", "again", "positive"):
        settings = {"epsilon": 1e-7}
        yield entry(f"percentage-{special}", name, settings, function, source, special == "positive")


def of_papers():
    for epsilon in (1e-3, 0.25, 2.0):
        yield entry(
            f"charbonnier-{epsilon:g}",
            "CharbonnierLoss",
            {"epsilon": epsilon},
            lambda p, t: torch.sqrt((p - t) ** 2 + epsilon**2),
            f"{TORCH} autograd of Lai et al. 2017, section 3.3",
        )
    for quantile in (0.5, 0.05, 0.75):
        yield entry(
            f"quantile-{quantile:g}",
            "QuantileLoss",
            {"quantile": quantile},
            lambda p, t: torch.maximum(quantile * (t - p), (quantile - 1) * (t - p)),
            f"{TORCH} autograd of Koenker, Bassett 1978, equation 3.1",
        )


def cases():
    return [*of_torch(), *of_keras(), *of_papers()]
