"""WildDash 2: dash cameras of the whole world, in the layout of the official archives.

Layout, label ids and what becomes of them for networks of Cityscapes: ozendelait/wilddash_scripts, pano2sem.py and
wd2_unified_label_policy.json ("cs_name"). The public archive holds panoptic label files, whose segments
``panoptic.json`` gives their label ids. Without these, files of label ids are read, as pano2sem.py makes them
(``semantic/``) and an older archive has them (``labels/``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from bench.contract.dataset import CITYSCAPES
from bench.core import packed
from bench.core.errors import MissingData
from bench.core.images import read_rgb
from bench.core.label_values import LABEL_IDS
from bench.core.listing import Location
from bench.core.values import IGNORE, Labels
from bench.datasets.labelled_trees import KEPT, LabelFile, LabelledTrees, Pair, encoding

IDS = range(81)
MERGED: Mapping[str, Sequence[int]] = {
    # road marking, manhole, pothole, tram track, bike lane, pedestrian area, catch basin, crosswalks, service lane
    "road": (38, 41, 43, 61, 64, 70, 74, 75, 76, 79),
    "sidewalk": (52, 65, 77, 80),  # curb, bike lane on it, manhole in it, lowered curb
    "wall": (56,),  # another barrier
    "pole": (45, 46),  # frame of a traffic sign, utility pole
    "terrain": (78,),  # its curb
    "rider": (47, 48, 49),
    "car": (35,),  # van
    "truck": (34,),  # pickup
    "motorcycle": (58,),  # auto rickshaw
}
"""Label ids beyond those of Cityscapes that the policy gives a class of Cityscapes."""

LARGEST = 2**29  # bytes of panoptic.json
_MEANING = (
    dict.fromkeys((*IDS, IGNORE), IGNORE)
    | {value: train for train, value in enumerate(LABEL_IDS)}
    | {value: CITYSCAPES.index(name) for name, values in MERGED.items() for value in values}
)
_PUBLIC = ("wd_public_v2p0", "wd_public_02")
_PUBLISHED = {"public": 4256, "both": 812}


@dataclass(frozen=True)
class WildDash2(LabelledTrees):
    """4256 labelled frames (``split: public``), mostly 1080x1920, under the 19 classes of Cityscapes.

    The data set's own policy says what its 81 labels are there: a van is a car, a pickup a truck, an auto rickshaw a
    motorcycle; what Cityscapes does not evaluate is ignored. ``both`` are the 812 frames of the benchmark, without
    truth here.
    """

    name = "wilddash2"
    source = "Zendel et al., Unifying Panoptic Segmentation for Autonomous Driving, CVPR 2022"
    location: ClassVar[Location] = Location("wilddash2", ("wilddash",))
    contents: ClassVar[str] = "images/, panoptic/ and panoptic.json of WildDash 2"

    split: Literal["public", "both"] = "public"

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset() if self.hidden else frozenset({"labels"})

    @property
    def hidden(self) -> str:
        return f"{KEPT}; evaluate split public" if self.split == "both" else ""

    @property
    def published(self) -> int:
        return _PUBLISHED[self.split]

    @property
    def pairs(self) -> Sequence[Pair]:
        return (Pair(_below("images") if self.split == "public" else (("wd_both_02", "images"),)),)

    @property
    def label_files(self) -> Sequence[LabelFile]:
        ids = encoding("WildDash 2", _MEANING)
        panoptic = replace(ids, name="WildDash 2, panoptic", decode=_decoded)
        return (
            LabelFile(("",), panoptic, chains=_below("panoptic")),
            LabelFile(("_labelIds", ""), ids, chains=(*_below("labels"), *_below("semantic"))),
        )


def _below(folder: str) -> tuple[tuple[str | tuple[str, ...], ...], ...]:
    return ((_PUBLIC, folder), (folder,))


def _decoded(path: Path) -> Labels:
    """uint8 [H, W]: the label id of each pixel of a panoptic file, 0 where there is no segment.

    Raise MissingData for a segment that ``panoptic.json`` does not have.
    """
    named = f"{path.parent.name}.json".casefold()
    beside = packed.entries(path.parent.parent)[1]
    listed = next((file for file in beside if file.name.casefold() == named), path.parent.with_suffix(".json"))
    try:
        changed = listed.stat().st_mtime_ns if listed.is_file() else 0
        categories = _categories(listed, packed.size(listed), changed).get(path.stem.casefold())
    except OSError as error:
        raise MissingData(f"{listed} cannot be read: {error.strerror}; unpack the archive again") from None
    if categories is None:
        raise MissingData(f"{listed} says nothing of {path.name}; unpack the archive again")
    numbers = read_rgb(path).astype(np.int64) @ np.array([1, 256, 65536])
    segments, places = np.unique(numbers, return_inverse=True)
    unknown = [segment for segment in segments.tolist() if segment and segment not in categories]
    if unknown:
        raise MissingData(f"{path} has the segment {unknown[0]}, which {listed.name} does not; unpack both again")
    values = np.array([categories.get(segment, 0) for segment in segments.tolist()], np.uint8)
    labels: Labels = values[places].reshape(numbers.shape)
    return labels


@lru_cache(maxsize=2)
def _categories(path: Path, size: int, changed: int) -> Mapping[str, Mapping[int, int]]:
    """The label id of each segment by file name. ``size`` and ``changed`` tell a file from what it was before."""
    try:
        if size > LARGEST:
            raise ValueError(f"it has more than {LARGEST} bytes")
        with packed.opened(path) as file:
            content = json.loads(file.read())
        return {
            Path(entry["file_name"]).stem.casefold(): {
                int(segment["id"]): IDS[int(segment["category_id"])] for segment in entry["segments_info"]
            }
            for entry in content["annotations"]
        }
    except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise MissingData(f"{path} is no list of panoptic labels: {what}; unpack the archive again") from None
