"""Writes ../golden/scikit_learn.json: what scikit-learn finds with L1, L2, elastic net and row-group penalties on one
fixed problem, and the log densities of their priors by scipy. Needs the versions of requirements.txt.

    python scikit_learn.py
"""

import json
import zlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn.linear_model import ElasticNet, Lasso, MultiTaskLasso, Ridge

from cases import single

PATH = Path(__file__).resolve().parent.parent / "golden" / "scikit_learn.json"
ROWS, FEATURES, TARGETS = 24, 6, 3
EXACT = {"tol": 1e-14, "max_iter": 1_000_000}


def problem():
    """Features of different size that depend on each other; only some of them matter."""
    rng = np.random.default_rng(zlib.crc32(b"scikit-learn"))
    features = rng.standard_normal((ROWS, FEATURES)) * [1.0, 1.3, 0.8, 1.1, 0.9, 1.2]
    features[:, 1] += 0.5 * features[:, 0]
    features += [0.3, -0.2, 0.0, 0.5, -0.4, 0.1]
    coefficients = [
        [1.5, -2.0, 0.0, 0.0, 0.7, 0.05],
        [0.8, 1.1, 0.0, 0.02, -0.9, 0.0],
        [-1.2, 0.3, 0.01, 0.0, 0.4, 0.0],
    ]
    noise = 0.3 * rng.standard_normal((ROWS, TARGETS))
    targets = features @ np.array(coefficients).T + [0.5, -1.0, 2.0] + noise
    return single(features), single(targets)


def fitted(model, features, targets, **settings):
    model.fit(features, targets)
    coefficients = np.atleast_2d(model.coef_)
    kept = np.abs(coefficients[coefficients != 0.0])
    assert kept.min() > 1e-3, f"{model}: a coefficient of {kept.min()} is hardly on either side of 0"
    return {
        "model": type(model).__name__,
        **settings,
        # [features, targets], as the weight of a Burn Linear.
        "coefficients": coefficients.T.ravel().tolist(),
        "intercept": np.atleast_1d(model.intercept_).tolist(),
    }


def fits(features, targets):
    one = targets[:, 0]
    for alpha in (0.02, 0.2, 0.8):
        yield fitted(Lasso(alpha=alpha, **EXACT), features, one, strength=alpha, l1_ratio=1.0)
    for alpha, ratio in ((0.05, 0.5), (0.5, 0.3), (0.6, 0.9)):
        model = ElasticNet(alpha=alpha, l1_ratio=ratio, **EXACT)
        yield fitted(model, features, one, strength=alpha, l1_ratio=ratio)
    for strength in (0.01, 0.3, 2.0):
        # Ridge has the sum of squares where the others have half its mean.
        model = Ridge(alpha=ROWS * strength, solver="cholesky")
        yield fitted(model, features, one, strength=strength, l1_ratio=0.0)
    for alpha in (0.05, 0.3, 0.9):
        yield fitted(MultiTaskLasso(alpha=alpha, **EXACT), features, targets, strength=alpha)


def densities():
    weights = [-2.5, -0.3, 0.0, 0.001, 0.7, 4.0]
    for strength in (0.1, 1.0, 7.5):
        yield {
            "strength": strength,
            "weights": weights,
            "log_laplace": stats.laplace.logpdf(weights, scale=1.0 / strength).tolist(),
            "log_normal": stats.norm.logpdf(weights, scale=strength**-0.5).tolist(),
        }


def main():
    features, targets = problem()
    found = {
        "versions": {package: version(package) for package in ("scikit-learn", "scipy", "numpy")},
        "features": {"shape": list(features.shape), "data": features.ravel().tolist()},
        "targets": {"shape": list(targets.shape), "data": targets.ravel().tolist()},
        "fits": list(fits(features, targets)),
        "densities": list(densities()),
    }
    PATH.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
    for fit in found["fits"]:
        print(fit["model"], fit["strength"], np.round(fit["coefficients"], 4).tolist())


if __name__ == "__main__":
    main()
