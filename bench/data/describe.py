"""Descriptions of data sets: is it there, is it whole, which values mean what, and how to get what is missing."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import commonpath
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.api import IGNORE, Dataset, Sample
from bench.core.errors import MissingData, UsageError, UserError
from bench.core.images import read_header, read_orientation
from bench.datasets import frames
from bench.datasets.frames import Frame, OnDisk
from bench.suite import arguments, parameters, registry
from bench.suite import expansion as suites
from bench.suite.wrappers import departures
from bench.suite.wrappers.class_map import Renamed

SHOWN = 8  # of sizes, values of a tag and problems, before the rest is counted
WIDEST = 100
SUITES_OWN = (  # words of an entry, not of its files
    *("label", "protocols", "models", "methods", "class_map", "corruption", "corruptions", "optional"),
    *departures.NAMES,
)

ENDINGS = {"JPEG": (".jpg", ".jpeg"), "TIFF": (".tif", ".tiff"), "PPM": (".ppm", ".pgm", ".pbm", ".pnm")}

Advance = Callable[[int], None]
Kind = Literal["labels", "anomaly"]

_MEANINGS: Mapping[int, str] = {0: "normal", 1: "anomaly", IGNORE: "ignored"}


@dataclass
class Value:
    """One value of a mask as it is stored, or of the truth where no mask is stored."""

    value: int
    meaning: dict[str, str] = field(default_factory=dict)  # kind of truth: what it counts as
    pixels: int = 0


@dataclass
class Truth:
    """The truth of one kind in numbers, over all frames that could be read."""

    pixels: Counter[str] = field(default_factory=Counter)  # by meaning
    frames: int = 0  # with at least one anomaly, or one labelled pixel
    components: int = 0  # of anomalies, 8-connected


@dataclass
class Card:
    """The description of one data set. Pixels are those of the masks."""

    label: str
    about: str
    source: str
    expected: int | None = None  # frames; None where the files that say so are absent
    frames: int = 0
    folder: str = ""
    layout: str = ""
    masks: str = ""  # how they are encoded
    hidden: str = ""
    obtain: str = ""
    classes: str = ""  # what a class_map makes of the classes
    problems: list[str] = field(default_factory=list)
    sizes: Counter[str] = field(default_factory=Counter)  # "HxW"
    rotated: int = 0  # images that EXIF asks viewers to turn
    formats: Counter[str] = field(default_factory=Counter)  # "JPEG in .png": what image files hold, and their ending
    pixels: int = 0
    stored: dict[int, Value] = field(default_factory=dict)
    truths: dict[str, Truth] = field(default_factory=dict)
    groups: Counter[str] = field(default_factory=Counter)
    tags: dict[str, Counter[str]] = field(default_factory=dict)
    digest: str = ""

    @property
    def complete(self) -> bool:
        return not self.problems


def asked(text: str, name: str, params: Mapping[str, Any]) -> list[Dataset]:
    """Return the data sets that a text means: a suite file, an entry in YAML, or else the name with its parameters.

    Data sets of a suite that read the same files come once.
    """
    if arguments.is_entry(text):
        return [_of_entry(text, params)]
    if Path(text).is_file() or (Path(text).suffix in (".yaml", ".yml") and name not in registry.available("dataset")):
        if params:
            raise UsageError(f"{text}: --set changes one data set; a suite says itself what its parameters are")
        cells = suites.load(suites.locate(text)).cells
        refs = [ref for cell in cells for ref in (cell.dataset, cell.method and cell.method.fit) if ref]
        built = {json.dumps(_identity(plain(data := ref.build())), sort_keys=True): data for ref in refs}
        return list(built.values())
    return [registry.build("dataset", name, params, where="describe")]


def _of_entry(text: str, params: Mapping[str, Any]) -> Dataset:
    name, spelled = arguments.entry(text, "describe")
    kept = {key: value for key, value in spelled.items() if key not in SUITES_OWN}
    data: Dataset = registry.build("dataset", name, {**kept, **params}, where="describe")
    return data


def _identity(dataset: Dataset) -> tuple[str, dict[str, Any]]:
    return dataset.name, parameters.values(dataset)


def plain(dataset: Dataset) -> Dataset:
    """Return the data set whose files are read, without what a suite makes of its classes and images."""
    while isinstance(inner := getattr(dataset, "inner", None), Dataset):
        dataset = inner
    return dataset


def label_of(dataset: Dataset) -> str:
    """The name, and the parameters that are not the default."""
    defaults = parameters.defaults(type(dataset))
    changed = [f"{key}={value}" for key, value in parameters.values(dataset).items() if defaults.get(key) != value]
    return f"{dataset.name}[{', '.join(changed)}]" if changed else dataset.name


def describe(dataset: Dataset, begin: Advance, advance: Advance) -> Card:
    """Return the card after reading every mask, and header and end of every image; ``begin`` hears their number.

    Nothing that is wrong with the data is raised: it stands among the problems of the card.
    """
    data = plain(dataset)
    card = Card(label_of(data), _first_sentence(data), data.source)
    if isinstance(dataset, Renamed):
        card.classes = ", ".join(f"{name} as {target}" for name, target in dataset.classes.items())
    card.truths = {kind: Truth() for kind in sorted(data.annotations)}
    if isinstance(data, OnDisk):
        _on_disk(card, data, begin, advance)
    else:
        _other(card, data, begin, advance)
    if card.complete:
        card.digest = data.digest()
    return card


def _other(card: Card, data: Dataset, begin: Advance, advance: Advance) -> None:
    """A data set that is drawn, or read by a plug-in of which no more is known than the contract."""
    try:
        data.check()
        card.expected, card.frames = data.count, len(data.ids())
        begin(card.frames)
        for index in range(card.frames):
            _add(card, data.load(index), data.class_names)
            advance(1)
    except MissingData as error:
        card.problems.append(str(error))
    if card.complete and card.frames != card.expected:
        card.problems.append(f"{card.frames} frames were found, wanted {card.expected}")


def _on_disk(card: Card, data: OnDisk, begin: Advance, advance: Advance) -> None:
    card.hidden, card.obtain = data.hidden, data.obtain
    card.layout = str(getattr(data, "layout", "official")) if data.name != "folder" else "as the globs say"
    try:
        scanned = data.scan()
        card.expected = data.count
        if len(scanned) != card.expected:
            card.problems.append(f"{len(scanned)} frames were found, wanted {card.expected}")
    except UserError as error:
        card.problems.append(str(error).removesuffix(f"; {card.obtain}"))
        card.expected = _count(data)
        return
    card.folder = _folder([frame.image for frame in scanned])
    card.masks = " and ".join(sorted({frame.encoding.name for frame in scanned if frame.mask}))
    card.frames = len(scanned)
    begin(len(scanned))
    own_check = type(data).check_frame is not OnDisk.check_frame
    with frames.counted_values() as masks:
        for index, frame in enumerate(scanned):
            try:
                sample = data.load(index)
                if own_check:
                    data.check_frame(frame)
                else:
                    frames.check_whole(frame.image)
            except MissingData as error:
                card.problems.append(str(error))
            else:
                _add(card, sample, data.class_names, frame)
                card.rotated += read_orientation(frame.image) != 1
                card.formats[f"{read_header(frame.image).format} in {frame.image.suffix.lower()}"] += 1
            advance(1)
    if doubt := data.doubt(scanned, masks):
        card.problems.insert(0, doubt)
    try:
        data.check_set(scanned)
        if card.complete:
            data.check_storage(scanned)
        if type(data).check is not OnDisk.check and card.complete:
            data.check()
    except MissingData as error:
        card.problems.append(str(error))


def _count(data: OnDisk) -> int | None:
    """Return the number of frames that there must be, unless that is written in a file that cannot be read."""
    try:
        return data.count
    except UserError:
        return None


def _add(card: Card, sample: Sample, class_names: Sequence[str], frame: Frame | None = None) -> None:
    """Take in one frame."""
    card.sizes[f"{sample.size[0]}x{sample.size[1]}"] += 1
    if sample.group:
        card.groups[sample.group] += 1
    for axis, tag in sample.tags.items():
        card.tags.setdefault(axis, Counter())[tag] += 1
    truths: dict[str, NDArray[np.uint8]] = {
        kind: truth for kind, truth in (("labels", sample.labels), ("anomaly", sample.anomaly)) if truth is not None
    }
    if sample.instances is not None:
        numbers = np.unique(sample.instances)
        card.truths["instances"].components += int((numbers > 0).sum())
        card.truths["instances"].frames += int((numbers > 0).any())
    if truths:
        card.pixels += sample.size[0] * sample.size[1]
    for kind, truth in truths.items():
        total = card.truths[kind]
        counts = np.bincount(truth.ravel(), minlength=256)
        for value in np.flatnonzero(counts).tolist():
            total.pixels[_meaning(kind, value, class_names)] += int(counts[value])
        total.frames += int(counts[1] > 0 if kind == "anomaly" else counts[:IGNORE].any())
        if kind == "anomaly" and counts[1]:
            total.components += _components(truth)
    if frame is not None and frame.mask is not None and truths:
        stored = frame.encoding.stored(frame.mask)
        counts = np.bincount(stored.ravel(), minlength=256)
        for value in np.flatnonzero(counts).tolist():
            if value not in card.stored:
                position = np.unravel_index(int(np.argmax(stored == value)), stored.shape)
                means = {kind: _meaning(kind, int(truth[position]), class_names) for kind, truth in truths.items()}
                card.stored[value] = Value(value, means)
            card.stored[value].pixels += int(counts[value])


def _components(anomaly: NDArray[np.uint8]) -> int:
    from scipy import ndimage

    return int(ndimage.label(anomaly == 1, np.ones((3, 3), int))[1])


def _meaning(kind: str, value: int, class_names: Sequence[str]) -> str:
    if kind == "anomaly":
        return _MEANINGS[value]
    return "ignored" if value == IGNORE else class_names[value]


def _folder(paths: Sequence[Path]) -> str:
    """The folder that holds all images, in words."""
    return commonpath([path.absolute().parent for path in paths]) if paths else ""


def _first_sentence(data: Dataset) -> str:
    return next(iter((type(data).__doc__ or "").strip().splitlines()), "").replace("``", "")


def lines(card: Card, width: int) -> Iterator[str]:
    """Yield the card's lines for a terminal of that many columns."""
    width = min(width, WIDEST)
    yield from textwrap.wrap(card.label, width, subsequent_indent="  ", break_on_hyphens=False)
    if card.about:
        yield from textwrap.wrap(card.about, width, initial_indent="  ", subsequent_indent="  ")
    yield ""
    for key, text in _entries(card):
        yield from textwrap.wrap(
            text,
            width,
            initial_indent=f"{key:<11}",
            subsequent_indent=" " * 11,
            break_on_hyphens=False,
            break_long_words=False,
        )
    if card.stored:
        yield from ("", *_stored(card, width))
    for kind, truth in card.truths.items():
        if truth.pixels and not (card.stored and len(card.truths) == 1):
            yield from ("", *_shares(kind, truth, card.pixels))
    if card.problems:
        yield ""
        shown = card.problems[:SHOWN]
        for problem in shown:
            yield from textwrap.wrap(
                problem, width, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False,
                break_long_words=False,
            )  # fmt: skip
        if len(card.problems) > len(shown):
            yield f"- and {len(card.problems) - len(shown)} more"


def _entries(card: Card) -> Iterator[tuple[str, str]]:
    """Yield name and text of each line."""
    yield "source", card.source
    if card.folder:
        yield "place", card.folder
    if card.layout:
        yield "layout", card.layout + (f"; masks: {card.masks}" if card.masks else "")
    yield "frames", f"{card.frames}" + ("" if card.expected in (None, card.frames) else f" of {card.expected}")
    yield "complete", "yes" if card.complete else f"no: {_number(len(card.problems), 'problem')}, below"
    if card.hidden:
        yield "truth", f"hidden: {card.hidden}"
    elif card.truths:
        yield "truth", " and ".join(card.truths)
    if card.classes:
        yield "class map", card.classes
    if card.sizes:
        yield "sizes", _most(card.sizes) if len(card.sizes) > 1 else next(iter(card.sizes))
    if card.rotated:
        yield (
            "rotated",
            f"{_number(card.rotated, 'image')} by EXIF, which is not applied: masks are those of stored pixels",
        )
    if disguised := [(name, count) for name, count in sorted(card.formats.items()) if not _is_named_so(name)]:
        kinds = [f"{count} are {name.replace(' in ', ' data in ')} files" for name, count in disguised]
        yield "images", f"{', '.join(kinds)}, and are read as what they hold"
    for kind, truth in card.truths.items():
        if kind == "instances":
            if card.sizes:
                yield (
                    "instances",
                    f"{truth.components} in {_number(truth.frames, 'frame')} of {sum(card.sizes.values())}",
                )
        elif card.pixels:
            ignored = _percent(truth.pixels["ignored"], card.pixels)
            if kind == "anomaly":
                valid = card.pixels - truth.pixels["ignored"]
                share = _percent(truth.pixels["anomaly"], valid) if valid else "none"
                yield "ignored", f"{ignored} of all pixels" + (" (anomaly)" if len(card.truths) > 1 else "")
                yield (
                    "anomalous",
                    (
                        f"{share} of the other pixels, {_number(truth.components, 'object')} in"
                        f" {_number(truth.frames, 'frame')} of {sum(card.sizes.values())}"
                    ),
                )
            else:
                yield "ignored", f"{ignored} of all pixels" + (" (labels)" if len(card.truths) > 1 else "")
    if card.groups:
        few, many = min(card.groups.values()), max(card.groups.values())
        each = f"{few}" if few == many else f"{few} to {many}"
        yield "groups", f"{len(card.groups)}, of {each} {'frame' if many == 1 else 'frames'} each"
    for axis, tags in sorted(card.tags.items()):
        yield "tag", f"{axis}: {_most(tags)}"
    if card.digest:
        yield "digest", card.digest
    if card.obtain and not card.complete:
        yield "obtain", card.obtain


def _is_named_so(name: str) -> bool:
    """Return True for a format in a file of its own ending, as ``Card.formats`` names both."""
    held, _, ending = name.partition(" in ")
    return ending in ENDINGS.get(held, (f".{held.lower()}",))


def _stored(card: Card, width: int) -> Iterator[str]:
    """Yield the lines of a table of the values in the masks."""
    rows = [
        (str(stored.value), " / ".join(dict.fromkeys(stored.meaning.values())), _percent(stored.pixels, card.pixels))
        for stored in sorted(card.stored.values(), key=lambda stored: stored.value)
    ]
    yield f"{'value':>7}  {'share':>8}  counts as"
    for value, meaning, share in rows:
        yield textwrap.shorten(f"{value:>7}  {share:>8}  {meaning}".replace(" ", "\0"), width).replace("\0", " ")


def _shares(kind: str, truth: Truth, pixels: int) -> Iterator[str]:
    yield f"{'share':>17}  {kind}"
    for meaning, count in sorted(truth.pixels.items(), key=lambda item: (item[0] == "ignored", -item[1], item[0])):
        yield f"{_percent(count, pixels):>17}  {meaning}"


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return f"{share:.2f} %" if share == 0 or share >= 0.01 else "<0.01 %"


def _most(counts: Counter[str]) -> str:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{name} ({count})" for name, count in ranked[:SHOWN])
    return shown + (f" and {len(ranked) - SHOWN} more" if len(ranked) > SHOWN else "")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def record(card: Card) -> dict[str, Any]:
    """Return the card as JSON has it."""
    return {
        "label": card.label,
        "source": card.source,
        "complete": card.complete,
        "problems": card.problems,
        "frames": {"found": card.frames, "wanted": card.expected},
        "place": card.folder,
        "layout": card.layout,
        "masks": card.masks,
        "hidden": card.hidden,
        "obtain": card.obtain,
        "sizes": dict(card.sizes),
        "rotated_by_exif": card.rotated,
        "formats": dict(card.formats),
        "pixels": card.pixels,
        "values": [
            {"value": value.value, "counts_as": value.meaning, "pixels": value.pixels}
            for value in sorted(card.stored.values(), key=lambda value: value.value)
        ],
        "truth": {
            kind: {"pixels": dict(truth.pixels), "frames": truth.frames}
            | ({"components": truth.components} if kind == "anomaly" else {})
            for kind, truth in card.truths.items()
        },
        "groups": dict(card.groups),
        "tags": {axis: dict(tags) for axis, tags in card.tags.items()},
        "digest": card.digest,
    }
