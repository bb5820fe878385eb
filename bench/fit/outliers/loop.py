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
from bench.api import Network, State, TrainingContext
from bench.core import files
from bench.core.errors import BadPlugin, BadSuite, MissingData
from bench.fit.flow.devices import Devices, on
from bench.fit.outliers import mixture, objective
from bench.fit.outliers.recipe import Recipe

KEEP_SECONDS = 120.0  # between two checkpoints: what a kill can cost
POINTS = 200  # of the loss curve that is kept


def finetune(recipe: Recipe, context: TrainingContext) -> tuple[State, Mapping[str, Any]]:
    """Return the tensors of the network's new state dict, and what their file says of itself."""
    if type(context.network).forward is Network.forward:
        raise BadPlugin(f"model {context.network.model.name} cannot be trained: it gives no gradients")
    if not context.data.dataset.count:
        raise MissingData("entropy_max: there is no image in the data")
    outliers = context.others["outliers"].dataset
    if recipe.fidelity == "reference" and "labels" not in outliers.annotations:
        raise BadSuite(
            f"entropy_max: fidelity is reference, but {outliers.name} ignores what is not annotated; the source trains"
            " it as road, say outliers={coco: {background: road}}"
        )
    run = _Run(recipe, context, on(recipe.devices, context.device, recipe.precision, idle=True))
    run.go()
    run.devices.end()
    module = context.network.module().eval().requires_grad_(False)
    about = {
        "images": recipe.epochs * (run.counts[0] + run.counts[2]),
        "steps": run.steps,
        "device": context.device,
        "losses": run.curve,
        "versions": {"ood-seg-bench": __version__, "torch": torch.__version__},
    }
    return {name: _kept(tensor, recipe.keep) for name, tensor in module.state_dict().items()}, about


class _Whole(nn.Module):
    """A network with its loss, so that whoever wraps it for several devices sees one forward pass."""

    def __init__(self, network: Network, outlier_weight: float) -> None:
        super().__init__()
        self.network = network.module()
        self._forward, self._weight = network.forward, outlier_weight

    def forward(self, pixels: Tensor, target: Tensor) -> Tensor:
        return objective.loss(self._forward(pixels), target, self._weight)


class _Run:
    """A training under way."""

    def __init__(self, recipe: Recipe, context: TrainingContext, devices: Devices) -> None:
        self.recipe, self.context, self.devices = recipe, context, devices
        self.whole = _Whole(context.network, recipe.outlier_weight)
        for parameter in self.whole.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        self.optimiser = torch.optim.Adam(
            [parameter for parameter in self.whole.parameters() if parameter.requires_grad], lr=recipe.rate
        )
        self.sources = {False: context.data, True: context.others["outliers"]}
        self.classes = len(context.network.model.class_names)
        labelled, outliers = context.data.dataset.count, context.others["outliers"].dataset.count
        self.counts = labelled, outliers, recipe.drawn(labelled)
        if not 0 < self.counts[2] <= outliers:
            raise BadSuite(
                f"entropy_max: share {recipe.share} of {labelled} images is {self.counts[2]} outlier images in an"
                f" epoch, there are {outliers}; say share otherwise"
            )
        self.per_epoch = -(-(labelled + self.counts[2]) // recipe.batch)
        self.steps = recipe.epochs * self.per_epoch
        self.done = 0
        self.curve: list[list[float]] = []  # step, mean loss since the point before
        self.since: list[float] = []

    def go(self) -> None:
        """Take the steps that are left."""
        recipe, context = self.recipe, self.context
        self._resume()
        if self.done:
            context.advance(self._seen(), "taken up")
        for step, value in self.curve:
            context.log(int(step), {"loss": value})
        stepping = self.devices.prepared(self.whole, self.optimiser)
        every, kept = max(1, self.steps // POINTS), time.monotonic()
        with torch.random.fork_rng():
            for batch in self._batches():
                if recipe.fidelity == "reference" and self.done % self.per_epoch == 0:
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
                    context.log(self.done, {"loss": self.curve[-1][1]})
                if time.monotonic() - kept >= KEEP_SECONDS or self.done % self.per_epoch == 0:
                    self._keep()
                    kept = time.monotonic()
                number = min((self.done - 1) // self.per_epoch + 1, recipe.epochs)
                context.advance(
                    len(batch[1]) * self.devices.count, f"epoch {number} of {recipe.epochs}, loss {value:.5f}"
                )

    def _seen(self) -> int:
        """Images of the steps that are done."""
        epochs, steps = divmod(self.done, self.per_epoch)
        return epochs * (self.counts[0] + self.counts[2]) + steps * self.recipe.batch

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """What is left: uint8 [n, 3, h, w] and uint8 [n, h, w]; this device's share of each batch."""
        recipe, (rank, count) = self.recipe, (self.devices.rank, self.devices.count)
        for number in range(self.done // self.per_epoch, recipe.epochs):
            places = mixture.epoch(*self.counts, self.context.seed, number)
            batches = [places[at : at + recipe.batch][rank::count] for at in range(0, len(places), recipe.batch)]
            batches = [batch or places[:1] for batch in batches]  # a last batch smaller than the number of devices
            for at in range(self.done % self.per_epoch, len(batches)):
                ahead = [item for batch in batches[at + 1 : at + 3] for item in batch]
                draw = f"{self.context.seed}/cut/{number}"
                pairs = list(mixture.examples(batches[at], ahead, self.sources, recipe.crop, self.classes, draw))
                images = torch.from_numpy(np.stack([image for image, _ in pairs])).permute(0, 3, 1, 2)
                yield images, torch.from_numpy(np.stack([target for _, target in pairs]))

    def _to_training(self) -> None:
        self.whole.train()
        if self.recipe.batch_norm == "frozen":
            for layer in self.whole.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()

    def _step(self, stepping: Callable[..., Tensor], batch: tuple[Tensor, Tensor]) -> float:
        devices, (images, targets) = self.devices, batch
        torch.manual_seed(int(mixture.dice(self.context.seed, "dropout", self.done, devices.rank).randint(2**31)))
        total, size = 0.0, -(-len(targets) // self.recipe.accumulate)
        for start in range(0, len(targets), size):
            part = slice(start, start + size)
            pixels = images[part].to(devices.device, torch.float32).contiguous()
            target = targets[part].to(devices.device)
            with devices.quiet(stepping, start + size < len(targets)):
                with devices.autocast():
                    loss = stepping(pixels, target)
                value = loss * (len(target) / len(targets))
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
        with files.writing(self.context.folder / "checkpoint.pt") as file:
            torch.save(held, file)

    def _resume(self) -> None:
        """Go on where a killed training was."""
        path = self.context.folder / "checkpoint.pt"
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


def _kept(tensor: Tensor, precision: str) -> np.ndarray:
    """As it is stored: what has at least two axes perhaps in half precision, statistics of batches never."""
    held = tensor.detach().cpu().contiguous()
    if precision == "float16" and held.dim() > 1 and held.is_floating_point():
        held = held.half()
    return held.numpy()
