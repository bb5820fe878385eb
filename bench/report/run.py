"""``bench.load`` and ``bench.Run``: a run directory as an object to look at, compare and write pages of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, overload

from bench.core.errors import MissingData, UnknownName, UsageError
from bench.report import document, listings, merge_runs, notebook, selection, trackers, writing
from bench.report.plots import KINDS, FigureKind, plots_of
from bench.report.plots.lines import CURVES, CurveKind
from bench.report.plots.style import WIDTHS, Plot, Width
from bench.report.selection import Choice
from bench.results import compare, curves, failures, records, reliability, store
from bench.results.compare import Difference, Side
from bench.results.store import Result
from bench.suite.cells import AXES
from bench.suite.kinds import Kind

if TYPE_CHECKING:
    import pandas as pd


def load(run: Path | str, *more: Path | str) -> Run:
    """Return a finished run, or several as one; each is a run directory, or ``NAME=RUN`` where there are several.

    Nothing in the directory is executed. Raises MissingData for what is no run.
    """
    return Run(merge_runs.opened([str(run), *map(str, more)]))


@dataclass(frozen=True)
class Run:
    """Results of a run, as tables, curves and pages. Figures are those of its files, to the last digit."""

    stored: store.Run
    patterns: dict[Kind, str] = field(default_factory=dict)  # of the cells that are looked at, by axis

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.stored.path

    @property
    def results(self) -> list[Result]:
        """The cells that are looked at, in the order of the suite."""
        return list(selection.select(self.stored, self._choice()).results)

    @property
    def failures(self) -> list[str]:
        """Why cells have no figures, one line for each cause; empty where all have."""
        return [str(cause) for cause in failures.causes(failures.read(self.path))]

    def only(self, **patterns: str) -> Run:
        """Return the same run with some of its cells: ``run.only(method="msp", dataset="toytown*")``.

        The axes are protocol, model, dataset and method. Raises UnknownName for another.
        """
        known: dict[str, Kind] = {axis: axis for axis in AXES}
        for axis in patterns:
            if axis not in known:
                raise UnknownName("axis", axis, AXES, "Run.only")
        return Run(self.stored, self.patterns | {known[axis]: pattern for axis, pattern in patterns.items()})

    def frame(self, *metrics: str) -> pd.DataFrame:
        """Return one row per cell and figure, with the columns of ``bench show --format json``."""
        import pandas as pd

        chosen = selection.select(self.stored, self._choice(metrics))
        return pd.DataFrame(records.records(chosen.results))

    def table(self, *metrics: str, digits: int | None = None, baseline: str | None = None) -> str:
        """Return the tables that ``bench show`` prints; the first of ``metrics`` ranks."""
        return writing.printed(self.stored, self._choice(metrics, digits, baseline))

    def compare(self, other: Run, *metrics: str) -> Comparison:
        """Return the differences ``other`` minus this, cell by cell, with paired 95 % intervals.

        Cells are paired that agree on all axes, but for those that ``only`` has chosen. Raises MissingData where the
        two have no cell in common.
        """
        if not isinstance(other, Run):
            raise UsageError(
                f"Run.compare: other is {type(other).__name__}, wanted a Run, such as bench.load({other!r})"
            )
        first, second = Side(self.stored, self.patterns), Side(other.stored, other.patterns)
        differences = tuple(compare.compare(first, second, metrics))
        beside = listings.beside(compare.made_with(first, second), compare.unpaired(first, second))
        return Comparison(differences, tuple(beside))

    def report(self, path: Path | str | None = None, *, format: str | None = None) -> Path:
        """Write a page or a file, and return its path: ``report.html`` in the run directory, unless ``path`` says else.

        ``format`` is one of ``bench report --format``; None is the one whose files end as ``path`` does.
        """
        suffix = Path(path).suffix if path is not None else ".html"
        named = {cls.suffix: name for name, cls in writing.formats().items() if cls.suffix.startswith(".")}
        if format is None and suffix not in named:
            raise UnknownName("format", suffix, named, f"Run.report({str(path)!r})")
        out = None if path is None else Path(path)
        return writing.write(self._folders(), format or named[suffix], out, choice=self._choice())

    def curves(self, kind: CurveKind) -> pd.DataFrame:
        """Return the points of a curve of every cell that has one: labels, then coordinates, in the order of the line.

        ``roc``: fpr, tpr, threshold; ``precision_recall``: recall, precision, threshold; ``risk_coverage``: coverage,
        risk; ``reliability``: confidence, accuracy, pixels.
        """
        import pandas as pd

        if kind not in CURVES:
            raise UnknownName("curve", kind, CURVES, "Run.curves")
        parts = []
        for result in self.results:
            points = pd.DataFrame(_points(self.stored, result, kind))
            for position, (axis, label) in enumerate(result.labels.by_axis.items()):
                points.insert(position, axis, label)
            parts.append(points)
        drawn = [points for points in parts if len(points)]
        return pd.concat(drawn, ignore_index=True) if drawn else pd.DataFrame()

    def figures(self, kind: FigureKind, *, width: Width = "column") -> list[Plot]:
        """Return the figures of one kind: a plot per table, per grid and metric, or per gallery; none where nothing is.

        ``plot.save("roc.pdf")`` writes PDF, SVG or PNG, ``plot.figure()`` is a matplotlib figure to be changed. Drawing
        raises MissingPackage without the extra ``figures``.
        """
        if kind not in KINDS:
            raise UnknownName("figure", kind, KINDS, "Run.figures")
        if width not in WIDTHS:
            raise UnknownName("width", width, WIDTHS, "Run.figures")
        return list(plots_of(document.build(self.stored, self._choice()), kind, width))

    def figure(self, kind: FigureKind, *, width: Width = "column") -> Plot:
        """Return the only figure of one kind. Raises MissingData for none, UsageError for several."""
        plots = self.figures(kind, width=width)
        if not plots:
            raise MissingData(f"{self.path}: nothing that is looked at can be drawn as {kind}")
        if len(plots) > 1:
            titles = "; ".join(plot.title for plot in plots[:4])
            advice = "choose by run.only(...), or take run.figures"
            raise UsageError(f"{len(plots)} figures of {kind}, such as {titles}; {advice}")
        return plots[0]

    def log(self, tracker: str, **settings: str) -> str:
        """Give the run to an experiment tracker, as ``bench report --log``; return where it can be looked at.

        ``tracker`` is wandb, mlflow, tensorboard or trackio. Raises MissingPackage, or UserError with what it refused.
        """
        return trackers.log(self.stored, trackers.tracker(tracker, settings, "Run.log"))

    def __repr__(self) -> str:
        done, cells = len(self.stored.results), len(self.stored.plan.keys)
        return f"bench.Run({str(self.path)!r}), {done} of {cells} cells"

    def _repr_html_(self) -> str:
        return notebook.run_html(document.build(self.stored, self._choice()))

    def _folders(self) -> list[str]:
        if isinstance(self.stored, merge_runs.Merged):
            return [f"{source.name}={source.run.path}" for source in self.stored.sources]
        return [str(self.path)]

    def _choice(self, metrics: Sequence[str] = (), digits: int | None = None, baseline: str | None = None) -> Choice:
        return Choice(
            only={axis: pattern for axis, pattern in self.patterns.items()},
            metrics=tuple(metrics),
            digits=digits,
            baseline=baseline,
        )


@dataclass(frozen=True)
class Comparison(Sequence[Difference]):
    """Differences of two runs, one for each pair of cells and figure."""

    differences: tuple[Difference, ...]
    remarks: tuple[str, ...] = ()  # cells without a partner, and what the two were made with

    @overload
    def __getitem__(self, index: int) -> Difference: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Difference, ...]: ...
    def __getitem__(self, index: int | slice) -> Difference | tuple[Difference, ...]:
        return self.differences[index]

    def __len__(self) -> int:
        return len(self.differences)

    def __iter__(self) -> Iterator[Difference]:
        return iter(self.differences)

    def frame(self) -> pd.DataFrame:
        """Return one row per difference, with the fields of ``bench compare --format json``."""
        import pandas as pd

        return pd.DataFrame([compare.fields_of(entry) for entry in self.differences])

    def table(self, *, every: bool = False) -> str:
        """Return what ``bench compare`` prints; ``every`` includes figures that are equal in both."""
        return "\n".join([listings.differences(self.differences, every=every), *self.remarks])

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return notebook.differences_html(self.differences, self.remarks)


def _points(run: store.Run, result: Result, kind: CurveKind) -> dict[str, Sequence[float | int | None]]:
    """Return the columns of the curve of one cell; empty where it has none."""
    if kind in ("roc", "precision_recall"):
        if (drawn := curves.roc_pr(run, result)) is None:
            return {}
        if kind == "roc":
            return {"fpr": drawn.fpr, "tpr": drawn.tpr, "threshold": drawn.roc_thresholds}
        return {"recall": drawn.recall, "precision": drawn.precision, "threshold": drawn.pr_thresholds}
    if kind == "risk_coverage":
        risk = curves.risk_coverage(run, result)
        return {} if risk is None else {"coverage": risk.coverage, "risk": risk.risk}
    bins = reliability.reliability(run, result)
    return {} if bins is None else {"confidence": bins.confidence, "accuracy": bins.accuracy, "pixels": bins.pixels}
