"""One image through one network: cut into views, run, merged into one prediction and one score map per method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bench.api import Inference, Prediction, Sample, SegModel, View
from bench.errors import BadPlugin
from bench.scoring import dense

T = TypeVar("T")


def offered(model: SegModel, *, merged: bool) -> frozenset[str]:
    """What methods may ask of this network under its inference, scoring the merged prediction or each view."""
    gives, how = model.gives, model.inference
    if not merged:
        return gives
    if len(how.scales) > 1 or how.flip:
        gives -= {"raw", "image", "again", "classify"}
        if how.average == "probabilities":  # an average of probabilities has no logits
            gives = gives - {"logits"} | {"probabilities"}
    elif how.window:
        gives -= {"raw", "image", "again", "classify"}
    return gives


def views(sample: Sample, how: Inference, device: str) -> Iterator[View]:
    """Every view of a sample, scale by scale, window by window."""
    image = torch.from_numpy(np.ascontiguousarray(sample.image())).to(device).permute(2, 0, 1)
    height, width = how.size or (image.shape[1], image.shape[2])
    for scale in how.scales:
        scaled = resize_image(image, (int(height * scale), int(width * scale)))
        size = int(scaled.shape[1]), int(scaled.shape[2])
        for top, left, bottom, right in windows(size, how):
            for flip in (False, True)[: 1 + how.flip]:
                pixels = scaled[:, top:bottom, left:right]
                yield View(
                    sample.id,
                    (pixels.flip(-1) if flip else pixels).contiguous(),
                    scale,
                    flip,
                    (top, left, bottom, right),
                    size,
                    sample.size,
                )


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 [3, h, w] to another size: bilinear, half-pixel centres, no antialiasing, rounded."""
    if tuple(image.shape[1:]) == size:
        return image
    if min(size) < 1:
        raise BadPlugin(f"an image of {tuple(image.shape[1:])} cannot be scaled to {size}; raise the scale")
    resized = functional.interpolate(image[None].float(), size=size, mode="bilinear", align_corners=False)
    return resized[0].round().clamp(0, 255).to(torch.uint8)


def windows(size: tuple[int, int], how: Inference) -> list[tuple[int, int, int, int]]:
    """Top, left, bottom, right of a grid whose last row and column are moved inwards to end at the far edge.

    The grid of the source system's slide inference (specification of FED, 0.3).
    """
    if how.window is None:
        return [(0, 0, *size)]
    stride = how.stride or how.window
    starts = [
        [min(index * step, max(side - window, 0)) for index in range(max(side - window + step - 1, 0) // step + 1)]
        for side, window, step in zip(size, how.window, stride, strict=True)
    ]
    return [
        (top, left, min(top + how.window[0], size[0]), min(left + how.window[1], size[1]))
        for top, left in product(*starts)
    ]


def merge(seen: Sequence[tuple[View, Prediction]], how: Inference) -> Prediction:
    """One prediction of the whole image at label size.

    A single view that covers the image keeps everything it gave. Windows average their outputs in the scaled image;
    scales and mirror images then average probabilities or logits at label size, and the class map is the argmax of
    the average.
    """
    size = seen[0][0].image_size
    whole = [_whole(group) for group in _by_scale(seen)]
    if len(whole) == 1:
        only = whole[0]
        labels = None if only._labels is None else _resize_labels(only._labels, size)
        return Prediction(only.raw, size, labels=labels, image=only.image, again=only.again, classify=only.classify)
    outputs = {}
    for name in whole[0].raw:
        maps = [dense.resize(prediction.raw[name], size) for prediction in whole]
        if name == "logits" and how.average == "probabilities":
            outputs["probabilities"] = _mean([one.softmax(dim=0) for one in maps])
        else:
            outputs[name] = _mean(maps)
    vote = outputs.get("probabilities", outputs.get("logits"))
    return Prediction(outputs, size, labels=None if vote is None else vote.argmax(dim=0).to(torch.uint8))


def merge_scores(seen: Sequence[View], scores: Sequence[Tensor]) -> Tensor:
    """One float32 [H, W] map from a score per view: windows average, then scales and mirror images."""
    whole = [_canvas(group) for group in _by_scale(list(zip(seen, scores, strict=True)))]
    return _mean([dense.resize(one, seen[0].image_size) for one in whole])


def score_map(score: Tensor, size: tuple[int, int]) -> NDArray[np.float32]:
    """float32 [H, W] at label size, in the memory of the host."""
    resized: NDArray[np.float32] = dense.resize(score, size).cpu().numpy()
    return resized


def _mean(maps: Sequence[Tensor]) -> Tensor:
    total = maps[0].clone()
    for one in maps[1:]:
        total += one
    return total / len(maps)


def _by_scale(seen: Sequence[tuple[View, T]]) -> list[list[tuple[View, T]]]:
    groups: dict[tuple[float, bool], list[tuple[View, T]]] = {}
    for view, thing in seen:
        groups.setdefault((view.scale, view.flip), []).append((view, thing))
    return list(groups.values())


def _whole(group: list[tuple[View, Prediction]]) -> Prediction:
    """The windows of one scale as one prediction of the scaled image."""
    view, first = group[0]
    if len(group) == 1 and not view.flip:
        return first
    outputs = {name: _canvas([(one, prediction.raw[name]) for one, prediction in group]) for name in first.raw}
    return Prediction(outputs, view.scaled_size)


def _canvas(group: list[tuple[View, Tensor]]) -> Tensor:
    """Average maps of windows, [C, h, w] or [h, w] at any resolution each, over the scaled image."""
    view, first = group[0]
    if len(group) == 1:
        return first.flip(-1) if view.flip else first
    height, width = view.scaled_size
    total = first.new_zeros(*first.shape[:-2], height, width)
    seen = first.new_zeros(height, width)
    for one, output in group:
        top, left, bottom, right = one.window
        if one.flip:  # the window was cut first and mirrored then
            output = output.flip(-1)
        total[..., top:bottom, left:right] += dense.resize(output, (bottom - top, right - left))
        seen[top:bottom, left:right] += 1
    return total / seen


def _resize_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(labels.shape) == size:
        return labels
    return functional.interpolate(labels[None, None], size=size, mode="nearest-exact")[0, 0]
