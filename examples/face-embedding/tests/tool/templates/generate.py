"""Writes a small set in the form of the IJB sets, and figures.json, which templates.rs compares with.

    python -m venv venv && venv/bin/pip install numpy==2.4.6
    venv/bin/python generate.py

The templates are those of image2template_feature of eval_ijbc.py (InsightFace's arcface_torch), of features times the detector's
scores (its use_detector_score); ranks are those of evaluation of ijb_1n.py. Rates are found by counting at every score.
"""

import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
random = np.random.default_rng(20261128)
SUBJECTS, SIZE = 40, 6


def image2template_feature(img_feats, templates, medias):
    unique_templates = np.unique(templates)
    template_feats = np.zeros((len(unique_templates), img_feats.shape[1]))
    for count_template, uqt in enumerate(unique_templates):
        (ind_t,) = np.where(templates == uqt)
        face_norm_feats = img_feats[ind_t]
        face_medias = medias[ind_t]
        unique_medias, unique_media_counts = np.unique(face_medias, return_counts=True)
        media_norm_feats = []
        for u, ct in zip(unique_medias, unique_media_counts):
            (ind_m,) = np.where(face_medias == u)
            if ct == 1:
                media_norm_feats += [face_norm_feats[ind_m]]
            else:
                media_norm_feats += [np.mean(face_norm_feats[ind_m], axis=0, keepdims=True)]
        template_feats[count_template] = np.sum(np.array(media_norm_feats), axis=0)
    return template_feats / np.linalg.norm(template_feats, axis=1, keepdims=True), unique_templates


def main():
    centers = random.normal(size=(SUBJECTS, SIZE))
    names, templates, medias, features, subject_of = [], [], [], [], {}
    template = 100
    for subject in range(SUBJECTS):
        # One template to enrol, and two to search for.
        for _ in range(3):
            template += 7
            subject_of[template] = 1000 + subject
            for media in range(int(random.integers(1, 4))):
                for _ in range(int(random.integers(1, 4))):
                    names.append(f"img/{len(names) + 1}.jpg")
                    templates.append(template)
                    medias.append(10 * template + media)
                    features.append(centers[subject] + 0.9 * random.normal(size=SIZE))
    order = random.permutation(len(names))
    names, templates = [names[at] for at in order], np.array(templates)[order]
    medias, features = np.array(medias)[order], np.round(np.array(features)[order], 3)
    scores = np.round(random.uniform(0.3, 1.0, size=len(names)), 4)

    def write(name, lines):
        (HERE / name).write_text("\n".join(lines) + "\n")

    write("face_tid_mid.txt", [f"{n} {t} {m}" for n, t, m in zip(names, templates, medias)])
    write(
        "name_5pts_score.txt",
        [f"{n} 30.3 51.7 65.5 51.5 48.0 71.7 33.5 92.4 62.7 92.2 {s}" for n, s in zip(names, scores)],
    )
    write("features.csv", [",".join(map(str, row)) for row in features])

    feats, unique = image2template_feature(features * scores[:, None], templates, medias)
    row = {template: feats[at] for at, template in enumerate(unique)}
    pairs = [(a, b) for at, a in enumerate(unique) for b in unique[at + 1 :] if (a + b) % 3 or subject_of[a] == subject_of[b]]
    same = np.array([subject_of[a] == subject_of[b] for a, b in pairs])
    write("template_pair_label.txt", [f"{a} {b} {int(s)}" for (a, b), s in zip(pairs, same)])
    cosines = np.array([row[a] @ row[b] for a, b in pairs])
    genuine, impostors = cosines[same], cosines[~same]
    tars = {}
    for name, target in [("1e-1", 1e-1), ("1e-2", 1e-2), ("1e-3", 1e-3), ("1e-4", 1e-4)]:
        # Fewer than one in so many impostor pairs is no measurement.
        bounds = [bound for bound in [2, *cosines] if np.mean(impostors >= bound) <= target]
        tars[name] = None if len(impostors) * target < 1 else float(max(np.mean(genuine >= bound) for bound in bounds))

    enrolled = [int(unique[at]) for at in range(0, len(unique), 3)]
    galleries = {"gallery_G1": enrolled[:20], "gallery_G2": enrolled[20:]}
    probes = [int(template) for at, template in enumerate(unique) if at % 3]
    header = "TEMPLATE_ID,SUBJECT_ID,FILENAME"
    for name, of in [*galleries.items(), ("probe_mixed", probes)]:
        # A line for each picture of a template, as the official tables have it.
        lines = [f"{t},{subject_of[t]},{n}" for t in of for n, own in zip(names, templates) if own == t]
        write(f"{name}.csv", [header, *lines])

    search = {}
    for name, of in [*galleries.items(), ("all", enrolled)]:
        ids = {subject_of[t]: at for at, t in enumerate(of)}
        similarity = np.array([[row[p] @ row[g] for g in of] for p in probes])
        own = np.array([ids.get(subject_of[p], -1) for p in probes])
        mated = own >= 0
        top = np.argsort(-similarity, axis=1)
        ranks = np.array([list(top[at]).index(own[at]) + 1 for at in np.where(mated)[0]])
        best_of_others = similarity[~mated].max(axis=1) if (~mated).any() else np.array([])
        misses = {}
        for rate, target in [("1e-1", 1e-1), ("1e-2", 1e-2), ("1e-3", 1e-3)]:
            if len(best_of_others) * target < 1:
                misses[rate] = None
                continue
            hits = similarity[mated, own[mated]]
            bounds = [bound for bound in [2, *similarity.ravel()] if np.mean(best_of_others >= bound) <= target]
            misses[rate] = float(min(np.mean((ranks > 1) | (hits < bound)) for bound in bounds))
        search[name] = {
            "gallery": len(of),
            "mated_probes": int(mated.sum()),
            "unmated_probes": int((~mated).sum()),
            "found_within": {str(rank): float(np.mean(ranks <= rank)) for rank in [1, 5, 10]},
            "fnir_at_fpir": misses,
        }
    figures = {
        "templates": len(unique),
        "pictures": len(names),
        "genuine_pairs": int(same.sum()),
        "impostor_pairs": int((~same).sum()),
        "tar_at_far": tars,
        "search": search,
    }
    write("figures.json", [json.dumps(figures, indent=1)])


if __name__ == "__main__":
    main()
