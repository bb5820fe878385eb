"""How figures are printed, the same in every format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.api import Metric, Value
from bench.report.figures import Change
from bench.report.selection import Choice

LISTED = 12  # names in one sentence
ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}  # beside the title of a metric: which direction is better


def percent(metric: Metric) -> bool:
    """Whether a figure is a rate with a direction; thresholds and counts are shown as they are."""
    return metric.in_percent


def number(value: float, metric: Metric, digits: int | None = None) -> str:
    """Return a rate in percent, anything else as it is; ``digits`` after the point, two unless given."""
    after = 2 if digits is None else digits
    return f"{100 * value:.{after}f}" if percent(metric) else f"{value:.{after + 2}g}"


def difference(value: float, metric: Metric, digits: int | None = None) -> str:
    """Return a difference with its sign; of a rate in points of a percent."""
    return ("" if value < 0 else "+") + number(value + 0.0, metric, digits)  # no "-0"


def interval(lo: float | None, hi: float | None, metric: Metric, digits: int | None = None) -> str:
    """Return the 95 % interval; empty where none was made."""
    if lo is None or hi is None:
        return ""
    dash = "\N{EN DASH}" if percent(metric) else " to "
    return f"{number(lo, metric, digits)}{dash}{number(hi, metric, digits)}"


def certified(err: float, metric: Metric) -> str:
    """Return how exactly the figure itself is known, never rounded to less than it is; empty if exactly."""
    if not err > 0:
        return ""
    scaled = 100 * err if percent(metric) else err
    step = 10.0 ** np.floor(np.log10(scaled))
    rounded = float(f"{np.ceil(scaled / step - 1e-9) * step:.1g}")
    return f"\N{PLUS-MINUS SIGN} {np.format_float_positional(rounded, trim='-')}"


@dataclass(frozen=True, slots=True)
class Style:
    """Digits and intervals as they were asked for."""

    digits: int | None = None
    intervals: bool = True

    @classmethod
    def of(cls, choice: Choice, *, intervals: bool) -> Style:
        """As chosen; ``intervals`` says what suits the table where nothing was."""
        return cls(choice.digits, intervals if choice.intervals is None else choice.intervals)

    def number(self, value: float, metric: Metric) -> str:
        return number(value, metric, self.digits)

    def interval(self, value: Value, metric: Metric) -> str:
        """Empty where none was made or none is to be shown."""
        return interval(value.lo, value.hi, metric, self.digits) if self.intervals else ""

    def change(self, change: Change | None, metric: Metric) -> str:
        """A difference with its sign; in parentheses unless it is clear."""
        if change is None:
            return ""
        value = difference(change.value, metric, self.digits)
        value = value if change.clear else f"({value})"
        if not self.intervals or change.lo is None or change.hi is None:
            return value
        return f"{value} [{', '.join(difference(end, metric, self.digits) for end in (change.lo, change.hi))}]"


def listed(names: Sequence[str], most: int = LISTED) -> str:
    """Return the first few, and how many more."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def millions(value: int) -> str:
    """Such as 44.0, or 0.07 for a small network."""
    return f"{value / 1e6:.3g}" if value < 10e6 else f"{value / 1e6:.1f}"


def billions(value: int) -> str:
    """Such as 44.0, or 0.07 for a small network."""
    return f"{value / 1e9:.3g}" if value < 10e9 else f"{value / 1e9:.1f}"


def count(value: int) -> str:
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def of_images(*numbers: int, shown: Callable[[int], str] = str) -> str:
    """Such as "1 image" or "10 or 12 images"."""
    return " or ".join(map(shown, numbers)) + (" image" if numbers == (1,) else " images")


def minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")
