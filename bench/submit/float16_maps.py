"""Score maps as SegmentMeIfYouCan stores them: HDF5, one dataset ``value``, float16 [H, W], gzip level 9.

Source: SegmentMeIfYouCan/road-anomaly-benchmark@1c7804e, road_anomaly_benchmark/evaluation.py. Written with equal bytes
for equal maps; read with every declared size held against the image first, because a chunk of a few bytes may unpack to
gigabytes inside the library.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Refused, Scores
from bench.core import untrusted_arrays
from bench.core.errors import BadPlugin, UnknownName
from bench.core.untrusted_arrays import Unreadable

LEVEL = 9  # of gzip
NAME = "value"
RULES: Mapping[untrusted_arrays.Reason, str] = {  # the rule of a board that a refused map breaks; else ``hdf5``
    "name": "dataset name", "link": "dataset name", "foreign": "dataset name", "type": "dtype", "limit": "map size",
    "filters": "compression", "chunks": "compression", "bomb": "zip bomb",
}  # fmt: skip

Halves = NDArray[np.float16]  # [H, W]


def _logit(score: Scores) -> NDArray[np.float64]:
    """log(x / (1 - x)), for scores in [0, 1]; the ends are kept apart by the smallest float32 step."""
    tiny = float(np.finfo(np.float32).tiny)
    value = score.astype(np.float64)
    whole: NDArray[np.float64] = np.log(np.maximum(value, tiny)) - np.log(np.maximum(1 - value, 2.0**-25))
    return whole


def _tail(score: Scores) -> NDArray[np.float64]:
    """-log(1 - x), for scores in [0, 1] whose suspicious end is next to 1."""
    whole: NDArray[np.float64] = -np.log(np.maximum(1 - score.astype(np.float64), 2.0**-25))
    return whole


def _asinh(score: Scores) -> NDArray[np.float64]:
    whole: NDArray[np.float64] = np.arcsinh(score.astype(np.float64))
    return whole


TRANSFORMS: Mapping[str, Callable[[Scores], NDArray[Any]]] = {
    "identity": lambda score: score,
    "logit": _logit,
    "-log(1-x)": _tail,
    "asinh": _asinh,  # for scores beyond 65504
}
"""Fixed and monotone: the order of pixels stays, the digits of float16 go where they are needed."""
UNIT = frozenset({"logit", "-log(1-x)"})  # those that are for scores in [0, 1]


def transform_of(method: type, asked: str | None) -> str:
    """The transform that was asked for, else the one that a method declares as ``float16``, else none."""
    name = asked if asked is not None else str(getattr(method, "float16", "identity"))
    if name not in TRANSFORMS:
        raise UnknownName("transform", name, TRANSFORMS, "--transform" if asked is not None else method.__name__)
    return name


def halved(score: Scores, transform: str, who: str) -> Halves:
    """float16 [H, W] of float32 [H, W]. Infinities are refused: float16 ends at 65504."""
    if transform in UNIT and (score.min() < 0 or score.max() > 1):
        raise BadPlugin(
            f"{who}: scores from {score.min():g} to {score.max():g}, the transform {transform} is for [0, 1]"
        )
    with np.errstate(over="ignore"):
        half: Halves = TRANSFORMS[transform](score).astype(np.float16)
    if not np.isfinite(half).all():
        raise BadPlugin(
            f"{who}: scores up to {np.abs(score).max():g} do not fit float16, which ends at 65504; declare a fixed"
            " transform, such as --transform asinh"
        )
    return half


def levels(values: NDArray[Any]) -> int:
    """How many distinct values a map holds."""
    if values.dtype == np.float16:
        return int(np.count_nonzero(np.bincount(values.ravel().view(np.uint16), minlength=1 << 16)))
    ordered = np.sort(values, axis=None)
    return 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1])) if ordered.size else 0


def packed(half: Halves) -> bytes:
    """The bytes of an HDF5 file. Equal for equal maps: no time and no name of a machine is in it."""
    import h5py

    height, width = half.shape
    memory = BytesIO()
    with h5py.File(memory, "w") as file:
        made = file.create_dataset(
            NAME, shape=half.shape, dtype=np.float16, compression="gzip", compression_opts=LEVEL, track_times=False
        )
        rows, columns = made.chunks
        # Compressed here and not in the library, which holds a lock meanwhile: threads do this side by side.
        for top, left in itertools.product(range(0, height, rows), range(0, width, columns)):
            chunk = np.zeros((rows, columns), np.float16)
            part = half[top : top + rows, left : left + columns]
            chunk[: part.shape[0], : part.shape[1]] = part
            made.id.write_direct_chunk((top, left), zlib.compress(chunk.tobytes(), LEVEL))
    return memory.getvalue()


def unpacked(content: bytes, size: tuple[int, int] | None, largest: int) -> Halves:
    """float16 [H, W] of an HDF5 file. Raise Refused for whatever the board's own code would not have written.

    ``size`` is that of the image; where it is not known, a map may have ``largest`` pixels.
    """

    def fits(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if dtype != np.float16:
            raise Refused("dtype", f"holds {dtype}, wanted float16")
        _check_shape(shape, size, largest)

    try:
        stored = untrusted_arrays.read(BytesIO(content), ".hdf5", fits, name=NAME)
    except Unreadable as error:
        raise Refused(RULES.get(error.reason, "hdf5"), _refusal(error)) from None
    return stored.astype(np.float16, copy=False)  # little-endian, whatever it was


def _refusal(error: Unreadable) -> str:
    match error.reason:
        case "format":
            return f"is not a whole HDF5 file: {error}"
        case "name":
            return f"{error}; found {', '.join(map(repr, error.names)) or 'nothing'}"
        case "link":
            return f"{error}; wanted the map itself in this file"
        case "foreign":
            return f"{error} in this file"
        case "type":
            return f"{error}, wanted float16"
        case _:
            return str(error)


def _check_shape(shape: tuple[int, ...], size: tuple[int, int] | None, largest: int) -> None:
    if len(shape) != 2:
        raise Refused("rank", f"is {list(shape)}, wanted [H, W]")
    if size is None:
        if 0 in shape or math.prod(shape) > largest:
            raise Refused("map size", f"is {shape[0]}x{shape[1]}, which no frame of this set is")
    elif shape != size:
        turned = "; is it transposed?" if shape == size[::-1] else "; write maps at the size of the image"
        raise Refused("map size", f"is {shape[0]}x{shape[1]}, its image is {size[0]}x{size[1]}{turned}")
