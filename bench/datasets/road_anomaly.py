"""RoadAnomaly, the 60 photographs of 2019, in the layout of the official archive.

Layout: ``RoadAnomaly_jpg/frame_list.json`` names the images, ``frames/X.jpg`` is one of them and
``frames/X.labels/labels_semantic.png`` its mask. Not to be confused
with RoadAnomaly21, which is ``smiyc``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.core import listing, packed
from bench.core.errors import MissingData
from bench.core.listing import Location, Tree
from bench.datasets import archives, frames, sides
from bench.datasets.frames import Encoding, Frame
from bench.datasets.masked import Masked
from bench.datasets.sides import Ready, Side

LABELS = Encoding("RoadAnomaly", {0: 0, 2: 1}, "0 or 2")
"""0 normal, 2 anomaly; nothing is ignored."""

_READY = Ready(("original",), ("labels",), depth=0)
AGAIN = "unpack the archive again"
_MASK = ".labels/labels_semantic"  # after the id of a frame

LOCATION = Location("road_anomaly", ("RoadAnomaly", "RoadAnomaly_jpg"))


@dataclass(frozen=True)
class RoadAnomaly(Masked):
    """60 photographs from the web with animals, rocks, lost tyres and other things on or near the road.

    Masks hold 0 normal and 2 anomaly; nothing is ignored.

    ``layout: original_labels`` reads a copy in use: original/X.jpg and labels/X.png with 0 normal, 1 anomaly and 255
    ignored.
    """

    name = "road_anomaly"
    source = "Lis et al., Detecting the Unexpected via Image Resynthesis, arXiv:1904.07595"

    layout: Literal["official", "original_labels"] = "official"

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({"anomaly"})

    @property
    def published(self) -> int:
        return 60

    @property
    def obtain(self) -> str:
        return archives.obtain(self.name)

    def scan(self) -> Sequence[Frame]:
        if self.layout == "original_labels":
            if not _READY.present(LOCATION):
                official = LOCATION.find("frames")
                raise sides.absent(
                    LOCATION.wanted(*_READY.images),
                    LOCATION,
                    "original/ and labels/",
                    self.obtain,
                    "the layout official: leave layout out of the suite if that is meant" if official else "",
                )
            return _READY.scan(LOCATION, self.count, self.frames, self.obtain)
        folder = LOCATION.find("RoadAnomaly_jpg", "frames") or LOCATION.find("frames")
        if folder is None:
            copied = _READY.present(LOCATION)
            raise sides.absent(
                LOCATION.wanted("RoadAnomaly_jpg", "frames"),
                LOCATION,
                "RoadAnomaly_jpg/",
                self.obtain,
                "the layout original_labels: say layout: original_labels in the suite if that is meant"
                if copied
                else "",
            )
        listed = folder.parent / "frame_list.json"
        names = file_names(read_list(listed), listed)
        return listed_frames(folder, names, listed, LABELS, self.count, self.frames, "unpack RoadAnomaly_jpg.zip again")


def listed_frames(
    folder: Path,
    names: Mapping[str, str],
    listed: Path,
    encoding: Encoding,
    count: int,
    stated: int | None,
    again: str,
) -> Sequence[Frame]:
    """The frames in ``frames/`` that a list names, id to file name; ``count`` there must be, or ``stated`` whole ones.

    Raise MissingData for the first that is absent.
    """
    images, masks = _sides(listing.tree(folder), names, again)
    whole = images.paths.keys() & masks.paths.keys()
    if len(whole) != stated:
        sides.counted(names, count, listed, again)
        if missing := sorted(names.keys() - images.paths.keys()):
            path = folder / names[missing[0]]
            raise MissingData(f"{path} does not exist, but {listed.name} names it; {again}{sides.fewer(whole)}")
    pairs = sides.paired(images, masks, stated)
    return frames.unique([Frame(frames.plain(name), *pair, encoding) for name, pair in pairs.items()])


def _sides(tree: Tree, names: Mapping[str, str], again: str) -> tuple[Side, Side]:
    """The images and masks of ``frames/`` that the list names; copies have the masks right there, as X.labels.png."""
    alike = {name.casefold(): name for name in names}
    end = next((Path(file).suffix for file in names.values()), ".jpg")
    images = {alike.get(name.casefold(), ""): path for name, path in listing.by_id(tree.levels[0]).items()}
    deep = {
        path.parent.name[: -len(".labels")]: path
        for path in (tree.levels[1] if len(tree.levels) > 1 else ())
        if path.parent.suffix.lower() == ".labels"
        and path.stem.lower() == "labels_semantic"
        and path.suffix.lower() in listing.MASKS
    }
    flat = {after: listing.by_id(tree.levels[0], after=after, ends=listing.MASKS) for after in (".labels", "_labels")}
    after, named = next(((text, paths) for text, paths in flat.items() if paths and not deep), (_MASK, deep))
    masks = {alike.get(name.casefold(), ""): path for name, path in named.items()}
    return (
        Side({name: path for name, path in images.items() if name}, tree.folder, "", again, end),
        Side({name: path for name, path in masks.items() if name}, tree.folder, after, again),
    )


def read_list(path: Path) -> Any:
    """Return what an archive's own list of frames holds. Raise MissingData if it is no JSON."""
    try:
        with packed.opened(path) as file:
            return json.loads(file.read())
    except FileNotFoundError:
        raise MissingData(f"{path} does not exist{listing.nearby(path)}; {AGAIN}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise MissingData(f"{path} cannot be read: {error}; {AGAIN}") from None


def file_names(names: Any, path: Path, end: str = "") -> Mapping[str, str]:
    """Return id to file name from the list in ``path``, which has them without ``end``.

    Raise MissingData if it is no list of such names.
    """
    if not isinstance(names, list) or not all(isinstance(name, str) and Path(name).name == name for name in names):
        example = f"animals01{'' if end else '.jpg'}"
        raise MissingData(f"{path} is no list of file names, such as ['{example}']; {AGAIN}")
    return {Path(f"{name}{end}").stem: f"{name}{end}" for name in names}
