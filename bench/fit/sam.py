"""Segment Anything beside a network that is evaluated: masks of whatever is in an image, and of what boxes hold."""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bench.api import (
    Constants,
    Decision,
    File,
    Fitting,
    Labels,
    Method,
    Network,
    Prediction,
    Refinement,
    Row,
    Rows,
    Sample,
    Scored,
    Scores,
    SegModel,
    State,
)
from bench.core import files
from bench.core.errors import BadPlugin, BadSuite, MissingData, MissingPackage
from bench.models import huggingface
from bench.models.huggingface_folder import CONFIG, PREPARATIONS, Preparation, read_settings
from bench.models.inference import resize_image
from bench.ops import transfer
from bench.suite import registry

Mask = NDArray[np.bool_]

POINTS = 16  # that a forward pass is asked about: three masks of each, at the size of the image
TOGETHER = 0.7  # share of intersection in union at which boxes hold the same object
MARGIN = 1.0  # of the logits of a mask: one that is as large above it as below is stable


@dataclass(frozen=True)
class SamRefinement(Refinement):
    """The map of another method, changed by masks that SAM finds in each image; no image matters for another.

    ``of`` is the method whose map it begins with, a name or a name with parameters; it is fitted as that one is. SAM is
    a ``SamModel`` of transformers, from the folder ``sam`` or by its name on the ``hub``, and sees the image as the
    network does, so that the network must see whole images, once. Its masks are in the tables of the run: ``segments``
    has a line for each, ``runs`` the map of the masks row by row, as the number of a mask, 0 for none, and how many
    pixels it goes on for.
    """

    of: str | dict[str, Any] = "msp"
    sam: File | None = None  # with config.json, preprocessor_config.json and weights; None is the one on the hub
    hub: str = "facebook/sam-vit-base"
    revision: str | None = None  # of what is on the hub: a commit, a tag, a branch

    learns = False

    @property
    def needs(self) -> frozenset[str]:
        return self._base().needs | {"image"}

    @property
    def merge(self) -> Literal["merged", "views"]:
        return self._base().merge

    @property
    def fitting(self) -> Fitting | Constants | None:
        fitting = self._base().fitting
        return Fitting(fitting.trainer, fitting.must, fitting.needs) if isinstance(fitting, Fitting) else fitting

    @property
    def uses_outliers(self) -> bool:
        return self._base().uses_outliers

    def check(self, model: SegModel, network: Network | None = None) -> None:
        self._base().check(model, network)
        rule = model.inference
        if rule.window or rule.flip or len(rule.scales) > 1:
            raise BadSuite(
                f"{self.name} shows SAM the image as the network sees it, and {model.name} sees it in parts or several"
                " times; leave window, scales and flip out of its inference"
            )
        _check(self._folder(), self.name)

    def digest(self) -> str:
        base, folder = self._base(), self._folder()
        settings = [folder / name for name in (CONFIG, *PREPARATIONS) if (folder / name).is_file()]
        of_sam = map(files.digest, [*settings, *huggingface.weight_files(folder)])
        return " ".join([registry.digest("method", base.name), base.digest(), *of_sam])

    def fit(self, stream: Iterable[tuple[Prediction, Sample]], seed: int) -> State:
        return self._base().fit(stream, seed)

    def score(self, prediction: Prediction, state: State) -> Tensor | Scored:
        return self._base().score(prediction, state)

    def describe(self, prediction: Prediction, score: Scores, truth: Labels | None) -> Row:
        if prediction.image is None:
            raise BadPlugin(f"{self.name}: the network says that it gives image, but its prediction has none")
        columns, owners = self.segments(_loaded(str(self._folder()), prediction.image.device), prediction.image, score)
        if truth is not None:
            counts = np.bincount(owners[truth == 1], minlength=len(columns["id"]) + 1)[1:]
            columns = {**columns, "anomaly": counts.astype(np.int64)}  # pixels of its own that are anomalous
        flat = owners.reshape(-1)
        starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
        return {f"segments.{name}": values for name, values in columns.items()} | {
            "runs.mask": flat[starts].astype(np.int32),
            "runs.length": np.diff(starts, append=flat.size).astype(np.int32),
        }

    @abstractmethod
    def segments(self, sam: Sam, image: Tensor, score: Scores) -> tuple[Row, NDArray[np.int64]]:
        """Return columns of n masks, and which of them owns each pixel of the map, int64 [H, W], 0 for none.

        Columns are ``id``, 1 to n, ``level``, float32, which ``changed`` is given, and what else is worth knowing.
        """

    @abstractmethod
    def changed(self, score: Scores, owned: Mask, level: Scores) -> Scores:
        """Return the changed map, float32 [H, W]; ``level`` [H, W] is that of the mask that owns a pixel."""

    def decide(self, rows: Rows, groups: Mapping[str, str], state: State, seed: int) -> Decision:
        kept = ("segments.level", "runs.mask", "runs.length")
        decided = {sample: {name: row[name] for name in kept} for sample, row in rows.items()}
        counts = [row["segments.id"].size for row in rows.values()]
        return Decision(decided, {"segments": int(sum(counts)), "images without": counts.count(0)})

    def apply(self, score: Scores, truth: Labels | None, decided: Row) -> Scores:
        owners = np.repeat(decided["runs.mask"], decided["runs.length"])
        if owners.size != score.size:
            raise BadPlugin(f"{self.name}: masks of {owners.size} pixels, the map has {score.size}")
        of_pixels: NDArray[np.int32] = owners.reshape(score.shape)
        levels = np.concatenate([np.zeros(1, np.float32), decided["segments.level"]])
        return self.changed(score, of_pixels > 0, levels[of_pixels])

    def _base(self) -> Method:
        name, parameters = (self.of, {}) if isinstance(self.of, str) else next(iter(self.of.items()))
        base: Method = registry.build("method", name, parameters, where=f"{self.name}: of")
        if isinstance(base, Refinement):
            raise BadSuite(
                f"{self.name}: of names {name}, which is a refinement itself; name what that one begins with"
            )
        return base

    def _folder(self) -> Path:
        return Path(self.sam) if self.sam is not None else huggingface.snapshot(self.hub, self.revision)


def _check(folder: Path, who: str) -> None:
    if importlib.util.find_spec("transformers") is None:
        raise MissingPackage(f"{who}: transformers is not installed; {huggingface.INSTALL}")
    if not folder.is_dir():
        raise MissingData(f"{who}: sam {folder} does not exist; paths in a suite are relative to its file")
    named = read_settings(folder, CONFIG).get("architectures")
    if named != ["SamModel"]:
        raise BadSuite(f"{who}: sam {folder} is of {named}, wanted a SamModel, such as facebook/sam-vit-base")
    huggingface.weight_files(folder)
    Preparation.read(folder)


@cache
def _loaded(folder: str, device: torch.device) -> Sam:
    network = huggingface.read_network(Path(folder), "SamModel")
    return Sam(network.to(device).eval().requires_grad_(False), Preparation.read(Path(folder)))


class Sam:
    """SAM with its weights (Kirillov et al., Segment Anything, arXiv:2304.02643)."""

    def __init__(self, network: Any, prepared: Preparation) -> None:
        self._network, self._prepared = network, prepared
        self._side = int(network.config.vision_config.image_size)

    @torch.no_grad()
    def everything(
        self, image: Tensor, per_side: int, least_iou: float, least_stability: float
    ) -> list[tuple[Mask, float]]:
        """Return what is in an image uint8 [3, h, w], as masks [h, w] with the overlap that SAM itself predicts.

        As SAM's automatic generator makes them: three masks at each of ``per_side`` squared points, of which those with
        a predicted overlap above ``least_iou`` stay whose area hardly moves with the threshold; of those in nearly the
        same box the one with the largest predicted overlap (section D of the paper).
        """
        embedded, size = self._embedded(image)
        height, width = int(image.shape[1]), int(image.shape[2])
        at = (torch.arange(per_side, device=image.device) + 0.5) / per_side
        points = torch.stack(torch.meshgrid(at * width, at * height, indexing="xy"), dim=2).reshape(-1, 2)
        points = points * points.new_tensor([size[1] / width, size[0] / height])
        kept: list[tuple[float, tuple[int, int, int, int], Mask]] = []
        for some in torch.split(points, POINTS):
            answer = self._network(image_embeddings=embedded, input_points=some[None, :, None])
            overlaps = answer.iou_scores[0].flatten()
            sure = torch.from_numpy(np.flatnonzero(transfer.to_host(overlaps) > least_iou)).to(image.device)
            logits = self._whole(answer.pred_masks[0].flatten(0, 1)[sure], size, (height, width))
            inner, outer = (logits > MARGIN).sum(dim=(1, 2)), (logits > -MARGIN).sum(dim=(1, 2))
            stability = transfer.to_host(inner / outer.clamp(min=1))
            masks, values = transfer.to_host(logits > 0), transfer.to_host(overlaps[sure])
            kept += [
                (float(values[number]), box, mask)
                for number, mask in enumerate(masks)
                if stability[number] >= least_stability and (box := box_of(mask)) is not None
            ]
        return [(mask, overlap) for overlap, mask in _apart(kept)]

    @torch.no_grad()
    def inside(self, image: Tensor, boxes: NDArray[np.float64]) -> Iterator[tuple[Mask, float]]:
        """Yield the mask [h, w] of each box [n, 4] (left, top, right, bottom) in pixels, and its predicted overlap."""
        embedded, size = self._embedded(image)
        height, width = int(image.shape[1]), int(image.shape[2])
        factors = np.array([size[1] / width, size[0] / height] * 2)
        prompts = torch.from_numpy((boxes * factors).astype(np.float32)).to(image.device)
        for some in torch.split(prompts, POINTS):
            answer = self._network(image_embeddings=embedded, input_boxes=some[None], multimask_output=False)
            logits = self._whole(answer.pred_masks[0, :, 0], size, (height, width))
            overlaps = transfer.to_host(answer.iou_scores[0, :, 0])
            for mask, overlap in zip(transfer.to_host(logits > 0), overlaps, strict=True):
                yield mask, float(overlap)

    def _embedded(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return the embedding of an image whose longer side becomes SAM's own, and the size (h, w) it has there."""
        height, width = int(image.shape[1]), int(image.shape[2])
        factor = self._side / max(height, width)
        size = int(height * factor + 0.5), int(width * factor + 0.5)
        pixels = self._prepared(resize_image(image, size, "pil").float()[None])
        square = functional.pad(pixels, (0, self._side - size[1], 0, self._side - size[0]))
        embedded: Tensor = self._network.get_image_embeddings(square)
        return embedded, size

    def _whole(self, masks: Tensor, size: tuple[int, int], whole: tuple[int, int]) -> Tensor:
        """Return mask logits [n, H, W] at the size of the image, of [n, h, w] over the square."""
        if not len(masks):
            return masks.new_zeros(0, *whole)
        square = functional.interpolate(
            masks[None], size=(self._side, self._side), mode="bilinear", align_corners=False
        )
        part = square[..., : size[0], : size[1]]
        return functional.interpolate(part, size=whole, mode="bilinear", align_corners=False)[0]


def box_of(mask: Mask) -> tuple[int, int, int, int] | None:
    """Return left, top, right and bottom of a mask, the last two one past its end; None of an empty one."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1


def _apart(found: list[tuple[float, tuple[int, int, int, int], Mask]]) -> list[tuple[float, Mask]]:
    """Return what stays of masks with boxes: from the best on, those whose box is not nearly that of one before."""
    order = sorted(range(len(found)), key=lambda number: -found[number][0])
    kept: list[int] = []
    for number in order:
        if all(_overlap(found[number][1], found[other][1]) <= TOGETHER for other in kept):
            kept.append(number)
    return [(found[number][0], found[number][2]) for number in kept]


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Return intersection over union of two boxes."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    both = max(wide, 0) * max(high, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)


def nearest(mask: Mask, size: tuple[int, int]) -> Mask:
    """Return a mask at another size (H, W), each pixel the one that its upper left corner falls into."""
    rows, cols = (np.arange(out) * side // out for out, side in zip(size, mask.shape, strict=True))
    resized: Mask = mask[rows[:, None], cols]
    return resized
