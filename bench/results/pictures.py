"""Pictures of one image, its truth, its class map and its score maps: arrays to small picture files.

The pixels of a truth, a class map and a score map are taken, not mixed: where a picture is smaller than its array, each
of its pixels is the one at its centre. A share of the pixels of a map is then the same share of its picture; a mean
would hide what is small and a maximum would blow it up. Only the photograph is filtered.

A score map is drawn by rank, so that one colour means the same for every method and every image of a data set. Level k
of 51 says that at most the share 10 ** (-k * DECADES / 51) of the pixels of the data set that were counted are scored
at least as high: 0 is where most are, 17 the highest tenth, 34 the highest hundredth, 51 the highest thousandth. The
index of a pixel in the file is its level, the palette of the file its colour. More levels than that are not told apart
by eye and double the size of a file.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.api import CITYSCAPES, IGNORE, Dataset, Labels, Sample, Scores, SegModel
from bench.core import images
from bench.core.errors import MissingData
from bench.core.files import writing
from bench.counts.tally import Counts

LIST = "shot.json"  # beside the pictures of a sample: which there are
LARGEST = 1024  # pixels of a side of a picture
CRISP = 512  # pixels of a side up to which the photograph is stored without loss
HEAVIEST = 2**23  # bytes of a picture file
LEVELS = 51
DECADES = 3  # powers of ten of the share that the levels span
TICKS = (0, 17, 34, 51)  # levels of the shares 1, 0.1, 0.01, 0.001

Colour = tuple[int, int, int]
Floats = NDArray[np.float64]

VOID: Colour = (0, 0, 0)
ANOMALY: Mapping[str, Colour] = {"normal": (190, 194, 200), "anomaly": (213, 94, 0)}
ERRORS: Mapping[str, Colour] = {"right": (190, 194, 200), "wrong": (0, 91, 187)}
# Cordts et al. 2016; labels.py of cityscapesScripts.
STREETS: Mapping[str, Colour] = dict(
    zip(
        CITYSCAPES,
        [
            *((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153)),
            *((250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60)),
            *((255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32)),
        ],
        strict=True,
    )
)
# hendrycks/anomaly-seg, create_dataset.py; "unlabeled", most of it sky, is black there, which is the ignored here.
HAZARDS: Mapping[str, Colour] = {
    **{name: STREETS[name] for name in ("building", "fence", "pole", "road", "sidewalk", "vegetation", "car", "wall")},
    **{"unlabeled": STREETS["sky"], "other": (250, 170, 160), "pedestrian": STREETS["person"]},
    **{"road line": (157, 234, 50), "traffic sign": STREETS["traffic sign"]},
}
# AutoNUE/public-code, helpers/anue_labels.py.
INDIA: Mapping[str, Colour] = {
    **STREETS,
    **{"drivable fallback": (81, 0, 81), "non-drivable fallback": STREETS["terrain"], "autorickshaw": (255, 204, 54)},
    **{"vehicle fallback": (136, 143, 153), "curb": (220, 190, 40), "guard rail": (180, 165, 180)},
    **{"billboard": (174, 64, 67), "obs-str-bar-fallback": (169, 187, 214), "bridge": (150, 100, 100)},
}
PALETTES = (STREETS, HAZARDS, INDIA)  # by name of a class; the first that has all of them
# Okabe and Ito 2008, "Color universal design", without black.
UNIVERSAL: tuple[Colour, ...] = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)),
)
DARKEST, LIGHTEST = 0.3, 0.97  # lightness in Oklab of the colours of further classes
# Ottosson 2020, "A perceptual color space for image processing": linear sRGB to cones, their cube roots to Oklab.
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
# Vienot, Brettel and Mollon 1999, for linear sRGB: how protanopes and deuteranopes see.
DICHROMATS = np.array(
    [
        [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
        [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
    ]
)
# Lightness, chroma and hue in degrees of Oklab along the scale: lightness alone tells the order.
HEAT = ((0.13, 0.03, 280), (0.32, 0.13, 292), (0.50, 0.18, 340), (0.66, 0.19, 28), (0.82, 0.16, 72), (0.97, 0.08, 105))


def size_of(size: tuple[int, int], largest: int = LARGEST) -> tuple[int, int]:
    """(h, w) of the pictures of an image of (H, W): its own, or the largest that fits, never below one pixel."""
    shrink = min(1.0, largest / max(size))
    return max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))


def taken(array: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 [h, w]: the pixel of ``array`` [H, W] at the centre of each pixel of the picture."""
    rows, columns = (
        ((np.arange(small) + 0.5) * large / small).astype(np.int64)
        for small, large in zip(size, array.shape, strict=True)
    )
    chosen: NDArray[np.uint8] = array[rows[:, None], columns]
    return chosen


def thresholds(counts: Counts) -> NDArray[np.float32]:
    """float32 [51], ascending: the lowest score of each level from 1 on, infinite for a level that none reaches.

    At most the share of a level scores at least its threshold, ties included; so a level never promises more than the
    counts hold, and the pixels of a score that many share stand where all of them are let in.
    """
    keys, times = counts.column(range(len(counts.columns))).distinct()
    limits = np.full(LEVELS, np.inf, np.float32)
    if not keys.size:
        return limits
    at_least = np.cumsum(times[::-1])[::-1]  # descending along the keys
    total = int(at_least[0])
    allowed = [floor(total * 10 ** (-level * DECADES / LEVELS) + 1e-9) for level in range(1, LEVELS + 1)]
    first = keys.size - np.searchsorted(at_least[::-1], allowed, side="right")
    reached = first < keys.size
    limits[reached] = counts.lowest(keys[first[reached]])
    return limits


def levels(score: Scores, limits: NDArray[np.float32]) -> NDArray[np.uint8]:
    """uint8 [H, W]: how many of the thresholds, [51], each score reaches."""
    return np.searchsorted(limits, score.ravel(), side="right").astype(np.uint8).reshape(score.shape)


@lru_cache
def heat() -> tuple[Colour, ...]:
    """The 52 colours of the levels: from nearly black to pale yellow, each lighter than the one before."""
    places = np.linspace(0, len(HEAT) - 1, LEVELS + 1)
    anchors = np.array(HEAT)
    angle = np.unwrap(np.deg2rad(anchors[:, 2]))
    lightness, chroma, hue = (
        np.interp(places, np.arange(len(HEAT)), column) for column in (anchors[:, 0], anchors[:, 1], angle)
    )
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    linear = (lab @ np.linalg.inv(OKLAB).T) ** 3 @ np.linalg.inv(CONES).T
    return _colours(linear)


def class_colours(names: Sequence[str]) -> tuple[Colour, ...]:
    """A colour for each class: those that a data set of all of them publishes, else some that are far apart.

    Far apart in Oklab, in the eyes of trichromats, protanopes and deuteranopes; none is nearly black or white.
    """
    palette = next((colours for colours in PALETTES if set(names) <= colours.keys()), None)
    return tuple(palette[name] for name in names) if palette else _distinct(len(names))


def hexadecimal(colour: Colour) -> str:
    """As a page writes it, such as #d55e00."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


@lru_cache
def _distinct(count: int) -> tuple[Colour, ...]:
    """First the colours that were chosen for the purpose, then whichever is farthest from all before it."""
    steps = np.linspace(0, 1, 9) ** 2.2
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid[(_oklab(grid)[:, 0] > DARKEST) & (_oklab(grid)[:, 0] < LIGHTEST)]
    known = (np.array(UNIVERSAL) / 255) ** 2.2
    candidates = np.concatenate([known, grid])
    seen = np.stack([_oklab(np.clip(candidates @ eye.T, 0, 1)) for eye in (np.eye(3), *DICHROMATS)])  # [3, n, 3]
    apart = np.full(len(candidates), np.inf)
    chosen: list[int] = []
    while len(chosen) < count:
        best = len(chosen) if len(chosen) < len(known) else int(apart.argmax())
        chosen.append(best)
        apart = np.minimum(apart, np.linalg.norm(seen - seen[:, best : best + 1], axis=2).min(axis=0))
    return (*UNIVERSAL[:count], *_colours(candidates[chosen[len(known) :]]))


def _oklab(linear: Floats) -> Floats:
    lab: Floats = np.cbrt(linear @ CONES.T) @ OKLAB.T
    return lab


def _colours(linear: Floats) -> tuple[Colour, ...]:
    """Linear sRGB [n, 3] as it is stored."""
    clipped = np.clip(linear, 0, 1)
    stored = np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)
    return tuple((int(r), int(g), int(b)) for r, g, b in np.round(255 * stored))


def write_photograph(path: Path, image: NDArray[np.uint8], size: tuple[int, int]) -> None:
    """Image uint8 [h, w, 3], at any size, as WebP: without loss where it is small."""
    picture = Image.fromarray(image)
    if picture.size != size[::-1]:
        picture = picture.resize(size[::-1], Image.Resampling.LANCZOS)
    exact = max(size) <= CRISP
    with writing(path) as file:  # for an exact picture, quality is how long a smaller file is looked for
        picture.save(file, "WEBP", lossless=exact, quality=30 if exact else 88, method=4)


def write_indexed(path: Path, array: NDArray[np.uint8], colours: Sequence[Colour], size: tuple[int, int]) -> None:
    """Array uint8 [H, W] as PNG: each pixel an index into ``colours``, of which 255 is black."""
    table = np.full((256, 3), 127, np.uint8)
    table[IGNORE] = VOID
    table[: len(colours)] = colours
    picture = Image.fromarray(np.ascontiguousarray(taken(array, size)))
    picture.putpalette(table.tobytes())
    with writing(path) as file:
        picture.save(file, "PNG")


def write_map(path: Path, score: Scores, limits: Sequence[float]) -> None:
    """Score float32 [H, W] as levels; ``limits`` as ``thresholds`` made them."""
    size = size_of((score.shape[0], score.shape[1]))
    write_indexed(path, levels(score, np.array(limits, np.float32)), heat(), size)


def write_scene(
    folder: Path, sample: Sample, predicted: Labels | None, dataset: Dataset, model: SegModel
) -> dict[str, Any]:
    """The photograph, what is known of it and the class map, uint8 [H, W]; the names of the files by what they show."""
    size = size_of(sample.size)
    write_photograph(folder / "image.webp", sample.image(), size)
    truths: dict[str, str] = {}
    known = class_colours(dataset.class_names)
    shown = [
        ("anomaly", sample.anomaly, tuple(ANOMALY.values())),
        ("classes", sample.labels, known),
        ("errors", _errors(sample.labels, predicted), tuple(ERRORS.values())),
    ]
    for kind, array, colours in shown:
        if array is not None:
            truths[kind] = f"{kind}.png"
            write_indexed(folder / truths[kind], array, colours, size)
    if predicted is not None:
        write_indexed(folder / "prediction.png", predicted, class_colours(model.class_names), size)
    return {"image": "image.webp", "truths": truths, "prediction": None if predicted is None else "prediction.png"}


def legends(class_names: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    """Names and colours by kind of truth, as a page writes them."""
    kinds = {"anomaly": ANOMALY, "classes": dict(zip(class_names, class_colours(class_names), strict=True))}
    return {kind: _legend(colours) for kind, colours in (kinds | {"errors": ERRORS}).items()}


def _errors(labels: Labels | None, predicted: Labels | None) -> Labels | None:
    """uint8 [H, W]: 0 where the class map is right, 1 where it is wrong, 255 where there is no truth."""
    if labels is None or predicted is None:
        return None
    wrong: Labels = (labels != predicted).astype(np.uint8)
    wrong[labels == IGNORE] = IGNORE
    return wrong


def _legend(colours: Mapping[str, Colour]) -> list[dict[str, str]]:
    return [{"name": name, "colour": hexadecimal(colour)} for name, colour in colours.items()]


def checked(path: Path, size: tuple[int, int] | None = None) -> Path:
    """Raise MissingData unless a PNG or WebP of (h, w) lies there, no larger than those written here."""
    with _opened(path) as picture:
        drawn = picture.size[::-1]
        if max(drawn) > LARGEST or (size is not None and drawn != size):
            limit = f"{size[0]} x {size[1]}" if size else f"at most {LARGEST}"
            raise MissingData(f"{path} is {drawn[0]} x {drawn[1]} pixels, wanted {limit}; run the suite again")
        picture.verify()
    return path


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        heavy = path.stat().st_size
        if heavy > HEAVIEST:
            raise MissingData(f"{path} has {heavy} bytes, wanted a picture of at most {HEAVIEST}; run the suite again")
        with images.opened(path, ("PNG", "WEBP")) as picture:
            yield picture
    except (OSError, images.Undecodable) as error:
        reason = f"it {error}" if isinstance(error, images.Undecodable) else error.strerror
        raise MissingData(f"{path} is no picture of a gallery: {reason}; delete its folder and run again") from None


def read(path: Path) -> NDArray[np.uint8]:
    """Return a picture of a gallery as uint8 [h, w, 3], RGB. Raises MissingData as ``checked`` does."""
    with _opened(checked(path)) as picture:
        return np.asarray(picture.convert("RGB"))


def packed(path: Path, largest: int, quality: int) -> bytes:
    """Return a picture as WebP in few bytes, for a page: what is indexed keeps its colours, a photograph nearly.

    No side has more than ``largest`` pixels; ``quality`` is that of a photograph, up to 100.
    """
    with _opened(checked(path)) as picture:
        indexed = picture.mode == "P"
        size = size_of(picture.size, largest)
        small = picture if size == picture.size else _shrunk(picture, size)
        effort = {"lossless": True, "quality": 50, "method": 1} if indexed else {"quality": quality}
        held = io.BytesIO()
        small.convert("RGB").save(held, "WEBP", **effort)
    return held.getvalue()


def _shrunk(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return it at (w, h): what is indexed is taken and not mixed, as above."""
    return picture.resize(size, Image.Resampling.NEAREST if picture.mode == "P" else Image.Resampling.LANCZOS)


def thumbnail(path: Path, width: int = 160) -> bytes:
    """A picture made smaller, as WebP; what is indexed is taken and not mixed, as above."""
    with _opened(checked(path)) as picture:
        size = min(width, picture.width), max(1, round(picture.height * min(width, picture.width) / picture.width))
        small = _shrunk(picture, size).convert("RGB")
    held = io.BytesIO()
    small.save(held, "WEBP", quality=80, method=4)
    return held.getvalue()
