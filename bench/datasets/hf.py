"""Data sets of the Hugging Face hub that come as parquet files with a column of images and one of masks.

Layout: huggingface.co/docs/datasets, "Image" feature (a struct of bytes and path) and "Splits": the files of a split
are named ``SPLIT-00000-of-00003.parquet``, ``SPLIT.parquet``, or ``0000.parquet`` in a folder of its name; a
configuration is a folder above them. Nothing is downloaded here, and no code of a repository runs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, Field

from bench.contract.dataset import Dataset, Sample
from bench.core import files, images, listing
from bench.core.errors import AbsentData, MissingData
from bench.core.images import Undecodable
from bench.core.parquet_rows import Rows
from bench.datasets import frames, sides
from bench.datasets.meanings import Meanings

T = TypeVar("T")

END = ".parquet"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class HuggingFace(Meanings, Dataset):
    """The rows of one split of a data set on the Hugging Face hub, by its name there.

    It is read from ``hf/OWNER/NAME`` in $BENCH_DATA, or from the cache of huggingface_hub (extra ``hub``): the snapshot
    of ``revision``, or the newest. ``image`` and ``mask`` are columns of bytes, or of images as the package datasets
    stores them; ``id`` is a column of names, without which rows are numbered. ``config`` is the folder of a
    configuration. What the values of masks mean is said as for ``folder``: ``ids``, ``anomaly``, ``usual``, ``ignore``.
    ``frames`` is how many rows there must be.
    """

    name = "hf"
    source = "the Hugging Face hub; who published it is said there"

    # Suites say ``name``, which is that of this reader here.
    repository: Annotated[str, Field(validation_alias=AliasChoices("name", "repository"), serialization_alias="name")]
    image: str = "image"
    mask: str = "mask"
    split: str = "test"
    config: str = ""
    id: str = ""
    revision: str = ""
    frames: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _NAME.fullmatch(self.repository) or ".." in self.repository:
            raise ValueError(f"name is {self.repository[:60]!r}, wanted a name on the hub, such as owner/name")
        if self.image == self.mask:
            raise ValueError(f"image and mask are both the column {self.image!r}")

    @property
    def count(self) -> int:
        return self._ends[-1] if self.frames is None else self.frames

    def ids(self) -> Sequence[str]:
        return self._names

    def load(self, index: int) -> Sample:
        row_name, image, mask = self._row(range(self.count)[index])
        size = _refused(row_name, self.image, lambda: images.header(io.BytesIO(image)).size)

        def fits(shape: tuple[int, int]) -> None:
            if shape != size:
                raise MissingData(
                    f"{row_name}: the mask is {shape[0]}x{shape[1]}, its image {size[0]}x{size[1]}, and labels are"
                    f" never resized"
                )

        stored = _refused(row_name, self.mask, lambda: images.labels(io.BytesIO(mask), fits, indices=True))
        truths = self.truths(frames.meant(stored, self.encoding, f"{row_name}, column {self.mask!r}"))
        return Sample(
            id=self._names[index],
            size=size,
            image=partial(_decoded, image, row_name, self.image),
            labels=truths.get("labels"),
            anomaly=truths.get("anomaly"),
        )

    def check(self) -> None:
        """Decode every mask and every image, row by row. Raise MissingData for the first that is wrong."""
        with frames.counted_values() as masks:
            for index in range(len(self.ids())):
                self.load(index).image()
        if doubt := self.value_doubt(masks):
            raise MissingData(f"{self._folder}: {doubt}")

    def digest(self) -> str:
        """16 hex digits of the bytes of every file of the split, in their order."""
        return hashlib.sha256(" ".join(files.digest(part.path) for part in self._parts).encode()).hexdigest()[:16]

    def __getstate__(self) -> dict[str, Any]:
        # Without what was found: another machine may keep it elsewhere.
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @cached_property
    def _names(self) -> Sequence[str]:
        """The ids: the column ``id``, or the split and the number of the row."""
        total = self._ends[-1]
        sides.counted(range(total), self.count, self._folder, "download the data set again")
        if not self.id:
            return [f"{frames.plain(self.split)}_{number:06}" for number in range(total)]
        parts = [Rows(part.path, (*part.columns, self.id)) for part in self._parts]
        names = [frames.plain(text) for part in parts for text in part.texts(self.id)]
        name, times = Counter(names).most_common(1)[0] if names else ("", 0)
        if times > 1 or "" in names:
            raise MissingData(f"{self._folder}: the column {self.id!r} has {name!r} twice or is empty; leave id out")
        return names

    @cached_property
    def _ends(self) -> Sequence[int]:
        """Return the number of rows up to the end of each file."""
        return list(accumulate(part.count for part in self._parts))

    @cached_property
    def _parts(self) -> Sequence[Rows]:
        """The files of the split, in the order of their names."""
        folder = self._folder
        shards = sorted(path for level in listing.tree(folder).levels for path in level if path.suffix.lower() == END)
        chosen = [path for path in shards if self._is_of_split(path.relative_to(folder).parts)]
        if not chosen:
            held = sorted({_split_of(path.relative_to(folder).parts) for path in shards})
            has = (
                f"parquet files of {', '.join(held[:8])}" if held else f"no parquet file{listing.nearby(folder / 'x')}"
            )
            raise MissingData(f"{folder} holds {has}, wanted the split {self.split!r}; say split, or config")
        return [Rows(path, (self.image, self.mask)) for path in chosen]

    def _is_of_split(self, parts: Sequence[str]) -> bool:
        in_config = not self.config or self.config in parts[:-1]
        return in_config and _split_of(parts) == self.split

    @cached_property
    def _folder(self) -> Path:
        """The folder of the parquet files: that in $BENCH_DATA, or a snapshot in the cache of huggingface_hub."""
        folder = files.data(self.name).joinpath(*self.repository.split("/"))
        if folder.is_dir():
            return folder
        command = f"hf download --repo-type dataset {self.repository} --local-dir {folder}"
        if importlib.util.find_spec("huggingface_hub") is None:
            raise AbsentData(
                f"{folder} does not exist; '{command}' gets it, or install the extra hub, which knows what was"
                f" downloaded before"
            )
        from huggingface_hub import snapshot_download

        try:
            return Path(
                snapshot_download(
                    self.repository, repo_type="dataset", revision=self.revision or None, local_files_only=True
                )
            )
        except Exception as error:  # huggingface_hub raises its own kinds, and those of several packages
            raise AbsentData(
                f"{folder} does not exist, and {self.repository} is not in the cache of huggingface_hub"
                f" ({type(error).__name__}); '{command}' gets it"
            ) from None

    def _row(self, index: int) -> tuple[str, bytes, bytes]:
        """A row in words for errors, its image and its mask."""
        part = bisect_right(self._ends, index)
        row = index - (self._ends[part - 1] if part else 0)
        image, mask = self._parts[part].row(row)
        return f"{self._parts[part].path}, row {row}", image, mask


def _split_of(parts: Sequence[str]) -> str:
    """The split that a path is of: the beginning of its name, or its folder where the name is a number."""
    stem = parts[-1].rpartition(".")[0]
    name = re.sub(r"-[0-9]{5}-of-[0-9]{5}(-[0-9a-f]+)?$", "", stem)
    return parts[-2] if re.fullmatch(r"[0-9]*", name) and len(parts) > 1 else name


def _decoded(content: bytes, row_name: str, column: str) -> NDArray[np.uint8]:
    """uint8 [H, W, 3], RGB."""
    return _refused(row_name, column, lambda: images.rgb(io.BytesIO(content)))


def _refused(row_name: str, column: str, decode: Callable[[], T]) -> T:
    """Return what is decoded. Raise MissingData, with the row and the column, where it cannot be."""
    try:
        return decode()
    except Undecodable as error:
        raise MissingData(f"{row_name}, column {column!r} {error}") from None
