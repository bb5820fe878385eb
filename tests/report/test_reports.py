"""Pages and tables are read by people who will quote them: each promise of the reports, seen in what they print."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import writing

from bench.api import Metric, Undefined, Value
from bench.core.errors import MissingData, UnknownName
from bench.report import leaderboard, merge_runs, summaries
from bench.report.figures import CLOSE, HIDDEN, UNPAIRED, Absence
from bench.report.merge_runs import Merged
from bench.report.page import templates
from bench.report.selection import Choice
from bench.report.text import difference, number
from bench.reports import markdown
from bench.results import store
from bench.results.store import Cell, CellLabels, Plan, Result, Run

RANKING = {
    "auroc": Metric("AUROC", "area under the ROC curve of all pixels pooled; ties count one half"),
    "fpr95": Metric("FPR95", "smallest false positive rate with a true positive rate of at least 0.95", "lower"),
    "f1_threshold": Metric("Threshold", "the score at which F1 is largest", "neither"),
}
MIOU = {"miou": Metric("mIoU", "mean over the classes of intersection over union")}
HOSTILE = "<script>alert(1)</script>|\"'&`*x*`![y](http://evil.example/z.png)"


def result(
    method: str | None,
    figures: Mapping[str, float | Value | Undefined],
    *,
    model: str = "toynet",
    dataset: str = "toytown",
    protocol: str = "anomaly",
    definitions: Mapping[str, Metric] = RANKING,
    outliers: bool = False,
    **others: Any,
) -> Result:
    """Make a result as a run leaves it; a bare number becomes a value with an interval."""
    labels = {"protocol": protocol, "model": model, "dataset": dataset} | ({"method": method} if method else {})
    cell = {axis: {"name": label, "params": {}} for axis, label in labels.items()} | {"seed": 0}
    values = {
        name: Value(figure, lo=figure - 0.02, hi=figure + 0.02) if isinstance(figure, float) else figure
        for name, figure in figures.items()
    }
    about: dict[str, dict[str, Any]] = {axis: {"source": f"where {label} is from"} for axis, label in labels.items()}
    about["protocol"]["version"] = 1
    if method:
        about["method"]["uses_outliers"] = outliers
    key = hashlib.sha256("/".join(labels.values()).encode()).hexdigest()[:16]
    made = Result(key, Cell.read(cell, CellLabels(**labels), {}), values, definitions, about, images=20, partial=False)
    return replace(made, **others)


def full(auroc: float, fpr95: float = 0.3, threshold: float = -2.5) -> dict[str, float | Value | Undefined]:
    return {"auroc": auroc, "fpr95": fpr95, "f1_threshold": threshold}


def run_of(
    path: Path,
    results: Sequence[Result],
    spread: Mapping[str | None, float] | None = None,
    missing: Sequence[str] = (),
    note: str = "",
    title: str = "A run",
) -> Run:
    """Write a run directory; ``spread`` is the standard deviation, by method, of noise of a row's own."""
    common = np.random.default_rng(1).normal(0, 0.01, 200)  # the draw of images moves all rows alike
    for index, made in enumerate(results):
        own = np.random.default_rng(2 + index).normal(0, (spread or {}).get(made.labels.method, 0.0), 200)
        arrays = {
            f"replicates.{name}": value.value + common + own
            for name, value in made.metrics.items()
            if isinstance(value, Value) and value.lo is not None
        }
        store.write_result(path, made, arrays)
    keys = [made.key for made in results] + [f"{index:016x}" for index in range(len(missing))]
    absent = (CellLabels("anomaly", "toynet", "toytown", name) for name in missing)
    cells = (*(made.labels for made in results), *absent)
    store.write_plan(path, Plan("demo", title, note, tuple(keys), (), cells), "title: A run\n")
    return store.read_run(path)


def ranked(table: leaderboard.Table) -> list[tuple[int | None, str | None]]:
    return [(line.rank, line.method) for line in table.lines]


def bold(table: leaderboard.Table) -> set[tuple[str | None, str]]:
    return {
        (line.method, name)
        for line in table.lines
        for name, figure in zip(table.metrics, line.figures, strict=True)
        if figure.best
    }


class Page(HTMLParser):
    """What a browser would find: tags, addresses, identifiers, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self._raw = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._raw = tag in {"script", "style"}
        for name, value in attrs:
            if name in {"src", "srcset", "data", "poster", "action", "background"} or (
                tag == "link" and name == "href"
            ):
                self.addresses.append(value or "")
            if tag == "a" and name == "href":
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_endtag(self, tag: str) -> None:
        self._raw = False

    def handle_data(self, data: str) -> None:
        if not self._raw:
            self.text += data


def carried(text: str) -> Any:
    """Decode the data that a page carries for its script."""
    found = re.search(r'<script type="application/json" id="data" data-digits="\d+">([A-Za-z0-9+/=]*)</script>', text)
    assert found
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def said_of_cells(text: str) -> dict[str, dict[str, str]]:
    """Find what the page says of each cell when it is asked, by key."""
    cells = carried(text)["cells"]
    words = cells["words"]
    return {
        key: {words[name]: words[text].replace("{key}", key) for name, text in zip(said[::2], said[1::2], strict=True)}
        for key, *_, said in cells["rows"]
    }


def test_the_first_metric_ranks_in_the_direction_that_it_declares(tmp_path: Path) -> None:
    higher = run_of(tmp_path / "a", [result("msp", full(0.7)), result("energy", full(0.9))])
    assert ranked(leaderboard.tables(higher)[0]) == [(1, "energy"), (2, "msp")]
    lower = {name: RANKING[name] for name in ("fpr95", "auroc", "f1_threshold")}
    results = [result(name, full(0.8, fpr), definitions=lower) for name, fpr in (("msp", 0.4), ("energy", 0.2))]
    assert ranked(leaderboard.tables(run_of(tmp_path / "b", results))[0]) == [(1, "energy"), (2, "msp")]


def test_nothing_is_ranked_by_a_metric_without_a_better_direction(tmp_path: Path) -> None:
    only = {"f1_threshold": RANKING["f1_threshold"]}
    results = [
        result(name, {"f1_threshold": value}, definitions=only) for name, value in (("msp", 1.0), ("energy", 2.0))
    ]
    assert ranked(leaderboard.tables(run_of(tmp_path, results))[0]) == [(None, "msp"), (None, "energy")]


def test_equal_values_share_a_rank_and_the_next_rank_is_skipped(tmp_path: Path) -> None:
    values = {"msp": 0.8, "energy": 0.9, "entropy": 0.9, "maxlogit": 0.7}
    table = leaderboard.tables(run_of(tmp_path, [result(name, full(value)) for name, value in values.items()]))[0]
    assert ranked(table) == [(1, "energy"), (1, "entropy"), (3, "msp"), (4, "maxlogit")]
    assert not bold(table)


def test_a_partial_result_is_shown_and_marked_but_neither_ranked_nor_best(tmp_path: Path) -> None:
    cut = result("energy", full(0.99), partial=True, images=5)
    run = run_of(tmp_path, [cut, result("msp", full(0.7)), result("entropy", full(0.8))])
    table = leaderboard.tables(run)[0]
    assert ranked(table) == [(1, "entropy"), (2, "msp"), (None, "energy")]
    assert {method for method, _ in bold(table)} == {"entropy"}
    assert "| energy (partial, 5 images) |" in re.sub(" +", " ", writing.markdown(run, []))
    assert "20 images" in writing.markdown(run, []) and "partial, 5 images" in Page(writing.html(run, [])).text


def test_a_row_whose_first_figure_is_undefined_is_shown_after_the_ranked_ones(tmp_path: Path) -> None:
    empty = full(0.9) | {"auroc": Undefined("no anomaly in any image")}
    table = leaderboard.tables(run_of(tmp_path, [result("energy", empty), result("msp", full(0.7))]))[0]
    assert ranked(table) == [(1, "msp"), (None, "energy")]


def test_undefined_figures_print_na_and_share_a_footnote_with_the_reason(tmp_path: Path) -> None:
    reason = "no component was predicted"
    results = [result(name, full(0.8) | {"fpr95": Undefined(reason)}) for name in ("msp", "energy")]
    run = run_of(tmp_path, [*results, result("entropy", full(0.7) | {"fpr95": Undefined("another reason")})])
    text = writing.markdown(run, [])
    assert text.count("n/a<sup>1</sup>") == 2 and text.count("n/a<sup>2</sup>") == 1
    assert f"<sup>1</sup> {reason}" in text and "<sup>2</sup> another reason" in text
    page = Page(writing.html(run, []))
    assert page.text.count(reason) == 1
    assert page.links.count("#t1-n1") == 2 and page.ids.count("t1-n1") == 1


def test_pairs_that_cannot_be_evaluated_are_one_footnote_per_reason_and_no_row(tmp_path: Path) -> None:
    undefined = dict.fromkeys(RANKING, Undefined("x"))
    why = "toynet gives no features"
    absent = [result(name, undefined, not_applicable=why, images=0) for name in ("knn", "mahalanobis")]
    run = run_of(tmp_path, [*absent, result("msp", full(0.8))])
    table = leaderboard.tables(run)[0]
    assert ranked(table) == [(1, "msp")]
    assert table.absences == (Absence(why, ("knn on toynet", "mahalanobis on toynet")),)
    assert f"Not applicable: knn on toynet, mahalanobis on toynet: {why}" in writing.markdown(run, [])
    assert "Not applicable to knn on toynet, mahalanobis on toynet" in Page(writing.html(run, [])).text


def test_a_table_without_any_applicable_pair_is_one_line(tmp_path: Path) -> None:
    absent = result("knn", dict.fromkeys(RANKING, Undefined("x")), not_applicable="no features", images=0)
    run = run_of(tmp_path, [absent])
    body = writing.markdown(run, []).split("## anomaly: toytown")[1].split("## Definitions")[0]
    assert body.split("\n\n")[1:-1] == ["Not applicable: knn on toynet: no features"]
    assert 'class="ranked' not in writing.html(run, [])


def test_methods_that_saw_outliers_are_ranked_and_bold_among_themselves(tmp_path: Path) -> None:
    values = {"msp": 0.7, "energy": 0.8, "head": 0.95, "meta": 0.9}
    results = [result(name, full(value), outliers=name in {"head", "meta"}) for name, value in values.items()]
    run = run_of(tmp_path, results)
    table = leaderboard.tables(run)[0]
    assert [group.outliers for group in table.groups] == [False, True]
    assert ranked(table) == [(1, "energy"), (2, "msp"), (1, "head"), (2, "meta")]
    assert {method for method, name in bold(table) if name == "auroc"} == {"energy", "head"}
    assert "Trained with outlier data" in writing.markdown(run, [])


def test_bold_needs_a_paired_difference_outside_the_interval_not_intervals_apart(tmp_path: Path) -> None:
    """Rows vary by 0.01 with the images, so their intervals overlap; the lead of 0.005 is there in each resample."""
    results = [result("msp", full(0.900, 0.30)), result("energy", full(0.905, 0.29))]
    sure = leaderboard.tables(run_of(tmp_path / "a", results))[0]
    assert bold(sure) == {("energy", "auroc"), ("energy", "fpr95")} and not sure.remarks
    chance = leaderboard.tables(run_of(tmp_path / "b", results, spread={"msp": 0.01}))[0]
    assert not bold(chance) and chance.remarks == (CLOSE,)


def test_bold_needs_a_lead_over_every_row_not_over_the_second_alone(tmp_path: Path) -> None:
    results = [result(name, full(value, 0.3)) for name, value in (("msp", 0.85), ("energy", 0.88), ("entropy", 0.86))]
    table = leaderboard.tables(run_of(tmp_path, results, spread={"msp": 0.5}))[0]
    assert not {pair for pair in bold(table) if pair[1] == "auroc"}


def test_a_lead_within_the_certified_errors_is_not_bold(tmp_path: Path) -> None:
    def certified(value: float, err: float) -> dict[str, float | Value | Undefined]:
        return full(0.0) | {"auroc": Value(value, err, value - 0.01, value + 0.01)}

    for err, winners in ((1e-5, {("energy", "auroc")}), (5e-5, set())):
        run = run_of(
            tmp_path / str(err), [result("msp", certified(0.9, err)), result("energy", certified(0.90008, err))]
        )
        assert bold(leaderboard.tables(run)[0]) == winners


def test_a_lead_that_the_digits_do_not_show_is_not_bold(tmp_path: Path) -> None:
    """Bold beside a figure that looks the same would only make a reader doubt both."""
    table = leaderboard.tables(run_of(tmp_path, [result("a", full(0.800021)), result("b", full(0.800012))]))[0]
    assert ("a", "auroc") not in bold(table) and HIDDEN in table.remarks
    assert ranked(table) == [(1, "a"), (2, "b")]


def test_a_lone_row_is_not_bold(tmp_path: Path) -> None:
    table = leaderboard.tables(run_of(tmp_path, [result("msp", full(0.9))]))[0]
    assert not bold(table) and not table.remarks


@pytest.mark.parametrize(
    "other",
    [
        result("msp", full(0.7), images=19),
        result("msp", full(0.7) | {"auroc": Value(0.7)}),
    ],
    ids=["other images", "no bootstrap"],
)
def test_rows_that_were_not_resampled_alike_cannot_make_a_row_bold(tmp_path: Path, other: Result) -> None:
    table = leaderboard.tables(run_of(tmp_path, [other, result("energy", full(0.9))]))[0]
    assert ("energy", "auroc") not in bold(table)
    assert UNPAIRED in table.remarks


def test_resamples_without_a_figure_are_left_out_of_the_difference(tmp_path: Path) -> None:
    results = [result("msp", full(0.8)), result("energy", full(0.9))]
    run = run_of(tmp_path, results)
    for made, value in zip(results, (0.8, 0.9), strict=True):
        drawn = np.full(200, value)
        drawn[::7] = np.nan
        store.write_arrays(store.counts_path(tmp_path, made.key), {"replicates.auroc": drawn})
    assert bold(leaderboard.tables(run)[0]) == {("energy", "auroc")}


def test_two_versions_of_a_protocol_never_share_a_table(tmp_path: Path) -> None:
    old = result("msp", full(0.8))
    newer = result("energy", full(0.9))
    newer = replace(newer, about={**newer.about, "protocol": {"source": "", "version": 2}})
    assert len(leaderboard.tables(run_of(tmp_path, [old, newer]))) == 2


def test_rates_are_percent_thresholds_are_plain_and_errors_are_never_rounded_down(tmp_path: Path) -> None:
    figures = {
        "auroc": Value(0.91234, 3.1e-5, 0.9, 0.925),
        "fpr95": Value(0.25),
        "f1_threshold": Value(-1.23456, 0.0, -2.0, -0.5),
    }
    run = run_of(tmp_path, [result("msp", figures)])
    text = re.sub(" +", " ", writing.markdown(run, []))
    assert "| 1 | msp | 91.23 ± 0.004 (90.00–92.50) | 25.00 | -1.235 (-2 to -0.5) |" in text
    assert "AUROC % ↑ | FPR95 % ↓ | Threshold |" in text
    page = Page(writing.html(run, [])).text
    assert "90.00–92.50" in page and "± 0.004" in page and "−1.235" in page and "−2 to −0.5" in page


def test_protocols_without_a_method_have_a_row_per_model(tmp_path: Path) -> None:
    rows = [
        result(None, {"miou": value}, model=model, protocol="miou", definitions=MIOU)
        for model, value in (("enet", 0.5), ("deeplab", 0.7))
    ]
    text = re.sub(" +", " ", writing.markdown(run_of(tmp_path, rows), []))
    assert "| # | Model | mIoU % ↑ |" in text
    assert text.index("| 1 | deeplab | **70.00** (68.00–72.00) |") < text.index("| 2 | enet | 50.00 (48.00–52.00) |")


def test_models_have_a_column_only_where_there_are_several(tmp_path: Path) -> None:
    one = writing.markdown(run_of(tmp_path / "a", [result("msp", full(0.8))]), [])
    assert "Model" not in one and "model toynet" in one
    both = [result("msp", full(0.8)), result("msp", full(0.7), model="enet")]
    assert "| Model" in writing.markdown(run_of(tmp_path / "b", both), [])


def test_missing_cells_are_counted_and_named(tmp_path: Path) -> None:
    run = run_of(tmp_path, [result("msp", full(0.8))], missing=["energy", "entropy"])
    assert "1 of 3 cells." in writing.markdown(run, [])
    page = Page(writing.html(run, []))
    assert "1 of 3 cells." in page.text and "2 of 3 cells have no result" in page.text
    assert "anomaly / toynet / toytown / energy" in page.text and "missing" in page.ids


def test_a_run_without_any_result_is_a_page_that_says_so(tmp_path: Path) -> None:
    run = run_of(tmp_path, [], missing=["msp"])
    assert "No results yet." in writing.markdown(run, []) and "0 of 1 cells." in writing.markdown(run, [])
    assert "No results yet." in Page(writing.html(run, [])).text


def hostile(path: Path) -> tuple[Run, list[dict[str, Any]]]:
    """Write a run in which everything that a suite or a file may put into words tries to be markup."""
    metric = Metric(HOSTILE, HOSTILE)
    cell: dict[str, Any] = {
        "protocol": HOSTILE, "model": HOSTILE, "dataset": HOSTILE, "definitions": {HOSTILE: metric, "b": metric},
        "fitted": {"key": HOSTILE, "scalars": {HOSTILE: 1.5}}, "pixels": {HOSTILE: 5}, "depends": {HOSTILE: HOSTILE},
        "provenance": {"created": HOSTILE, "command": HOSTILE, HOSTILE: {HOSTILE: HOSTILE}}, "seconds": {HOSTILE: 1.0},
    }  # fmt: skip
    figures: dict[str, float | Value | Undefined] = {HOSTILE: 0.5, "b": Undefined(HOSTILE)}
    results = [
        result(HOSTILE, figures, **cell),
        result(f"n/a {HOSTILE}", dict.fromkeys(figures, Undefined("x")), not_applicable=HOSTILE, **cell),
    ]
    summary: dict[str, Any] = dict.fromkeys(("name", "protocol", "model", "method", "metric"), HOSTILE)
    summary |= {"value": None, "lo": None, "hi": None, "cells": 1, "of": 2, "reason": HOSTILE}
    return run_of(path, results, missing=[HOSTILE], note=HOSTILE, title=HOSTILE), [summary]


def test_hostile_words_stay_words_in_html(tmp_path: Path) -> None:
    text = writing.html(*hostile(tmp_path))
    page = Page(text)
    assert page.tags.count("script") == 2 and "img" not in page.tags and not page.handlers
    assert text.count("<script>alert(1)") == 0 and page.text.count("<script>alert(1)</script>") > 20
    assert all(link.startswith(("#", "cells/", SUITE)) for link in page.links)
    assert any(HOSTILE in said.values() for said in said_of_cells(text).values())  # put in as text by the script


def test_hostile_words_stay_words_in_markdown(tmp_path: Path) -> None:
    text = writing.markdown(*hostile(tmp_path))
    assert set(re.findall(r"<[^>]*>", text)) == {"<sup>", "</sup>"}
    assert not re.search(r"(?<!\\)\[", text) and not re.search(r"(?<!\\)`", text)
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("energy[temperature=2]", r"energy\[temperature=2\]"),
        ("lost_and_found", "lost_and_found"),
        ("_x_", r"\_x\_"),
        ("a|b\nc", r"a\|b c"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("F1*", r"F1\*"),
    ],
)
def test_markdown_escapes_what_would_be_markup_and_leaves_the_rest(text: str, shown: str) -> None:
    assert markdown.escape(text) == shown


def test_the_page_loads_nothing_and_its_policy_allows_only_its_own_script_and_style(tmp_path: Path) -> None:
    text = writing.html(run_of(tmp_path, [result("msp", full(0.8)), result("energy", full(0.9))]), [])
    page = Page(text)
    assert page.addresses == ["data:,"]
    assert not re.search(r"url\(|@import|https?:", re.sub("<script>.*?</script>", "", text, flags=re.S))
    assert "content=\"default-src 'none'; " in text
    for tag in ("style", "script"):
        content = re.search(f"<{tag}>(.*?)</{tag}>", text, re.S)
        assert content and templates.policy_hash(content[1]) in text
    assert len(text) < 1_000_000


def test_libraries_are_there_once_and_with_their_licences(tmp_path: Path) -> None:
    text = writing.html(run_of(tmp_path, [result("msp", full(0.8))]), [])
    for holder, banner in (("Mike Bostock", "// https://d3js.org"), ("Observable, Inc.", "// @observablehq/plot")):
        licence, code = text.split(banner)
        assert holder in licence[-2000:] and "this permission notice appear in all copies" in licence[-2000:] and code


SUITE = "data:text/yaml;base64,"  # how the link begins that saves the suite


def test_a_page_carries_the_suite_that_its_commands_name(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", [result("msp", full(0.8))])
    (run.path / "suite.yaml").write_text("title: <script>\nmodels:\n- enet:\n    weights: /home/ada/best.pth\n")
    page = Page(writing.html(run, []))
    (link,) = [link for link in page.links if link.startswith(SUITE)]
    beside = "title: <script>\nmodels:\n- enet:\n    weights: best.pth\n"  # where files lay helps no reader
    assert base64.b64decode(link.removeprefix(SUITE)).decode() == beside and "title: <script>" in page.text
    other = run_of(tmp_path / "b", [result("energy", full(0.7))])
    both = merge_runs.opened([str(run.path), str(other.path)])
    text = writing.html(both, [])
    assert [link.count(SUITE) for link in Page(text).links].count(1) == 2
    assert [each["command"].split()[2] for each in said_of_cells(text).values()] == ["suite-a.yaml", "suite-b.yaml"]
    assert SUITE not in writing.html(run, [], Choice(anonymous=True))
    (run.path / "suite.yaml").unlink()
    assert SUITE not in writing.html(run, [])


def test_every_link_within_the_page_has_a_target_and_no_target_is_there_twice(tmp_path: Path) -> None:
    rows = [result(name, full(0.8), dataset=data) for name in ("msp", "energy") for data in ("a", "b")]
    rows.append(result(None, {"miou": Undefined("no class occurs")}, protocol="miou", definitions=MIOU))
    page = Page(writing.html(run_of(tmp_path, rows, missing=["x"]), []))
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    outside = {link for link in page.links if not link.startswith("#")}
    assert outside - {link for link in outside if link.startswith(SUITE)} == {f"cells/{row.key}.json" for row in rows}


def test_each_header_leads_to_the_definition_of_its_metric(tmp_path: Path) -> None:
    text = writing.html(run_of(tmp_path, [result("msp", full(0.8))]), [])
    for index, (name, metric) in enumerate(RANKING.items(), 1):
        assert f'href="#m1-{index}"' in text
        defined = re.search(f'<div id="m1-{index}">(.*?)</div>', text)
        assert defined and name in defined[1] and metric.definition in defined[1]


def test_provenance_common_to_all_cells_is_said_once_and_the_rest_by_cell(tmp_path: Path) -> None:
    versions = {"torch": "2.13.0", "numerics": {"device": "cpu"}, "created": "2026-07-30T14:02:11+02:00"}
    results = [
        result(name, full(0.8), provenance=versions | {"command": f"bench run demo --only method={name}"})
        for name in ("msp", "energy")
    ]
    page = writing.html(run_of(tmp_path, results), [])
    text = Page(page).text
    assert text.count("2.13.0") == 1 and "numerics.device" in text
    assert [said["command"] for said in said_of_cells(page).values()] == [
        f"bench run suite.yaml --only cell={each.key} --out again" for each in results
    ]
    assert "2026-07-30 12:02 UTC" in text


def test_cost_is_shown_per_image_and_stage(tmp_path: Path) -> None:
    run = run_of(tmp_path, [result("msp", full(0.8), seconds={"load": 1.0, "predict": 4.0}, memory_mb=612.4)])
    cost = writing.html(run, []).split('id="cost"')[1]
    assert ">50.0</td>" in cost and ">200.0</td>" in cost and ">612</td>" in cost


def summary_of(method: str, value: float | None, cells: int = 2, reason: str | None = None) -> dict[str, Any]:
    entry = {"name": "mean over weather", "protocol": "anomaly", "model": "toynet", "method": method, "metric": "auroc"}
    return entry | {"value": value, "lo": value, "hi": value, "cells": cells, "of": 2, "reason": reason}


def test_summaries_say_how_many_cells_went_in_and_why_a_figure_is_missing(tmp_path: Path) -> None:
    entries = [summary_of("msp", None, 1, "1 of 2 cells"), summary_of("energy", 0.8), summary_of("entropy", 0.9)]
    run = run_of(tmp_path, [result("msp", full(0.8))])
    table = summaries.tables(run, entries)[0]
    assert [(line.method, line.cells) for line in table.lines] == [
        ("entropy", "2 of 2"),
        ("energy", "2 of 2"),
        ("msp", "1 of 2"),
    ]
    text = re.sub(" +", " ", writing.markdown(run, entries))
    assert "| msp | toynet | 1 of 2 | n/a<sup>1</sup> |" in text and "<sup>1</sup> 1 of 2 cells" in text
    assert "| entropy | toynet | 2 of 2 | 90.00 (90.00–90.00) |" in text
    assert "mean over weather" in Page(writing.html(run, entries)).text


def test_a_summary_that_lacks_a_field_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"^summaries.json: .* is not a summary of this program: 'protocol'$"):
        summaries.tables(run_of(tmp_path, []), [{"name": "mean"}])


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    results = [result(name, full(value)) for name, value in (("msp", 0.7), ("energy", 0.9), ("entropy", 0.8))]
    first, second = run_of(tmp_path / "a", results), run_of(tmp_path / "b", results)
    assert writing.html(first, []) == writing.html(second, [])
    assert writing.markdown(first, []) == writing.markdown(second, [])


def test_a_row_says_what_its_network_is_and_what_its_miou_became(tmp_path: Path) -> None:
    parents = {"by": {"name": "entropy_max"}, "model": {"name": "toynet", "params": {}}, "seed": 0}
    retrained = {"source": "here", "parents": parents, "uses_outliers": True, "backbone": "R", "parameters": 70_001}
    base = result("msp", full(0.8))
    further = result("msp", full(0.9), model="toynet_further", outliers=True)
    classified = [
        result(None, {"miou": 0.6}, protocol="miou", definitions=MIOU),
        result(None, {"miou": 0.5}, protocol="miou", model="toynet_further", definitions=MIOU),
    ]
    further = replace(further, about={**further.about, "model": retrained})
    found = leaderboard.tables(run_of(tmp_path, [base, further, *classified]))[0]
    facts = {line.model: line.facts for line in found.lines}
    assert (facts["toynet"].retrained, facts["toynet"].parameters, facts["toynet"].miou_change) == (False, None, None)
    assert facts["toynet"].miou == Value(0.6, lo=0.58, hi=0.62) and facts["toynet"].miou_dataset == "toytown"
    after = facts["toynet_further"]
    assert (after.outliers, after.retrained, after.backbone, after.parameters) == (True, True, "R", 70_001)
    assert after.miou_change is not None and after.miou_change.value == pytest.approx(-0.1)
    assert after.miou_change.clear and after.miou_change.hi is not None and after.miou_change.hi < 0


def test_a_baseline_is_subtracted_from_every_row_of_its_own_network(tmp_path: Path) -> None:
    rows = [result("msp", full(0.8)), result("energy", full(0.85)), result("msp", full(0.6), model="other")]
    found = leaderboard.tables(run_of(tmp_path, rows, {"energy": 0.001}), baseline="m*p")[0]
    changes = {(line.method, line.model): [figure.change for figure in line.figures] for line in found.lines}
    assert changes["msp", "toynet"] == changes["msp", "other"] == [None] * 3
    moved = changes["energy", "toynet"]
    assert moved[0] is not None and moved[0].clear and difference(moved[0].value, RANKING["auroc"]) == "+5.00"
    assert moved[1] is not None and not moved[1].clear  # the same figure
    assert moved[2] is None  # a threshold is neither better nor worse


def merged(run: Run, names: list[str]) -> Merged:
    """The run as one of several, whose rows bear these names."""
    methods = {each.labels.method for each in run.results if each.labels.method}
    tags = {method: name for method in methods for name in names if method.endswith(f" ({name})")}
    named = {method: (method.removesuffix(f" ({name})"), name) for method, name in tags.items()}
    homes = {each.key: run.home(each) for each in run.results}
    return Merged(run.path, run.plan, run.results, homes=homes, named=named)


def test_rows_of_merged_runs_are_held_against_the_baseline_of_their_own_run(tmp_path: Path) -> None:
    names = ["msp (monday)", "msp (tuesday)", "energy (tuesday)", "energy (fitted T)"]
    figures = [full(0.8), full(0.7), full(0.75), full(0.9)]
    run = merged(run_of(tmp_path, [result(*row) for row in zip(names, figures, strict=True)]), ["monday", "tuesday"])
    first = {line.method: line.figures[0].change for line in leaderboard.tables(run, baseline="msp")[0].lines}
    assert first["msp (monday)"] is None and first["msp (tuesday)"] is None
    assert {name: round(moved.value, 6) for name, moved in first.items() if moved} == {
        "energy (tuesday)": 0.05, "energy (fitted T)": 0.1,
    }  # fmt: skip
    one = {line.method: line.figures[0].change for line in leaderboard.tables(run, baseline="msp (t*")[0].lines}
    assert one["msp (monday)"] is not None and round(one["msp (monday)"].value, 6) == 0.1


def test_a_baseline_that_no_row_is_names_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"(?s)'mps'.*msp"):
        leaderboard.tables(run_of(tmp_path, [result("msp", full(0.8))]), baseline="mps")


@pytest.mark.parametrize("digits", [None, 1, 4])
def test_the_script_is_given_the_figures_that_the_tables_print(tmp_path: Path, digits: int | None) -> None:
    """A figure rounded twice would differ in its last digit from the same figure elsewhere on the page."""
    ends = Value(0.76035, lo=0.0, hi=0.0)
    rows = [result("msp", full(0.760352) | {"fpr95": ends}), result("energy", {"auroc": 0.5, "fpr95": Undefined("no")})]
    page = writing.html(run_of(tmp_path, rows), [], Choice(digits=digits))
    cells = carried(page)["cells"]
    auroc, fpr95, threshold = cells["rows"][0][7]
    after = 2 if digits is None else digits
    assert f'data-digits="{after}"' in page
    for end, figure in zip(auroc[:3], (0.760352, 0.740352, 0.780352), strict=True):
        assert f"{100 * end:.{after}f}" == number(figure, RANKING["auroc"], digits)
    assert fpr95[1:3] == [0.0, 0.0] and threshold[0] == -2.5
    assert cells["words"][cells["rows"][1][7][1]] == "no"


def test_figures_of_images_have_the_name_of_the_metric_that_they_are(tmp_path: Path) -> None:
    """A threshold that stands first has no figure of single images: what there is must not pass for it."""
    defined = {name: RANKING[name] for name in ("f1_threshold", "auroc")}
    made = result("msp", full(0.8), definitions=defined)
    run = run_of(tmp_path, [made])
    images = {"ids": np.array(["hard", "easy", "clean"]), "images.auroc": np.array([0.25, 0.75, np.nan])}
    store.write_result(run.path, made, images)
    page = writing.html(store.read_run(run.path), [])
    (series,) = carried(page)["boards"]["t1"]["series"]
    assert (series["images"]["metric"]["name"], series["images"]["values"]) == ("auroc", [0.25, 0.75])
    text = re.sub(r"\s+", " ", Page(page).text)
    assert "By their own AUROC" in text and "25.00 hard" in text and "Without such a figure: 1 of the images" in text
