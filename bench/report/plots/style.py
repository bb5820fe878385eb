"""Sizes, colours and fonts of all figures, and a figure that can be saved.

matplotlib is imported when a figure is drawn: it is an extra, and slow to import. No state of it is changed for others:
figures are made without pyplot, and settings hold only while one is drawn or saved.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from bench.core.errors import MissingPackage, UsageError
from bench.core.files import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Width = Literal["column", "page"]
FileType = Literal["pdf", "svg", "png"]

WIDTHS: dict[Width, float] = {"column": 3.3, "page": 6.9}  # inches: one and two columns of a two-column paper
HEIGHT = 2.5  # inches of the axes with their labels; a legend below comes on top
HANDLE, LETTER, LINE = 0.4, 0.056, 0.135  # inches of a legend in 7 points: a stroke, a letter of a name, a row
TYPES: tuple[FileType, ...] = get_args(FileType)
# Okabe and Ito 2008, "Color universal design", the yellow left out: lines of it vanish on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("solid", (0, (4, 1.5)), (0, (1, 1)))
MOST = len(COLOURS) * len(DASHES)  # rows of one figure that can still be told apart
DAGGER = "\N{DAGGER}"  # as in the tables of a paper
DAGGER_NOTE = f"{DAGGER} trained with outlier data"
SETTINGS: Any = {  # matplotlib types each name, and calls them by a type of its own
    "axes.grid": True,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8,
    "figure.dpi": 150,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same letters on every machine
    "font.size": 8,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.4,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "pdf.fonttype": 42,  # TrueType, embedded: what conferences ask for
    "ps.fonttype": 42,
    "savefig.dpi": 300,
    "svg.fonttype": "path",  # looks the same where the font is not installed
    "svg.hashsalt": "bench",  # the same file from the same run
    "text.parse_math": False,  # labels are words of suites and of others, not formulas
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}


@dataclass(frozen=True, eq=False)
class Plot:
    """One figure of a run. ``figure()`` gives it to matplotlib, ``save`` writes it, notebooks show it."""

    name: str  # of its files, without an ending
    title: str  # what it shows, in words
    draw: Callable[[Width], Figure] = field(repr=False)  # its repr would be the whole run
    width: Width = "column"

    def figure(self) -> Figure:
        """Return a new matplotlib figure, free to be changed. Raises MissingPackage without matplotlib."""
        with settings():
            return self.draw(self.width)

    def content(self, type_: str) -> bytes:
        """Return the content of a file of one of ``TYPES``; the same run gives the same bytes."""
        if type_ not in TYPES:
            raise UsageError(f"a figure is written as {', '.join(TYPES)}, not as {type_!r}")
        dates = {"pdf": {"CreationDate": None, "ModDate": None}, "svg": {"Date": None}, "png": {}}
        held = io.BytesIO()
        with settings():
            self.draw(self.width).savefig(held, format=type_, metadata=dates[type_])
        return held.getvalue()

    def save(self, path: str | Path) -> Path:
        """Write the figure in the type that the ending of the path names; return the path."""
        target = Path(path)
        content = self.content(target.suffix.lower().removeprefix("."))
        with writing(target, "wb") as file:
            file.write(content)
        return target

    def _repr_png_(self) -> bytes:
        return self.content("png")


@contextmanager
def settings() -> Iterator[None]:
    """Draw and save by ``SETTINGS``, whatever the user's own matplotlib settings say."""
    try:
        import matplotlib as mpl
        from matplotlib import style
    except ImportError as error:
        raise MissingPackage(
            f"figures need matplotlib, which cannot be imported ({error}): pip install 'ood-seg-bench[figures]'"
        ) from None
    with style.context("default"), mpl.rc_context(SETTINGS):
        yield


def canvas(width: Width, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """Return an empty figure of that width with its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTHS[width], height), layout="constrained")
    return figure, figure.add_subplot()


def strokes() -> Iterator[dict[str, Any]]:
    """Yield colour and dashes of one row after the other: every colour solid first, ``MOST`` in all."""
    pairs = product(DASHES, COLOURS)
    return ({"color": colour, "linestyle": dashes} for dashes, colour in islice(pairs, MOST))


def marked(row: str, outliers: bool) -> str:
    """Return the name of a row, with a mark where it was trained with data that shows anomalies."""
    return f"{row} {DAGGER}" if outliers else row


def legend(figure: Figure, axes: Axes, width: Width, *, undrawn: int = 0, dagger: bool = False) -> None:
    """Put the legend below the axes and make the figure as much taller.

    It says how many rows are ``undrawn``, and what the mark means where a row has a ``dagger``.
    """
    handles, labels = axes.get_legend_handles_labels()
    notes = [f"and {undrawn} more rows, not drawn"] if undrawn else []
    notes += [DAGGER_NOTE] if dagger else []
    for note in notes:
        handles.append(axes.plot([], [], linestyle="none")[0])
        labels.append(note)
    if not labels:
        return
    columns = max(1, min(4, int(WIDTHS[width] / (HANDLE + LETTER * max(map(len, labels))))))
    rows = -(-len(labels) // columns)
    figure.set_size_inches(WIDTHS[width], figure.get_figheight() + LINE * rows + 0.1)
    spaces = {"handlelength": 2.2, "columnspacing": 1.0, "labelspacing": 0.25, "borderpad": 0.2}
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, **spaces)
