"""Cells to results: the same numbers however the work is cut, interrupted and resumed."""

import contextlib
import json
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import write_suite
from running import Silent, clone, metrics, run, until

from bench.core.errors import CellsFailed, RunInUse
from bench.counts.tally import key_pixels
from bench.metrics.protocols.pooled import Misclassification
from bench.results import store
from bench.run import engine, finalise, shard_files
from bench.run.engine import Options
from bench.run.executors import dispatch
from bench.suite import expansion as suites
from bench.suite import registry


def counts(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "cells").glob("*.npz"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undisturbed run; only read."""
    folder = tmp_path_factory.mktemp("whole")
    run(write_suite(folder), folder / "run")
    return folder / "run"


def test_every_cell_gets_a_result_and_a_second_run_finds_nothing_to_do(tiny, whole):
    assert len(metrics(whole)) == 4 * 3 + 1
    before = {path: path.stat().st_mtime_ns for path in (whole / "cells").iterdir()}
    assert run(tiny, whole) == []
    assert before == {path: path.stat().st_mtime_ns for path in (whole / "cells").iterdir()}
    assert not (whole / "work").exists() and not (whole / "spool").exists()


@pytest.mark.parametrize(
    "how",
    [{"workers": 0}, {"workers": 3}, {"shard": 2}, {"shard": 1, "workers": 0}, {"shard": 3, "processes": 2}],
    ids=str,
)
def test_processes_readers_and_shards_change_no_digit(tiny, whole, tmp_path, how):
    run(tiny, tmp_path / "other", **how)
    assert metrics(tmp_path / "other") == metrics(whole)
    assert counts(tmp_path / "other").keys() == counts(whole).keys()
    for path in (whole / "cells").glob("*.npz"):
        with np.load(path) as one, np.load(tmp_path / "other" / "cells" / path.name) as other:
            assert one.files == other.files
            assert all(
                np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f") for name in one.files
            )


def test_a_tally_beyond_its_budget_is_certified_and_still_the_same_in_every_sharding(tiny, tmp_path):
    only = {"method": "maxlogit", "protocol": "misclassification"}
    (exact,) = run(tiny, tmp_path / "exact", only=only)
    tiny.write_text(tiny.read_text() + "budget: 65536\n")  # 10 x 32 x 64 pixels of 4 bytes are more than that
    (one,) = run(tiny, tmp_path / "one", only=only)
    (other,) = run(tiny, tmp_path / "other", only=only, shard=1)
    assert one.metrics == other.metrics
    for name in ("auroc", "ap", "fpr95", "best_f1"):
        known, certified = exact.metrics[name], one.metrics[name]
        assert known.err == 0 < certified.err
        assert abs(known.value - certified.value) <= certified.err


def test_a_killed_run_goes_on_and_ends_the_same_byte_for_byte(tiny, whole, tmp_path):
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "bench", "run", str(tiny), "--out", str(out), "--shard", "1", "--workers", "0"]
    for _ in range(2):
        kill_in_the_middle(command, out)
    left = {path.name for path in out.glob("work/*/phase1-*.npz")}
    assert left, "the kill came too late to show anything"
    before = {path: path.stat().st_mtime_ns for path in out.glob("work/*/phase1-*.npz")}
    assert not list(out.rglob("cells/*.json")) or len(metrics(out)) < len(metrics(whole))
    seen = Silent()
    suite = suites.load(tiny)
    with pytest.MonkeyPatch.context() as patch:
        written = []
        real = shard_files.write
        patch.setattr(shard_files, "write", lambda path, shard: (written.append(path), real(path, shard)))
        list(engine.run(suite, out, Options(shard=1, workers=0), seen))
    assert not set(written) & before.keys(), "a finished shard was computed again"
    assert metrics(out) == metrics(whole)
    assert not list(out.rglob("*.part"))


def kill_in_the_middle(command, out):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=clone())
    until(lambda: len(list(out.glob("work/*/phase*.npz"))) > 12 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_an_edited_method_recomputes_its_own_cells_only(tiny, tmp_path, monkeypatch):
    plugins = tmp_path / "plugins" / "methods"
    plugins.mkdir(parents=True)
    source = (clone() / "methods" / "maxlogit.py").read_text()
    (plugins / "loudest.py").write_text(source.replace('"maxlogit"', '"loudest"'))
    tiny.write_text(tiny.read_text().replace("maxlogit", "loudest"))
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "plugins"))

    def computed():
        registry.forget()  # as a process of its own
        return [result.labels.method for result in run(tiny, tmp_path / "run")]

    assert len(computed()) == 13
    (plugins / "loudest.py").write_text(source.replace('"maxlogit"', '"loudest"') + "\n# edited\n")
    assert computed() == ["loudest"] * 3
    monkeypatch.delenv("BENCH_PLUGINS")
    registry.forget()


def test_a_limited_run_is_partial_and_then_replaced(tiny, tmp_path):
    only = {"method": "msp"}
    limited = run(tiny, tmp_path / "run", only=only, limit=3)
    assert all(result.partial and result.images == 3 for result in limited)
    assert run(tiny, tmp_path / "run", only=only, limit=3) == []
    full = run(tiny, tmp_path / "run", only=only)
    assert len(full) == len(limited) and not any(result.partial for result in full)
    assert run(tiny, tmp_path / "run", only=only, limit=3) == [], "a full result answers the smaller question too"


def test_a_pair_that_does_not_fit_is_not_applicable_and_says_why(tiny, tmp_path):
    text = tiny.read_text().replace("split: anomaly", "split: val")
    tiny.write_text(text)
    found = {result.labels.protocol: result for result in run(tiny, tmp_path / "run", only={"method": "msp"})}
    assert "has no anomaly, which anomaly needs" in found["anomaly"].not_applicable
    assert all(figure.reason == found["anomaly"].not_applicable for figure in found["anomaly"].metrics.values())
    assert not found["misclassification"].not_applicable


def test_two_runs_cannot_own_one_directory(tiny, tmp_path):
    with store.owned(tmp_path / "run"), pytest.raises(RunInUse, match="in use by another bench run"):
        run(tiny, tmp_path / "run")


def test_kept_maps_are_a_spool_that_bench_score_reads_to_the_same_figures(tiny, tmp_path):
    from bench.evaluate import evaluation

    only = {"method": "msp", "protocol": "components*"}
    (result,) = run(tiny, tmp_path / "run", only=only, keep_maps=True)
    (folder,) = {path.parent.parent for path in (tmp_path / "run" / "spool").rglob("scores/*.npy")}
    data = registry.build("dataset", "toytown", {"split": "anomaly", "images": 10, "height": 32, "width": 64}, where="")
    labels = tmp_path / "labels"
    write_labels(data, labels)
    protocol = evaluation.protocol_named("components", {"min_predicted": 6, "min_truth": 4})
    again = evaluation.evaluate(protocol, folder, labels, None, seed=0, resamples=50, budget=2**30)
    assert dict(again.figures) == dict(result.metrics)


def write_labels(data, folder):
    from PIL import Image

    folder.mkdir()
    for index, sample in enumerate(data.ids()):
        Image.fromarray(data.load(index).anomaly).save(folder / f"{sample}.png")


def test_a_method_that_lies_about_its_map_is_named_with_the_image(tiny, tmp_path, monkeypatch):
    folder = tmp_path / "plugins" / "methods"
    folder.mkdir(parents=True)
    (folder / "liar.py").write_text(
        "from bench.api import Method\n\n\nclass Liar(Method):\n    name = 'liar'\n    source = 'nowhere'\n\n"
        "    def score(self, prediction, state):\n        return prediction.max_logit * float('nan')\n"
    )
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "plugins"))

    registry.forget()
    tiny.write_text(tiny.read_text().replace("maxlogit", "liar"))
    try:
        with pytest.raises(
            CellsFailed, match=r"method liar on toytown\[.*toytown_anomaly_000000 returned 2048 scores that"
        ):
            run(tiny, tmp_path / "run", only={"method": "liar"})
    finally:
        monkeypatch.delenv("BENCH_PLUGINS")
        registry.forget()


def test_a_run_killed_between_its_shards_and_its_results_goes_on(tiny, whole, tmp_path):
    """Whatever is on disk, up to all of it: nothing left to compute is no error."""
    suite = suites.load(tiny)
    finished = []
    real = finalise.publish

    def killed_at_the_third(*args):
        if len(finished) == 3:
            raise KeyboardInterrupt
        finished.append(args[1].key)
        return real(*args)

    for _ in range(5):  # every attempt gets three cells further, the last of them into the second phase
        finished.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(finalise, "publish", killed_at_the_third)
            with contextlib.suppress(KeyboardInterrupt):
                list(engine.run(suite, tmp_path / "run", Options(shard=4, workers=0), Silent()))
    assert metrics(tmp_path / "run") == metrics(whole)


def test_shards_of_a_finished_cell_that_a_kill_left_behind_are_forgotten(tiny, tmp_path):
    only = {"method": "msp", "protocol": "anomaly"}
    (result,) = run(tiny, tmp_path / "run", only=only)
    left = shard_files.path_of(tmp_path / "run", result.key, 0, 10, 1)
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half of it")
    assert run(tiny, tmp_path / "run", only=only) == []
    assert not (tmp_path / "run" / "work").exists()


def test_a_shard_file_of_other_numerics_is_not_merged(tiny, whole, tmp_path):
    """Its counts are others, too: were it merged, figures would differ from those of a run that never saw it."""
    suite = suites.load(tiny).only({"method": "msp", "protocol": "anomaly"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finalise, "publish", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            list(engine.run(suite, tmp_path / "run", Options(workers=0), Silent()))
    (path,) = (tmp_path / "run").glob("work/*/phase1-*.npz")
    shard = shard_files.read(path)
    noise = np.random.default_rng(0)
    scores, categories = noise.normal(size=(64, 64)).astype(np.float32), noise.integers(0, 2, (64, 64), np.uint8)
    shard.tally.add(key_pixels(scores, categories, 2))
    shard_files.write(path, replace(shard, stamp="another machine's"))
    list(engine.run(suite, tmp_path / "run", Options(workers=0), Silent()))
    ((key, figures),) = metrics(tmp_path / "run").items()
    assert figures == metrics(whole)[key]
    shard_files.write(path, shard)  # with the stamp it has, so that the test is seen to tell them apart
    store.result_path(tmp_path / "run", key).unlink()
    list(engine.run(suite, tmp_path / "run", Options(workers=0), Silent()))
    assert metrics(tmp_path / "run")[key] != figures


def test_summaries_say_how_many_cells_they_stand_on(tiny, tmp_path):
    run(tiny, tmp_path / "run")
    found = json.loads((tmp_path / "run" / "summaries.json").read_text())
    assert {entry["method"] for entry in found} == {"msp", "maxlogit", "energy[temperature=2]", "entropy"}
    assert all(entry["cells"] == entry["of"] == 1 for entry in found)
    text = tiny.read_text().replace("datasets:\n", "datasets:\n  - toytown: {images: 4, height: 32, width: 64}\n")
    tiny.write_text(text)
    run(tiny, tmp_path / "run", limit=10, only={"method": "msp"})
    run(tiny, tmp_path / "run", only={"method": "msp"})
    found = json.loads((tmp_path / "run" / "summaries.json").read_text())
    assert {(e["method"], e["cells"], e["of"]) for e in found if e["method"] in {"msp", "entropy"}} == {
        ("msp", 2, 2),
        ("entropy", 1, 2),
    }
    for entry in (entry for entry in found if entry["metric"] == "auroc"):
        if entry["method"] == "msp":
            assert entry["lo"] <= entry["value"] <= entry["hi"]
        else:
            assert entry["value"] is None and entry["reason"] == "1 of 2 cells are finished and complete"


def test_a_narrowed_run_leaves_the_plan_of_the_whole(tiny, tmp_path):
    run(tiny, tmp_path / "run", only={"method": "msp", "protocol": "anomaly"})
    opened = store.read_run(tmp_path / "run")
    assert len(opened.plan.keys) == 13 and opened.missing == 12 and opened.plan.name == "tiny"
    again = suites.load(tmp_path / "run" / "suite.yaml")
    assert again.name == "tiny" and [cell.key for cell in again.cells] == list(opened.plan.keys)


def test_maps_asked_for_later_are_made_later(tiny, tmp_path):
    only = {"method": "msp", "protocol": "anomaly"}
    run(tiny, tmp_path / "run", only=only)
    assert not (tmp_path / "run" / "spool").exists()
    assert len(run(tiny, tmp_path / "run", only=only, keep_maps=True)) == 1
    assert len(list((tmp_path / "run" / "spool").rglob("scores/*.npy"))) == 10
    assert run(tiny, tmp_path / "run", only=only, keep_maps=True) == []


def test_labels_that_a_file_system_makes_alike_keep_their_maps_apart(tmp_path):
    folders = {store.spool_folder(tmp_path, [(label, label)], "float16") for label in ("a[b]", "a(b)", "a/b", "../b")}
    assert len(folders) == 4 and all(folder.parent.parent == tmp_path / "spool" for folder in folders)


def test_the_reliability_diagram_of_every_image_is_kept(tiny, tmp_path):
    text = tiny.read_text()
    start, end = text.index("protocols:"), text.index("models:")
    tiny.write_text(text[:start] + "protocols: [calibration]\n" + text[end:])
    found = {result.labels.method: result for result in run(tiny, tmp_path / "run", workers=0)}
    assert "gives no confidence, which calibration needs" in found["maxlogit"].not_applicable
    arrays = store.read_run(tmp_path / "run").arrays(found["msp"])
    pixels, right = arrays["row.pixels"].reshape(10, -1), arrays["row.right"].reshape(10, -1)
    assert pixels.sum() == sum(found["msp"].pixels.values()) and right.sum() == found["msp"].pixels["correct"]


def test_kept_maps_of_another_version_are_made_again(tiny, tmp_path, monkeypatch):
    """Between two runs that keep maps the method changed, and a run without them brought the figures up to date."""
    only = {"method": "msp", "protocol": "anomaly"}
    out = tmp_path / "run"
    run(tiny, out, only=only, keep_maps=True)
    maps = {path: path.stat().st_mtime_ns for path in (out / "spool").rglob("scores/*.npy")}
    real = registry.digest
    monkeypatch.setattr(registry, "digest", lambda kind, name: "edited" if name == "msp" else real(kind, name))
    assert len(run(tiny, out, only=only)) == 1
    assert len(run(tiny, out, only=only, keep_maps=True)) == 1
    again = {path: path.stat().st_mtime_ns for path in (out / "spool").rglob("scores/*.npy")}
    assert again.keys() == maps.keys() and all(again[path] != maps[path] for path in maps)
    assert run(tiny, out, only=only, keep_maps=True) == []


def test_shards_fold_at_once_when_the_cell_is_known_to_be_beyond_its_budget(tiny, tmp_path):
    tiny.write_text(tiny.read_text() + "budget: 65536\n")
    folds = []
    with pytest.MonkeyPatch.context() as patch:
        real = dispatch.execute

        def noting(work, *rest):
            folds.extend(cell.fold for cell in getattr(work, "cells", ()))
            return real(work, *rest)

        patch.setattr(dispatch, "execute", noting)
        run(tiny, tmp_path / "run", only={"method": "msp", "protocol": "misclassification"}, shard=1)
    assert folds == sorted(folds) and not folds[0] and folds[-1], "the hint never reached a shard, or went back"


def test_kept_maps_outlive_a_second_phase_that_needs_them_in_passing(tiny, tmp_path):
    out = tmp_path / "run"
    run(tiny, out, only={"method": "msp", "protocol": "components*"}, keep_maps=True)
    maps = sorted((out / "spool").rglob("scores/*.npy"))
    next((out / "cells").glob("*.json")).unlink()
    assert len(run(tiny, out, only={"method": "msp", "protocol": "components*"})) == 1
    assert sorted((out / "spool").rglob("scores/*.npy")) == maps and len(maps) == 10


def test_the_truth_of_an_image_is_made_once_for_all_methods(tiny, tmp_path, monkeypatch):
    asked = []
    real = Misclassification.categories
    monkeypatch.setattr(
        Misclassification,
        "categories",
        lambda self, sample, predicted: asked.append(sample.id) or real(self, sample, predicted),
    )
    results = run(tiny, tmp_path / "run", only={"protocol": "misclassification"})
    assert len(results) == 4 and len(asked) == len(set(asked)) == 10


def test_components_beyond_the_budget_are_found_at_the_exact_threshold(tiny, tmp_path):
    only = {"protocol": "components*"}
    whole = run(tiny, tmp_path / "whole", only=only)
    tiny.write_text(tiny.read_text() + "budget: 65536\n")
    for shard in (None, 3):
        folded = run(tiny, tmp_path / f"folded{shard}", only=only, shard=shard)
        assert [result.metrics for result in folded] == [result.metrics for result in whole]
