"""Data sets written to disk whole or not at all: what the writers of every layout share."""

from __future__ import annotations

import io
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from bench.contract.dataset import Dataset, Sample
from bench.core.errors import CannotWrite, UserError
from bench.core.files import cannot_write, writing
from bench.core.values import Labels

Progress = Callable[[int, int], None]  # frames written, frames in all


@contextmanager
def whole(out: Path, *parts: str) -> Iterator[None]:
    """Refuse if a part of ``out`` is there already; on any way out but the good one, remove those that were begun."""
    new = not out.exists()
    for part in parts:
        try:
            (out / part).lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise cannot_write(out, error) from error
        raise CannotWrite(f"{out / part} is there already; name another folder, or remove it")
    try:
        yield
    except (
        BaseException
    ):  # also Ctrl-C: half a data set is worse than none, and would be in the way of the next attempt
        for folder in [out] if new else [out / part for part in parts]:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def drawn(dataset: Dataset, progress: Progress | None = None) -> Iterator[tuple[int, Sample]]:
    """Yield every sample with its index; ``progress`` is told after each was dealt with."""
    for index in range(dataset.count):
        yield index, dataset.load(index)
        if progress:
            progress(index + 1, dataset.count)


def anomaly_of(sample: Sample) -> Labels:
    """The anomaly mask of a sample: uint8 [H, W] of 0, 1 and 255."""
    if sample.anomaly is None:
        raise UserError(f"{sample.id} has no anomaly mask; choose scenes with anomalies")
    return sample.anomaly


def save_png(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16], *, gamma: float | None = None) -> None:
    """Write uint8 [H, W] or [H, W, 3], or uint16 [H, W]; ``gamma`` adds a gAMA chunk, which no reader may apply."""
    extra = PngImagePlugin.PngInfo()
    if gamma is not None:
        extra.add(b"gAMA", struct.pack(">I", round(gamma * 100_000)))
    _save(path, pixels, "png", pnginfo=extra)


def save_jpeg(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write uint8 [H, W, 3] with losses, as JPEG does."""
    _save(path, pixels, "jpeg", quality=95)


def save_webp(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write uint8 [H, W, 3] without losses."""
    _save(path, pixels, "webp", lossless=True, method=0)


def save_bytes(path: Path, content: bytes) -> None:
    """Write a file whole."""
    with writing(path) as file:
        file.write(content)


def _save(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16], kind: str, **options: Any) -> None:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, kind, **options)
    save_bytes(path, encoded.getvalue())
