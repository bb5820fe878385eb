"""At which sizes networks of transformers want their images: what a processor's settings say, as an ``inference``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from itertools import product
from typing import Any

from bench.api import Inference
from bench.models import sizing

FILTERED = ("size", "shortest", "longest", "multiple", "fit", "pad", "window", "stride", "spacing", "resize", "scales")
BILINEAR = 2  # PIL.Image.Resampling.BILINEAR
SEEN = ((720, 1280), (1024, 2048), (375, 1242), (1280, 720), (512, 512), (96, 97), (3024, 4032))  # of images, to try


class Inexpressible(Exception):
    """A processor does what no ``inference`` does; the text says what."""


def by_processor(settings: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """Return the parameters of ``Inference`` by which images get the sizes that a processor gives them.

    ``settings`` are those of the image processor. The rules are those of transformers 5: image_processing_pil_*.py.
    Raise Inexpressible for a processor that crops, or resizes by another filter or rule.
    """
    if not settings.get("do_resize", True):
        return {}
    if settings.get("do_center_crop"):
        raise Inexpressible("it crops images")
    if settings.get("keep_aspect_ratio"):
        raise Inexpressible("it keeps the proportions that are nearest to its size (keep_aspect_ratio)")
    if settings.get("resample", BILINEAR) != BILINEAR:
        raise Inexpressible(
            f"it resizes by the filter {settings['resample']} of Pillow, and pil is bilinear, which is 2"
        )
    rule = _edges(settings, square=architecture.endswith("ForSemanticSegmentation")) | {"resize": "pil"}
    if architecture.startswith("Eomt"):
        return rule | _split(settings, rule)
    divisor = 32 if architecture.startswith(("MaskFormer", "Mask2Former")) else 1
    divisor = settings.get("size_divisor", settings.get("size_divisibility", divisor)) or 1
    if architecture.startswith("DPT"):
        if settings.get("do_pad"):
            raise Inexpressible("it fills images up on all sides (do_pad)")
        step = settings.get("ensure_multiple_of", 1) or 1
        return rule | ({"multiple": int(step), "fit": "nearest"} if step > 1 else {})
    return rule | ({"multiple": int(divisor)} if divisor > 1 else {})


def _edges(settings: Mapping[str, Any], *, square: bool) -> dict[str, Any]:
    """Return what a ``size`` says: a number, a height and a width, or edges."""
    size = settings.get("size")
    if isinstance(size, int):
        size = {"height": size, "width": size} if square else {"shortest_edge": size}
    if not isinstance(size, Mapping):
        raise Inexpressible("it says no size")
    if size.get("height") and size.get("width"):
        return {"size": (int(size["height"]), int(size["width"]))}
    if not size.get("shortest_edge") or size.get("max_height"):
        raise Inexpressible(f"its size is {dict(size)}")
    longest = size.get("longest_edge") or settings.get("max_size")
    return {"shortest": int(size["shortest_edge"])} | ({"longest": int(longest)} if longest else {})


def _split(settings: Mapping[str, Any], rule: Mapping[str, Any]) -> dict[str, Any]:
    side = rule.get("shortest")
    if side is None:
        return {}
    if settings.get("do_split_image"):
        return {"window": (side, side), "spacing": "even"}
    return {"pad": (side, rule.get("longest", side))} if settings.get("do_pad") else {}


def differs(inference: Inference, rule: Mapping[str, Any]) -> bool:
    """True where images get other sizes by ``inference`` than by a rule."""
    wanted = Inference(**rule)
    return any(getattr(inference, name) != getattr(wanted, name) for name in FILTERED)


def spelled(rule: Mapping[str, Any]) -> str:
    """Return a rule as a suite has it: ``{shortest: 1024, window: [1024, 1024]}``."""
    order = [field.name for field in fields(Inference) if field.name in rule]
    values = {name: list(rule[name]) if isinstance(rule[name], tuple) else rule[name] for name in order}
    return f"{{{', '.join(f'{name}: {value}' for name, value in values.items())}}}"


def all_squares(inference: Inference, side: int) -> bool:
    """True where each view of images of many sizes is ``side`` x ``side``."""
    for size, scale in product((*SEEN, (side // 2 + 1, 2 * side)), inference.scales):
        whole = sizing.padded(sizing.resized(size, inference, scale), inference)
        views = sizing.windows(whole, inference)
        if any((bottom - top, right - left) != (side, side) for top, left, bottom, right in views):
            return False
    return True
