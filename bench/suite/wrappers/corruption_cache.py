"""Corrupted images kept on disk, up to a limit: a second network, or a second run, need not corrupt again.

One file per image, named after everything that the image depends on, the pixels before it was corrupted included, so
that a cache can be shared by data sets and machines and never answers for something else. Files come into being by
rename; a process that is killed leaves at most a file that the next clearing removes.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core import untrusted_arrays
from bench.core.files import writing
from bench.core.locks import Taken, locked
from bench.core.untrusted_arrays import Unreadable

FOLDER, GIGABYTES = "BENCH_CORRUPTION_CACHE", "BENCH_CORRUPTION_CACHE_GB"
STALE = 3600.0  # seconds after which a file without its final name belongs to nobody
SHARE = 50  # the folder is looked over after writing this part of its limit: a process may exceed it by that much
KEPT = 0.9  # what is left of the limit after a clearing, so that not every image clears

Image = NDArray[np.uint8]

log = logging.getLogger(__name__)


def use(folder: Path, gigabytes: float) -> None:
    """Keep what this process and the ones that it starts corrupt."""
    log.info("corrupted images are taken from %s and kept there, up to %g GB", folder, gigabytes)
    os.environ[FOLDER], os.environ[GIGABYTES] = str(folder.resolve()), str(gigabytes)


@dataclass
class Cache:
    """A folder of images, uint8 [H, W, 3], that stays below ``limit`` bytes but for what is being written."""

    folder: Path
    limit: int
    _written: int = field(default=0, init=False)

    @staticmethod
    def of_this_process() -> Cache | None:
        """Return the cache that ``bench run --cache`` asked for, or None; data workers inherit the environment."""
        folder = os.environ.get(FOLDER)
        if not folder:
            return None
        key = (folder, os.environ[GIGABYTES])
        if key not in _OPEN:
            _OPEN[key] = Cache(Path(folder), int(float(key[1]) * 2**30))
        return _OPEN[key]

    def key(self, pixels: Image, *settings: str | int) -> str:
        """64 hex digits of the image before it is corrupted and of the corruption's settings."""
        content = hashlib.sha256(repr((pixels.shape, *settings)).encode())
        content.update(np.ascontiguousarray(pixels).data)
        return content.hexdigest()

    def get(self, key: str, shape: tuple[int, ...]) -> Image | None:
        """Return the image, or None if the cache holds no whole image of that shape."""
        path = self._path(key)

        def fits(stored: tuple[int, ...], dtype: np.dtype[Any]) -> None:
            if stored != shape or dtype != np.uint8:
                raise Unreadable("type", f"holds {dtype} {list(stored)}")

        try:
            image = untrusted_arrays.read(path, ".npy", fits)
        except Unreadable:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # what was used last is cleared last
        return image

    def put(self, key: str, image: Image) -> None:
        """Keep an image, and clear now and then."""
        with writing(self._path(key)) as file:
            np.save(file, image, allow_pickle=False)
        self._written += image.nbytes
        if self._written * SHARE > self.limit:
            self._written = 0
            self.clear()

    def clear(self) -> None:
        """Delete what was used longest ago until the folder is below its limit. One process at a time."""
        try:
            with locked(self.folder / ".lock"):
                files = sorted(self._files())
                total = sum(size for _, size, _ in files)
                target = self.limit * KEPT if total > self.limit else self.limit
                for used, size, path in files:
                    unfinished = path.suffix != ".npy"
                    if total > target or (unfinished and time.time() - used > STALE):
                        path.unlink(missing_ok=True)
                        total -= size
        except Taken:
            return  # another process is at it

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Yield for each file the time of its last use, its size in bytes and its path."""
        for path in self.folder.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                yield status.st_mtime, status.st_size, path

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npy"


_OPEN: dict[tuple[str, str], Cache] = {}
