"""One measurement of one step of a loss in PyTorch or pytorch-metric-learning: what loss_step is compared
with. Prints one line of JSON with the same fields.

    python peers.py --loss cross-entropy --rows 256 --columns 1000 --threads 2
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F

ROWS_PER_CLASS = 4
LEAST_SECONDS = 0.4


def gradient_step(loss, *leaves):
    for leaf in leaves:
        leaf.requires_grad_()

    def step():
        torch.autograd.grad(loss(), leaves)

    return step


def of_classes(loss):
    def make(rows, columns, _):
        logits, labels = torch.randn(rows, columns), torch.arange(rows) * 7919 % columns
        return gradient_step(lambda: loss(logits, labels), logits)

    return make


def of_soft_targets(loss):
    def make(rows, columns, _):
        logits, targets = torch.randn(rows, columns), torch.rand(rows, columns)
        targets /= targets.sum(1, keepdim=True)
        return gradient_step(lambda: loss(logits, targets), logits)

    return make


def soft_focal(logits, targets, gamma=2.0):
    log_p = F.log_softmax(logits, 1)
    return -(targets * (1 - log_p.exp()) ** gamma * log_p).sum(1).mean()


def of_answers(loss):
    def make(rows, columns, _):
        logits, targets = torch.randn(rows, columns), torch.bernoulli(torch.full((rows, columns), 0.1))
        return gradient_step(lambda: loss(logits, targets), logits)

    return make


def of_numbers(loss):
    def make(rows, columns, _):
        predictions, targets = torch.randn(rows, columns), torch.randn(rows, columns)
        return gradient_step(lambda: loss(predictions, targets), predictions)

    return make


def of_parameters(penalty):
    def make(rows, columns, _):
        weight = torch.randn(rows, columns)
        return gradient_step(lambda: penalty(weight), weight)

    return make


def all_pairs(p):
    def make(rows, columns, _):
        first, second = torch.randn(rows, columns), torch.randn(rows, columns)
        return gradient_step(lambda: torch.cdist(first, second, p=p).sum(), first, second)

    return make


def of_pairs(make_loss):
    def make(rows, columns, _):
        embeddings, labels = torch.randn(rows, columns), torch.arange(rows) // ROWS_PER_CLASS
        loss = make_loss()
        return gradient_step(lambda: loss(embeddings, labels), embeddings)

    return make


def with_references(make_loss):
    def make(rows, columns, others):
        classes = others // ROWS_PER_CLASS
        embeddings, labels = torch.randn(rows, columns), torch.arange(rows) * 7919 % classes
        references, reference_labels = torch.randn(others, columns), torch.arange(others) % classes
        loss = make_loss()
        return gradient_step(
            lambda: loss(embeddings, labels, ref_emb=references, ref_labels=reference_labels), embeddings
        )

    return make


def linear_cross_entropy(whole):
    """In chunks, or with all logits in memory."""

    def make(rows, columns, classes):
        hidden, weight = torch.randn(rows, columns), torch.randn(classes, columns) * 0.02
        labels = torch.arange(rows) * 7919 % classes
        options = None if whole else torch.nn.LinearCrossEntropyOptions()
        return gradient_step(lambda: F.linear_cross_entropy(hidden, weight, labels, options=options), hidden, weight)

    return make


def focal(logits, labels, gamma=2.0):
    log_p = F.log_softmax(logits, 1).gather(1, labels[:, None]).squeeze(1)
    return (-((1 - log_p.exp()) ** gamma) * log_p).mean()


def poly(logits, labels, epsilon=1.0):
    log_p = F.log_softmax(logits, 1).gather(1, labels[:, None]).squeeze(1)
    return (-log_p + epsilon * (1 - log_p.exp())).mean()


def generalized_cross_entropy(logits, labels, q=0.7):
    p = F.softmax(logits, 1).gather(1, labels[:, None]).squeeze(1)
    return ((1 - p**q) / q).mean()


def binary_focal(logits, targets, alpha=0.25, gamma=2.0):
    """As sigmoid_focal_loss of torchvision."""
    p = torch.sigmoid(logits)
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p_t = p * targets + (1 - p) * (1 - targets)
    alpha_t = alpha * targets + (1 - alpha) * (1 - targets)
    return (alpha_t * loss * (1 - p_t) ** gamma).mean()


def asymmetric(logits, targets, gamma_negative=4.0, gamma_positive=1.0, clip=0.05):
    """As AsymmetricLoss of its authors, whose focusing weights have no gradient."""
    p = torch.sigmoid(logits)
    q = (1 - p + clip).clamp(max=1)
    loss = targets * p.clamp(min=1e-8).log() + (1 - targets) * q.clamp(min=1e-8).log()
    with torch.no_grad():
        p_t = p * targets + q * (1 - targets)
        weight = (1 - p_t) ** (gamma_positive * targets + gamma_negative * (1 - targets))
    return -(loss * weight).mean()


def log_cosh(predictions, targets):
    error = predictions - targets
    return (error + F.softplus(-2 * error) - 0.6931471805599453).mean()


def charbonnier(predictions, targets, epsilon=1e-3):
    return ((predictions - targets) ** 2 + epsilon**2).sqrt().mean()


def quantile(predictions, targets, q=0.5):
    error = targets - predictions
    return torch.maximum(q * error, (q - 1) * error).mean()


def row_groups(rows, columns, _):
    weight = torch.randn(rows, columns)

    def step():
        lengths = weight.norm(dim=1, keepdim=True)
        weight.mul_((1 - 0.1 * 0.01 / lengths.clamp_min(1e-12)).clamp_min(0))

    return step


def center(trained):
    """Center loss as a rule that moves the centers, and with centers that an optimizer moves."""

    def make(rows, columns, classes):
        embeddings, labels = torch.randn(rows, columns), torch.arange(rows) * 7919 % classes
        centers = torch.zeros(classes, columns)
        if trained:
            loss = lambda: (embeddings - centers[labels]).square().sum(1).mul(0.5).mean()
            return gradient_step(loss, embeddings, centers)
        embeddings.requires_grad_()

        def step():
            difference = embeddings - centers[labels]
            torch.autograd.grad(difference.square().sum(1).mul(0.5).mean(), [embeddings])
            with torch.no_grad():
                _, place, count = labels.unique(return_inverse=True, return_counts=True)
                centers.index_add_(0, labels, difference * (0.5 / (1 + count[place]))[:, None])

        return step

    return make


def center_step(rows, columns, classes):
    """A whole step of trained centers, with the dense gradient and the optimizer that a user has."""
    embeddings, labels = torch.randn(rows, columns), torch.arange(rows) * 7919 % classes
    centers = torch.zeros(classes, columns, requires_grad=True)
    optimizer = torch.optim.SGD([centers], lr=0.1, momentum=0.9)

    def step():
        optimizer.zero_grad()
        (embeddings - centers[labels]).square().sum(1).mul(0.5).mean().backward()
        optimizer.step()

    return step


def arcface_step(sampled, by_rows=False, scale=64.0, margin=0.5, momentum=0.9):
    """A whole step of ArcFace: with all classes, with a tenth of them and a dense gradient, and by the rule of
    InsightFace's PartialFC, whose optimizer sees the rows of the sample alone."""

    def loss_of(embeddings, weights, labels):
        cosines = F.normalize(embeddings) @ F.normalize(weights).T
        place = (torch.arange(len(labels)), labels)
        angle = torch.acos(cosines[place].clamp(-1 + 1e-7, 1 - 1e-7)) + margin
        return F.cross_entropy(cosines.index_put(place, torch.cos(angle)) * scale, labels)

    def make(rows, columns, classes):
        embeddings, labels = torch.randn(rows, columns, requires_grad=True), torch.arange(rows) * 7919 % classes
        weights = torch.randn(classes, columns) * 0.01
        if not by_rows:
            weights.requires_grad_()
            optimizer = torch.optim.SGD([weights], lr=0.1, momentum=momentum)
        velocity = torch.zeros_like(weights) if by_rows else None

        def sample():
            priority = torch.rand(classes)
            priority[labels] = 2.0
            index = priority.topk(classes // 10).indices.sort().values
            return index, torch.searchsorted(index, labels)

        def step():
            embeddings.grad = None
            if not sampled:
                optimizer.zero_grad()
                loss_of(embeddings, weights, labels).backward()
                return optimizer.step()
            index, places = sample()
            if not by_rows:
                optimizer.zero_grad()
                loss_of(embeddings, weights[index], places).backward()
                return optimizer.step()
            drawn = weights[index].requires_grad_()
            loss_of(embeddings, drawn, places).backward()
            moved = velocity[index].mul_(momentum).add_(drawn.grad)
            velocity[index] = moved
            weights[index] = drawn.detach().sub_(moved, alpha=0.1)

        return step

    return make


def masked(operation):
    def make(rows, columns, _):
        numbers, others = torch.randn(rows, columns), torch.randn(rows, columns)
        mask = numbers < 0
        return lambda: operation(numbers, others, mask)

    return make


def optimizer(make_optimizer):
    def make(rows, columns, _):
        weight = torch.randn(rows, columns, requires_grad=True)
        weight.grad = torch.randn(rows, columns)
        return make_optimizer([weight]).step

    return make


MOMENTUM = optimizer(lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9))


def uniface(rows, columns, classes, scale=64.0, margin=0.4):
    embeddings, weights = torch.randn(rows, columns), torch.randn(classes, columns) * 0.01
    labels, bias = torch.arange(rows) * 7919 % classes, torch.full((1,), 11.5)

    def loss():
        cosines = F.normalize(embeddings) @ F.normalize(weights).T
        own = F.one_hot(labels, classes).bool()
        positive = F.softplus(bias - scale * (cosines - margin))
        negative = F.softplus(scale * cosines - bias)
        return torch.where(own, positive, negative).sum(1).mean()

    return gradient_step(loss, embeddings, weights, bias)


def sphereface2(rows, columns, classes, scale=40.0, margin=0.4, balance=0.7, exponent=3.0):
    embeddings, weights = torch.randn(rows, columns), torch.randn(classes, columns) * 0.01
    labels, bias = torch.arange(rows) * 7919 % classes, torch.full((1,), -20.0)

    def loss():
        cosines = F.normalize(embeddings) @ F.normalize(weights).T
        own = F.one_hot(labels, classes).bool()
        similarity = 2 * ((cosines + 1) / 2) ** exponent - 1
        positive = F.softplus(-(scale * (similarity - margin) + bias)) * (balance / scale)
        negative = F.softplus(scale * (similarity + margin) + bias) * ((1 - balance) / scale)
        return torch.where(own, positive, negative).sum(1).mean()

    return gradient_step(loss, embeddings, weights, bias)


def metric_learning():
    from pytorch_metric_learning import distances, losses, miners, reducers

    mean = {"reducer": reducers.MeanReducer()}
    euclidean = {"distance": distances.LpDistance(normalize_embeddings=False)}

    def mined(kind):
        def make():
            miner = {"hard": miners.BatchHardMiner, "semi-hard": miners.TripletMarginMiner}[kind]
            settings = {"type_of_triplets": "semihard", "margin": 0.2} if kind == "semi-hard" else {}
            miner = miner(**settings, **euclidean)
            loss = losses.TripletMarginLoss(margin=0.2, **euclidean, **mean)
            return lambda embeddings, labels: loss(embeddings, labels, miner(embeddings, labels))

        return of_pairs(make)

    return {
        "contrastive": of_pairs(lambda: losses.ContrastiveLoss(**euclidean, **mean)),
        "n-pairs": of_pairs(lambda: losses.NPairsLoss(**mean)),
        "lifted-structure": of_pairs(lambda: losses.GeneralizedLiftedStructureLoss(**euclidean, **mean)),
        "circle": of_pairs(lambda: losses.CircleLoss(m=0.4, gamma=80, **mean)),
        "multi-similarity": of_pairs(lambda: losses.MultiSimilarityLoss(alpha=2, beta=50, base=0.5, **mean)),
        "all-triplets": of_pairs(lambda: losses.TripletMarginLoss(margin=0.2, **euclidean, **mean)),
        "batch-hard": mined("hard"),
        "semi-hard": mined("semi-hard"),
        "info-nce-references": with_references(lambda: losses.NTXentLoss(temperature=0.07, **mean)),
        "sup-con-references": with_references(lambda: losses.SupConLoss(temperature=0.1, **mean)),
    }


def two_towers(loss, lengths=1):
    """As open_clip has them, with all scores in memory; and of the first half of every row, a quarter, ..., as sentence-transformers."""

    def make(rows, columns, _):
        images, texts = torch.randn(rows, columns), torch.randn(rows, columns)
        scale, bias = torch.tensor(10.0).log(), torch.tensor(-10.0)

        def step():
            cut = [columns >> halved for halved in range(lengths)]
            return sum(loss(F.normalize(images[:, :n]), F.normalize(texts[:, :n]), scale.exp(), bias) for n in cut)

        return gradient_step(step, images, texts, scale, *([bias] if loss is siglip else []))

    return make


def siglip(images, texts, scale, bias):
    logits = scale * images @ texts.T + bias
    signs = 2 * torch.eye(len(images)) - 1
    return -F.logsigmoid(signs * logits).sum() / len(images)


def clip(images, texts, scale, _):
    logits = scale * images @ texts.T
    labels = torch.arange(len(images))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def info_nce(images, texts, scale, _):
    return F.cross_entropy(scale * images @ texts.T, torch.arange(len(images)))


PLAIN = {
    "cross-entropy": of_classes(F.cross_entropy),
    "focal": of_classes(focal),
    "linear-cross-entropy": linear_cross_entropy(whole=False),
    "linear-cross-entropy-whole": linear_cross_entropy(whole=True),
    "cross-entropy-soft": of_soft_targets(F.cross_entropy),
    "focal-soft": of_soft_targets(soft_focal),
    "poly": of_classes(poly),
    "generalized-cross-entropy": of_classes(generalized_cross_entropy),
    "binary-cross-entropy": of_answers(F.binary_cross_entropy_with_logits),
    "binary-focal": of_answers(binary_focal),
    "asymmetric": of_answers(asymmetric),
    "log-cosh": of_numbers(log_cosh),
    "charbonnier": of_numbers(charbonnier),
    "quantile": of_numbers(quantile),
    "l1-penalty": of_parameters(lambda weight: 0.01 * weight.abs().sum()),
    "l2-penalty": of_parameters(lambda weight: 0.005 * weight.square().sum()),
    "row-groups": row_groups,
    "manhattan": all_pairs(1.0),
    "chebyshev": all_pairs(float("inf")),
    "euclidean": all_pairs(2.0),
    "siglip": two_towers(siglip),
    "info-nce": two_towers(info_nce),
    "clip": two_towers(clip),
    "matryoshka-clip": two_towers(clip, lengths=6),
    "center": center(trained=False),
    "center-trained": center(trained=True),
    "center-trained-step": center_step,
    "arcface-step": arcface_step(sampled=False),
    "arcface-step-sampled": arcface_step(sampled=True),
    "arcface-step-rows": arcface_step(sampled=True, by_rows=True),
    "burn-mask-fill": masked(lambda numbers, others, mask: numbers.masked_fill(mask, 0.0)),
    "burn-mask-fill-of-column": masked(lambda numbers, others, mask: numbers.masked_fill(mask[:, :1], 0.0)),
    "burn-mask-where": masked(lambda numbers, others, mask: torch.where(mask, others, numbers)),
    "burn-momentum": MOMENTUM,
    "momentum": MOMENTUM,
    "adamw": optimizer(lambda weights: torch.optim.AdamW(weights, lr=0.1)),
    "uniface": uniface,
    "sphereface2": sphereface2,
}


def timed(step):
    start = time.perf_counter()
    step()
    return (time.perf_counter() - start) * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loss", required=True)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--columns", type=int, default=1000)
    parser.add_argument("--others", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()

    torch.manual_seed(42)
    torch.set_num_threads(options.threads)
    make = PLAIN.get(options.loss) or metric_learning().get(options.loss)
    if make is None:
        print(json.dumps({"loss": options.loss, "by": "nobody"}))
        return
    step = make(options.rows, options.columns, options.others)
    first = timed(step)
    start, processor, wall = time.perf_counter(), time.process_time(), []
    while len(wall) < options.repeats or time.perf_counter() - start < LEAST_SECONDS:
        wall.append(timed(step))
    processor = (time.process_time() - processor) * 1e3 / len(wall)
    print(json.dumps({
        "loss": options.loss,
        "by": "pytorch",
        "rows": options.rows,
        "columns": options.columns,
        "others": options.others,
        "repeats": len(wall),
        "wall_ms": statistics.median(wall),
        "processor_ms": processor,
        "first_ms": first,
    }))


if __name__ == "__main__":
    main()
