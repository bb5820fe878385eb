"""One document of a run or of several: every table with its figures, marks and notes, built once for any format.

It holds what was measured, in the order in which it is shown, and no markup: each format in ``reports/`` writes it in
its own way. Means and operating points are computed before data sets are left out, so that a name keeps its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bench.report import claims, grids, leaderboard, matrix, paper, selection, summaries
from bench.report.anonymous import anonymous, without_paths
from bench.report.claims import Claims
from bench.report.figures import absent_cells
from bench.report.grids import Grid
from bench.report.leaderboard import Table
from bench.report.matrix import Matrix
from bench.report.merge_runs import Merged
from bench.report.paper import Paper
from bench.report.selection import Choice
from bench.report.summaries import SummaryTable
from bench.report.text import listed
from bench.results import failures, operating, summary
from bench.results.store import CellLabels, Run

BASELINE = (
    "Δ is the difference to {} of the same network, in parentheses unless its paired 95 % interval lies on one side of "
    "0 by more than the certified errors."
)
TABLES = ("all", "paper", "means")  # what ``bench report --table`` may ask for


@dataclass(frozen=True, eq=False)
class Document:
    """What a format writes. Tables are made when they are asked for, and once."""

    run: Run  # what was selected of it
    choice: Choice = field(default_factory=Choice)
    table: str = "all"  # one of ``TABLES``
    command: str = ""  # that makes the file again
    whole: Run | None = None  # with the data sets that were left out; None for no figures over several cells
    known: Sequence[Mapping[str, Any]] | None = None  # these figures, where they have been computed already

    @cached_property
    def means(self) -> Sequence[Mapping[str, Any]]:
        """The figures over several cells that belong to what was selected: means, and operating points."""
        entries = self.known or []
        if self.known is None and self.whole is not None:
            entries = [*summary.compute(self.whole), *operating.compute(self.whole)]
        return selection.figures(self.run, self.choice, entries)

    @cached_property
    def grids(self) -> Sequence[Grid]:
        """The grids of corruptions."""
        return grids.grids(self.run)

    @cached_property
    def tables(self) -> Sequence[Table]:
        """The tables of single data sets; those of a grid are left out."""
        return leaderboard.tables(self.run, grids.apart(self.run, self.grids), baseline=self.choice.baseline)

    @cached_property
    def matrix(self) -> Matrix:
        """The leaderboard at a glance."""
        return matrix.leaderboard(self.run, self.tables, self.grids, self.choice)

    @cached_property
    def summaries(self) -> Sequence[SummaryTable]:
        """The means and operating points that no grid shows."""
        remaining, parts = grids.remaining(self.run, self.grids, self.means)
        return summaries.tables(self.run, remaining, parts)

    @cached_property
    def pending(self) -> Mapping[tuple[str, str], str]:
        """By protocol and data set the rows that have no result yet, in words; complete tables are left out."""
        names: dict[tuple[str, str], list[str]] = {}
        for _, labels in absent_cells(self.run):
            if labels is not None:
                name = f"{labels.method} on {labels.model}" if labels.method else labels.model
                names.setdefault((labels.protocol, labels.dataset), []).append(name)
        return {table: listed(missing) for table, missing in names.items()}

    @cached_property
    def failures(self) -> Sequence[str]:
        """Why cells that have no result failed, each cause once; of what nobody tried to compute nothing is said."""
        absent = {labels for _, labels in absent_cells(self.run) if labels is not None}
        runs = [source.run for source in self.run.sources] if isinstance(self.run, Merged) else [self.run]
        failed = (
            [cell for run in runs for cell in failures.read(run.path) if CellLabels(**cell.labels) in absent]
            if absent
            else []
        )
        hidden = without_paths if self.choice.anonymous else str
        return [hidden(str(cause)) for cause in failures.causes(failed)]

    @cached_property
    def remarks(self) -> Sequence[str]:
        """Sentences on what was left out, and on a run of several: which, and what tells their rows apart."""
        left_out = [f"{sentence}." for sentence in self.run.plan.left_out]
        if not isinstance(self.run, Merged):
            return left_out
        several = f"Several runs: {', '.join(source.name for source in self.run.sources)}."
        return [*left_out, several, *self.run.remarks]

    @cached_property
    def claims(self) -> Claims:
        """The published figures that the suite claims to make again, beside those that were measured."""
        return claims.of_run(self.run)

    @property
    def baseline(self) -> str:
        """What a column of changes is; empty where none was asked for."""
        return BASELINE.format(self.choice.baseline) if self.choice.baseline else ""

    @cached_property
    def paper(self) -> Paper:
        """Methods by data sets."""
        return paper.pivot(self.run, self.tables, self.grids, self.choice)


def build(run: Run, choice: Choice | None = None, *, table: str = "all", command: str = "") -> Document:
    """Return the document of what was asked for; UnknownName or BadSuite where a name of ``choice`` means nothing."""
    choice = choice or Choice()
    run = anonymous(run) if choice.anonymous else run
    selected = selection.select(run, choice)
    return Document(selected, choice, table, command, selection.select(run, selection.wide(choice)))
