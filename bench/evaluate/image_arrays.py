"""Arrays as a caller has them, NumPy or torch, one image or a batch, as NumPy arrays of one image each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from bench.core.errors import BadScores
from bench.core.foreign_arrays import Array, numpy_of


def image_arrays(
    arrays: Mapping[str, Array | None], names: str | Sequence[str] | None, first: int
) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    """Yield the id and the arrays [H, W] of each image of a batch, without those that are None.

    ``names`` are its ids; None counts them from ``first`` on. Whether there is a batch is what the labels say.
    """
    planes = {name: _planes(name, array) for name, array in arrays.items() if array is not None}
    truth = planes.get("labels", planes.get("anomaly"))
    if truth is None or truth.ndim not in (2, 3) or 0 in truth.shape:
        shape = list(truth.shape) if truth is not None else "none"
        raise BadScores(f"labels are {shape}, wanted [H, W], or [B, H, W] of a batch")
    if any(array.ndim != truth.ndim for array in planes.values()):
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in planes.items())
        raise BadScores(f"{shapes}: wanted all of them [H, W], or all [B, H, W]")
    batch = {name: array if truth.ndim == 3 else array[None] for name, array in planes.items()}
    count = len(truth) if truth.ndim == 3 else 1
    for name, array in batch.items():
        if len(array) != count or (name != "score" and array.shape[1:] != truth.shape[-2:]):
            raise BadScores(f"{name} is {list(planes[name].shape)}, the labels are {list(truth.shape)}")
    if names is None:
        ids: Sequence[str] = [f"{first + index:08d}" for index in range(count)]
    else:
        ids = [names] if isinstance(names, str) else [str(name) for name in names]
    if len(ids) != count or not all(ids) or len(set(ids)) < count:
        raise BadScores(f"id names {len(ids)} images, the batch has {count}; wanted a name of its own for each")
    for index, image in enumerate(ids):
        yield image, {name: array[index] for name, array in batch.items()}


def _planes(name: str, values: Array) -> NDArray[Any]:
    """Return the numbers without a channel axis of length 1, as convolutions leave it."""
    array = numpy_of(name, values)
    return array[:, 0] if array.ndim == 4 and array.shape[1] == 1 else array
