"""A corruption as part of a data set: the grid in a suite, equal images everywhere, means over it, the cache."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from PIL import Image

from bench import corruptions
from bench.cli.main import main
from bench.core import versions
from bench.core.errors import BadSuite, MissingPackage, UnknownName
from bench.suite import expansion, registry
from bench.suite.cells import Ref
from bench.suite.loader import Loader
from bench.suite.wrappers import corrupted, corruption_cache
from bench.suite.wrappers.corruption_cache import Cache

TOYTOWN = {"split": "val", "images": 3, "height": 48, "width": 64}
FOG = {"name": "gaussian_noise", "severity": 3}


def write(tmp_path, datasets, **more):
    path = tmp_path / "suite.yaml"
    text = {"protocols": ["misclassification"], "models": ["toynet"], "datasets": datasets, "methods": ["msp"]} | more
    path.write_text(yaml.safe_dump(text))
    return path


def images(dataset, workers=0, ref=None):
    with Loader(dataset, ref, workers) as loader:
        return {sample.id: sample.image() for sample in loader.samples(range(dataset.count))}


def build(**params):
    return registry.build("dataset", "toytown", TOYTOWN | params, where="test")


def test_an_image_is_what_the_corruption_makes_of_it_under_a_seed_of_its_own():
    plain, noisy = build(), build(corruption=FOG | {"seed": 7})
    for index in range(3):
        clean, sample = plain.load(index), noisy.load(index)
        random = np.random.RandomState(corruptions.seed_of(7, clean.id, "gaussian_noise", 3))
        assert np.array_equal(sample.image(), corruptions.corrupt(clean.image(), "gaussian_noise", 3, random))
        assert np.array_equal(sample.labels, clean.labels) and (sample.id, sample.tags) == (clean.id, clean.tags)
    assert noisy.digest() != plain.digest()


def test_images_do_not_depend_on_workers_or_order():
    params = TOYTOWN | {"corruption": FOG | {"seed": 0}}
    dataset = build(corruption=FOG)
    alone = images(dataset)
    together = images(dataset, workers=2, ref=Ref("dataset", "toytown", params, "corrupted", params))
    assert all(np.array_equal(alone[name], together[name]) for name in alone)
    backwards = {index: dataset.load(index).image() for index in (2, 1, 0)}
    assert np.array_equal(backwards[0], alone[dataset.ids()[0]])


def test_a_grid_is_one_entry_and_every_corruption_a_data_set(tmp_path):
    grid = {"names": ["fog", "snow"], "severities": [1, 4]}
    plan = expansion.load(write(tmp_path, [{"toytown": TOYTOWN}, {"toytown": TOYTOWN | {"corruptions": grid}}]))
    labels = [cell.dataset.label.rpartition("+")[2] for cell in plan.cells]
    assert labels[1:] == ["fog-1", "fog-4", "snow-1", "snow-4"]
    assert len({cell.key for cell in plan.cells}) == 5
    spelled = plan.cells[2].spelled()["dataset"]["params"]["corruption"]
    assert spelled == {"name": "fog", "severity": 4, "order": "rgb", "seed": 0}
    again = tmp_path / "again.yaml"
    again.write_text(plan.text)
    assert [cell.key for cell in expansion.load(again).cells] == [cell.key for cell in plan.cells]
    assert [cell.dataset.label for cell in expansion.load(again).cells] == [cell.dataset.label for cell in plan.cells]


def test_the_names_all_and_source_are_the_librarys_and_the_source_systems(tmp_path):
    for name, count in (("all", 19 * 5), ("source", 15 * 5)):
        plan = expansion.load(write(tmp_path, [{"toytown": TOYTOWN | {"corruptions": {"names": name}}}]))
        assert len(plan.cells) == count


def test_another_seed_is_another_cell_and_another_image(tmp_path):
    entry = [{"toytown": TOYTOWN | {"corruption": FOG}}]
    cells = [expansion.load(write(tmp_path, entry, seed=seed)).cells[0] for seed in (0, 1)]
    first, second = (images(cell.dataset.build()) for cell in cells)
    assert cells[0].key != cells[1].key
    assert all(not np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("entry", "error", "words"),
    [
        ({"corruption": {"name": "fogg", "severity": 1}}, UnknownName, "did you mean 'fog'"),
        ({"corruption": {"name": "fog", "severity": 6}}, BadSuite, r"corruption.severity is 6, wanted"),
        ({"corruption": {"name": "fog", "severity": True}}, BadSuite, r"corruption.severity is True"),
        ({"corruption": "fog"}, BadSuite, r"corruption is 'fog', wanted \{name: fog"),
        ({"corruption": {"name": "fog", "severity": 1, "seed": 3}}, BadSuite, "the seed is the suite's"),
        ({"corruptions": ["fog"]}, BadSuite, r"wanted \{names: all, source or a list"),
        ({"corruptions": {"names": "fog"}}, BadSuite, r"wanted \{names: all, source or a list"),
        ({"corruptions": {"names": "all"}, "corruption": FOG}, BadSuite, "exclude each other"),
    ],
)
def test_what_is_no_corruption_is_refused(tmp_path, entry, error, words):
    with pytest.raises(error, match=words):
        expansion.load(write(tmp_path, [{"toytown": TOYTOWN | entry}]))


def test_a_missing_package_stops_the_check_and_not_the_run(monkeypatch):
    def lacking(*_, **__):
        raise MissingPackage("frost needs the extra corruptions")

    monkeypatch.setattr(corruptions, "corrupt", lacking)
    with pytest.raises(MissingPackage):
        build(corruption={"name": "frost", "severity": 1}).check()


def test_summaries_over_corruptions_families_and_severities(tmp_path):
    grid = {"names": ["fog", "snow", "shot_noise"], "severities": [1, 4]}
    rules = [
        {"name": "all", "protocol": "*", "corruption": "*"},
        {"name": "family", "protocol": "misclassification", "each": "family"},
        {"name": "source", "protocol": "misclassification", "each": "source_family"},
        {"name": "severity", "protocol": "misclassification", "each": "severity", "family": "weather"},
        {"name": "one", "protocol": "misclassification", "corruption": "sn*", "severity": 4},
    ]
    datasets = [{"toytown": TOYTOWN}, {"toytown": TOYTOWN | {"corruptions": grid}}]
    asked = list(expansion.load(write(tmp_path, datasets, summaries=rules)).summaries_asked())
    short = {
        entry["name"]: [label.rpartition("+")[2] for label in entry["datasets"]]
        for entry in asked
        if entry["protocol"] == "misclassification"
    }
    assert short == {
        "all": ["fog-1", "fog-4", "snow-1", "snow-4", "shot_noise-1", "shot_noise-4"],
        "family: weather": ["fog-1", "fog-4", "snow-1", "snow-4"],
        "family: noise": ["shot_noise-1", "shot_noise-4"],
        "source: weather": ["fog-1", "fog-4", "snow-1", "snow-4"],
        "source: noise": ["shot_noise-1", "shot_noise-4"],
        "severity: severity 1": ["fog-1", "snow-1"],
        "severity: severity 4": ["fog-4", "snow-4"],
        "one": ["snow-4"],
    }


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(corruption_cache.FOLDER, "")
    monkeypatch.setenv(corruption_cache.GIGABYTES, "")
    corruption_cache.use(tmp_path / "cache", 1.0)
    return Cache.of_this_process()


def kept(cache):
    return sorted(cache.folder.glob("??/*.npy"))


def test_a_cached_image_is_the_same_and_is_not_made_again(cache, monkeypatch):
    dataset = build(corruption=FOG)
    first = images(dataset)
    assert len(kept(cache)) == 3
    monkeypatch.setattr(corruptions, "corrupt", None)  # whoever corrupts now fails
    again = images(dataset)
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_the_cache_answers_for_these_pixels_alone(cache, monkeypatch):
    images(build(corruption=FOG))
    images(build(corruption=FOG, seed=5))  # of the drawing: other pixels under the same ids
    images(build(corruption=FOG | {"seed": 1}))
    images(build(corruption=FOG | {"order": "bgr"}))
    monkeypatch.setattr(versions, "NUMBERS", {**versions.NUMBERS, "corruptions": -1})
    images(build(corruption=FOG))
    assert len(kept(cache)) == 15


def test_what_is_no_whole_image_is_made_again(cache):
    dataset = build(corruption=FOG)
    first = images(dataset)
    for path, content in zip(kept(cache), (b"", kept(cache)[0].read_bytes()[:100], b"junk"), strict=True):
        path.write_bytes(content)
    again = images(dataset)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert all(np.load(path).shape == (48, 64, 3) for path in kept(cache))


def test_the_limit_holds_and_what_was_used_last_stays(cache):
    image = np.zeros((10, 100, 3), np.uint8)
    now = time.time()
    for index in range(10):
        cache.put(f"{index:064x}", image)
        os.utime(cache._path(f"{index:064x}"), (now + index, now + index))
    assert cache.get(f"{2:064x}", image.shape) is not None
    os.utime(cache._path(f"{2:064x}"), (now + 20, now + 20))
    cache.limit = 5 * 3200
    cache.clear()
    assert {path.stem[-1] for path in kept(cache)} == {"2", "7", "8", "9"}
    for index in range(100, 200):
        cache.put(f"{index:064x}", image)
        assert sum(path.stat().st_size for path in kept(cache)) <= cache.limit + 3200


def test_what_a_killed_process_left_is_cleared(cache):
    cache.put("ab" + "0" * 62, np.zeros((2, 2, 3), np.uint8))
    draft = cache.folder / "ab" / ".abc.npy.x.part"
    draft.write_bytes(b"half")
    cache.clear()
    assert draft.exists()  # somebody may be writing it
    os.utime(draft, (0, 0))
    cache.clear()
    assert not draft.exists() and len(kept(cache)) == 1


def test_reading_plain_images_imports_no_compiler():
    code = (
        "import sys; from bench.suite.wrappers import corrupted; from bench.suite import loader; "
        "print(*{'torch', 'numba'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_labels_tell_the_orders_apart():
    assert corrupted.parsed({"name": "snow", "severity": 2, "order": "bgr"}, where="").label == "snow-2-bgr"


def test_hidden_frames_stay_hidden():
    data = registry.build(
        "dataset", "smiyc", {"track": "RoadAnomaly21", "split": "test", "corruption": FOG}, where="test"
    )
    assert not data.annotations and "kept by the organisers" in data.hidden


@pytest.mark.parametrize(("size", "status"), [((31, 64), 2), ((32, 32), 0)])
def test_images_too_small_to_be_corrupted_are_named_once_for_all_cells(tmp_path, monkeypatch, capsys, size, status):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    for folder in ("images", "labels"):
        (tmp_path / "mine" / folder).mkdir(parents=True)
    for name, (height, width) in (("a", (40, 50)), ("b", size)):
        Image.new("RGB", (width, height)).save(tmp_path / "mine" / "images" / f"{name}.png")
        mask = np.zeros((height, width), np.uint8)
        mask[5:9] = 1
        Image.fromarray(mask).save(tmp_path / "mine" / "labels" / f"{name}.png")
    suite = tmp_path / "small.yaml"
    suite.write_text(
        "protocols: [anomaly]\nmodels: [toynet]\nmethods: [msp, energy]\ndatasets:\n  - folder: {images: mine/images/*,"
        " labels: mine/labels/*, anomaly: [1], usual: [0], corruptions: {names: [fog, contrast], severities: [1, 5]}}\n"
    )
    assert main(["check", str(suite)]) == status
    if status:
        (line,) = capsys.readouterr().err.splitlines()
        small = tmp_path / "mine" / "images" / "b.png"
        assert line.startswith(f"bench: {small} is 31x64, and corruptions need 32x32, which 8 of 8 cells ask for; ")
