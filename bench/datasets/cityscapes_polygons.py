"""Label ids drawn from the polygons of an annotator, as the official preparation of Cityscapes draws them, and of IDD.

Order, names, groups and what is left out: mcordts/cityscapesScripts, preparation/json2labelImg.py and
helpers/labels.py; AutoNUE/public-code, preperation/json2labelImg.py, does the same with other names. Both draw with
Pillow, so that pixels on an outline are those of the installed Pillow here as there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from bench.core import packed
from bench.core.errors import MissingData
from bench.core.values import Labels

IDS = {
    name: number
    for number, name in enumerate((
        "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road",
        "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole",
        "polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car",
        "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle",
    ))
} | {"license plate": -1}  # fmt: skip
"""The label id of each name; a negative one is not drawn."""

LARGEST = 2**25  # bytes of one file; those of the official archive have some 100 kB
_SIDE = 2**14  # pixels
_FARTHEST = 2**20  # of a corner, in pixels: outlines may leave the image


def draw(path: Path, ids: Mapping[str, int] = IDS, owner: str = "Cityscapes") -> Labels:
    """uint8 [H, W]: the polygons of a file in their order, each over those before it; "unlabeled" where there is none.

    ``ids`` are the values of the names, ``owner`` whose they are. Raise MissingData for a file that is none, and for a
    label that ``ids`` does not have.
    """
    content = _content(path, owner)
    try:
        height, width, objects = int(content["imgHeight"]), int(content["imgWidth"]), content["objects"]
        if not (0 < height <= _SIDE and 0 < width <= _SIDE):
            raise ValueError(f"an image of {height}x{width}")
        image = Image.new("L", (width, height), ids["unlabeled"])
        pencil = ImageDraw.Draw(image)
        for entry in objects:
            if entry.get("deleted"):
                continue
            label = _label_id(entry["label"], ids, owner)
            corners = [(x, y) for x, y, *_ in entry["polygon"]]
            if not all(abs(float(number)) <= _FARTHEST for corner in corners for number in corner):
                raise ValueError(f"a {entry['label']} with a corner out of reach")
            if label >= 0:
                pencil.polygon(corners, fill=label)
    except KeyError as error:
        raise _refusal(path, owner, f"it lacks {error}") from None
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise _refusal(path, owner, str(error)) from None
    return np.array(image, np.uint8)


def _content(path: Path, owner: str) -> Any:
    try:
        with packed.opened(path) as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise _refusal(path, owner, f"it has more than {LARGEST} bytes")
        return json.loads(text)
    except FileNotFoundError:
        raise MissingData(f"{path} does not exist") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _refusal(path, owner, str(error)) from None


def _label_id(name: Any, ids: Mapping[str, int], owner: str) -> int:
    if name in ids:
        return ids[name]
    if isinstance(name, str) and (single := name.removesuffix("group")) in ids:
        return ids[single]
    raise ValueError(f"{owner} has no label {name!r}")


def _refusal(path: Path, owner: str, reason: str) -> MissingData:
    return MissingData(
        f"{path} is no annotation of {owner}: {' '.join(reason.split())[:200]}; unpack its archive of labels again"
    )
