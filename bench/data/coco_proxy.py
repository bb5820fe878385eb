"""Write outlier masks of COCO: one PNG for each chosen photograph, an index of them, and what they are.

Killed and called again it goes on: masks are drawn in blocks by several processes, and a block counts once its rows
are on disk.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench import __version__
from bench.core import child_processes
from bench.core.errors import CannotWrite, MissingData, WorkerDied
from bench.core.files import digest, writing
from bench.data.layouts import atomic_writer
from bench.datasets import coco, coco_annotations, coco_proxy, frames

BLOCK = 256  # images: what a kill can cost each process
PARTS = ".parts"


@dataclass(frozen=True)
class Choice:
    """The photographs to take, and the values of their masks."""

    split: str = "train2017"
    exclude: tuple[str, ...] = coco.IN_CITYSCAPES
    minimum: int = 480  # pixels of the shorter side
    background: str = "ignored"  # or road, as the source trains what is not annotated

    def spelled(self) -> dict[str, Any]:
        return {
            "split": self.split,
            "exclude": list(self.exclude),
            "minimum": self.minimum,
            "background": self.background,
            "values": {"outlier": coco_proxy.OUTLIER, "background": coco_proxy.VALUES[self.background]},
        }


def write(
    root: Path, out: Path, choice: Choice, *, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> int:
    """Write what is missing of ``out`` and return how many images it holds. ``root`` is the folder of COCO."""
    root = coco.unpacked(choice.split, root)
    annotations = root / "annotations" / f"instances_{choice.split}.json"
    chosen = coco_annotations.index(annotations, choice.exclude, choice.minimum)
    images = len(chosen.ids)
    if not images:
        raise MissingData(f"{annotations}: no image is left that may be taken and has {choice.minimum} pixels a side")
    about = {"schema": coco_proxy.SCHEMA, "annotations_digest": digest(annotations), "images": images}
    _begin(out, choice.spelled() | about)
    if (out / coco_proxy.INDEX).is_file():
        return images
    starts = range(0, images, BLOCK)
    todo = [start for start in starts if not _part(out, start).is_file()]
    done = images - sum(min(start + BLOCK, images) - start for start in todo)
    with child_processes.pool(max(1, workers)) as pool:
        waiting = [pool.submit(_block, root, out, choice, start, min(start + BLOCK, images)) for start in todo]
        try:
            for finished in as_completed(waiting):
                done += finished.result()
                if progress:
                    progress(done, images)
        except BrokenProcessPool:
            raise WorkerDied("a process that draws masks was killed; run the same command again to go on") from None
        finally:
            pool.shutdown(cancel_futures=True)
    with writing(out / coco_proxy.INDEX, "w") as file:
        file.write(",".join(coco_proxy.COLUMNS) + "\n")
        for start in starts:
            file.write(_part(out, start).read_text(encoding="utf-8"))
    shutil.rmtree(out / PARTS)
    return images


def _begin(out: Path, about: Mapping[str, Any]) -> None:
    """Say what the folder will hold; refuse one that holds another choice."""
    path = out / coco_proxy.MANIFEST
    if path.is_file():
        known = coco_proxy.manifest(out)
        odd = [name for name, value in about.items() if known.get(name) != value]
        if odd:
            raise CannotWrite(
                f"{out} holds masks of another choice: {odd[0]} is {known.get(odd[0])!r} there, {about[odd[0]]!r} is"
                f" asked for; name another --out, or remove {path.name} and what lies beside it"
            )
        return
    if (folder := out / coco_proxy.masks(str(about["split"]))).exists():
        raise CannotWrite(f"{folder} is there already, without {path.name}; name another --out, or remove it")
    with writing(path, "w") as file:
        json.dump({**about, "made_by": f"ood-seg-bench {__version__}"}, file, indent=1)


def _part(out: Path, start: int) -> Path:
    return out / PARTS / f"{start:09}.csv"


def _block(root: Path, out: Path, choice: Choice, start: int, stop: int) -> int:
    """Draw the masks of one block, then write its rows; return their number."""
    rows = list(_drawn(root, out, choice, start, stop))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with writing(_part(out, start), "w") as file:
        file.write(text.getvalue())
    return len(rows)


def _drawn(root: Path, out: Path, choice: Choice, start: int, stop: int) -> Iterator[tuple[str, str, int, int, int]]:
    annotations = root / "annotations" / f"instances_{choice.split}.json"
    chosen = _index(annotations, choice.exclude, choice.minimum)
    folder, empty = out / coco_proxy.masks(choice.split), np.uint8(coco_proxy.VALUES[choice.background])
    for index in range(start, stop):
        name, number = str(chosen.names[index]), f"{int(chosen.ids[index]):012}"
        stated, size = tuple(chosen.sizes[index].tolist()), frames.size(root / choice.split / name)
        if stated != size:
            raise MissingData(
                f"{root / choice.split / name} is {size[0]}x{size[1]}, {annotations.name} says {stated[0]}x{stated[1]};"
                f" unpack {choice.split}.zip again"
            )
        mask = chosen.mask(index)
        atomic_writer.save_png(folder / f"{number}.png", np.where(mask, np.uint8(coco_proxy.OUTLIER), empty))
        yield number, name, stated[0], stated[1], int(mask.sum())


@cache
def _index(annotations: Path, exclude: tuple[str, ...], minimum: int) -> coco_annotations.Index:
    return coco_annotations.index(annotations, exclude, minimum)
