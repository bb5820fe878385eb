"""Figures that entries claim, beside those that were measured of the same thing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.board.entries import Board, Version
from bench.core.values import Metric, Value
from bench.report import published
from bench.report.published import Published
from bench.report.text import number
from bench.results.store import Result


@dataclass(frozen=True)
class Compared:
    """One claimed figure and the measured one, of the same images and the same definition."""

    result: Result
    metric: Metric
    claimed: Published
    measured: Value

    @property
    def claimed_text(self) -> str:
        """The figure as it was published."""
        return printed(self.claimed)

    @property
    def measured_text(self) -> str:
        """The figure that was measured, as tables have it."""
        return number(self.measured.value, self.metric)

    @property
    def agrees(self) -> bool:
        """Return True if the claimed figure rounds to the measured one, or lies in its 95 % interval."""
        slack = half_digit(self.claimed) + self.measured.err
        ends = [self.measured.value, *(end for end in (self.measured.lo, self.measured.hi) if end is not None)]
        return min(ends) - slack <= self.claimed.value <= max(ends) + slack


def printed(row: Published) -> str:
    """Return a claimed figure with the digits that it was published with, a rate in percent."""
    return f"{(100 if row.unit == 'rate' else 1) * row.value:.{row.digits}f}"


def half_digit(row: Published) -> float:
    """Return half a step of the last digit that was published, in the unit of the figure."""
    step: float = 10.0**-row.digits / (100 if row.unit == "rate" else 1)
    return step / 2 * (1 + 1e-9)


def of_column(result: Result, rows: Sequence[Published]) -> list[Published]:
    """Return the claimed figures that answer the same question as those of a result: definition, images and split."""
    dataset = result.cell.dataset.spelled()
    measured = published.place_of(dataset)
    return [
        row
        for row in published.beside(result.cell.protocol.name, dataset, rows)
        if measured and row.split == measured.split and row.same_definition == "yes" and row.metric in result.metrics
    ]


def compared(board: Board, version: Version) -> Iterator[Compared]:
    """Yield the figures of a claimed entry that the entry it is ``of`` has measured."""
    measured = next((each for each in board.newest if each.id == version.entry.of), None)
    for result in measured.results if measured else ():
        for row in of_column(result, version.figures):
            value = result.metrics[row.metric]
            if isinstance(value, Value):
                yield Compared(result, result.definitions[row.metric], row, value)
