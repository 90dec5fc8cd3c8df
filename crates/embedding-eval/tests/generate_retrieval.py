"""Writes retrieval.tsv, the numbers that retrieval.rs compares with.

    python -m venv venv && venv/bin/pip install pytorch-metric-learning==2.9.0 torch==2.15.0 numpy==2.4.6
    venv/bin/python generate_retrieval.py

From pytorch-metric-learning's AccuracyCalculator: precision at 1, R-precision, MAP@R and the mean reciprocal rank. It is
given a search in f64 in which the first of equally near references comes first; its own are in
f32 and leave that open. Recall at k is counted from the same neighbours.
"""

from pathlib import Path

import numpy as np
import pytorch_metric_learning
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

assert pytorch_metric_learning.__version__ == "2.9.0", pytorch_metric_learning.__version__
assert np.__version__ == "2.4.6", np.__version__

KS = [1, 2, 3, 5, 10, 1000]


def neighbours(nearness, queries, references, among):
    queries, references = queries.astype(np.float64), references.astype(np.float64)
    if nearness == "Cosine":
        lengths = np.sqrt((queries**2).sum(1)[:, None] * (references**2).sum(1)[None, :])
        distances = -(queries @ references.T) / np.where(lengths == 0, 1, lengths)
    else:
        distances = ((queries[:, None] - references[None]) ** 2).sum(2)
    if among:
        np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1, kind="stable")


def cases():
    """Name, nearness, queries, their labels, references and theirs (None: the queries among themselves)."""
    random = np.random.default_rng(42)

    def clustered(rows, dim, classes, spread):
        labels = random.integers(0, classes, rows)
        centers = random.normal(size=(classes, dim))
        return (centers[labels] + spread * random.normal(size=(rows, dim))).astype(np.float32), labels

    for nearness in ["Cosine", "Euclidean"]:
        yield f"among {nearness}", nearness, *clustered(60, 5, 6, 0.8), None, None
        queries, references = clustered(20, 3, 4, 1.0), clustered(50, 3, 4, 1.0)
        yield f"references {nearness}", nearness, *queries, *references
    # Whole numbers on a small grid: many distances are equal, and rows too.
    grid = random.integers(0, 3, (40, 2)).astype(np.float32)
    yield "ties among", "Euclidean", grid, random.integers(0, 4, 40), None, None
    yield "ties", "Euclidean", grid[:15], random.integers(0, 3, 15), grid, random.integers(0, 3, 40)
    rows, labels = clustered(12, 4, 3, 1.0)
    labels[[3, 7]] = [90, 91]
    yield "two lone rows", "Cosine", rows, labels, None, None
    queries, references = clustered(9, 4, 3, 1.0), clustered(30, 4, 3, 1.0)
    queries[1][2] = 90
    yield "a lone query", "Euclidean", *queries, *references
    yield "fewer references than k", "Cosine", *clustered(6, 4, 2, 1.0), *clustered(4, 4, 2, 1.0)
    yield "one class", "Euclidean", *clustered(5, 2, 1, 1.0), None, None


def main():
    lines = []
    for name, nearness, queries, query_labels, references, reference_labels in cases():
        among = references is None
        if among:
            references, reference_labels = queries, query_labels
        order = neighbours(nearness, queries, references, among)

        def knn(query, k, reference, ref_includes_query):
            assert ref_includes_query == among
            found = torch.from_numpy(order[:, : min(k, len(references) - among)])
            return torch.zeros(found.shape), found

        calculator = AccuracyCalculator(
            include=["precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_reciprocal_rank"],
            k=len(references) - among,
            knn_func=knn,
        )
        figures = calculator.get_accuracy(
            torch.from_numpy(queries), torch.from_numpy(query_labels), torch.from_numpy(references),
            torch.from_numpy(reference_labels), ref_includes_query=among,
        )
        counts = [(reference_labels == label).sum() - among for label in query_labels]
        counted = [query for query in range(len(queries)) if counts[query] > 0]
        matches = reference_labels[order] == query_labels[:, None]
        recall = [np.mean([matches[query][: min(k, len(references) - among)].any() for query in counted]) for k in KS]

        lines.append(f"case\t{name}\t{nearness}\t{queries.shape[1]}\t{int(among)}")
        for key, numbers in [("queries", queries.ravel()), ("references", references.ravel())]:
            lines.append(key + "\t" + " ".join(repr(float(number)) for number in numbers))
        for key, numbers in [("query_labels", query_labels), ("reference_labels", reference_labels)]:
            lines.append(key + "\t" + " ".join(str(number) for number in numbers))
        lines.append(f"lone\t{len(queries) - len(counted)}")
        for key in sorted(figures):
            lines.append(f"{key}\t{figures[key]!r}")
        lines.append("recall\t" + " ".join(f"{k} {float(value)!r}" for k, value in zip(KS, recall)))
    Path(__file__).with_name("retrieval.tsv").write_text("\n".join(lines) + "\n")


main()
