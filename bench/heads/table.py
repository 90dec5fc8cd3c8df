"""Makes the table of run.sh from lines of JSON on standard input: the median over the rounds of every figure."""

import json
import statistics
import sys

# Measured on the processor, so comparable with PyTorch there.
HOSTS = ("flex", "ndarray")
OURS = ("engine", "keep", "stream")
COLUMNS = ("setting", "this crate ms", "plain ms", "PyTorch ms", "compiled ms", "PML ms", "products ms",
           "ratio to PyTorch", "ratio to products", "MiB beyond gradients (this crate / plain / PyTorch)")


def main():
    measured = {}
    for line in sys.stdin:
        one = json.loads(line)
        size = (one["head"], one["batch"], one["dim"], one["classes"])
        measured.setdefault(size, {}).setdefault((one["backend"], one["path"]), []).append(one)

    print("| " + " | ".join(COLUMNS) + " |")
    print("| --- |" + " ---: |" * (len(COLUMNS) - 1))
    for size, by_path in measured.items():
        for backend, path in by_path:
            if path in OURS:
                print("| " + " | ".join(row(size, backend, path, by_path)) + " |")


def row(size, backend, path, by_path):
    head, batch, dim, classes = size
    setting = f"{backend}, {head}, {batch} x {dim}" + ("" if head == "contrastive" else f", {classes} classes")
    if path != "engine":
        setting += f", `{path}`"
    host = backend in HOSTS

    def figure(name, *keys):
        """The smallest of the medians; None where nothing was measured."""
        figures = [statistics.median(one[name] for one in by_path[key]) for key in keys if key in by_path]
        return min(figures, default=None)

    def beyond_gradients(*keys):
        measured = [one for key in keys for one in by_path.get(key, []) if one["extra_peak_mib"] is not None]
        figures = [one["extra_peak_mib"] - one["gradients_mib"] for one in measured]
        return statistics.median(figures) if figures else None

    peer = "torch-ntxent" if head == "contrastive" else "torch-arcface"
    peer, compiled = ("pytorch", peer), ("pytorch", "torch-compile-arcface")
    peers = [peer, compiled] if host else []
    ours = figure("median_ms", (backend, path))
    plain = figure("median_ms", (backend, "plain"))
    eager = figure("median_ms", *peers[:1])
    fastest = figure("median_ms", *peers)
    products = figure("median_ms", (backend, "products"), *([("pytorch", "torch-products")] if host else []))
    memory = [beyond_gradients((backend, path)), beyond_gradients((backend, "plain")), beyond_gradients(*peers[:1])]
    return [
        setting,
        number(ours),
        number(plain),
        number(eager),
        number(figure("median_ms", *peers[1:])),
        number(figure("median_ms", ("pytorch", "pml-arcface")) if host else None),
        number(products),
        ratio(ours, fastest),
        ratio(ours, products),
        " / ".join(number(figure) for figure in memory),
    ]


def number(figure):
    return "–" if figure is None else f"{figure:.1f}" if abs(figure) < 10 else f"{figure:.0f}"


def ratio(ours, other):
    return "–" if ours is None or not other else f"{ours / other:.2f}"


main()
