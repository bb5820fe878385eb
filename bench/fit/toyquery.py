"""Train ToyQuery on Toytown's training split: ``python -m bench.fit.toyquery --out FILE``. Minutes on two cores.

The command, its seed and its outcome are documented in docs/toytown.md. It is no plug-in: the benchmark trains no
network of its own accord. Still this file is read when trainers are listed, so torch and rich are imported late.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bench.api import CITYSCAPES, IGNORE
from bench.core.files import writing
from bench.datasets.toytown.scenes import Toytown
from bench.fit.toynet import BATCH, LINE, augment, draw, parsed, shrunk
from bench.models.toynet import STRIDE, ToyNet
from bench.models.toyquery import network

if TYPE_CHECKING:
    from rich.progress import Progress
    from torch import Tensor, nn

ITERATIONS = 1200
HALF = BATCH // 2  # of a batch is seen as it is, by the queries; the rest with patches, by the heads
RATE = 3e-3
VOID = len(CITYSCAPES)  # the 20th class, in training only
PATCHES = 3  # pasted into an image, at most


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed("python -m bench.fit.toyquery", str(__doc__), ITERATIONS, 1, arguments)

    import torch
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from safetensors.torch import save

    console = Console()
    torch.set_num_threads(options.threads)
    trunk = ToyNet().load("cpu").module()
    columns = TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:
        images, labels = draw(Toytown(split="train", images=options.images), options.threads, progress)
        net = train(trunk, images, labels, options.iterations, options.seed, progress)
        images, labels = draw(Toytown(split="val"), options.threads, progress)
    with writing(options.out) as file:
        # One entry only: safetensors writes several in no fixed order, and equal trainings must give equal files.
        file.write(save(shrunk(net), metadata={"made_by": options.recipe}))
    console.print(f"mean IoU on val {mean_iou(trunk, net, images, labels):.4f}; written to {options.out}")


def train(
    trunk: nn.Module, images: Tensor, labels: Tensor, iterations: int, seed: int, progress: Progress
) -> nn.Module:
    """Train the queries on the images and the two heads on images with pasted patches; the trunk stays as it is."""
    import torch

    torch.manual_seed(seed)
    dice = np.random.RandomState(seed)
    net = network().train()
    for part in (trunk, net):
        part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=iterations, pct_start=0.15)
    task = progress.add_task("training", total=iterations)
    order: list[int] = []
    for iteration in range(iterations):
        if len(order) < BATCH:
            order += dice.permutation(len(images)).tolist()
        chosen, order = order[:BATCH], order[BATCH:]
        batch, truth = augment(images[chosen].float(), labels[chosen], dice)
        batch[HALF:], truth[HALF:] = paste(batch[HALF:], truth[HALF:], images, dice)
        with torch.no_grad():
            features, logits = trunk(batch.contiguous(memory_format=torch.channels_last))
        outputs = net(features)
        queries = {name: outputs[name][:HALF] for name in ("query_logits", "query_masks")}
        heads = {name: outputs[name][HALF:] for name in ("void_logit", "ood_logit")}
        loss = query_loss(queries, truth[:HALF]) + head_loss(heads, logits[HALF:], truth[HALF:])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        progress.update(task, advance=1, description=f"training, loss {loss.item():.3f}")
        if not progress.console.is_terminal and (iteration + 1) % LINE == 0:
            progress.console.print(f"iteration {iteration + 1} of {iterations}, loss {loss.item():.3f}")
    return net.eval()


def query_loss(outputs: dict[str, Tensor], truth: Tensor) -> Tensor:
    """Query k answers for class k: "no object" where the class is absent, and a mask of its pixels; no matching.

    Binary cross-entropy of the masks, cross-entropy of the classes; pixels of 255 count nowhere. There is no Dice term:
    it makes masks overlap where the network is unsure, and the sum of the class scores is what rba looks at.
    """
    import torch
    from torch.nn import functional

    small = _thinned(truth)
    valid = (small != IGNORE)[:, None].float()
    inside = (small[:, None] == torch.arange(VOID)[:, None, None]).float()  # [n, Q, h, w]
    masks = outputs["query_masks"]
    loss = functional.binary_cross_entropy_with_logits(masks, inside, valid.expand_as(masks))
    answers = torch.where(inside.flatten(2).any(dim=2), torch.arange(VOID), VOID)
    return 20 * loss + functional.cross_entropy(outputs["query_logits"].flatten(0, 1), answers.flatten())


def head_loss(outputs: dict[str, Tensor], logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy with void as a 20th class beside the trunk's logits, and binary cross-entropy of "outlier"."""
    import torch
    from torch.nn import functional

    small = _thinned(truth)
    every = torch.cat([logits, outputs["void_logit"][:, None]], dim=1)
    void = functional.cross_entropy(every, small.long(), ignore_index=IGNORE)
    outlier = (small == VOID).float()
    return void + functional.binary_cross_entropy_with_logits(
        outputs["ood_logit"], outlier, (small != IGNORE).float(), pos_weight=torch.tensor(3.0)
    )


def _thinned(labels: Tensor) -> Tensor:
    """The label in the middle of each cell of the network's grid."""
    return labels[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]


def paste(images: Tensor, labels: Tensor, pool: Tensor, dice: np.random.RandomState) -> tuple[Tensor, Tensor]:
    """Put up to three patches into each image and give their pixels the class void.

    A patch is an ellipse, a polygon or a blob of one colour, of stripes, or of a piece of another image, turned and
    with its colours exchanged. No anomaly of Toytown is drawn on: the heads meet those for the first time when they
    are evaluated.
    """
    import torch

    height, width = labels.shape[1:]
    for at in range(len(images)):
        for _ in range(dice.randint(1, PATCHES + 1)):
            reach = int(height * np.exp(dice.uniform(np.log(0.04), np.log(0.25))))
            top, left = dice.randint(int(0.2 * height), height - reach), dice.randint(0, width - reach)
            box = np.s_[top : top + 2 * reach, left : left + 2 * reach]
            here = labels[at][box]
            shape = _shape(here.shape, reach, dice) & (here != IGNORE)
            patch = images[at][:, box[0], box[1]]
            patch[:] = torch.where(shape, _filling(patch, pool, dice), patch)
            here[shape] = VOID
    return images, labels


def _shape(size: Sequence[int], reach: int, dice: np.random.RandomState) -> Tensor:
    """Bool [h, w], cut off at the right and below: a turned ellipse whose edge is bent by a few waves."""
    import torch

    y, x = torch.meshgrid(torch.arange(size[0]) - reach, torch.arange(size[1]) - reach, indexing="ij")
    stretch, turn = dice.uniform(0.6, 1.7), dice.uniform(0, np.pi)
    along = (x * np.cos(turn) + y * np.sin(turn)) / stretch
    across = (y * np.cos(turn) - x * np.sin(turn)) * stretch
    angle, edge = torch.atan2(across, along), torch.full(tuple(size), 0.7)
    for waves in (2, 3, 5):
        edge += dice.uniform(-0.15, 0.15) * torch.cos(waves * angle + dice.uniform(0, 2 * np.pi))
    inside: Tensor = (along**2 + across**2).sqrt() < reach * edge
    return inside


def _filling(patch: Tensor, pool: Tensor, dice: np.random.RandomState) -> Tensor:
    """Float [3, h, w] in the light of the place: a colour, two in stripes, or a piece of another image upside down."""
    import torch

    size = patch.shape[1:]
    colour, second = (
        torch.from_numpy(dice.uniform(0.1, 2.0, (3, 1, 1)) * float(patch.mean())).float() for _ in range(2)
    )
    kind = dice.randint(3)
    if kind == 0:
        return colour + torch.from_numpy(dice.normal(0, 4, patch.shape)).float()
    if kind == 1:
        turn, period = dice.uniform(0, np.pi), dice.uniform(2.0, 10.0)
        y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
        return torch.where(torch.sin((y * np.sin(turn) + x * np.cos(turn)) * (2 * np.pi / period)) > 0, colour, second)
    other = pool[dice.randint(len(pool))].float()
    top, left = (dice.randint(0, side - part + 1) for side, part in zip(other.shape[1:], size, strict=True))
    return other[dice.permutation(3), top : top + size[0], left : left + size[1]].flip(1)


def mean_iou(trunk: nn.Module, net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Of the argmax of the class scores, over the classes that occur in the labels or the predictions."""
    import torch

    from bench.ops import queries

    table = torch.zeros(VOID * VOID, dtype=torch.int64)
    for image, label in zip(images, labels, strict=True):
        with torch.no_grad():
            outputs = net(trunk(image[None].float())[0])
        scores = queries.class_scores(outputs["query_logits"][0], outputs["query_masks"][0], tuple(label.shape))
        valid = label != IGNORE
        table += (label[valid].long() * VOID + scores.argmax(0)[valid]).bincount(minlength=VOID * VOID)
    square = table.view(VOID, VOID)
    hits, either = square.diagonal(), square.sum(0) + square.sum(1) - square.diagonal()
    return float((hits[either > 0] / either[either > 0]).mean())


if __name__ == "__main__":
    main()
