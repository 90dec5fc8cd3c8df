"""Kills runs at random moments and flips random bits of their files, and looks whether anything is lost or goes unnoticed.

python3 durability.py PROGRAM [--kills 100] [--flips 10000] [--seed 1]; PROGRAM is a build of face-embedding. Takes some minutes, so the
gate does not run it; tests/tool/{resume,damage}.rs hold a case of each.
"""

import argparse
import json
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time

TINY = "--people 6 --test-people 6 --pictures 6 --image-size 16 --width 2 --embedding-size 8 --batch-size 12 --epochs 12 --seed 5".split()
# What differs between equal runs: when and how fast.
CLOCK = {"images_per_second", "train_seconds"}


def command(program, *arguments):
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)


def figures(run):
    return {name: value for name, value in json.loads((run / "metrics.json").read_text()).items() if name not in CLOCK}


def kills(program, folder, count, random):
    """A run that was killed, some of them again and again, ends as one that was not."""
    whole = folder / "whole"
    began = time.monotonic()
    assert command(program, "train", *TINY, "--output", whole).returncode == 0
    seconds = time.monotonic() - began
    beginnings = {"nothing": 0, "a run": 0, "a checkpoint": 0, "all": 0}
    killed = 0
    while killed < count:
        run = folder / f"killed-{killed}"
        arguments = ["train", *TINY, "--output", run]
        while True:
            process = subprocess.Popen([program, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            try:
                error = process.communicate(timeout=random.uniform(0, seconds) if killed < count else None)[1]
                assert process.returncode == 0, (arguments, error)
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                killed += 1
            found = (
                "all" if (run / "manifest.json").exists()
                else "a checkpoint" if list(run.glob("checkpoint/manifest-*.json"))
                else "a run" if (run / "config.json").exists()
                else "nothing"
            )
            beginnings[found] += 1
            arguments = ["train", *TINY, "--output", run] if found == "nothing" else ["train", "--resume", "--output", run]
            if found == "nothing" and run.exists():
                # What is no run yet can be begun again in the same place, or its folder is told to hold none.
                shutil.rmtree(run)
        for name in ("trunk.safetensors", "config.json", "people.json", "test_people.json"):
            assert (run / name).read_bytes() == (whole / name).read_bytes(), f"{run}: {name} differs"
        assert figures(run) == figures(whole), f"{run}: figures differ"
        left = [path for path in run.rglob("*.tmp")]
        assert not left, left
        shutil.rmtree(run)
    print(f"{killed} kills of a run of {seconds:.1f} s; found afterwards: {beginnings}; every run ended as the one that was not killed")
    return whole


def flips(program, folder, whole, count, random):
    """Every flipped bit is told, by the name of the file that it is in."""
    last = max(int(path.stem.split("-")[1]) for path in whole.glob("checkpoint/manifest-*.json"))
    files = sorted(path for path in whole.iterdir() if path.is_file())
    files += sorted(whole.glob(f"checkpoint/*-{last}.*"))
    flipped, unnoticed = {}, []
    for number in range(count):
        path = random.choice(files)
        name = path.relative_to(whole)
        good = path.read_bytes()
        bad = bytearray(good)
        place, bit = random.randrange(len(bad)), random.randrange(8)
        bad[place] ^= 1 << bit
        path.write_bytes(bad)
        exported = folder / "exported"
        done = command(program, "export", whole, "--output", exported)
        told = f"{done.stdout}{done.stderr}"
        # A trunk without its head, its figures or its page is whole: what is wrong with them is told, and the trunk exported.
        refused = path.parent == whole and name.name not in ("metrics.json", "report.html")
        named = name.name in told or (path.parent != whole and f"epoch {last}" in told)
        if not named or done.returncode != (2 if refused else 0):
            unnoticed.append((str(name), place, bit, done.returncode, told[-200:]))
        path.write_bytes(good)
        shutil.rmtree(exported, ignore_errors=True)
        flipped[str(name)] = flipped.get(str(name), 0) + 1
    assert command(program, "export", whole, "--output", folder / "exported").returncode == 0
    print(f"{count} flipped bits: {flipped}")
    for case in unnoticed[:20]:
        print("not told:", case)
    assert not unnoticed, f"{len(unnoticed)} flipped bits were not told"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program", type=pathlib.Path)
    arguments.add_argument("--kills", type=int, default=100)
    arguments.add_argument("--flips", type=int, default=10_000)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        whole = kills(given.program.absolute(), folder, given.kills, chance)
        flips(given.program.absolute(), folder, whole, given.flips, chance)


if __name__ == "__main__":
    main()
