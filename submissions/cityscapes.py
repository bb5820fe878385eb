"""Cityscapes, pixel-level semantic labeling: one zip of PNG files of label ids.

Names and values: mcordts/cityscapesScripts, evaluation/evalPixelLevelSemanticLabeling.py and helpers/labels.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from bench.api import CITYSCAPES, IGNORE, Labels, Scores, SegModel
from bench.core import files
from bench.core.errors import BadSuite
from bench.datasets.cityscapes import LABEL_IDS, Cityscapes
from bench.run import score_maps
from bench.submit import archive_writer
from bench.submit.archive_writer import Part, Progress

Split = Literal["val", "test"]
COUNTS: Mapping[Split, int] = {"val": 500, "test": 1525}
TAIL = "_pred_labelIds.png"  # the evaluator asks for <city>_<sequence>_<frame>*.png

_TO_LABEL_ID = np.zeros(256, np.uint8)
_TO_LABEL_ID[: len(LABEL_IDS)] = LABEL_IDS


@dataclass(frozen=True)
class Keep:
    """Write the class map of one image as label ids."""

    folder: Path

    def __call__(self, sample: str, score: Scores | None, labels: Labels | None) -> None:
        assert labels is not None  # noqa: S101 - the caller chose a network that gives one
        if (labels[labels != IGNORE] >= len(LABEL_IDS)).any():
            raise BadSuite(f"{sample}: the class map holds {int(labels.max())}, wanted train ids from 0 to 18")
        memory = BytesIO()
        Image.fromarray(_TO_LABEL_ID[labels]).save(memory, "PNG", compress_level=6)
        with files.writing(self.folder / f"{sample}.png") as file:
            file.write(memory.getvalue())


def write(
    choice: score_maps.Choice,
    out: Path,
    name: str,
    split: Split,
    frames: int | None,
    processes: int,
    progress: Progress,
) -> dict[str, Any]:
    """Make the archive, or go on where a killed call stopped; returns the record that stands beside it."""
    network: SegModel = choice.model.build()
    if network.class_names != CITYSCAPES:
        raise BadSuite(f"{choice.model.label} does not name the 19 classes of Cityscapes in their order")
    part = Part(
        name=split,
        reader=Cityscapes(split, frames=frames),
        ending=".png",
        member=partial(_member, split),
        sink=Keep,
        made_with=files.digest(Path(__file__)),
    )
    about = {"board": "cityscapes", "name": name, "split": split}
    return archive_writer.write(choice, out / f"{name}.zip", [part], about, processes, progress)


def _member(split: Split, sample: str) -> str:
    return f"{split}/{sample.rsplit('_', 2)[0]}/{sample}{TAIL}"
