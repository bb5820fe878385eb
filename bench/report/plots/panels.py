"""Qualitative panels: image, truth, class map and score maps of the images of a gallery, on one scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from bench.report.figures import uses_outliers
from bench.report.plots.style import DAGGER_NOTE, WIDTHS, Plot, Width, marked
from bench.results import gallery, pictures
from bench.results.gallery import Gallery, Shot
from bench.results.store import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAPS = 3  # score maps beside each other, unless somebody asks for others
# Inches: between columns, of their titles, of the words above each row, of the scale below.
GAP, HEAD, WORDS, SCALE = 0.03, 0.15, 0.12, 0.42
LETTERS, LONGEST = 130, 190  # of all titles beside each other, and of the words above a row


def panel_plots(run: Run, maps: int = MAPS, width: Width = "page", scrub: Callable[[str], str] = str) -> Iterator[Plot]:
    """Yield a plot of each gallery of the run: a row per image; the first ``maps`` methods in the run's order.

    ``scrub`` is applied to the words of images.
    """
    for album in gallery.read(run):
        methods = list(dict.fromkeys(name for shot in album.shots for name in shot.maps))[:maps]
        name = f"panels-{album.model}-{album.dataset}"
        title = f"image, truth and score maps of {album.model} on {album.dataset}"
        yield Plot(name, title, partial(_draw, album, _Columns.of(run, album, methods), scrub), width)


@dataclass(frozen=True)
class _Columns:
    """What the figure says of its score maps: their methods, and the marks of the results that they come from."""

    methods: Sequence[str]
    outliers: frozenset[str]  # those of the methods that were trained with data that shows anomalies
    images: int  # how many images the results are of, where the data was cut; else 0

    @classmethod
    def of(cls, run: Run, album: Gallery, methods: Sequence[str]) -> _Columns:
        results = [
            result
            for result in run.results
            if (result.labels.model, result.labels.dataset) == (album.model, album.dataset)
            and result.labels.method in methods
        ]
        outliers = frozenset(str(result.labels.method) for result in results if uses_outliers(result))
        return cls(methods, outliers, max((result.images for result in results if result.partial), default=0))


def _draw(album: Gallery, columns: _Columns, scrub: Callable[[str], str], width: Width) -> Figure:
    from matplotlib.figure import Figure

    titles = _titles(album, columns.methods)
    across = WIDTHS[width]
    side = (across - GAP * (len(titles) - 1)) / len(titles)
    heights = [side * shot.drawn[0] / shot.drawn[1] for shot in album.shots]
    down = HEAD + sum(heights) + WORDS * len(heights) + (SCALE if columns.methods else 0.0)
    figure = Figure(figsize=(across, down))
    top = down - HEAD
    for shot, height in zip(album.shots, heights, strict=True):
        top -= WORDS + height
        words = shorten(scrub(f"{shot.sample}: {shot.reason}"), LONGEST)
        figure.text(0, (top + height + 0.03) / down, words, fontsize=5)
        for number, title in enumerate(titles):
            left = number * (side + GAP)
            cell = figure.add_axes((left / across, top / down, side / across, height / down))
            _show(cell, _path(shot, title, columns.methods))
            if shot is album.shots[0]:
                middle = (left + side / 2) / across
                head = marked(shorten(title, LETTERS // len(titles)), title in columns.outliers)
                figure.text(middle, 1 - 0.12 / down, head, fontsize=6.5, ha="center")
    if columns.methods:
        _scale(figure, (0.05, 0.28 / down, 0.9, 0.07 / down), album, columns)
    return figure


def _titles(album: Gallery, methods: Sequence[str]) -> list[str]:
    """The titles from left to right."""
    predicted = ["class map"] if any(shot.prediction for shot in album.shots) else []
    truth = ["truth"] if any(shot.truth for shot in album.shots) else []
    return ["image", *truth, *predicted, *methods]


def _path(shot: Shot, title: str, methods: Sequence[str]) -> Path | None:
    """The picture of a column; a method may bear the name of another column, so that it is asked first."""
    if title in methods:
        return shot.maps.get(title)
    return {"image": shot.image, "truth": shot.truth, "class map": shot.prediction}[title]


def _show(cell: Axes, path: Path | None) -> None:
    cell.set(xticks=[], yticks=[])
    cell.grid(visible=False)
    for spine in cell.spines.values():
        spine.set_visible(False)
    if path is None:
        cell.text(0.5, 0.5, "none", ha="center", va="center", fontsize=6, transform=cell.transAxes)
    else:
        cell.imshow(pictures.read(path), interpolation="none")


def _scale(figure: Figure, box: tuple[float, float, float, float], album: Gallery, columns: _Columns) -> None:
    """One bar for all maps: the share of the pixels of the data set that score as high."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    colours = ListedColormap(list(album.scale.colours))
    levels = ScalarMappable(Normalize(0, len(album.scale.colours) - 1), colours)
    bar = figure.colorbar(levels, cax=figure.add_axes(box), orientation="horizontal")
    bar.set_ticks([level for level, _ in album.scale.ticks], labels=[words for _, words in album.scale.ticks])
    bar.ax.tick_params(labelsize=5.5, length=2, pad=1)
    label = album.scale.meaning + (f", {columns.images} images only" if columns.images else "")
    bar.set_label(f"{label}; {DAGGER_NOTE}" if columns.outliers else label, fontsize=6, labelpad=1)
