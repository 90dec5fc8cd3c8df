"""A training step of the tool's network beside its twin in PyTorch, in turn, so that a busy moment of the machine hits both.

First compares them: from the same weights, the losses of three steps must be the same. Then prints a Markdown table of
medians over the rounds: milliseconds of processor time (of all steps together) and of wall time (the median step), and the
ratios, each of one round.

    cargo build --release -p face-embedding --example trunk_step
    .venv/bin/python bench/network/run.py --rounds 5 --threads 1

`--backend` takes another backend of the build, `--threads` says how many threads both may use.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Side length of the pictures, width, batch.
SIZES = [(40, 16, 64), (112, 32, 64)]
# How far the losses of the first steps may be apart, relatively: in `f32`, with sums in another order. Steps make errors grow.
TOLERANCES = [1e-5, 1e-4, 1e-3]


def measure(command, threads):
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def compare(ours, peer):
    for one, other, tolerance in zip(ours["losses"], peer["losses"], TOLERANCES, strict=True):
        if not abs(one - other) <= tolerance * abs(other):
            sys.exit(f"not the same network: losses {ours['losses']}, and {peer['losses']} by {peer['by']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target")
    parser.add_argument("--example", default=str(Path(target) / "release/examples/trunk_step"))
    parser.add_argument("--backend", default="flex")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=int, nargs="*", help="side lengths")
    options = parser.parse_args()

    print(f"Threads: {options.threads}. Load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n")
    print("| size | peer | processor ms, ours | peer | ratio | wall ms, ours | peer | ratio |")
    print("| --- | --- " + "| ---: " * 6 + "|")
    for image_size, width, batch in SIZES:
        if options.only and image_size not in options.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            case = str(Path(folder) / "case.safetensors")
            size = ["--image-size", str(image_size), "--width", str(width), "--batch", str(batch)]
            twin = [sys.executable, str(HERE / "peers.py"), case, "--threads", str(options.threads)]
            commands = {
                "ours": [options.example, "--backend", options.backend, *size, "--write", case],
                "PyTorch eager": twin,
                "PyTorch, channels last": [*twin, "--channels-last"],
            }
            rounds = []
            for number in range(options.rounds):
                # The first one of all writes the case.
                order = list(commands)[:: 1 if number % 2 == 0 else -1]
                rounds.append({name: measure(commands[name], options.threads) for name in order})
        for peer in list(commands)[1:]:
            compare(rounds[0]["ours"], rounds[0][peer])
            cells = []
            for field in ("processor_ms", "wall_ms"):
                ours = [one["ours"][field] for one in rounds]
                others = [one[peer][field] for one in rounds]
                ratio = statistics.median(one / other for one, other in zip(ours, others))
                cells += [f"{statistics.median(ours):.1f}", f"{statistics.median(others):.1f}", f"{ratio:.2f}"]
            print(f"| {image_size} x {image_size}, width {width}, batch {batch} | {peer} | " + " | ".join(cells) + " |", flush=True)
    print(f"\nLoad of the machine after: {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
