"""Center loss."""

import torch

import plain
from cases import (
    CLASSES,
    FEATURES,
    LABELS,
    SAMPLES,
    TORCH,
    agree,
    agree_all,
    case,
    cotangent,
    differentiate,
    draws,
    rows,
    single,
)


def center_losses(labels):
    return lambda embeddings, centers: 0.5 * (embeddings - centers[labels]).square().sum(dim=1)


def updated_centers(inputs, centers, labels, rate):
    """Wen et al. 2016, equation 4."""
    labels, centers = torch.tensor(labels), torch.tensor(centers)
    differences = centers[labels] - torch.tensor(inputs["embeddings"])
    sums = torch.zeros_like(centers).index_add(0, labels, differences)
    counts = torch.bincount(labels, minlength=len(centers))
    return (centers - rate * sums / (1 + counts)[:, None]).numpy()


def center_outputs(name, inputs, labels, rate):
    once = updated_centers(inputs, inputs["centers"], labels, rate)
    twice = updated_centers(inputs, once, labels, rate)
    embeddings = inputs["embeddings"].tolist()
    for before, after in ((inputs["centers"], once), (once, twice)):
        expected = plain.updated_centers(embeddings, before.tolist(), labels, rate)
        agree(f"{name} centers", after, expected)
    return {"centers": once, "centers_after_two": twice}


def center_case(name, settings, labels, classes, features):
    rng = next(draws(name))
    inputs = {
        "embeddings": single(rows(rng, len(labels), features, 0.3, 5.0)),
        "centers": single(rows(rng, classes, features, 0.05, 2.0)),
    }
    upstream = cotangent(rng, len(labels))
    updated = settings["mode"] == "Updated"
    trained = ["embeddings"] if updated else ["embeddings", "centers"]
    results = differentiate(center_losses(labels), inputs, trained, upstream)
    as_lists = [array.tolist() for array in inputs.values()]
    agree_all(name, results, plain.center_loss(*as_lists, labels, upstream.tolist()))
    outputs = center_outputs(name, inputs, labels, settings["update_rate"]) if updated else None
    settings = {"classes": classes, "embedding_dim": features, **settings}
    source = f"{TORCH} autograd of 0.5 * |x - c|^2"
    source += "; centers by Wen et al., ECCV 2016, equation 4" if updated else ""
    return case(name, "CenterLoss", settings, inputs, labels, upstream, results, source, outputs)


BIG_LABELS = [33, 2, 17, 2, 2, 39, 0, 21, 17, 8, 33, 2, 5, 28, 0, 13]

CENTERS = [
    ("center/updated", "Updated", 0.5, LABELS, CLASSES, FEATURES),
    ("center/updated-slowly", "Updated", 0.3, LABELS, CLASSES, FEATURES),
    ("center/updated-one-class", "Updated", 0.5, [3] * SAMPLES, CLASSES, FEATURES),
    ("center/updated-big", "Updated", 0.5, BIG_LABELS, 40, 12),
    ("center/trained", "Trained", 0.5, LABELS, CLASSES, FEATURES),
    ("center/trained-big", "Trained", 0.5, BIG_LABELS, 40, 12),
]


def cases():
    return [
        center_case(name, {"update_rate": rate, "mode": mode}, *sizes)
        for name, mode, rate, *sizes in CENTERS
    ]
