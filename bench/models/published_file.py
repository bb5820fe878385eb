"""Networks of papers by name: the file that each reads, where it is published, and what has to be known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bench.api import File
from bench.core import weight_files
from bench.core.errors import MissingData
from bench.suite import checkpoints


@dataclass(frozen=True)
class PublishedFile:
    """A network whose weights are published, most often a file of ``bench models fetch``; mixed into a SegModel."""

    checkpoint: ClassVar[str] = ""  # its name there
    file: ClassVar[str] = ""  # of one that has none there: the name that it is to be kept by
    page: ClassVar[str] = ""  # and where it is published
    outliers: ClassVar[bool] = False  # whether it was trained with pictures of anomalies

    weights: File | None = None  # None is the published file in the folder ``checkpoints`` of $BENCH_HOME

    @property
    def path(self) -> Path:
        """The file or folder that its weights are in."""
        if self.weights is not None:
            return Path(self.weights)
        if not self.checkpoint:
            return checkpoints.root() / self.file
        (archive,) = checkpoints.of(self.checkpoint).files
        return checkpoints.root() / (archive.into or archive.file)

    def check_file(self, who: str) -> None:
        """Raise MissingData where it is not there, with the command that fetches it, or is something else."""
        if self.weights is None and not self.path.exists():
            cure = (
                f"fetch it: 'bench models fetch {self.checkpoint}'" if self.checkpoint else f"get it from {self.page}"
            )
            raise MissingData(
                f"{who}: {self.path.name} is not in {self.path.parent}; {cure}, or say where it is: weights: FILE"
            )
        weight_files.check(self.path, who)

    def about(self) -> Mapping[str, Any]:
        """Return what results say of it."""
        return {"uses_outliers": True} if self.outliers else {}
