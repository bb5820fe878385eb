"""Images and masks of somebody's own, found by globs and paired by their names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from os.path import commonpath
from pathlib import Path, PurePosixPath
from typing import Literal

from bench.core import frame_names, listing

WILD = re.compile(r"[*?\[]")
PICTURES = ("_color", "_instanceIds", "_instanceTrainIds", "_colormask", "_overlay", "_preview")  # beside labels
_UNFIT = re.compile(r"[^A-Za-z0-9._-]")
_TAILS = (
    *frame_names.TAILS, "_gtFine_color", "_labels_semantic", "_labels", "_label", "_masks", "_mask", "_gt", "_anomaly",
    "_segmentation", "_seg", "_semantic", "_image", "_img", "_rgb", "-mask", "-label", "-gt",
)  # fmt: skip
_HEADS = ("mask_", "label_", "labels_", "gt_", "seg_", "image_", "img_", "rgb_")

_IMAGE_WORDS = ("image", "img", "rgb", "photo", "picture", "original", "leftimg8bit", "frames")
_MASK_WORDS = ("mask", "label", "gtfine", "gtcoarse", "annotation", "segmentation", "groundtruth", "truth")

Ids = Mapping[str, Path]  # by id, sorted


def globbed(root: Path, pattern: str) -> list[Path]:
    """The files that a glob matches, sorted; where nothing does, upper and lower case count as one.

    Links to folders are followed, below ``**`` as well. Hidden files and folders are passed over.
    """
    segments = PurePosixPath(pattern).parts
    fixed = list(itertools.takewhile(lambda segment: not WILD.search(segment), segments[:-1]))
    base = root.joinpath(*fixed)
    if not base.is_dir():
        base, fixed = root, []
    below = segments[len(fixed) :]
    files = [(path, path.relative_to(base).parts) for level in listing.Tree(base).levels for path in level]
    exact = [path for path, parts in files if _fits(parts, below)]
    lower = [segment.lower() for segment in below]
    return sorted(exact or [path for path, parts in files if _fits([part.lower() for part in parts], lower)])


def _fits(parts: Sequence[str], segments: Sequence[str]) -> bool:
    if not segments:
        return not parts
    if segments[0] == "**":
        return any(_fits(parts[skipped:], segments[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], segments[0]) and _fits(parts[1:], segments[1:])


def paired(images: Sequence[Path], masks: Sequence[Path]) -> tuple[Ids, Ids] | None:
    """Images and masks by id, if one way of reading their names gives each image its mask; None otherwise.

    Read is the name, then the name without what data sets add to it, then each of these with the folders before it.
    What both globs match is a mask; pictures of masks that lie beside them are left out.
    """
    both = set(masks)
    plain = [path for path in masks if not path.stem.endswith(PICTURES)]
    others = [path for path in images if path not in both]
    image_lists = [images, *([others] if len(others) < len(images) else [])]
    mask_lists = [masks, *([plain] if len(plain) < len(masks) else [])]
    for chosen_images, chosen, folders, name in itertools.product(
        image_lists, mask_lists, (False, True), (_stem, bare)
    ):
        by_id, mask_by_id = ids(chosen_images, name, folders=folders), ids(chosen, name, folders=folders)
        if by_id and mask_by_id and by_id.keys() == mask_by_id.keys():
            return by_id, mask_by_id
    return None


def ids(paths: Sequence[Path], name: Callable[[Path], str], *, folders: bool) -> Ids | None:
    """Files by id, sorted; None if two have the same. ``folders`` that differ and say no kind are part of the id."""
    base = Path(commonpath([path.parent for path in paths])) if paths else Path()
    by_id: dict[str, Path] = {}
    for path in paths:
        above = [part for part in path.relative_to(base).parts[:-1] if not kind_of(part)] if folders else []
        by_id[_UNFIT.sub("_", "_".join([*above, name(path)]))] = path
    return dict(sorted(by_id.items())) if len(by_id) == len(paths) else None


def kind_of(folder: str) -> Literal["images", "masks", ""]:
    """Return the role of a folder by its name; empty where its name does not tell."""
    plain = re.sub(r"[^a-z0-9]", "", folder.lower())
    if any(word in plain for word in _MASK_WORDS):
        return "masks"
    return "images" if any(word in plain for word in _IMAGE_WORDS) else ""


def _stem(path: Path) -> str:
    return path.stem


def bare(path: Path) -> str:
    """The name of a file without what data sets add to it before and after."""
    return parts_of(path)[1]


def parts_of(path: Path) -> tuple[str, str, str]:
    """The name of a file without its ending: what stands before, the name itself, and what data sets add."""
    stem = frame_names.bare(path.stem, _TAILS)
    head = next((head for head in _HEADS if stem.startswith(head) and stem != head), "")
    return head, stem.removeprefix(head), path.stem[len(stem) :]
