"""A grid of corruptions in numbers and on pages: what a mean is over, who leads, what is said of what is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import writing
from test_reports import HOSTILE, MIOU, RANKING, Page, carried, full, result, run_of

from bench.api import Undefined, Value
from bench.report import grids
from bench.report.grids import CLEAN, GRID, Grid, Place
from bench.report.page import sections, templates
from bench.results import store, summary
from bench.results.store import Plan, Ref, Result, Run

SPOTS = (("fog", 3), ("fog", 1), ("gaussian_noise", 1), ("gaussian_noise", 3), ("snow", 1), ("snow", 3))
Figures = Mapping[str, float | Value | Undefined]


def cell(
    method: str | None,
    figures: Figures,
    spot: tuple[str, int] | None,
    *,
    base: str = "toytown",
    order: str = "rgb",
    size: int = 8,
    **others: Any,
) -> Result:
    """Make the result of a data set under a corruption, or of the data set as it is."""
    params: dict[str, Any] = {"images": size}
    label = base
    if spot:
        name, severity = spot
        params["corruption"] = {"name": name, "severity": severity, "order": order, "seed": 0}
        label = f"{base}+{name}-{severity}" + ("-bgr" if order == "bgr" else "")
    made = result(method, figures, dataset=label, **others)
    dataset = Ref("dataset", "toytown", params, label, params)
    return replace(made, cell=replace(made.cell, dataset=dataset))


def level(method: str | None, spot: tuple[str, int] | None) -> float:
    """A figure that differs in every cell, falls with the severity and is higher for energy than for msp."""
    index = 0 if spot is None else 1 + sorted(SPOTS).index(spot)
    return 0.9 - 0.03 * index - (0.01 if method == "msp" else 0.0)


def rows(
    methods: Sequence[str | None] = ("msp", "energy"),
    figures: Callable[[str | None, tuple[str, int] | None], Figures] = lambda method, spot: full(level(method, spot)),
    clean: bool = True,
    **others: Any,
) -> list[Result]:
    spots = (None, *SPOTS) if clean else SPOTS
    return [cell(method, figures(method, spot), spot, **others) for spot in spots for method in methods]


def unfinished(path: Path, results: Sequence[Result], absent: Callable[[Result], bool]) -> Run:
    """Write a run whose plan has every one of the results, and which lacks some."""
    run = run_of(path, results)
    for each in results:
        if absent(each):
            store.result_path(path, each.key).unlink()
    return store.read_run(run.path)


def only(run: Run) -> Grid:
    (grid,) = grids.grids(run)
    return grid


def means(grid: Grid, method: str, metric: str = "auroc") -> Mapping[Place, summary.Mean]:
    return next(line.means for line in grid.views[metric].lines if line.row.name == method)


def best(grid: Grid, place: Place, metric: str = "auroc") -> set[str]:
    return {line.row.name for line in grid.views[metric].lines if place in line.best}


def test_corruptions_stand_by_family_in_the_order_of_the_library_and_severities_ascend(tmp_path: Path) -> None:
    grid = only(run_of(tmp_path, rows()))
    assert grid.families == {"noise": ("gaussian_noise",), "weather": ("snow", "fog")}
    assert grid.corruptions == ("gaussian_noise", "snow", "fog") and grid.severities == (1, 3)
    assert [place.title for place in grid.places] == ["mean", "clean", "severity 1", "severity 3", "noise", "weather"]
    assert (grid.model, grid.dataset, grid.order, grid.leading) == ("toynet", "toytown", "rgb", "auroc")


def test_a_mean_is_unweighted_over_its_cells(tmp_path: Path) -> None:
    found = means(only(run_of(tmp_path, rows())), "energy")
    over = {
        GRID: SPOTS,
        Place("severity", 3): [("fog", 3), ("gaussian_noise", 3), ("snow", 3)],
        Place("family", "weather"): [("fog", 1), ("fog", 3), ("snow", 1), ("snow", 3)],
        Place("corruption", "snow"): [("snow", 1), ("snow", 3)],
        CLEAN: [None],
    }
    for place, spots in over.items():
        assert found[place].value == pytest.approx(np.mean([level("energy", spot) for spot in spots]), abs=1e-12)
        assert (found[place].cells, found[place].of) == (len(spots), len(spots))


def test_an_uneven_grid_has_the_mean_of_the_cells_that_were_asked_for(tmp_path: Path) -> None:
    results = [each for each in rows(["msp"]) if not each.labels.dataset.endswith("fog-1")]
    grid = only(run_of(tmp_path, results))
    found = means(grid, "msp")
    assert (found[GRID].cells, found[GRID].of, found[Place("corruption", "fog")].of) == (5, 5, 1)
    assert grid.views["auroc"].lines[0].mark(("fog", 1)) == ""


def test_the_means_are_those_of_summaries_json_to_the_bit(tmp_path: Path) -> None:
    results = rows()
    run = run_of(tmp_path, results)
    datasets = [each.labels.dataset for each in results if "+" in each.labels.dataset]
    rule: Any = {"name": "Mean over the grid", "protocol": "anomaly", "datasets": datasets}
    run = replace(run, plan=replace(run.plan, summaries=(rule,)))
    entries = summary.compute(run)
    assert len(entries) == 4
    for entry in entries:
        mean = means(only(run), entry["method"], entry["metric"])[GRID]
        assert {name: getattr(mean, name) for name in summary.FIELDS} == {name: entry[name] for name in summary.FIELDS}
        assert entry["lo"] < entry["value"] < entry["hi"]


@pytest.mark.parametrize("what", ["missing", "partial", "undefined"])
def test_a_mean_that_lacks_a_cell_has_no_value_but_says_how_many_are_there(tmp_path: Path, what: str) -> None:
    results = rows()
    index = next(i for i, each in enumerate(results) if each.labels == results[2].labels)  # msp in fog 3
    assert results[index].labels.dataset == "toytown+fog-3" and results[index].labels.method == "msp"
    if what == "partial":
        results[index] = replace(results[index], partial=True, images=3)
    if what == "undefined":
        results[index] = replace(results[index], metrics=dict.fromkeys(RANKING, Undefined("nothing is wrong")))
    key = results[index].key
    grid = only(unfinished(tmp_path, results, lambda each: what == "missing" and each.key == key))
    found = means(grid, "msp")
    lacking = {GRID, Place("severity", 3), Place("family", "weather"), Place("corruption", "fog")}
    assert {place for place, mean in found.items() if mean.value is None} == lacking
    assert (found[GRID].cells, found[GRID].of) == (5, 6)
    first, last = grid.views["auroc"].lines
    assert (first.row.name, first.rank) == ("energy", 1) and (last.row.name, last.rank) == ("msp", None)
    assert last.mark(("fog", 3)) == {"missing": "\N{HORIZONTAL ELLIPSIS}", "partial": "*", "undefined": "n/a"}[what]
    assert best(grid, GRID) == best(grid, Place("corruption", "fog")) == set()  # nobody can lead an unfinished row
    assert best(grid, Place("corruption", "snow")) == {"energy"}
    assert grid.views["auroc"].incomplete == (("nothing is wrong",) if what == "undefined" else ())
    page = writing.html(grid.run, [])
    for text in (writing.markdown(grid.run, []), Page(page).text + json.dumps(carried(page)["grids"])):
        assert "5 of 6" in text and "1 of 2" in text
    assert "5/6" in writing.terminal(grid.run, 80)


@pytest.mark.parametrize(("what", "leaders"), [("missing", set()), ("undefined", {"energy"})])
def test_nobody_leads_while_a_row_is_unfinished_but_one_that_stays_undefined_does_not_count(
    tmp_path: Path, what: str, leaders: set[str]
) -> None:
    results = rows(
        ["msp", "energy", "entropy"], lambda method, spot: full(level(method, spot) - 0.02 * (method == "entropy"))
    )
    index = next(i for i, each in enumerate(results) if list(each.labels)[2:] == ["toytown+fog-3", "entropy"])
    key = results[index].key
    if what == "undefined":
        results[index] = replace(results[index], metrics=dict.fromkeys(RANKING, Undefined("nothing is wrong")))
    grid = only(unfinished(tmp_path, results, lambda each: what == "missing" and each.key == key))
    assert best(grid, GRID) == best(grid, Place("corruption", "fog")) == leaders
    assert best(grid, Place("corruption", "snow")) == {"energy"}


def test_a_method_without_any_result_is_there_with_none_of_its_cells(tmp_path: Path) -> None:
    grid = only(unfinished(tmp_path, rows(), lambda each: each.labels.method == "msp"))
    found = means(grid, "msp")
    assert (found[GRID].cells, found[GRID].of, found[CLEAN].cells) == (0, 6, 0)
    assert not grid.views["auroc"].lines[0].best


@pytest.mark.parametrize("absent", ["toytown+fog-3", "toytown+snow-1"])
def test_a_data_set_without_any_result_counts_by_its_label(tmp_path: Path, absent: str) -> None:
    """The first of the plan and one in the middle: nothing else says how its images are corrupted."""
    results = rows(clean=False)
    assert results[0].labels.dataset == "toytown+fog-3"
    grid = only(unfinished(tmp_path, results, lambda each: each.labels.dataset == absent))
    found = means(grid, "energy")
    assert (found[GRID].cells, found[GRID].of) == (5, 6) and absent in grid.datasets
    assert len(grid.results) == 10 and grid.severities == (1, 3)


def test_rows_are_ranked_by_the_mean_over_the_grid_those_that_saw_outliers_apart(tmp_path: Path) -> None:
    results = rows(["msp", "energy"]) + rows(["head"], lambda method, spot: full(0.95), outliers=True)
    view = only(run_of(tmp_path, results)).views["auroc"]
    assert [(line.rank, line.row.name) for line in view.lines] == [(1, "energy"), (2, "msp"), (1, "head")]


def test_a_metric_for_which_lower_is_better_has_its_own_order_and_no_rank(tmp_path: Path) -> None:
    def figures(method: str | None, spot: tuple[str, int] | None) -> Figures:
        return full(level(method, spot), 0.2 if method == "msp" else 0.3)

    view = only(run_of(tmp_path, rows(figures=figures))).views["fpr95"]
    assert [(line.rank, line.row.name) for line in view.lines] == [(None, "msp"), (None, "energy")]
    assert GRID in view.lines[0].best and not view.lines[1].best


def test_a_metric_without_a_better_direction_has_no_mean(tmp_path: Path) -> None:
    grid = only(run_of(tmp_path, rows()))
    assert list(grid.directed) == ["auroc", "fpr95"] and "f1_threshold" in grid.metrics
    with pytest.raises(KeyError):
        grid.views["f1_threshold"]


def test_best_needs_a_paired_difference_of_the_means_outside_the_interval(tmp_path: Path) -> None:
    """Rows vary by 0.01 with the images, so their intervals overlap; the lead of 0.01 is there in each resample."""
    sure = only(run_of(tmp_path / "a", rows()))
    low, high = (means(sure, name)[GRID] for name in ("msp", "energy"))
    assert low.hi is not None and high.lo is not None and low.hi > high.lo
    assert all(best(sure, place) == {"energy"} for place in sure.every_place)
    chance = only(run_of(tmp_path / "b", rows(), spread={"msp": 0.05}))
    assert not any(best(chance, place) for place in chance.every_place)


def test_a_mean_can_lead_where_no_cell_does(tmp_path: Path) -> None:
    """Noise of a cell's own shrinks in the mean: 0.01 is lost in a noise of 0.008 and clear in that of a sixth."""
    grid = only(run_of(tmp_path, rows(), spread={"msp": 0.008}))
    assert best(grid, GRID) == {"energy"} and not best(grid, CLEAN)


def test_a_lead_within_the_certified_errors_is_not_best(tmp_path: Path) -> None:
    for err, leaders in ((0.004, {"energy"}), (0.006, set())):

        def figures(method: str | None, spot: tuple[str, int] | None, err: float = err) -> Figures:
            value = level(method, spot)
            return full(0.0) | {"auroc": Value(value, err, value - 0.02, value + 0.02)}

        grid = only(run_of(tmp_path / str(err), rows(figures=figures)))
        assert best(grid, GRID) == leaders and means(grid, "msp")[GRID].err == pytest.approx(err)


def test_rows_that_saw_other_images_in_one_cell_are_not_compared_where_it_counts(tmp_path: Path) -> None:
    results = rows()
    results[2] = replace(results[2], images=19)
    grid = only(run_of(tmp_path, results))
    assert not best(grid, GRID) and not best(grid, Place("corruption", "fog"))
    assert best(grid, Place("corruption", "snow")) == {"energy"}


def test_without_a_bootstrap_there_are_means_without_intervals_and_nothing_is_best(tmp_path: Path) -> None:
    grid = only(run_of(tmp_path, rows(figures=lambda method, spot: {"auroc": Value(level(method, spot))})))
    mean = means(grid, "energy")[GRID]
    assert mean.value is not None and mean.lo is None and not best(grid, GRID)
    assert "95 %" not in writing.terminal(grid.run, 80).split("anomaly on toytown, corrupted")[1]


def test_models_orders_and_data_sets_have_grids_of_their_own(tmp_path: Path) -> None:
    results = rows(["msp"]) + rows(["msp"], model="enet") + rows(["msp"], order="bgr", clean=False)
    results += rows(["msp"], base="other")
    found = grids.grids(run_of(tmp_path, results))
    assert [(grid.model, grid.dataset, grid.order) for grid in found] == [
        ("toynet", "toytown", "rgb"),
        ("enet", "toytown", "rgb"),
        ("toynet", "toytown", "bgr"),
        ("toynet", "other", "rgb"),
    ]
    assert "BGR" in found[2].name and CLEAN in found[2].places
    assert all(len(grid.rows) == 1 and grid.views["auroc"].lines[0].means[GRID].complete for grid in found)


def test_the_clean_data_set_is_the_one_with_the_same_parameters(tmp_path: Path) -> None:
    other = [cell("msp", full(0.5), None, size=20), *rows(["msp"], clean=False)]
    assert means(only(run_of(tmp_path / "a", other)), "msp")[CLEAN].value is None
    assert CLEAN not in only(run_of(tmp_path / "b", rows(["msp"], clean=False))).places


def test_two_versions_of_a_protocol_share_no_mean(tmp_path: Path) -> None:
    results = rows(["msp"], clean=False)
    newer = results[0].about | {"protocol": {"source": "", "version": 2}}
    found = grids.grids(run_of(tmp_path, [replace(results[0], about=newer), *results[1:]]))
    counts = [(means(grid, "msp")[GRID].cells, means(grid, "msp")[GRID].of) for grid in found]
    assert counts == [(1, 6), (5, 6)]


def test_a_protocol_without_methods_has_models_for_rows(tmp_path: Path) -> None:
    def figures(model: str) -> Callable[[str | None, tuple[str, int] | None], Figures]:
        return lambda method, spot: {"miou": level(None, spot) - (0.1 if model == "enet" else 0.0)}

    results = [
        each
        for model in ("enet", "deeplab")
        for each in rows([None], figures(model), model=model, protocol="miou", definitions=MIOU)
    ]
    run = run_of(tmp_path, results)
    grid = only(run)
    assert not grid.scored
    assert [(line.rank, line.row.name) for line in grid.views["miou"].lines] == [(1, "deeplab"), (2, "enet")]
    assert re.search(r"\| *# \| Model *\| *mean % ↑ \| *clean", writing.markdown(run, []))
    assert "model   " in writing.terminal(run, 80) and "mIoU by corruption" in writing.html(run, [])


def test_a_method_that_cannot_be_evaluated_is_a_line_below_and_no_row(tmp_path: Path) -> None:
    why = "toynet gives no features"
    undefined = dict.fromkeys(RANKING, Undefined(why))
    results = rows(["msp"]) + rows(["knn"], lambda method, spot: undefined, not_applicable=why, images=0)
    grid = only(run_of(tmp_path, results))
    assert [row.name for row in grid.rows] == ["msp"] and grid.absences[0].pairs == ("knn on toynet",)
    text = writing.markdown(grid.run, [])
    assert text.split("corrupted\n")[1].count(f"Not applicable: knn on toynet: {why}") == 1
    nobody = run_of(tmp_path / "b", rows(["knn"], lambda method, spot: undefined, not_applicable=why, images=0))
    assert only(nobody).rows == ()
    assert why in writing.terminal(nobody, 60) and why in writing.markdown(nobody, []) and writing.html(nobody, [])


def test_a_lone_corrupted_data_set_keeps_its_table(tmp_path: Path) -> None:
    run = run_of(tmp_path, [each for each in rows() if each.labels.dataset in ("toytown", "toytown+fog-3")])
    assert not grids.grids(run)
    assert "## anomaly: toytown+fog-3" in writing.markdown(run, [])
    assert not carried(writing.html(run, []))["grids"]


def test_a_label_that_only_looks_corrupted_is_none(tmp_path: Path) -> None:
    results = [cell("msp", full(0.8), None, base=label) for label in ("my+fog-1", "my+fog-2", "my+blah-2")]
    assert not grids.grids(run_of(tmp_path, results))


def test_figures_stand_between_the_best_and_the_worst_cell_of_all_methods(tmp_path: Path) -> None:
    view = only(run_of(tmp_path / "a", rows())).views["auroc"]
    values = [level(method, spot) for method in ("msp", "energy") for spot in SPOTS]
    assert view.ends == (pytest.approx(max(values)), pytest.approx(min(values)))
    assert view.standing(max(values)) == pytest.approx(0) and view.standing(min(values)) == pytest.approx(1)
    lower = only(run_of(tmp_path / "b", rows(figures=lambda method, spot: full(0.5, level(method, spot)))))
    assert lower.views["fpr95"].standing(min(values)) == pytest.approx(0)
    assert lower.views["auroc"].standing(0.5) == 0.0


def rule(name: str, *spots: tuple[str, int]) -> dict[str, Any]:
    return {"name": name, "protocol": "anomaly", "datasets": [f"toytown+{kind}-{level}" for kind, level in spots]}


def summarised(path: Path) -> tuple[Run, list[dict[str, Any]]]:
    """Write a run with means that a grid shows, two of a list that it does not, and one over part of it."""
    fog, snow, noise = (tuple(spot for spot in SPOTS if spot[0] == name) for name in ("fog", "snow", "gaussian_noise"))
    rules = [
        rule("Mean over the grid", *SPOTS),
        rule("By family: noise", *noise),
        rule("By family: weather", *fog, *snow),
        rule("By corruption: fog", *fog),
        rule("By severity: severity 1", *(spot for spot in SPOTS if spot[1] == 1)),
        rule("By their family: wet", *noise, *snow),
        rule("By their family: dry", *noise, *fog),
        rule("Some: of it", *fog, ("snow", 1)),
        {"name": "With the clean: one", "protocol": "anomaly", "datasets": ["toytown", "toytown+fog-1"]},
    ]
    run = run_of(path, rows())
    run = replace(run, plan=replace(run.plan, summaries=tuple(rules)))
    return run, summary.compute(run)


def test_means_that_a_grid_shows_are_not_shown_again_and_lists_share_a_table(tmp_path: Path) -> None:
    run, entries = summarised(tmp_path)
    text = writing.markdown(run, entries)
    heads = re.findall(r"^## (.*): anomaly$", text, re.M)
    assert heads == ["By their family", "Some", "With the clean: one"]
    body = re.sub(" +", " ", text.split("## By their family")[1].split("##")[0])
    assert [line.split(" | ")[0] for line in body.splitlines() if line[:3] in ("| w", "| d")] == ["| wet"] * 2 + [
        "| dry"
    ] * 2
    assert "| Of | Method | Model | Cells |" in body
    page = Page(writing.html(run, entries)).text
    assert "wet" in page and "By family: noise" not in page and "With the clean: one" in page


def test_operating_points_on_the_cells_of_a_grid_share_a_table(tmp_path: Path) -> None:
    run = run_of(tmp_path, rows())
    entry = {"protocol": "anomaly", "model": "toynet", "method": "msp", "metric": "auroc", "value": 0.5}
    entry |= {"lo": None, "hi": None, "cells": 1, "of": 1, "reason": None}
    run = replace(run, plan=replace(run.plan, operating_points=({"name": "tpr95"},)))
    labels = ["other", *(f"toytown+{name}-{severity}" for name, severity in SPOTS)]
    text = writing.markdown(run, [entry | {"name": f"tpr95, on {label}"} for label in labels])
    assert re.findall(r"^## (tpr95.*)$", text, re.M) == [
        "tpr95, on other: anomaly",
        "tpr95, on corrupted data sets: anomaly",
    ]
    own = entry | {"metric": "tpr", "title": "TPR"}
    entries = [own | {"name": f"tpr95, on {label}"} for label in labels]
    shown = writing.written("terminal", run, entries, width=100).partition("tpr95, on other: anomaly")[2]
    alone, _, of_grid = (re.sub(" +", " ", text) for text in shown.partition("tpr95, on corrupted data sets: anomaly"))
    assert " method TPR" in alone and " msp on toynet 50.00" in alone and "#" not in alone
    assert " of method TPR" in of_grid and " toytown+fog-3 msp on toynet 50.00" in of_grid


def test_markdown_has_the_grid_and_the_clean_table_but_none_of_a_corrupted_data_set(tmp_path: Path) -> None:
    text = writing.markdown(run_of(tmp_path, rows()), [])
    heads = re.findall(r"^## (.*)$", text, re.M)
    assert heads == ["Leaderboard", "anomaly: toytown", "anomaly: toytown, corrupted", "Definitions"]
    assert "toytown+" not in text and "tables of the 6 data sets one by one are left out" in text
    plain = re.sub(" +", " ", text)
    assert "3 corruptions at 2 severities, 6 data sets, model toynet, by AUROC." in plain
    assert "| 1 | energy | **79.50** (" in plain and ") | **90.00** (" in plain
    assert (
        "| Corruption | Family | energy | msp |" in plain and "| gaussian_noise | noise | **79.50** | 78.50 |" in plain
    )
    assert "| gaussian_noise | 81.00 | 78.00 | 79.50 |" in plain
    assert text.count("<details>") == text.count("</details>") == 2  # the second method, the second metric
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}) == 1


def test_the_page_has_every_cell_once_and_each_link_has_a_target(tmp_path: Path) -> None:
    results = rows()
    text = writing.html(run_of(tmp_path, results), [])
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    elsewhere = {link for link in page.links if not link.startswith(("#", "data:"))}  # the suite is in the page
    assert {f"cells/{each.key}.json" for each in results} >= elsewhere
    assert len(re.findall(r'<td class="num h\d">[\d.]+</td>', text)) == 6  # of the row that leads; the script has all
    data = carried(text)
    assert sorted(row[0] for row in data["cells"]["rows"]) == sorted(each.key for each in results)
    (grid,) = data["grids"].values()
    corrupted = {each.key for each in results if "+" in each.labels.dataset}
    assert {key for row in grid["keys"] for line in row for key in line} == corrupted
    view = only(run_of(tmp_path, results)).views["auroc"]
    assert grid["views"][0]["ends"] == pytest.approx(view.ends, rel=1e-4)
    for line, name in zip(grid["views"][0]["rows"], [row[0] for row in grid["rows"]], strict=True):
        means = {each.row.name: each for each in view.lines}[name].means
        assert line["grid"][0] == pytest.approx(means[GRID].value, rel=1e-4)
        assert [mean[0] for mean in line["curve"]] == [
            pytest.approx(means[Place("severity", step) if step else CLEAN].value, rel=1e-4) for step in grid["steps"]
        ]
    assert page.text.count("3 corruptions at 2 severities") == 2
    assert page.text.count("where toytown+") == 1  # one source for all data sets of a grid
    assert page.tags.count("svg") == 3  # the axis and two rows of the clean table; none of the others


def test_the_policy_allows_the_style_of_grids_and_nothing_is_styled_in_place(tmp_path: Path) -> None:
    text = writing.html(run_of(tmp_path, rows()), [])
    style = re.search("<style>(.*?)</style>", text, re.S)
    assert style and templates.policy_hash(style[1]) in text and ".heat" in style[1]
    markup = re.sub("<script>.*?</script>", "", text, flags=re.S)
    assert " style=" not in markup and not re.search(r"url\(|@import|https?:", markup)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_figures_can_be_read_on_every_shade_by_day_and_by_night() -> None:
    """WCAG 2 wants a contrast of 4.5 for text."""
    shades = re.findall(r"--h\d: light-dark\((#\w{6}), (#\w{6})\)", templates.template("grid.css"))
    inks = re.search(r"--ink: light-dark\((#\w{6}), (#\w{6})\)", templates.template("style.css"))
    assert len(shades) == sections.SHADES and inks
    for ink, colours in zip(inks.groups(), zip(*shades, strict=True), strict=True):
        for colour in colours:
            high, low = sorted((luminance(ink), luminance(colour)), reverse=True)
            assert (high + 0.05) / (low + 0.05) > 4.5


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_series_and_words_stand_out_from_the_paper_by_day_and_by_night() -> None:
    """WCAG 2 wants 4.5 for text and 3 for what a graphic is made of."""
    found = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", templates.template("style.css"))
    colours = {name: pair for name, *pair in found}
    series = [name for name in colours if re.fullmatch(r"c\d", name)]
    assert len(series) == 8
    for theme in (0, 1):
        for behind in ("paper", "tint", "best"):
            for name in ("ink", "soft", "link"):
                assert contrast(colours[name][theme], colours[behind][theme]) > 4.5, (name, behind)
        for name in (*series, "mark", "outliers"):
            assert contrast(colours[name][theme], colours["paper"][theme]) > 3, name


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_shows_every_mean_at_any_width(tmp_path: Path, width: int) -> None:
    methods = ["msp", "energy", "entropy", "maxlogit", "odin[temperature=1000]", "mahalanobis"]
    run = run_of(tmp_path, rows(methods))
    text = writing.terminal(run, width)
    assert max(map(len, text.splitlines())) <= width
    grid = text.split("anomaly on toytown, corrupted")[1]
    for word in ("clean", "sev 1", "sev 3", "noise", "weather", "mean", "95 %", "gaussian_noise", *methods):
        assert word in grid
    energy = means(only(run), "energy")
    assert all(f"{100 * (mean.value or 0):.2f}" in grid for mean in energy.values())
    assert "bench report RUN" in grid


def test_hostile_words_stay_words_in_a_grid(tmp_path: Path) -> None:
    results = rows([HOSTILE, "msp"], base=HOSTILE, model=HOSTILE, protocol=HOSTILE)
    run = run_of(tmp_path, results)
    text = writing.html(run, [])
    page = Page(text)
    assert page.tags.count("script") == 2 and "img" not in page.tags and not page.handlers
    assert text.count("<script>alert(1)") == 0 and "<script>alert(1)</script>" in page.text
    marks = set(re.findall(r"<[^>]*>", writing.markdown(run, [])))
    assert marks <= {"<details>", "</details>", "<summary>", "</summary>", "<sup>", "</sup>", "<br>"}
    assert writing.terminal(run, 60)


def test_the_same_results_give_the_same_grid_to_the_byte(tmp_path: Path) -> None:
    first, second = (run_of(tmp_path / name, rows()) for name in "ab")
    assert writing.html(first, []) == writing.html(second, [])
    assert writing.markdown(first, []) == writing.markdown(second, [])


def test_a_plan_of_before_cells_had_labels_counts_what_is_there(tmp_path: Path) -> None:
    results = rows(["msp"])
    run = run_of(tmp_path, results)
    store.write_plan(tmp_path, Plan("demo", "", "", run.plan.keys), "title: A run\n")
    assert means(only(store.read_run(tmp_path)), "msp")[GRID].of == 6
