"""One step of every loss beside its peer, in turn, so that a busy moment of the machine hits both. Prints a Markdown table
of medians over the rounds: milliseconds of processor time (of all steps together) and of wall time (the median step), and
the ratios; nan where a peer has no such loss.

    cargo build --release -p bench-steps --features flex
    .venv/bin/python bench/losses/run.py --rounds 5 --threads 1

`--only` takes some of the losses, `--backend` another backend of the build, `--threads` how many threads both may use.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Loss, rows, columns, others, and the goal: how much of the peer's time a step may take.
TASKS = [
    ("cross-entropy", 256, 1000, 1, 0.8),
    ("cross-entropy", 256, 50_000, 1, 0.8),
    ("cross-entropy", 256, 128_000, 1, 0.8),
    ("linear-cross-entropy", 4096, 512, 32_000, 0.7),
    ("linear-cross-entropy", 1024, 2048, 128_256, 0.7),
    ("linear-cross-entropy-whole", 4096, 512, 32_000, None),
    ("focal", 256, 1000, 1, 0.8),
    ("focal", 256, 50_000, 1, 0.8),
    ("cross-entropy-soft", 256, 1000, 1, 0.8),
    ("cross-entropy-soft", 256, 50_000, 1, 0.8),
    ("focal-soft", 256, 1000, 1, 0.8),
    ("poly", 256, 1000, 1, 0.8),
    ("generalized-cross-entropy", 256, 1000, 1, 0.8),
    ("binary-cross-entropy", 256, 1000, 1, 1.0),
    ("binary-focal", 256, 1000, 1, 1.0),
    ("asymmetric", 256, 1000, 1, 1.0),
    ("log-cosh", 1000, 1000, 1, 1.0),
    ("charbonnier", 1000, 1000, 1, 1.0),
    ("quantile", 1000, 1000, 1, 1.0),
    ("l1-penalty", 10_000, 1000, 1, 1.0),
    ("l2-penalty", 10_000, 1000, 1, 1.0),
    ("row-groups", 100_000, 1000, 1, 1.0),
    ("manhattan", 256, 128, 1, 1.0),
    ("chebyshev", 256, 128, 1, 1.0),
    ("euclidean", 256, 128, 1, 1.0),
    ("contrastive", 1024, 128, 1, 0.7),
    ("n-pairs", 1024, 128, 1, 0.7),
    ("batch-hard", 1024, 128, 1, 0.7),
    ("lifted-structure", 1024, 128, 1, 0.7),
    ("semi-hard", 1024, 128, 1, 0.1),
    ("circle", 1024, 128, 1, 0.7),
    ("multi-similarity", 1024, 128, 1, 0.7),
    ("sup-con-references", 256, 128, 2048, None),
    ("sup-con-references", 256, 128, 16_384, None),
    ("n-pairs-references", 256, 128, 2048, None),
    ("n-pairs-references", 256, 128, 16_384, None),
    ("info-nce-references", 256, 128, 2048, None),
    ("siglip", 8192, 512, 1, 0.5),
    ("info-nce", 8192, 512, 1, 0.5),
    ("clip", 8192, 512, 1, 0.5),
    ("matryoshka-clip", 8192, 512, 1, None),
    ("center", 256, 512, 100_000, 1.0),
    ("center-trained", 256, 512, 100_000, 1.0),
    ("center-trained-step", 256, 512, 100_000, 1.0),
    ("arcface-step", 256, 512, 100_000, None),
    ("arcface-step-sampled", 256, 512, 100_000, None),
    ("arcface-step-rows", 256, 512, 100_000, None),
    ("uniface", 256, 512, 10_000, 0.55),
    ("sphereface2", 256, 512, 10_000, 0.55),
    ("momentum", 10_000, 1000, 1, None),
    ("adamw", 10_000, 1000, 1, None),
    ("burn-mask-fill", 1000, 1000, 1, None),
    ("burn-mask-fill-of-column", 1000, 1000, 1, None),
    ("burn-mask-where", 1000, 1000, 1, None),
    ("burn-momentum", 10_000, 1000, 1, None),
]


def measure(command, threads):
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"left out: {' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target")
    parser.add_argument("--step", default=str(Path(target) / "release/loss_step"))
    parser.add_argument("--backend", default="flex")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()

    print(f"Threads: {options.threads}. Load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n")
    print("| loss | size | processor ms, ours | peer | ratio | wall ms, ours | peer | ratio | goal |")
    print("| --- | --- " + "| ---: " * 7 + "|")
    for loss, rows, columns, others, goal in TASKS:
        if options.only and loss not in options.only:
            continue
        size = ["--loss", loss, "--rows", str(rows), "--columns", str(columns), "--others", str(others)]
        ours, peer = [], []
        for number in range(options.rounds):
            for results, command in [
                (ours, [options.step, "--backend", options.backend, *size]),
                (peer, [sys.executable, str(HERE / "peers.py"), "--threads", str(options.threads), *size]),
            ][:: 1 if number % 2 == 0 else -1]:
                results.append(measure(command, options.threads))
        if None in ours or None in peer:
            continue
        cells = []
        for field in ("processor_ms", "wall_ms"):
            one = statistics.median(result[field] for result in ours)
            # A peer may have no such loss.
            other = statistics.median(result.get(field, float("nan")) for result in peer)
            cells += [number_of(one), number_of(other), f"{one / other:.2f}"]
        shape = f"{rows} x {columns}" + (f", {others}" if others > 1 else "")
        print("| " + " | ".join([loss, shape, *cells, "–" if goal is None else f"{goal:g}"]) + " |", flush=True)
    print(f"\nLoad of the machine after: {os.getloadavg()[0]:.1f}.")


def number_of(figure):
    return f"{figure:.2f}" if figure < 10 else f"{figure:.0f}"


if __name__ == "__main__":
    main()
