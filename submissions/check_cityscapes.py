"""What the evaluator of Cityscapes needs of an archive of class maps, held against one made by anybody.

Rules: mcordts/cityscapesScripts, evaluation/evalPixelLevelSemanticLabeling.py: PNG files of label ids at the size of
the images, exactly one whose name begins with ``<city>_<sequence>_<frame>``, in any folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.api import IGNORE, Labels
from bench.core.errors import MissingData
from bench.core.files import UNREADABLE
from bench.datasets.cityscapes import LABEL_IDS, Cityscapes
from bench.datasets.frames import Frame
from bench.datasets.frames import size as size_of
from bench.submissions.cityscapes import COUNTS, Split
from bench.submit.archives import Archive, Failure, Refused
from bench.submit.verdict import Verdict

THREADS = 2
SIZE = (1024, 2048)
NAME = re.compile(r"([A-Za-z-]+(?:_[A-Za-z-]+)*_\d{6}_\d{6}).*\.png")
IDS = frozenset(range(34))  # that exist; -1, the licence plate, has no place in 8 bits
TRAIN_IDS = 19


def check(archive: Archive, split: Split | None, frames: int | None) -> Verdict:
    """Hold an archive against every rule.

    Without ``split`` the number of files decides which one is meant; ``frames`` is how many there must be.
    """
    verdict = Verdict("cityscapes", str(archive.path), list(archive.failures))
    found = _found(archive, verdict)
    chosen: Split = split or ("test" if len(found) > COUNTS["val"] else "val")
    wanted = COUNTS[chosen] if frames is None else frames
    sizes = _sizes(chosen, frames, verdict)
    if len(found) != wanted:
        verdict.failures.append(Failure("count", f"{chosen}/", f"holds {len(found)} class maps, wanted {wanted}"))
    if sizes is not None:
        for missing in sorted(sizes.keys() - found.keys()):
            verdict.failures.append(Failure("count", f"{missing}*.png", "is absent: every frame has a class map"))
        for extra in sorted(found.keys() - sizes.keys()):
            verdict.failures.append(Failure("names", found[extra], f"{extra} is no frame of {chosen}"))
    seen = np.zeros(256, np.int64)
    with ThreadPoolExecutor(THREADS) as pool:
        for member, result in zip(
            found.values(), pool.map(partial(_counts, archive, sizes), found.keys(), found.values()), strict=True
        ):
            if isinstance(result, Refused):
                verdict.failures.append(Failure(result.rule, member, result.text))
            else:
                seen += result
    _judge(seen, chosen, verdict)
    verdict.counts[chosen] = len(found)
    for stray in archive.strays[:3]:
        verdict.warnings.append(f"{stray}: does not belong in an archive")
    return verdict


def _found(archive: Archive, verdict: Verdict) -> dict[str, str]:
    """Frame to member."""
    found: dict[str, str] = {}
    for member in archive.members:
        name = PurePosixPath(member).name
        match = NAME.fullmatch(name)
        if match is None:
            said = "has no name that the evaluator finds, wanted <city>_<sequence>_<frame>*.png"
            verdict.failures.append(Failure("names", member, said))
        elif match[1] in found:
            verdict.failures.append(Failure("names", member, f"and {found[match[1]]} are of one frame; keep one"))
        else:
            found[match[1]] = member
    return found


def _sizes(split: Split, frames: int | None, verdict: Verdict) -> Mapping[str, tuple[int, int]] | None:
    try:
        listed: list[Frame] = list(Cityscapes(split, frames=frames)._frames)
        return {frame.id: size_of(frame.image) for frame in listed}
    except MissingData as error:
        verdict.notes.append(f"names were not compared with the images of {split}, which are not here: {error}")
        return None


def read(archive: Archive, member: str, size: tuple[int, int]) -> Labels:
    """uint8 [H, W] of one file: its values as they are. Raise Refused for what is no class map of that size."""
    content = archive.read(member, 4 * size[0] * size[1] + 2**20)
    try:
        with Image.open(BytesIO(content), formats=("PNG",)) as image:
            shape = (image.height, image.width)
            if shape != size:
                turned = "; is it transposed?" if shape == size[::-1] else ""
                raise Refused("map size", f"is {shape[0]}x{shape[1]}, its image is {size[0]}x{size[1]}{turned}")
            if image.mode != "L":
                raise Refused("dtype", f"is stored as {image.mode}, wanted 8-bit grey: one label id per pixel")
            return np.array(image, np.uint8)
    except UNREADABLE as error:
        raise Refused("png", f"is no whole PNG: {error}") from None


def _counts(
    archive: Archive, sizes: Mapping[str, tuple[int, int]] | None, frame: str, member: str
) -> NDArray[np.int64] | Refused:
    """How often each value occurs."""
    size = SIZE if sizes is None else sizes.get(frame)
    if size is None:
        return np.zeros(256, np.int64)  # no frame of the set: said already
    try:
        counts = np.bincount(read(archive, member, size).ravel(), minlength=256)
        strangers = [value for value in np.flatnonzero(counts).tolist() if value not in IDS]
        if strangers:
            hint = "; 255 is no class: every pixel needs one" if strangers[-1] == IGNORE else ""
            raise Refused("values", f"holds {strangers[0]}, wanted label ids from 0 to 33{hint}")
    except Refused as error:
        return error
    return counts


def _judge(seen: NDArray[np.int64], split: Split, verdict: Verdict) -> None:
    """Train ids in place of label ids would be near zero on the server."""
    values = np.flatnonzero(seen)
    if not values.size:
        return
    ignored = int(seen[[value for value in IDS if value not in LABEL_IDS]].sum())
    if values.max() < TRAIN_IDS and ignored:
        said = (
            f"no value is above {values.max()} and {100 * ignored / seen.sum():.0f} % are ids that are never evaluated:"
            " these are train ids, wanted label ids (7 road ... 33 bicycle)"
        )
        verdict.failures.append(Failure("label ids", f"{split}/", said))
    elif ignored:
        verdict.warnings.append(
            f"{split}/: {ignored} pixels hold ids that are not evaluated; on a labelled pixel they count as misses"
        )
