"""Writes insightface.tsv, the numbers that insightface.rs compares with.

    python -m venv venv && venv/bin/pip install scikit-learn==1.9.1 numpy==2.4.6
    venv/bin/python generate_insightface.py

The functions are those of recognition/arcface_torch/eval/verification.py of InsightFace (Copyright (c)
2016 David Sandberg, MIT licence), on distances instead of embeddings, with np.interp in place of scipy's
interp1d(kind="slinear"), which refuses equal abscissas in new versions.
"""

from pathlib import Path

import numpy as np
import sklearn
from sklearn.model_selection import KFold

assert sklearn.__version__ == "1.9.1", sklearn.__version__
assert np.__version__ == "2.4.6", np.__version__


def calculate_accuracy(threshold, dist, actual_issame):
    predict_issame = np.less(dist, threshold)
    tp = np.sum(np.logical_and(predict_issame, actual_issame))
    tn = np.sum(np.logical_and(np.logical_not(predict_issame), np.logical_not(actual_issame)))
    return float(tp + tn) / dist.size


def calculate_roc(thresholds, dist, actual_issame, nrof_folds):
    accuracy, best = np.zeros(nrof_folds), np.zeros(nrof_folds)
    indices = np.arange(len(dist))
    for fold, (train, test) in enumerate(KFold(n_splits=nrof_folds, shuffle=False).split(indices)):
        acc_train = np.array([calculate_accuracy(t, dist[train], actual_issame[train]) for t in thresholds])
        best[fold] = thresholds[np.argmax(acc_train)]
        accuracy[fold] = calculate_accuracy(best[fold], dist[test], actual_issame[test])
    return accuracy, best


def calculate_val_far(threshold, dist, actual_issame):
    predict_issame = np.less(dist, threshold)
    true_accept = np.sum(np.logical_and(predict_issame, actual_issame))
    false_accept = np.sum(np.logical_and(predict_issame, np.logical_not(actual_issame)))
    n_same, n_diff = np.sum(actual_issame), np.sum(np.logical_not(actual_issame))
    return float(true_accept) / float(n_same), float(false_accept) / float(n_diff)


def calculate_val(thresholds, dist, actual_issame, far_target, nrof_folds):
    val, far, used = np.zeros(nrof_folds), np.zeros(nrof_folds), np.zeros(nrof_folds)
    indices = np.arange(len(dist))
    for fold, (train, test) in enumerate(KFold(n_splits=nrof_folds, shuffle=False).split(indices)):
        far_train = np.array([calculate_val_far(t, dist[train], actual_issame[train])[1] for t in thresholds])
        used[fold] = np.interp(far_target, far_train, thresholds) if np.max(far_train) >= far_target else 0.0
        val[fold], far[fold] = calculate_val_far(used[fold], dist[test], actual_issame[test])
    return val, far, used


def main():
    lines = []

    def write(key, values):
        plain = (v.item() if isinstance(v, np.generic) else v for v in values)
        lines.append(key + "\t" + " ".join(map(repr, plain)))

    random = np.random.default_rng(20261128)
    for name, folds, pairs, shift, digits in [
        ("ten_folds", 10, 30, 0.35, None),
        ("ties_on_the_grid", 5, 24, 0.3, 2),
        ("hardly_told_apart", 4, 20, 0.05, None),
    ]:
        same = np.array(([True] * (pairs // 2) + [False] * (pairs // 2)) * folds)
        cosines = np.clip(random.normal(0.1, 0.25, len(same)) + shift * same, -1, 1)
        if digits:
            cosines = np.round(cosines, digits)
        dist = 2.0 - 2.0 * cosines
        lines.append("case\t" + name)
        write("cosines", cosines)
        write("same", same.astype(int))
        write("folds", [folds])
        accuracy, best = calculate_roc(np.arange(0, 4, 0.01), dist, same, folds)
        write("accuracies", accuracy)
        write("thresholds", best)
        write("mean_and_std", [np.mean(accuracy), np.std(accuracy)])
        for target in [1e-3, 0.05, 0.3]:
            val, far, used = calculate_val(np.arange(0, 4, 0.001), dist, same, target, folds)
            write("val", [target, np.mean(val), np.std(val), np.mean(far), *used])

    Path(__file__).with_name("insightface.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
