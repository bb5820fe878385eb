"""Toytown: frozen pixels, the same street at every size and under every sky, anomalies with a border."""

from __future__ import annotations

import hashlib
import pickle
import random
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from bench.api import IGNORE, Sample
from bench.datasets.toytown import scenes
from bench.datasets.toytown.anomalies import THINGS
from bench.datasets.toytown.rasteriser import Canvas, Dice, blur, enlarge
from bench.datasets.toytown.scenes import CONDITIONS, DRIVE, Toytown

FROZEN = {
    ("train", 7, 128, 256): "5d29c8192a36067f",
    ("train", 1201, 128, 256): "b2f90c443bd5c2ca",
    ("val", 1, 128, 256): "b3cec618aa5c4df0",
    ("val", 9, 100, 150): "24be3d8df16ce857",
    ("val", 14, 200, 300): "93b6e7e2b21a7bcc",
    ("val", 16, 128, 256): "46312baaa24f9b7e",
    ("anomaly", 5, 128, 256): "7dcfe3b90de3bf1b",
    ("anomaly", 8, 128, 256): "137e7684fdc1008e",
    ("anomaly", 12, 128, 256): "fc9425b69ad8eb29",
    ("anomaly", 16, 96, 192): "1f378f0ab110c48f",
    ("anomaly", 3, 512, 1024): "72e44da7e43a3a18",
}


def fingerprint(sample: Sample) -> str:
    """16 hex digits of every pixel of image, labels and anomaly mask."""
    assert sample.labels is not None
    whole = hashlib.sha256(sample.image().tobytes() + sample.labels.tobytes())
    if sample.anomaly is not None:
        whole.update(sample.anomaly.tobytes())
    return whole.hexdigest()[:16]


@pytest.fixture(scope="module")
def anomalies() -> list[Sample]:
    data = Toytown(split="anomaly")
    return [data.load(index) for index in range(data.count)]


@pytest.mark.parametrize(("split", "index", "height", "width"), FROZEN)
def test_no_pixel_ever_changes(split: str, index: int, height: int, width: int) -> None:
    data = Toytown(split=split, images=2000, height=height, width=width)  # type: ignore[arg-type]
    assert fingerprint(data.load(index)) == FROZEN[split, index, height, width]


def test_the_generator_is_the_mersenne_twister_that_python_has_too() -> None:
    python = random.Random(int.from_bytes(hashlib.sha256(b"a/1").digest(), "little"))
    dice = Dice("a", 1)
    assert [dice.between(0, 1) for _ in range(50)] == [python.random() for _ in range(50)]


def test_a_sample_does_not_depend_on_what_was_drawn_before() -> None:
    data = Toytown(split="anomaly")
    alone = fingerprint(data.load(9))
    data.load(3)
    assert fingerprint(data.load(9)) == alone
    assert fingerprint(pickle.loads(pickle.dumps(data)).load(9)) == alone  # noqa: S301


def test_a_frame_that_is_kept_is_handed_out_as_a_copy() -> None:
    data = Toytown(split="anomaly")
    before, drawn = fingerprint(data.load(9)), scenes._recent_frame.cache_info()
    changed = data.load(9)
    assert changed.labels is not None and changed.anomaly is not None
    for array in (changed.image(), changed.labels, changed.anomaly):
        array[:] = 7
    assert fingerprint(Toytown(split="anomaly", images=10).load(9)) == before
    assert scenes._recent_frame.cache_info().misses == drawn.misses, "it was drawn again"


def test_a_longer_set_begins_with_the_shorter_one() -> None:
    assert fingerprint(Toytown(images=5).load(3)) == fingerprint(Toytown(images=500).load(3))
    assert list(Toytown(images=500).ids())[:5] == list(Toytown(images=5).ids())


def test_splits_and_seeds_show_different_streets() -> None:
    frames = [Toytown(split=split, seed=seed).load(0) for split in ("train", "val", "anomaly") for seed in (0, 1)]
    assert len({fingerprint(frame) for frame in frames}) == len(frames)


def test_ids_are_sorted_unique_and_as_many_as_promised() -> None:
    for data in (Toytown(), Toytown(split="train"), Toytown(split="anomaly", images=1100)):
        ids = list(data.ids())
        assert ids == sorted(set(ids))
        assert len(ids) == data.count
    assert Toytown(split="anomaly").ids()[12] == "toytown_anomaly_000012"
    assert [Toytown(split=split).count for split in ("train", "val", "anomaly")] == [600, 64, 64]
    with pytest.raises(IndexError):
        Toytown().load(64)


def test_what_a_split_gives_is_what_its_samples_carry() -> None:
    for split in ("train", "val", "anomaly"):
        data = Toytown(split=split)
        sample = data.load(1)
        assert {name for name in ("labels", "anomaly") if getattr(sample, name) is not None} == data.annotations
        assert sample.id == data.ids()[1]
        image = sample.image()
        assert image.shape == (*sample.size, 3)
        assert image.dtype == np.uint8
        assert sample.labels is not None
        assert sample.labels.shape == sample.size
        assert set(np.unique(sample.labels)) <= {*range(19), IGNORE}


def test_the_digest_changes_with_every_parameter() -> None:
    data = Toytown()
    others = [
        replace(data, split="train"), replace(data, images=7), replace(data, height=96), replace(data, width=300),
        replace(data, seed=1), replace(data, condition="fog"),
    ]  # fmt: skip
    assert len({data.digest(), *(other.digest() for other in others)}) == 7
    assert data.digest() == Toytown().digest()


def test_consecutive_frames_are_one_drive_under_one_sky() -> None:
    data = Toytown()
    frames = [data.load(index) for index in range(0, 4 * DRIVE)]
    assert len({frame.group for frame in frames}) == 4
    assert len({(frame.group, frame.tags["condition"]) for frame in frames}) == 4
    drives = [Toytown(images=100).load(DRIVE * drive).tags["condition"] for drive in range(len(CONDITIONS))]
    assert drives == list(CONDITIONS)


def test_weather_changes_the_image_and_nothing_else() -> None:
    frames = [Toytown(split="anomaly", condition=condition).load(8) for condition in CONDITIONS]  # type: ignore[arg-type]
    for frame in frames[1:]:
        np.testing.assert_array_equal(frame.labels, frames[0].labels)
        np.testing.assert_array_equal(frame.anomaly, frames[0].anomaly)
    brightness = {frame.tags["condition"]: frame.image().mean() for frame in frames}
    assert brightness["night"] < brightness["rain"] < brightness["day"]
    assert brightness["dusk"] < brightness["day"]


def test_a_street_is_the_same_at_every_size() -> None:
    small, large = Toytown().load(6), Toytown(height=256, width=512).load(6)
    assert small.labels is not None
    assert large.labels is not None
    assert (large.labels[::2, ::2] == small.labels).mean() > 0.95
    assert Toytown(height=90, width=121).load(0).image().shape == (90, 121, 3)


def test_all_nineteen_classes_are_drawn() -> None:
    data = Toytown(split="train")
    seen = set()
    for index in range(0, 100):
        labels = data.load(index).labels
        assert labels is not None
        seen |= set(np.unique(labels).tolist())
    assert seen == {*range(19), IGNORE}


def test_anomalies_have_a_border_and_no_class(anomalies: list[Sample]) -> None:
    for sample in anomalies:
        mask, labels = sample.anomaly, sample.labels
        assert mask is not None
        assert labels is not None
        assert set(np.unique(mask)) <= {0, 1, IGNORE}
        assert (labels[mask != 0] == IGNORE).all()
        assert (labels[mask == 0] != IGNORE).all()
        for axis in (0, 1):  # no anomalous pixel touches a usual one
            first, second = (mask[1:], mask[:-1]) if axis == 0 else (mask[:, 1:], mask[:, :-1])
            assert not ((first == 1) & (second == 0)).any()
            assert not ((first == 0) & (second == 1)).any()


def test_a_few_frames_hold_no_anomaly_and_say_so(anomalies: list[Sample]) -> None:
    empty = [sample for sample in anomalies if sample.anomaly is not None and not (sample.anomaly == 1).any()]
    assert 3 <= len(empty) <= 16
    assert {sample.id for sample in empty} == {sample.id for sample in anomalies if sample.tags["anomaly"] == "none"}


def test_anomalies_are_many_kinds_and_sizes(anomalies: list[Sample]) -> None:
    kinds = {sample.tags["anomaly"] for sample in anomalies} - {"none"}
    assert kinds <= set(THINGS)
    assert len(kinds) >= 12
    sizes = [int((sample.anomaly == 1).sum()) for sample in anomalies if sample.anomaly is not None]
    assert min(size for size in sizes if size) < 100 < 2000 < max(sizes)
    assert 0.01 < sum(sizes) / (128 * 256 * 64) < 0.04


def test_usual_frames_hold_no_anomaly_by_construction() -> None:
    for index in range(12):
        assert set(Toytown(split="train").load(index).tags) == {"condition"}


@pytest.mark.parametrize("wrong", [{"height": 16}, {"width": 0}, {"images": 0}])
def test_senseless_parameters_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"toytown is drawn from 32x32 on|wanted at least 1"):
        Toytown(**wrong)  # type: ignore[arg-type]


def test_reading_needs_neither_torch_nor_numba() -> None:
    code = "import sys; from bench.datasets.toytown.scenes import Toytown; Toytown().load(0); "
    code += "sys.exit(bool({'torch', 'numba'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_frame_takes_milliseconds() -> None:
    data = Toytown(images=200)
    data.load(0)
    begin = time.process_time()
    for index in range(30):
        data.load(index)
    assert (time.process_time() - begin) / 30 < 0.1  # about 15 ms; the margin is for slow and shared machines


def test_shapes_cover_the_pixels_whose_centres_lie_inside() -> None:
    # On a 4 x 4 canvas the centres lie at 1/8, 3/8, 5/8, 7/8 of the height.
    canvas = Canvas(4, 4, dark=False)
    canvas.rect(0.3, 0.1, 0.7, 0.4, (1, 2, 3), 5, 9.0)
    assert canvas.labels.tolist() == [[255, 5, 5, 255], [255, 5, 5, 255], [255] * 4, [255] * 4]
    canvas.polygon(((0.0, 0.0), (0.0, 1.0), (1.0, 1.0)), (9, 9, 9), 6, 8.0)  # the lower left half with its diagonal
    assert (canvas.labels == 6).tolist() == np.tri(4, dtype=bool).tolist()
    canvas.ellipse(0.5, 0.5, 0.45, 0.45, (7, 7, 7), 7, 7.0)
    assert (canvas.labels == 7).sum() == 12  # all but the four corners
    canvas.line((0.0, 0.875), (1.0, 0.875), 0.0, (4, 4, 4), 4, 6.0)
    assert (canvas.labels[3] == 4).all()  # as thick as a pixel, however thin


def test_enlarging_and_blurring_keep_a_plain_area_plain() -> None:
    plain = np.full((3, 4), 0.5, np.float32)
    assert (enlarge(plain, 17, 23) == 0.5).all()
    assert (blur(np.full((6, 5, 3), 7, np.float32)) == 7).all()
    ramp = enlarge(np.array([[0, 1], [0, 1]], np.float32), 2, 4)
    np.testing.assert_array_equal(ramp, [[0.125, 0.375, 0.625, 0.875]] * 2)
