# Everything a change must pass; the gate runs the same.
check:
    bash .ci/run

# The tests of the README: every loss on flex and ndarray, the metrics, the tool.
test:
    cargo test --workspace

# Every loss on wgpu too. Needs a Vulkan driver: mesa-vulkan-drivers brings one that runs on the CPU.
parity-wgpu:
    cargo test -p parity --features wgpu -- --nocapture

# Writes docs/parity.md anew.
parity-table:
    cargo run -p parity --features wgpu > docs/parity.md

# Images per second of the tool on each backend, one epoch each.
bench:
    bash examples/face-embedding/bench.sh

# A training step of the heads in time and memory, beside PyTorch: see bench/heads/README.md.
bench-heads:
    bash bench/heads/run.sh

# A step of every other loss in processor and wall time, beside PyTorch and pytorch-metric-learning, one thread each. Needs
# bench/heads/requirements.txt.
bench-losses:
    cargo build --release -p bench-steps --features flex
    ${PYTHON:-python3} bench/losses/run.py --threads 1

# A step of the tool's network beside the same network in PyTorch, one thread each. Needs bench/heads/requirements.txt.
bench-network:
    cargo build --release -p face-embedding --example trunk_step
    ${PYTHON:-python3} bench/network/run.py --threads 1
