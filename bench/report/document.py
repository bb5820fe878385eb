"""One document of a run or of several: every table with its figures, marks and notes, built once for any format.

It holds what was measured, in the order in which it is shown, and no markup: each format in ``reports/`` writes it in
its own way. Means and operating points are computed before data sets are left out, so that a name keeps its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bench.report import grids, leaderboard, paper, selection
from bench.report.anonymous import anonymous
from bench.report.grids import Grid
from bench.report.leaderboard import SummaryTable, Table
from bench.report.paper import Paper
from bench.report.selection import Choice
from bench.results import operating, summary
from bench.results.store import Run

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
    def summaries(self) -> Sequence[SummaryTable]:
        """The means and operating points that no grid shows."""
        remaining, parts = grids.remaining(self.run, self.grids, self.means)
        return leaderboard.summary_tables(self.run, remaining, parts)

    @cached_property
    def paper(self) -> Paper:
        """Methods by data sets."""
        return paper.pivot(self.run, self.choice)


def build(run: Run, choice: Choice | None = None, *, table: str = "all", command: str = "") -> Document:
    """Return the document of what was asked for; UnknownName or BadSuite where a name of ``choice`` means nothing."""
    choice = choice or Choice()
    run = anonymous(run) if choice.anonymous else run
    selected = selection.select(run, choice)
    return Document(selected, choice, table, command, selection.select(run, selection.wide(choice)))
