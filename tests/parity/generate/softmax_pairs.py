"""Losses with a log-sum-exp over pairs."""

import math

import numpy as np
import torch
from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning.distances import CosineSimilarity, DotProductSimilarity
from pytorch_metric_learning.reducers import DoNothingReducer
from torch.nn import functional

from cases import PML, TORCH, case, cotangent, differentiate, draws, rows, single

FEATURES = 4
# A class of three, a class of two, and two rows that are alone.
LABELS = [4, 9, 4, 2, 9, 4, 30]
# References: two of 4, one of 9, none of 2; -1 is an empty slot.
REFERENCE_LABELS = [4, 7, -1, 9, 4]
# What is compared with them: a row of 2 has no positive.
ANCHOR_LABELS = [9, 4, 2, 4]
QUEUE_LABELS = [3, -1, 0, 3]


def embeddings_of(rng, count, largest=5.0):
    return single(rows(rng, count, FEATURES, 0.3, largest))


def pml_losses_of(loss, embeddings, labels, references=None, reference_labels=None):
    """The dictionary of unreduced losses; rows with a negative label are left out before."""
    loss.reducer = DoNothingReducer()
    labels = torch.tensor(labels)
    if references is None:
        return loss(embeddings, labels)["loss"]
    reference_labels = torch.tensor(reference_labels)
    filled = torch.nonzero(reference_labels >= 0)[:, 0]
    found = loss(
        embeddings, labels, ref_emb=references[filled], ref_labels=reference_labels[filled]
    )["loss"]
    if isinstance(found["indices"], tuple):
        found["indices"] = (found["indices"][0], filled[found["indices"][1]])
    return found


def scattered(values, size, *indices):
    """Losses at their place in an array of zeros, flattened."""
    return torch.zeros(size, dtype=torch.float64).index_put(indices, values).reshape(-1)


def with_references(build, labels, reference_labels, place):
    def losses(embeddings, references=None):
        found = pml_losses_of(build(), embeddings, labels, references, reference_labels)
        return place(found, embeddings, references)

    return losses


def pair_matrix(found, embeddings, references):
    """Every pair of a batch; with references, the sum of each row."""
    count = len(embeddings) if references is None else len(references)
    pairs = scattered(found["losses"], (len(embeddings), count), *found["indices"])
    return pairs if references is None else pairs.reshape(-1, count).sum(1)


def per_row(found, embeddings, _):
    return found["losses"].reshape(len(embeddings))


def at_anchor(found, embeddings, _):
    return scattered(found["losses"], (len(embeddings),), found["indices"])


def finished(name, loss, settings, inputs, labels, function, rng, source, constants=False):
    """`constants`: some factors that depend on the inputs have no gradient, so that finite differences do not apply."""
    shape = function(*(torch.tensor(value) for value in inputs.values())).shape
    upstream = cotangent(rng, *shape)
    results = differentiate(function, inputs, inputs, upstream)
    entry = case(name, loss, settings, inputs, labels, upstream, results, source)
    return entry | {"measures_batch": True} if constants else entry


def info_nce(name, temperature, labels=LABELS, references=False):
    rng = next(draws(name))
    inputs = {"embeddings": embeddings_of(rng, len(labels))}
    every = list(labels)
    if references:
        inputs["references"] = embeddings_of(rng, len(REFERENCE_LABELS), 2.0)
        every += REFERENCE_LABELS
    function = with_references(
        lambda: pml_losses.NTXentLoss(temperature=temperature), labels, REFERENCE_LABELS, pair_matrix
    )
    settings = {"temperature": temperature}
    return finished(name, "InfoNceLoss", settings, inputs, every, function, rng, f"{PML} NTXentLoss")


def learned(name, log_scale):
    rng = next(draws(name))
    inputs = {
        "embeddings": embeddings_of(rng, len(LABELS)),
        "log_scale": single([[log_scale]]),
    }

    def losses(embeddings, log_scale):
        unit = functional.normalize(embeddings)
        scores = log_scale.exp() * (unit @ unit.T)
        labels = torch.tensor(LABELS)
        same = labels[:, None] == labels
        negatives = scores.masked_fill(same, -torch.inf).logsumexp(1)
        values = functional.softplus(negatives[:, None] - scores, threshold=1e9)
        positive = same & ~torch.eye(len(LABELS), dtype=torch.bool)
        return values.masked_fill(~positive, 0.0).reshape(-1)

    settings = {"temperature": 0.25, "temperature_mode": "Learned"}
    source = f"{TORCH} autograd of the formula"
    return finished(name, "InfoNceLoss", settings, inputs, LABELS, losses, rng, source)


def views(name, temperature, count=3):
    rng = next(draws(name))
    inputs = {"first": embeddings_of(rng, count), "second": embeddings_of(rng, count, 2.0)}

    def losses(first, second):
        labels = 2 * list(range(count))
        found = pml_losses_of(
            pml_losses.NTXentLoss(temperature=temperature), torch.cat([first, second]), labels
        )
        assert found["indices"][0].tolist() == list(range(2 * count))
        return found["losses"]

    source = f"{PML} NTXentLoss of both views, labels by position"
    return finished(name, "InfoNceLoss", {"temperature": temperature}, inputs, [], losses, rng, source)


def aligned(name, temperature, queue=False, count=4):
    rng = next(draws(name))
    inputs = {"queries": embeddings_of(rng, count), "keys": embeddings_of(rng, count, 2.0)}
    if queue:
        inputs["queue"] = embeddings_of(rng, len(QUEUE_LABELS), 3.0)

    def losses(queries, keys, queue=None):
        loss = pml_losses.NTXentLoss(temperature=temperature)
        own = list(range(count))
        if queue is None:
            return pml_losses_of(loss, queries, own, keys, own)["losses"]
        values = []
        for query, key in zip(queries, keys):
            # One query at a time: the keys of the others are no negatives here.
            filled = queue[torch.tensor(QUEUE_LABELS) >= 0]
            references = torch.cat([key[None], filled])
            labels = [0] + list(range(1, len(references)))
            values.append(pml_losses_of(loss, query[None], [0], references, labels)["losses"])
        return torch.cat(values)

    source = f"{PML} NTXentLoss with references, labels by position"
    labels = QUEUE_LABELS if queue else []
    return finished(name, "InfoNceLoss", {"temperature": temperature}, inputs, labels, losses, rng, source)


def matryoshka(name, lengths, weights=None, **more):
    def build():
        def loss(embeddings, labels, **references):
            total = 0.0
            for length, weight in zip(lengths, weights or [1.0] * len(lengths)):
                cut = {key: value[:, :length] if key == "ref_emb" else value for key, value in references.items()}
                each = pml_losses.SupConLoss(temperature=0.1)
                each.reducer = loss.reducer
                found = each(embeddings[:, :length], labels, **cut)["loss"]
                total = total + weight * found["losses"]
            return {"loss": {"losses": total, "indices": found["indices"]}}

        return loss

    settings = {"lengths": lengths} | ({"weights": weights} if weights else {})
    source = f"{PML} SupConLoss of the first columns, summed"
    return row_case(name, "MatryoshkaLoss", settings, build, source, **more)


def row_case(name, loss, settings, build, source, labels=LABELS, references=False, place=per_row):
    rng = next(draws(name))
    inputs = {"embeddings": embeddings_of(rng, len(labels))}
    every = list(labels)
    if references:
        inputs["references"] = embeddings_of(rng, len(REFERENCE_LABELS), 2.0)
        every += REFERENCE_LABELS
    function = with_references(build, labels, REFERENCE_LABELS, place)
    return finished(name, loss, settings, inputs, every, function, rng, source)


def sup_con(name, temperature, **more):
    return row_case(
        name, "SupConLoss", {"temperature": temperature},
        lambda: pml_losses.SupConLoss(temperature=temperature), f"{PML} SupConLoss", **more
    )


def multi_similarity(name, alpha, beta, base, **more):
    return row_case(
        name, "MultiSimilarityLoss", {"alpha": alpha, "beta": beta, "base": base},
        lambda: pml_losses.MultiSimilarityLoss(alpha=alpha, beta=beta, base=base),
        f"{PML} MultiSimilarityLoss", **more
    )


def circle(name, margin, scale, **more):
    # The weights have no gradient, so finite differences do not apply.
    settings = {"margin": margin, "scale": scale, "gradient": "Detached"}
    return row_case(
        name, "CircleLoss", settings, lambda: pml_losses.CircleLoss(m=margin, gamma=scale),
        f"{PML} CircleLoss", **more
    )


def n_pairs(name, score, **more):
    distances = {
        "Product": lambda: DotProductSimilarity(normalize_embeddings=False),
        "Cosine": CosineSimilarity,
    }
    return row_case(
        name, "NPairsLoss", {"score": score}, lambda: pml_losses.NPairsLoss(distance=distances[score]()),
        f"{PML} NPairsLoss, score {score}", place=at_anchor, **more
    )


def n_pairs_laid_out(name, score, count=4):
    rng = next(draws(name))
    inputs = {"anchors": embeddings_of(rng, count, 2.0), "positives": embeddings_of(rng, count, 2.0)}

    def losses(anchors, positives):
        if score == "Cosine":
            anchors, positives = functional.normalize(anchors), functional.normalize(positives)
        values = functional.cross_entropy(anchors @ positives.T, torch.arange(count), reduction="none")
        return values.mean()[None]

    source = f"{TORCH} cross_entropy of the products, mean"
    return finished(name, "NPairsLoss", {"score": score}, inputs, [], losses, rng, source)


def n_pairs_with_references(name):
    rng = next(draws(name))
    inputs = {
        "embeddings": embeddings_of(rng, len(ANCHOR_LABELS), 2.0),
        "references": embeddings_of(rng, len(REFERENCE_LABELS), 2.0),
    }

    def losses(embeddings, references):
        labels = [label for label in dict.fromkeys(REFERENCE_LABELS) if label >= 0]
        keys = references[[REFERENCE_LABELS.index(label) for label in labels]]
        anchors = [ANCHOR_LABELS.index(label) for label in labels if label in ANCHOR_LABELS]
        targets = [labels.index(ANCHOR_LABELS[row]) for row in anchors]
        values = functional.cross_entropy(embeddings[anchors] @ keys.T, torch.tensor(targets), reduction="none")
        return values.mean()[None]

    source = f"{TORCH} cross_entropy of the products with the first reference of every label, mean"
    every = ANCHOR_LABELS + REFERENCE_LABELS
    return finished(name, "NPairsLoss", {"score": "Product"}, inputs, every, losses, rng, source)


ALONE_LABELS = [1, 1, 5, 1, 1]
# Two samples that are the same thing, and one that is nothing.
IDENTITIES = [4, 9, 4, 2, -1]


def strangers(count, identities):
    """Which of all pairs are negatives, and which rows are in a pair at all."""
    if not identities:
        return ~torch.eye(count, dtype=torch.bool), torch.ones(count, dtype=torch.bool)
    labels = torch.tensor(identities)
    known = labels >= 0
    return (labels[:, None] != labels) & known[:, None] & known, known


def symmetric(name, temperature, identities=(), count=5):
    rng = next(draws(name))
    inputs = {"images": embeddings_of(rng, count), "texts": embeddings_of(rng, count, 2.0)}
    identities = list(identities)

    def losses(images, texts):
        negative, known = strangers(count, identities)
        scores = functional.normalize(images) @ functional.normalize(texts).T / temperature
        allowed = negative | torch.eye(count, dtype=torch.bool)
        own = torch.arange(count)
        ways = [
            functional.cross_entropy(logits.masked_fill(~allowed, -torch.inf), own, reduction="none")
            for logits in (scores, scores.T)
        ]
        return torch.cat([torch.where(known, way, 0.0) for way in ways])

    source = f"{TORCH} cross_entropy of the scores and of their transpose"
    return finished(name, "InfoNceLoss", {"temperature": temperature}, inputs, identities, losses, rng, source)


def sig_lip(name, sides=("queries", "keys"), identities=(), learned=None, temperature=0.1, bias=-10.0, count=5):
    """Two sides; with `learned`, the logarithm of the scale and the bias are inputs."""
    rng = next(draws(name))
    inputs = {sides[0]: embeddings_of(rng, count), sides[1]: embeddings_of(rng, count, 2.0)}
    identities = list(identities)
    settings = {"temperature": temperature, "bias": bias}
    if learned:
        inputs["log_scale"], inputs["bias"] = (single([[number]]) for number in learned)
    else:
        settings["temperature_mode"] = "Fixed"

    def losses(first, second, log_scale=None, trained_bias=None):
        negative, known = strangers(count, identities)
        scale = 1 / temperature if log_scale is None else log_scale.exp()
        logits = scale * (functional.normalize(first) @ functional.normalize(second).T)
        logits = logits + (bias if trained_bias is None else trained_bias)
        same = torch.eye(count, dtype=torch.bool) & known[:, None]
        values = -functional.logsigmoid(torch.where(same, logits, -logits))
        values = torch.where(same | negative, values, 0.0)
        return torch.cat([values.sum(1), values.sum(0)]) if sides[0] == "images" else values.sum(1)

    source = f"{TORCH} logsigmoid of all scores, as in open_clip's SigLipLoss"
    return finished(name, "SigLipLoss", settings, inputs, identities, losses, rng, source)


def sig_lip_of_labels(name, temperature, bias, labels=LABELS, references=False):
    rng = next(draws(name))
    inputs = {"embeddings": embeddings_of(rng, len(labels))}
    every = list(labels)
    if references:
        inputs["references"] = embeddings_of(rng, len(REFERENCE_LABELS), 2.0)
        every += REFERENCE_LABELS

    def losses(embeddings, references=None):
        itself = references is None
        others = torch.tensor(labels if itself else REFERENCE_LABELS)
        own = torch.tensor(labels)[:, None]
        unit = functional.normalize(embeddings)
        keys = unit if itself else functional.normalize(references)
        logits = unit @ keys.T / temperature + bias
        counted = (own >= 0) & (others >= 0)
        if itself:
            counted &= ~torch.eye(len(labels), dtype=torch.bool)
        values = -functional.logsigmoid(torch.where(own == others, logits, -logits))
        return torch.where(counted, values, 0.0).sum(1)

    settings = {"temperature": temperature, "bias": bias, "temperature_mode": "Fixed"}
    source = f"{TORCH} logsigmoid of the scores of all pairs of labels"
    return finished(name, "SigLipLoss", settings, inputs, every, losses, rng, source)


def decoupled_of(cosines, positive, negative, temperature, sigma):
    """Losses of all pairs; the weights are constants of the gradient."""
    scores = cosines / temperature
    negatives = scores.masked_fill(~negative, -torch.inf).logsumexp(1, keepdim=True)
    counted = positive & negative.any(1, keepdim=True)
    weights = torch.ones_like(cosines)
    if sigma:
        raised = (cosines.detach() / sigma)[counted].softmax(0)
        weights = weights.masked_scatter(counted, 2 - counted.sum() * raised)
    return torch.where(counted, torch.where(counted, negatives, 0.0) - weights * scores, 0.0)


def decoupled(name, temperature, sigma=None, labels=LABELS):
    rng = next(draws(name))
    inputs = {"embeddings": embeddings_of(rng, len(labels))}

    def losses(embeddings):
        unit = functional.normalize(embeddings)
        same = torch.tensor(labels)[:, None] == torch.tensor(labels)
        positive = same & ~torch.eye(len(labels), dtype=torch.bool)
        return decoupled_of(unit @ unit.T, positive, ~same, temperature, sigma).sum(1)

    settings = {"temperature": temperature} | ({"weight_temperature": sigma} if sigma else {})
    source = f"{TORCH} autograd of the formula"
    return finished(
        name, "DecoupledContrastiveLoss", settings, inputs, list(labels), losses, rng, source, constants=bool(sigma)
    )


def decoupled_views(name, temperature, sigma=None, count=4):
    rng = next(draws(name))
    inputs = {"first": embeddings_of(rng, count), "second": embeddings_of(rng, count, 2.0)}

    def losses(first, second):
        unit = functional.normalize(torch.cat([first, second]))
        sample = torch.arange(2 * count) % count
        same = sample[:, None] == sample
        positive = same & ~torch.eye(2 * count, dtype=torch.bool)
        return decoupled_of(unit @ unit.T, positive, ~same, temperature, sigma).sum(1)

    settings = {"temperature": temperature} | ({"weight_temperature": sigma} if sigma else {})
    source = f"{TORCH} autograd of the formula"
    return finished(name, "DecoupledContrastiveLoss", settings, inputs, [], losses, rng, source, constants=bool(sigma))


def adaptive_layer(name, labels=LABELS, **settings):
    """sentence-transformers 6.2.0's AdaptiveLayerLoss, written out, around the mean supervised contrastive loss."""
    rng = next(draws(name))
    inputs = {key: embeddings_of(rng, len(labels), seed) for key, seed in (("embeddings", 1.0), ("first", 2.0), ("fourth", 0.7))}
    chosen = {"last_layer_weight": 1.0, "prior_layers_weight": 1.0, "layer_weighting": "Uniform", "kl_div_weight": 1.0,
              "kl_temperature": 0.3} | settings

    def sup_con_mean(embeddings):
        unit = functional.normalize(embeddings)
        itself = torch.eye(len(labels), dtype=torch.bool)
        known = torch.tensor(labels)
        scores = (unit @ unit.T / 0.1).masked_fill(itself, -torch.inf)
        same = (known[:, None] == known[None]) & ~itself
        surprise = torch.logsumexp(scores, 1, keepdim=True) - scores
        count = same.sum(1)
        losses = torch.where(same, surprise, 0.0).sum(1)[count > 0] / count[count > 0]
        return losses.mean()

    def losses(last, first, fourth):
        temperature = chosen["kl_temperature"]
        wanted = functional.softmax(last / temperature, dim=-1).detach()
        loss = sup_con_mean(last) * chosen["last_layer_weight"]
        weigh = {"Uniform": lambda layer: 1.0, "Logarithmic": lambda layer: 1.0 / (1.0 + math.log(1 + layer)),
                 "Linear": lambda layer: 1.0 / (1 + layer)}[chosen["layer_weighting"]]
        for layer, embeddings in ((0, first), (3, fourth)):
            loss = loss + sup_con_mean(embeddings) * weigh(layer) / 2 * chosen["prior_layers_weight"]
            found = functional.log_softmax(embeddings / temperature, dim=-1)
            divergence = functional.kl_div(found, wanted, reduction="batchmean")
            loss = loss + divergence * temperature * chosen["kl_div_weight"]
        return loss[None]

    source = f"{TORCH} autograd of sentence-transformers 6.2.0 AdaptiveLayerLoss around the supervised contrastive loss"
    return finished(name, "AdaptiveLayerLoss", settings, inputs, list(labels), losses, rng, source, constants=True)


def ranking(name, temperature=0.05, directions=None, hardness=0.0, hard_alone=False, columns=(), identities=(), log_scale=None,
            per_direction=False):
    """Every negative by itself, in the order of the directions."""
    rng, count = next(draws(name)), 5
    inputs = {"queries": embeddings_of(rng, count), "documents": embeddings_of(rng, count, 2.0)}
    for column in columns:
        inputs[column] = embeddings_of(rng, count, 3.0)
    settings = {"temperature": temperature}
    if log_scale is not None:
        inputs["log_scale"] = single([[log_scale]])
        settings["temperature_mode"] = "Learned"
    if directions:
        settings["directions"] = directions
    if per_direction:
        settings["partition_mode"] = "PerDirection"
    if hardness:
        settings["hardness"] = hardness
        settings["hardness_scope"] = "HardNegatives" if hard_alone else "AllNegatives"
    identities = list(identities)

    def losses(queries, documents, *others):
        scale = others[-1].exp().squeeze() if log_scale is not None else 1 / temperature
        unit = [functional.normalize(rows) for rows in (queries, documents, *others[: len(columns)])]
        negative, known = strangers(count, identities)
        sides = {
            "QueryToDocument": (unit[0], unit[1]),
            "QueryToQuery": (unit[0], unit[0]),
            "DocumentToQuery": (unit[1], unit[0]),
            "DocumentToDocument": (unit[1], unit[1]),
        }
        own = scale * (unit[0] * unit[1]).sum(1)
        terms = {"joint": []}
        for direction in directions or ["QueryToDocument"]:
            cosines = sides[direction][0] @ sides[direction][1].T
            raised = scale * cosines + (0.0 if hard_alone else hardness) * cosines.detach()
            group = terms.setdefault(direction if per_direction else "joint", [])
            group.append(raised.masked_fill(~negative, -torch.inf))
        for rows in unit[2:]:
            cosines = unit[0] @ rows.T
            group = terms["QueryToDocument" if per_direction else "joint"]
            group.append((scale * cosines + hardness * cosines.detach()).masked_fill(~known, -torch.inf))
        groups = [torch.cat([own[:, None], *group], 1) for group in terms.values() if group]
        zeros = torch.zeros(count, dtype=torch.long)
        values = sum(functional.cross_entropy(logits, zeros, reduction="none") for logits in groups) / len(groups)
        return torch.where(known, values, 0.0)

    source = f"{TORCH} cross_entropy of the positive and all negatives"
    return finished(
        name, "MultipleNegativesRankingLoss", settings, inputs, identities, losses, rng, source, constants=hardness > 0
    )


def co_sent(name, scale, similarity="Cosine", grades=(3, 0, 2, 3, 1, 2, 0)):
    """sentence-transformers' CoSENTLoss and pairwise_angle_sim, written out."""
    rng, count = next(draws(name)), len(grades)
    inputs = {"first": embeddings_of(rng, count), "second": embeddings_of(rng, count, 2.0)}

    def losses(first, second):
        if similarity == "Cosine":
            scores = functional.cosine_similarity(first, second, eps=0)
        else:
            (a, b), (c, d) = first.chunk(2, 1), second.chunk(2, 1)
            square = (c**2 + d**2).sum(1, keepdim=True)
            length, other = (a**2 + b**2).sum(1, keepdim=True) ** 0.5, square**0.5
            real, imaginary = (a * c + b * d) / square, (b * c - a * d) / square
            scores = torch.cat([real, imaginary], 1).div(length / other).sum(1).abs()
        scores = scale * scores
        grade = torch.tensor(grades)
        differences = (scores[:, None] - scores)[grade[:, None] < grade]
        return torch.cat([torch.zeros(1), differences]).logsumexp(0)[None]

    settings = {"scale": scale, "similarity": similarity}
    source = f"{TORCH} autograd of sentence-transformers' formula"
    return finished(name, "CoSentLoss", settings, inputs, list(grades), losses, rng, source)


def multi_label_sup_con(name, temperature, overlap, labels=(2, 6, 4, 20, 12, -1, 6)):
    """Bit k of a number plus one says whether label k is in the set of its row; a negative number has none."""
    rng, count = next(draws(name)), len(labels)
    inputs = {"embeddings": embeddings_of(rng, count)}

    def losses(embeddings):
        has = torch.tensor([[label >= 0 and (label % 61 + 1) >> bit & 1 for bit in range(6)] for label in labels]).double()
        both = has @ has.T
        common = both / (has.sum(1)[:, None] + has.sum(1) - both).clamp(min=1)
        known = has.any(1)
        pairs = known[:, None] & known & ~torch.eye(count, dtype=torch.bool)
        unit = functional.normalize(embeddings)
        scores = (unit @ unit.T / temperature).masked_fill(~pairs, -torch.inf)
        positive = pairs & (common >= overlap)
        log_probability = torch.where(positive, scores - scores.logsumexp(1, keepdim=True), 0.0)
        return -(common * log_probability).sum(1) / positive.sum(1).clamp(min=1)

    settings = {"temperature": temperature, "overlap": overlap}
    source = f"{TORCH} autograd of the formula of pytorch-metric-learning 3 MultiSupConLoss"
    return finished(name, "MultiLabelSupConLoss", settings, inputs, list(labels), losses, rng, source)


ALL_DIRECTIONS = ["QueryToDocument", "QueryToQuery", "DocumentToQuery", "DocumentToDocument"]


def cases():
    return [
        info_nce("info-nce/warm", 0.5),
        info_nce("info-nce/default", 0.07),
        info_nce("info-nce/one-class-and-one-row", 0.2, labels=ALONE_LABELS),
        info_nce("info-nce/references", 0.1, labels=ANCHOR_LABELS, references=True),
        learned("info-nce/learned", 1.5),
        views("info-nce/views", 0.1),
        views("info-nce/views-warm", 0.5),
        aligned("info-nce/aligned", 0.07),
        aligned("info-nce/queue", 0.1, queue=True),
        symmetric("info-nce/symmetric", 0.07),
        symmetric("info-nce/symmetric-identities", 0.2, IDENTITIES),
        sig_lip("sig-lip/aligned", temperature=0.2, bias=-3.0),
        sig_lip("sig-lip/learned", learned=(2.0, -4.5)),
        sig_lip("sig-lip/symmetric", ("images", "texts"), learned=(1.0, -1.0)),
        sig_lip("sig-lip/identities", identities=IDENTITIES, temperature=0.5, bias=0.5),
        sig_lip_of_labels("sig-lip/labels", 0.1, -2.0),
        sig_lip_of_labels("sig-lip/references", 0.2, -1.0, labels=ANCHOR_LABELS, references=True),
        sup_con("sup-con/default", 0.1),
        sup_con("sup-con/warm", 0.5),
        sup_con("sup-con/one-class-and-one-row", 0.2, labels=ALONE_LABELS),
        sup_con("sup-con/references", 0.1, labels=ANCHOR_LABELS, references=True),
        decoupled("decoupled/labels", 0.1),
        decoupled("decoupled/weighted-labels", 0.2, 0.5),
        decoupled("decoupled/one-class-and-one-row", 0.5, labels=ALONE_LABELS),
        decoupled_views("decoupled/views", 0.1),
        decoupled_views("decoupled/weighted-views", 0.1, 0.5),
        ranking("ranking/plain"),
        ranking("ranking/hard", 0.1, columns=("hard", "harder")),
        ranking("ranking/all-directions", 0.2, ALL_DIRECTIONS, identities=IDENTITIES, columns=("hard",)),
        ranking("ranking/hardness", 0.2, ALL_DIRECTIONS[:3], hardness=4.0, columns=("hard",)),
        ranking("ranking/hardness-of-hard", 0.5, hardness=9.0, hard_alone=True, columns=("hard",), log_scale=1.0),
        ranking("ranking/learned", 0.5, ALL_DIRECTIONS[:2], log_scale=1.5),
        ranking("ranking/per-direction", 0.2, ["QueryToDocument", "DocumentToQuery"], identities=IDENTITIES, per_direction=True),
        ranking("ranking/per-direction-hard", 0.5, ["QueryToDocument", "DocumentToQuery"], hardness=2.0, columns=("hard",),
                per_direction=True),
        ranking("ranking/learned-hardness", 0.5, ALL_DIRECTIONS, hardness=2.0, log_scale=0.5, columns=("hard",)),
        co_sent("co-sent/cosine", 20.0),
        co_sent("co-sent/gentle", 2.0, grades=(1, 4, 4, 1, 1)),
        co_sent("co-sent/angle", 3.0, "ComplexAngle"),
        adaptive_layer("adaptive-layer/plain"),
        adaptive_layer("adaptive-layer/weighted", last_layer_weight=0.5, prior_layers_weight=2.0, layer_weighting="Linear",
                       kl_div_weight=3.0, kl_temperature=1.5),
        adaptive_layer("adaptive-layer/logarithmic", layer_weighting="Logarithmic", kl_div_weight=0.0),
        matryoshka("matryoshka/plain", [2, 4]),
        matryoshka("matryoshka/weighted", [1, 3, 4], [2.0, 0.5, 1.0]),
        matryoshka("matryoshka/references", [2, 3], labels=ANCHOR_LABELS, references=True),
        multi_label_sup_con("multi-label-sup-con/default", 0.1, 0.5),
        multi_label_sup_con("multi-label-sup-con/little-in-common", 0.5, 0.2),
        n_pairs("n-pairs/product", "Product"),
        n_pairs("n-pairs/cosine", "Cosine"),
        n_pairs("n-pairs/many", "Product", labels=[3, 1, 3, 1, 8, 0, 8]),
        n_pairs_laid_out("n-pairs/laid-out", "Product"),
        n_pairs_laid_out("n-pairs/laid-out-cosine", "Cosine"),
        n_pairs_with_references("n-pairs/references"),
        multi_similarity("multi-similarity/default", 2.0, 50.0, 0.5),
        multi_similarity("multi-similarity/paper", 2.0, 40.0, 1.0),
        multi_similarity("multi-similarity/gentle", 1.5, 4.0, 0.1, labels=ALONE_LABELS),
        multi_similarity("multi-similarity/references", 2.0, 10.0, 0.5, labels=ANCHOR_LABELS, references=True),
        circle("circle/default", 0.4, 80.0),
        circle("circle/faces", 0.25, 256.0),
        circle("circle/gentle", 0.1, 5.0, labels=ALONE_LABELS),
        circle("circle/references", 0.4, 16.0, labels=ANCHOR_LABELS, references=True),
    ]
