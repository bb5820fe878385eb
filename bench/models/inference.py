"""One image through one network: cut into views, run, merged into one prediction and one score map per method."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from bench.api import Context, Inference, Network, Prediction, Quantity, Sample, SegModel, ShardNetwork, View
from bench.core.errors import BadPlugin, MissingPackage
from bench.models import sizing
from bench.models.numerics import Numerics
from bench.ops import dense, transfer
from bench.ops.tiles import Lazy, Tiles, average

T = TypeVar("T")
Looked = tuple[list[tuple[View, Prediction]], Prediction]  # the views of an image, and all of it

FEATURES = frozenset({"features", "mask_features"})  # outputs of many channels

IN_USE = threading.RLock()  # a thread looks at the next image while methods ask the network again about this one

OF_ONE_VIEW = frozenset(
    {
        *("raw", "image", "again", "classify", "dropout", "forward", "labels"),
        *("query_logits", "query_masks", "query_embeddings", "query_negative", "members"),
    }
)
"""What has no average over views; methods that need it score each view, where ``merge`` is ``views``."""


def offered(model: SegModel, *, merged: bool) -> frozenset[str]:
    """What methods may ask of this network under its inference, scoring the merged prediction or each view."""
    outputs, inference = model.outputs, model.inference
    if not merged:
        return outputs
    if len(inference.scales) > 1 or inference.flip:
        outputs -= OF_ONE_VIEW
        if "logits" in outputs and inference.average == "probabilities":  # an average of probabilities has no logits
            outputs = outputs - {"logits"} | {"probabilities"}
    elif inference.window or inference.pads:
        outputs -= OF_ONE_VIEW
    return outputs


def prepare(network: ShardNetwork, samples: Sequence[Sample], numerics: Numerics) -> None:
    """Show a network the samples of a shard, in the precision of its forward passes."""
    with IN_USE, precision(numerics):
        network.prepare(samples)


def prepared(network: Network, samples: Iterator[Sample], numerics: Numerics) -> Iterator[Sample]:
    """Yield the samples of a shard; a network that must see them together does so before the first comes out."""
    if not isinstance(network, ShardNetwork):
        yield from samples
        return
    together = list(samples)
    prepare(network, together, numerics)
    yield from together


def look(network: Network, sample: Sample, numerics: Numerics, seed: int, asked: dict[Quantity, None]) -> Looked:
    """Every view of a sample with what the network says about it, and all of it as one prediction.

    ``asked`` are the reductions that were asked of images before this one; it is shared by them all, so that from the
    second image on one pass makes them together. No number depends on it.
    """
    return look_together(network, [sample], numerics, seed, asked)[0]


def look_together(
    network: Network, samples: Sequence[Sample], numerics: Numerics, seed: int, asked: dict[Quantity, None]
) -> list[Looked]:
    """The same of several samples, whose views of one size go through the network together where it is ``batched``.

    Each forward pass then has ``numerics.batch`` views, the last of a size filled up by repeating it: digits depend on
    how many there are, not on which.
    """
    inference, state = network.model.inference, network.model.state
    if state != "none" and len(samples) > 1:
        return [each for sample in samples for each in look_together(network, [sample], numerics, seed, asked)]
    if state == "per_image":
        with IN_USE:
            network.reset()
    together = network.batched and state == "none"
    every = [
        (number, view) for number, sample in enumerate(samples) for view in views(sample, inference, numerics.device)
    ]
    predictions: dict[int, Prediction] = {}  # by the place in ``every``
    for batch in _batches([view for _, view in every], numerics.batch, across=together):
        taken = [every[place][1] for place in batch]
        filling = [taken[-1]] * (numerics.batch - len(taken)) if together else []
        with IN_USE, precision(numerics):
            predicted = network.predict([*taken, *filling])
        if len(predicted) != len(taken) + len(filling):
            raise BadPlugin(f"model {network.model.name} gives {len(predicted)} predictions of {len(taken)} views")
        predictions |= dict(zip(batch, predicted, strict=False))
    looked = []
    for number, sample in enumerate(samples):
        own = [(view, predictions[place]) for place, (other, view) in enumerate(every) if other == number]
        looked.append(_seen_as_one(network, sample, own, numerics, seed, asked))
    return looked


def _seen_as_one(
    network: Network,
    sample: Sample,
    seen: list[tuple[View, Prediction]],
    numerics: Numerics,
    seed: int,
    asked: dict[Quantity, None],
) -> Looked:
    fused = numerics.scoring == "fused"
    for view, prediction in seen:
        # Only the forward pass is done in another precision; what is made of it, ``classify`` included, is float32.
        prediction.raw = {name: output.float() for name, output in prediction.raw.items()}
        spot = f"{view.scale} {view.flip} {view.window}"
        prediction.context = Context(sample.size, _seed(seed, sample.id, spot), fused, asked)
        if "forward" in network.model.outputs:
            prediction.forward = network.forward
        _take_turns(prediction)
    merged = merge(seen, network.model.inference)
    merged.context = Context(sample.size, _seed(seed, sample.id), fused, asked)
    return seen, merged


def _take_turns(prediction: Prediction) -> None:
    """Have the network asked again by one thread at a time."""
    again, classify, forward = prediction.again, prediction.classify, prediction.forward
    if forward is not None:

        def passed_forward(pixels: Tensor) -> Tensor:
            with IN_USE:
                return forward(pixels)

        prediction.forward = passed_forward
    if again is not None:

        def asked_again(pixels: Tensor) -> Prediction:
            with IN_USE:
                other = again(pixels)
            _take_turns(other)
            return other

        prediction.again = asked_again
    if classify is not None:

        def classified(features: Tensor) -> Tensor:
            with IN_USE:
                return classify(features)

        prediction.classify = classified


def _batches(every: Sequence[View], size: int, *, across: bool) -> Iterator[list[int]]:
    """Places of views of equal size, at most ``size`` together; those of one image alone unless ``across``."""
    alike: dict[object, list[int]] = {}
    for place, view in enumerate(every):
        alike.setdefault((view.input_size, "" if across else view.sample), []).append(place)
    for places in alike.values():
        for start in range(0, len(places), size):
            yield places[start : start + size]


def precision(numerics: Numerics) -> AbstractContextManager[object]:
    """What a forward pass is wrapped in."""
    if numerics.dtype == "float32":
        return nullcontext()
    device = torch.device(numerics.device).type
    return torch.autocast(device, getattr(torch, numerics.dtype), cache_enabled=not numerics.graphs)


def _seed(seed: int, *names: str) -> int:
    """63 bits that depend on nothing but the seed of the suite and the names."""
    return int.from_bytes(hashlib.sha256(" ".join([str(seed), *names]).encode()).digest()[:8], "big") >> 1


def views(sample: Sample, inference: Inference, device: str) -> Iterator[View]:
    """Every view of a sample, scale by scale, window by window."""
    image = transfer.image_to_device(np.ascontiguousarray(sample.image()), torch.device(device)).permute(2, 0, 1)
    own = int(image.shape[1]), int(image.shape[2])
    for scale in inference.scales:
        scaled = resize_image(image, sizing.resized(own, inference, scale), inference.resize)
        content = int(scaled.shape[1]), int(scaled.shape[2])
        size = sizing.padded(content, inference)
        if size != content:
            scaled = _filled(scaled, size, inference.fill)
        for top, left, bottom, right in sizing.windows(size, inference):
            for flip in (False, True)[: 1 + inference.flip]:
                pixels = scaled[:, top:bottom, left:right]
                yield View(
                    sample.id,
                    (pixels.flip(-1) if flip else pixels).contiguous(),
                    scale,
                    flip,
                    (top, left, bottom, right),
                    size,
                    sample.size,
                    None if size == content else content,
                )


def _filled(image: Tensor, size: tuple[int, int], fill: Sequence[int]) -> Tensor:
    """Return uint8 [3, h, w] with the image in its upper left corner."""
    whole = image.new_tensor(fill)[:, None, None].expand(-1, *size).clone()
    whole[:, : image.shape[1], : image.shape[2]] = image
    return whole


def resize_image(
    image: Tensor, size: tuple[int, int], resize: Literal["bilinear", "opencv", "pil"] = "bilinear"
) -> Tensor:
    """Return uint8 [3, h, w] at another size, bilinear with half-pixel centres; see ``Inference``."""
    if tuple(image.shape[1:]) == size:
        return image
    if min(size) < 1:
        raise BadPlugin(f"an image of {tuple(image.shape[1:])} cannot be scaled to {size}; raise the scale")
    if resize != "bilinear":
        pixels = np.ascontiguousarray(transfer.to_host(image.permute(1, 2, 0)))
        small = (_by_opencv if resize == "opencv" else _by_pillow)(pixels, size)
        return torch.from_numpy(small).to(image.device).permute(2, 0, 1)
    resized = functional.interpolate(image[None].float(), size=size, mode="bilinear", align_corners=False)
    return resized[0].round().clamp(0, 255).to(torch.uint8)


def _by_opencv(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    cv2 = opencv()
    resized: NDArray[np.uint8] = cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return resized


def _by_pillow(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    resized = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.array(resized)


def opencv() -> Any:
    """OpenCV, which comes with the extras that need it."""
    try:
        import cv2
    except ImportError:
        raise MissingPackage(
            "inference: resize opencv needs OpenCV, which is not installed; the extras corruptions and mmseg bring it:"
            " pip install 'ood-seg-bench[corruptions]', or say resize: bilinear"
        ) from None
    return cv2


def merge(seen: Sequence[tuple[View, Prediction]], inference: Inference) -> Prediction:
    """One prediction of the whole image at label size.

    A single view that covers the image keeps everything it gave. Windows average their outputs in the scaled image;
    what an image was filled up with is cut off; scales and mirror images then average probabilities or logits at label
    size, and the class map is the argmax of the average. ``classify`` is that of the first view, for fits: the last
    layer is the same in all.
    """
    size = seen[0][0].image_size
    whole = [_whole(group) for group in _by_scale(seen)]
    if len(whole) == 1:
        only = whole[0]
        labels = None if only._labels is None else _resize_labels(only._labels, size)
        return Prediction(
            only.raw,
            size,
            labels=labels,
            image=only.image,
            again=only.again,
            classify=only.classify,
            dropout=only.dropout,
            forward=only.forward,
        )
    outputs: dict[str, Callable[[], Tensor]] = {}
    for name in whole[0].raw.keys() - OF_ONE_VIEW:
        if name == "logits" and inference.average == "probabilities":
            outputs["probabilities"] = partial(_mean, whole, name, size, softmax=True)
        else:
            outputs[name] = partial(_mean, whole, name, size)
    return Prediction(Lazy(outputs), size, classify=whole[0].classify)


def relabelled(
    seen: Sequence[tuple[View, Prediction]], logits: Sequence[Tensor | None], inference: Inference
) -> Tensor:
    """The class map, uint8 [H, W], where a method gave other logits for some views than the network did."""
    changed = [
        (view, Prediction({"logits": prediction.raw["logits"] if own is None else own}, view.input_size))
        for (view, prediction), own in zip(seen, logits, strict=True)
    ]
    return merge(changed, inference).labels


def merge_scores(seen: Sequence[View], scores: Sequence[Tensor]) -> Tensor:
    """One float32 [H, W] map from a score per view: windows average, then scales and mirror images."""
    whole = [_canvas(group) for group in _by_scale(list(zip(seen, scores, strict=True)))]
    size = seen[0].image_size
    total = dense.resize(whole[0], size).clone()
    for score in whole[1:]:
        total += dense.resize(score, size)
    return total / len(whole)


def _mean(scales: Sequence[Prediction], name: str, size: tuple[int, int], *, softmax: bool = False) -> Tensor:
    """Average one output at label size, adding up as they come: one volume more than the sum is held at a time."""
    total: Tensor | None = None
    for prediction in scales:
        resized = dense.resize(prediction.raw[name], size)
        part = resized.softmax(dim=0) if softmax else resized
        total = part.clone() if total is None else total.add_(part)
    assert total is not None  # noqa: S101 - an inference has at least one scale
    return total.div_(len(scales))


def _by_scale(seen: Sequence[tuple[View, T]]) -> list[list[tuple[View, T]]]:
    groups: dict[tuple[float, bool], list[tuple[View, T]]] = {}
    for view, thing in seen:
        groups.setdefault((view.scale, view.flip), []).append((view, thing))
    return list(groups.values())


def _whole(group: list[tuple[View, Prediction]]) -> Prediction:
    """The windows of one scale as one prediction of the scaled image."""
    view, first = group[0]
    if len(group) == 1 and not view.flip and view.content is None:
        return first
    mergeable = [name for name in first.raw if name not in OF_ONE_VIEW]
    parts = [{name: _upright(tile, prediction.raw[name]) for name in mergeable} for tile, prediction in group]
    outputs = parts[0] if len(parts) == 1 else Tiles([tile.window for tile, _ in group], parts, view.scaled_size)
    if view.content is not None:
        cut = {name: partial(_cut, outputs, name, view.scaled_size, view.content) for name in mergeable}
        return Prediction(Lazy(cut), view.content, classify=first.classify)
    return Prediction(outputs, view.scaled_size, classify=first.classify)


def _cut(outputs: Mapping[str, Tensor], name: str, size: tuple[int, int], content: tuple[int, int]) -> Tensor:
    """Return an output that covers ``size`` without what lies beyond ``content``, at the same scale.

    It is brought to that size first. Features, which are large there, stay on their grid where that ends with the
    content.
    """
    output = outputs[name]
    grid = int(output.shape[-2]), int(output.shape[-1])
    whole = all(side * cells % full == 0 for side, cells, full in zip(content, grid, size, strict=True))
    if name in FEATURES and whole:
        content = content[0] * grid[0] // size[0], content[1] * grid[1] // size[1]
    else:
        output = dense.resize(output, size)
    return output[..., : content[0], : content[1]].contiguous()


def _canvas(group: list[tuple[View, Tensor]]) -> Tensor:
    """Average score maps of windows, [h, w] at any resolution each, over the scaled image."""
    view, _ = group[0]
    whole = average([tile.window for tile, _ in group], [_upright(*pair) for pair in group], view.scaled_size)
    if view.content is None:
        return whole
    return dense.resize(whole, view.scaled_size)[: view.content[0], : view.content[1]].contiguous()


def _upright(view: View, output: Tensor) -> Tensor:
    return output.flip(-1) if view.flip else output


def _resize_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(labels.shape) == size:
        return labels
    return functional.interpolate(labels[None, None], size=size, mode="nearest-exact")[0, 0]
