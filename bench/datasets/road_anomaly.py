"""RoadAnomaly, the 60 photographs of 2019, in the layout of the official archive.

Layout: ``RoadAnomaly_jpg/frame_list.json`` names the images, ``frames/X.jpg`` is one of them and
``frames/X.labels/labels_semantic.png`` its mask (https://www.epfl.ch/labs/cvlab/data/road-anomaly/). Not to be confused
with RoadAnomaly21, which is ``smiyc``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.core.errors import MissingData
from bench.core.files import data
from bench.datasets import frames
from bench.datasets.frames import Encoding, Frame, Ready
from bench.datasets.masked import Masked

LABELS = Encoding("RoadAnomaly", {0: 0, 2: 1}, "0 or 2")
"""0 normal, 2 anomaly; nothing is ignored."""

_READY = Ready("original/*.jpg", "labels/*.png", (".jpg",))


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
        return (
            "RoadAnomaly_jpg.zip (md5 87a0908e5c72827824693913cf2e4fb0) is on"
            " https://datasets-cvlab.epfl.ch/2019-road-anomaly/: unpack it into road_anomaly/"
        )

    def scan(self) -> Sequence[Frame]:
        root = data("road_anomaly")
        if not root.is_dir():
            raise frames.absent(root, "RoadAnomaly_jpg/", self.obtain)
        home = root / "RoadAnomaly_jpg" if (root / "RoadAnomaly_jpg").is_dir() else root
        listing = home / "frame_list.json"
        if self.layout == "original_labels":
            if not _READY.present(root):
                held = f"; {root} holds the layout official: leave layout out of the suite" if listing.is_file() else ""
                raise MissingData(
                    f"{root / _READY.images} and {root / _READY.masks} match nothing{held}; {self.obtain}"
                )
            return _READY.scan(root, self.count, self.obtain)
        if not listing.is_file():
            hint = (
                f"; {root} holds the layout original_labels: say layout: original_labels in the suite if that is meant"
            )
            raise MissingData(f"{listing} does not exist{hint if _READY.present(root) else ''}; {self.obtain}")
        names = _names(listing)
        frames.counted(names, self.count, listing, "unpack the archive again")
        return frames.unique([_frame(home / "frames" / name) for name in names])


def _names(listing: Path) -> Sequence[str]:
    """The file names in the archive's own list. Raise MissingData if it is none."""
    try:
        names = json.loads(listing.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingData(f"{listing} cannot be read: {error}; unpack the archive again") from None
    if not isinstance(names, list) or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise MissingData(f"{listing} is no list of file names, such as ['animals01.jpg']; unpack the archive again")
    return names


def _frame(image: Path) -> Frame:
    mask = image.with_suffix(".labels") / "labels_semantic.png"
    for path, other in ((image, "frame_list.json names it"), (mask, f"its image {image} does")):
        if not path.is_file():
            raise MissingData(f"{path} does not exist, but {other}; unpack RoadAnomaly_jpg.zip again")
    return Frame(frames.plain(image.stem), image, mask, LABELS)
