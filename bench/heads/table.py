"""Makes the table of run.sh from lines of JSON on standard input: the median over the rounds of every figure.

With `fastest` as its argument it takes the fastest step of all rounds, which a busy machine spoils least.
"""

import json
import statistics
import sys

FASTEST = sys.argv[1:] == ["fastest"]
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
    setting = f"{backend}, {head}, {batch} x {dim}" + ("" if classes == batch else f", {classes} classes")
    if path != "engine":
        setting += f", `{path}`"

    def milliseconds(*keys):
        """Of the fastest of them; None where nothing was measured."""
        rounds = [by_path[key] for key in keys if key in by_path]
        if FASTEST:
            return min((one["min_ms"] for ones in rounds for one in ones), default=None)
        return min((statistics.median(one["median_ms"] for one in ones) for ones in rounds), default=None)

    def beyond_gradients(key):
        measured = [one for one in by_path.get(key, []) if one["extra_peak_mib"] is not None]
        figures = [one["extra_peak_mib"] - one["gradients_mib"] for one in measured]
        return statistics.median(figures) if figures else None

    peer = ("pytorch", "torch-ntxent" if head == "contrastive" else "torch-arcface")
    # Where there is no plain PyTorch, its library stands for it.
    peer = peer if peer in by_path else ("pytorch", "pml")
    compiled, pml = ("pytorch", "torch-compile-arcface"), ("pytorch", "pml")
    # The products of a processor are the same for both backends on it.
    products = [("flex", "products"), ("ndarray", "products"), ("pytorch", "torch-products")]
    if backend not in HOSTS:
        peer, compiled, pml, products = None, None, None, [(backend, "products")]
    ours, plain = milliseconds((backend, path)), milliseconds((backend, "plain"))
    fastest, products = milliseconds(peer, compiled), milliseconds(*products)
    memory = [beyond_gradients((backend, path)), beyond_gradients((backend, "plain")), beyond_gradients(peer)]
    return [
        setting,
        number(ours),
        number(plain),
        number(milliseconds(peer)),
        number(milliseconds(compiled)),
        number(milliseconds(pml)),
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
