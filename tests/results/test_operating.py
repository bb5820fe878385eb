"""Thresholds chosen on one data set and carried to another."""

import json

import numpy as np
import pytest

from bench.api import Undefined
from bench.cli.main import main
from bench.counts.tally import Tally, key_pixels
from bench.results import operating

RULES = """
operating_points:
  - {name: tpr95, protocol: misclassification, calibrate: val}
  - {name: f1, protocol: misclassification, calibrate: val, rule: best_f1}
"""


def counts(pairs, *, fold=False):
    tally = Tally(2)
    for score, truth in pairs:
        tally.add(key_pixels(score, truth, 2))
    if fold:
        tally.fold()
    return tally.counts()


def pixels(seed=0):
    rng = np.random.RandomState(seed)
    truth = (rng.random_sample((40, 50)) < 0.1).astype(np.uint8)
    return (np.round(8 * (rng.random_sample(truth.shape) + 0.4 * truth)) / 8).astype(np.float32), truth


@pytest.mark.parametrize("fold", [False, True])
def test_the_rules_choose_what_they_say(fold):
    score, truth = pixels()
    found = counts([(score, truth)], fold=fold)  # eighths survive the fold
    levels = np.unique(score)
    tpr = [(score[truth == 1] >= level).mean() for level in levels]
    fpr = [(score[truth == 0] >= level).mean() for level in levels]
    assert operating.threshold(found, "tpr95") == max(
        level for level, rate in zip(levels, tpr, strict=True) if rate >= 0.95
    )
    assert operating.threshold(found, "fpr05") == min(
        level for level, rate in zip(levels, fpr, strict=True) if rate <= 0.05
    )
    hits = [((score >= level) & (truth == 1)).sum() for level in levels]
    f1 = [2 * hit / ((score >= level).sum() + truth.sum()) for hit, level in zip(hits, levels, strict=True)]
    assert operating.threshold(found, "best_f1") == levels[len(f1) - 1 - int(np.argmax(f1[::-1]))]


def test_no_threshold_without_both_kinds_of_pixels():
    score, truth = pixels()
    assert operating.threshold(counts([(score, 0 * truth)]), "tpr95") == Undefined("no positive pixels")


def test_a_constant_score_has_no_threshold_of_low_fpr():
    _, truth = pixels()
    found = operating.threshold(counts([(np.ones(truth.shape, np.float32), truth)]), "fpr05")
    assert found == Undefined("no threshold keeps the FPR at 0.05 or below")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from conftest import write_suite

    folder = tmp_path_factory.mktemp("operating")
    suite = write_suite(folder)
    text = suite.read_text().replace(
        "datasets:\n",
        "datasets:\n"
        "  - toytown: {split: val, images: 6, height: 32, width: 64, label: val, protocols: [misclassification]}\n",
    )
    suite.write_text(text.replace("protocols: [anomaly,", "protocols: [", 1) + RULES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", str(folder / "home"))
        only = "protocol=misclassification,method=m*"
        assert main(["run", str(suite), "--out", str(folder / "run"), "--workers", "0", "--only", only]) == 0
    return folder / "run"


def entries(run):
    return [entry for entry in json.loads((run / "summaries.json").read_text()) if "definition" in entry]


def test_a_threshold_is_carried_to_every_other_data_set_with_an_interval(run):
    found = entries(run)
    assert {entry["method"] for entry in found} == {"msp", "maxlogit"}
    assert {entry["name"].partition(", on ")[0] for entry in found} == {"tpr95", "f1"}
    assert not any(entry["name"].endswith(", on val") for entry in found), "a data set judged at its own threshold"
    for entry in found:
        if entry["metric"] != "threshold":
            assert 0 <= entry["lo"] <= entry["value"] <= entry["hi"] <= 1


def test_the_rates_are_those_of_the_pixels(run):
    from bench.results import store

    opened = store.read_run(run)
    by = {(r.labels.dataset, r.labels.method): r for r in opened.results}
    (target,) = [r for (dataset, method), r in by.items() if dataset != "val" and method == "maxlogit"]
    rates = {e["metric"]: e for e in entries(run) if e["method"] == "maxlogit" and e["name"].startswith("tpr95")}
    arrays = opened.arrays(target)
    kept = {name.removeprefix("counts."): values for name, values in arrays.items() if name.startswith("counts.")}
    tallied = Tally.from_arrays(kept).counts()
    at_or_above = tallied.lowest(tallied.keys) >= np.float32(rates["threshold"]["value"])
    hits, alarms = tallied.table[at_or_above, 1].sum(), tallied.table[at_or_above, 0].sum()
    assert rates["tpr"]["value"] == pytest.approx(hits / target.pixels["wrong"], abs=rates["tpr"]["err"] + 1e-12)
    assert rates["fpr"]["value"] == pytest.approx(alarms / target.pixels["correct"], abs=rates["fpr"]["err"] + 1e-12)


def test_the_report_shows_them_with_their_definitions(run):
    page = (run / "report.html").read_text()
    assert "tpr95, on " in page and "share of the positive pixels with score" in page


def test_they_stand_in_show_and_in_every_format_with_their_data_set(run, tmp_path, capsys):
    import csv

    assert main(["show", str(run)]) == 0
    assert "tpr95, on " in capsys.readouterr().out
    assert main(["show", str(run), "--format", "json"]) == 0
    points = json.loads(capsys.readouterr().out)["operating_points"]
    (dataset,) = {point["dataset"] for point in points}
    assert all(point["name"].endswith(f", on {dataset}") and point["severity"] is None for point in points)
    out = tmp_path / "means.csv"
    assert main(["report", str(run), "--format", "csv", "--table", "means", "--out", str(out)]) == 0
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["dataset"] for row in rows if row["metric"] == "tpr"} == {dataset}
    for name in ("md", "tex"):
        assert main(["report", str(run), "--format", name, "--out", str(tmp_path / f"page.{name}")]) == 0
        assert "tpr95, on " in (tmp_path / f"page.{name}").read_text()


def test_alarms_by_hand():
    """Two objects, an ignored column; at 0.5 one alarm hits, one is false, one too small, one on ignored pixels."""
    from bench.api import Sample, Value
    from bench.suite import registry

    truth = np.zeros((6, 12), np.uint8)
    truth[1:3, 1:3] = truth[4, 9] = 1
    truth[:, 5] = 255
    score = np.zeros(truth.shape, np.float32)
    score[2:4, 2:4] = 0.5  # corner on the first object
    score[0:2, 8:10] = 0.9  # false
    score[5, 0] = 0.9  # one pixel
    score[3:6, 5] = 0.9  # ignored
    protocol = registry.build("protocol", "operating_point", {"threshold": 0.5, "min_alarm": 2}, where="")
    sample = Sample("one", truth.shape, lambda: None, anomaly=truth)
    tally = Tally(2)
    row = protocol.second_row(score, sample, None, protocol.parameters(tally.counts(), {}))
    assert row["alarms"].tolist() == [1, 1, 2]
    keyed = key_pixels(score, protocol.categories(sample, None), 2)
    tally.add(keyed)
    found = protocol.read(tally.counts(), {"one": {**keyed.bins(), **row}})
    assert found["false_alarms"] == Value(1.0) and found["objects_found"] == Value(0.5)
    assert found["tpr"] == Value(1 / 5)
    by_size = registry.build("protocol", "operating_point", {"threshold": 0.5, "min_alarm": 2, "sizes": [2]}, where="")
    rows = {"one": {**keyed.bins(), **by_size.second_row(score, sample, None, by_size.parameters(tally.counts(), {}))}}
    assert by_size.breakdown(tally.counts(), rows) == {
        "size": {"below 2 px": {"objects_found": Value(0.0)}, "2 px and more": {"objects_found": Value(1.0)}}
    }


def test_alarms_are_counted_in_a_run_with_intervals_that_may_exceed_one(tiny, tmp_path):
    text = tiny.read_text()
    start, end = text.index("protocols:"), text.index("models:")
    tiny.write_text(text[:start] + "protocols: [{operating_point: {threshold: 0.935}}]\n" + text[end:])
    assert main(["run", str(tiny), "--out", str(tmp_path / "run"), "--workers", "0", "--only", "method=msp"]) == 0
    (path,) = (tmp_path / "run" / "cells").glob("*.json")
    figure = json.loads(path.read_text())["metrics"]["false_alarms"]
    assert figure["lo"] <= figure["value"] <= figure["hi"] and figure["hi"] > 1
    assert "count" in (tmp_path / "run" / "report.html").read_text()


def test_one_threshold_is_not_tried_on_scores_of_several_scales(tiny, tmp_path, capsys):
    text = tiny.read_text()
    start, end = text.index("protocols:"), text.index("models:")
    for number, (chosen, counted) in enumerate([("", 0), (", methods: [msp]", 1)]):
        protocol = f"protocols: [{{operating_point: {{threshold: 0.935{chosen}}}}}]\n"
        tiny.write_text(text[:start] + protocol + text[end:])
        run = tmp_path / f"run{number}"
        assert main(["run", str(tiny), "--out", str(run), "--workers", "0", "--only", "method=m*"]) == 0
        results = [json.loads(path.read_text()) for path in (run / "cells").glob("*.json")]
        figures = [result["metrics"]["tpr"] for result in results]
        assert sum("value" in figure for figure in figures) == counted
        reasons = {figure["reason"] for figure in figures if "reason" in figure}
        assert len(reasons) == (not counted)
        assert all("methods: [NAME]" in reason for reason in reasons)
    capsys.readouterr()
