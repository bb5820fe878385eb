"""The pixels of BRAVO's images whose confidences a submission holds: official lists, or lists drawn from labels."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from bench.api import Archive, Refused
from bench.core import archives
from bench.core.errors import MissingData
from bench.datasets.bravo import Bravo as Reader
from bench.metrics.protocols import bravo as protocol
from bench.submit import bravo_codec, packing

LISTED = "_samples.bin"
TAR = "bravo_SAMPLING.tar"


@dataclass(frozen=True)
class Lists:
    """The lists of sampled pixels: files beside the images, or a tar of them."""

    root: Path  # above the folders of the splits
    tar: Path | None

    @classmethod
    def official(cls, readers: Collection[Reader]) -> Lists | None:
        """Return the lists of the organisers; None unless there is one for each image."""
        root = next(iter(readers)).root
        return cls(root, root / TAR if (root / TAR).is_file() else None).whole(readers)

    @classmethod
    def beside(cls, archive: Path, readers: Collection[Reader]) -> Lists | None:
        """Return the lists that an archive was made with, where they lie beside it; None unless they are whole."""
        tar = archive.with_name(TAR)
        return cls(next(iter(readers)).root, tar).whole(readers) if tar.is_file() else None

    def whole(self, readers: Collection[Reader]) -> Lists | None:
        """Return these lists if each image has one."""
        return self if all(self.has(base) for reader in readers for base in reader.bases.values()) else None

    @classmethod
    def drawn(cls, readers: Collection[Reader], out: Path) -> Lists:
        """Make the lists of images whose labels lie beside them, by the official rule, in ``out``.

        Raise MissingData where there are no labels.
        """
        root = next(iter(readers)).root
        labelled = [replace(reader, labels="present") for reader in readers]
        try:
            for reader in labelled:
                reader.ids()
        except MissingData:
            raise MissingData(
                f"{root / TAR} does not exist, which says for which pixels a submission holds a confidence;"
                " 'bench data fetch bravo --part bravo_SAMPLING.tar' gets it"
            ) from None
        with tempfile.TemporaryDirectory() as folder:
            packing.pack(out / TAR, _written(labelled, Path(folder)))
        return cls(root, out / TAR)

    def has(self, base: str) -> bool:
        beside = (self.root / (base + LISTED)).is_file()
        return beside or (self.tar is not None and base + LISTED in _opened(self.tar).members)

    def content(self, base: str) -> bytes:
        """Return the list of one image as it is stored."""
        path = self.root / (base + LISTED)
        if path.is_file():
            return path.read_bytes()
        assert self.tar is not None  # noqa: S101 - there is a list for each image
        return _opened(self.tar).read(base + LISTED, bravo_codec.LARGEST)

    def indices(self, base: str) -> bravo_codec.Indices:
        """Return the pixels of one image, flat, int32 [n]. Raise MissingData for a list that is broken."""
        try:
            return bravo_codec.read_indices(self.content(base))
        except Refused as error:
            raise MissingData(f"{base}{LISTED} {error.text}; get {TAR} again") from None

    def largest(self, bases: Collection[str]) -> int:
        """Return the most pixels that are listed of any image."""
        return max(len(self.indices(base)) for base in bases)

    def digest(self, bases: Collection[str]) -> str:
        """Return 64 hex digits of the lists of some images."""
        whole = hashlib.sha256()
        for base in sorted(bases):
            whole.update(hashlib.sha256(self.content(base)).digest())
        return whole.hexdigest()


@lru_cache(maxsize=2)
def _opened(tar: Path) -> Archive:
    """Return a tar of lists, open in this process from then on."""
    return archives.opened(tar)


def _written(readers: Collection[Reader], folder: Path) -> Iterator[tuple[str, Path]]:
    """Write a list for each labelled image; yield its name and its file."""
    for reader in readers:
        for index, sample_id in enumerate(reader.ids()):
            labels = reader.load(index).labels
            assert labels is not None  # noqa: S101 - the reader was asked for them
            try:
                content = bravo_codec.write_indices(protocol.sampled(labels).astype(np.int32))
            except ValueError as error:
                raise MissingData(f"{sample_id} of {reader.subset}: {error}") from None
            path = folder / f"{reader.subset}-{sample_id}"
            path.write_bytes(content)
            yield reader.bases[sample_id] + LISTED, path
