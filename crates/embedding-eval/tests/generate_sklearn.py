"""Writes sklearn.tsv, the numbers that sklearn.rs compares with.

    python -m venv venv && venv/bin/pip install scikit-learn==1.9.1 numpy==2.4.6
    venv/bin/python generate_sklearn.py

From scikit-learn: the curve (roc_curve), its area (roc_auc_score), the folds (KFold) and the
accuracies (accuracy_score). On top of these, from their definitions: the equal error rate in exact
fractions, TAR at FAR by looking at every point, and the best threshold by trying every one.
"""

from fractions import Fraction
from pathlib import Path

import numpy as np
import sklearn
from sklearn.metrics import accuracy_score, roc_auc_score, roc_curve
from sklearn.model_selection import KFold

assert sklearn.__version__ == "1.9.1", sklearn.__version__
assert np.__version__ == "2.4.6", np.__version__

TARGETS = [0.001, 0.01, 0.1, 0.25, 0.5, 0.9]


def cases():
    """Name, scores, same, number of folds (0: the pairs do not allow any)."""
    yield "documentation_of_roc_curve", [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0
    yield "one_of_each", [0.2, 0.7], [0, 1], 0
    yield "all_scores_equal", [0.25] * 20, [1, 0] * 10, 5
    alternating = [i % 2 for i in range(1, 31)]
    scores = [0.5 + 0.01 * i if same else 0.5 - 0.01 * i for i, same in enumerate(alternating, 1)]
    yield "separable", scores, alternating, 10
    yield "inverted", [i / 10 for i in range(20)], [int(i < 10) for i in range(20)], 4
    scores = [0.0, -0.0, 1e300, -1e300, 5e-324, -1.5, 0.0, 2.0]
    yield "signed_zeros_and_wide_range", scores, [1, 0, 1, 0, 0, 1, 0, 1], 2

    random = np.random.default_rng(20250101)
    for name, genuine, impostors, step, folds in [
        ("continuous", 100, 100, None, 10),
        ("many_ties", 60, 60, 0.5, 10),
        ("few_genuine", 5, 195, None, 10),
        ("few_genuine_with_ties", 6, 244, 0.25, 10),
        ("few_impostors", 190, 10, None, 7),
        ("two_impostors_with_ties", 98, 2, 1.0, 0),
    ]:
        same = random.permutation([1] * genuine + [0] * impostors)
        scores = random.normal(size=len(same)) + 1.2 * same
        if step is not None:
            scores = np.round(scores / step) * step
        yield name, scores.tolist(), same.tolist(), folds


def equal_error_rate(far, tar):
    """Where the line through the points meets FAR = 1 - TAR; far and tar are fractions."""
    gaps = [f - (1 - t) for f, t in zip(far, tar)]
    after = next(i for i, gap in enumerate(gaps) if gap >= 0)
    weight = -gaps[after - 1] / (gaps[after] - gaps[after - 1])
    return far[after - 1] + weight * (far[after] - far[after - 1])


def accuracy_of_folds(scores, same, count):
    """Test fold of each pair, accuracy and threshold of each fold."""
    fold_of = np.zeros(len(scores), dtype=int)
    accuracies, thresholds = [], []
    for fold, (train, test) in enumerate(KFold(n_splits=count, shuffle=False).split(scores)):
        fold_of[test] = fold
        candidates = np.r_[np.inf, np.unique(scores[train])[::-1]]
        trained = [accuracy_score(same[train], scores[train] >= t) for t in candidates]
        # argmax takes the first of several, and the candidates fall.
        threshold = candidates[np.argmax(trained)]
        thresholds.append(threshold)
        accuracies.append(accuracy_score(same[test], scores[test] >= threshold))
    return fold_of, accuracies, thresholds


def main():
    lines = []

    def write(key, values):
        plain = (v.item() if isinstance(v, np.generic) else v for v in values)
        lines.append(key + "\t" + " ".join(map(repr, plain)))

    for name, scores, same, folds in cases():
        scores, same = np.array(scores, dtype=np.float64), np.array(same)
        far, tar, thresholds = roc_curve(same, scores, drop_intermediate=False)
        genuine, impostors = int(same.sum()), int((1 - same).sum())

        lines.append("case\t" + name)
        write("scores", scores)
        write("same", same)
        write("far", far)
        write("tar", tar)
        write("thresholds", thresholds)
        write("area", [roc_auc_score(same, scores)])

        exact_far = [Fraction(round(f * impostors), impostors) for f in far]
        exact_tar = [Fraction(round(t * genuine), genuine) for t in tar]
        write("equal_error_rate", [float(equal_error_rate(exact_far, exact_tar))])

        for target in TARGETS:
            best = tar[far <= target].max()
            point = np.flatnonzero(tar == best)[0]
            write("tar_at_far", [target, tar[point], far[point], thresholds[point]])

        if folds:
            fold_of, accuracies, best_thresholds = accuracy_of_folds(scores, same, folds)
            write("folds", fold_of)
            write("accuracies", accuracies)
            write("best_thresholds", best_thresholds)
            write("mean_and_std", [np.mean(accuracies), np.std(accuracies)])

    Path(__file__).with_name("sklearn.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
