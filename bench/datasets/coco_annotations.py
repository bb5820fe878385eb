"""The content of an ``instances_*.json`` of COCO, in a form that every process can open at once.

The file of the training images has 470 MB. It is read through once, one annotation at a time, and what is needed of it
is kept in $BENCH_HOME/coco, addressed by the content of the file and by the choice that was made.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from json import JSONDecodeError, JSONDecoder
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core import files, listing, untrusted_arrays
from bench.core.errors import MissingData
from bench.core.untrusted_arrays import Unreadable
from bench.datasets import coco_masks
from bench.datasets.coco_masks import Bools

FARTHEST = 1e5  # a corner beyond it is no place in any photograph, and its outline would not fit into memory
VERSION = 1  # raised when what is kept changes
POLYGON, RUNS = 0, 1
_BLANK = " \t\n\r"
_AGAIN = "unpack annotations_trainval2017.zip again"


@dataclass(frozen=True, eq=False)
class Index:
    """The chosen images in the order of their ids, and the outlines of all that is annotated in them."""

    listed: NDArray[np.int64]  # [1]: how many images the annotation file has, chosen or not
    ids: NDArray[np.int64]  # [n], ascending
    sizes: NDArray[np.int64]  # [n, 2]: (H, W)
    names: NDArray[np.str_]  # [n]: file names
    shape_start: NDArray[np.int64]  # [n + 1]: where the shapes of each image begin
    kinds: NDArray[np.uint8]  # [shapes]: POLYGON or RUNS
    number_start: NDArray[np.int64]  # [shapes + 1]: where the numbers of each shape begin
    numbers: NDArray[np.float64]  # corners x, y, x, y ... or lengths of runs

    def mask(self, row: int) -> Bools:
        """Bool [H, W]: the union of everything that is annotated in the image of that row."""
        size = (int(self.sizes[row, 0]), int(self.sizes[row, 1]))
        mask = np.zeros(size, np.bool_)
        for shape in range(int(self.shape_start[row]), int(self.shape_start[row + 1])):
            numbers = self.numbers[self.number_start[shape] : self.number_start[shape + 1]]
            if self.kinds[shape] == POLYGON:
                mask |= coco_masks.polygon(numbers.reshape(-1, 2), size)
            else:
                mask |= coco_masks.runs(numbers.astype(np.int64), size)
        return mask


def index(path: Path, exclude: Collection[str], minimum: int) -> Index:
    """Index images without an annotation of an excluded category whose sides are both at least ``minimum`` pixels."""
    if not path.is_file():
        raise MissingData(f"{path} does not exist{listing.nearby(path)}; {_AGAIN}")
    choice = json.dumps([VERSION, files.digest(path), sorted(exclude), minimum])
    kept = files.home() / "coco" / f"{hashlib.sha256(choice.encode()).hexdigest()[:16]}.npz"
    if kept.is_file():
        return _read(kept)
    made = _Reading(path).chosen(exclude, minimum)
    with files.writing(kept) as file:
        np.savez(file, **{entry.name: getattr(made, entry.name) for entry in fields(made)})
    return made


def _read(path: Path) -> Index:
    try:
        return Index(**untrusted_arrays.read_all(path, {entry.name for entry in fields(Index)}.__contains__))
    except (Unreadable, TypeError) as error:  # a TypeError where an array is not there
        raise MissingData(f"{path} cannot be read: {error}; delete it, it is made again") from None


@dataclass
class _Reading:
    """One pass over an annotation file."""

    path: Path
    images: dict[int, tuple[str, int, int]] = field(default_factory=dict)  # id: name, H, W
    categories: dict[int, str] = field(default_factory=dict)
    seen: dict[int, set[int]] = field(default_factory=dict)  # image id: category ids
    shapes: dict[int, list[int]] = field(default_factory=dict)  # image id: places in kinds
    kinds: bytearray = field(default_factory=bytearray)
    starts: array[int] = field(default_factory=lambda: array("q", [0]))
    numbers: array[float] = field(default_factory=lambda: array("d"))

    def chosen(self, exclude: Collection[str], minimum: int) -> Index:
        take = {"images": self._image, "annotations": self._annotation, "categories": self._category}
        keys = set()
        try:
            for key, entry in _entries(self.path, take):
                keys.add(key)
                if entry is not None:
                    take[key](entry)
        except (KeyError, TypeError, ValueError, RecursionError) as error:  # JSONDecodeError is a ValueError
            what = f"an entry lacks {error}" if isinstance(error, KeyError) else str(error)
            raise MissingData(f"{self.path} is not the JSON that COCO publishes: {what}; {_AGAIN}") from None
        if missing := sorted(take.keys() - keys):
            raise MissingData(f"{self.path} has no {' and no '.join(missing)}; {_AGAIN}")
        self._check()
        if unknown := sorted(set(exclude) - set(self.categories.values())):
            known = ", ".join(sorted(self.categories.values()))
            raise MissingData(f"{self.path} has no category {unknown[0]!r}, which exclude names; it has {known}")
        excluded = {number for number, name in self.categories.items() if name in exclude}
        ids = [
            image
            for image, (_, height, width) in sorted(self.images.items())
            if min(height, width) >= minimum and excluded.isdisjoint(self.seen.get(image, ()))
        ]
        return self._packed(ids)

    def _packed(self, ids: list[int]) -> Index:
        shapes = [self.shapes.get(image, []) for image in ids]
        chosen = np.array([shape for of_image in shapes for shape in of_image], np.int64)
        starts, numbers = np.frombuffer(self.starts, np.int64), np.frombuffer(self.numbers, np.float64)
        lengths = np.diff(starts)[chosen]
        parts = [numbers[starts[shape] : starts[shape + 1]] for shape in chosen.tolist()]
        about = [self.images[image] for image in ids]
        return Index(
            listed=np.array([len(self.images)]),
            ids=np.array(ids, np.int64),
            sizes=np.array([(height, width) for _, height, width in about], np.int64).reshape(-1, 2),
            names=np.array([name for name, _, _ in about], np.str_),
            shape_start=np.cumsum([0, *map(len, shapes)]),
            kinds=np.frombuffer(bytes(self.kinds), np.uint8)[chosen],
            number_start=np.cumsum([0, *lengths.tolist()]),
            numbers=np.concatenate(parts) if parts else np.zeros(0),
        )

    def _image(self, entry: Mapping[str, Any]) -> None:
        name = entry["file_name"]
        if not isinstance(name, str) or PurePath(name).name != name or "\\" in name:
            raise MissingData(f"{self.path}: image {entry['id']} has the file name {name!r}, wanted a name alone")
        size = (int(entry["height"]), int(entry["width"]))
        if min(size) < 1:
            raise MissingData(f"{self.path}: image {entry['id']} is {size[0]}x{size[1]}; {_AGAIN}")
        if int(entry["id"]) in self.images:
            raise MissingData(f"{self.path}: image {entry['id']} stands there twice; {_AGAIN}")
        self.images[int(entry["id"])] = (name, *size)

    def _category(self, entry: Mapping[str, Any]) -> None:
        self.categories[int(entry["id"])] = str(entry["name"])

    def _annotation(self, entry: Mapping[str, Any]) -> None:
        image = int(entry["image_id"])
        self.seen.setdefault(image, set()).add(int(entry["category_id"]))
        drawn = entry["segmentation"]
        if isinstance(drawn, list):
            for corners in drawn:
                even = isinstance(corners, list) and len(corners) >= 6 and len(corners) % 2 == 0
                if not even or not all(isinstance(value, int | float) and abs(value) <= FARTHEST for value in corners):
                    raise self._bad(entry, "a polygon that is no list of at least three corners x, y")
                self._add(image, POLYGON, corners)
        elif isinstance(drawn, dict) and isinstance(drawn.get("counts"), list):
            counts = drawn["counts"]
            if not all(isinstance(number, int) and number >= 0 for number in counts):
                raise self._bad(entry, "run lengths that are no counts of pixels")
            self._add(image, RUNS, counts)
        elif isinstance(drawn, dict):
            raise self._bad(
                entry, "compressed run lengths, which only result files have; the official file has lists of counts"
            )
        else:
            raise self._bad(entry, "no polygon and no run lengths")

    def _add(self, image: int, kind: int, numbers: list[float]) -> None:
        self.shapes.setdefault(image, []).append(len(self.kinds))
        self.kinds.append(kind)
        self.numbers.extend(numbers)
        self.starts.append(len(self.numbers))

    def _bad(self, entry: Mapping[str, Any], defect: str) -> MissingData:
        return MissingData(f"{self.path}: annotation {entry.get('id')} has {defect}; {_AGAIN}")

    def _check(self) -> None:
        """Raise MissingData for references and run lengths that only the whole file can show to be wrong."""
        if strays := sorted(self.seen.keys() - self.images.keys()):
            raise MissingData(f"{self.path} annotates image {strays[0]}, which it does not list; {_AGAIN}")
        unknown = sorted({number for some in self.seen.values() for number in some} - self.categories.keys())
        if unknown:
            raise MissingData(f"{self.path} uses category {unknown[0]}, which it does not list; {_AGAIN}")
        for image, shapes in self.shapes.items():
            _, height, width = self.images[image]
            for shape in shapes:
                covered = sum(self.numbers[self.starts[shape] : self.starts[shape + 1]])
                if self.kinds[shape] == RUNS and covered != height * width:
                    raise MissingData(
                        f"{self.path}: run lengths in image {image} cover {int(covered)} pixels,"
                        f" its size {height}x{width} has {height * width}; {_AGAIN}"
                    )


def _entries(path: Path, keys: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Yield key and entry for the lists ``keys`` of one JSON object, and None as the entry at the end of each list.

    ``json.load`` would hold all of it as Python objects, several times the size of the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MissingData(f"{path} cannot be read: {error}; {_AGAIN}") from None
    walk = _Walk(text)
    walk.expect("{")
    while True:
        key = walk.value()
        walk.expect(":")
        if key in keys:
            walk.expect("[")
            for entry in walk.elements():
                yield key, entry
            yield key, None
        else:
            walk.value()
        if walk.expect(",}") == "}":
            return


class _Walk:
    """A place in a JSON text."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.decoder = text, 0, JSONDecoder()

    def skip(self) -> str:
        """Move on to the next character that is not blank and return it; empty at the end."""
        while self.text[self.at : self.at + 1] in _BLANK and self.at < len(self.text):
            self.at += 1
        return self.text[self.at : self.at + 1]

    def expect(self, characters: str) -> str:
        character = self.skip()
        if not character or character not in characters:
            raise JSONDecodeError(f"wanted {' or '.join(characters)}", self.text, self.at)
        self.at += 1
        return character

    def value(self) -> Any:
        self.skip()
        value, self.at = self.decoder.raw_decode(self.text, self.at)
        return value

    def elements(self) -> Iterator[Any]:
        if self.skip() == "]":
            self.at += 1
            return
        while True:
            yield self.value()
            if self.expect(",]") == "]":
                return
