"""The losses once more, in plain Python loops: values and gradients by hand-derived formulas.

Nothing here touches torch, so that agreement between the two says something about the definitions.
"""

import math

FINITE_DIFFERENCE_STEP = 1e-5


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def folded_cosine(phi):
    """psi(phi) = (-1)^k cos(phi) - 2k with k = floor(phi / pi), and its slope."""
    k = math.floor(phi / math.pi)
    sign = -1.0 if k % 2 else 1.0
    return sign * math.cos(phi) - 2.0 * k, -sign * math.sin(phi)


def folded_margin(cosine, factor, shift):
    angle = math.acos(cosine)
    value, slope = folded_cosine(factor * angle + shift)
    return value, -slope * factor / math.sin(angle)


def arcface_margin(cosine, margin, large_angle):
    if large_angle == "Fold":
        return folded_margin(cosine, 1.0, margin)
    angle = math.acos(cosine)
    inside = {"LinearFall": angle <= math.pi - margin, "EasyMargin": cosine > 0.0}[large_angle]
    if inside:
        return math.cos(angle + margin), math.sin(angle + margin) / math.sin(angle)
    fall = margin * math.sin(margin) if large_angle == "LinearFall" else 0.0
    return cosine - fall, 1.0


def margin(loss, settings, cosine):
    """Unscaled logit of the own class and its derivative with respect to the own cosine."""
    if loss == "NormFace":
        return cosine, 1.0
    if loss == "CosFace":
        return cosine - settings["margin"], 1.0
    if loss == "ArcFace":
        value, slope = arcface_margin(cosine, settings["margin"], settings["large_angle"])
    else:
        value, slope = folded_margin(cosine, settings["angle_factor"], settings["angle_margin"])
        value -= settings["cosine_margin"]
    return value, 1.0 if settings["gradient"] == "Detached" else slope


def kink_distance(loss, settings, cosine):
    """How far the own angle (or cosine) is from the place where the rule changes its branch."""
    angle = math.acos(cosine)
    if loss in ("NormFace", "CosFace"):
        return math.inf
    if loss == "ArcFace" and settings["large_angle"] == "EasyMargin":
        return abs(cosine)
    if loss == "ArcFace":
        return abs(angle + settings["margin"] - math.pi)
    phi = settings["angle_factor"] * angle + settings["angle_margin"]
    return abs(phi - math.pi * round(phi / math.pi))


def unit_rows(rows):
    norms = [math.sqrt(dot(row, row)) for row in rows]
    return [[x / norm for x in row] for row, norm in zip(rows, norms)], norms


def own_cosines(embeddings, weights, labels):
    units, _ = unit_rows(embeddings)
    centers, _ = unit_rows(weights)
    return [dot(unit, centers[label]) for unit, label in zip(units, labels)]


def head(loss, settings, inputs, labels, cotangent):
    """Losses per sample and the gradients of sum(cotangent * losses)."""
    units, norms = unit_rows(inputs["embeddings"])
    centers, center_norms = unit_rows(inputs["weights"])
    scale = settings["scale"]
    losses = []
    gradients = {name: [[0.0] * len(rows[0]) for _ in rows] for name, rows in inputs.items()}
    for i, label in enumerate(labels):
        cosines = [dot(units[i], center) for center in centers]
        value, slope = margin(loss, settings, cosines[label])
        relative = [scale * (cosine - value) for cosine in cosines]
        relative[label] = 0.0
        highest = max(relative)
        total = math.fsum(math.exp(logit - highest) for logit in relative)
        losses.append(highest + math.log(total))
        for j, cosine in enumerate(cosines):
            probability = math.exp(relative[j] - highest) / total
            own = j == label
            pull = cotangent[i] * scale * ((probability - 1.0) * slope if own else probability)
            for d, (x, w) in enumerate(zip(units[i], centers[j])):
                gradients["embeddings"][i][d] += pull * (w - cosine * x) / norms[i]
                gradients["weights"][j][d] += pull * (x - cosine * w) / center_norms[j]
    return losses, gradients


def center_loss(embeddings, centers, labels, cotangent):
    differences = [
        [x - c for x, c in zip(row, centers[label])] for row, label in zip(embeddings, labels)
    ]
    losses = [0.5 * dot(row, row) for row in differences]
    by_embedding = [[g * x for x in row] for g, row in zip(cotangent, differences)]
    by_center = [[0.0] * len(row) for row in centers]
    for row, label in zip(by_embedding, labels):
        by_center[label] = [total - x for total, x in zip(by_center[label], row)]
    return losses, {"embeddings": by_embedding, "centers": by_center}


def updated_centers(embeddings, centers, labels, rate):
    """Wen et al. 2016, equation 4: one step of every class that occurs in the batch."""
    updated = []
    for j, center in enumerate(centers):
        members = [row for row, label in zip(embeddings, labels) if label == j]
        updated.append([
            c - rate * math.fsum(c - row[d] for row in members) / (1 + len(members))
            for d, c in enumerate(center)
        ])
    return updated


def distance(kind, a, b):
    differences = [abs(x - y) for x, y in zip(a, b, strict=True)]
    if isinstance(kind, dict):
        p = kind["Minkowski"]
        return math.fsum(x**p for x in differences) ** (1.0 / p)
    return {
        "Manhattan": lambda: math.fsum(differences),
        "Euclidean": lambda: math.sqrt(dot(differences, differences)),
        "SquaredEuclidean": lambda: dot(differences, differences),
        "Chebyshev": lambda: max(differences),
        "SmallestDifference": lambda: min(differences),
        "DifferentCount": lambda: float(sum(x != y for x, y in zip(a, b))),
        "Cosine": lambda: 1.0 - dot(a, b) / math.sqrt(dot(a, a) * dot(b, b)),
    }[kind]()


def pairs(form, first, second):
    """Index pairs in the order of the flattened result."""
    if form == "rowwise":
        return [(i, i) for i in range(len(first))]
    return [(i, j) for i in range(len(first)) for j in range(len(second))]


def distances(kind, form, first, second):
    return [distance(kind, first[i], second[j]) for i, j in pairs(form, first, second)]


def slope(kind, a, b, argument, d):
    """Derivative by one coordinate of one of the two rows, by central differences."""
    if kind == "DifferentCount":
        return 0.0
    values = []
    for step in (FINITE_DIFFERENCE_STEP, -FINITE_DIFFERENCE_STEP):
        moved = [list(a), list(b)]
        moved[argument][d] += step
        values.append(distance(kind, *moved))
    return (values[0] - values[1]) / (2.0 * FINITE_DIFFERENCE_STEP)


def distance_gradients(kind, form, first, second, cotangent):
    gradients = [[[0.0] * len(row) for row in rows] for rows in (first, second)]
    for (i, j), g in zip(pairs(form, first, second), cotangent, strict=True):
        for argument, row in enumerate((i, j)):
            for d in range(len(first[0])):
                gradients[argument][row][d] += g * slope(kind, first[i], second[j], argument, d)
    return dict(zip(("first", "second"), gradients))
