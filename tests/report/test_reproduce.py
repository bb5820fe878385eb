"""docs/reproduce.md: its digits are those that were published, and those that the program measures on the real data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.report import claims, published
from bench.results import store
from bench.suite import expansion

PAGE = (Path(__file__).parents[2] / "docs" / "reproduce.md").read_text(encoding="utf-8")
SET = "RoadAnomaly21"  # the one that the slow test measures: ten frames


def table(heading):
    """The cells of the first table below a heading, without its head."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def digits():
    """By data set and network: AP and FPR95, as the page prints them."""
    return {
        (dataset, network): tuple(pair.split(" / "))
        for dataset, *pairs in table("The digits")
        for network, pair in zip(("enet_training_void", "enet_training_void_ft"), pairs, strict=True)
    }


def test_the_digits_of_the_page_are_those_that_were_published():
    suite = expansion.load(expansion.locate("course_anomaly"))
    claimed = {}
    for rule in suite.claims:
        for row in claims.chosen(rule.model_dump()):
            name = row.dataset.removeprefix("Validation_Dataset ").removesuffix(" at 512x1024")
            claimed[name, rule.model, row.metric] = f"{100 * row.value:.{row.digits}f}"
    said = {
        (*place, name): text
        for place, pair in digits().items()
        for name, text in zip(("ap", "fpr95"), pair, strict=True)
    }
    assert said == claimed and len(claimed) == 16


def test_every_set_of_the_suite_at_their_size_stands_among_the_published():
    suite = expansion.load(expansion.locate("course_anomaly"))
    places = {cell.dataset.label: published.place_of(cell.dataset.spelled()) for cell in suite.cells}
    assert all((place is not None) == label.endswith(" at 512x1024") for label, place in places.items())


@pytest.mark.slow
def test_the_figures_of_the_page_are_measured(shared, tmp_path, monkeypatch):
    checkpoints = tmp_path / "home" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "validation_dataset").symlink_to(shared / "data" / "anomaly_val")
    for name in ("enet_training_void", "enet_training_void_ft"):
        (checkpoints / name).symlink_to(shared / "data" / "weights" / name)
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    only = f"dataset={SET}*,method=void_channel"
    out = tmp_path / "run"
    assert main(["run", "course_anomaly", "--only", only, "--out", str(out), "--gallery", "0", "--workers", "0"]) == 0
    run = store.read_run(out)
    compared = claims.of_run(run)
    assert [figure.equal for group in compared.groups for row in group.rows for figure in row.figures] == [True] * 4
    measured = {result.labels[:3]: result.metrics for result in run.results}
    percent = "{:.3f}".format
    for dataset, *pairs in table("What changes, and by how much"):
        if dataset == SET:
            for network, pair in zip(("enet_training_void", "enet_training_void_ft"), pairs, strict=True):
                figures = measured["anomaly", network, dataset]
                assert pair == " / ".join(percent(100 * figures[name].value) for name in ("ap", "fpr95"))
    rules = PAGE.split("Then the definitions")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)`[^|]*\| ([^|]+) \| ([^|]+) \|$", rules, re.M)
    assert len(rows) >= 8
    for name, *texts in rows:
        for network, text in zip(("enet_training_void", "enet_training_void_ft"), texts, strict=True):
            rule, pooling = name.split()
            protocol = "definitions of scaled maps" if pooling == "scaled" else "definitions"
            figures = measured[protocol, network, f"{SET} at 512x1024"]
            assert text == percent(100 * figures[f"{rule} {'pooled' if pooling == 'scaled' else pooling}"].value)
