"""One measurement of one training step in PyTorch: what head_step.rs is compared with.

Prints one line of JSON with the fields of head_step.

    python peers.py --peer torch-arcface --batch 256 --dim 512 --classes 100000 --repeats 5

| peer | what |
| --- | --- |
| torch-arcface | ArcFace in ordinary operations: cosines, the own column replaced, cross-entropy |
| torch-compile-arcface | the same through torch.compile |
| pml | the loss of pytorch-metric-learning: with --loss margin that of --head, else that of pairs; settings as burn-losses |
| torch-ntxent | with --loss contrastive: the log-denominators of NT-Xent over the matrix of a batch with itself |
| torch-products | nothing but the three matrix products of a step, without autograd: its lower bound |
"""

import argparse
import json
import math
import os
import statistics
import time

import torch
import torch.nn.functional as F

SCALE, MARGIN, TEMPERATURE = 64.0, 0.5, 0.1
ROWS_PER_CLASS = 4
MIB = 1 << 20


def arcface(embeddings, weights, labels):
    cosines = F.normalize(embeddings) @ F.normalize(weights).T
    column = labels.unsqueeze(1)
    own = cosines.gather(1, column)
    # The floor keeps the slope of the root finite.
    sine = (1 - own * own).clamp_min(1e-12).sqrt()
    shifted = own * math.cos(MARGIN) - sine * math.sin(MARGIN)
    target = torch.where(own < -math.cos(MARGIN), own - MARGIN * math.sin(MARGIN), shifted)
    return F.cross_entropy(cosines.scatter(1, column, target) * SCALE, labels)


def ntxent(embeddings):
    rows = F.normalize(embeddings)
    scores = (rows @ rows.T) / TEMPERATURE
    own = torch.eye(len(rows), dtype=torch.bool)
    return scores.masked_fill(own, -math.inf).logsumexp(1).mean()


def with_gradients(loss, *inputs):
    """A step: the loss, and its gradients by the inputs. They are dropped before the next step."""

    def step():
        value = loss()
        gradients = torch.autograd.grad(value, inputs)
        return value.item(), sum(gradient.numel() for gradient in gradients)

    return step


def products(embeddings, weights):
    """The three products of a step, with room for their results made beforehand."""
    (batch, dim), (keys, _) = embeddings.shape, weights.shape
    scores, to_weights, to_embeddings = torch.ones(batch, keys), torch.ones(keys, dim), torch.ones(batch, dim)

    def step():
        torch.mm(embeddings, weights.T, out=scores)
        torch.mm(scores.T, embeddings, out=to_weights)
        torch.mm(scores, weights, out=to_embeddings)
        return 0.0, to_weights.numel() + to_embeddings.numel()

    return step


def pml_head(head, classes, dim):
    from pytorch_metric_learning import losses

    margin = {"margin": math.degrees(MARGIN), "scale": SCALE}
    return {
        "arcface": lambda: losses.ArcFaceLoss(num_classes=classes, embedding_size=dim, **margin),
        "sub-center": lambda: losses.SubCenterArcFaceLoss(num_classes=classes, embedding_size=dim, **margin, sub_centers=3),
    }[head]()


def pml_pairs(loss):
    """With the settings that burn-losses comes with."""
    from pytorch_metric_learning import distances, losses, reducers

    # Its own mean is over what is not 0 there.
    mean = {"reducer": reducers.MeanReducer()}
    return {
        "info-nce": lambda: losses.NTXentLoss(temperature=0.07, **mean),
        "sup-con": lambda: losses.SupConLoss(temperature=0.1, **mean),
        "multi-similarity": lambda: losses.MultiSimilarityLoss(alpha=2, beta=50, base=0.5, **mean),
        "circle": lambda: losses.CircleLoss(m=0.4, gamma=80, **mean),
        "triplet": lambda: losses.TripletMarginLoss(margin=0.2, distance=distances.CosineSimilarity(), **mean),
    }[loss]()


def make_step(peer, loss_name, head, batch, dim, classes):
    embeddings = torch.randn(batch, dim)
    if peer == "torch-ntxent":
        embeddings.requires_grad_()
        return with_gradients(lambda: ntxent(embeddings), embeddings)
    labels = torch.arange(batch) * 7919 % classes
    if peer == "pml":
        embeddings.requires_grad_()
        if loss_name != "margin":
            labels = torch.arange(batch) // ROWS_PER_CLASS
            loss = pml_pairs(loss_name)
            return with_gradients(lambda: loss(embeddings, labels), embeddings)
        loss = pml_head(head, classes, dim)
        with torch.no_grad():
            loss.W.normal_(0, 0.01)
        return with_gradients(lambda: loss(embeddings, labels), embeddings, loss.W)
    weights = torch.randn(classes, dim).mul_(0.01)
    if peer == "torch-products":
        return products(embeddings, weights)
    embeddings.requires_grad_()
    weights.requires_grad_()
    loss = torch.compile(arcface) if peer == "torch-compile-arcface" else arcface
    return with_gradients(lambda: loss(embeddings, weights, labels), embeddings, weights)


def memory_mib(field):
    """A figure of /proc/self/status; None where there is no such file."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 / MIB for line in status if line.startswith(field + ":"))
    except (OSError, StopIteration):
        return None


def reset_peak():
    """Sets the peak back to what is in use; where that cannot be done, making the inputs counts too."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass
    return memory_mib("VmRSS")


def milliseconds(step):
    start = time.perf_counter()
    result = step()
    return (time.perf_counter() - start) * 1e3, result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    peers = ["torch-arcface", "torch-compile-arcface", "pml", "torch-ntxent", "torch-products"]
    pairs = ["info-nce", "sup-con", "multi-similarity", "circle", "triplet"]
    parser.add_argument("--peer", choices=peers, required=True)
    parser.add_argument("--loss", choices=["margin", "contrastive", *pairs], default="margin")
    parser.add_argument("--head", choices=["arcface", "sub-center"], default="arcface")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    fitting = {"torch-ntxent": ["contrastive"], "pml": ["margin", *pairs], "torch-products": [options.loss]}
    if options.loss not in fitting.get(options.peer, ["margin"]):
        parser.error(f"{options.peer} has no loss {options.loss}")
    margin = options.loss == "margin"
    classes = options.classes if margin else options.batch

    torch.manual_seed(42)
    torch.set_num_threads(os.cpu_count())
    step = make_step(options.peer, options.loss, options.head, options.batch, options.dim, classes)
    before = reset_peak()
    first_ms, (loss, gradients) = milliseconds(step)
    if "compile" in options.peer:
        # The memory of the compiler is not that of a step.
        before = reset_peak()
    times = [milliseconds(step)[0] for _ in range(options.repeats)]
    peak = memory_mib("VmHWM")

    print(json.dumps({
        "backend": "pytorch",
        "head": options.head if margin else options.loss,
        "path": options.peer,
        "batch": options.batch,
        "dim": options.dim,
        "classes": classes,
        "repeats": options.repeats,
        "median_ms": round(statistics.median(times), 3),
        "min_ms": round(min(times), 3),
        "first_ms": round(first_ms, 3),
        "extra_peak_mib": None if peak is None or before is None else peak - before,
        "gradients_mib": gradients * 4 / MIB,
        "peak_mib": peak,
        "loss": loss,
    }))


if __name__ == "__main__":
    main()
