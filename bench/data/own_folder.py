"""A suite for a folder of somebody's own: which files are images and masks, and what the values of the masks mean.

Nothing is guessed without a word: what was taken for what is said, and stands in the suite to be changed.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from bench.api import CITYSCAPES, IGNORE
from bench.core import files, images, label_values, listing, pairing, yaml_text
from bench.core.errors import CannotWrite, MissingData, UsageError
from bench.core.label_values import LABEL_IDS, Counts
from bench.core.printable import printable

ENDS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
LOSSY = {".jpg", ".jpeg", ".webp"}
LOOKED_AT = 5  # files of a group that are opened to tell images from masks
FEW = 64  # so many values at most are those of a mask


@dataclass(frozen=True)
class Group:
    """Files below folders of one name, whose own names begin and end alike."""

    folder: str  # that says a kind, or the first below the root; empty for files right in it
    head: str
    tail: str
    end: str
    paths: Sequence[Path]

    def glob(self, root: Path) -> str:
        """The glob that finds them below the folder above ``root``."""
        below = [path.relative_to(root).parts[:-1] for path in self.paths]
        fixed = [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*below, strict=False))]
        inner = ["**", self.folder] if self.folder and self.folder not in fixed else []
        deeper = ["**"] if not inner and {len(parts) for parts in below} != {len(fixed)} else []
        if inner and any(parts[-1] != self.folder for parts in below):
            deeper = ["**"]
        return "/".join([root.name, *fixed, *inner, *deeper, f"{self.head}*{self.tail}{self.end}"])

    @property
    def kind(self) -> str:
        """The role that the names say: images, masks or nothing."""
        return pairing.kind_of(f"{self.head}{self.tail}") or pairing.kind_of(self.folder)


@dataclass(frozen=True)
class Plan:
    """The reading of a folder: its images, its masks and their meaning."""

    entry: Mapping[str, Any]  # of the reader ``folder``
    protocols: Sequence[str]
    told: Sequence[str]  # in words for people


def write(root: Path, out: Path | None) -> Iterator[str]:
    """Write a suite that evaluates what a folder holds, and yield what to tell. What exists is never overwritten."""
    root = Path(root).absolute()
    if not root.is_dir():
        raise MissingData(f"{root} is no folder; wanted one with images and masks")
    path = out or Path(f"{root.name}.yaml")
    if path.exists():
        raise CannotWrite(f"{path} exists already and is not overwritten; choose another place with --out")
    if pairing.WILD.search(root.name) or "\\" in root.name or not root.name.isprintable():
        raise UsageError(f"{printable(root.name)} has characters that a suite cannot name; rename the folder")
    plan = look(root)
    suite = {
        "protocols": list(plan.protocols),
        "models": ["toynet"],
        "datasets": [{"folder": {**plan.entry, "label": root.name}}],
        "methods": ["msp", "maxlogit", "energy", "entropy"],
    }
    head = f"# {root.name}, as bench init took it; toynet stands for a network of your own\n"
    with files.writing(path, "w") as file:
        file.write(head + yaml_text.dump(suite, width=120, ascii_only=False))
    yield from plan.told
    yield f"wrote {path}"
    settings = (
        "" if files.data(root.name).resolve() == root.resolve() else f"BENCH_DATA={shlex.quote(str(root.parent))} "
    )
    yield f"next: {settings}bench check {shlex.quote(str(path))}"


def look(root: Path) -> Plan:
    """Return the reading of a folder. Raise MissingData where no images have masks, or no meaning fits their values."""
    groups = list(_groups(root))
    if not groups:
        raise MissingData(f"{root} holds no images; wanted files ending in {', '.join(sorted(ENDS))}")
    pictures, masks = _told_apart(groups)
    found = max(
        (
            (_rank(picture, mask), picture, mask)
            for picture in pictures
            for mask in masks
            if pairing.paired(picture.paths, mask.paths) is not None
        ),
        key=lambda each: each[0],
        default=None,
    )
    if found is None:
        raise MissingData(_unpaired(root, pictures, masks))
    _, picture, mask = found
    meaning, protocols, words = _meaning(mask)
    size = images.read_header(picture.paths[0]).size
    entry = {"images": picture.glob(root), "labels": mask.glob(root), **meaning}
    told = [
        f"images: {entry['images']}, {len(picture.paths)} files, the first {size[0]}x{size[1]}",
        f"masks:  {entry['labels']}, {len(mask.paths)} files",
        *words,
    ]
    if others := [group.glob(root) for group in groups if group not in (picture, mask)]:
        told.append(f"let be: {', '.join(others)}")
    return Plan(entry, protocols, told)


def _groups(root: Path) -> Iterator[Group]:
    by_kind: dict[tuple[str, str, str, str], list[Path]] = {}
    for level in listing.Tree(root).levels:
        for path in level:
            if path.suffix.lower() in ENDS:
                head, _, tail = pairing.parts_of(path)
                folders = path.relative_to(root).parts[:-1]
                folder = next(filter(pairing.kind_of, folders), folders[0] if folders else "")
                by_kind.setdefault((folder, head, tail, path.suffix), []).append(path)
    for (folder, head, tail, end), paths in sorted(by_kind.items()):
        yield Group(folder, head, tail, end, sorted(paths))


def _told_apart(groups: Sequence[Group]) -> tuple[Sequence[Group], Sequence[Group]]:
    """Groups that may be images, and groups that may be masks; a grey PNG of few values may be both."""
    pictures, masks = [], []
    for group in groups:
        if group.tail.endswith(pairing.PICTURES):
            continue
        if _is_mask(group):
            masks.append(group)
        if group.end.lower() in LOSSY or not _is_mask(group) or group.kind == "images":
            pictures.append(group)
    return pictures, masks


def _is_mask(group: Group) -> bool:
    """Return True where the first files hold few whole numbers each, one for each pixel."""
    if group.end.lower() in LOSSY:
        return False
    try:
        return all(np.unique(images.read_labels(path, indices=True)).size <= FEW for path in group.paths[:LOOKED_AT])
    except MissingData:
        return False


def _rank(picture: Group, mask: Group) -> tuple[bool, ...]:
    """The better pair of two: named like images and like masks, and of train ids where label ids lie beside them."""
    return (
        picture is not mask,
        picture.kind == "images",
        mask.kind == "masks",
        picture.kind != "masks",
        "instance" not in mask.tail.lower(),
        mask.tail.endswith("_labelTrainIds"),
    )


def _unpaired(root: Path, pictures: Sequence[Group], masks: Sequence[Group]) -> str:
    def named(groups: Sequence[Group]) -> str:
        return ", ".join(f"{group.glob(root)} ({len(group.paths)})" for group in groups[:LOOKED_AT]) or "none"

    return (
        f"{root}: no images with a mask each; images may be {named(pictures)}, masks {named(masks)} (grey or palette"
        f" PNG, at most {FEW} values); give masks the names of their images, or write a suite with pair by hand"
    )


def _meaning(mask: Group) -> tuple[dict[str, Any], Sequence[str], Sequence[str]]:
    """The parameters that say what values mean, the protocols that can be asked then, and both in words."""
    counts = [np.bincount(images.read_labels(path, indices=True).reshape(-1), minlength=256) for path in mask.paths]
    total: Counts = np.sum(counts, axis=0)
    held = np.flatnonzero(total).tolist()
    values = f"values: {label_values.shares(total)}"
    ignored = [IGNORE] if IGNORE in held else []
    rest = [value for value in held if value != IGNORE]
    if rest in ([0], []) or (len(rest) == 2 and rest[0] == 0):
        return _of_anomalies(values, rest, ignored)
    ids = _ids(counts, total)
    if ids is None:
        named: Mapping[int, str] = {value: f"class_{value}" for value in rest}
        words = (
            "taken for: a class each; give them their names in ids, and say with class_map what the network calls them"
        )
        return {"ids": dict(named)}, ["misclassification", "miou"], [values, words]
    taken = {value: CITYSCAPES[train] for value, train in ids.items() if train != IGNORE}
    void = [value for value, train in ids.items() if train == IGNORE and (value in held or value == IGNORE)]
    words = f"taken for: the 19 classes of Cityscapes, {min(taken)} is {taken[min(taken)]}"
    words += f"; {', '.join(map(str, void))} ignored"
    said = {"ids": taken, "classes": list(CITYSCAPES), "ignore": void}
    return said, ["misclassification", "miou"], [values, words]


def _of_anomalies(
    values: str, rest: Sequence[int], ignored: Sequence[int]
) -> tuple[dict[str, Any], list[str], list[str]]:
    if len(rest) == 2:
        anomaly, void = rest[1], list(ignored)
    elif ignored:
        anomaly, void = IGNORE, []
    else:
        raise MissingData(f"{values}: no mask holds an anomaly, and no classes either; nothing can be evaluated")
    words = f"taken for: {anomaly} anomaly, 0 usual" + (", 255 ignored" if void else "")
    return {"anomaly": [anomaly], "usual": [0], "ignore": void}, ["anomaly"], [values, words]


def _ids(counts: Sequence[Counts], total: Counts) -> Mapping[int, int] | None:
    """Value to train id where the values are those of Cityscapes in some convention; None where they are others."""
    held = set(np.flatnonzero(total).tolist())
    now = label_values.train_ids()
    doubt = label_values.doubt(counts, "labels", now)
    if doubt is None:
        return now if len(held) > 2 and max(held - {IGNORE}) > 10 else None
    for _, values in doubt.fits[:1]:
        known = label_values.conventions()
        if isinstance(values, str) or list(values) == [str(len(LABEL_IDS))]:
            means = label_values.meaning(values, now, "labels", known)
            return means if held <= set(means) else None
    return None
