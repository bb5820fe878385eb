"""Which frames are absent, as far as the others tell."""

from __future__ import annotations

import pytest
from PIL import Image

from bench.core.errors import MissingData
from bench.datasets import sides
from bench.datasets.validation_dataset import ValidationDataset


@pytest.mark.parametrize(
    "ids, expected, unused, absent",
    [
        (["0", "1", "3"], 4, (), ["2"]),
        (["0", "1", "2"], 5, (), ["3", "4"]),
        (["1", "2", "4"], 4, (), ["3"]),  # 0 to 3 would hold no 4
        (["1", "3"], 4, (), ["2"]),  # 0 to 3, or 1 to 4
        (["validation0008", "validation0010"], 4, (), []),  # of numbers that begin elsewhere nothing is known
        (["validation01", "validation03", "validation04"], 4, (), ["validation02"]),
        (["v_1", "v_2", "v_6"], 4, (4, 5), ["v_3"]),
        (["a1", "b2"], 4, (), []),
        (["a", "1"], 4, (), []),
        ([], 4, (), []),
    ],
)
def test_numbers_tell_which_are_absent(ids, expected, unused, absent):
    assert sides.absent_numbers(ids, expected, unused) == absent


@pytest.fixture
def track(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    folders = [tmp_path / "validation_dataset" / "RoadAnomaly21" / name for name in ("images", "labels_masks")]
    for folder in folders:
        folder.mkdir(parents=True)
        for number in (0, 1, 2, 4, 5, 6, 8, 9):
            Image.new("L", (4, 4)).save(folder / f"{number}.png")
    return folders


def test_a_track_with_some_of_its_frames_names_the_others(track):
    with pytest.raises(MissingData, match=r"holds 8 frames, wanted 10 \(absent: 3, 7\); .*say frames: 8"):
        ValidationDataset("RoadAnomaly21").check()


@pytest.mark.parametrize("side, other", [(0, "its label"), (1, "its image")])
def test_frames_of_which_one_side_is_absent_are_all_named(track, side, other):
    for number in (2, 5, 8):
        (track[side] / f"{number}.png").unlink()
    with pytest.raises(MissingData, match=rf"2\.png does not exist, but {other} .* does \(the same of 5, 8\); "):
        ValidationDataset("RoadAnomaly21").check()
