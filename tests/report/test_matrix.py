"""The leaderboard at a glance: which rows and figures it has, who is marked, what the mean rank is over."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import writing
from test_grids import rows
from test_reports import MIOU, RANKING, full, result, run_of

from bench.api import Metric, Undefined, Value
from bench.report import document
from bench.report.document import Document
from bench.report.figures import UNMARKED
from bench.report.matrix import LEADING, Line, Matrix
from bench.report.selection import Choice
from bench.results import store
from bench.results.store import Result, Run

LEVELS = {"msp": 0.7, "energy": 0.8, "entropy": 0.803, "head": 0.9}
SPREAD = {"msp": 0.001, "energy": 0.002, "entropy": 0.005, "head": 0.001}


def street(path: Path) -> Run:
    """Four methods on two networks and three data sets; the second network lacks one, ``head`` saw outliers."""
    results = [
        result(method, full(value + 0.01 * (model == "n2")), model=model, dataset=dataset, outliers=method == "head")
        for method, value in LEVELS.items()
        for model, dataset in (("n1", "A"), ("n2", "A"), ("n1", "B"), ("n2", "B"), ("n1", "C"))
    ]
    return run_of(path, [*results, result(None, {"miou": 0.4}, model="n1", protocol="miou", definitions=MIOU)], SPREAD)


def matrix(run: Run, choice: Choice | None = None) -> Matrix:
    return Document(run, choice or Choice()).matrix


def by_name(of: Matrix) -> dict[str, Line]:
    return {line.name: line for line in of.lines}


def test_rows_are_methods_with_their_network_and_columns_tasks_with_their_data_sets(tmp_path: Path) -> None:
    board = matrix(street(tmp_path))
    assert [(block.title, block.dataset, list(block.metrics)) for block in board.blocks] == [
        ("anomaly", name, ["auroc", "fpr95"]) for name in "ABC"
    ]
    assert [group.outliers for group in board.groups] == [False, True]
    assert [line.name for line in board.groups[0].lines] == [
        *("entropy on n2", "energy on n2", "entropy on n1", "energy on n1", "msp on n2", "msp on n1")
    ]
    line = by_name(board)["msp on n2"]
    assert [figure.note for figure in line.figures] == [None] * 4 + [1, 1] and "not asked for" in board.notes[0]
    facts = by_name(board)["msp on n1"].facts
    assert facts and facts.miou and facts.miou.value == 0.4, "mIoU is a fact of the network, not a column group"


def test_marks_say_who_leads_clearly_and_who_is_not_clearly_worse(tmp_path: Path) -> None:
    board = matrix(street(tmp_path))
    lines, outliers = board.groups[0].lines, board.groups[1].lines
    level = {line.name for line in lines if line.figures[0].level}
    assert level == {"entropy on n2", "energy on n2", "entropy on n1"} and not any(
        line.figures[0].best for line in lines
    )
    assert [line.figures[0].best for line in outliers] == [True, False]
    assert [board.lead(group, 0) for group in board.groups] == ["not clear", "clear"]
    assert [line.name for line in board.groups[1].leading(0)] == ["head on n2"]


def test_without_a_bootstrap_nothing_is_marked_and_the_matrix_says_so(tmp_path: Path) -> None:
    values = {name: {"auroc": Value(value)} for name, value in LEVELS.items()}
    board = matrix(run_of(tmp_path, [result(name, value, dataset=d) for name, value in values.items() for d in "AB"]))
    assert not any(figure.level for line in board.lines for figure in line.figures)
    assert board.remarks == (UNMARKED,) and board.lead(board.groups[0], 0) == "not clear"


def test_the_mean_rank_is_over_tasks_that_rank_most_rows_and_says_where_one_is_lacking(tmp_path: Path) -> None:
    run = street(tmp_path)
    board = matrix(run)
    assert board.groups[0].counted == (0, 1), "three of six rows are ranked on C"
    assert {line.rank.text for line in board.groups[0].lines if line.rank} == {"1.0", "2.0", "3.0", "4.0", "5.0", "6.0"}
    lost = [each for each in run.results if not is_cell(each, "entropy", "n2", "B")]
    lacking = matrix(replace(run, results=tuple(lost)))
    last = lacking.groups[0].lines[-1]
    assert (last.name, last.rank and last.rank.text) == ("entropy on n2", "1.0 (1 of 2)")


def is_cell(each: Result, method: str, model: str, dataset: str) -> bool:
    return (each.labels.method, each.labels.model, each.labels.dataset) == (method, model, dataset)


def test_partial_rows_are_shown_and_neither_ranked_nor_marked(tmp_path: Path) -> None:
    short = replace(result("best", full(0.99)), partial=True, images=3)
    board = matrix(run_of(tmp_path, [short, result("msp", full(0.7)), result("energy", full(0.8))]))
    line = by_name(board)["best on toynet"]
    assert line.rank is None and line.ranks == (None,) and not line.figures[0].level and line.figures[0].partial == 3
    assert board.groups[0].leading(0)[0].method == "energy" and board.groups[0].lines[-1] is line


def test_a_grid_is_its_mean_for_all_networks_and_nothing_leads_while_it_is_unfinished(tmp_path: Path) -> None:
    both = rows(["msp", "energy"]) + rows(["msp", "energy"], model="enet")
    board = matrix(run_of(tmp_path / "whole", both))
    assert [(block.dataset, block.grid) for block in board.blocks] == [("toytown", False), ("toytown, corrupted", True)]
    assert "mean over 3 corruptions at 2 severities" in board.blocks[1].about
    figures = {line.name: line.figures[2] for line in board.lines}
    assert figures["energy on toynet"].level and not figures["msp on toynet"].level
    assert by_name(board)["energy on enet"].ranks == (1, 1), "ranks are among the rows of all networks"
    whole = run_of(tmp_path / "part", both)
    lost = next(each for each in whole.results if is_cell(each, "msp", "enet", "toytown+fog-3"))
    store.result_path(whole.path, lost.key).unlink()
    part = matrix(store.read_run(whole.path))
    assert "5 of 6" in str(by_name(part)["msp on enet"].figures[2].value)
    assert not any(figure.level for line in part.lines for figure in line.figures[2:])


@pytest.mark.parametrize("names", LEADING)
def test_the_figures_that_papers_print_are_chosen_where_a_protocol_has_them(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    order = ["other", "fpr95" if "fpr95" not in names else "another", *reversed(names)]
    metrics = {name: Metric(name, "made up", "lower" if name in ("fpr95", "aurc") else "higher") for name in order}
    values = dict.fromkeys(order, 0.5)
    board = matrix(run_of(tmp_path, [result("msp", values, definitions=metrics)]))
    wanted = names if names != ("ap", "fpr95") or "mean_f1" not in order else LEADING[1]
    assert tuple(board.blocks[0].metrics) == wanted


def test_chosen_metrics_are_the_columns_and_the_first_ranks(tmp_path: Path) -> None:
    run = street(tmp_path)
    board = document.build(run, Choice(metrics=("fpr95", "auroc"))).matrix
    assert list(board.blocks[0].metrics) == ["fpr95", "auroc"]
    assert {line.ranks[0] for line in board.groups[0].lines} == {1}


def test_networks_are_rows_where_no_protocol_has_methods(tmp_path: Path) -> None:
    results = [
        result(None, {"miou": value}, model=name, protocol="miou", definitions=MIOU)
        for name, value in (("enet", 0.4), ("toynet", 0.6))
    ]
    board = matrix(run_of(tmp_path, results))
    assert [line.name for line in board.lines] == ["toynet", "enet"] and not board.scored and not board.several


def test_text_formats_begin_with_it_and_a_narrow_terminal_has_the_figures_that_rank(tmp_path: Path) -> None:
    run = street(tmp_path)
    markdown = writing.markdown(run)
    assert re.findall(r"^## (.*)$", markdown, re.M)[0] == "Leaderboard" and "*81.30*" in markdown
    assert r"\textbf{Leaderboard}" in writing.latex(run) and r"\underline{81.30}" in writing.latex(run)
    wide, narrow = (writing.terminal(run, width).split("T1 anomaly, A")[0] for width in (120, 60))
    assert "FPR95" in wide and "FPR95" not in narrow and narrow.count("rank") == 1
    assert "91.00*" in narrow and "81.30~" in narrow
    assert max(map(len, writing.terminal(run, 60).splitlines())) <= 60
    alone = run_of(tmp_path / "one", [result("msp", full(0.7)), result("energy", full(0.8))])
    assert "Leaderboard" not in writing.markdown(alone), "it would be the table of the only task again"


def test_what_is_undefined_has_its_reason(tmp_path: Path) -> None:
    figures = {**full(0.8), "fpr95": Undefined("no anomaly in any image")}
    board = matrix(run_of(tmp_path, [result("msp", figures, definitions=RANKING), result("energy", full(0.7))]))
    figure = by_name(board)["msp on toynet"].figures[1]
    assert figure.note == 1 and board.notes == ("no anomaly in any image",)
