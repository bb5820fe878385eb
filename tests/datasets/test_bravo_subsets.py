"""BRAVO's nine subsets, written from synthetic scenes and read back; what is wrong with a copy is one line."""

import re
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from bench.core.errors import AbsentData, MissingData
from bench.data.layouts import bravo, writers
from bench.datasets.bravo import Bravo, Subset
from bench.datasets.toytown.scenes import Toytown
from bench.metrics.bravo_index import SUBSETS

SCENES = Toytown(split="anomaly", images=18, height=32, width=64)
NAMES = get_args(Subset)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    writers.write("bravo", SCENES, root / "bravo")
    return root


@pytest.fixture
def data(home, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(home))
    return home / "bravo"


@pytest.fixture
def copy(tmp_path, monkeypatch):
    writers.write("bravo", SCENES, tmp_path / "bravo")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    return tmp_path / "bravo"


def test_the_reader_and_the_index_name_the_same_subsets():
    assert list(NAMES) == list(SUBSETS)


@pytest.mark.parametrize("subset", NAMES)
def test_every_subset_is_read_as_it_was_written(subset, data):
    reader = Bravo(subset, "present", frames=2)
    reader.check()
    numbers = set()
    for sample in map(reader.load, range(2)):
        number = int(re.search(r"\d+$", sample.id)[0])
        scene = SCENES.load(number)
        numbers.add(number)
        np.testing.assert_array_equal(sample.anomaly, (scene.anomaly == 1).astype(np.uint8))
        np.testing.assert_array_equal(sample.labels, bravo._labels(scene))
        assert not ((sample.labels == 255) & (sample.anomaly == 1)).any()
        if subset != "SMIYC":
            np.testing.assert_array_equal(sample.image(), scene.image())
    assert numbers == {NAMES.index(subset), NAMES.index(subset) + 9}
    for base in reader.bases.values():
        assert base.startswith(f"bravo_{'ACDC' if subset.startswith('ACDC') else subset}/")


@pytest.mark.parametrize("subset", NAMES)
def test_images_alone_have_no_truth(subset, data):
    reader = Bravo(subset, frames=2)
    assert not reader.annotations
    assert "kept by the organisers" in reader.hidden
    sample = reader.load(0)
    assert sample.labels is None
    assert sample.anomaly is None
    assert sample.image().shape == (32, 64, 3)
    assert reader.ids() == Bravo(subset, "present", frames=2).ids()


def test_names_with_spaces_and_their_official_names(data):
    bases = Bravo("synobjs", frames=2).bases
    assert bases == {
        "polar_bear_6": "bravo_synobjs/polar bear/6",
        "polar_bear_15": "bravo_synobjs/polar bear/15",
    }


@pytest.mark.parametrize("ending", ["_gt.png", "_mask.png"])
def test_a_label_or_mask_that_is_absent_is_named(ending, copy):
    path = copy / "bravo_synobjs" / "polar bear" / f"15{ending}"
    path.unlink()
    with pytest.raises(MissingData, match=re.escape(f"{path} does not exist")):
        Bravo("synobjs", "present", frames=2).check()
    Bravo("synobjs", frames=2).check()


def test_published_counts_are_held_where_there_are_any(copy):
    with pytest.raises(MissingData, match=r"holds 2 frames, wanted 656"):
        Bravo("synobjs").check()
    assert Bravo("ACDCfog").count == 2
    Bravo("ACDCfog", "present").check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask, labels: Image.new("L", (8, 8)).save(mask), "is 8x8"),
        (lambda mask, labels: Image.new("L", (64, 32), 19).save(labels), "holds the value 19"),
        (lambda mask, labels: Image.new("RGB", (64, 32), (1, 2, 3)).save(mask), "colour"),
        (lambda mask, labels: mask.write_bytes(mask.read_bytes()[: mask.stat().st_size // 2]), "15_mask"),
    ],
)
def test_damaged_truth_is_refused_in_one_line(change, message, copy):
    folder = copy / "bravo_synobjs" / "polar bear"
    change(folder / "15_mask.png", folder / "15_gt.png")
    with pytest.raises(MissingData, match=message) as error:
        Bravo("synobjs", "present", frames=2).check()
    assert "\n" not in str(error.value)


def test_a_changed_mask_is_another_data_set(copy):
    before = Bravo("synobjs", "present", frames=2).digest()
    path = copy / "bravo_synobjs" / "polar bear" / "15_mask.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    assert Bravo("synobjs", "present", frames=2).digest() != before


def test_without_the_folder_the_next_step_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    with pytest.raises(AbsentData, match=r"bravo_synrain.*bench data fetch bravo"):
        Bravo("synrain").check()
