"""Images that are made of those of another data set and of what is laid over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core import listing, packed, untrusted_arrays
from bench.core.errors import MissingData
from bench.core.listing import Location
from bench.core.untrusted_arrays import Unreadable
from bench.datasets import sides


class BaseImages:
    """The images of another data set by id: those that lie beside the overlays and masks, or else its own.

    ``chains`` lead to its folders, ``after`` follows the id in a file name, ``depth`` folders lie between. ``archive``
    and ``use`` are words for the error of ``image``: where an image comes from, and what a mask is to it.
    """

    def __init__(
        self,
        own: Location,
        location: Location,
        chains: Sequence[tuple[str, ...]],
        after: str,
        *,
        archive: str,
        use: str,
        depth: int = 1,
    ) -> None:
        beside = [own.find(location.name, *chain) for chain in chains]
        folders = beside if any(beside) else [location.find(*chain) for chain in chains]
        official = [location.wanted(*chain) for chain in chains]
        self.folder, *others = [folder for folder in folders if folder] or official
        self.after, self.archive, self.use = after, archive, use
        self.paths: dict[str, Path] = {}
        for folder in filter(None, folders):
            named = sides.side(listing.tree(folder), "", after=(after, ""), depth=depth).paths
            self.paths = {**named, **self.paths}
        self.also = "".join(f", nor below {folder.name}/" for folder in others)

    def image(self, base: str, mask: Path, below: str) -> Path:
        """The image of an id, which lies in the folder ``below``. Raise MissingData without it, and name its mask."""
        if base in self.paths:
            return self.paths[base]
        path = self.folder / below / f"{base}{self.after}.png"
        raise MissingData(
            f"{path} does not exist{self.also}, but {mask} {self.use}{listing.nearby(path)}; unpack {self.archive} into"
            f" {self.folder.parent.parent}"
        )


def read_overlay(path: Path, size: tuple[int, int], name: str, kinds: Sequence[str], whose: str) -> NDArray[Any]:
    """Numbers [H, W, 3] by a name in an .npz, for an image of that size, of dtypes that begin with one of ``kinds``.

    Its shape is read before memory is taken for it. Raise MissingData for anything else than ``whose`` overlay.
    """
    expected = (*size, 3)
    wanted = f"{kinds[0] if len(kinds) == 1 else 'numbers'} {list(expected)} as its image has"

    def fits(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if shape != expected or not dtype.name.startswith(tuple(kinds)):
            raise MissingData(f"{path} holds {dtype} {list(shape)}, wanted {wanted}")

    try:
        with packed.opened(path) as stream:
            overlay = untrusted_arrays.read(stream, ".npz", fits, name=name)
    except FileNotFoundError:
        raise MissingData(f"{path} does not exist") from None
    except OSError as error:
        raise MissingData(f"{path} cannot be read: {error.strerror}") from None
    except Unreadable as error:
        if error.reason == "name":
            raise MissingData(f"{path} {error}; is it an overlay of {whose}?") from None
        if error.reason == "type":
            raise MissingData(f"{path} {error}, wanted {wanted}") from None
        raise MissingData(f"{path} cannot be read: {error}; is it truncated?") from None
    if overlay.dtype.kind == "f" and not np.isfinite(overlay).all():
        raise MissingData(
            f"{path} holds {int((~np.isfinite(overlay)).sum())} numbers that are not finite; unpack it again"
        )
    return overlay
