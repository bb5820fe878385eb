"""Maps kept on disk until all are known, for protocols that look at each again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.core import files, untrusted_arrays
from bench.core.errors import BadScores, MissingData
from bench.core.file_names import file_name
from bench.core.untrusted_arrays import Unreadable


class KeptMaps:
    """One file per image: its score as it was given, and its labels."""

    def __init__(self, keep: Literal["disk"] | Path | str) -> None:
        """``"disk"`` is a folder that is deleted with the last metric that reads it; any other folder stays."""
        self._temporary = [tempfile.TemporaryDirectory(prefix="bench-maps-")] if keep == "disk" else []
        self.folder = Path(self._temporary[0].name) if self._temporary else Path(keep)
        self._files: dict[str, Path] = {}

    def add(self, sample: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write one image as it was given."""
        path = self.folder / f"{file_name(sample)}.npz"
        with files.writing(path) as file:
            np.savez(file, allow_pickle=False, **arrays)
        self._files[sample] = path

    def read(self) -> Iterator[tuple[str, Mapping[str, NDArray[Any]]]]:
        """Yield the id and the arrays of each image. Raises MissingData for a file that is gone or damaged."""
        for sample, path in self._files.items():
            try:
                yield sample, untrusted_arrays.read_all(path, lambda _: True)
            except Unreadable as error:
                raise MissingData(f"{path}: {error}; it holds the map of image {sample}, count all again") from None

    def merge(self, other: KeptMaps, prefix: str) -> None:
        """Read the files of another, too, whose ids get a prefix."""
        self._files |= {prefix + sample: path for sample, path in other._files.items()}
        self._temporary += other._temporary

    def spelled(self) -> dict[str, Any]:
        """Return what ``of_spelled`` takes. Raises BadScores for a folder that no other process can rely on."""
        if self._temporary:
            raise BadScores(
                "the maps lie in a folder that goes with this metric; to save or send it say keep=Path(...), a folder"
                " that every process sees"
            )
        return {"folder": str(self.folder), "files": {sample: str(path) for sample, path in self._files.items()}}

    @classmethod
    def of_spelled(cls, spelled: Mapping[str, Any]) -> KeptMaps:
        """Return the maps of ``spelled``."""
        maps = cls(Path(spelled["folder"]))
        maps._files = {str(sample): Path(path) for sample, path in spelled["files"].items()}
        return maps
