"""Writes what the miners of pytorch-metric-learning choose: ../golden/mining.json. Run it by itself.

Embeddings have length 1 but for rounding to f32. Positives and negatives are index sets, sorted.
"""

import json

import numpy as np
import torch
from pytorch_metric_learning import miners
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance

from cases import GOLDEN, PML, rows, single

# A label that is alone (5), and one with three rows.
LABELS = [2, 0, 2, 5, 0, 2, 7, 7]


def euclidean():
    return LpDistance(normalize_embeddings=False)


def euclidean_of_unit():
    return LpDistance(normalize_embeddings=True)


def pairs(found):
    a1, p, a2, n = (indices.tolist() for indices in found)
    return {"positive": sorted(zip(a1, p)), "negative": sorted(zip(a2, n))}


def triplets(found):
    return {"triplets": sorted(zip(*(indices.tolist() for indices in found)))}


def nearest(found, distances):
    """For each positive pair the closest of the negatives found with it."""
    best = {}
    for a, p, n in zip(*(indices.tolist() for indices in found)):
        if (a, p) not in best or distances[a, n] < distances[a, best[a, p]]:
            best[a, p] = n
    return {"triplets": sorted((a, p, n) for (a, p), n in best.items())}


def main():
    torch.set_default_dtype(torch.float64)
    cases = []
    for seed in (1, 2):
        rng = np.random.default_rng([20261123, seed])
        embeddings = single(rows(rng, len(LABELS), 4, 1.0, 1.0))
        x, labels = torch.tensor(embeddings), torch.tensor(LABELS)
        distances = euclidean()(x)

        def add(miner, settings, chosen):
            cases.append(
                {
                    "miner": miner,
                    "settings": settings,
                    "embeddings": embeddings.tolist(),
                    "labels": LABELS,
                    **chosen,
                    "source": PML + " " + miner,
                }
            )

        add("BatchHardMiner", {}, triplets(miners.BatchHardMiner(distance=euclidean())(x, labels)))
        names = {"hard": "Hard", "semihard": "SemiHard", "easy": "Easy", "all": "All"}
        for positive in names:
            for negative in names:
                both = {positive, negative}
                if both == {"semihard"} or both == {"semihard", "all"}:
                    continue
                settings = {"positive": names[positive], "negative": names[negative]}
                miner = miners.BatchEasyHardMiner(positive, negative, distance=euclidean())
                add("BatchEasyHardMiner", settings, pairs(miner(x, labels)))
        miner = miners.BatchEasyHardMiner(
            "hard", "hard", allowed_pos_range=[0.5, 1.3], allowed_neg_range=[1.0, 1.6], distance=euclidean()
        )
        settings = {"positive": "Hard", "negative": "Hard", "positive_range": [0.5, 1.3], "negative_range": [1.0, 1.6]}
        add("BatchEasyHardMiner", settings, pairs(miner(x, labels)))
        for epsilon in (0.1, 0.4):
            miner = miners.MultiSimilarityMiner(epsilon=epsilon, distance=CosineSimilarity())
            add("MultiSimilarityMiner", {"epsilon": epsilon}, pairs(miner(x, labels)))
        for positive, negative in ((0.2, 0.8), (1.1, 1.4)):
            miner = miners.PairMarginMiner(positive, negative, distance=euclidean())
            settings = {"positive_margin": positive, "negative_margin": negative}
            add("PairMarginMiner", settings, pairs(miner(x, labels)))
        for kind in names:
            miner = miners.TripletMarginMiner(margin=0.3, type_of_triplets=kind, distance=euclidean())
            add("TripletMarginMiner", {"margin": 0.3, "kind": names[kind]}, triplets(miner(x, labels)))
        for angle in (20, 35):
            miner = miners.AngularMiner(angle=angle, distance=euclidean_of_unit())
            add("AngularMiner", {"angle": float(np.radians(angle))}, triplets(miner(x, labels)))
        for margin in (0.2, 0.6):
            miner = miners.TripletMarginMiner(margin=margin, type_of_triplets="semihard", distance=euclidean())
            add("SemiHardMiner", {"margin": margin}, nearest(miner(x, labels), distances))
    for case in cases:
        if case["miner"] == "SemiHardMiner":
            case["source"] = PML + " TripletMarginMiner, semihard; the closest negative of each positive pair"
    lines = ",\n".join(json.dumps(case) for case in cases)
    (GOLDEN / "mining.json").write_text('{"cases": [\n' + lines + "\n]}\n")


if __name__ == "__main__":
    main()
