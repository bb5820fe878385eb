"""Differences with paired intervals, conditions that fail, figures by slice and by image."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.cli.main import main
from bench.core.errors import MissingData, UnknownName, UsageError
from bench.counts.tally import key_pixels
from bench.metrics import slices
from bench.metrics.accumulate import Reading
from bench.results import compare, gates, store
from bench.suite import registry


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The tiny suite, two methods, both rankings and mIoU."""
    from conftest import write_suite

    folder = tmp_path_factory.mktemp("compare")
    suite = write_suite(folder)
    suite.write_text(suite.read_text().replace("bootstrap: 50", "bootstrap: 200"))
    only = "method=[me]*"  # msp, maxlogit, energy and entropy; a glob with brackets
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", str(folder / "home"))
        assert main(["run", str(suite), "--out", str(folder / "run"), "--workers", "0", "--only", only]) == 0
    return folder / "run"


def found(run, first="method=msp", second="method=energy"):
    return compare.compare(compare.side(f"{run}@{first}"), compare.side(f"{run}@{second}"))


def test_a_method_compared_with_itself_differs_nowhere(run):
    for one in found(run, "method=msp", "method=msp"):
        if one.difference is not None:
            assert one.difference == 0 and not one.clear
            assert (one.lo, one.hi) == (0, 0) or one.reason


def test_the_difference_is_second_minus_first_and_swapping_turns_it_round(run):
    for one, other in zip(found(run), found(run, "method=energy", "method=msp"), strict=True):
        assert (one.metric, one.one, one.other) == (other.metric, other.other, other.one)
        assert one.difference == pytest.approx(-other.difference)
        if one.lo is not None:
            assert (one.lo, one.hi) == pytest.approx((-other.hi, -other.lo))


def test_the_interval_is_that_of_the_replicates_differences(run):
    opened = store.read_run(run)
    by_method = {r.cell.method.name: r for r in opened.results if r.labels.protocol == "anomaly"}
    a, b = (opened.replicates(by_method[name])["auroc"] for name in ("msp", "energy"))
    lo, hi = np.nanpercentile(b - a, [2.5, 97.5])
    (auroc,) = [one for one in found(run) if one.metric == "auroc" and one.cell.startswith("anomaly")]
    assert (auroc.lo, auroc.hi) == pytest.approx((lo, hi))


@pytest.mark.parametrize("how", [{"seed": 1}, {"resample": "groups"}])
def test_runs_that_resampled_differently_have_no_paired_interval(run, how):
    one = compare.side(f"{run}@method=msp")
    changed = tuple(replace(result, cell=replace(result.cell, **how)) for result in one.run.results)
    other = compare.Side(replace(one.run, results=changed), one.patterns)
    for difference in compare.compare(one, other):
        assert difference.lo is None and not difference.clear
        assert difference.difference is None or "did not resample the same images" in difference.reason


def test_a_condition_that_is_met_ends_with_status_4(run, capsys):
    pair = [f"{run}@method=msp", f"{run}@method=energy"]
    assert main(["compare", *pair]) == 0
    assert "B - A" in capsys.readouterr().out
    assert main(["compare", *pair, "--fail-if", "auroc < 1"]) == 4
    assert "auroc differs by" in capsys.readouterr().err
    assert main(["compare", *pair, "--fail-if", "auroc < -0.99 or ap.hi < -99%", "--format", "json"]) == 0
    printed = capsys.readouterr()
    shown = json.loads(printed.out)
    assert shown["schema"] == 1 and {"lo", "hi", "difference", "clear"} <= shown["differences"][0].keys()
    assert "auroc < -99 points of a percent or ap.hi < -99 points of a percent: 0 met, 0 cannot" in printed.err


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("auroc gets worse", "'auroc gets worse' must be METRIC"),
        ("auroq < 0", "did you mean 'auroc'"),
        ("auroc < -1", "is met by every difference or by none.*write 'auroc < -1%'"),
        ("ap.hi > 50", "write 'ap.hi > 50%'"),
        ("best_f1_threshold < 1%", "is no rate, leave out the %"),
    ],
)
def test_a_condition_that_judges_nothing_is_refused(run, condition, words):
    with pytest.raises((UsageError, UnknownName), match=words):
        gates.parse(condition, found(run))


def without(run, tmp_path, *, drop=0, undefined=(), partial=False):
    """A copy of a run that lacks some results, or some figures of all others."""
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    for number, path in enumerate(sorted((copy / "cells").glob("*.json"))):
        if number < drop:
            path.unlink()
            continue
        content = json.loads(path.read_text())
        content["metrics"] |= {name: {"reason": "gone"} for name in undefined if name in content["metrics"]}
        content |= {"partial": True, "images": 3} if partial else {}
        path.write_text(json.dumps(content))
    return copy


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"drop": 3}, "B has no such cell"),
        ({"undefined": ["auroc"]}, "auroc < -1 points of a percent: gone"),
        ({"partial": True}, "A and B are of other images"),
    ],
)
def test_what_is_missing_or_undefined_fails_unless_it_may(run, tmp_path, capsys, change, words):
    pair = [str(run), str(without(run, tmp_path, **change))]
    assert main(["compare", *pair, "--fail-if", "auroc < -1%"]) == 4
    assert words in capsys.readouterr().err
    assert main(["compare", *pair, "--fail-if", "auroc < -1%", "--allow-missing"]) == 0
    assert ", 0 left out" not in capsys.readouterr().err
    assert main(["compare", *reversed(pair), "--fail-if", "auroc < -1%"]) == (0 if "drop" in change else 4)


def test_what_both_lack_for_one_reason_was_lost_by_nobody(run, tmp_path, capsys):
    copy = str(without(run, tmp_path, undefined=["auroc"]))
    assert main(["compare", copy, copy, "--fail-if", "auroc < -1% or ap < -1%"]) == 0
    assert "0 cannot be judged" in capsys.readouterr().err


def test_junit_and_github_are_told(run, tmp_path, monkeypatch, capsys):
    pair = [str(run), str(without(run, tmp_path, drop=1, undefined=["ap"]))]
    out, summary = tmp_path / "gate.xml", tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    summary.write_text("before\n")
    assert main(["compare", *pair, "--fail-if", "ap < 0", "--junit", str(out), "--github"]) == 4
    suite = ElementTree.parse(out).getroot()  # noqa: S314 - written by this program two lines above
    cases = list(suite)
    assert int(suite.get("errors")) == sum(case.find("error") is not None for case in cases) > 1
    assert suite.get("failures") == "0" and len(cases) == int(suite.get("tests"))
    assert summary.read_text().startswith("before\n### bench compare") and "| gone |" in summary.read_text()
    assert "::error title=" in capsys.readouterr().out
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    assert main(["compare", *pair, "--fail-if", "ap < 0", "--github"]) == 2
    assert main(["compare", *pair, "--junit", str(out)]) == 2


def test_equal_runs_are_two_lines_and_what_they_were_made_with_is_named(run, tmp_path, capsys):
    assert main(["compare", str(run), str(run)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["compare", str(run), str(run), "--all"]) == 0
    assert "auroc" in capsys.readouterr().out
    copy = without(run, tmp_path)
    for path in (copy / "cells").glob("*.json"):
        content = json.loads(path.read_text())
        content["cell"]["dataset"]["params"]["seed"] = 3
        path.write_text(json.dumps(content))
    assert main(["compare", str(run), str(copy)]) == 0
    assert "A and B differ in parameters of the dataset (seed 0 and 3): 13 pairs of cells" in capsys.readouterr().out


def test_an_axis_that_one_side_names_is_refused(run):
    with pytest.raises(UsageError, match="method is named on one side only"):
        compare.compare(compare.side(f"{run}@method=msp"), compare.side(str(run)))
    with pytest.raises(UsageError, match="method is named twice"):
        compare.side(f"{run}@method=msp,method=energy")


def test_a_glob_that_both_sides_name_pairs_equal_labels(run):
    pairs = found(run, "method=m*", "method=m*")
    assert pairs and all(difference.equal for difference in pairs)


def test_what_cannot_be_paired_is_refused(run):
    with pytest.raises(MissingData, match="no finished cell matches"):
        compare.side(f"{run}@method=nosuch")
    with pytest.raises(UnknownName, match="did you mean 'method'"):
        compare.side(f"{run}@methods=msp")
    with pytest.raises(MissingData, match="the two have no cell in common"):
        found(run, "protocol=anomaly", "protocol=miou")


def test_slices_of_a_tag_hold_their_own_images_only(run):
    opened = store.read_run(run)
    (result,) = [r for r in opened.results if r.labels.protocol == "misclassification" and r.labels.method == "msp"]
    parts = result.slices["condition"]
    assert sum(part["images"] for part in parts.values()) == 10
    protocol = registry.build("protocol", "misclassification", {}, where="")
    tags = {tag["condition"] for tag in result.tags.values()}
    assert parts.keys() == tags and len(tags) > 1
    assert all(part["metrics"].keys() == protocol.metrics.keys() for part in parts.values())


def test_a_slice_holds_the_exact_figure_within_its_error():
    rng = np.random.RandomState(0)
    protocol = registry.build("protocol", "anomaly", {}, where="")
    rows, tags, everything = {}, {}, {"a": [], "b": []}
    for index in range(8):
        truth = (rng.random_sample((20, 30)) < 0.2).astype(np.uint8)
        score = (rng.random_sample((20, 30)) + 0.3 * truth).astype(np.float32)
        rows[f"s{index}"] = key_pixels(score, truth, 2).bins()
        tags[f"s{index}"] = {"half": "ab"[index % 2]}
        everything["ab"[index % 2]].append((score, truth))
    metrics = pytest.importorskip("sklearn.metrics")
    for value, part in slices.by_tag(Reading.of_rows(protocol, rows), tags)["half"].items():
        scores = np.concatenate([score.ravel() for score, _ in everything[value]])
        truth = np.concatenate([truth.ravel() for _, truth in everything[value]])
        for name, exact in (
            ("auroc", metrics.roc_auc_score(truth, scores)),
            ("ap", metrics.average_precision_score(truth, scores)),
        ):
            figure = part["metrics"][name]
            assert figure.err < 0.02 and abs(figure.value - exact) <= figure.err


def test_show_prints_slices_and_refuses_unknown_ones(run, capsys):
    assert main(["show", str(run), "--by", "condition"]) == 0
    assert "night" in capsys.readouterr().out
    assert main(["show", str(run), "--by", "condition", "--format", "json"]) == 0
    records = json.loads(capsys.readouterr().out)["records"]
    assert {"slice", "part", "value", "err"} <= records[0].keys()
    assert main(["show", str(run), "--by", "weather"]) == 2
    assert "unknown slice 'weather'; known: " in capsys.readouterr().err


def test_figures_by_image_are_written_as_parquet(run, tmp_path, capsys):
    pandas = pytest.importorskip("pandas")
    out = tmp_path / "images.parquet"
    assert main(["show", str(run), "--per-image", str(out)]) == 0
    table = pandas.read_parquet(out)
    mine = table[(table.protocol == "misclassification") & (table.method == "msp")]
    assert len(mine) == 10 and mine["tag.condition"].notna().all()
    assert (mine["pixels.correct"] + mine["pixels.wrong"] <= 32 * 64).all() and mine.auroc.between(0, 1).all()


def test_resampling_whole_groups_widens_the_interval_and_changes_the_key(tiny, tmp_path):
    from bench.suite import expansion as suites

    images = suites.load(tiny)
    tiny.write_text(tiny.read_text() + "resample: groups\n")
    groups = suites.load(tiny)
    assert {cell.key for cell in images.cells}.isdisjoint(cell.key for cell in groups.cells)


def some_cells(run, folder, keep):
    """A copy of a run with the results that ``keep`` returns True of, by their labels."""
    copy = Path(shutil.copytree(run, folder))
    for path in (copy / "cells").glob("*.json"):
        if not keep(json.loads(path.read_text())["labels"]):
            path.unlink()
            path.with_suffix(".npz").unlink()
    return copy


def test_runs_merge_to_one_with_the_cells_of_both(run, tmp_path, capsys):
    halves = [
        some_cells(run, tmp_path / "a", lambda labels: labels.get("method") != "energy[temperature=2]"),
        some_cells(run, tmp_path / "b", lambda labels: labels["protocol"] != "miou"),
    ]
    out = tmp_path / "all"
    before = [state(half) for half in halves]
    assert main(["merge", *map(str, halves), "--out", str(out)]) == 0
    assert [state(half) for half in halves] == before
    assert main(["compare", str(run), str(out)]) == 0
    printed = capsys.readouterr().out
    assert "figures are equal in A and B" in printed and "Only" not in printed
    merged = json.loads((out / "merged.json").read_text())
    kept = [key for source in merged["runs"] for key in source["keys"]]
    assert sorted(kept) == sorted(path.stem for path in (out / "cells").glob("*.json")) and all(
        map(len, merged["runs"])
    )
    assert (out / "suite.yaml").read_text() == (run / "suite.yaml").read_text()
    assert main(["report", str(out), "--format", "md", "--out", str(tmp_path / "page.md")]) == 0
    assert main(["merge", *map(str, halves), "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_cell_with_two_results_and_a_label_of_two_meanings_are_refused(run, tmp_path, capsys):
    copy = without(run, tmp_path, undefined=["auroc"])
    assert main(["merge", str(run), str(copy), "--out", str(tmp_path / "out")]) == 2
    assert "have two results of anomaly / tiny" in capsys.readouterr().err
    for path in (copy / "cells").glob("*.json"):
        content = json.loads(path.read_text())
        content["cell"]["dataset"]["params"]["seed"] = 3
        path.write_text(json.dumps(content))
    assert main(["merge", str(run), str(copy), "--out", str(tmp_path / "out")]) == 2
    assert "mean two things by the dataset" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert main(["merge", str(run), str(run), "--out", str(tmp_path / "out")]) == 2


def state(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_cell_is_computed_again_elsewhere_and_compared(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    path = next(
        path for path in (copy / "cells").glob("*.json") if json.loads(path.read_text())["labels"]["protocol"] == "miou"
    )
    words = ["verify", str(copy), "--cell", path.stem, "--workers", "0"]
    before = state(copy)
    assert main(words) == 0
    assert "2 figures of 1 cell computed again: 2 equal to the last bit" in capsys.readouterr().out
    assert state(copy) == before
    content = json.loads(path.read_text())
    content["metrics"]["miou"]["value"] += 1e-4
    path.write_text(json.dumps(content))
    assert main(words) == 4
    assert "other: made with the same code and data" in capsys.readouterr().out
    assert main(["verify", str(copy), "--cell", "0123456789abcdef"]) == 2
    (copy / "suite.yaml").unlink()
    assert main(words) == 2
