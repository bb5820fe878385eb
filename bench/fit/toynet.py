"""Train ToyNet on Toytown's training split: ``python -m bench.fit.toynet --out FILE``. Minutes on two cores.

The command, its seed and its outcome are documented in docs/toytown.md. It is no plug-in: the benchmark trains no
network of its own accord. Still this file is read when trainers are listed, so torch and rich are imported late.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from bench.api import CITYSCAPES, IGNORE, Labels
from bench.core.files import writing
from bench.datasets.toytown.scenes import Toytown
from bench.models.toynet import network

if TYPE_CHECKING:
    from rich.progress import Progress
    from torch import Tensor, nn

IMAGES = 1600  # of the training split; the default set of that split is the first 600 of them
ITERATIONS = 2500
BATCH = 8
RATE = 4e-3
LINE = 250  # iterations between two lines where there is no terminal to show a bar


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed("python -m bench.fit.toynet", str(__doc__), ITERATIONS, 2, arguments)

    import torch
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from safetensors.torch import save

    console = Console()
    torch.set_num_threads(options.threads)
    columns = TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:
        images, labels = draw(Toytown(split="train", images=options.images), options.threads, progress)
        net = train(images, labels, options.iterations, options.seed, progress)
        images, labels = draw(Toytown(split="val"), options.threads, progress)
    with writing(options.out) as file:
        # One entry only: safetensors writes several in no fixed order, and equal trainings must give equal files.
        file.write(save(shrunk(net), metadata={"made_by": options.recipe}))
    shares = evaluate(net, images, labels)
    for name, share in shares.items():
        console.print(f"{name:>14} {share:.3f}")
    console.print(f"mean IoU on val {sum(shares.values()) / len(shares):.4f}; written to {options.out}")


def parsed(
    program: str, description: str, iterations: int, threads: int, arguments: Sequence[str] | None
) -> argparse.Namespace:
    """The options of a program that trains a network on Toytown; ``recipe`` is what makes the same weights again."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument("--iterations", type=int, default=iterations, help=f"batches of {BATCH} (default {iterations})")
    parser.add_argument("--images", type=int, default=IMAGES, help=f"training images (default {IMAGES})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=threads)
    options = parser.parse_args(arguments)
    values = {name: getattr(options, name) for name in ("iterations", "images", "seed", "threads")}
    options.recipe = f"{program} " + " ".join(f"--{name} {value}" for name, value in values.items())
    return options


def draw(data: Toytown, processes: int, progress: Progress) -> tuple[Tensor, Tensor]:
    """Uint8 [n, 3, H, W] images and uint8 [n, H, W] labels of a whole split."""
    import torch

    task = progress.add_task(f"drawing {data.split}", total=data.count)
    images = torch.empty((data.count, 3, data.height, data.width), dtype=torch.uint8)
    labels = torch.empty((data.count, data.height, data.width), dtype=torch.uint8)
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for at, (image, label) in enumerate(pool.map(partial(_frame, data), range(data.count), chunksize=16)):
            images[at], labels[at] = torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(label)
            progress.advance(task)
    return images, labels


def _frame(data: Toytown, index: int) -> tuple[NDArray[np.uint8], Labels]:
    sample = data.load(index)
    return sample.image(), cast("Labels", sample.labels)


def train(images: Tensor, labels: Tensor, iterations: int, seed: int, progress: Progress) -> nn.Module:
    """Minimise the cross-entropy with Adam and a one-cycle rate; 255 counts nowhere; the network comes in eval mode."""
    import torch
    from torch.nn import functional

    torch.manual_seed(seed)
    dice = np.random.RandomState(seed)
    net = network().train()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=iterations, pct_start=0.15)
    weight = balance(labels)
    task = progress.add_task("training", total=iterations)
    order: list[int] = []
    for iteration in range(iterations):
        if len(order) < BATCH:
            order += dice.permutation(len(images)).tolist()
        chosen, order = order[:BATCH], order[BATCH:]
        batch, truth = augment(images[chosen].float(), labels[chosen], dice)
        _, logits = net(batch.contiguous(memory_format=torch.channels_last))
        # Half resolution is enough to learn edges and costs a quarter; which of four pixels speaks for all is random.
        top, left = dice.randint(2), dice.randint(2)
        finer = functional.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
        loss = functional.cross_entropy(finer, truth[:, top::2, left::2].long(), weight, ignore_index=IGNORE)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        progress.update(task, advance=1, description=f"training, loss {loss.item():.3f}")
        if not progress.console.is_terminal and (iteration + 1) % LINE == 0:
            progress.console.print(f"iteration {iteration + 1} of {iterations}, loss {loss.item():.3f}")
    return net.eval()


def balance(labels: Tensor) -> Tensor:
    """Float32 [19]: weights that lift rare classes, between 1 and 4."""
    counts = labels.flatten().bincount(minlength=256)[: len(CITYSCAPES)].double()
    share = counts / counts.sum()
    return (0.1 / share.clamp(min=1e-6)).sqrt().clamp(1.0, 4.0).float()


def augment(images: Tensor, labels: Tensor, dice: np.random.RandomState) -> tuple[Tensor, Tensor]:
    """Mirror half of the images and vary brightness and colour a little."""
    import torch

    for at in range(len(images)):
        if dice.random_sample() < 0.5:
            images[at], labels[at] = images[at].flip(-1), labels[at].flip(-1)
    brightness, colour = (
        dice.uniform(0.85, 1.15, (len(images), 1, 1, 1)),
        dice.uniform(0.95, 1.05, (len(images), 3, 1, 1)),
    )
    return images * torch.from_numpy(brightness * colour).float(), labels


def evaluate(net: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """IoU by class, over all images, for the classes that occur in the labels or the predictions."""
    import torch
    from torch.nn import functional

    classes = len(CITYSCAPES)
    confusion = torch.zeros(classes * classes, dtype=torch.int64)
    with torch.no_grad():
        for image, label in zip(images, labels, strict=True):
            _, logits = net(image[None].float())
            predicted = functional.interpolate(logits, size=label.shape, mode="bilinear", align_corners=False)[
                0
            ].argmax(0)
            valid = label != IGNORE
            confusion += (label[valid].long() * classes + predicted[valid]).bincount(minlength=classes * classes)
    table = confusion.view(classes, classes)
    hits, either = table.diagonal(), table.sum(0) + table.sum(1) - table.diagonal()
    return {name: hits[at].item() / either[at].item() for at, name in enumerate(CITYSCAPES) if either[at]}


def shrunk(net: nn.Module) -> dict[str, Tensor]:
    """Store convolutions in half precision, so that the file is small, and the statistics of BatchNorm as they are."""
    return {
        name: (value.half() if value.dim() == 4 else value).contiguous() for name, value in net.state_dict().items()
    }


if __name__ == "__main__":
    main()
