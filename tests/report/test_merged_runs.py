"""Several runs as one: what is equal is one, what differs stands side by side, and only what may be is paired."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import writing
from test_formats import METRICS, full, made, records, written

from bench.api import Undefined, Value
from bench.cli.main import main
from bench.core.errors import MissingData, UnknownName, UsageError
from bench.report import grids, leaderboard, listings, merge_runs, selection
from bench.report.document import Document
from bench.report.figures import UNPAIRED
from bench.report.merge_runs import Merged
from bench.report.selection import Choice
from bench.results import compare, summary
from bench.results.store import CellLabels, Result, Run

SPOTS = [("fog", 1), ("fog", 3), ("shot_noise", 1), ("shot_noise", 3)]
RULE = {"name": "Mean of both", "protocol": "anomaly", "datasets": ["road & rail", "lost_found"]}


def corrupted(method: str, ap: float, spot: tuple[str, int], **others: Any) -> Result:
    how = {"name": spot[0], "severity": spot[1], "seed": 0, "order": "rgb"}
    return made(method, full(ap), dataset=f"road & rail+{spot[0]}-{spot[1]}", corruption=how, **others)


def labels(result: Result) -> CellLabels:
    return result.labels


def together(*runs: Run) -> Merged:
    found = merge_runs.merge([merge_runs.Source(run.path.name, run) for run in runs])
    assert found.plan.keys and len(set(found.plan.keys)) == len(found.plan.keys) == len(found.plan.cells)
    return found


def rows(run: Run) -> list[tuple[str, str]]:
    return [(result.labels.dataset, result.labels.method or result.labels.model) for result in run.results]


def other(result: Result, **depends: str) -> Result:
    """The same cell, made by something else, with other figures."""
    moved = {
        name: replace(value, value=value.value + 0.01) if isinstance(value, Value) else value
        for name, value in result.metrics.items()
    }
    return replace(result, metrics=moved, depends={**result.depends, **depends})


def test_cells_that_are_equal_in_both_runs_are_one(tmp_path: Path) -> None:
    cells = [made("msp", full(0.5)), made("energy", full(0.6))]
    both = together(written(tmp_path / "a", cells), written(tmp_path / "b", [*cells, made("entropy", full(0.7))]))
    assert [name for _, name in rows(both)] == ["msp", "energy", "entropy"]
    assert both.remarks == () and both.missing == 0
    assert both.origins[cells[0].key] == ("a", "b") and both.origins[both.results[2].key] == ("b",)
    assert [result.key for result in both.results[:2]] == [cell.key for cell in cells]


def test_the_parts_of_a_suite_become_the_whole_with_its_means(tmp_path: Path) -> None:
    grid = [corrupted(method, ap, spot) for method, ap in (("msp", 0.4), ("energy", 0.5)) for spot in SPOTS]
    rest = [made("msp", full(0.5)), made("msp", full(0.3), dataset="lost_found")]
    whole = written(tmp_path / "whole", [*rest, *grid], summaries=(RULE,))

    odd, even = [*rest[::2], *grid[::2]], [*rest[1::2], *grid[1::2]]
    # A plan names every cell of the suite, those that were left to others, too.
    first, second = (
        replace(written(tmp_path / name, mine), plan=whole.plan) for name, mine in (("a", odd), ("b", even))
    )
    both = together(first, second)
    assert both.missing == 0 and both.remarks == () and {*rows(both)} == {*rows(whole)}
    assert sorted(map(str, summary.compute(both))) == sorted(map(str, summary.compute(whole)))
    mine, theirs = (grids.grids(run)[0].views["ap"] for run in (both, whole))
    assert [(line.row.name, line.rank, line.means[grids.GRID].value) for line in mine.lines] == [
        (line.row.name, line.rank, line.means[grids.GRID].value) for line in theirs.lines
    ]
    said = "# A small run\n\nSeveral runs: a, b.\n"
    assert first.missing and writing.markdown(both, []) == writing.markdown(whole, []).replace(
        "# A small run\n", said, 1
    )


def test_the_same_cell_made_by_something_else_has_a_row_for_each_run(tmp_path: Path) -> None:
    cells = [made("msp", full(0.5)), made("energy", full(0.6))]
    both = together(
        written(tmp_path / "old", cells), written(tmp_path / "new", [other(cells[0], method="m2"), cells[1]])
    )
    assert sorted(name for _, name in rows(both)) == ["energy", "msp (new)", "msp (old)"]
    assert both.remarks == ("old and new differ in the method's code: anomaly / toy_net / msp.",)
    values = {result.labels.method: result.metrics["ap"] for result in both.results}
    assert values["msp (old)"].value == 0.5 and values["msp (new)"].value == pytest.approx(0.51)  # type: ignore[union-attr]
    for result in both.results:  # provenance and files are each one's own
        assert both.home(result).is_file() and both.home(result).stem in {cell.key for cell in cells}
        assert both.home(result).parts[-3] == both.origins[result.key][0]
        drawn = both.replicates(result)["ap"]
        assert np.mean(drawn) == pytest.approx(result.metrics["ap"].value)  # type: ignore[union-attr]
    found = records(writing.csv(both))
    assert {(row["run"], row["method"]) for row in found} == {
        ("old", "msp (old)"),
        ("new", "msp (new)"),
        ("old, new", "energy"),
    }
    assert {row["key"] for row in found} == {cell.key for cell in cells}
    assert len({row["provenance"] for row in found if row["method"].startswith("msp")}) == 2
    only = selection.select(both, Choice(only={"method": "energy"}))
    assert isinstance(only, Merged) and only.remarks == () and len(only.results) == 1
    for text in (writing.markdown(both, []), writing.markdown(both, table="paper"), writing.terminal(both, 100)):
        assert "differ in the method's code" in " ".join(text.split())


def test_figures_that_differ_though_nothing_else_does_are_never_hidden(tmp_path: Path) -> None:
    cell = made("msp", full(0.5))
    both = together(written(tmp_path / "a", [cell]), written(tmp_path / "b", [other(cell)]))
    assert [name for _, name in rows(both)] == ["msp (a)", "msp (b)"]
    assert both.remarks == ("a and b differ in their figures alone: anomaly / toy_net / msp.",)


def test_a_row_that_differs_in_one_cell_is_two_whole_rows_of_a_grid(tmp_path: Path) -> None:
    grid = [corrupted("msp", 0.4, spot) for spot in SPOTS]
    changed = [other(grid[0], method="m2"), *grid[1:]]
    both = together(written(tmp_path / "a", grid), written(tmp_path / "b", changed))
    lines = grids.grids(both)[0].views["ap"].lines
    means = {line.row.name: (line.means[grids.GRID].cells, line.means[grids.GRID].value) for line in lines}
    assert means == {"msp (a)": (4, pytest.approx(0.4)), "msp (b)": (4, pytest.approx(0.4025))}


def test_a_row_that_differs_on_one_data_set_is_two_rows_wherever_a_mean_runs_over_it(tmp_path: Path) -> None:
    cells = [
        made("msp", full(0.5)),
        made("msp", full(0.3), dataset="lost_found"),
        made("msp", full(0.2), dataset="else"),
    ]
    changed = [other(cells[0], method="m2"), *cells[1:]]
    both = together(
        written(tmp_path / "a", cells, summaries=(RULE,)), written(tmp_path / "b", changed, summaries=(RULE,))
    )
    assert sorted(rows(both)) == [
        ("else", "msp"),
        *(("lost_found", "msp (a)"), ("lost_found", "msp (b)")),
        *(("road & rail", "msp (a)"), ("road & rail", "msp (b)")),
    ]
    means = {entry["method"]: entry["value"] for entry in summary.compute(both) if entry["metric"] == "ap"}
    assert means == {"msp (a)": pytest.approx(0.4), "msp (b)": pytest.approx(0.405)}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"seed": 1}, "seed (0 and 1): intervals of differences between them are not paired"),
        ({"resample": "groups"}, "resample (images and groups)"),
    ],
)
def test_what_was_drawn_otherwise_is_marked_and_never_paired(how: dict[str, Any], said: str, tmp_path: Path) -> None:
    one = made("msp", full(0.5))
    two = made("energy", full(0.9))
    moved = [replace(each, cell=replace(each.cell, **how)) for each in (one, two)]
    both = together(written(tmp_path / "a", [one, two]), written(tmp_path / "b", moved))
    assert {name for _, name in rows(both)} == {"msp (a)", "msp (b)", "energy (a)", "energy (b)"}
    assert said in both.remarks[0]
    (table,) = leaderboard.tables(both, baseline="msp (a)")
    assert not any(figure.best for line in table.lines for figure in line.figures)
    assert UNPAIRED in table.remarks
    changes = {line.method: line.figures[0].change for line in table.lines}
    assert changes["energy (a)"].clear and changes["energy (a)"].lo == pytest.approx(0.4)  # type: ignore[union-attr]
    assert not changes["energy (b)"].clear and changes["energy (b)"].lo is None  # type: ignore[union-attr]


def test_other_numerics_are_marked_with_what_they_are(tmp_path: Path) -> None:
    one = made("msp", full(0.5))
    two = replace(
        one,
        depends={**one.depends, "numerics": "n2"},
        provenance={**one.provenance, "numerics": {"device": "cuda", "threads": 1}},
    )
    both = together(written(tmp_path / "a", [one]), written(tmp_path / "b", [two]))
    assert [name for _, name in rows(both)] == ["msp (a)", "msp (b)"]
    assert "numerics (device cpu and cuda): figures agree to about 1e-6" in both.remarks[0]


def test_other_images_are_not_paired_even_where_there_are_as_many(tmp_path: Path) -> None:
    one = made("msp", full(0.5))
    two = replace(made("energy", full(0.9)), depends={**one.depends, "dataset": "d2"})
    (table,) = leaderboard.tables(together(written(tmp_path / "a", [one]), written(tmp_path / "b", [two])))
    assert table.remarks == (UNPAIRED,)


def test_rows_of_two_runs_on_the_same_draws_are_paired(tmp_path: Path) -> None:
    first, second = (
        written(tmp_path / "a", [made("msp", full(0.5))]),
        written(tmp_path / "b", [made("energy", full(0.9))]),
    )
    (table,) = leaderboard.tables(together(first, second))
    assert [(line.method, line.figures[0].best) for line in table.lines] == [("energy", True), ("msp", False)]


def test_a_full_result_stands_for_a_partial_one_and_any_for_a_missing_one(tmp_path: Path) -> None:
    whole = made("msp", full(0.5))
    part = replace(made("msp", full(0.9)), partial=True, images=5)
    absent = CellLabels("anomaly", "toy_net", "road & rail", "energy")
    first = written(tmp_path / "a", [part], [absent])
    both = together(first, written(tmp_path / "b", [whole, made("energy", full(0.6))]))
    assert [(result.labels.method, result.partial) for result in both.results] == [("msp", False), ("energy", False)]
    assert both.missing == 0


def test_one_word_for_two_things_is_told_apart_by_the_name_of_the_run(tmp_path: Path) -> None:
    one = [
        made("energy", full(0.5), params={"T": 1}),
        corrupted("energy", 0.4, SPOTS[0]),
        corrupted("energy", 0.4, SPOTS[1]),
    ]
    two = [made("energy", full(0.6), params={"T": 2})]
    both = together(written(tmp_path / "a", [one[0]]), written(tmp_path / "b", two))
    assert [name for _, name in rows(both)] == ["energy (a)", "energy (b)"] and both.remarks == ()
    other_place = [
        replace(each, cell=replace(each.cell, dataset=replace(each.cell.dataset, name="else"))) for each in one
    ]
    rule = {"name": "x", "protocol": "anomaly", "datasets": [labels(cell).dataset for cell in one]}
    both = together(
        written(tmp_path / "c", one, summaries=(rule,)), written(tmp_path / "d", other_place, summaries=(rule,))
    )
    assert {dataset for dataset, _ in rows(both)} == {
        f"road & rail ({run}){spot}" for run in "cd" for spot in ("", "+fog-1", "+fog-3")
    }
    assert [grid.dataset for grid in grids.grids(both)] == ["road & rail (c)", "road & rail (d)"]
    assert {entry["name"]: entry["of"] for entry in summary.compute(both)} == {"x": 3, "x (d)": 3}


def test_three_runs_of_which_two_agree_have_two_rows(tmp_path: Path) -> None:
    cells = [corrupted("msp", 0.4, spot) for spot in SPOTS]
    runs = [written(tmp_path / name, mine) for name, mine in (("a", cells[:2]), ("b", cells[2:]))]
    runs.append(written(tmp_path / "nothing", [], [cell.labels for cell in cells]))
    runs.append(written(tmp_path / "c", [other(cell, model="w2") for cell in cells]))
    both = together(*runs)
    lines = grids.grids(both)[0].views["ap"].lines
    assert {line.row.name: line.means[grids.GRID].cells for line in lines} == {"msp (a, b)": 4, "msp (c)": 4}
    assert both.remarks == ("a, b and c differ in the model's code or weights: anomaly / toy_net / msp.",)


def test_runs_are_called_by_their_folders_or_as_one_says(tmp_path: Path) -> None:
    for place in ("x/demo", "y/demo", "z"):
        written(tmp_path / place, [made("msp", full(0.5))])
    paths = [str(tmp_path / place) for place in ("x/demo", "y/demo", "z")]

    def names(*given: str, **options: bool) -> list[str]:
        found = merge_runs.opened(given, **options)
        assert isinstance(found, Merged)
        return [source.name for source in found.sources]

    assert names(*paths[1:]) == ["demo", "z"] and names(*paths[:2]) == ["x/demo", "y/demo"]
    assert names(f"before={paths[0]}", paths[1]) == ["before", "y/demo"]
    assert names(*paths, anonymous=True) == ["run 1", "run 2", "run 3"]
    assert not isinstance(merge_runs.opened(paths[:1]), Merged)
    with pytest.raises(UsageError, match=r"the same run directory stands there twice"):
        merge_runs.opened([paths[0], f"{paths[0]}/../demo"])
    with pytest.raises(UsageError, match=r"two runs have the name 'q'; say NAME=RUN"):
        merge_runs.opened([f"q={paths[0]}", f"q={paths[1]}"])
    with pytest.raises(MissingData, match=r"is not a run directory"):
        merge_runs.opened([paths[0], str(tmp_path)])


def test_the_command_reports_several_runs_in_every_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = [made("msp", full(0.5)), made("energy", full(0.6))]
    written(tmp_path / "a", cells[:1])
    written(tmp_path / "b", cells[1:])
    for form in ("md", "tex", "csv", "parquet"):
        assert main(["report", "a", "b", "--format", form]) == 0
        assert capsys.readouterr().out == f"report.{form}\n" and Path(f"report.{form}").stat().st_size
    assert main(["show", "a", "b", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)["records"]
    assert {(entry["run"], entry["method"], entry["key"]) for entry in shown} == {
        ("a", "msp", cells[0].key),
        ("b", "energy", cells[1].key),
    }
    assert main(["show", "a", "b", "--only", "method=msp", "--metrics", "fpr95"]) == 0
    shown = capsys.readouterr().out
    assert "FPR95" in shown and "AP" not in shown and "energy" not in shown


def test_the_paper_table_of_several_runs_has_a_row_for_each_version(tmp_path: Path) -> None:
    cell = made("msp", full(0.5))
    both = together(written(tmp_path / "a", [cell]), written(tmp_path / "b", [other(cell, method="m2")]))
    assert [row.method for row in Document(both).paper.rows] == ["msp (b)", "msp (a)"]
    assert [row.facts is not None for row in Document(both).paper.rows] == [True, True]


def imaged(path: Path, method: str, values: Mapping[str, float], **others: Any) -> Run:
    """A run with figures by image."""
    from bench.results import store

    cell = replace(made(method, full(0.5)), images=len(values), tags={"i1": {"weather": "fog"}}, **others)
    run = written(path, [cell])
    ids = sorted(values)
    arrays = {"ids": np.array(ids), "images.ap": np.array([values[image] for image in ids])}
    store.write_result(path, cell, arrays)
    return run


def test_figures_by_image_of_several_runs_name_theirs(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    imaged(tmp_path / "a", "msp", {"i1": 0.5})
    imaged(tmp_path / "b", "msp", {"i1": 0.4, "i2": 0.5})
    out = tmp_path / "images.parquet"
    assert main(["show", str(tmp_path / "a"), str(tmp_path / "b"), "--per-image", str(out)]) == 0
    table = pandas.read_parquet(out)
    assert [*zip(table["run"], table["image"], table["ap"], strict=True)] == [
        *(("a", "i1", 0.5), ("b", "i1", 0.4), ("b", "i2", 0.5)),
    ]
    assert set(table["key"]) == {made("msp", full(0.5)).key}


def test_the_images_that_changed_most_come_first_with_their_ids(tmp_path: Path) -> None:
    imaged(tmp_path / "a", "msp", {"i1": 0.5, "i2": 0.5, "i3": 0.5, "i4": np.nan, "x": 0.1})
    imaged(tmp_path / "b", "msp", {"i1": 0.1, "i2": 0.6, "i3": 0.5, "i4": 0.5, "y": 0.1})
    found = compare.by_image(compare.side(str(tmp_path / "a")), compare.side(str(tmp_path / "b")))
    assert [(one.image, one.difference) for one in found] == [
        ("i1", pytest.approx(-0.4)), ("i2", pytest.approx(0.1)), ("i3", 0.0), ("i4", None),
    ]  # fmt: skip
    assert found[0].tags == {"weather": "fog"} and found[3].one is None and found[3].other == 0.5
    with pytest.raises(UnknownName, match=r"--metrics: unknown metric 'aap'; did you mean 'ap'"):
        compare.by_image(compare.side(str(tmp_path / "a")), compare.side(str(tmp_path / "b")), ["aap"])


def test_the_command_prints_and_exports_what_changed_by_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pandas = pytest.importorskip("pandas")
    imaged(tmp_path / "a", "msp", {"=i1": 0.5, "i2": 0.5, "i3": 0.5})
    imaged(tmp_path / "b", "msp", {"=i1": 0.1, "i2": 0.6, "i3": np.nan})
    argv = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--per-image"]
    assert main([*argv, "--top", "1"]) == 0
    shown = capsys.readouterr().out
    assert (
        "-40.00" in shown and "i2" not in shown and "2 images have the figure in both; 1 more are not listed." in shown
    )
    assert main([*argv, "--export", str(tmp_path / "i.csv")]) == 0
    rows_ = list(csv.DictReader(io.StringIO((tmp_path / "i.csv").read_text())))
    assert [row["image"] for row in rows_] == ["'=i1", "i2", "i3"] and rows_[2]["difference"] == ""
    assert main([*argv, "--export", str(tmp_path / "i.parquet")]) == 0
    table = pandas.read_parquet(tmp_path / "i.parquet")
    assert table["difference"].tolist()[:2] == pytest.approx([-0.4, 0.1]) and table["image"][0] == "=i1"
    assert main([*argv, "--export", str(tmp_path / "i.txt")]) == 2
    assert "must end in .csv or .parquet" in capsys.readouterr().err
    assert main([*argv[:-1], "--export", str(tmp_path / "c.csv")]) == 0
    assert [row["metric"] for row in records((tmp_path / "c.csv").read_text())] == list(METRICS)
    assert main([*argv, "--fail-if", "ap < 0"]) == 2
    assert "leave out --per-image" in capsys.readouterr().err


def test_differences_of_cells_can_be_of_some_metrics(tmp_path: Path) -> None:
    written(tmp_path / "a", [made("msp", full(0.5))])
    written(tmp_path / "b", [made("msp", full(0.6))])
    sides = compare.side(str(tmp_path / "a")), compare.side(str(tmp_path / "b"))
    assert [one.metric for one in compare.compare(*sides)] == list(METRICS)
    (one,) = compare.compare(*sides, ["ap"])
    assert (one.lo, one.hi) == (pytest.approx(0.1), pytest.approx(0.1)) and one.clear


@pytest.mark.parametrize("width", [40, 60, 160])
def test_differences_fit_terminals_of_any_width(tmp_path: Path, width: int) -> None:
    cells = [made("msp", full(0.5)), made("energy (fitted T)", full(0.6, Undefined("no anomaly in any image")))]
    written(tmp_path / "a", cells)
    written(tmp_path / "b", [other(cell) for cell in cells])
    sides = compare.side(f"{tmp_path / 'a'}@method=msp"), compare.side(f"{tmp_path / 'b'}@method=*")
    found = compare.compare(*sides)
    text = listings.differences(found, width)
    assert max(map(len, text.splitlines())) <= max(width, 42) and text.count("B - A") == (1 if width == 160 else 2)
    assert "+1.00" in text and "no anomaly in any image" in " ".join(text.split())


def test_an_undefined_figure_and_a_pair_that_is_not_applicable_survive_merging(tmp_path: Path) -> None:
    absent = made("knn", dict.fromkeys(METRICS, Undefined("x")), not_applicable="no features", images=0)
    undefined = made("msp", full(0.5, Undefined("no anomaly")))
    both = together(written(tmp_path / "a", [absent]), written(tmp_path / "b", [undefined, absent]))
    text = writing.markdown(both, [])
    assert "Not applicable: knn on toy_net: no features" in text and "<sup>1</sup> no anomaly" in text
    assert len(both.results) == 2
