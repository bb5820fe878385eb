"""The return value of ``bench.Metric.compute``: figures by name, and as a table, a dictionary or a frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.api import Metric, Undefined, Value
from bench.evaluate import text
from bench.evaluate.evaluation import Report
from bench.suite import parameters

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("protocol", "metric", "value", "err", "lo", "hi", "better", "unit", "images", "reason")


@dataclass(frozen=True, eq=False)
class Computed(Mapping[str, Value | Undefined]):
    """Figures by their name, such as ``ap``; by ``protocol/name`` where several protocols were asked.

    ``float(computed["ap"])`` is the number, ``computed["ap"].lo`` and ``.hi`` are its interval. A figure that has no
    value is ``Undefined`` and says why.
    """

    report: Report  # as ``bench score`` has it

    def __getitem__(self, name: str) -> Value | Undefined:
        return self._figures()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures())

    def __len__(self) -> int:
        return len(self._figures())

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return text.html(self.report)

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on maps that look wrong, such as scores that point the other way."""
        return tuple(finding.text for finding in self.report.lint)

    def table(self) -> str:
        """Return what ``bench score`` prints."""
        return "\n".join(text.lines(self.report))

    def to_dict(self) -> dict[str, float | None]:
        """Return the numbers alone, for loggers; None where a figure has none."""
        return {name: figure.value if isinstance(figure, Value) else None for name, figure in self.items()}

    def record(self) -> dict[str, Any]:
        """Return the JSON of ``bench score --format json``."""
        return text.record(self.report)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per figure, with the columns of ``COLUMNS``."""
        import pandas as pd

        entries = []
        for each in self.report.evaluations:
            for name, figure in each.figures.items():
                known = isinstance(figure, Value)
                metric = each.protocol.metrics.get(name, Metric(name, ""))
                numbers = [getattr(figure, field, None) for field in ("value", "err", "lo", "hi")]
                reason = None if known else getattr(figure, "reason", None)
                entries.append(
                    (parameters.label(each.protocol), name, *numbers, metric.better, metric.unit, each.images, reason)
                )
        return pd.DataFrame(entries, columns=list(COLUMNS))

    def _figures(self) -> dict[str, Value | Undefined]:
        evaluations = self.report.evaluations
        if len(evaluations) == 1:
            return dict(evaluations[0].figures)
        return {
            f"{parameters.label(each.protocol)}/{name}": figure
            for each in evaluations
            for name, figure in each.figures.items()
        }
