"""Which images are shown, that their pictures say what was counted, and that no picture outlives its figures."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import NETWORK, write_suite
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from running import Silent, metrics

from bench.api import CITYSCAPES, IGNORE, Metric
from bench.cli.main import main
from bench.core.errors import CannotWrite, CellsFailed, MissingData
from bench.counts.tally import Counts, Tally, key_pixels
from bench.report import merge_runs
from bench.results import gallery, pictures, store
from bench.run import engine
from bench.run.engine import Options
from bench.run.executors import dispatch
from bench.suite import expansion as suites

META = """
protocols: [anomaly, {components: {min_predicted: 6, min_truth: 4}}]
models:
  - python: {factory: "net.py:build", label: tiny}
datasets:
  - toytown: {split: anomaly, images: 6, height: 32, width: 64}
methods:
  - entropy: {normalised: true}
  - entropy_meta: {threshold: 0.995, label: unfitted}
  - entropy_meta:
      threshold: 0.995
      label: fitted
      fit: {data: {toytown: {split: anomaly, images: 8, height: 32, width: 64, seed: 1}}}
bootstrap: 10
"""
GRID = """
protocols: [misclassification]
models:
  - python: {factory: "net.py:build", label: tiny}
datasets:
  - toytown: {split: val, images: 6, height: 32, width: 64, label: Town}
  - toytown:
      split: val
      images: 6
      height: 32
      width: 64
      label: Town
      corruptions: {names: [gaussian_noise, brightness], severities: [1, 3]}
methods: [msp, entropy]
bootstrap: 10
"""


class Told(Silent):
    """A Reporter that keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def tell(self, line):
        self.lines.append(line)


def run(path, folder, *, only=None, reporter=None, **options):
    suite = suites.load(path)
    suite = suite.only(only) if only else suite
    asked = Options(**{"workers": 0, "gallery": 4} | options)
    return list(engine.run(suite, folder, asked, reporter or Told()))


def written(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "net.py").write_text(NETWORK)
    (folder / "suite.yaml").write_text(text)
    return folder / "suite.yaml"


def content(folder):
    """Every file of the galleries by its place."""
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in (folder / "gallery").rglob("*") if path.is_file()
    }


def times(folder):
    return {path: path.stat().st_mtime_ns for path in (folder / "gallery").rglob("*") if path.is_file()}


def indexed(path):
    """The indices of a PNG, [h, w], and its colours, [n, 3]."""
    with Image.open(path) as picture:
        assert picture.mode == "P"
        return np.array(picture), np.array(picture.getpalette()).reshape(-1, 3)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A run with a gallery; only read."""
    folder = tmp_path_factory.mktemp("drawn")
    run(write_suite(folder), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """A run of which every image is shown, with its maps beside it; only read."""
    folder = tmp_path_factory.mktemp("every")
    path = write_suite(folder)  # every image has errors, not every one has an anomaly
    path.write_text(path.read_text().replace("[anomaly, misclassification,", "[misclassification, anomaly,"))
    run(path, folder / "run", gallery=10, keep_maps=True)
    return folder / "run"


@pytest.fixture
def copy(drawn, tmp_path):
    shutil.copytree(drawn, tmp_path / "copy")
    return tmp_path / "copy"


def limits_of(run, result):
    counts = {name.removeprefix("counts."): array for name, array in run.arrays(result, "counts.").items()}
    return pictures.thresholds(Counts.from_arrays(counts))


def shown(folder):
    return gallery.read(store.read_run(folder))


def dataset():
    return suites.registry.build(
        "dataset", "toytown", {"split": "anomaly", "images": 10, "height": 32, "width": 64}, where="test"
    )


# Levels and colours.


def test_levels_by_hand():
    """100 pixels with the scores 1 to 100: the highest tenth begins at 91, the highest hundredth is 100 alone."""
    tally = Tally(2)
    score = np.arange(1, 101, dtype=np.float32).reshape(10, 10)
    tally.add(key_pixels(score, (score > 50).astype(np.uint8), 2))
    limits = pictures.thresholds(tally.counts())
    assert limits.shape == (51,) and limits[17 - 1] == 91 and limits[34 - 1] == 100
    assert np.isinf(limits[34:]).all(), "no single pixel is less than a hundredth of 100"
    found = pictures.levels(score, limits)
    assert found[0, 0] == 0 and found[9, 0] == 17 and found[8, 9] < 17 and found[9, 9] == 34
    assert pictures.levels(np.array([[-5, 1000]], np.float32), limits).tolist() == [[0, 34]]


def test_a_score_that_many_pixels_share_stands_where_all_of_them_are_let_in():
    """Nine of ten pixels tie at the top: not even the highest tenth can hold them."""
    tally = Tally(1)
    score = np.array([[0] + [1] * 9], np.float32)
    tally.add(key_pixels(score, np.zeros((1, 10), np.uint8), 1))
    limits = pictures.thresholds(tally.counts())
    assert pictures.levels(score, limits).tolist() == [[0] * 10]
    assert np.isinf(pictures.thresholds(Tally(1).counts())).all()


@given(st.lists(st.integers(-40, 40), min_size=1, max_size=300), st.booleans())
def test_a_level_holds_as_many_pixels_as_its_share_allows_and_no_more(values, folded):
    tally = Tally(1)
    score = np.array([values], np.float32) / 7
    tally.add(key_pixels(score, np.zeros(score.shape, np.uint8), 1))
    if folded:
        tally.fold()
    limits = pictures.thresholds(tally.counts())
    assert (np.diff(limits[np.isfinite(limits)]) >= 0).all()
    for level, limit in enumerate(limits, 1):
        allowed = len(values) * 10 ** (-3 * level / 51) + 1e-9
        assert (score >= limit).sum() <= allowed
        below = score[score < limit]
        assert not below.size or (score >= below.max()).sum() > allowed, "a lower threshold would do"


def test_the_colours_of_the_levels_grow_lighter_and_those_of_classes_differ():
    heat = np.array(pictures.heat())
    assert heat.shape == (52, 3) and heat[0].max() < 40 and heat[-1].min() > 150
    linear = (heat / 255) ** 2.2
    assert (np.diff(linear @ [0.2126, 0.7152, 0.0722]) > 0).all()
    assert pictures.class_colours(CITYSCAPES)[CITYSCAPES.index("sky")] == (70, 130, 180)
    assert pictures.class_colours(("car", "road")) == ((0, 0, 142), (128, 64, 128))
    for count in (1, 7, 30):
        own = pictures.class_colours([f"class {n}" for n in range(count)])
        assert len(set(own)) == count and pictures.VOID not in own


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((128, 256), (128, 256)), ((1024, 2048), (512, 1024)), ((2048, 1000), (1024, 500)), ((1, 5000), (1, 1024))],
)
def test_a_picture_is_as_large_as_its_image_or_fits(size, wanted):
    assert pictures.size_of(size) == wanted


def test_pixels_of_maps_are_taken_and_not_mixed():
    array = np.arange(24, dtype=np.uint8).reshape(4, 6)
    assert pictures.taken(array, (4, 6)).tolist() == array.tolist()
    assert pictures.taken(array, (2, 3)).tolist() == [[7, 9, 11], [19, 21, 23]]
    assert pictures.taken(array, (1, 2)).tolist() == [[13, 16]]


def test_what_is_larger_than_a_picture_is_drawn_smaller(tmp_path):
    random = np.random.default_rng(0)
    photograph = random.integers(0, 255, (700, 1400, 3), np.uint8)
    pictures.write_photograph(tmp_path / "a.webp", photograph, (512, 1024))
    score = random.standard_normal((1024, 2048)).astype(np.float32)
    limits = np.quantile(score, 1 - 10 ** (-3 * np.arange(1, 52) / 51)).astype(np.float32)
    pictures.write_map(tmp_path / "b.png", score, limits)
    with Image.open(tmp_path / "a.webp") as picture:
        assert picture.size == (1024, 512)
    levels, _ = indexed(tmp_path / "b.png")
    assert levels.shape == (512, 1024)
    assert (levels == pictures.levels(score, limits)[1::2, 1::2]).all()
    assert (levels >= 17).mean() == pytest.approx(0.1, rel=0.02), "a share of pixels stays that share"


# The choice.


def per_image(run, result, name):
    arrays = run.arrays(result, "images.", "ids")
    return dict(zip(map(str, arrays["ids"]), arrays[f"images.{name}"], strict=True))


def test_the_worst_the_median_and_the_best_of_the_leading_method_are_shown(drawn):
    found = store.read_run(drawn)
    (one,) = gallery.read(found)
    assert (one.model, one.dataset) == ("tiny", found.results[0].labels.dataset)
    mine = [result for result in found.results if result.labels.protocol == "anomaly"]
    best = max(mine, key=lambda result: result.metrics["auroc"].value)
    ranked = sorted((value, sample) for sample, value in per_image(found, best, "auroc").items() if value == value)
    wanted = [ranked[0], ranked[1], ranked[(len(ranked) - 1) // 2], ranked[-1]]
    assert [shot.sample for shot in one.shots[:4]] == [sample for _, sample in wanted]
    words = ["worst", "second worst", "median", "best"]
    for word, (value, _), shot in zip(words, wanted, one.shots, strict=False):
        assert shot.reasons[0] == f"{word} AUROC of {best.labels.method} (anomaly), {100 * value:.1f} %"
    assert 4 <= len(one.shots) <= 6
    worst = {
        protocol: next(shot for shot in one.shots if f"({protocol})" in shot.reason and "worst" in shot.reason)
        for protocol in ("misclassification", "miou", "components[min_predicted=6,min_truth=4]")
        if any(f"({protocol})" in shot.reason for shot in one.shots)
    }
    assert "misclassification" in worst
    wrong = [result for result in found.results if result.labels.protocol == "misclassification"]
    best = max(wrong, key=lambda result: result.metrics["auroc"].value)
    values = per_image(found, best, "auroc")
    assert worst["misclassification"].sample == min(values, key=values.get)


def test_the_figures_of_a_shot_are_those_of_its_image(drawn):
    found = store.read_run(drawn)
    (one,) = gallery.read(found)
    seen = 0
    for result in found.results:
        for shot in one.shots:
            mine = shot.figures[(result.labels.method or "")][result.labels.protocol]
            for name, value in mine.items():
                assert value == per_image(found, result, name)[shot.sample]
                seen += 1
            ap = per_image(found, result, "ap").get(shot.sample) if "ap" in result.metrics else None
            assert ("ap" in mine) == (ap is not None and bool(np.isfinite(ap)))
    assert seen > 50


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_more_and_fewer_samples(count, every):
    found = store.read_run(every)
    mine = [result for result in found.results if result.labels.protocol == "misclassification"]
    picks = gallery.choose(found, mine, count)
    words = {1: ["worst"], 2: ["worst", "best"], 3: ["worst", "median", "best"]}
    words[7] = ["worst", "second worst", "third worst", "fourth worst", "median", "sixth worst", "best"]
    known = [pick.reasons[0].partition(" AUROC")[0] for pick in picks]
    assert known == words[count] or (count == 7 and sorted(known) == sorted([*words[7][:5], "best", "sixth worst"]))


def test_no_image_is_shown_twice(every):
    (one,) = shown(every)
    samples = [shot.sample for shot in one.shots]
    assert sorted(samples) == sorted(dataset().ids())
    assert any(len(shot.reasons) > 1 for shot in one.shots)


@pytest.mark.parametrize(
    ("unit", "value", "words"), [("rate", 0.12345, "12.3 %"), ("number", 10.0, "10"), ("number", 0.0012345, "0.001234")]
)
def test_figures_in_words(unit, value, words):
    assert gallery.shown(Metric("AP", "", unit=unit), value) == words


def test_a_class_map_alone_is_shown_by_its_own_figure(tmp_path):
    kept = [line for line in META.splitlines() if line.startswith(("models", "  - python", "datasets", "  - toytown"))]
    run(written(tmp_path / "suite", "\n".join(["protocols: [miou]", *kept])), tmp_path / "run")
    (one,) = shown(tmp_path / "run")
    assert one.shots[0].reason.startswith("worst mIoU of the class map, ")
    assert all(not shot.maps and shot.prediction for shot in one.shots)


def test_a_limited_run_shows_images_that_it_saw(tiny, tmp_path):
    run(tiny, tmp_path / "run", limit=3)
    (one,) = shown(tmp_path / "run")
    assert {shot.sample for shot in one.shots} == set(dataset().ids()[:3])


# The pictures.


def test_truth_class_map_and_photograph_are_those_of_the_sample(every):
    data = dataset()
    (one,) = shown(every)
    predictions = next((every / "spool").rglob("predictions"))
    for shot in one.shots:
        sample = data.load(list(data.ids()).index(shot.sample))
        assert shot.size == shot.drawn == sample.size == (32, 64)
        with Image.open(shot.image) as picture:
            assert (np.array(picture.convert("RGB")) == sample.image()).all()
        predicted = np.load(predictions / f"{shot.sample}.npy")
        assert (indexed(shot.prediction)[0] == predicted).all()
        assert (indexed(shot.truths["anomaly"])[0] == sample.anomaly).all()
        assert (indexed(shot.truths["classes"])[0] == sample.labels).all()
        wrong = np.where(sample.labels == IGNORE, IGNORE, sample.labels != predicted)
        assert (indexed(shot.truths["errors"])[0] == wrong).all()
        assert shot.truth == shot.truths["anomaly"]
        colours = indexed(shot.truths["classes"])[1]
        assert [tuple(colour) for colour in colours[: len(CITYSCAPES)]] == [*pictures.STREETS.values()]
        assert tuple(colours[IGNORE]) == pictures.VOID
    for kind in ("anomaly", "classes", "errors"):
        names = dict(one.legends[kind])
        shades = indexed(one.shots[0].truths[kind])[1]
        assert [pictures.hexadecimal(tuple(shade)) for shade in shades[: len(names)]] == [*names.values()]


def test_the_colours_of_a_prediction_are_named_where_the_data_set_has_no_classes(tmp_path, monkeypatch):
    data = dataset()
    scene = next(scene for scene in map(data.load, range(10)) if (scene.anomaly == 1).any())
    for kind, pixels in {"images": scene.image(), "labels": scene.anomaly}.items():
        (tmp_path / "data" / kind).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "data" / kind / "0.png")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    folder = "{folder: {images: data/images/*.png, labels: data/labels/*.png, anomaly: [1], usual: [0], ignore: [255]}}"
    text = META.partition("datasets:")[0] + f"datasets: [{folder}]\nmethods: [msp]\nbootstrap: 10\n"
    run(written(tmp_path / "suite", text), tmp_path / "run")
    (one,) = shown(tmp_path / "run")
    assert [name for name, _ in one.legends["classes"]] == list(CITYSCAPES)
    assert one.shots[0].truths.keys() == {"anomaly"}


def test_every_map_has_the_level_of_the_score_that_was_counted(every):
    """Against the maps that the run kept: the highest share of all counted pixels, by sorting them."""
    data = dataset()
    (one,) = shown(every)
    methods = ["msp", "maxlogit", "energy[temperature=2]", "entropy"]
    assert all(list(shot.maps) == methods for shot in one.shots) and not one.left_out
    for method in methods:
        stem = method if method.isalnum() else "energy-"
        (kept,) = [path for path in (every / "spool").rglob("float32") if path.parent.name.startswith(stem)]
        scores, levels, counted = [], [], []
        for shot in one.shots:
            sample = data.load(list(data.ids()).index(shot.sample))
            scores.append(np.load(kept / "scores" / f"{shot.sample}.npy").ravel())
            levels.append(indexed(shot.maps[method])[0].ravel())
            counted.append(sample.labels.ravel() != IGNORE)
        score, level, valid = map(np.concatenate, (scores, levels, counted))
        ordered = np.sort(score[valid])[::-1]
        for step in (1, 9, 17, 30, 34, 45):
            allowed = int(valid.sum() * 10 ** (-3 * step / 51))
            bright = level >= step
            assert (bright & valid).sum() <= allowed
            # Counts are kept by the leading 24 bits, so the pixels beside the edge may stand a step lower.
            surely = score > ordered[allowed] * np.where(ordered[allowed] > 0, 1 + 2**-12, 1 - 2**-12)
            assert bright[surely].all() and not bright[score < ordered[allowed]].any()
    assert [title for _, title in one.scale.ticks] == ["100 %", "10 %", "1 %", "0.1 % or less"]
    assert len(one.scale.colours) == 52
    shades = indexed(one.shots[0].maps["msp"])[1][:52]
    assert [pictures.hexadecimal(tuple(shade)) for shade in shades] == list(one.scale.colours)


def test_a_refined_map_is_shown_refined_or_not_at_all(tmp_path):
    run(written(tmp_path / "suite", META), tmp_path / "run", gallery=6, keep_maps=True)
    found = store.read_run(tmp_path / "run")
    (one,) = gallery.read(found)
    assert one.left_out == {"unfitted": "its map is decided by all images together; --keep-maps keeps it"}
    assert list(one.shots[0].maps) == ["entropy[normalised=True]", "fitted"]
    (result,) = [each for each in found.results if (each.labels.protocol, each.labels.method) == ("anomaly", "fitted")]
    limits = limits_of(found, result)
    changed = False
    for shot in one.shots:
        refined, before = (
            np.load(next((tmp_path / "run/spool").glob(f"*/*/{name}/float32/scores/{shot.sample}.npy")))
            for name in ("fitted", "entropy*")
        )
        assert (indexed(shot.maps["fitted"])[0] == pictures.levels(refined, limits)).all()
        changed |= bool((refined != before).any())
    assert changed, "nothing was refined, so nothing was shown by this test"


def test_stored_outputs_are_shown_too(every, tmp_path):
    """A network that must see the samples of a task together is asked once."""
    maps = next(path for path in (every / "spool").rglob("float32") if path.parent.name == "msp")
    text = f"""
protocols: [anomaly]
models: [{{precomputed: {{scores: {maps}, label: stored}}}}]
datasets:
  - toytown: {{split: anomaly, images: 10, height: 32, width: 64}}
methods: [own]
bootstrap: 10
"""
    reporter = Told()
    run(written(tmp_path / "suite", text), tmp_path / "run", reporter=reporter)
    found = store.read_run(tmp_path / "run")
    (one,) = gallery.read(found)
    assert not reporter.lines and len(one.shots) == 4
    limits = limits_of(found, found.results[0])
    for shot in one.shots:
        assert shot.prediction is None and list(shot.truths) == ["anomaly", "classes"]
        score = np.load(maps / "scores" / f"{shot.sample}.npy")
        assert (indexed(shot.maps["own"])[0] == pictures.levels(score, limits)).all()


# Runs.


def test_figures_do_not_know_of_galleries_and_a_second_run_draws_nothing(tiny, drawn, tmp_path):
    run(tiny, tmp_path / "none", gallery=0)
    assert not (tmp_path / "none" / "gallery").exists() and shown(tmp_path / "none") == []
    assert metrics(tmp_path / "none") == metrics(drawn)
    before, reporter = times(drawn), Told()
    assert run(tiny, drawn, reporter=reporter) == []
    assert times(drawn) == before and reporter.images == 0 and not reporter.lines
    # A run that was finished without a gallery gets one without computing a cell again.
    assert run(tiny, tmp_path / "none") == []
    assert content(tmp_path / "none") == content(drawn)


def test_processes_change_no_picture(tiny, drawn, tmp_path):
    run(tiny, tmp_path / "run", gallery=0)
    run(tiny, tmp_path / "run", processes=2)
    assert content(tmp_path / "run") == content(drawn)


def test_a_run_killed_while_it_draws_goes_on_and_ends_the_same(tiny, drawn, tmp_path, monkeypatch):
    """A kill leaves what the disk holds at that moment: a copy of it, while the third sample is drawn."""
    out, killed = tmp_path / "run", tmp_path / "killed"
    run(tiny, out, gallery=0)
    write_scene = pictures.write_scene

    def write_and_copy(folder, *rest):
        scene = write_scene(folder, *rest)
        if len(list(out.rglob(pictures.LIST))) == 2:
            shutil.copytree(out, killed)
        return scene

    with monkeypatch.context() as patch:
        patch.setattr(pictures, "write_scene", write_and_copy)
        run(tiny, out)
    assert not list(killed.rglob(gallery.INDEX)) and shown(killed) == []
    finished = {path: path.stat().st_mtime_ns for path in killed.rglob(pictures.LIST)}
    assert len(finished) == 2 and content(killed).keys() - {str(path.relative_to(killed)) for path in finished}
    reporter = Told()
    assert run(tiny, killed, reporter=reporter) == []
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "a finished sample was drawn again"
    assert content(killed) == content(out) == content(drawn)


def test_what_was_lost_or_damaged_is_drawn_again(tiny, drawn, copy):
    (one,) = shown(copy)
    one.shots[0].maps["msp"].unlink()
    one.shots[1].image.write_bytes(b"nonsense")
    run(tiny, copy)
    assert content(copy) == content(drawn)


def test_another_number_of_samples_replaces_the_gallery(tiny, copy):
    run(tiny, copy, gallery=1)
    (one,) = shown(copy)
    assert [shot.reason.partition(" ")[0] for shot in one.shots] == ["worst"] * len(one.shots)
    folders = [path for path in (copy / "gallery").glob("*/*/*") if path.is_dir()]
    assert len(folders) == len(one.shots) <= 3


def test_a_gallery_of_results_that_were_made_anew_is_not_shown(tiny, copy):
    run_ = store.read_run(copy)
    (result,) = [one for one in run_.results if one.labels.method == "msp" and one.labels.protocol == "anomaly"]
    path = store.result_path(copy, result.key)
    raw = json.loads(path.read_text())
    raw["depends"]["model"] = "another digest"
    path.write_text(json.dumps(raw))
    assert shown(copy) == []
    before = times(copy)
    assert [one.key for one in run(tiny, copy, gallery=0)] == [result.key]
    assert len(shown(copy)) == 1, "the result is what it was again"
    assert times(copy) == before


def test_only_maps_that_the_run_still_asks_for_are_shown(tiny, copy):
    tiny.write_text(tiny.read_text().replace("[msp, maxlogit,", "[msp,"))
    run(tiny, copy, gallery=0)
    (one,) = shown(copy)
    assert all(list(shot.maps) == ["msp", "energy[temperature=2]", "entropy"] for shot in one.shots)
    assert all("maxlogit" not in shot.figures for shot in one.shots)


def test_merged_runs_have_the_galleries_of_all_under_the_names_that_rows_have(tiny, drawn, copy, tmp_path):
    (one,) = shown(drawn)
    (same,) = gallery.read(merge_runs.opened([str(drawn), str(copy)]))
    assert same == one, "the same gallery twice is shown once"
    tiny.write_text(tiny.read_text().replace("entropy]", "softmax_std]").replace("images: 10", "images: 9"))
    run(tiny, tmp_path / "other")
    both = merge_runs.opened([f"A={drawn}", f"B={tmp_path / 'other'}"])
    first, second = gallery.read(both)
    assert first.shots == one.shots
    there = {result.labels.method for result in both.results if result.labels.method}
    assert set(second.shots[0].maps) <= there and {first.dataset, second.dataset} <= {
        result.labels.dataset for result in both.results
    }


def test_a_narrowed_run_leaves_the_gallery_of_the_whole(tiny, copy, tmp_path):
    before = times(copy)
    run(tiny, copy, only={"method": "msp"})
    assert times(copy) == before
    run(tiny, tmp_path / "part", only={"method": "msp", "protocol": "anomaly"})
    (one,) = shown(tmp_path / "part")
    assert list(one.shots[0].maps) == ["msp"]
    run(tiny, tmp_path / "part")
    (one,) = shown(tmp_path / "part")
    assert len(one.shots[0].maps) == 4


def test_of_a_grid_the_worst_data_set_is_shown_with_the_samples_of_the_clean_one(tmp_path):
    path = written(tmp_path / "suite", GRID)
    run(path, tmp_path / "run")
    found = store.read_run(tmp_path / "run")
    clean, worst = gallery.read(found)
    values = {}
    for result in found.results:
        if "+" in result.labels.dataset:
            values.setdefault(result.labels.method, {})[result.labels.dataset] = result.metrics["auroc"].value
    method = max(values, key=lambda name: sum(values[name].values()))
    name = min(values[method], key=values[method].get)
    assert (clean.dataset, clean.note, worst.dataset) == ("Town", "", name)
    assert worst.note == f"the worst of 4 corrupted data sets by AUROC of {method}, {100 * values[method][name]:.1f} %"
    assert [shot.sample for shot in worst.shots] == [shot.sample for shot in clean.shots]
    assert worst.shots[0].reason == f"on Town: {clean.shots[0].reason}"
    figures = {shot.sample: shot.figures[method]["misclassification"]["auroc"] for shot in worst.shots}
    (result,) = [one for one in found.results if (one.labels.dataset, one.labels.method) == (worst.dataset, method)]
    assert figures == {sample: per_image(found, result, "auroc")[sample] for sample in figures}
    assert worst.shots[0].image.read_bytes() != clean.shots[0].image.read_bytes()
    # Without the clean set the samples are chosen on the worst one; the other's gallery is gone.
    first, rest = GRID.split("  - toytown: {split: val", 1)
    path.write_text(first + rest.split("\n", 1)[1].replace("[1, 3]", "[1]"))
    run(path, tmp_path / "run")
    (alone,) = shown(tmp_path / "run")
    assert alone.shots[0].reason.startswith("worst AUROC of ")
    assert alone.note.startswith("the worst of 2 corrupted data sets by AUROC of ")


def test_what_cannot_be_drawn_is_told_and_costs_no_result(tiny, drawn, tmp_path, monkeypatch):
    def full(path, *_):
        raise CannotWrite(f"{path}: no room left (No space left on device); free some space")

    reporter = Told()
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "write_map", full)
        assert len(run(tiny, tmp_path / "run", reporter=reporter)) == 13
    (line,) = reporter.lines
    assert line.startswith("no gallery of tiny on toytown[") and "no room left" in line
    assert (tmp_path / "run" / "summaries.json").is_file() and shown(tmp_path / "run") == []
    assert run(tiny, tmp_path / "run") == []
    assert content(tmp_path / "run") == content(drawn)


def test_cells_that_failed_are_not_shown_and_cost_nobody_else_a_picture(tiny, tmp_path, monkeypatch):
    plugins = tmp_path / "plugins" / "methods"
    plugins.mkdir(parents=True)
    (plugins / "liar.py").write_text(
        "from bench.api import Method\n\n\nclass Liar(Method):\n    name = 'liar'\n    source = 'nowhere'\n\n"
        "    def score(self, prediction, state):\n        return prediction.max_logit * float('nan')\n"
    )
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "plugins"))
    suites.registry.forget()
    tiny.write_text(tiny.read_text().replace("maxlogit", "liar"))
    try:
        with pytest.raises(CellsFailed, match=r"method liar"):
            run(tiny, tmp_path / "run", only={"protocol": "anomaly"})
        (one,) = shown(tmp_path / "run")
    finally:
        monkeypatch.delenv("BENCH_PLUGINS")
        suites.registry.forget()
    assert list(one.shots[0].maps) == ["msp", "energy[temperature=2]", "entropy"]


def test_a_network_that_fails_while_drawing_costs_its_own_gallery_only(tmp_path, monkeypatch):
    path = written(tmp_path / "suite", GRID.replace("{names: [gaussian_noise, brightness]", "{names: [brightness]"))
    run(path, tmp_path / "run", gallery=0)
    real = pictures.write_scene

    def failing(folder, sample, *rest):
        if "Town-" not in str(folder):
            raise ValueError("no such thing")
        return real(folder, sample, *rest)

    reporter = Told()
    monkeypatch.setattr(pictures, "write_scene", failing)
    run(path, tmp_path / "run", reporter=reporter)
    (line,) = reporter.lines
    assert line.startswith("no gallery of tiny on Town: ") and "no such thing" in line
    (one,) = shown(tmp_path / "run")
    assert one.dataset.startswith("Town+brightness") and len(one.shots) == 4


def test_a_method_whose_fit_is_gone_is_left_out(tmp_path, home):
    text = META.replace("entropy_meta: {threshold: 0.995, label: unfitted}", "msp").replace("[anomaly, {", "[{")
    path = written(tmp_path / "suite", text)
    run(path, tmp_path / "run", gallery=0)
    for fitted in home.rglob("*.safetensors"):
        fitted.unlink()
    assert run(path, tmp_path / "run", gallery=2) == []
    (one,) = shown(tmp_path / "run")
    assert one.left_out == {"fitted": "what it was fitted to is no longer here"}
    assert list(one.shots[0].maps) == ["entropy[normalised=True]", "msp"]


def test_the_network_sees_the_chosen_images_only(tiny, tmp_path, monkeypatch):
    run(tiny, tmp_path / "run", gallery=0)
    tasks = []
    real = dispatch.execute
    monkeypatch.setattr(dispatch, "execute", lambda task, *rest: (tasks.append(task), real(task, *rest))[1])
    reporter = Told()
    run(tiny, tmp_path / "run", reporter=reporter)
    (one,) = shown(tmp_path / "run")
    seen = [index for task in tasks for index in task.pictures.indices]
    assert sorted(dataset().ids()[index] for index in seen) == sorted(shot.sample for shot in one.shots)
    assert reporter.images == reporter.total == len(one.shots) <= 6


def test_the_command_line_shows_four_samples_unless_told_otherwise(tiny, tmp_path, capsys):
    argv = ["run", str(tiny), "--only", "method=msp,protocol=anomaly", "--workers", "0", "--out"]
    assert main([*argv, str(tmp_path / "a")]) == 0
    assert len(shown(tmp_path / "a")[0].shots) == 4
    assert main([*argv, str(tmp_path / "b"), "--gallery", "0"]) == 0
    assert not (tmp_path / "b" / "gallery").exists()
    capsys.readouterr()
    assert main([*argv, str(tmp_path / "b"), "--gallery", "-1"]) == 2
    assert "--gallery" in capsys.readouterr().err


# What is found on disk is not trusted.


def edited(folder, change):
    (path,) = (folder / "gallery").rglob(gallery.INDEX)
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))
    return path


def class_map_cell(raw):
    """A cell without a method: of those with one, every figure stands under a map."""
    mapped = {one["cell"] for one in raw["shots"][0]["maps"].values()}
    return next(key for key, figures in raw["shots"][0]["figures"].items() if "miou" in figures and key not in mapped)


HOSTILE = {
    "another schema": (lambda raw: raw.update(schema=2), r"index.json has schema 2, this version reads 1"),
    "an unknown key": (lambda raw: raw.update(more=1), r"not a gallery of this program: more: Extra inputs"),
    "a name in place of a list": (lambda raw: raw.update(shots="x"), r"shots: Input should be a valid"),
    "a way out": (lambda raw: raw["shots"][0].update(image="../../x.webp"), r"shots.0.image: String should match"),
    "a way out by folder": (lambda raw: raw["shots"][0].update(folder=".."), r"shots.0.folder: String should match"),
    "a script": (lambda raw: raw["shots"][0].update(image="x.svg"), r"shots.0.image: String should match"),
    "a colour that is code": (
        lambda raw: raw["legends"]["classes"][0].update(colour="red;}"),
        r"legends.classes.0.colour: String should match",
    ),
    "a figure that is none": (
        lambda raw: raw["shots"][0]["figures"].update({"0" * 16: {"ap": float("nan")}}),
        r"ap: Input should be a finite number",
    ),
    "too many shots": (lambda raw: raw.update(shots=raw["shots"] * 20), r"shots: List should have at most 64 items"),
    "another size": (lambda raw: raw["shots"][0].update(drawn=[10, 10]), r"is 32 x 64 pixels, wanted 10 x 10"),
    "a map of no method": (
        lambda raw: raw["shots"][0]["maps"].update(x={"file": "none.png", "cell": class_map_cell(raw)}),
        r"none.png is no picture of a gallery",
    ),
    "a heavy file": (lambda raw: raw.update(note="x" * 2**24), r"it has more than 16777216 bytes"),
    "an absent file": (lambda raw: raw["shots"][0].update(image="none.webp"), r"none.webp is no picture of a gallery"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_index_that_says_something_else_is_refused_in_one_line(name, tiny, drawn, copy):
    change, words = HOSTILE[name]
    edited(copy, change)
    with pytest.raises(MissingData, match=words) as caught:
        shown(copy)
    assert "\n" not in str(caught.value) and "gallery" in str(caught.value)
    run(tiny, copy)
    assert content(copy) == content(drawn), "the next run puts it right"


def test_an_index_that_is_no_json_is_refused(copy):
    (path,) = (copy / "gallery").rglob(gallery.INDEX)
    path.write_text("{")
    with pytest.raises(MissingData, match=r"index.json is not a gallery of this program: .*; delete "):
        shown(copy)


def png(size, mode="P"):
    held = io.BytesIO()
    Image.new(mode, size).save(held, "PNG")
    return held.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", r"is no picture of a gallery: it is not an image of the formats PNG, WEBP: it is an empty file"),
        (b"GIF89a" + bytes(40), r"is no picture of a gallery"),
        (png((3000, 3000)), r"is 3000 x 3000 pixels, wanted 32 x 64"),
        (png((64, 32))[:-30], r"is no picture of a gallery"),
        (bytes(2**23 + 1), r"has 8388609 bytes, wanted a picture of at most"),
    ],
    ids=["empty", "another format", "large", "cut off", "heavy"],
)
def test_a_file_that_is_not_the_picture_is_refused(data, words, copy):
    shown(copy)[0].shots[0].truths["anomaly"].write_bytes(data)
    with pytest.raises(MissingData, match=words):
        shown(copy)


def test_a_link_out_of_the_run_is_refused(copy, tmp_path):
    path = shown(copy)[0].shots[0].image
    path.rename(tmp_path / "elsewhere.webp")
    path.symlink_to(tmp_path / "elsewhere.webp")
    with pytest.raises(MissingData, match=r"image.webp leads out of the run"):
        shown(copy)


def test_a_thumbnail_is_a_small_picture_of_any_kind(drawn):
    shot = shown(drawn)[0].shots[0]
    for path in (shot.image, shot.prediction, shot.maps["msp"]):
        with Image.open(io.BytesIO(gallery.thumbnail(path, 40))) as picture:
            assert picture.format == "WEBP" and picture.size == (40, 20)
    with Image.open(io.BytesIO(gallery.thumbnail(shot.image))) as picture:
        assert picture.size == (64, 32), "never larger than it is"
    with pytest.raises(MissingData, match=r"is no picture of a gallery"):
        gallery.thumbnail(Path(shot.image.parent / pictures.LIST))
