"""Masks that a grid asks for in every cell: decoded twice at most, equal, in bounded memory, in readers alone."""

from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.core.errors import MissingData
from bench.datasets import frames, kept_masks
from bench.datasets.frames import Frame, OnDisk
from bench.datasets.kept_masks import KeptMasks

DRAWS = np.random.default_rng(18)
MASK = DRAWS.choice(np.array([0, 1, 255], np.uint8), (40, 60))


@dataclass(frozen=True)
class Scenes(OnDisk):
    """Two frames of files."""

    name = "scenes"
    source = "a test"
    annotations = frozenset({"anomaly"})
    published = 2
    obtain = "a test"

    folder: Path = Path()

    def scan(self):
        return [Frame(name, *(self.folder / f"{name}.{kind}.png" for kind in ("image", "mask"))) for name in ("a", "b")]


@pytest.fixture
def scenes(tmp_path, monkeypatch):
    for name in "ab":
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / f"{name}.image.png")
        Image.fromarray(MASK).save(tmp_path / f"{name}.mask.png")
    read, decoded = frames.read_mask, []
    monkeypatch.setattr(
        frames, "read_mask", lambda path, *rest, **more: decoded.append(path.name) or read(path, *rest, **more)
    )
    return Scenes(tmp_path), decoded


def test_a_reader_decodes_a_mask_twice_and_whoever_else_each_time(scenes):
    data, decoded = scenes

    def five_cells():
        frames.keep_masks()
        return [data.load(index) for _ in range(5) for index in (0, 1)]

    loaded = copy_context().run(five_cells)
    assert decoded == ["a.mask.png", "b.mask.png"] * 2
    for sample in loaded:
        assert np.array_equal(sample.anomaly, MASK) and sample.size == (40, 60)
        sample.anomaly[:] = 7  # nobody else's
    assert data.__getstate__().keys() == {"frames", "folder"}, "it stays in its process"
    data.load(0)
    assert len(decoded) == 5


def test_beyond_its_limit_masks_are_decoded_each_time(monkeypatch):
    monkeypatch.setattr(kept_masks, "LIMIT", 1)
    kept, asked = KeptMasks(), []
    for index in (0, 1) * 4:
        truth = kept.read(index, lambda index=index: asked.append(index) or {"labels": MASK, "anomaly": MASK[::2]})
        assert np.array_equal(truth["labels"], MASK) and np.array_equal(truth["anomaly"], MASK[::2])
    assert asked == [0, 1, 0, 1, 1, 1], "the first was kept"
    assert [kept.read(9, dict) for _ in range(3)] == [{}] * 3


def test_every_value_gets_its_meaning_and_the_least_that_has_none_is_named():
    meaning = {value: int(other) for value, other in enumerate(DRAWS.integers(0, 256, 200))}
    encoding = frames.Encoding("drawn", meaning, "0 to 199")
    stored = DRAWS.integers(0, 200, (30, 50)).astype(np.uint8)
    assert np.array_equal(frames.meant(stored, encoding, "x"), np.vectorize(meaning.get)(stored))
    assert np.array_equal(frames.meant(stored[:, ::2], encoding, "x"), np.vectorize(meaning.get)(stored[:, ::2]))
    stored[7, 9], stored[2, 3] = 200, 255
    with pytest.raises(MissingData, match="x holds the value 200 at row 7, column 9, wanted 0 to 199"):
        frames.meant(stored, encoding, "x")
