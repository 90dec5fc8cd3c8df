"""Losses of distances of pairs and triplets."""

import itertools

import numpy as np
import torch
from pytorch_metric_learning import distances, losses, miners, reducers
from torch.nn import functional

from cases import PML, TORCH, case, cotangent, differentiate, draws, rows, single

LABELS = [2, 0, 2, 1, 0, 2, 1]
FEATURES = 4
# How far every hinge must be from its corner: finite differences move a distance by less than half of it.
GAP = 0.01

REDUCERS = {
    "Mean": reducers.MeanReducer,
    "Sum": reducers.SumReducer,
    "MeanNonZero": reducers.AvgNonZeroReducer,
}
DISTANCES = {
    "Euclidean": lambda: distances.LpDistance(normalize_embeddings=False, p=2),
    "SquaredEuclidean": lambda: distances.LpDistance(normalize_embeddings=False, p=2, power=2),
    "Manhattan": lambda: distances.LpDistance(normalize_embeddings=False, p=1),
    "Cosine": distances.CosineSimilarity,
}


def matrix(kind, first, second):
    if kind == "Cosine":
        return 1.0 - functional.normalize(first) @ functional.normalize(second).T
    difference = first[:, None] - second[None]
    if kind == "Manhattan":
        return difference.abs().sum(-1)
    squares = difference.square().sum(-1)
    if kind == "SquaredEuclidean":
        return squares
    same = squares == 0
    return squares.masked_fill(same, 1.0).sqrt().masked_fill(same, 0.0)


def rowwise(kind, first, second):
    return torch.stack([matrix(kind, a[None], b[None])[0, 0] for a, b in zip(first, second)])


def masks(labels, references=None):
    labels = torch.tensor(labels)
    if references is None:
        same = labels[:, None] == labels[None]
        return same & ~torch.eye(len(labels), dtype=bool), ~same
    same = labels[:, None] == torch.tensor(references)[None]
    return same, ~same


def coordinate_corners(kind, first, second):
    """A sum of absolute differences bends where one of them is 0."""
    return (first - second).ravel() if kind == "Manhattan" else np.ones(1)


def batch_coordinates(kind, embeddings):
    first, second = map(list, zip(*itertools.combinations(range(len(embeddings)), 2)))
    return coordinate_corners(kind, embeddings[first], embeddings[second])


def off_corners(numbers):
    return np.abs(np.asarray(numbers)).min() > GAP


def triplet_corners(kind, embeddings, margin):
    """Every hinge and every choice between two distances that a triplet of these rows can meet."""
    d = matrix(kind, torch.tensor(embeddings), torch.tensor(embeddings)).numpy()
    three = list(itertools.permutations(range(len(d)), 3))
    return [d[i, j] - d[i, k] + margin for i, j, k in three] + [d[i, j] - d[i, k] for i, j, k in three]


def entry(name, loss, settings, draw, corners, function, trained, count, labels, source):
    """The case of the first draw that is off all corners."""
    for rng in draws(name):
        inputs = {key: single(array) for key, array in draw(rng).items()}
        if off_corners(corners(inputs)):
            break
    upstream = cotangent(rng, count)
    results = differentiate(function, inputs, trained, upstream)
    return case(name, loss, settings, inputs, labels, upstream, results, source)


def batch(rng, count=len(LABELS)):
    return {"embeddings": rows(rng, count, FEATURES, 0.5, 1.5)}


# Contrastive loss


def contrastive(form, distance, near, far, is_same):
    relu = torch.relu
    if form == "Squared":
        positive, negative = relu(distance - near) ** 2 / 2, relu(far - distance) ** 2 / 2
    elif form == "SquaredDistance":
        positive, negative = relu(distance**2 - near) / 2, relu(far - distance**2) ** 2 / 2
    else:
        positive, negative = relu(distance - near), relu(far - distance)
    return torch.where(is_same, positive, negative)


def contrastive_corners(settings, distance):
    near, far = settings["positive_margin"], settings["negative_margin"]
    distance = distance**2 if settings["form"] == "SquaredDistance" else distance
    return np.concatenate([distance - far, distance - near])


def contrastive_settings(form, kind, near, far, balance, call, reduction):
    return {
        "form": form,
        "distance": kind,
        "positive_margin": near,
        "negative_margin": far,
        "balance": balance,
        "call": call,
        "reduction": reduction,
    }


def contrastive_batch(name, form, kind, near, far, balance, reduction):
    settings = contrastive_settings(form, kind, near, far, balance, "batch", reduction)
    positive, negative = masks(LABELS)

    def corners(inputs):
        embeddings = torch.tensor(inputs["embeddings"])
        found = contrastive_corners(settings, matrix(kind, embeddings, embeddings)[positive | negative].numpy())
        return np.concatenate([found, batch_coordinates(kind, inputs["embeddings"])])

    def function(embeddings):
        all_losses = contrastive(form, matrix(kind, embeddings, embeddings), near, far, positive)
        if reduction is None:
            return torch.where(positive | negative, all_losses, 0.0).reshape(-1)
        return all_losses[positive | negative].mean()[None]

    def library(embeddings):
        margins = (1.0 - near, 1.0 - far) if kind == "Cosine" else (near, far)
        loss = losses.ContrastiveLoss(*margins, distance=DISTANCES[kind](), reducer=REDUCERS[reduction]())
        return loss(embeddings, torch.tensor(LABELS))[None]

    from_library = form == "Hinge" and balance == "Separate" and reduction is not None
    count = len(LABELS) ** 2 if reduction is None else 1
    source = f"{PML} ContrastiveLoss" if from_library else f"{TORCH} autograd of the formula"
    function = library if from_library else function
    return entry(name, "ContrastiveLoss", settings, batch, corners, function, ["embeddings"], count, LABELS, source)


def contrastive_pairs(name, form, kind, near, far):
    settings = contrastive_settings(form, kind, near, far, "Separate", "pairs", None)
    labels = [1, 0, 1, 1, 0, 0]
    is_same = torch.tensor(labels) == 1

    def draw(rng):
        first = rows(rng, 6, 3, 0.5, 1.5)
        return {"first": first, "second": first + rows(rng, 6, 3, 0.2, 2.0)}

    def corners(inputs):
        found = contrastive_corners(settings, rowwise(kind, *map(torch.tensor, inputs.values())).numpy())
        return np.concatenate([found, coordinate_corners(kind, *inputs.values())])

    def function(first, second):
        return contrastive(form, rowwise(kind, first, second), near, far, is_same)

    source = f"{TORCH} autograd of the formula"
    return entry(name, "ContrastiveLoss", settings, draw, corners, function, ["first", "second"], 6, labels, source)


def contrastives():
    return [
        contrastive_pairs("contrastive/hadsell-pairs", "Squared", "Euclidean", 0.0, 1.2),
        contrastive_pairs("contrastive/squared-distance-pairs", "SquaredDistance", "Euclidean", 0.0, 1.5),
        contrastive_pairs("contrastive/hinge-pairs-manhattan", "Hinge", "Manhattan", 0.6, 1.9),
        contrastive_batch("contrastive/hadsell-batch", "Squared", "Euclidean", 0.0, 1.5, "Separate", None),
        contrastive_batch("contrastive/hadsell-joint", "Squared", "Euclidean", 0.3, 1.5, "Joint", "Mean"),
        contrastive_batch("contrastive/squared-distance", "SquaredDistance", "Euclidean", 0.2, 2.0, "Joint", "Mean"),
        contrastive_batch("contrastive/pml", "Hinge", "Euclidean", 0.0, 1.3, "Separate", "MeanNonZero"),
        contrastive_batch("contrastive/pml-mean", "Hinge", "Euclidean", 0.8, 1.7, "Separate", "Mean"),
        contrastive_batch("contrastive/pml-sum", "Hinge", "Manhattan", 0.8, 2.5, "Separate", "Sum"),
        contrastive_batch("contrastive/pml-cosine", "Hinge", "Cosine", 0.1, 0.9, "Separate", "MeanNonZero"),
    ]


# Triplet loss


def triplet_settings(margin, shape, mining, swap, kind, call, reduction):
    return {
        "margin": margin,
        "shape": shape,
        "mining": mining,
        "negative_distance": "Nearest" if swap else "FromAnchor",
        "distance": kind,
        "call": call,
        "reduction": reduction,
    }


def triplet_batch(name, reduction, margin=0.3, shape="Hinge", mining="All", swap=False, kind="Euclidean", listed=None):
    settings = triplet_settings(margin, shape, mining, swap, kind, "mined" if listed else "batch", reduction)
    if listed:
        settings["triplets"] = listed

    def function(embeddings):
        labels = torch.tensor(LABELS)
        tuples = None
        if listed:
            tuples = tuple(torch.tensor(column) for column in listed)
        elif mining == "Hard":
            tuples = miners.BatchHardMiner(distance=DISTANCES[kind]())(embeddings, labels)
        loss = losses.TripletMarginLoss(
            margin,
            swap=swap,
            smooth_loss=shape == "Softplus",
            distance=DISTANCES[kind](),
            reducer=REDUCERS[reduction](),
        )
        return loss(embeddings, labels, tuples)[None]

    def corners(inputs):
        return triplet_corners(kind, inputs["embeddings"], margin)

    source = f"{PML} TripletMarginLoss" + (" with BatchHardMiner" if mining == "Hard" and not listed else "")
    return entry(name, "TripletLoss", settings, batch, corners, function, ["embeddings"], 1, LABELS, source)


def triplets_of(mining, d):
    """Triplets as lists of rows, from a matrix of numbers."""
    rows_of = range(len(LABELS))
    found = []
    for a in rows_of:
        positives = [p for p in rows_of if p != a and LABELS[p] == LABELS[a]]
        negatives = [n for n in rows_of if LABELS[n] != LABELS[a]]
        if mining == "All":
            found += itertools.product([a], positives, negatives)
        for p in positives if mining == "SemiHard" else []:
            farther = [n for n in negatives if d[a, n] > d[a, p]]
            if farther:
                found.append((a, p, min(farther, key=lambda n: d[a, n])))
    return found


def triplet_anchors(name, mining, reduction, margin=0.3, shape="Hinge", swap=False):
    """Per anchor, or over all triplets; with the swap a triplet counts for the row that is nearer to the negative."""
    settings = triplet_settings(margin, shape, mining, swap, "Euclidean", "batch", reduction)

    def function(embeddings):
        d = matrix("Euclidean", embeddings, embeddings)
        per_anchor = [[] for _ in LABELS]
        for a, p, n in triplets_of(mining, d.detach().numpy()):
            near, far, owner = d[a, p], d[a, n], a
            if swap and d[p, n] < d[a, n]:
                far = d[p, n]
                owner = p if mining == "All" else a
            excess = near - far + margin
            value = functional.softplus(excess) if shape == "Softplus" else torch.relu(excess)
            per_anchor[owner].append(value)
        if reduction is None:
            return torch.stack([sum(values, d.sum() * 0) for values in per_anchor])
        values = torch.stack(sum(per_anchor, []))
        return {"Mean": values.mean(), "MeanNonZero": values[values > 0].mean()}[reduction][None]

    def corners(inputs):
        return triplet_corners("Euclidean", inputs["embeddings"], margin)

    source = f"{TORCH} autograd of the formula"
    count = len(LABELS) if reduction is None else 1
    return entry(name, "TripletLoss", settings, batch, corners, function, ["embeddings"], count, LABELS, source)


def triplet_explicit(name, margin, p, swap):
    kind = {1: "Manhattan", 2: "Euclidean"}[p]
    settings = triplet_settings(margin, "Hinge", "All", swap, kind, "triplets", None)

    def draw(rng):
        anchor = rows(rng, 6, 3, 0.5, 1.5)
        return {
            "anchor": anchor,
            "positive": anchor + rows(rng, 6, 3, 0.3, 1.5),
            "negative": anchor + rows(rng, 6, 3, 0.3, 1.5),
        }

    def corners(inputs):
        anchor, positive, negative = map(torch.tensor, inputs.values())
        near = rowwise(kind, anchor, positive)
        far = [rowwise(kind, anchor, negative), rowwise(kind, positive, negative)]
        found = torch.cat([near - far[0] + margin, near - far[1] + margin, far[0] - far[1]]).numpy()
        pairs = itertools.combinations(inputs.values(), 2)
        return np.concatenate([found, *(coordinate_corners(kind, *pair) for pair in pairs)])

    def function(anchor, positive, negative):
        return functional.triplet_margin_loss(
            anchor, positive, negative, margin=margin, p=p, eps=0.0, swap=swap, reduction="none"
        )

    source = f"{TORCH} triplet_margin_loss with eps 0"
    trained = ["anchor", "positive", "negative"]
    return entry(name, "TripletLoss", settings, draw, corners, function, trained, 6, [], source)


LISTED = [[0, 0, 1, 3, 5, 0], [2, 5, 4, 6, 0, 2], [1, 3, 2, 0, 4, 1]]


def triplets():
    return [
        triplet_explicit("triplet/explicit", 0.7, 2, False),
        triplet_explicit("triplet/explicit-swap", 0.7, 2, True),
        triplet_explicit("triplet/explicit-manhattan-swap", 1.0, 1, True),
        triplet_batch("triplet/all", "MeanNonZero"),
        triplet_batch("triplet/all-mean", "Mean"),
        triplet_batch("triplet/all-sum", "Sum", kind="SquaredEuclidean"),
        triplet_batch("triplet/all-swap", "MeanNonZero", swap=True),
        triplet_batch("triplet/all-soft", "MeanNonZero", shape="Softplus", margin=0.1),
        triplet_batch("triplet/all-soft-swap", "Mean", shape="Softplus", margin=0.0, swap=True),
        triplet_batch("triplet/all-cosine", "MeanNonZero", kind="Cosine", margin=0.2),
        triplet_batch("triplet/hard", "Mean", mining="Hard"),
        triplet_batch("triplet/hard-soft-swap", "Mean", mining="Hard", shape="Softplus", swap=True),
        triplet_batch("triplet/mined", "MeanNonZero", listed=LISTED),
        triplet_batch("triplet/mined-swap", "Mean", swap=True, listed=LISTED),
        triplet_anchors("triplet/all-anchors", "All", None),
        triplet_anchors("triplet/all-anchors-swap", "All", None, swap=True),
        triplet_anchors("triplet/all-anchors-soft-swap", "All", None, shape="Softplus", swap=True),
        triplet_anchors("triplet/semi-hard-anchors", "SemiHard", None, margin=0.6),
        triplet_anchors("triplet/semi-hard", "SemiHard", "MeanNonZero", margin=0.6),
        triplet_anchors("triplet/semi-hard-swap", "SemiHard", "Mean", margin=0.6, swap=True),
    ]


# Generalised lifted structure loss


def lifted(name, near, far, kind, reduction):
    settings = {
        "positive_margin": near,
        "negative_margin": far,
        "distance": kind,
        "call": "batch",
        "reduction": reduction,
    }
    reducer = REDUCERS[reduction] if reduction else reducers.DoNothingReducer

    def function(embeddings):
        loss = losses.GeneralizedLiftedStructureLoss(
            neg_margin=far, pos_margin=near, distance=DISTANCES[kind](), reducer=reducer()
        )
        value = loss(embeddings, torch.tensor(LABELS))
        return value["loss"]["losses"].reshape(-1) if reduction is None else value[None]

    def corners(inputs):
        embeddings = torch.tensor(inputs["embeddings"])
        d = matrix(kind, embeddings, embeddings)
        positive, negative = masks(LABELS)
        sums = [(d - near).masked_fill(~positive, -np.inf), (far - d).masked_fill(~negative, -np.inf)]
        found = sum(torch.logsumexp(scores, dim=1) for scores in sums).numpy()
        return np.concatenate([found, batch_coordinates(kind, inputs["embeddings"])])

    count = len(LABELS) if reduction is None else 1
    source = f"{PML} GeneralizedLiftedStructureLoss"
    return entry(name, "LiftedStructureLoss", settings, batch, corners, function, ["embeddings"], count, LABELS, source)


def lifted_structures():
    return [
        lifted("lifted/anchors", 0.0, 1.0, "Euclidean", None),
        lifted("lifted/anchors-margins", 0.4, -0.5, "Euclidean", None),
        lifted("lifted/mean", 0.2, 0.7, "SquaredEuclidean", "Mean"),
        lifted("lifted/mean-non-zero", 0.1, 0.1, "Manhattan", "MeanNonZero"),
    ]


# Margin loss with a boundary that is trained


def margin_case(name, per_class, nu, reduction, source):
    """With references of two classes, three of each, every anchor has as many positives as negatives: there pairs and
    the triplets that pytorch-metric-learning walks weigh the same."""
    references = [0, 1, 1, 0, 0, 1]
    labels = [1, 0, 0, 1, 0] if source == "library" else LABELS
    margin = 0.25
    settings = {
        "margin": margin,
        "nu": nu,
        "classes": 3 if per_class else None,
        "distance": "Euclidean",
        "call": "references" if source == "library" else "batch",
        "reduction": reduction,
    }
    if source == "library":
        settings["reference_labels"] = references

    def draw(rng):
        inputs = batch(rng, len(labels))
        if source == "library":
            inputs["references"] = batch(rng, len(references))["embeddings"]
        inputs["beta"] = rng.uniform(0.8, 1.6, (3 if per_class else 1, 1))
        return inputs

    def own(inputs):
        embeddings, *others, beta = inputs
        d = matrix("Euclidean", embeddings, others[0] if others else embeddings)
        beta = beta[:, 0][labels] if per_class else beta[0, 0].expand(len(labels))
        return d, beta[:, None], masks(labels, references if others else None)

    def corners(inputs):
        d, beta, (positive, negative) = own(map(torch.tensor, inputs.values()))
        return torch.cat([(d - beta + margin)[positive], (beta - d + margin)[negative]])

    def formula(*inputs):
        d, beta, (positive, negative) = own(inputs)
        pairs = torch.where(positive, torch.relu(d - beta + margin), 0.0)
        pairs = pairs + torch.where(negative, torch.relu(beta - d + margin), 0.0)
        if reduction is None:
            return pairs.reshape(-1)
        kept = pairs[positive | negative]
        return ({"Mean": kept.mean(), "Sum": kept.sum()}[reduction] + nu * beta.mean())[None]

    def library(embeddings, others, beta):
        loss = losses.MarginLoss(
            margin,
            nu=nu,
            learn_beta=True,
            num_classes=3 if per_class else None,
            distance=DISTANCES["Euclidean"](),
        )
        # The parameter is replaced by the tensor whose gradient is asked for.
        del loss.beta
        loss.beta = beta.reshape(-1)
        return loss(
            embeddings, torch.tensor(labels), ref_emb=others, ref_labels=torch.tensor(references)
        ).reshape(1)

    function, words = {
        "library": (library, f"{PML} MarginLoss"),
        "formula": (formula, f"{TORCH} autograd of the formula"),
    }[source]
    trained = ["embeddings", "references", "beta"] if source == "library" else ["embeddings", "beta"]
    count = len(labels) ** 2 if reduction is None else 1
    return entry(name, "MarginLoss", settings, draw, corners, function, trained, count, labels, words)


def margins():
    return [
        margin_case("margin-loss/pml", False, 0.0, "MeanNonZero", "library"),
        margin_case("margin-loss/pml-regularized", False, 0.3, "MeanNonZero", "library"),
        margin_case("margin-loss/pml-classes", True, 0.0, "MeanNonZero", "library"),
        margin_case("margin-loss/pairs", False, 0.0, None, "formula"),
        margin_case("margin-loss/pairs-classes", True, 0.0, None, "formula"),
        margin_case("margin-loss/mean-regularized", False, 0.2, "Mean", "formula"),
        margin_case("margin-loss/sum-classes-regularized", True, 0.2, "Sum", "formula"),
    ]


def cases():
    return contrastives() + triplets() + lifted_structures() + margins()
