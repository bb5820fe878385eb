"""Synthetic twins of published data sets: drawn once, in their files, read by their readers."""

import numpy as np
import pytest

from bench.core import files
from bench.core.errors import BadSuite
from bench.data.layouts import twins
from bench.data.layouts.twins import ToytownLayout
from bench.datasets.toytown.scenes import Toytown
from bench.suite import expansion, registry

SMALL = {"scenes": 4, "height": 48, "width": 96}


@pytest.mark.parametrize("twin", twins._TWINS)
def test_every_twin_is_whole_and_read_by_its_own_reader(twin):
    data = ToytownLayout(twin, **SMALL | {"scenes": twins._TWINS[twin].least})
    data.check()
    assert len(data.ids()) == data.count > 0
    values = set()
    for place in range(data.count):
        sample = data.load(place)
        truth = sample.labels if "labels" in data.annotations else sample.anomaly
        assert sample.image().shape == (*sample.size, 3) and truth.shape == sample.size
        values |= set(np.unique(truth).tolist())
    assert len(values - {255}) > 1


def test_it_is_drawn_once_and_shows_the_scenes_of_toytown(monkeypatch):
    data = ToytownLayout("cityscapes", **SMALL)
    data.check()
    scenes = Toytown("val", 4, 48, 96)
    assert all(np.array_equal(data.load(place).image(), scenes.load(place).image()) for place in range(4))
    monkeypatch.setattr(Toytown, "load", None)  # whoever draws now fails
    assert ToytownLayout("cityscapes", **SMALL).digest() == data.digest()


def test_a_drawing_that_was_interrupted_is_begun_again(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Toytown, "load", interrupted)
        ToytownLayout("cityscapes", **SMALL).check()
    assert [path.name for path in (files.home() / "toytown").iterdir() if path.is_dir()] == []
    ToytownLayout("cityscapes", **SMALL).check()


def test_the_settings_of_the_machine_are_for_real_data(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nowhere"))
    data = ToytownLayout("fishyscapes_static", **SMALL)
    assert data.ids() and files.data("fishyscapes") == tmp_path / "nowhere" / "fishyscapes"


def test_too_few_scenes_and_too_small_ones_are_refused():
    for params, words in (
        ({"scenes": 2}, "wanted at least 4"),
        ({"twin": "bravo_smiyc", "scenes": 8}, "wanted at least 9"),
        ({"height": 8}, "32x32"),
    ):
        with pytest.raises(BadSuite, match=words):
            registry.build("dataset", "toytown_layout", {"twin": "cityscapes"} | params, where="here")


@pytest.mark.parametrize("name", [name for name in expansion.shipped() if name != "demo"])
def test_shipped_suites_load_and_every_real_one_has_a_twin(name):
    plan = expansion.load(expansion.shipped()[name])
    shared = {"cityscapes_c": "toytown_c", "cityscapes_c_full": "toytown_c"}
    shared |= dict.fromkeys(("lost_and_found_meta", "fishyscapes_meta"), "toytown_meta")
    twin = shared.get(name, f"toytown_{name}")
    if name.startswith("toytown"):
        assert "toynet" in {cell.model.name for cell in plan.cells} <= {"toynet", "toynet_entropy_max"}
        assert "Synthetic" in plan.note
    # Flows of _fed are for the published networks (the demo has ToyNet's), and a published table is of its weights.
    elif not name.endswith("_fed") and name != "course_anomaly":
        mine, other = (
            {cell.protocol.name for cell in one.cells} for one in (plan, expansion.load(expansion.shipped()[twin]))
        )
        assert mine == other and not plan.note


def test_the_grid_of_the_source_system_has_sixty_cells_beside_the_clean_one():
    plan = expansion.load(expansion.shipped()["cityscapes_c"])
    corruptions = {cell.dataset.corruption for cell in plan.cells}
    assert len(corruptions) == 61 and {how.severity for how in corruptions if how} == {1, 2, 3, 4}
    asked = {entry["name"]: len(entry["datasets"]) for entry in plan.summaries_asked()}
    assert asked["Mean over the grid"] == 60
    assert sum(size for name, size in asked.items() if "source system" in name) == 60
