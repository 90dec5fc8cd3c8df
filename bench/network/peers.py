"""The trunk of the face-embedding tool in PyTorch, and one measurement of a training step of it: the twin of trunk_step.rs,
which it takes the weights, the pictures and the targets from. Prints one line of JSON with the same fields.

    python peers.py case.safetensors --threads 1

`--channels-last` lets PyTorch have its faster layout.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

COMPARED = 3
LEAST_SECONDS = 2.0


class ConvNorm(nn.Module):
    def __init__(self, channels_in, channels_out, kernel, stride):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, features):
        return self.norm(self.conv(features))


class ResidualBlock(nn.Module):
    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.first = ConvNorm(channels_in, channels_out, 3, 2)
        self.first_activation = nn.PReLU(channels_out)
        self.second = ConvNorm(channels_out, channels_out, 3, 1)
        self.shortcut = ConvNorm(channels_in, channels_out, 1, 2)
        self.second_activation = nn.PReLU(channels_out)

    def forward(self, features):
        inner = self.first_activation(self.first(features))
        return self.second_activation(self.second(inner) + self.shortcut(features))


class Trunk(nn.Module):
    def __init__(self, width, features, embedding_size):
        super().__init__()
        self.first = ConvNorm(3, width, 3, 2)
        self.first_activation = nn.PReLU(width)
        self.stages = nn.ModuleList(ResidualBlock(width << stage, width << (stage + 1)) for stage in range(3))
        self.embedding = nn.Linear(features, embedding_size, bias=False)
        self.embedding_norm = nn.BatchNorm1d(embedding_size)

    def forward(self, pictures):
        features = self.first_activation(self.first(pictures))
        for stage in self.stages:
            features = stage(features)
        return self.embedding_norm(self.embedding(features.flatten(1)))


def from_burn(weights):
    """The trunk with the weights of a file that Burn wrote: other names, and a linear layer lies the other way."""
    names = {"gamma": "weight", "beta": "bias", "alpha": "weight"}
    state = {}
    for path, value in weights.items():
        *module, name = path.split(".")
        state[".".join([*module, names.get(name, name)])] = value
    state["embedding.weight"] = state["embedding.weight"].T.contiguous()
    embedding_size, features = state["embedding.weight"].shape
    trunk = Trunk(len(state["first.conv.weight"]), features, embedding_size)
    # Burn does not count batches.
    missing, unexpected = trunk.load_state_dict(state, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing), (missing, unexpected)
    return trunk


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    case = load_file(options.case)
    trunk = from_burn({path.removeprefix("trunk."): value for path, value in case.items() if path.startswith("trunk.")})
    pictures, targets = case["pictures"], case["targets"]
    if options.channels_last:
        trunk, pictures = trunk.to(memory_format=torch.channels_last), pictures.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(trunk.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)

    def step():
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = F.mse_loss(trunk(pictures), targets)
        loss.backward()
        optimizer.step()
        return (time.perf_counter() - start) * 1e3, loss.item()

    losses = [step()[1] for _ in range(COMPARED)]
    start, processor, wall = time.perf_counter(), time.process_time(), []
    while len(wall) < options.repeats or time.perf_counter() - start < LEAST_SECONDS:
        wall.append(step()[0])
    processor = (time.process_time() - processor) * 1e3 / len(wall)
    print(json.dumps({
        "by": "pytorch, channels last" if options.channels_last else "pytorch",
        "image_size": pictures.shape[2],
        "width": len(trunk.first.conv.weight),
        "batch": len(pictures),
        "steps": len(wall),
        "processor_ms": processor,
        "wall_ms": statistics.median(wall),
        "losses": losses,
    }))


if __name__ == "__main__":
    main()
