#!/usr/bin/env bash
# One training step of a head or a loss of pairs in this crate, composed of ordinary tensor operations, and in PyTorch. One process per
# measurement; everything of a size in turn, ROUNDS times, so that a busy moment of the machine hits all alike. Prints a
# Markdown table of medians.
#
#   FEATURES  what the binary is built with               (flex,ndarray,wgpu)
#   BACKENDS  which parts of the grid run                 (flex ndarray wgpu)
#   ROUNDS    how often; wgpu runs once                   (3)
#   PYTHON    an interpreter with requirements.txt        (python3)
#   RESULTS   where the measurements go, a line of JSON each; lines that are there stay (a file that is removed)
set -euo pipefail
cd "$(dirname "$0")/../.."

features=${FEATURES-flex,ndarray,wgpu}
backends=${BACKENDS-flex ndarray wgpu}
rounds=${ROUNDS-3}
python=${PYTHON-python3}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
results=${RESULTS-$scratch/results.jsonl}
# wgpu looks for a display first and complains on stderr when this is not set.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR-$scratch}

cargo build --release -p bench-steps --features "$features" >&2
# A copy, which a build in the meantime does not change.
step=$scratch/head_step
cp "${CARGO_TARGET_DIR-target}/release/head_step" "$step"

# A measurement that fails (too little memory, a buffer the driver does not allow) is left out of the table.
measure() {
    printf '%s\n' "$*" >&2
    "$@" >>"$results" || printf 'left out: %s\n' "$*" >&2
}

runs_on() {
    [[ " $backends " == *" $1 "* ]]
}

# Usage: ours BACKEND 'PATH...' OPTION...
ours() {
    local backend=$1 paths=$2 path
    shift 2
    runs_on "$backend" || return 0
    for path in $paths; do
        measure "$step" --backend "$backend" --path "$path" "$@"
    done
}

# Usage: peers 'PEER...' OPTION...
peers() {
    local names=$1 name
    shift
    runs_on flex || runs_on ndarray || return 0
    for name in $names; do
        measure "$python" bench/heads/peers.py --peer "$name" "$@"
    done
}

arcface='torch-arcface torch-compile-arcface pml torch-products'
for round in $(seq "$rounds"); do
    for size in '--dim 512 --classes 10000' '--dim 512 --classes 100000' '--dim 128 --classes 100000'; do
        read -ra size <<<"$size"
        ours flex 'engine plain products' "${size[@]}"
        ours ndarray 'engine plain' "${size[@]}"
        peers "$arcface" "${size[@]}"
    done
    ours flex 'engine plain products' --loss contrastive --batch 4096 --dim 128
    peers 'torch-ntxent torch-products' --loss contrastive --batch 4096 --dim 128
    ours flex engine --head sub-center
    peers pml --head sub-center
    ours flex engine --head curricularface
    for loss in info-nce sup-con multi-similarity circle triplet; do
        for batch in 256 1024; do
            ours flex engine --loss "$loss" --batch "$batch" --dim 128
            peers pml --loss "$loss" --batch "$batch" --dim 128
        done
    done
    # The others would need tens of gigabytes.
    ours flex engine --dim 512 --classes 1000000 --repeats 2
    if [ "$round" = 1 ]; then
        ours wgpu 'keep stream plain products' --dim 512 --classes 10000 --repeats 2
        # Buffers of at most 128 MiB hold 65 536 centers; the scores fit as well.
        ours wgpu 'keep stream plain products' --dim 512 --classes 50000 --repeats 2
    fi
done

"$python" bench/heads/table.py <"$results"
