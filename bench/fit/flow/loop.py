"""The training loop of a flow on a frozen network: every draw is a function of the seed and of where it stands.

So nothing of a generator has to be kept to go on after a kill: flow, optimiser and the number of the iteration are
enough to end with the same bits on a CPU.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bench import __version__
from bench.api import IGNORE, Constants, Method, Prediction, Sample, State, TrainingContext, View
from bench.core import files
from bench.core.errors import BadPlugin, BadSuite, MissingData
from bench.core.weights import tensors_digest
from bench.fit.flow import checkpoint, inputs
from bench.fit.flow.detector import FlowDetector
from bench.fit.flow.devices import Devices, on
from bench.fit.flow.schedule import Schedule
from bench.models import inference
from bench.ops import dense
from bench.suite import registry

KEEP_SECONDS = 30.0  # between two checkpoints: what a kill can cost
MEAN_COLOUR = (124, 116, 104)  # of ImageNet, which most networks subtract: what lies beyond an image is 0 to them
CROP = (512, 1024)
POINTS = 200  # of the loss curve that is kept
DRAWS = 10  # of a crop

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Batch:
    """What a step sees, at the network's resolution but for ``wrong``."""

    logits: Tensor  # float32 [n, C, h, w]
    condition: Tensor | None  # float32 [n, P, h, w]
    wrong: Tensor  # uint8 [n, H, W]: 0 right, 1 wrong, 255 ignored

    def share(self, index: int, shares: int) -> Batch:
        size = len(self.wrong) // shares
        part = slice(index * size, (index + 1) * size)
        return Batch(self.logits[part], None if self.condition is None else self.condition[part], self.wrong[part])


def train(schedule: Schedule, method: Method, context: TrainingContext) -> tuple[State, Mapping[str, Any]]:
    """The state of ``method`` and what its file says of itself."""
    if not isinstance(method, FlowDetector):
        raise BadPlugin(f"trainer fed trains fed_u and fed_c, not {method.name}")
    if not context.data.dataset.count:
        raise MissingData(f"{method.name} cannot be fitted: there is no image in the data")
    module = context.network.module()
    before = tensors_digest(module.state_dict())
    began = time.monotonic()
    devices = on(schedule.devices, context.device, schedule.precision)
    run = _Run(schedule, method, context, devices)
    run.go()
    if tensors_digest(module.state_dict()) != before:
        raise BadPlugin(f"training {method.name} changed the weights of {context.network.model.name}, which must stay")
    devices.end()
    about = {
        "fidelity": method.fidelity,
        "evidence": method.looks_at(),
        "upsample": (method.upsample or "after") if method.fidelity == "corrected" else "",
        "base": context.network.model.name,
        "base_digest": before,
        "seed": context.seed,
        "device": context.device,
        "seconds": round(time.monotonic() - began, 1),
        "losses": run.curve,
        "versions": {"ood-seg-bench": __version__, "torch": torch.__version__},
    }
    return checkpoint.emptied(run.flow, run.statistics), about


class _Run:
    """A training under way."""

    def __init__(self, schedule: Schedule, method: FlowDetector, context: TrainingContext, devices: Devices) -> None:
        self.schedule, self.method, self.context, self.devices = schedule, method, context, devices
        blocks, condition = method.trained_as()
        with torch.random.fork_rng():
            torch.manual_seed(_seed(context.seed, "weights"))
            self.flow = checkpoint.FLOWS[method.fidelity](blocks, condition)
        self.flow.to(devices.device)
        for parameter in self.flow.parameters():
            parameter.requires_grad_(parameter.numel() > 0)
        self.optimiser = torch.optim.AdamW(
            [parameter for parameter in self.flow.parameters() if parameter.requires_grad],
            lr=schedule.rate,
            weight_decay=schedule.weight_decay,
        )
        self.kind = method.looks_at()
        self.curve: list[list[float]] = []  # iteration, mean loss since the point before
        self.since: list[float] = []  # losses since the last point
        self.statistics: Arrays = {}
        self.done = 0
        self.reader = _Reader(schedule, context, condition, void_counts=method.fidelity == "reference")

    @property
    def path(self) -> Path:
        return self.context.folder / "checkpoint.pt"

    def go(self) -> None:
        """Do what is left of the iterations."""
        schedule, context = self.schedule, self.context
        if not self._resume():
            self.statistics = _statistics(schedule, self.method, context, self.devices)
        for iteration, loss in self.curve:
            context.log(int(iteration), {"loss": loss, "rate": schedule.rate_at(int(iteration) - 1)})
        mean, variance = (
            torch.from_numpy(np.asarray(self.statistics[name], np.float32)).to(self.devices.device)
            for name in ("mean", "variance")
        )
        if not self.done:
            with _mode(context.network.module(), self.method.fidelity), torch.no_grad():
                first = self.reader.batch(0, self.devices)
                self.flow.initialise(self._evidence(first, mean, variance), first.condition)
        stepping = self.devices.prepared(self.flow, self.optimiser)
        every, kept = max(1, schedule.iterations // POINTS), time.monotonic()
        with _mode(context.network.module(), self.method.fidelity), torch.random.fork_rng():
            for iteration in range(self.done, schedule.iterations):
                for group in self.optimiser.param_groups:
                    group["lr"] = schedule.rate_at(iteration)
                loss = self._step(stepping, iteration, mean, variance)
                if not np.isfinite(loss):
                    raise BadSuite(f"{self.method.name}: the loss is {loss} in iteration {iteration}; lower its rate")
                self.since.append(loss)
                self.done = iteration + 1
                if self.done % every == 0 or self.done == schedule.iterations:
                    self.curve.append([self.done, float(np.mean(self.since))])
                    self.since.clear()
                    context.log(self.done, {"loss": self.curve[-1][1], "rate": schedule.rate_at(iteration)})
                if time.monotonic() - kept >= KEEP_SECONDS or self.done == schedule.iterations:
                    self._keep()
                    kept = time.monotonic()
                context.advance(schedule.batch, f"loss {self.curve[-1][1] if self.curve else loss:.4f}")

    def _step(self, stepping: Callable[..., Tensor], iteration: int, mean: Tensor, variance: Tensor) -> float:
        schedule, devices = self.schedule, self.devices
        torch.manual_seed(_seed(self.context.seed, f"network {iteration} {devices.rank}"))  # stochastic depth
        with torch.no_grad():
            whole = self.reader.batch(iteration, devices)
        total = 0.0
        for index in range(schedule.accumulate):
            part = whole.share(index, schedule.accumulate)
            dice = torch.Generator().manual_seed(
                _seed(self.context.seed, f"dropout {iteration} {devices.rank} {index}")
            )
            with devices.quiet(stepping, index + 1 < schedule.accumulate):
                with devices.autocast():
                    log_scores = stepping(self._evidence(part, mean, variance), part.condition, dice)
                loss = _loss(log_scores.float(), part.wrong) / schedule.accumulate
                devices.backward(loss)
            total += float(loss.detach())
        devices.step(self.optimiser)
        return devices.mean(total)

    def _evidence(self, batch: Batch, mean: Tensor, variance: Tensor) -> Tensor:
        """What the flow looks at. A corrected one is trained at the resolution that it is used at."""
        logits = batch.logits
        if self.method.fidelity == "corrected" and self.method.upsample == "before":
            size = [int(side) for side in batch.wrong.shape[-2:]]
            logits = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return inputs.evidence(self.kind, logits, mean, variance)

    def _keep(self) -> None:
        if self.devices.rank:
            return
        held = {
            "iteration": self.done,
            "flow": self.flow.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.devices.state(),
            "curve": self.curve,
            "since": self.since,
            "statistics": {name: torch.from_numpy(np.asarray(array)) for name, array in self.statistics.items()},
        }
        with files.writing(self.path) as file:
            torch.save(held, file)

    def _resume(self) -> bool:
        """Go on where a killed training was; whether there was one."""
        if not self.path.is_file():
            return False
        try:
            held = torch.load(self.path, map_location="cpu", weights_only=True)
            self.flow.load_state_dict(held["flow"])
            self.optimiser.load_state_dict(held["optimiser"])
            self.devices.restore(held["scaler"])
            self.done, self.curve, self.since = held["iteration"], held["curve"], held["since"]
            self.statistics = {name: tensor.numpy() for name, tensor in held["statistics"].items()}
        except (RuntimeError, OSError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise MissingData(
                f"{self.path} cannot be read: {reason}; delete it and the training starts again"
            ) from None
        self.context.advance(self.done * self.schedule.batch, "going on")
        return True


class _Reader:
    """Batches by the number of their iteration: images, augmented and seen by the network."""

    def __init__(self, schedule: Schedule, context: TrainingContext, condition: int, *, void_counts: bool) -> None:
        self.schedule, self.context, self.condition, self.void_counts = schedule, context, condition, void_counts
        self.crop = schedule.crop or context.network.model.inference.window or CROP

    def batch(self, iteration: int, devices: Devices) -> Batch:
        """The part of a batch that is this device's."""
        draws = self._places(iteration, devices)
        parts = list(
            self._cached(draws, iteration, devices) if self.schedule.cache else self._fresh(draws, iteration, devices)
        )
        device = devices.device
        logits = torch.stack([part.logits for part in parts]).to(device)
        condition = (
            torch.stack([cast("Tensor", part.condition) for part in parts]).to(device) if self.condition else None
        )
        return Batch(logits, condition, torch.stack([part.wrong for part in parts]).to(device))

    def _places(self, iteration: int, devices: Devices) -> list[int]:
        """Which of all the images ever drawn this device sees in an iteration."""
        size = self.schedule.batch // devices.count
        first = iteration * self.schedule.batch + devices.rank * size
        return list(range(first, first + size))

    def _index(self, draw: int) -> int:
        epoch, position = divmod(draw, self.context.data.dataset.count)
        return int(_permutation(self.context.seed, epoch, self.context.data.dataset.count)[position])

    def _fresh(self, draws: Sequence[int], iteration: int, devices: Devices) -> Iterator[Batch]:
        following = self._places(iteration + 1, devices) if iteration + 1 < self.schedule.iterations else []
        samples = self.context.data.samples(
            [self._index(draw) for draw in draws], [self._index(draw) for draw in following]
        )
        drawn = []
        for draw, sample in zip(draws, samples, strict=True):
            image, labels = _whole(sample, devices.device)
            pixels, labels = _augmented(image, labels, self.schedule, self.crop, _dice(self.context.seed, draw))
            drawn.append((sample.id, pixels, labels))
        seen = self._look([(name, pixels) for name, pixels, _ in drawn], devices)
        for prediction, (_, _, labels) in zip(seen, drawn, strict=True):
            yield self._made(prediction, labels)

    def _look(self, drawn: Sequence[tuple[str, Tensor]], devices: Devices) -> Sequence[Prediction]:
        """One forward pass of equally large images."""
        views = []
        for name, pixels in drawn:
            size = int(pixels.shape[1]), int(pixels.shape[2])
            views.append(View(name, pixels, 1.0, False, (0, 0, *size), size, size))
        with devices.autocast():
            try:
                return list(self.context.network.predict(views))
            except ValueError as error:
                if "more than 1 value per channel" not in str(error):
                    raise
                raise BadSuite(
                    f"{self.context.network.model.name} normalises one figure per channel and image by its batch, "
                    f"which fidelity: reference does; say batch: 2 or more, not {self.schedule.batch}"
                ) from None

    def _made(self, prediction: Prediction, labels: Tensor) -> Batch:
        logits = prediction.raw["logits"].float()
        predicted = dense.top(dense.resize(logits, (int(labels.shape[0]), int(labels.shape[1]))))[1]
        wrong = (labels != predicted).byte()
        if not self.void_counts:
            wrong[labels == IGNORE] = IGNORE
        condition = None
        if self.condition:
            condition = inputs.pooled(prediction.raw["features"].float()[None], self.condition)[0]
        return Batch(logits, condition, wrong)

    def _cached(self, draws: Sequence[int], iteration: int, devices: Devices) -> Iterator[Batch]:
        """From disk what the network said of a whole image, half precision, or from the network, and to disk."""
        for draw in draws:
            index = self._index(draw)
            path = self.context.folder / "cache" / f"{index:07}.npz"
            if not path.is_file():
                (sample,) = self.context.data.samples([index], [])
                image, labels = _whole(sample, devices.device)
                (seen,) = self._look([(sample.id, image)], devices)
                _store(path, self._made(seen, labels))
            yield _cut(_restore(path), self.schedule, self.crop, _dice(self.context.seed, draw))


def _statistics(schedule: Schedule, method: FlowDetector, context: TrainingContext, devices: Devices) -> Arrays:
    """Mean and variance of the maximum logit by class: published ones, or those of this network on this data."""
    if schedule.statistics != "fitted":
        sml = registry.build("method", "sml", {"statistics": schedule.statistics}, where="trainer fed")
        model = context.network.model
        if sml.fitting != Constants(model.class_names):
            raise BadSuite(f"statistics {schedule.statistics} are for other classes than those of {model.name}")
        mean, variance = importlib.import_module(type(sml).__module__).PUBLISHED[schedule.statistics]
        return {"mean": np.array(mean, np.float32), "variance": np.array(variance, np.float32)}
    number = min(schedule.statistics_images, context.data.dataset.count)
    indices = _permutation(context.seed, 0, context.data.dataset.count)[:number].tolist()

    def stream() -> Iterator[tuple[Prediction, Sample]]:
        with torch.no_grad():
            for sample in context.data.samples(indices, []):
                yield context.predict(sample), sample
                context.advance(1, "class statistics")

    sml = registry.build("method", "sml", {"fidelity": method.fidelity, "post": "none"}, where="trainer fed")
    state = sml.fit(stream(), context.seed)
    return {name: np.asarray(state[name], np.float32) for name in ("mean", "variance")}


def _loss(log_scores: Tensor, wrong: Tensor) -> Tensor:
    """Mean cross-entropy of log-scores [n, 2, h, w], upsampled to the truth [n, H, W]; 255 is ignored."""
    large = functional.interpolate(log_scores, size=wrong.shape[-2:], mode="bilinear", align_corners=False)
    total = functional.cross_entropy(large, wrong.long(), ignore_index=IGNORE, reduction="sum")
    return total / (wrong != IGNORE).sum().clamp(min=1)


def _whole(sample: Sample, device: torch.device) -> tuple[Tensor, Tensor]:
    """uint8 [3, h, w] and labels uint8 [H, W] on a device."""
    if sample.labels is None:
        raise MissingData(f"a training needs labels, sample {sample.id} has none")
    image = torch.from_numpy(np.ascontiguousarray(sample.image())).permute(2, 0, 1).contiguous()
    return image.to(device), torch.from_numpy(np.ascontiguousarray(sample.labels)).to(device)


def _augmented(
    image: Tensor, labels: Tensor, schedule: Schedule, crop: tuple[int, int], dice: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Resize, cut, mirror and extend to the crop: mean colour outside, labels of 255."""
    factor = float(dice.uniform(*schedule.scale))
    size = int(labels.shape[0] * factor), int(labels.shape[1] * factor)
    image = inference.resize_image(image, size)
    labels = functional.interpolate(labels[None, None], size=size, mode="nearest")[0, 0]
    top, left, bottom, right = _place(labels, crop, schedule.largest_class, dice)
    image, labels = image[:, top:bottom, left:right], labels[top:bottom, left:right]
    if dice.random() < schedule.flip:
        image, labels = image.flip(-1), labels.flip(-1)
    height, width = labels.shape
    pixels = torch.empty((3, *crop), dtype=torch.uint8, device=image.device)
    pixels[:] = torch.tensor(MEAN_COLOUR, dtype=torch.uint8, device=image.device)[:, None, None]
    pixels[:, :height, :width] = image
    extended = labels.new_full(crop, IGNORE)
    extended[:height, :width] = labels
    return pixels, extended


def _place(
    labels: Tensor, crop: tuple[int, int], largest: float, dice: np.random.Generator
) -> tuple[int, int, int, int]:
    """Where to cut; one class must not fill the crop."""
    height, width = (int(side) for side in labels.shape)
    box = (0, 0, 0, 0)
    for _ in range(DRAWS):
        top, left = (
            int(dice.integers(0, max(side - extent, 0) + 1)) for side, extent in zip((height, width), crop, strict=True)
        )
        box = top, left, min(top + crop[0], height), min(left + crop[1], width)
        inside = labels[box[0] : box[2], box[1] : box[3]].flatten().long().bincount(minlength=256)[:IGNORE]
        if int((inside > 0).sum()) > 1 and float(inside.max()) / float(inside.sum()) < largest:
            break
    return box


def _cut(whole: Batch, schedule: Schedule, crop: tuple[int, int], dice: np.random.Generator) -> Batch:
    """A crop and perhaps its mirror image of what the network said of a whole image, in whole cells of its map."""
    size = [int(side) for side in whole.logits.shape[-2:]]
    step = [int(side) // own for side, own in zip(whole.wrong.shape, size, strict=True)]
    if [own * cell for own, cell in zip(size, step, strict=True)] != [int(side) for side in whole.wrong.shape]:
        raise BadSuite(
            f"cache: labels of {list(whole.wrong.shape)} are no whole multiple of the network's map {size}; say "
            "cache: false"
        )
    extent = [min(own, max(1, length // cell)) for own, length, cell in zip(size, crop, step, strict=True)]
    start = [int(dice.integers(0, own - part + 1)) for own, part in zip(size, extent, strict=True)]
    rows, columns = (slice(first, first + part) for first, part in zip(start, extent, strict=True))
    fine = [slice(part.start * cell, part.stop * cell) for part, cell in zip((rows, columns), step, strict=True)]
    mirrored = dice.random() < schedule.flip

    def turned(part: Tensor) -> Tensor:
        return part.flip(-1) if mirrored else part

    condition = None if whole.condition is None else turned(whole.condition[:, rows, columns])
    return Batch(turned(whole.logits[:, rows, columns]), condition, turned(whole.wrong[fine[0], fine[1]]))


def _store(path: Path, batch: Batch) -> None:
    arrays = {"logits": batch.logits.cpu().half().numpy(), "wrong": batch.wrong.cpu().numpy()}
    if batch.condition is not None:
        arrays["condition"] = batch.condition.cpu().half().numpy()
    with files.writing(path) as file:
        np.savez(file, **cast("Any", arrays))


def _restore(path: Path) -> Batch:
    with np.load(path, allow_pickle=False) as arrays:
        tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    condition = tensors["condition"].float() if "condition" in tensors else None
    return Batch(tensors["logits"].float(), condition, tensors["wrong"])


@contextlib.contextmanager
def _mode(module: nn.Module, fidelity: str) -> Iterator[None]:
    """The network as the flow is trained on it.

    ``reference``: batch normalisation by the statistics of the batch, which leaves its own untouched, and stochastic
    depth, as the source's runner has it. ``corrected``: as it is evaluated.
    """
    norms: list[tuple[nn.modules.batchnorm._BatchNorm, float | None, Tensor | None]] = []
    drops: list[nn.Module] = []
    if fidelity == "reference":
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                counter = None if part.num_batches_tracked is None else part.num_batches_tracked.clone()
                norms.append((part, part.momentum, counter))
                part.momentum = 0.0
                part.train()
            elif type(part).__name__.endswith(("DropPath", "StochasticDepth")):
                drops.append(part.train())
    try:
        yield
    finally:
        for norm, momentum, counter in norms:
            norm.momentum = momentum
            norm.eval()
            if counter is not None:
                norm.num_batches_tracked = counter
        for drop in drops:
            drop.eval()


def _seed(seed: int, what: str) -> int:
    """63 bits that depend on nothing but the seed of the training and the name of the draw."""
    return int.from_bytes(hashlib.sha256(f"fed {seed} {what}".encode()).digest()[:8], "big") >> 1


def _dice(seed: int, draw: int) -> np.random.Generator:
    return np.random.default_rng([seed, 1, draw])


def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, 0, epoch]).permutation(count)
