"""Figures of papers and leaderboards, each with its source, and which of them belong beside what was measured.

The tables are ``published/*.csv`` beside this file and in ``published/`` under each path in $BENCH_PLUGINS: one figure
per row, all files with the columns of ``COLUMNS``; docs/published.md says what goes into each. They are read as hostile
input: a page may show every cell, a spreadsheet may open the file. A row belongs beside a table of ours if its data
set and its metric do; models and methods are never matched, a name is no proof of being the same thing.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

from bench.core.errors import BadPublished
from bench.suite.wrappers import departures

Known = Literal["yes", "no", "unknown"]
Split = Literal["val", "test"]

LARGEST = 2**23  # bytes of a table
LONGEST = 600  # characters of a cell

# The figures that rows may be about, by protocol of ours; names are theirs in ``Protocol.metrics``.
_PIXELS = ("auroc", "ap", "fpr95")
_SMIYC = (
    *("ap", "fpr95", "siou", "ppv", "mean_f1", "auroc", "best_f1"),
    *(f"{kind}_{at}" for at in (25, 50, 75) for kind in ("f1", "fn", "fp")),
)
METRICS: Mapping[str, tuple[str, ...]] = {
    "anomaly": (*_PIXELS, "best_f1"),
    "fishyscapes": _PIXELS,
    "fed_anomaly": _PIXELS,
    "entropy_max": (*_PIXELS, *(f"{name}_exact" for name in _PIXELS)),
    "streethazards": _PIXELS,
    "smiyc_anomaly": _SMIYC,
    "smiyc_obstacle": _SMIYC,
    "components": ("siou", "ppv", "mean_f1"),
    "misclassification": (*_PIXELS, "aurc", "e_aurc", "augrc"),
    "idm": (*_PIXELS, *(f"{name}_pooled" for name in _PIXELS)),
    "idm_ood_cdd": tuple(f"{kind}_{name}" for name in _PIXELS for kind in ("idm", "ood", "cdd")),
    "miou": ("miou", "pixel_accuracy"),
    "open_miou": ("open_miou", "open_mean_accuracy", "open_pixel_accuracy"),
}
COUNTS = tuple(name for name in _SMIYC if name[:3] in ("fn_", "fp_"))  # the metrics that are no rates
# Protocols that ask the same of a map: figures of one may stand beside those of another, as far as it is said.
_KIN = (
    frozenset({
        "anomaly", "fishyscapes", "fed_anomaly", "entropy_max", "streethazards", "smiyc_anomaly", "smiyc_obstacle",
        "components",
    }),
    frozenset({"misclassification", "idm"}),
)  # fmt: skip
# Figures of several protocols that are one definition.
_SAME: tuple[Mapping[str, str], ...] = (
    {"anomaly": "auroc", "fishyscapes": "auroc", "fed_anomaly": "auroc", "entropy_max": "auroc_exact"},
    {"anomaly": "ap", "fishyscapes": "ap", "entropy_max": "ap_exact"},
    {"anomaly": "fpr95", "fishyscapes": "fpr95", "entropy_max": "fpr95_exact"},
    *({"smiyc_anomaly": name, "smiyc_obstacle": name} for name in (*_PIXELS, "best_f1")),
    *({"misclassification": name, "idm": f"{name}_pooled"} for name in _PIXELS),
)
DEFINITIONS = "definitions"  # the protocol that has a column for every rule and pooling
# Names of ``bench.results.definitions``: how FPR95 and AP are read off a ranking, and of which pixels.
RULES = (
    *("fpr95_first", "fpr95_strict", "fpr95_interpolated", "fpr95_closest", "fpr95_histogram"),
    *("ap_step", "ap_trapezoid", "auroc"),
)
POOLINGS = ("pooled", "no_clean", "scaled", "images")

# The data sets that rows may be about, with the splits that there are.
SPLITS: Mapping[str, tuple[Split, ...]] = {
    "Cityscapes": ("val", "test"),
    "Cityscapes-C": ("val",),
    "Cityscapes-C snow": ("val",),
    "Fishyscapes Lost & Found": ("val", "test"),
    "Fishyscapes Static": ("val", "test"),
    "RoadAnomaly21": ("val", "test"),
    "RoadObstacle21": ("val", "test"),
    "LostAndFound": ("test",),
    "LostAndFound no known": ("test",),
    "RoadAnomaly": ("test",),
    # Sets of a repacked copy as the scripts that come with it take them: masks resized, clean frames dropped.
    **{
        f"Validation_Dataset {name} at 512x1024": ("val",)
        for name in ("RoadAnomaly21", "RoadObsticle21", "FS_LostFound_full", "fs_static", "RoadAnomaly")
    },
}
_CORRUPTED = {"Cityscapes-C": "*", "Cityscapes-C snow": "snow"}
# Ours: name and parameters, as cells spell them. What is not named here was published by nobody.
_OURS: tuple[tuple[str, Mapping[str, Any], str, Split], ...] = (
    ("cityscapes", {"split": "val"}, "Cityscapes", "val"),
    ("fishyscapes", {"set": "lost_and_found"}, "Fishyscapes Lost & Found", "val"),
    ("fishyscapes", {"set": "static", "version": 3}, "Fishyscapes Static", "val"),
    ("smiyc", {"track": "RoadAnomaly21", "split": "validation"}, "RoadAnomaly21", "val"),
    ("smiyc", {"track": "RoadObstacle21", "split": "validation"}, "RoadObstacle21", "val"),
    ("lost_and_found", {"split": "test", "labels": "labelTrainIds"}, "LostAndFound", "test"),
    ("lost_and_found", {"split": "no_known", "labels": "labelIds"}, "LostAndFound no known", "test"),
    ("road_anomaly", {}, "RoadAnomaly", "test"),
    *(
        ("validation_dataset", {"set": name.split()[1], "label_size": [512, 1024], "keep": "with_anomaly"}, name, "val")
        for name in SPLITS
        if name.startswith("Validation_Dataset")
    ),
)


@dataclass(frozen=True, slots=True)
class Published:
    """One figure that somebody has published. Text is empty where it is not known."""

    method: str  # as its authors or the board call it; no name of ours
    variant: str  # what tells several rows of one method apart
    backbone: str
    retraining: Known  # whether the segmentation network was changed for it
    ood_data: Known  # whether it was trained with other data than the network's, such as outliers
    dataset: str  # a key of ``SPLITS``
    split: Split
    protocol: str  # whose definition it is, or the nearest there is; ``same_definition`` says which of the two
    metric: str
    title: str  # what its source calls the figure
    value: float  # as ``bench.api.Value``: rates in [0, 1], counts as they are
    unit: Literal["rate", "number"]  # as ``bench.api.Metric``
    digits: int  # decimals that were published, of percent where it is a rate: show no more
    spread: float | None  # what its source prints behind +-, in the unit of ``value``
    rule: str  # "ap_step pooled": how it was read off, by ``bench.results.definitions``; empty where not known
    definition: str  # the same in words
    same_definition: Known  # whether the figure of ours that it stands beside is defined so; if not, ``note`` says why
    source: str  # paper and table, or board and date
    paper: str  # https address of the method's own paper
    date: str  # YYYY, YYYY-MM or YYYY-MM-DD: of publication, or of retrieval from a board
    repeats: str  # where the row copies a figure that another row has from its origin: that origin
    note: str
    place: str  # file:line that the row stands on

    @property
    def stated(self) -> bool:
        """Whether its source says how the figure is defined."""
        return not self.definition.startswith("not stated")

    @property
    def corruption(self) -> str:
        """Empty for clean images; "*" for the mean over all types and severities, else over those of one type."""
        return _CORRUPTED.get(self.dataset, "")


NUMBERS = ("value", "unit", "spread")
ENUMS: Mapping[str, tuple[str, ...]] = {
    "retraining": ("yes", "no", "unknown"),
    "ood_data": ("yes", "no", "unknown"),
    "same_definition": ("yes", "no", "unknown"),
    "unit": ("percent", "rate", "count"),
}
COLUMNS = tuple(field.name for field in fields(Published) if field.name not in ("digits", "place"))
FILLED = ("method", "dataset", "split", "protocol", "metric", "title", "value", "unit", "definition", "source")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a data set of ours stands among the published ones."""

    dataset: str  # a key of ``SPLITS``
    split: Split
    corruption: str = ""  # the type


def load() -> tuple[Published, ...]:
    """Every row there is, file by file; BadPublished for the first that is not as ``COLUMNS`` wants it."""
    paths = [Path(str(resources.files("bench.reports")))]
    paths += [Path(folder) for folder in filter(None, os.environ.get("BENCH_PLUGINS", "").split(os.pathsep))]
    return _load(tuple(path / "published" for path in paths))


@cache
def _load(folders: tuple[Path, ...]) -> tuple[Published, ...]:
    rows = [row for folder in folders for path in sorted(folder.glob("*.csv")) for row in read(path)]
    seen: dict[tuple[Any, ...], str] = {}
    for row in rows:
        same = (row.method, row.variant, row.backbone, row.dataset, row.split, row.protocol, row.metric, row.source)
        if same in seen:
            raise BadPublished(f"{row.place}: the same figure of the same source stands in {seen[same]}; keep one")
        seen[same] = row.place
    return tuple(rows)


def read(path: Path) -> list[Published]:
    """The rows of one table."""
    size = path.stat().st_size
    if size > LARGEST:
        raise BadPublished(f"{path} has {size} bytes, wanted at most {LARGEST}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadPublished(
            f"{path} is not UTF-8: {error.reason} at byte {error.start}; save it again as UTF-8"
        ) from None
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = tuple(next(lines, ()))
        if header != COLUMNS:
            raise BadPublished(f"{path}: the first line is not the columns {','.join(COLUMNS)}{_odd(header)}")
        return [read_row(cells, f"{path.name}:{lines.line_num}") for cells in lines]
    except csv.Error as error:
        raise BadPublished(f"{path.name}:{lines.line_num}: no CSV: {error}") from None


def _odd(header: Sequence[str]) -> str:
    odd = [f"unknown: {name[:40]!r}" for name in header if name not in COLUMNS][:1]
    odd += [f"missing: {name!r}" for name in COLUMNS if name not in header][:1]
    return f"; {', '.join(odd)}" if odd else "; their order is another, or one stands there twice"


def read_row(cells: Sequence[str], where: str) -> Published:
    """Return the figure in a row of ``COLUMNS``; BadPublished, with ``where``, for one that is not as wanted."""
    if len(cells) != len(COLUMNS):
        raise BadPublished(f"{where}: {len(cells)} cells, wanted {len(COLUMNS)}; quote a cell that holds a comma")
    text = dict(zip(COLUMNS, cells, strict=True))
    for name, cell in text.items():
        if not cell.isprintable() or cell != cell.strip() or len(cell) > LONGEST:
            raise BadPublished(
                f"{where}: {name} is {cell[:40]!r}, wanted at most {LONGEST} printable characters on one line, without"
                f" spaces around them"
            )
        if cell[:1] in tuple("=+-@"):
            raise BadPublished(f"{where}: {name} is {cell[:40]!r}, which a spreadsheet takes for a formula; reword it")
        if name in FILLED and not cell:
            raise BadPublished(f"{where}: {name} is empty; a figure without it says nothing")
        if name in ENUMS and cell not in ENUMS[name]:
            raise BadPublished(f"{where}: {name} is {cell[:40]!r}, wanted {' or '.join(ENUMS[name])}")
    _check_names(text, where)
    value, digits = _number(text["value"], text["unit"], "value", where)
    rest = {name: cast(Any, text[name]) for name in COLUMNS if name not in NUMBERS}
    return Published(
        **rest,
        value=value,
        unit="number" if text["unit"] == "count" else "rate",
        digits=digits,
        spread=_number(text["spread"], text["unit"], "spread", where)[0] if text["spread"] else None,
        place=where,
    )


def _check_names(text: Mapping[str, str], where: str) -> None:
    known: tuple[tuple[str, Sequence[str]], ...] = (
        ("dataset", tuple(SPLITS)),
        ("split", SPLITS.get(text["dataset"], ())),
        ("protocol", tuple(METRICS)),
        ("metric", METRICS.get(text["protocol"], ())),
    )
    for name, those in known:
        if text[name] not in those:
            raise BadPublished(f"{where}: {name} is {text[name][:40]!r}, wanted {' or '.join(those)}")
    if (text["metric"] in COUNTS) != (text["unit"] == "count"):
        raise BadPublished(f"{where}: {text['metric']} is {'a count' if text['metric'] in COUNTS else 'no count'}")
    rule, _, pooling = text["rule"].partition(" ")
    if text["rule"] and (rule not in RULES or pooling not in POOLINGS):
        raise BadPublished(f"{where}: rule is {text['rule'][:40]!r}, wanted nothing or such as 'ap_step pooled'")
    if not re.fullmatch(r"""(https://[^\s"'<>\\]+)?""", text["paper"], re.ASCII):
        raise BadPublished(f"{where}: paper is {text['paper'][:40]!r}, wanted an address that begins with https://")
    if not _is_date(text["date"]):
        raise BadPublished(f"{where}: date is {text['date'][:40]!r}, wanted 2021, 2021-10 or 2021-10-31, or nothing")
    if text["same_definition"] != "yes" and not text["note"]:
        raise BadPublished(f"{where}: same_definition is {text['same_definition']}, but note does not say why")


def _is_date(text: str) -> bool:
    if not text:
        return True
    if not re.fullmatch(r"[12][0-9]{3}(-[0-9]{2}){0,2}", text, re.ASCII):
        return False
    try:
        date.fromisoformat(text + "-01-01"[len(text) - 4 :])
    except ValueError:
        return False
    return True


def _number(text: str, unit: str, name: str, where: str) -> tuple[float, int]:
    """The figure as ``Value`` has it, and how many decimals it has on a page."""
    whole = unit == "count"
    if not re.fullmatch(r"[0-9]{1,9}" if whole else r"[0-9]{1,3}(\.[0-9]{1,17})?", text, re.ASCII):
        form = "a whole number" if whole else "plain digits such as 27.97"
        raise BadPublished(f"{where}: {name} is {text[:40]!r}, wanted {form}; what is missing has no row")
    number = Decimal(text) / (100 if unit == "percent" else 1)
    if not whole and number > 1:
        raise BadPublished(f"{where}: {name} is {text}, wanted at most {100 if unit == 'percent' else 1} as {unit}")
    decimals = len(text.partition(".")[2])
    return float(number), max(decimals - 2, 0) if unit == "rate" else decimals


def place_of(dataset: Mapping[str, Any]) -> Place | None:
    """Where the data set of a cell stands, spelled as in its JSON; None for all that nobody has published.

    That is everything synthetic or one's own, a subset of the frames, a repacked copy, classes that were renamed,
    labels that were resized and frames that were left out, unless just that was published.
    """
    params = dataset["params"]
    if params.get("frames") is not None or params.get("layout", "official") not in ("official", "renamed"):
        return None
    if "class_map" in params:
        return None
    damage = params.get("corruption")
    corruption = str(damage.get("name", "")) if isinstance(damage, dict) else ""
    for name, wanted, called, split in _OURS:
        asked: dict[str, Any] = {**dict.fromkeys(departures.NAMES), **wanted}
        if dataset["name"] == name and all(params.get(key) == value for key, value in asked.items()):
            if not corruption:
                return Place(called, split)
            return Place(f"{called}-C", split, corruption) if f"{called}-C" in SPLITS else None
    return None


def beside(protocol: str, dataset: Mapping[str, Any], among: Iterable[Published] | None = None) -> list[Published]:
    """The rows that belong beside a measured table of that protocol and data set, those of the same split first.

    ``protocol`` is the name of the plug-in, ``dataset`` a cell's, spelled as in its JSON; the rows are those ``among``
    others, or of all that there are. Rows of another split are there too: ``place_of(dataset).split`` tells them apart,
    and they must never be ranked together. ``metric`` is a column of the table that was asked for, and
    ``same_definition`` holds for that column: where a row was made by another protocol's definition it is "no", and
    ``note`` says whose.
    Beside a corrupted data set stand the published means over types and severities, see ``Published.corruption``.
    Rows that only repeat others are left out.
    """
    here = place_of(dataset)
    if here is None:
        return []
    names = {here.dataset, f"{here.dataset} {here.corruption}"} if here.corruption else {here.dataset}
    rows = (
        _as(row, protocol) for row in (load() if among is None else among) if row.dataset in names and not row.repeats
    )
    return sorted((row for row in rows if row is not None), key=lambda row: row.split != here.split)


def _as(row: Published, protocol: str) -> Published | None:
    """The row in the columns of that protocol; None if it has none for it."""
    if row.protocol == protocol:
        return row
    if protocol == DEFINITIONS:
        return _by_rule(row)
    for same in _SAME:
        if same.get(row.protocol) == row.metric and protocol in same:
            return replace(row, metric=same[protocol])
    akin = any({row.protocol, protocol} <= kin for kin in _KIN)
    if not akin or row.metric not in METRICS[protocol]:
        return None
    if not row.stated:  # it may be this one as well
        return row
    why = f"made by the definition of {row.protocol}: {row.definition}"
    return replace(row, same_definition="no", note=f"{why}; {row.note}" if row.note else why)


def _by_rule(row: Published) -> Published | None:
    """The row in the column of its own definition, where that is known."""
    if not row.rule or row.rule.endswith(" scaled") or row.protocol not in _KIN[0]:
        return None
    # What was said to be another definition than that of a protocol has its own column here.
    return replace(row, metric=row.rule, same_definition="unknown" if row.same_definition == "unknown" else "yes")


def entries(rows: Sequence[Published]) -> list[list[Published]]:
    """The rows of one line of a table together: a method of one source on one network and split, metric by metric."""
    by_line: dict[tuple[str, ...], list[Published]] = {}
    for row in rows:
        line = (row.dataset, row.split, row.source, row.date, row.method, row.variant, row.backbone)
        by_line.setdefault(line, []).append(row)
    return list(by_line.values())
