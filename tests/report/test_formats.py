"""Markdown, LaTeX, CSV and Parquet: what a table has to say is there in each, and words stay words.

The golden files in fixtures/reports are what the formats make of one small run; ``python tests/test_formats.py`` writes
them again, to be read before they are committed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import writing
from running import PATIENCE
from test_reports import merged

from bench.api import Metric, Undefined, Value
from bench.cli.main import app, main
from bench.core.errors import MissingData, UnknownName, UsageError
from bench.core.printable import one_line
from bench.report import facts, leaderboard, paper, selection
from bench.report import writing as report_cli
from bench.report.document import Document
from bench.report.selection import Choice
from bench.reports import csv as csv_format
from bench.reports import latex
from bench.results import store, summary
from bench.results.store import Cell, CellLabels, Plan, Result, Run
from bench.suite import registry

GOLDEN = Path(__file__).parents[1] / "fixtures" / "reports"
METRICS = {
    "ap": Metric("AP", "area under the precision-recall curve as a sum of steps"),
    "fpr95": Metric("FPR95", "smallest false positive rate with a true positive rate of at least 0.95", "lower"),
    "threshold": Metric("threshold", "the score at which F1 is largest", "neither"),
}
MIOU = {"miou": Metric("mIoU", "mean over the classes of intersection over union")}
DRAWS = np.linspace(-0.02, 0.02, 101)  # of a resample, the same for every row: what images do to all alike
HOSTILE = r"""=1+1 & < > _x_ # % $ { } ~ ^ \ | * ` " ' -- [y](z) <b> 北京 Ωμέγα naïve Łódź ?` ,, \end{tabular} %"""


def made(
    method: str | None,
    figures: Mapping[str, float | Value | Undefined],
    *,
    dataset: str = "road & rail",
    model: str = "toy_net",
    protocol: str = "anomaly",
    definitions: Mapping[str, Metric] = METRICS,
    outliers: bool = False,
    params: Mapping[str, Any] | None = None,
    corruption: Mapping[str, Any] | None = None,
    **others: Any,
) -> Result:
    """A result as a run leaves it; a bare number gets an interval."""
    labels = {"protocol": protocol, "model": model, "dataset": dataset} | ({"method": method} if method else {})
    cell: dict[str, Any] = {axis: {"name": label, "params": {}} for axis, label in labels.items()}
    place = dataset.split("+")[0]
    cell["dataset"] = {"name": "toytown", "params": {"split": "val", "place": place, "corruption": corruption}}
    cell |= {"seed": 0, "bootstrap": 101, "resample": "images"} | ({} if method else {"method": None})
    if method and params:
        cell["method"]["params"] = dict(params)
    about: dict[str, Any] = {"protocol": {"source": "a paper", "version": 1, "title": protocol}}
    about |= {"model": {"backbone": "ResNet-101", "parameters": 59_300_000}, "dataset": {"source": "drawn"}}
    if method:
        about["method"] = {"source": "another paper", "uses_outliers": outliers}
    values = {
        name: Value(one, 0.0, one - 0.02, one + 0.02) if isinstance(one, float) else one
        for name, one in figures.items()
    }
    key = hashlib.sha256("/".join(labels.values()).encode()).hexdigest()[:16]
    depends = {"dataset": "d1", "numerics": "n1", "method": "m1"}
    provenance = {
        "ood_seg_bench": "0.1.0", "commit": "0123456789abcdef", "created": "2026-01-02T03:04:05+00:00",
        "command": "bench run /home/someone/suite.yaml", "numerics": {"device": "cpu", "threads": 1},
    }  # fmt: skip
    result = Result(
        key, Cell.read(cell, CellLabels(**labels), {}), values, definitions, about, images=20, partial=False,
        depends=depends, provenance=provenance,
    )  # fmt: skip
    return replace(result, **others)


def written(path: Path, results: list[Result], missing: list[CellLabels] = [], **plan: Any) -> Run:  # noqa: B006
    """A run directory; rows of one table move together, so that any difference between them is clear."""
    for result in results:
        arrays = {
            f"replicates.{name}": value.value + DRAWS
            for name, value in result.metrics.items()
            if isinstance(value, Value) and value.lo is not None
        }
        store.write_result(path, result, arrays | {"ids": np.array([f"i{n}" for n in range(result.images)])})
    keys = [result.key for result in results] + [f"{index:016x}" for index, _ in enumerate(missing)]
    cells = (*(result.labels for result in results), *missing)
    said = {"name": "small", "title": "A small run", "note": "", "summaries": ()} | plan
    store.write_plan(
        path,
        Plan(said["name"], said["title"], said["note"], tuple(keys), said["summaries"], cells),
        "title: A small run\n",
    )
    return store.read_run(path)


def full(ap: float, fpr95: float | Undefined = 0.3, err: float = 0.0) -> dict[str, float | Value | Undefined]:
    first = Value(ap, err, ap - 0.02, ap + 0.02)
    return {"ap": first, "fpr95": fpr95, "threshold": Value(-2.5)}


def small(path: Path) -> Run:
    """A tie, an undefined figure, a partial row, a certified figure, an outlier method, an n/a pair, a missing cell."""
    rows = [
        made("msp", full(0.5)),
        made("energy[T=2]", full(0.6, 0.25)),
        made("entropy", full(0.6, Undefined("fewer than 20 anomalous pixels"))),
        made("fed_c", full(0.55, err=3.1e-5), params={"fidelity": "reference"}),
        made("head", full(0.9, 0.1), outliers=True),
        made("maxlogit", full(0.95), partial=True, images=5),
        made("knn", dict.fromkeys(METRICS, Undefined("x")), not_applicable="toy_net gives no features", images=0),
        made("msp", full(0.4), dataset="lost_found"),
        made("energy[T=2]", full(0.45), dataset="lost_found"),
        made(None, {"miou": 0.7}, protocol="miou", definitions=MIOU),
    ]
    spots = [("fog", 1), ("fog", 3), ("shot_noise", 1), ("shot_noise", 3)]
    for shift, (name, severity) in enumerate(spots):
        for method, ap in (("msp", 0.40), ("energy[T=2]", 0.42)):
            if (method, name, severity) != ("energy[T=2]", "shot_noise", 3):
                how = {"name": name, "severity": severity, "seed": 0, "order": "rgb"}
                rows.append(
                    made(method, full(ap - 0.01 * shift), dataset=f"road & rail+{name}-{severity}", corruption=how)
                )
    absent = [
        CellLabels("anomaly", "toy_net", "road & rail", "odin"),
        CellLabels("anomaly", "toy_net", "road & rail+shot_noise-3", "energy[T=2]"),
    ]
    rule = {"name": "Mean of both", "protocol": "anomaly", "datasets": ["road & rail", "lost_found"]}
    return written(path, rows, absent, summaries=(rule,), note="Synthetic. Not comparable with any paper.")


def renderings(run: Run) -> dict[str, str]:
    """The golden files."""
    entries = summary.compute(run)
    plain, chosen_ = Choice(anonymous=True), Choice(baseline="msp", columns=("ood", "backbone", "miou"), anonymous=True)
    return {
        "all.md": writing.markdown(run, entries, plain),
        "paper.md": writing.markdown(run, (), chosen_, table="paper"),
        "all.tex": writing.latex(run, entries, plain),
        "paper.tex": writing.latex(run, (), chosen_, table="paper"),
        "cells.csv": writing.csv(run, (), plain),
        "means.csv": writing.csv(run, entries, table="means"),
        "paper.csv": writing.csv(run, table="paper"),
    }


@pytest.mark.parametrize("name", ["all.md", "paper.md", "all.tex", "paper.tex", "cells.csv", "means.csv", "paper.csv"])
def test_the_formats_make_of_a_run_what_the_golden_files_hold(name: str, tmp_path: Path) -> None:
    assert renderings(small(tmp_path))[name] == (GOLDEN / name).read_text(encoding="utf-8")


def test_each_special_case_shows_as_what_it_is_in_markdown(tmp_path: Path) -> None:
    text = re.sub(" +", " ", writing.markdown(small(tmp_path), []))
    table = text.split("## anomaly: road &amp; rail\n")[1].split("## ")[0]
    assert r"| 1 | energy\[T=2\] | 60.00 (58.00–62.00) |" in table  # a tie shares its rank and is not bold
    assert "| 1 | entropy | 60.00 (58.00–62.00) | n/a<sup>1</sup> |" in table
    assert "<sup>1</sup> fewer than 20 anomalous pixels" in table
    assert "| – | maxlogit (partial, 5 images) |" in table
    assert "55.00 ± 0.004 (53.00–57.00)" in table
    assert "Not applicable: knn on toy_net: toy_net gives no features" in table
    assert "No result yet: odin on toy_net." in table
    assert "**Trained with outlier data**" in table and "| 1 | head | 90.00 (88.00–92.00) |" in table
    assert "3 of 4" in text  # a mean over the grid that lacks a cell is no figure


def test_each_special_case_shows_as_what_it_is_in_latex(tmp_path: Path) -> None:
    table = writing.latex(small(tmp_path), []).split(r"\end{tabular}")[1]  # after the leaderboard
    assert r"1 & energy[T=2] & 60.00 {\scriptsize(58.00--62.00)} & \textbf{25.00}" in table
    assert r"1 & entropy & 60.00 {\scriptsize(58.00--62.00)} & --$^{1}$ & $-$2.5 \\" in table
    assert r"$^{1}$ fewer than 20 anomalous pixels" in table
    assert r"-- & maxlogit$^{*}$ & 95.00" in table and r"$^{*}$ partial: 5 images, not ranked." in table
    assert r"55.00 $\pm$ 0.004 {\scriptsize(53.00--57.00)}" in table
    assert r"fed\_c$^{\ddagger}$" in table and r"$^{\ddagger}$ as the published code computes it" in table
    assert r"Not applicable: knn on toy\_net: toy\_net gives no features" in table
    assert r"No result yet: odin on toy\_net." in table
    assert r"\emph{Trained with outlier data}" in table


def test_each_special_case_shows_as_what_it_is_in_a_paper_table(tmp_path: Path) -> None:
    table = Document(small(tmp_path)).paper
    assert [(block.dataset, list(block.metrics)) for block in table.blocks] == [
        ("road & rail", ["ap", "fpr95"]),
        ("lost_found", ["ap", "fpr95"]),
        ("road & rail, corrupted", ["ap", "fpr95"]),
    ]
    by_method = {row.method: row for row in table.rows}
    assert [row.method for row in table.rows][:2] == ["energy[T=2]", "entropy"] and table.rows[-1].method == "head"
    reasons = {row.method: [table.notes[f.note - 1] if f.note else None for f in row.figures] for row in table.rows}
    assert reasons["entropy"][1] == "fewer than 20 anomalous pixels"
    assert reasons["odin"][0] == paper.PENDING and reasons["knn"][0] == "toy_net gives no features"
    assert reasons["head"][2] == paper.NOT_ASKED and "3 of 4" in str(reasons["energy[T=2]"][4])
    assert by_method["maxlogit"].figures[0].partial == 5 and not by_method["maxlogit"].figures[0].best
    assert by_method["head"].outliers and by_method["fed_c"].reference
    assert [figure.best for figure in by_method["energy[T=2]"].figures[:4]] == [False, True, True, False]


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_of_the_csv_is_a_number_with_all_that_it_means(tmp_path: Path) -> None:
    run = small(tmp_path)
    found = records(writing.csv(run))
    assert list(found[0]) == list(csv_format.COLUMNS)
    assert len(found) == sum(len(result.definitions) for result in run.results) + 2
    one = {(row["dataset"], row["method"], row["metric"]): row for row in found}
    plain = one["road & rail", "fed_c", "ap"]
    assert (plain["value"], plain["err"], plain["status"]) == ("0.55", "3.1e-05", "measured")
    assert plain["split"] == "val" and plain["backbone"] == "ResNet-101" and plain["parameters"] == "59300000"
    corrupted = one["road & rail+fog-3", "msp", "ap"]
    assert (corrupted["corruption"], corrupted["severity"], corrupted["family"]) == ("fog", "3", "weather")
    undefined = one["road & rail", "entropy", "fpr95"]
    assert (undefined["value"], undefined["status"]) == ("", "undefined") and undefined["reason"].startswith("fewer")
    assert one["road & rail", "knn", "ap"]["status"] == "not applicable"
    missing = one["road & rail+shot_noise-3", "energy[T=2]", ""]
    assert (missing["status"], missing["reason"], missing["severity"]) == ("missing", paper.PENDING, "3")
    assert one["road & rail", "maxlogit", "ap"]["partial"] == "true"
    assert one["road & rail", "head", "ap"]["outliers"] == "true"


def test_numbers_of_the_csv_read_back_to_the_last_bit_and_parquet_has_their_types(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    run = written(tmp_path, [made("msp", {"ap": 0.1 + 0.2, "fpr95": 1 / 3, "threshold": Value(-1e-17)})])
    table = pandas.read_parquet(io.BytesIO(writing.parquet(run)))
    assert list(table.columns) == list(csv_format.COLUMNS)
    assert table["value"].tolist() == [0.1 + 0.2, 1 / 3, -1e-17]
    assert [float(row["value"]) for row in records(writing.csv(run))] == table["value"].tolist()
    kinds = {name: str(kind) for name, kind in table.dtypes.items()}
    assert kinds["value"] == kinds["lo"] == "float64" and kinds["partial"] == "bool" and kinds["images"] == "int64"
    assert table["severity"].isna().all() and table["reason"].isna().all()


def test_settings_that_a_result_is_older_than_stay_empty_and_out_of_its_file(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    result = made("msp", full(0.5))
    run = written(tmp_path, [result])
    file = run.home(result)
    raw = json.loads(file.read_text())
    del raw["cell"]["bootstrap"], raw["cell"]["resample"]
    file.write_text(json.dumps(raw))
    old = store.read_run(tmp_path)
    assert {(row["seed"], row["resample"], row["bootstrap"]) for row in records(writing.csv(old))} == {("0", "", "")}
    table = pandas.read_parquet(io.BytesIO(writing.parquet(old)))
    assert table[["resample", "bootstrap"]].isna().all().all() and table["seed"].eq(0).all()
    store.write_result(tmp_path, old.results[0])
    assert json.loads(file.read_text())["cell"] == raw["cell"]


def test_parquet_survives_what_others_wrote_in_place_of_a_number(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    odd = made("msp", full(0.5))
    odd = replace(
        odd, cell=replace(odd.cell, seed=2**70, bootstrap=2**70), about={**odd.about, "model": {"parameters": 2**70}}
    )
    run = written(tmp_path, [odd])
    table = pandas.read_parquet(io.BytesIO(writing.parquet(run)))
    assert table[["seed", "bootstrap", "parameters"]].isna().all().all() and len(table) == 3
    file = run.home(odd)
    file.write_text(file.read_text().replace(str(2**70), '"x"'))
    with pytest.raises(MissingData, match=r"is not a result of this program: cell\.seed is 'x'"):
        store.read_run(tmp_path)


def test_words_that_a_spreadsheet_would_compute_begin_with_an_apostrophe_and_numbers_do_not(tmp_path: Path) -> None:
    words = ["=HYPERLINK(1)", "+1", "-2", "@SUM(A1)", " \t=1"]
    run = written(tmp_path, [made(word, full(0.5)) for word in words])
    found = records(writing.csv(run))
    assert {row["method"] for row in found} == {"'=HYPERLINK(1)", "'+1", "'-2", "'@SUM(A1)", "'=1"}
    assert {row["value"] for row in found if row["metric"] == "threshold"} == {"-2.5"}
    pandas = pytest.importorskip("pandas")
    table = pandas.read_parquet(io.BytesIO(writing.parquet(run)))
    assert set(table["method"]) == {"=HYPERLINK(1)", "+1", "-2", "@SUM(A1)", "=1"}


def hostile(path: Path) -> Run:
    """A run in which all that others may put into words tries to be something else."""
    metrics = {HOSTILE: Metric(HOSTILE, HOSTILE), "b": Metric(f"b{HOSTILE}", HOSTILE, "lower")}
    about = {
        "protocol": {"source": HOSTILE, "version": HOSTILE, "title": HOSTILE},
        "model": {"backbone": HOSTILE},
        "dataset": {"source": HOSTILE},
        "method": {"source": HOSTILE},
    }
    words: dict[str, Any] = {"protocol": HOSTILE, "definitions": metrics, "about": about}
    rows = [
        made(f"{n}{HOSTILE}", {HOSTILE: 0.5 + n / 10, "b": Undefined(HOSTILE)}, model=HOSTILE, dataset=HOSTILE, **words)
        for n in range(2)
    ]
    rows.append(replace(made("c", {HOSTILE: Undefined("x")}, **words), not_applicable=HOSTILE, images=0))
    return written(path, rows, title=HOSTILE, note=HOSTILE, name=HOSTILE)


def test_hostile_words_stay_words_in_every_format(tmp_path: Path) -> None:
    run = hostile(tmp_path)
    choice = Choice(columns=("backbone",))
    for text in (writing.markdown(run, [], choice), writing.markdown(run, (), choice, table="paper")):
        assert set(re.findall(r"<[^>]*>", text)) <= {"<sup>", "</sup>", "<br>"}
        assert not re.search(r"(?<!\\)\[", text) and not re.search(r"(?<!\\)`", text)
        for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}) == 1
    found = records(writing.csv(run))
    # Words that begin like a formula, in the header of the figures, too.
    assert {row["protocol"] for row in found} == {"'" + HOSTILE} and all(None not in row for row in found)
    assert {row["reason"] for row in found if row["status"] == "undefined"} >= {"'" + HOSTILE}
    assert "北京" in writing.terminal(run, 200)


def test_one_image_is_not_called_images(tmp_path: Path) -> None:
    run = written(tmp_path, [made("msp", full(0.5), images=1), made("energy", full(0.4), partial=True, images=1)])
    for text in (writing.markdown(run, []), writing.latex(run, []), writing.html(run, [])):
        assert "1 image" in text and "1 images" not in text


def test_control_characters_reach_no_page_and_no_terminal(tmp_path: Path) -> None:
    evil = "a\x1b[2Jb\N{RIGHT-TO-LEFT OVERRIDE}c\x00d"
    assert one_line(evil) == "a�U+001B[2Jb�U+202Ec�U+0000d"
    run = written(tmp_path, [made(evil, full(0.5)), made("x", full(0.6))], title=evil, note=evil)
    texts = [writing.markdown(run, []), writing.latex(run, []), writing.csv(run), writing.terminal(run, 200)]
    texts += [writing.markdown(run, table="paper"), writing.latex(run, table="paper"), writing.csv(run, table="paper")]
    for text in texts:
        assert "U+001B" in text and not set("\x1b\x00\N{RIGHT-TO-LEFT OVERRIDE}") & set(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b & c%", r"a\_b \& c\%"),
        (r"\end{x}^~", r"\textbackslash{}end\{x\}\textasciicircum{}\textasciitilde{}"),
        ("a--b ?`", r"a-\/-b ?\/{\char96}"),
        ("Łódź", r"{\L}{\'{o}}d{\'{z}}"),
        ("naïve", r"na{\"{\i}}ve"),
        ("αΩς", r"$\alpha$$\Omega$$\varsigma$"),
        ("Αέό", r"A$\acute{\epsilon}${\'{o}}"),
        ("北京!", r"\benchletters{北京}{U+5317 U+4EAC}!"),
        ("a\nb", "a b"),
    ],
)
def test_latex_escapes_what_would_be_markup_and_knows_letters(text: str, shown: str) -> None:
    assert latex.escape(text) == shown


def test_a_row_that_begins_with_a_bracket_or_a_star_is_no_option_of_the_row_above(tmp_path: Path) -> None:
    words = ["[2pt]", "*"]
    text = writing.latex(table="paper", run=written(tmp_path, [made(word, full(0.5)) for word in words]))
    assert "\n{}[2pt] &" in text and "\n{}* &" in text


DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs,graphicx}
\begin{document}
\input{all}
\begin{table}\centering\caption{A}\resizebox{\textwidth}{!}{\input{paper}}\end{table}
\input{captions}
\input{hostile}
\end{document}
"""


def test_pdflatex_sets_every_table_and_hostile_words_come_out(tmp_path: Path) -> None:
    pdflatex = shutil.which("pdflatex")
    if pdflatex is None:
        pytest.skip("pdflatex is not installed: no table was set")
    (packages,) = re.findall(r"\\usepackage\{(.*?)\}", DOCUMENT)
    for package in packages.split(","):
        if subprocess.run(["kpsewhich", f"{package}.sty"], capture_output=True, check=False).returncode:
            pytest.skip(f"the TeX of this machine has no {package}: no table was set")
    run, evil = small(tmp_path / "run"), hostile(tmp_path / "hostile")
    texts = {
        "all": writing.latex(run, summary.compute(run)),
        "paper": writing.latex(run, (), Choice(baseline="msp", columns=("ood", "miou")), table="paper"),
        "captions": writing.latex(evil, [], Choice(captions=True)),
        "hostile": writing.latex(evil, table="paper"),
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.tex").write_text(text, encoding="utf-8")
    (tmp_path / "document.tex").write_text(DOCUMENT, encoding="utf-8")
    argv = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "document.tex"]
    done = subprocess.run(
        argv, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert (tmp_path / "document.pdf").stat().st_size > 10_000
    if reader := shutil.which("pdftotext"):
        shown = subprocess.run([reader, "document.pdf", "-"], cwd=tmp_path, capture_output=True, text=True, check=True)
        for word in (r"\end{tabular}", "[U+5317 U+4EAC]", "# % $ { }", "& <", "energy[T=2]"):
            assert word in " ".join(shown.stdout.split()), word


def test_chosen_metrics_keep_their_order_and_the_first_one_ranks(tmp_path: Path) -> None:
    run = small(tmp_path)
    found = selection.select(run, Choice(metrics=("fpr95", "ap")))
    table = leaderboard.tables(found)[0]
    assert (
        list(table.metrics) == ["fpr95", "ap"] and table.ranking is METRICS["fpr95"]
    ) or table.ranking.title == "FPR95"
    assert table.groups[0].lines[0].method == "energy[T=2]"
    assert {result.labels.protocol for result in found.results} == {"anomaly"}
    assert table.lines[0].facts.miou is not None  # the mIoU is known, though its table is left out
    with pytest.raises(UnknownName, match=r"--metrics: unknown metric 'fpr'; here it is 'fpr95'"):
        selection.select(run, Choice(metrics=("fpr",)))


def test_only_keeps_what_matches_by_name_or_label_and_says_so(tmp_path: Path) -> None:
    run = small(tmp_path)
    found = selection.select(run, Choice(only={"method": "m*", "dataset": "road & rail"}))
    assert {result.labels.method for result in found.results} == {"msp", "maxlogit", None}
    assert found.missing == 0 and "Only method=m*, dataset=road & rail is shown." in found.plan.note
    with pytest.raises(UsageError, match=r"no cell of the run matches --only method=nosuch"):
        selection.select(run, Choice(only={"method": "nosuch"}))
    with pytest.raises(UnknownName, match=r"unknown axis 'methods'; did you mean 'method'"):
        selection.select(run, Choice(only={"methods": "msp"}))


def test_a_mean_over_data_sets_that_are_left_out_is_not_shown_under_its_name(tmp_path: Path) -> None:
    run = small(tmp_path)

    def shown(**options: Any) -> list[str]:
        choice = Choice(**options)
        found, whole = selection.select(run, choice), selection.select(run, selection.wide(choice))
        entries = selection.figures(found, choice, summary.compute(whole))
        return [f"{entry['method']} {entry['metric']} {entry['value']}" for entry in entries]

    assert "msp ap 0.45" in shown() and "msp ap 0.45" in shown(only={"method": "msp"}, metrics=("ap",))
    assert not any("fpr95" in entry or "energy" in entry for entry in shown(only={"method": "msp"}, metrics=("ap",)))
    assert shown(only={"dataset": "road & rail"}) == []


def test_digits_and_intervals_are_as_asked(tmp_path: Path) -> None:
    run = small(tmp_path)
    text = re.sub(" +", " ", writing.markdown(run, [], Choice(digits=1, intervals=False)))
    assert r"| 1 | energy\[T=2\] | 60.0 | **25.0** | -2.5 |" in text and "interval of the bootstrap" not in text
    assert "60.0 {" not in writing.latex(run, [], Choice(digits=1, intervals=False))
    assert "50.000" in writing.terminal(run, 120, Choice(digits=3))


def test_changes_to_a_baseline_are_in_parentheses_unless_they_are_clear(tmp_path: Path) -> None:
    rows = [made("msp", full(0.5)), made("energy", full(0.6)), made("late", full(0.7), images=19)]
    run = written(tmp_path, rows)
    text = re.sub(" +", " ", writing.markdown(run, [], Choice(baseline="msp", metrics=("ap",), intervals=False)))
    assert (
        "| energy | 60.00 | +10.00 |" in text and "| late | 70.00 | (+20.00) |" in text and "| msp | 50.00 | |" in text
    )
    assert "Δ +10.00" in writing.terminal(run, 100, Choice(baseline="msp"))
    assert r"& +10.00 [+10.00, +10.00] &" in writing.latex(run, [], Choice(baseline="msp"))
    with pytest.raises(UnknownName, match=r"--baseline: unknown method 'mspp'; did you mean 'msp'"):
        writing.markdown(run, [], Choice(baseline="mspp"))


def test_the_change_of_a_mean_over_a_grid_is_paired_cell_by_cell(tmp_path: Path) -> None:
    def grid(method: str, ap: float, **others: Any) -> list[Result]:
        how = {"severity": 1, "seed": 0, "order": "rgb"}
        return [
            made(method, full(ap), dataset=f"x+{name}-1", corruption={"name": name, **how}, **others)
            for name in ("fog", "shot_noise")
        ]

    run = written(tmp_path, [*grid("msp", 0.4), *grid("energy", 0.45), *grid("late", 0.6, images=19)])
    figures = {row.method: row.figures[0] for row in Document(run, Choice(baseline="msp", metrics=("ap",))).paper.rows}
    clear = figures["energy"].change
    assert clear is not None and clear.clear and (clear.value, clear.lo) == (pytest.approx(0.05), pytest.approx(0.05))
    unpaired = figures["late"].change
    assert unpaired is not None and unpaired.lo is None and not unpaired.clear and figures["msp"].change is None
    names = {"msp (mon)": 0.4, "msp (tue)": 0.3, "energy (tue)": 0.45}
    two = merged(
        written(tmp_path / "two", [each for name, ap in names.items() for each in grid(name, ap)]), ["mon", "tue"]
    )
    own = {row.method: row.figures[0].change for row in Document(two, Choice(baseline="msp")).paper.rows}
    assert own["energy (tue)"] is not None and own["energy (tue)"].value == pytest.approx(0.15)  # to that of its run
    assert own["msp (mon)"] is None and own["msp (tue)"] is None


@pytest.mark.parametrize("width", [40, 60, 100])
def test_the_terminal_ranks_as_the_pages_do_at_any_width(tmp_path: Path, width: int) -> None:
    run = small(tmp_path)
    text = writing.terminal(run, width, Choice(baseline="msp"))
    assert max(map(len, text.splitlines())) <= width
    table = text.split("anomaly on")[1]
    ranks = re.findall(r"^ (\d| )  +([a-z]\w+)", table, re.M)
    assert [name for _, name in ranks if name != "anomalies"][:4] == ["energy", "entropy", "fed_c", "msp"]
    assert "no result yet: odin on toy_net" in " ".join(table.split())
    assert "figures are certified to within ± 0.004" in " ".join(table.split()) and "fed_c (reference)" in text
    assert re.search(r"\x1b\[1m *25\.00", writing.terminal(run, 100, styled=True)) and "\x1b" not in text


def test_a_terminal_that_is_too_narrow_leaves_out_thresholds_and_has_marks_for_words(tmp_path: Path) -> None:
    run = small(tmp_path)
    wide, text = (writing.terminal(run, width) for width in (100, 36))
    assert max(map(len, text.splitlines())) <= 36 < max(map(len, wide.splitlines()))
    of_task = text.split("anomaly on road & rail, toy_net\n")[1].split("anomaly on lost_found")[0]
    assert "FPR95" in of_task and "threshold" not in of_task and of_task.count("method") == 1, "one table"
    said = " ".join(text.split())
    assert "36 columns are too few for the 95 % intervals and threshold of some tables; bench show --format md" in said
    assert re.search(r"head †", of_task) and "† saw anomalies" in of_task and "(saw" not in text
    assert "head (saw anomalies)" in " ".join(wide.split()) and "†" not in wide and "threshold" in wide


def test_anonymous_files_name_no_path_no_command_and_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small(tmp_path / "someone")
    for form in ("md", "tex", "csv", "parquet"):
        for table in ("all", "paper"):
            out = tmp_path / f"{table}.{form}"
            argv = ["report", str(tmp_path / "someone"), "--format", form, "--table", table, "--out", str(out)]
            assert main([*argv, "--anonymous"]) == 0
            assert b"someone" not in out.read_bytes() and b"/home" not in out.read_bytes()
    assert main([*argv[:2], "--format", "tex", "--out", str(out)]) == 0
    assert "Made by: bench report" in out.read_text() and "Run someone" in out.read_text()


def test_columns_stand_beside_the_figures_and_choose_those_of_the_csv(tmp_path: Path) -> None:
    run = small(tmp_path)
    text = re.sub(" +", " ", writing.markdown(run, [], Choice(columns=("ood", "backbone", "parameters", "miou"))))
    assert "| 1 | head | yes | ResNet-101 | 59.3 M | 70.00 |" in text
    names = ("method", "metric", "value")
    assert writing.csv(run, (), Choice(columns=names)).splitlines()[:2] == ["method,metric,value", "msp,ap,0.5"]
    with pytest.raises(UnknownName, match=r"--columns: unknown column 'backbones'; did you mean 'backbone'"):
        writing.markdown(run, [], Choice(columns=("backbones",)))
    with pytest.raises(UnknownName, match=r"--columns: unknown column 'metrics'; did you mean 'metric'"):
        writing.csv(run, (), Choice(columns=("metrics",)))


def test_figures_and_tables_that_a_format_cannot_have_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(small(tmp_path).path)
    assert main(["report", run, "--table", "paper"]) == 2
    assert "--table paper is for csv, md, parquet and tex" in capsys.readouterr().err
    assert main(["report", run, "--format", "md", "--table", "means"]) == 2
    assert "--table means is for csv and parquet" in capsys.readouterr().err


def test_the_same_results_give_the_same_bytes_in_every_format(tmp_path: Path) -> None:
    one, other = small(tmp_path / "a" / "run"), small(tmp_path / "b" / "run")
    for form in ("md", "tex", "csv", "parquet"):
        first, second = (report_cli.rendered(run, form, "all", Choice()) for run in (one, other))
        assert first == second


def test_a_run_without_results_is_a_file_that_says_so(tmp_path: Path) -> None:
    absent = [CellLabels("anomaly", "toy_net", "x", "msp")]
    run = written(tmp_path, [], absent)
    assert "No results yet." in writing.latex(run, []) and "0 of 1 cells" in writing.latex(run, table="paper")
    assert "No results yet." in writing.markdown(run, table="paper")
    assert [row["status"] for row in records(writing.csv(run))] == ["missing"]


def test_the_page_on_reports_names_every_column_with_its_type_and_every_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    kinds = {str: "string", int: "integer", float: "number", bool: "boolean"}
    table = page.split("| column | type | meaning |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", table, re.M)
    assert rows == [(name, kinds[kind]) for name, kind in csv_format.COLUMNS.items()]
    beside = page.split("| `--columns NAME,...` | md, tex |")[1].split("\n")[0]
    assert re.findall(r"`(\w+)`", beside) == list(facts.COLUMNS)
    options = {f"--{name}" for name in re.findall(r"--([a-z-]+)", page)}
    command = typer.main.get_command(app).commands["report"]  # type: ignore[attr-defined]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {name for name in known if name.startswith("--")} - {"--images", "--help"} <= options


def test_a_format_of_ones_own_is_one_file_as_the_page_on_reports_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page.split("## Your own format")[1], re.S)
    (tmp_path / "mine" / "reports").mkdir(parents=True)
    (tmp_path / "mine" / "reports" / "leaders.py").write_text(code, encoding="utf-8")
    run = str(small(tmp_path / "run").path)
    assert main(["report", run, "--format", "leaders"]) == 2
    assert (
        "--format: unknown format 'leaders'; known: csv, figures, html, md, model-index, parquet, tex"
        in capsys.readouterr().err
    )
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "mine"))
    registry.forget()
    try:
        assert main(["report", run, "--format", "leaders"]) == 0
        assert main(["report", "--help"]) == 0
        assert main(["report", run, "--format", "leaders", "--table", "means"]) == 2
    finally:
        monkeypatch.delenv("BENCH_PLUGINS")
        registry.forget()
    told = capsys.readouterr()
    assert "csv, figures, html, leaders, md, model-index, parquet, tex" in " ".join(told.out.split())
    assert "--table means is for csv and parquet; " in told.err
    assert (tmp_path / "run" / "report.txt").read_text() == (
        "anomaly on road & rail: energy[T=2]\nanomaly on road & rail: entropy\nanomaly on road & rail: head\n"
        "anomaly on lost_found: energy[T=2]\nmiou on road & rail: toy_net\n"
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for name, text in renderings(small(Path(folder))).items():
            (GOLDEN / name).write_text(text, encoding="utf-8")
