"""A run and a comparison below a cell of a notebook: the figures of the terminal, as HTML that obeys no label."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import test_grids
from test_reports import HOSTILE, full, result, run_of

from bench.api import Undefined
from bench.report.run import Run
from bench.results.store import Run as Stored


class Read(HTMLParser):
    """The cells of each table, row by row, and the tags that there are."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data


PLAIN = {"b", "br", "div", "h4", "small", "sup", "table", "tbody", "td", "th", "thead", "tr"}


def hostile(tmp_path: Path) -> Stored:
    results = [
        result(HOSTILE, full(0.75), dataset=HOSTILE),
        result("head", full(0.9), dataset=HOSTILE, outliers=True),
        result("cut", full(0.5) | {"fpr95": Undefined(HOSTILE)}, dataset=HOSTILE, partial=True),
    ]
    return run_of(tmp_path / "run", results, title=HOSTILE, note=HOSTILE)


def test_a_run_shows_its_figures_and_obeys_no_label(tmp_path: Path) -> None:
    run = Run(hostile(tmp_path))
    read = Read(run._repr_html_())
    assert read.tags <= PLAIN, "else a label was markup"
    assert ["#", "Method", "AUROC % ↑", "FPR95 % ↓", "Threshold"] in read.rows
    rows = {row[1]: row for row in read.rows if len(row) == 5}
    assert rows[HOSTILE][2] == "75.00" + "73.00–77.00" and rows["head"][0] == "1"
    assert rows["cut (partial, 20 images)"][0] == "" and rows["cut (partial, 20 images)"][3] == "n/a1"
    printed = re.findall(r"\d+\.\d\d", run.table())
    assert {number for row in rows.values() for number in re.findall(r"^\d+\.\d\d", row[2])} <= set(printed)


def test_a_grid_shows_its_means_and_an_empty_run_says_so(tmp_path: Path) -> None:
    run = Run(test_grids.run_of(tmp_path / "grid", test_grids.rows()))
    read = Read(run._repr_html_())
    assert read.tags <= PLAIN and any("clean" in row for row in read.rows)
    assert "No results yet." in Run(run_of(tmp_path / "none", [], missing=["msp"]))._repr_html_()


def test_a_comparison_shows_each_figure_that_differs_once(tmp_path: Path) -> None:
    run = Run(hostile(tmp_path))
    differences = run.only(method="head").compare(run.only(method=HOSTILE.replace("[", "[[]")))
    read = Read(differences._repr_html_())
    assert read.tags <= PLAIN and read.rows[0][:5] == ["cell", "metric", "A", "B", "B - A"]
    shown = {row[1]: row[2:5] for row in read.rows[1:]}
    assert shown == {"auroc": ["90.00", "75.00", "-15.00"]}, "the other two are equal and counted below"
    assert "2 of 3 figures are equal in A and B" in differences._repr_html_()
