"""The 19 corruptions of ``imagecorruptions`` 1.1.2 at 5 severities: NumPy in, NumPy out, from an explicit generator.

Source: bethgelab/imagecorruptions 1.1.2 (Apache-2.0), after Hendrycks and Dietterich, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations", arXiv:1903.12261. Written anew: the results are those of the
library, to the bit where it draws no random numbers and given the same draws where it does. ``docs/corruptions.md``
has the exceptions and what was measured. There is no global state: threads and processes cannot disturb each other.

Each corruption is imported when it is first asked for. Most are compiled, and numba takes a second; ``defocus_blur``,
``snow``, ``frost`` and ``spatter`` need the extra ``corruptions``; nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from bench.core.errors import BadPlugin, UnknownName

# The groups in which ImageNet-C is published; the order is the library's.
FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "gaussian_noise": "noise",
        "shot_noise": "noise",
        "impulse_noise": "noise",
        "defocus_blur": "blur",
        "glass_blur": "blur",
        "motion_blur": "blur",
        "zoom_blur": "blur",
        "snow": "weather",
        "frost": "weather",
        "fog": "weather",
        "brightness": "weather",
        "contrast": "digital",
        "elastic_transform": "digital",
        "pixelate": "digital",
        "jpeg_compression": "digital",
        "speckle_noise": "extra",
        "gaussian_blur": "extra",
        "spatter": "extra",
        "saturate": "extra",
    }
)
NAMES: tuple[str, ...] = tuple(FAMILIES)
# gudovskiy/flowenedet@4da4b26 groups the 15 types that it runs in its own way; its list of blurs also names glass_blur.
SOURCE_FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "motion_blur": "blur",
        "defocus_blur": "blur",
        "gaussian_blur": "blur",
        "gaussian_noise": "noise",
        "impulse_noise": "noise",
        "shot_noise": "noise",
        "speckle_noise": "noise",
        "brightness": "digital",
        "contrast": "digital",
        "saturate": "digital",
        "jpeg_compression": "digital",
        "snow": "weather",
        "spatter": "weather",
        "fog": "weather",
        "frost": "weather",
    }
)
SOURCE_15: tuple[str, ...] = tuple(SOURCE_FAMILIES)
SEVERITIES = (1, 2, 3, 4, 5)
LEAST = 32  # pixels a side, the library's own limit

Image = NDArray[np.uint8]  # [H, W, 3]
Corruption = Callable[[Image, int, RandomState], Image]  # C-contiguous image in, a new one out; severity from 1

_MODULES = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
    "weather": ("snow", "frost", "fog", "spatter"),
    "digital": ("brightness", "contrast", "saturate", "elastic_transform", "pixelate", "jpeg_compression"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def seed_of(seed: int, sample: str, name: str, severity: int) -> int:
    """Return 32 bits for ``RandomState``: a function of these four alone, the same on every machine and for ever.

    The first four bytes, big-endian, of the SHA-256 of the JSON list ``["corruption", seed, sample, name, severity]``.
    """
    content = json.dumps(["corruption", int(seed), sample, name, int(severity)])
    return int.from_bytes(hashlib.sha256(content.encode("ascii")).digest()[:4], "big")


def corrupt(
    image: Image, name: str, severity: int, random: RandomState, *, order: Literal["rgb", "bgr"] = "rgb"
) -> Image:
    """uint8 [H, W, 3], RGB, in and out; H and W at least 32. The input is left as it is.

    ``random`` draws exactly what the library would have drawn from NumPy's global generator in the same state, and is
    left where that would have been. ``order="bgr"`` corrupts as if blue came first and gives the result back as RGB:
    the source system handed the library what OpenCV had read, so that its snow, spatter, frost, JPEG and noise differ.

    Raises UnknownName for a name, BadPlugin for an image, severity, order or generator that is something else, and
    MissingPackage where the extra ``corruptions`` is needed and not installed.
    """
    if name not in _HOME:
        raise UnknownName("corruption", name, NAMES, "corruptions")
    _check(image, name, severity, random, order)
    corruption: Corruption = getattr(import_module(f"bench.corruptions.{_HOME[name]}"), name)
    if order == "rgb":
        return corruption(_plain(image), int(severity), random)
    return np.ascontiguousarray(corruption(_plain(image[..., ::-1]), int(severity), random)[..., ::-1])


def _plain(image: Image) -> Image:
    """Return the image, or a copy where it is read-only or strided: compiled code is made for one kind of array."""
    return np.require(image, requirements=["C", "W", "E"])


def _check(image: Image, name: str, severity: int, random: RandomState, order: str) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        actual = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise BadPlugin(f"corruption {name}: the image is {actual}, wanted uint8 [H, W, 3]")
    height, width = image.shape[:2]
    if min(height, width) < LEAST:
        raise BadPlugin(f"corruption {name}: the image is {height}x{width}, wanted at least {LEAST}x{LEAST} pixels")
    if isinstance(severity, bool) or severity not in SEVERITIES:
        raise BadPlugin(f"corruption {name}: severity is {severity!r}, wanted one of {', '.join(map(str, SEVERITIES))}")
    if order not in ("rgb", "bgr"):
        raise BadPlugin(f"corruption {name}: order is {order!r}, wanted 'rgb' or 'bgr'")
    if not isinstance(random, RandomState) or random.get_state(legacy=False)["bit_generator"] != "MT19937":
        raise BadPlugin(f"corruption {name}: random is {type(random).__name__}, wanted numpy.random.RandomState(seed)")
