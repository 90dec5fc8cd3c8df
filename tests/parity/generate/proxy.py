"""Losses of embeddings and trained proxies."""

import torch
from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning.reducers import DoNothingReducer
from torch.nn import functional

from cases import PML, TORCH, case, cotangent, differentiate, draws, rows, single

FEATURES, CLASSES = 4, 5
LABELS = [3, 0, 2, 0, 3, 3, 4]  # class 1 is absent, 0 comes twice, 3 three times


def attached(loss, name, weights):
    """The loss with a tensor of ours where its parameter was, so that the gradient arrives there."""
    delattr(loss, name)
    setattr(loss, name, weights)
    loss.cast_types = lambda *_: None
    loss.reducer = DoNothingReducer()
    return loss


def nca(settings):
    def losses(embeddings, weights):
        loss = pml_losses.ProxyNCALoss(len(weights), FEATURES, softmax_scale=settings["scale"])
        loss = attached(loss, "proxies", weights)
        return loss(embeddings, torch.tensor(LABELS))["loss"]["losses"]

    return losses


def nca_of_others(settings):
    def losses(embeddings, weights):
        unit, proxies = functional.normalize(embeddings), functional.normalize(weights)
        squares = (unit[:, None] - proxies[None]).square().sum(2)
        labels = torch.tensor(LABELS)
        own = squares.gather(1, labels[:, None])[:, 0]
        is_own = functional.one_hot(labels, len(weights)).bool()
        others = (-settings["scale"] * squares).masked_fill(is_own, -torch.inf)
        return settings["scale"] * own + others.logsumexp(1)

    return losses


def anchor(settings):
    def losses(embeddings, weights):
        loss = pml_losses.ProxyAnchorLoss(
            len(weights), FEATURES, margin=settings["margin"], alpha=settings["alpha"]
        )
        found = attached(loss, "proxies", weights)(embeddings, torch.tensor(LABELS))
        far, near = found["pos_loss"], found["neg_loss"]
        assert near["divisor"] == len(weights)
        return far["losses"] * len(weights) / far["divisor"] + near["losses"]

    return losses


def soft_triple(settings):
    def losses(embeddings, weights):
        loss = pml_losses.SoftTripleLoss(
            settings["classes"],
            FEATURES,
            centers_per_class=settings["centers_per_class"],
            la=settings["scale"],
            gamma=settings["gamma"],
            margin=settings["margin"],
        )
        return attached(loss, "fc", weights.T)(embeddings, torch.tensor(LABELS))["loss"]["losses"]

    return losses


def soft_triple_regularized(settings):
    def losses(embeddings, weights):
        count = settings["centers_per_class"]
        centers = functional.normalize(weights).reshape(-1, count, FEATURES)
        first, second = torch.triu_indices(count, count, 1)
        distances = (2.0 - 2.0 * (centers[:, first] * centers[:, second]).sum(2)).sqrt()
        regularizer = distances.sum() / (len(centers) * count * (count - 1))
        rows = soft_triple(settings)(embeddings, weights)
        return (rows.mean() + settings["regularizer_weight"] * regularizer)[None]

    return losses


def normalized_softmax(settings):
    def losses(embeddings, weights):
        loss = pml_losses.NormalizedSoftmaxLoss(
            len(weights), FEATURES, temperature=settings["temperature"]
        )
        return attached(loss, "W", weights.T)(embeddings, torch.tensor(LABELS))["loss"]["losses"]

    return losses


def proxy_case(name, loss, settings, build, source):
    rng = next(draws(name))
    per_class = settings.get("centers_per_class", 1)
    inputs = {
        "embeddings": single(rows(rng, len(LABELS), FEATURES, 0.3, 5.0)),
        "weights": single(rows(rng, CLASSES * per_class, FEATURES, 0.05, 2.0)),
    }
    settings = {"classes": CLASSES, "embedding_dim": FEATURES, **settings}
    function = build(settings)
    shape = function(*(torch.tensor(value) for value in inputs.values())).shape
    upstream = cotangent(rng, *shape)
    results = differentiate(function, inputs, inputs, upstream)
    return case(name, loss, settings, inputs, LABELS, upstream, results, source)


def nca_case(name, scale, denominator="AllProxies"):
    settings = {"scale": scale, "denominator": denominator}
    if denominator == "AllProxies":
        return proxy_case(name, "ProxyNcaLoss", settings, nca, f"{PML} ProxyNCALoss")
    source = f"{TORCH} autograd of the formula of the paper"
    return proxy_case(name, "ProxyNcaLoss", settings, nca_of_others, source)


def anchor_case(name, margin, alpha):
    settings = {"margin": margin, "alpha": alpha}
    source = f"{PML} ProxyAnchorLoss, both parts with their divisors"
    return proxy_case(name, "ProxyAnchorLoss", settings, anchor, source)


def soft_triple_case(name, centers_per_class, scale, gamma, margin, regularizer_weight=0.0):
    settings = {
        "centers_per_class": centers_per_class,
        "scale": scale,
        "gamma": gamma,
        "margin": margin,
        "regularizer_weight": regularizer_weight,
    }
    if regularizer_weight == 0.0:
        return proxy_case(name, "SoftTripleLoss", settings, soft_triple, f"{PML} SoftTripleLoss")
    source = f"{PML} SoftTripleLoss, mean, and {TORCH} autograd of the regularizer"
    return proxy_case(name, "SoftTripleForward", settings, soft_triple_regularized, source)


def softmax_case(name, temperature):
    settings = {"temperature": temperature}
    source = f"{PML} NormalizedSoftmaxLoss"
    return proxy_case(name, "NormalizedSoftmaxLoss", settings, normalized_softmax, source)


def cases():
    return [
        nca_case("proxy-nca/default", 1.0),
        nca_case("proxy-nca/sharp", 9.0),
        nca_case("proxy-nca/gentle", 0.3),
        nca_case("proxy-nca/others", 1.0, "OtherProxies"),
        nca_case("proxy-nca/others-sharp", 9.0, "OtherProxies"),
        anchor_case("proxy-anchor/default", 0.1, 32.0),
        anchor_case("proxy-anchor/gentle", 0.3, 4.0),
        anchor_case("proxy-anchor/no-margin", 0.0, 16.0),
        soft_triple_case("soft-triple/default", 3, 20.0, 0.1, 0.01),
        soft_triple_case("soft-triple/soft", 2, 8.0, 1.0, 0.2),
        soft_triple_case("soft-triple/one-center", 1, 20.0, 0.1, 0.1),
        soft_triple_case("soft-triple/regularized", 3, 10.0, 0.2, 0.05, 0.2),
        soft_triple_case("soft-triple/regularized-pairs", 2, 10.0, 0.5, 0.05, 0.7),
        soft_triple_case("soft-triple/regularized-much", 4, 20.0, 0.1, 0.0, 3.0),
        softmax_case("normalized-softmax/default", 0.05),
        softmax_case("normalized-softmax/warm", 0.5),
        softmax_case("normalized-softmax/cold", 0.02),
    ]
