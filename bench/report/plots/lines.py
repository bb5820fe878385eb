"""Curves of a table, a row each: ROC, precision and recall, risk and coverage, reliability; and figures by severity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from bench.api import Metric, Value
from bench.report.figures import uses_outliers
from bench.report.grids import CLEAN, Grid, Place, View
from bench.report.leaderboard import Line, Table
from bench.report.plots import style
from bench.report.plots.style import MOST, Plot, Width
from bench.report.text import number, percent
from bench.results import curves, reliability
from bench.results.store import Result, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIRST = 0.02  # coverage below which a risk is that of a handful of pixels: the axis may cut it off
Points = tuple[Sequence[float], Sequence[float]]  # x and y of a curve
CurveKind = Literal["roc", "precision_recall", "risk_coverage", "reliability"]


@dataclass(frozen=True)
class Curve:
    """A kind of curve: its axes, where its points come from, and the figure that stands beside a name."""

    title: str
    x: str
    y: str
    metric: str  # whose figure the legend names, where a table has it
    points: Callable[[Run, Result], Points | None]
    diagonal: bool = False  # what it is compared with: chance, or perfect calibration


def _roc(run: Run, result: Result) -> Points | None:
    drawn = curves.roc_pr(run, result)
    return (drawn.fpr, drawn.tpr) if drawn else None


def _precision_recall(run: Run, result: Result) -> Points | None:
    drawn = curves.roc_pr(run, result)
    return (drawn.recall, drawn.precision) if drawn else None


def _risk_coverage(run: Run, result: Result) -> Points | None:
    drawn = curves.risk_coverage(run, result)
    return (drawn.coverage, drawn.risk) if drawn else None


def _reliability(run: Run, result: Result) -> Points | None:
    drawn = reliability.reliability(run, result)
    return (drawn.confidence, drawn.accuracy) if drawn else None


CURVES: Mapping[CurveKind, Curve] = {
    "roc": Curve("ROC", "false positive rate", "true positive rate", "auroc", _roc, diagonal=True),
    "precision_recall": Curve("precision and recall", "recall", "precision", "ap", _precision_recall),
    "risk_coverage": Curve("risk and coverage", "coverage", "selective risk", "aurc", _risk_coverage),
    "reliability": Curve("reliability", "confidence", "accuracy", "ece", _reliability, diagonal=True),
}


def curve_plots(run: Run, tables: Sequence[Table], kind: CurveKind, width: Width = "column") -> Iterator[Plot]:
    """Yield a plot for each table that has such curves. Rows come in their order."""
    curve = CURVES[kind]
    for table in tables:
        rows = [(line, points) for line in table.lines if (points := curve.points(run, line.result)) is not None]
        if rows:
            title = f"{curve.title} of {table.title} on {table.dataset}"
            name = f"{kind}-{table.protocol}-{table.dataset}"
            yield Plot(name, title, partial(_draw_curves, curve, table, rows), width)


def _draw_curves(curve: Curve, table: Table, rows: Sequence[tuple[Line, Points]], width: Width) -> Figure:
    figure, axes = style.canvas(width)
    if curve.diagonal:
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.6, zorder=1)
    for (line, (x, y)), stroke in zip(rows, style.strokes(), strict=False):
        axes.plot(x, y, label=_named(line, table, curve.metric), **stroke)
    _scaled(axes, curve, [points for _, points in rows])
    marked = any(uses_outliers(line.result) for line, _ in rows[:MOST])
    style.legend(figure, axes, width, undrawn=max(0, len(rows) - MOST), dagger=marked)
    return figure


def _scaled(axes: Axes, curve: Curve, drawn: Sequence[Points]) -> None:
    top = 1.005
    if curve.metric == "aurc":  # risks are small numbers, but for the first few pixels
        risks = [risk for x, y in drawn for coverage, risk in zip(x, y, strict=True) if coverage >= FIRST]
        top = min(top, 1.05 * max(risks, default=1.0) or 1.0)
    axes.set(xlabel=curve.x, ylabel=curve.y, xlim=(0, 1), ylim=(0, top))


def _named(line: Line, table: Table, name: str) -> str:
    """Return the name of the row as tables have it, its marks, and its figure."""
    row = f"{line.method} on {line.model}" if line.method and table.model is None else line.method or line.model
    row = style.marked(row, uses_outliers(line.result))
    metric, figure = table.metrics.get(name), line.result.metrics.get(name)
    row += f" ({metric.title} {number(figure.value, metric)})" if metric and isinstance(figure, Value) else ""
    return f"{row}, {line.result.images} images only" if line.result.partial else row


def severity_plots(grids: Sequence[Grid], metrics: Sequence[str] = (), width: Width = "column") -> Iterator[Plot]:
    """Yield a plot of means by severity for each grid and metric: those named, or the one that ranks."""
    for grid in grids:
        for name in [name for name in metrics if name in grid.views] or [grid.leading]:
            view = grid.views[name]
            lines = [
                line for line in view.lines if any(line.means[place].value is not None for place in places_of(grid))
            ]
            if len(grid.severities) > 1 and lines:
                of = [grid.protocol, *([grid.model] if grid.model else []), grid.dataset, name]
                title = f"{view.metric.title} of {grid.title} on {grid.name}, by severity"
                plot = partial(_draw_severities, grid, view)
                yield Plot(f"severity-{'-'.join(of)}", title, plot, width)


def places_of(grid: Grid) -> list[Place]:
    """Return where a curve has its points: clean data first, if the grid has it."""
    clean = [CLEAN] if CLEAN in grid.places else []
    return [*clean, *(Place("severity", severity) for severity in grid.severities)]


def _draw_severities(grid: Grid, view: View, width: Width) -> Figure:
    figure, axes = style.canvas(width)
    places = places_of(grid)
    positions = [0 if place == CLEAN else int(place.of) for place in places]
    for line, stroke in zip(view.lines, style.strokes(), strict=False):
        values = [line.means[place].value for place in places]
        shown = [_shown(value, view.metric) for value in values]
        if any(value == value for value in shown):
            axes.plot(
                positions,
                shown,
                label=style.marked(line.row.name, line.row.outliers),
                marker="o",
                markersize=2.5,
                **stroke,
            )
    unit = " (%)" if percent(view.metric) else ""
    axes.set(xlabel="severity", ylabel=f"{view.metric.title}{unit}")
    axes.set_xticks(positions, ["clean" if place == CLEAN else str(place.of) for place in places])
    dagger = any(line.row.outliers for line in view.lines[:MOST])
    style.legend(figure, axes, width, undrawn=max(0, len(view.lines) - MOST), dagger=dagger)
    return figure


def _shown(value: float | None, metric: Metric) -> float:
    """As tables print it; NaN, which no line is drawn through, where there is none."""
    if value is None:
        return float("nan")
    return 100 * value if percent(metric) else value
