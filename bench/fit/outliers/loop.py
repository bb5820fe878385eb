"""The loop that retrains a network on what it knows and on outliers.

Every draw is a function of the seed and of where it stands, dropout's among them: weights, optimiser and the number of
the step are enough to go on after a kill and to end with the same bits on a CPU.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench import __version__
from bench.api import Retraining, SegModel, State
from bench.core import files
from bench.core.errors import BadPlugin, BadSuite, MissingData
from bench.fit.flow.devices import Devices, on
from bench.fit.outliers import mixture, objective
from bench.fit.outliers.recipe import Recipe

KEEP_SECONDS = 120.0  # between two checkpoints: what a kill can cost
POINTS = 200  # of the loss curve that is kept


def retrain(how: Recipe, course: Retraining) -> tuple[State, Mapping[str, Any]]:
    """The tensors of the network's new state dict, and what their file says of itself."""
    if type(course.model).forward is SegModel.forward:
        raise BadPlugin(f"model {course.model.name} cannot be trained: it gives no gradients")
    if not course.data.data.count:
        raise MissingData("entropy_max: there is no image in the data")
    outliers = course.others["outliers"].data
    if how.fidelity == "reference" and "labels" not in outliers.gives:
        raise BadSuite(
            f"entropy_max: fidelity is reference, but {outliers.name} ignores what is not annotated; the source trains"
            " it as road, say outliers={coco: {background: road}}"
        )
    run = _Run(how, course, on(how.devices, course.device, how.precision, idle=True))
    run.go()
    run.devices.end()
    module = course.model.module().eval().requires_grad_(False)
    about = {
        "images": how.epochs * (run.counts[0] + run.counts[2]),
        "steps": run.steps,
        "device": course.device,
        "losses": run.curve,
        "versions": {"ood-seg-bench": __version__, "torch": torch.__version__},
    }
    return {name: _kept(tensor, how.keep) for name, tensor in module.state_dict().items()}, about


class _Whole(nn.Module):
    """A network with its loss, so that whoever wraps it for several devices sees one forward pass."""

    def __init__(self, model: SegModel, outlier_weight: float) -> None:
        super().__init__()
        self.network = model.module()
        self._forward, self._weight = model.forward, outlier_weight

    def forward(self, pixels: Tensor, target: Tensor) -> Tensor:
        return objective.loss(self._forward(pixels), target, self._weight)


class _Run:
    """A training under way."""

    def __init__(self, how: Recipe, course: Retraining, devices: Devices) -> None:
        self.how, self.course, self.devices = how, course, devices
        self.whole = _Whole(course.model, how.outlier_weight)
        for parameter in self.whole.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        self.optimiser = torch.optim.Adam([one for one in self.whole.parameters() if one.requires_grad], lr=how.rate)
        self.sources = {False: course.data, True: course.others["outliers"]}
        self.classes = len(course.model.class_names)
        labelled, outliers = course.data.data.count, course.others["outliers"].data.count
        self.counts = labelled, outliers, how.drawn(labelled)
        if not 0 < self.counts[2] <= outliers:
            raise BadSuite(
                f"entropy_max: share {how.share} of {labelled} images is {self.counts[2]} outlier images in an epoch,"
                f" there are {outliers}; say share otherwise"
            )
        self.per_epoch = -(-(labelled + self.counts[2]) // how.batch)
        self.steps = how.epochs * self.per_epoch
        self.done = 0
        self.curve: list[list[float]] = []  # step, mean loss since the point before
        self.since: list[float] = []

    def go(self) -> None:
        """Take the steps that are left."""
        how, course = self.how, self.course
        self._resume()
        if self.done:
            course.advance(self._seen(), "taken up")
        for step, value in self.curve:
            course.log(int(step), {"loss": value})
        stepping = self.devices.prepared(self.whole, self.optimiser)
        every, kept = max(1, self.steps // POINTS), time.monotonic()
        with torch.random.fork_rng():
            for batch in self._batches():
                if how.fidelity == "reference" and self.done % self.per_epoch == 0:
                    self.optimiser.state.clear()
                self._to_training()
                value = self._step(stepping, batch)
                if not np.isfinite(value):
                    raise BadSuite(f"entropy_max: the loss is {value} in step {self.done}; lower its rate")
                self.since.append(value)
                self.done += 1
                if self.done % every == 0 or self.done == self.steps:
                    self.curve.append([self.done, float(np.mean(self.since))])
                    self.since.clear()
                    course.log(self.done, {"loss": self.curve[-1][1]})
                if time.monotonic() - kept >= KEEP_SECONDS or self.done % self.per_epoch == 0:
                    self._keep()
                    kept = time.monotonic()
                number = min((self.done - 1) // self.per_epoch + 1, how.epochs)
                course.advance(len(batch[1]) * self.devices.count, f"epoch {number} of {how.epochs}, loss {value:.5f}")

    def _seen(self) -> int:
        """Images of the steps that are done."""
        epochs, steps = divmod(self.done, self.per_epoch)
        return epochs * (self.counts[0] + self.counts[2]) + steps * self.how.batch

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """What is left: uint8 [n, 3, h, w] and uint8 [n, h, w]; this device's share of each batch."""
        how, (rank, count) = self.how, (self.devices.rank, self.devices.count)
        for number in range(self.done // self.per_epoch, how.epochs):
            places = mixture.epoch(*self.counts, self.course.seed, number)
            batches = [places[at : at + how.batch][rank::count] for at in range(0, len(places), how.batch)]
            batches = [batch or places[:1] for batch in batches]  # a last batch smaller than the number of devices
            for at in range(self.done % self.per_epoch, len(batches)):
                ahead = [place for batch in batches[at + 1 : at + 3] for place in batch]
                draw = f"{self.course.seed}/cut/{number}"
                pairs = list(mixture.examples(batches[at], ahead, self.sources, how.crop, self.classes, draw))
                images = torch.from_numpy(np.stack([image for image, _ in pairs])).permute(0, 3, 1, 2)
                yield images, torch.from_numpy(np.stack([target for _, target in pairs]))

    def _to_training(self) -> None:
        self.whole.train()
        if self.how.batch_norm == "frozen":
            for layer in self.whole.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()

    def _step(self, stepping: Callable[..., Tensor], batch: tuple[Tensor, Tensor]) -> float:
        devices, (images, targets) = self.devices, batch
        torch.manual_seed(int(mixture.dice(self.course.seed, "dropout", self.done, devices.rank).randint(2**31)))
        total, size = 0.0, -(-len(targets) // self.how.accumulate)
        for start in range(0, len(targets), size):
            part = slice(start, start + size)
            pixels = images[part].to(devices.device, torch.float32).contiguous()
            target = targets[part].to(devices.device)
            with devices.quiet(stepping, start + size < len(targets)):
                with devices.autocast():
                    found = stepping(pixels, target)
                value = found * (len(target) / len(targets))
                devices.backward(value)
            total += float(value.detach())
        devices.step(self.optimiser)
        return devices.mean(total)

    def _keep(self) -> None:
        if self.devices.rank:
            return
        held = {
            "step": self.done,
            "network": self.whole.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.devices.state(),
            "curve": self.curve,
            "since": self.since,
        }
        with files.writing(self.course.folder / "checkpoint.pt") as file:
            torch.save(held, file)

    def _resume(self) -> None:
        """Go on where a killed training was."""
        path = self.course.folder / "checkpoint.pt"
        if not path.is_file():
            return
        try:
            held = torch.load(path, map_location="cpu", weights_only=True)
            self.whole.network.load_state_dict(held["network"])
            self.optimiser.load_state_dict(held["optimiser"])
            self.devices.restore(held["scaler"])
            self.curve, self.since, self.done = held["curve"], held["since"], int(held["step"])
        except (OSError, KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise MissingData(
                f"{path} cannot be read: {str(error).splitlines()[0]}; delete it to train from the start"
            ) from None


def _kept(tensor: Tensor, how: str) -> np.ndarray:
    """As it is stored: what has at least two axes perhaps in half precision, statistics of batches never."""
    held = tensor.detach().cpu().contiguous()
    if how == "float16" and held.dim() > 1 and held.is_floating_point():
        held = held.half()
    return held.numpy()
