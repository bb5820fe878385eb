"""What the files of settings in a folder of transformers say: names of classes, and how images are prepared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.disguised_files import disguise
from bench.core.errors import BadSuite, MissingData

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WHO = "model transformers"
CONFIG = "config.json"
PREPARATIONS = ("preprocessor_config.json", "processor_config.json")  # the second since release 5, with more in it


def read_settings(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingData(f"{WHO}: {path} does not exist; it comes with the weights") from None
    except (OSError, ValueError, RecursionError) as error:
        raise MissingData(f"{WHO}: {path} is no JSON: {disguise(path, 'json') or error}") from None
    if not isinstance(read, dict):
        raise MissingData(f"{WHO}: {path} holds no settings by name")
    return read


def id2label(folder: Path) -> dict[str, Any]:
    labels = read_settings(folder, CONFIG).get("id2label") or {}
    return labels if isinstance(labels, dict) else {}


def named_classes(folder: Path) -> tuple[str, ...]:
    labels = id2label(folder)
    indices = [str(index) for index in range(len(labels))]
    if not labels or set(labels) != set(indices):
        raise BadSuite(
            f"{WHO}: {folder}/config.json does not name its classes 0, 1, ... in id2label; name them: classes"
        )
    return tuple(str(labels[index]) for index in indices)


def processor(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the file that says how images are prepared, by name, and what it says of the image processor."""
    name = next((name for name in PREPARATIONS if (folder / name).is_file()), "")
    if not name:
        raise MissingData(
            f"{WHO}: {folder} holds no {' or '.join(PREPARATIONS)}, which say how images are normalised; copy it"
            " from where the weights are from, or say mean and std of pixels in 0..1, often"
            " mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]"
        )
    settings = read_settings(folder, name)
    inner = settings.get("image_processor")
    return name, inner if isinstance(inner, dict) else settings


@dataclass(frozen=True)
class Preparation:
    """From pixels in 0..255 to what the network takes: (x factor - mean) / std, perhaps in the order B, G, R."""

    factor: float
    mean: Sequence[float]  # of three channels
    std: Sequence[float]
    bgr: bool

    @classmethod
    def read(cls, folder: Path) -> Preparation:
        """As transformers' image processors do it, with their defaults, all but resizing, cropping and padding."""
        name, settings = processor(folder)
        mean: Any = [0.0, 0.0, 0.0]
        std: Any = [1.0, 1.0, 1.0]
        if settings.get("do_normalize", True):
            mean, std = settings.get("image_mean"), settings.get("image_std")
            if not all(map(_three_numbers, (mean, std))) or 0 in std:
                raise MissingData(
                    f"{WHO}: {folder}/{name} normalises without three numbers in image_mean and in image_std; say mean"
                    " and std"
                )
        factor = settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1.0
        if not isinstance(factor, int | float):
            raise MissingData(
                f"{WHO}: {folder}/{name} has the rescale_factor {factor!r}, wanted a number; say mean and std"
            )
        return cls(factor, mean, std, bool(settings.get("do_flip_channel_order", False)))

    def __call__(self, pixels: Tensor) -> torch.Tensor:
        """float32 [n, 3, h, w]."""
        ordered = pixels.flip(1) if self.bgr else pixels
        mean, std = (ordered.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return (ordered * self.factor - mean) / std


def _three_numbers(values: Any) -> bool:
    return isinstance(values, list) and len(values) == 3 and all(isinstance(value, int | float) for value in values)
