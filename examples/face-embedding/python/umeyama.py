"""Prints the matrices that src/data/folder/align.rs is tested with: Umeyama's own solution, by a singular value decomposition.

    python -m venv venv && venv/bin/pip install numpy==2.4.6
    venv/bin/python umeyama.py
"""

import numpy as np

TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
FACES = [
    [[310.5, 220.25], [402.0, 251.5], [340.75, 300.0], [285.5, 333.0], [370.25, 361.5]],
    # Seen in a mirror: a reflection would be nearer.
    [[80.0, 40.0], [20.0, 42.0], [50.0, 75.0], [72.0, 101.0], [28.0, 99.0]],
]


def umeyama(source, target):
    center, goal = source.mean(0), target.mean(0)
    source, target = source - center, target - goal
    u, d, vt = np.linalg.svd(target.T @ source / len(source))
    signs = np.array([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(signs) @ vt
    scale = (d * signs).sum() / source.var(0).sum()
    return np.column_stack([scale * rotation, goal - scale * rotation @ center])


for face in FACES:
    print(umeyama(np.array(face), TEMPLATE).round(9).tolist())
