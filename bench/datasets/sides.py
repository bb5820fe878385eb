"""The images and the masks of a layout: found by id, paired and counted.

Every complaint is one line that begins with the file, says what was found and what was wanted, and names a next step.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import commonpath
from pathlib import Path
from typing import Any

from bench.core import listing, packed
from bench.core.errors import AbsentData, MissingData
from bench.core.listing import Location, Names, Tree
from bench.datasets import frames
from bench.datasets.frames import ANOMALY, Encoding, Frame

NAMED = 12  # absent frames in one sentence


@dataclass(frozen=True)
class Side:
    """The images of a layout, or its masks: what is there, and how the next one would be named."""

    paths: Mapping[str, Path]  # by id
    folder: Path
    after: str  # what follows the id in a file name, before the ending
    again: str  # the next step where one is absent
    end: str = ".png"  # if there is none to take it from

    def missing(self, name: str, partner: Path, other: Side) -> Path:
        """The path of a file that is not there, named as those that are, where its partner of the other side lies."""
        ends = [path.suffix for path in self.paths.values()] or [self.end]
        below = partner.parent.relative_to(other.folder)
        return self.folder / below / f"{name.rpartition('/')[2]}{self.after}{max(sorted(set(ends)), key=ends.count)}"


def side(
    tree: Tree,
    again: str,
    *,
    after: Sequence[str] = ("",),
    ends: Sequence[str] = listing.IMAGES,
    depth: int | None = None,
    like: Side | None = None,
    folders: bool = False,
) -> Side:
    """The files of a folder by id, with the first of several ``after`` for which there are any, of ids of ``like``.

    ``folders`` between are part of the id.
    """
    sides = [
        Side(tree.ids(after=text, ends=ends, depth=depth, folders=folders), tree.folder, text, again, ends[0])
        for text in after
    ]
    for candidate in sides:
        if candidate.paths.keys() & like.paths.keys() if like else candidate.paths:
            return candidate
    return sides[0]


def joined(parts: Sequence[Side]) -> Side:
    """One side of several, below the folder that they share. Raise MissingData for an id in two of them."""
    paths: dict[str, Path] = {}
    for part in parts:
        for name, path in part.paths.items():
            if name in paths:
                raise MissingData(f"{path} and {paths[name]} are both the frame {name}; keep one of them")
            paths[name] = path
    return replace(parts[0], paths=paths, folder=Path(commonpath([part.folder for part in parts])))


def paired(images: Side, masks: Side, stated: int | None = None) -> Mapping[str, tuple[Path, Path]]:
    """The image and the mask of each id, sorted by id.

    Raise MissingData for the first image without its mask, then for the first mask without its image, unless as many
    pairs as ``stated`` are complete.
    """
    labels = _spelled(masks.paths, images.paths)
    pairs = {name: (path, labels[name]) for name, path in sorted(images.paths.items()) if name in labels}
    if pairs and len(pairs) == stated:
        return pairs
    also = fewer(pairs)
    if unlabelled := sorted(images.paths.keys() - labels.keys()):
        path = images.paths[unlabelled[0]]
        mask = masks.missing(unlabelled[0], path, images)
        more = _likewise(unlabelled[1:]) if labels else listing.nearby(mask)
        held = listing.lossy(mask, path) or f"{more}{listing.then(masks.again)}{also}"
        raise MissingData(f"{mask} does not exist, but its image {path} does{held}")
    if imageless := sorted(labels.keys() - images.paths.keys()):
        path = labels[imageless[0]]
        image = images.missing(imageless[0], path, masks)
        more = _likewise(imageless[1:]) if images.paths else listing.nearby(image)
        raise MissingData(f"{image} does not exist, but its label {path} does{more}{listing.then(images.again)}{also}")
    return pairs


def _spelled(masks: Mapping[str, Path], images: Mapping[str, Path]) -> Mapping[str, Path]:
    """The masks by the ids of their images, also where these differ in upper and lower case and nothing else fits."""
    alike: dict[str, list[str]] = {}
    for name in images.keys() - masks.keys():
        alike.setdefault(name.casefold(), []).append(name)
    alone = Counter(name.casefold() for name in masks.keys() - images.keys())

    def of(name: str) -> str:
        names = alike.get(name.casefold(), [])
        return names[0] if name not in images and len(names) == alone[name.casefold()] == 1 else name

    return {of(name): path for name, path in masks.items()}


def fewer(whole: Collection[Any]) -> str:
    """The parameter that accepts the frames that are complete, as the end of an error; empty where there is none."""
    return f", or say frames: {len(whole)} in the suite if the complete ones are all there should be" if whole else ""


def counted(entries: Collection[Any], expected: int, source: Path, again: str, unused: Collection[int] = ()) -> None:
    """Raise MissingData unless there are as many as expected: a half-unpacked archive is no benchmark.

    Ids that end in numbers tell which are absent; ``unused`` are numbers that no frame has.
    """
    if len(entries) != expected:
        also = f", or say frames: {len(entries)} in the suite if that is all there should be" if entries else ""
        held = "" if entries else listing.nearby(source / "a frame")
        gaps = absent_numbers(list(entries), expected, unused) if isinstance(entries, Mapping) else []
        named = f" (absent: {_some(gaps)})" if gaps else ""
        raise MissingData(
            f"{source} holds {len(entries)} frames, wanted {expected}{named}{held}{listing.then(again)}{also}"
        )


def absent_numbers(ids: Sequence[str], expected: int, unused: Collection[int] = ()) -> list[str]:
    """Return the ids that are absent of a set whose ids are one word with a number behind it, as far as these tell.

    Numbers begin with 0 or 1. Where both are possible, or numbers are ``unused``, only those between two that are
    there, and those of both beginnings, are sure. Empty for other ids, and where there are enough.
    """
    matches = [re.fullmatch(r"(.*?)([0-9]+)", name) for name in ids]
    parts = [(match[1], match[2]) for match in matches if match]
    if not parts or len(parts) < len(ids) or len({word for word, _ in parts}) > 1 or len(ids) >= expected:
        return []
    numbers = {int(digits) for _, digits in parts}
    skipped = set(unused)
    wholes = [range(first, first + expected + len(skipped)) for first in (0, 1)]
    fitting = [{*whole} - skipped for whole in wholes if numbers <= {*whole}]
    if not fitting:
        return []
    width = min(len(digits) for _, digits in parts)  # where numbers are padded, the shortest has it
    return [f"{parts[0][0]}{number:0{width}d}" for number in sorted(set.intersection(*fitting) - numbers)]


def _likewise(names: Sequence[str]) -> str:
    """In words for an error, the further frames that lack the same; empty without any."""
    return f" (the same of {_some(names)})" if names else ""


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def absent(path: Path, location: Location, contents: str, obtain: str, instead: str = "") -> AbsentData:
    """The error for a folder of a data set that is not there: what lies in its place, and how to get it.

    ``instead`` says what the data set's folder holds, if that is known better than by its entries.
    """
    root = location.root
    known = f"; {root} holds {instead}" if instead else ""
    if root.is_file() and not packed.is_folder(root):
        return AbsentData(f"{root} is a file, wanted a folder with {contents}; {obtain}")
    if root.exists():
        return AbsentData(f"{path} does not exist{known or listing.nearby(path)}; {obtain}")
    return AbsentData(
        f"{root} does not exist; wanted {contents} there{known or listing.nearby(root)}: set $BENCH_DATA to the folder"
        f" above it, or say where it lies in data.yaml; {obtain}"
    )


@dataclass(frozen=True)
class Ready:
    """A layout in which every image lies ready and has a mask of the same id, each below a folder of its own."""

    images: tuple[Names, ...]  # the names of the folders that lead there, such as LostAndFound, original
    masks: tuple[Names, ...]
    image_after: tuple[str, ...] = ("",)  # what follows the id in a file name; the first that fits
    mask_after: tuple[str, ...] = ("",)
    image_ends: Sequence[str] = listing.IMAGES
    encoding: Encoding = ANOMALY
    depth: int | None = None  # folders that lie between; None: any number
    wants: Callable[[str], bool] | None = None  # whether the frame of an id belongs to the set; None: all do

    def present(self, location: Location) -> bool:
        """True if at least one image and one mask of this layout are there."""
        pictures, labels = location.find(*self.images), location.find(*self.masks)
        if pictures is None or labels is None:
            return False
        try:
            images = self._images(pictures, "")
            return bool(images.paths and self._masks(labels, "", images).paths)
        except MissingData:  # two files of one id
            return True

    def scan(self, location: Location, count: int, stated: int | None, again: str) -> Sequence[Frame]:
        """List the frames, paired and counted, sorted by id; ``again`` is the next step where something is amiss."""
        pictures, labels = (location.find(*chain) or location.wanted(*chain) for chain in (self.images, self.masks))
        images = self._images(pictures, again)
        pairs = paired(images, self._masks(labels, again, images), stated)
        counted(pairs, count, pictures, again)
        return frames.unique(
            [Frame(frames.plain(name), image, mask, self.encoding) for name, (image, mask) in pairs.items()]
        )

    def _images(self, folder: Path, again: str) -> Side:
        tree = listing.tree(folder, again)
        return self._wanted(side(tree, again, after=self.image_after, ends=self.image_ends, depth=self.depth))

    def _masks(self, folder: Path, again: str, images: Side) -> Side:
        tree = listing.tree(folder, again)
        labels = side(tree, again, after=self.mask_after, ends=listing.MASKS, depth=self.depth, like=images)
        return self._wanted(labels)

    def _wanted(self, files: Side) -> Side:
        if self.wants is None:
            return files
        return replace(files, paths={name: path for name, path in files.paths.items() if self.wants(name)})
