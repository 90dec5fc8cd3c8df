#!/usr/bin/env bash
# Images per second in training, on each backend that is compiled in: the median of three short runs each, one
# process a run, in turn. Prints a Markdown table. FEATURES and BACKENDS choose others.
set -euo pipefail
cd "$(dirname "$0")/../.."

features=${FEATURES-ndarray,wgpu}
backends=${BACKENDS-flex ndarray wgpu}
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
# wgpu looks for a display first and complains on stderr when this is not set.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR-$runs}

cargo build --release -p face-embedding --features "$features" >&2
tool=${CARGO_TARGET_DIR-target}/release/face-embedding

for repeat in 1 2 3; do
    for backend in $backends; do
        "$tool" train --backend "$backend" --people 40 --test-people 10 --epochs 2 \
            --output "$runs/$backend-$repeat" >"$runs/$backend-$repeat.log"
    done
done

echo '| backend | device | images/s, median of 3 |'
echo '| --- | --- | --- |'
for backend in $backends; do
    device=$(sed -n 's/^backend: [a-z]* (\(.*\))$/\1/p' "$runs/$backend-1.log")
    # The second epoch of each run: the first one compiles kernels on a GPU.
    median=$(for repeat in 1 2 3; do
        awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "images_per_second") column = i } END { print $column }' \
            "$runs/$backend-$repeat/metrics.csv"
    done | sort -g | sed -n 2p)
    printf '| %s | %s | %.0f |\n' "$backend" "$device" "$median"
done
