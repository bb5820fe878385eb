"""Figures for papers: which there are, what they show, and files that are the same each time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import test_grids
from running import run as run_suite

from bench.cli.main import main
from bench.core.errors import MissingData, UnknownName, UsageError
from bench.report import document
from bench.report.document import Document
from bench.report.plots import KINDS, lines, plots_of, style
from bench.report.plots.style import Plot
from bench.report.run import load
from bench.report.selection import Choice
from bench.results import curves, store

SUITE = """
title: $hostile$ & <words>
protocols: [anomaly, misclassification]
models: [toynet]
datasets: [toytown: {split: anomaly, label: a/b $x$}]
methods: [msp, maxlogit]
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """A run of two methods with its gallery."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "suite.yaml").write_text(SUITE)
    run_suite(folder / "suite.yaml", folder / "run", gallery=2, workers=0, limit=4)
    return document.build(store.read_run(folder / "run"))


def kind(of: Document, name: str) -> list[Plot]:
    return list(plots_of(of, name))


def test_each_table_has_the_curves_that_it_can_have(drawn: Document) -> None:
    names = {name: [plot.name for plot in kind(drawn, name)] for name in KINDS}
    assert len(names["roc"]) == len(names["precision_recall"]) == 2
    assert len(names["risk_coverage"]) == len(names["reliability"]) == 1  # a class map is judged, anomalies are not
    assert len(names["panels"]) == 1 and names["severity"] == []
    every = [name for of_kind in names.values() for name in of_kind]
    assert len(set(every)) == len(every) and not any("/" in name or "$" in name for name in every)


def test_a_curve_is_that_of_the_counts_and_its_name_has_the_figure_of_the_table(drawn: Document) -> None:
    (plot,) = (plot for plot in kind(drawn, "roc") if plot.name.startswith("roc-anomaly"))
    (axes,) = plot.figure().axes
    (table,) = (table for table in drawn.tables if table.protocol == "anomaly")
    by_label = {str(line.get_label()): line for line in axes.lines}
    for row in table.lines:
        expected = curves.roc_pr(drawn.run, row.result)
        assert expected is not None
        auroc = row.result.metrics["auroc"].value
        curve = by_label[f"{row.method} (AUROC {100 * auroc:.2f}), 4 images only"]
        assert np.array_equal(curve.get_xdata(), expected.fpr) and np.array_equal(curve.get_ydata(), expected.tpr)
        assert abs(np.trapezoid(curve.get_ydata(), curve.get_xdata()) - auroc) < 1e-3


def test_rows_that_saw_outliers_are_marked_and_the_mark_is_explained(drawn: Document) -> None:
    """In curves and panels of a run whose maxlogit was trained with outlier data, and of whole data sets."""
    results = [
        replace(result, partial=False, about={**result.about, "method": {"uses_outliers": True}})
        if result.labels.method == "maxlogit"
        else replace(result, partial=False)
        for result in drawn.run.results
    ]
    marked = document.build(replace(drawn.run, results=results))
    plot = next(plot for plot in kind(marked, "roc") if plot.name.startswith("roc-anomaly"))
    (legend,) = plot.figure().legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert [label.split(" (")[0] for label in labels] == ["msp", "maxlogit †", "† trained with outlier data"]
    assert not any("images only" in label for label in labels)
    figure = kind(marked, "panels")[0].figure()
    heads = [text.get_text() for text in figure.texts]
    assert "maxlogit †" in heads and "msp" in heads
    assert "† trained with outlier data" in figure.axes[-1].get_xlabel()
    assert "images only" not in figure.axes[-1].get_xlabel()
    assert kind(drawn, "panels")[0].figure().axes[-1].get_xlabel().endswith(", 4 images only")
    (first, *_) = kind(drawn, "roc")[0].figure().legends
    assert not any("†" in text.get_text() for text in first.get_texts())


def test_the_kinds_of_figures_are_those_that_can_be_drawn() -> None:
    assert set(lines.CURVES) == set(get_args(lines.CurveKind)) < set(KINDS)


def test_the_same_run_gives_the_same_bytes_whatever_the_settings_of_its_user(drawn: Document) -> None:
    import matplotlib as mpl

    plot = kind(drawn, "reliability")[0]
    first = {type_: plot.content(type_) for type_ in style.TYPES}
    with mpl.rc_context({"font.size": 30, "text.parse_math": True, "axes.facecolor": "red"}):
        assert {type_: plot.content(type_) for type_ in style.TYPES} == first
    assert first["pdf"].startswith(b"%PDF") and b"/FontFile2" in first["pdf"], "its letters must be in the file"
    assert b"<svg" in first["svg"] and b"http://www.w3.org" in first["svg"] and first["png"].startswith(b"\x89PNG")


def test_a_panel_has_a_row_per_image_and_a_column_per_picture(drawn: Document) -> None:
    (plot,) = kind(drawn, "panels")
    cells = [axes for axes in plot.figure().axes if axes.images]
    shots = {round(axes.get_position().y0, 3) for axes in cells}
    columns = {round(axes.get_position().x0, 3) for axes in cells}
    assert len(cells) == len(shots) * len(columns) and len(columns) == 5 and len(shots) >= 2
    assert kind(document.build(drawn.run, Choice(images=False)), "panels") == []


def test_severities_are_the_means_of_the_grid(tmp_path: Path) -> None:
    run = test_grids.run_of(tmp_path, test_grids.rows())
    (grid,) = document.build(run).grids
    (plot,) = lines.severity_plots([grid])
    (axes,) = plot.figure().axes
    for line in grid.views[grid.leading].lines:
        (curve,) = (drawn for drawn in axes.lines if drawn.get_label() == line.row.name)
        means = [line.means[place].value for place in lines.places_of(grid)]
        assert np.allclose(curve.get_ydata(), [100 * value for value in means if value is not None])


def test_rows_of_a_grid_that_saw_outliers_are_marked(tmp_path: Path) -> None:
    rows = test_grids.rows(["msp"]) + test_grids.rows(
        ["head"], lambda method, spot: test_grids.full(0.9), outliers=True
    )
    (grid,) = document.build(test_grids.run_of(tmp_path, rows)).grids
    (plot,) = lines.severity_plots([grid])
    (legend,) = plot.figure().legends
    assert [text.get_text() for text in legend.get_texts()] == ["msp", "head †", "† trained with outlier data"]


def test_more_rows_than_can_be_told_apart_are_counted_and_not_dropped_in_silence() -> None:
    figure, axes = style.canvas("column")
    axes.plot([0, 1], [0, 1], label="first")
    style.legend(figure, axes, "column", undrawn=3)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["first", "and 3 more rows, not drawn"]


def test_the_command_writes_a_folder_and_refuses_in_one_line(
    drawn: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = str(drawn.run.path), tmp_path / "figures"
    assert main(["report", run, "--format", "figures:kinds=[roc],types=[svg],width=page", "--out", str(out)]) == 0
    assert [path.name.split("-")[0] for path in sorted(out.iterdir())] == ["roc", "roc"]
    assert capsys.readouterr().out.strip() == str(out)
    for spelled, words in {
        "figures:kinds=[rock]": "kinds",
        "figures:types=[]": "types",
        "figures:kinds=[severity]": "nothing there can be drawn as severity",
    }.items():
        assert main(["report", run, "--format", spelled, "--out", str(tmp_path / "none")]) == 2
        error = capsys.readouterr().err
        assert words in error and "Traceback" not in error and not (tmp_path / "none").exists()


def test_a_plot_is_saved_by_the_ending_of_its_path(drawn: Document, tmp_path: Path) -> None:
    plot = kind(drawn, "roc")[0]
    assert plot.save(tmp_path / "roc.PDF").read_bytes().startswith(b"%PDF")
    with pytest.raises(UsageError, match="pdf, svg, png, not as 'jpg'"):
        plot.save(tmp_path / "roc.jpg")


def test_a_run_in_python_gives_one_figure_or_says_how_to_choose(drawn: Document, tmp_path: Path) -> None:
    run = load(drawn.run.path)
    with pytest.raises(UsageError, match=r"2 figures of roc, .*run\.only"):
        run.figure("roc")
    assert len(run.figures("roc")) == 2
    one = run.only(protocol="anomaly", method="msp").figure("roc")
    assert [str(line.get_label()).split(" ")[0] for line in one.figure().axes[0].lines[1:]] == ["msp"]
    assert one.save(tmp_path / "roc.svg").is_file()
    with pytest.raises(UnknownName, match="unknown width 'single'; known: column, page"):
        run.only(protocol="anomaly").figure("roc", width="single")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="other is str, wanted a Run"):
        run.compare(str(run.path))  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match=r"unknown format '\.docx'") as unknown:
        run.report(tmp_path / "page.docx")
    assert "/" not in str(unknown.value).partition("known:")[2]
    with pytest.raises(MissingData, match="nothing that is looked at can be drawn as severity"):
        run.figure("severity")


def test_a_run_in_python_is_logged(drawn: Document, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: it was given nothing")
    where = load(drawn.run.path).log("tensorboard", folder=str(tmp_path / "boards"))
    assert list(Path(where).glob("events.out.tfevents*"))
