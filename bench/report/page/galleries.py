"""The pictures of a run as a page embeds them: rows of images on one scale, and small ones beside their figures."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.report import leaderboard
from bench.results import gallery
from bench.results.gallery import Gallery, Scale, Shot
from bench.results.pictures import DECADES, LARGEST, VOID, hexadecimal, packed, size_of
from bench.results.store import Run

SHOWN = 3  # score maps of an image at first
TRUTHS = {"anomaly": "truth", "classes": "true classes", "errors": "errors of the class map"}
LEGENDS = TRUTHS | {"classes": "classes"}  # they are the colours of the prediction too, often of nothing else
IGNORED = {"name": "ignored", "colour": hexadecimal(VOID)}
BAR = 220  # px of the drawn scale
STEPS = 44  # of its colours


@dataclass(frozen=True)
class Size:
    """How large the pictures of a page are."""

    largest: int  # pixels of a side at most
    quality: int  # of photographs as WebP; maps and classes are without loss
    maps: int  # score maps of one image at most, those that rank first


SIZES = {  # by the word of ``bench report --gallery-size``
    "small": Size(320, 75, 3),
    "medium": Size(640, 85, 6),
    "large": Size(LARGEST, 95, 1000),
}


@dataclass(frozen=True)
class Framed:
    """One image with everything that is shown of it."""

    sample: str
    reason: str
    width: int
    height: int
    pictures: tuple[tuple[str, str, str], ...]  # kind, title, data address
    thumbnail: str


@dataclass(frozen=True)
class Album:
    """The images of one network and data set."""

    model: str
    dataset: str
    methods: tuple[str, ...]
    shown: tuple[str, ...]
    legends: tuple[Mapping[str, Any], ...]
    scale: Mapping[str, Any] | None
    shots: tuple[Framed, ...]
    notes: tuple[str, ...]


def albums(run: Run, size: Size, scrub: Callable[[str], str] = str) -> list[Album]:
    """Return every gallery that the results of the run still vouch for; ``scrub`` is applied to all words in it."""
    galleries = [_scrubbed(read, scrub) for read in gallery.read(run)]
    ranks = _ranks(run) if galleries else {}  # of every table of the run: long work in a large one
    return [album(read, ranks, size) for read in galleries]


def _scrubbed(read: Gallery, scrub: Callable[[str], str]) -> Gallery:
    """Labels are those of the results; these words are the gallery's own."""
    return replace(
        read,
        note=scrub(read.note),
        shots=tuple(replace(shot, reasons=tuple(map(scrub, shot.reasons))) for shot in read.shots),
        left_out={scrub(name): scrub(why) for name, why in read.left_out.items()},
    )


def thumbnails(albums: Sequence[Album], dataset: str) -> dict[str, str]:
    """Return small pictures of a data set by sample id, as data addresses."""
    return {shot.sample: shot.thumbnail for album in albums if album.dataset == dataset for shot in album.shots}


def _ranks(run: Run) -> dict[tuple[str, str, str], int]:
    """The best rank of a method on a model and data set in any table, by their labels."""
    ranks: dict[tuple[str, str, str], int] = {}
    for table in leaderboard.tables(run):
        for line in table.lines:
            if line.rank is not None and line.method:
                row = (line.model, table.dataset, line.method)
                ranks[row] = min(line.rank, ranks.get(row, line.rank))
    return ranks


def album(read: Gallery, ranks: Mapping[tuple[str, str, str], int], size: Size) -> Album:
    """Return what a page shows of a gallery: of the methods those that rank best."""
    names = list(dict.fromkeys(name for shot in read.shots for name in shot.maps))
    order = sorted(names, key=lambda name: ranks.get((read.model, read.dataset, name), len(names) + 1))
    methods = tuple(order[: size.maps])
    notes = [read.note] if read.note else []
    if others := order[size.maps :]:
        further = f"the maps of {', '.join(others)}; they lie in RUN/gallery, and --gallery-size large shows them."
        notes.append(f"Not on this page, to keep it small: {further}")
    notes += [f"{name}: {why}" for name, why in read.left_out.items()]
    drawn = {kind for shot in read.shots for kind in shot.truths}
    legends = (
        {
            "title": LEGENDS.get(kind, kind),
            "entries": [{"name": name, "colour": colour} for name, colour in entries] + [IGNORED] * (kind in drawn),
        }
        for kind, entries in read.legends.items()
        if entries
    )
    return Album(
        read.model,
        read.dataset,
        methods,
        methods[:SHOWN],
        tuple(legends),
        _bar(read.scale) if methods else None,
        tuple(_framed(shot, methods, size) for shot in read.shots),
        tuple(notes),
    )


def _framed(shot: Shot, methods: Sequence[str], size: Size) -> Framed:
    named = [("image", "image", shot.image)]
    named += [("truth", TRUTHS.get(kind, kind), path) for kind, path in shot.truths.items()]
    if shot.prediction:
        named.append(("prediction", "prediction", shot.prediction))
    named += [(f"map {name}", name, shot.maps[name]) for name in methods if name in shot.maps]
    pictures = tuple((kind, title, _address(packed(path, size.largest, size.quality))) for kind, title, path in named)
    height, width = size_of(shot.drawn, size.largest)
    return Framed(shot.sample, shot.reason, width, height, pictures, _address(gallery.thumbnail(shot.image)))


def _address(picture: bytes) -> str:
    """Return a picture in WebP as a data address."""
    return f"data:image/webp;base64,{base64.b64encode(picture).decode()}"


def _bar(scale: Scale) -> dict[str, Any]:
    """The scale from left to right: the colours, and the words below them."""
    step, last = BAR / STEPS, len(scale.colours) - 1
    colours = [scale.colours[last * index // (STEPS - 1)] for index in range(STEPS)]
    width = f"{step + 0.3:.1f}"
    return {
        "meaning": scale.meaning,
        "levels": " ".join(colour.removeprefix("#") for colour in scale.colours),  # the script reads maps by them
        "decades": DECADES,
        "steps": [{"x": f"{n * step:.1f}", "width": width, "colour": colour} for n, colour in enumerate(colours)],
        "ticks": [{"x": f"{12 + level / last * (BAR - 24):.1f}", "title": title} for level, title in scale.ticks],
    }
