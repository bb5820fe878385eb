"""Your own images and masks, without code: globs, what the values of the masks mean, and what belongs together."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bench.core import label_values, listing, pairing
from bench.core.errors import MissingData
from bench.core.files import data, digest
from bench.core.images import TURNED, UPRIGHT, read_orientation
from bench.core.values import Labels
from bench.datasets import frames, sides
from bench.datasets.frames import Frame
from bench.datasets.meanings import Meanings

SAME_NAME = r"(?:.*/)?([^/]+)"
_UNFIT = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True)
class Folder(Meanings, frames.OnDisk):
    """Frames that two globs find; every image needs its mask and every mask its image.

    The first part of a glob names the data: a folder under $BENCH_DATA, or a line of data.yaml, so that ``images:
    mine/**/*.jpg`` is the same data set wherever ``mine`` lies. ``pair`` is a regular expression for the path below
    that folder, without its ending: what its groups match is the frame's id, joined by ``_``. Files that it does not
    match are passed over. Without it the id is the file's name; where those of images and masks differ, what data sets
    add to names (``_leftImg8bit``, ``_mask``, ``_labels_semantic``) and pictures beside masks are left out.

    A mask holds values up to 255: grey, a palette of greys, or the indices of a palette of colours. ``ids`` says which
    are classes, ``anomaly`` which are anomalies, ``usual`` which are neither, and ``ignore`` which count nowhere; any
    other value is an error. Where ``anomaly`` is given, every class is normal; ``usual`` alone says that there is no
    anomaly anywhere. ``classes`` is the order of the classes, which is otherwise that of their values.

    ``tags`` is a CSV file with a column ``id``, found like the images; its other columns are tags. ``group`` is a
    regular expression that is searched in the path of the image: frames of which its first group matches the same text
    are not independent.
    """

    name = "folder"
    source = "the user's own files"

    unsaid = "; bench init FOLDER looks into a folder and writes what fits"

    images: str
    labels: str
    pair: str = ""
    tags: str = ""
    group: str = ""

    def __post_init__(self) -> None:
        for key in ("images", "labels", "tags"):
            if text := getattr(self, key):
                _check_place(key, text)
        for key in ("pair", "group"):
            _check_expression(key, getattr(self, key))
        super().__post_init__()

    @property
    def published(self) -> int:
        """The number of images: nobody has published another."""
        return len(self._frames)

    @property
    def obtain(self) -> str:
        return (
            f"these are your own files: {self.images} and {self.labels} are looked for under $BENCH_DATA, or where"
            f" data.yaml says"
        )

    def scan(self) -> Sequence[Frame]:
        images, masks = self._paired()
        for paths, partners, lacks, pattern in (
            (images, masks, "mask", self.labels),
            (masks, images, "image", self.images),
        ):
            if alone := sorted(paths.keys() - partners.keys()):
                raise MissingData(
                    f"{paths[alone[0]]} has no {lacks}: no file {pattern} has the id {alone[0]!r}; ids there are such"
                    f" as {next(iter(partners))!r}; add it, or say with pair which part of a path is the id"
                )
        if self.frames is not None:
            sides.counted(images, self.frames, _folder_of(self.images), "add what is missing")
        tags = self._tags(images) if self.tags else {}
        root = _folder_of(self.images)
        return [
            Frame(name, path, masks[name], self.encoding, self._group(path, root), tags.get(name, {}))
            for name, path in images.items()
        ]

    def truth(self, frame: Frame) -> Mapping[str, Labels]:
        assert frame.mask is not None  # noqa: S101 - scan paired it
        return self.truths(frames.read_mask(frame.mask, self.encoding, like=frame.image))

    def doubt(self, scanned: Sequence[Frame], masks: Sequence[label_values.Counts]) -> str:
        return self.value_doubt(masks)

    def check_frame(self, frame: Frame) -> None:
        super().check_frame(frame)
        turn, (height, width) = read_orientation(frame.image), frames.size(frame.image)
        if turn != 1 and (turn < TURNED or height == width):
            raise MissingData(
                f"{frame.image} has an EXIF orientation ({turn}), and its mask fits it stored as well as turned: pixels"
                f" are read as they are stored; {UPRIGHT}, or take the orientation away (exiftool -Orientation=)"
            )

    def digest(self) -> str:
        """16 hex digits of the bytes of every mask and of the tags, and the id and size in bytes of every image."""
        tags = digest(_place(self.tags)) if self.tags else ""
        return hashlib.sha256(f"{super().digest()} {tags}".encode()).hexdigest()[:16]

    def _paired(self) -> tuple[Mapping[str, Path], Mapping[str, Path]]:
        """Images and masks by id; where names differ and ``pair`` is not said, without what data sets add to them."""
        images, masks = self._files("images", self.images), self._files("labels", self.labels)
        if not self.pair and (both := pairing.paired(images, masks)):
            return both
        return self._by_id("images", self.images, images), self._by_id("labels", self.labels, masks)

    def _files(self, key: str, pattern: str) -> Sequence[Path]:
        """The files that a glob matches, sorted. Raise MissingData for none."""
        root, below = _folder_of(pattern), str(PurePosixPath(*PurePosixPath(pattern).parts[1:]))
        if not root.is_dir():
            raise MissingData(
                f"{root} does not exist; wanted the {key} {below} there{listing.nearby(root)}: set $BENCH_DATA to the"
                f" folder above it, or say where it lies in data.yaml"
            )
        if not (paths := pairing.globbed(root, below)):
            raise MissingData(
                f"{root} holds no file {below}; {key} says otherwise, and bench init {root} looks into it"
                f"{listing.nearby(root / below)}"
            )
        return paths

    def _by_id(self, key: str, pattern: str, files: Sequence[Path]) -> Mapping[str, Path]:
        """Id to file, sorted by id. Raise MissingData for no file that ``pair`` fits, and for two of one id."""
        root = _folder_of(pattern)
        named = re.compile(self.pair or SAME_NAME)
        paths: dict[str, Path] = {}
        for path in files:
            match = named.fullmatch(path.relative_to(root).with_suffix("").as_posix())
            if match is None:
                continue
            name = _UNFIT.sub("_", "_".join(part for part in match.groups() if part))
            if not name:
                raise MissingData(f"{path}: the groups of pair match nothing in it, wanted the id of the frame")
            if name in paths:
                raise MissingData(
                    f"{path} and {paths[name]} are both the frame {name}; say with pair which part of a path is the id"
                )
            paths[name] = path
        if not paths:
            below = PurePosixPath(*PurePosixPath(pattern).parts[1:])
            raise MissingData(f"{root} holds no file {below} whose path fits pair: {self.pair}; {key} says otherwise")
        return dict(sorted(paths.items()))

    def _group(self, image: Path, root: Path) -> str:
        if not self.group:
            return ""
        below = image.relative_to(root).with_suffix("").as_posix()
        match = re.search(self.group, below)
        if match is None:
            raise MissingData(f"{image}: group {self.group!r} is not found in {below!r}")
        return match[1] or ""

    def _tags(self, images: Mapping[str, Path]) -> Mapping[str, Mapping[str, str]]:
        """Tags by frame; a field that is empty is no tag. Raise MissingData unless each image has one whole row."""
        path = _place(self.tags)
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, strict=True)
                rows = [(reader.line_num, row) for row in reader if row]
        except FileNotFoundError:
            raise MissingData(f"{path} does not exist; wanted a CSV file with a column id, as tags says") from None
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise MissingData(f"{path} cannot be read as CSV: {error}") from None
        (_, head), *body = rows or [(1, [])]
        columns = [column.strip() for column in head]
        if "id" not in columns or "" in columns or len(set(columns)) < len(columns):
            raise MissingData(f"{path}:1: the columns are {', '.join(head) or 'none'}; wanted id and others, each once")
        tags: dict[str, Mapping[str, str]] = {}
        for line, row in body:
            if len(row) != len(columns):
                raise MissingData(f"{path}:{line}: {len(row)} fields, wanted {len(columns)} ({', '.join(columns)})")
            fields = {column: value.strip() for column, value in zip(columns, row, strict=True)}
            name = fields.pop("id")
            if name not in images:
                raise MissingData(f"{path}:{line}: no image has the id {name!r}; one has {next(iter(images))!r}")
            if name in tags:
                raise MissingData(f"{path}:{line}: the id {name!r} stands there a second time")
            tags[name] = {column: value for column, value in fields.items() if value}
        if bare := sorted(images.keys() - tags.keys()):
            raise MissingData(f"{path} has no row for {bare[0]}; a field may be empty, a row may not be missing")
        return tags


def _check_place(key: str, text: str) -> None:
    parts = PurePosixPath(text).parts
    if text.startswith(("/", "~")) or re.match(r"[A-Za-z]:", text) or "\\" in text:
        raise ValueError(
            f"{key} is {text!r}, wanted a path below the data, such as mine/images/*.png: where mine lies is for"
            f" $BENCH_DATA or data.yaml to say, not for a suite"
        )
    if len(parts) < 2 or pairing.WILD.search(parts[0]) or ".." in parts:
        raise ValueError(f"{key} is {text!r}, wanted the folder of the data and what lies in it: mine/images/*.png")


def _check_expression(key: str, text: str) -> None:
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"{key} is {text!r}, no regular expression: {error}") from None
    if text and not groups:
        raise ValueError(f"{key} is {text!r}, wanted brackets around the part that counts, such as '(.+)_labels'")


def _folder_of(pattern: str) -> Path:
    return data(PurePosixPath(pattern).parts[0])


def _place(text: str) -> Path:
    return _folder_of(text).joinpath(*PurePosixPath(text).parts[1:])
