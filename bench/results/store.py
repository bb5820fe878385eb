"""A run directory: what was asked, one result and one file of counts per cell, shards of what is under way.

    RUN/suite.yaml            a suite file that reproduces the run alone
    RUN/run.json              title, the keys of all cells in order, summaries asked for
    RUN/cells/KEY.json        a Result: figures and the means to doubt them
    RUN/cells/KEY.npz         the leading 24 bits of the counts, the bootstrap's replicates
    RUN/summaries.json        figures over several cells
    RUN/failures.json         why cells have no figures, where some failed: key, labels, message and trace of each
    RUN/segments/KEY.parquet  what a refinement found, one line per segment; see bench.run.refinement
    RUN/gallery/...           pictures of a few images; see bench.results.gallery
    RUN/spool/...             score maps, while a second phase needs them or with --keep-maps
    RUN/work/KEY/             shards of unfinished cells

Everything is written whole, by rename. A result once published stays readable: ``tests/frozen`` holds a file of each
schema.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import shutil
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.api import Metric, Row, Undefined, Value
from bench.core import files, npz
from bench.core.errors import MissingData, RunInUse
from bench.core.file_names import file_name
from bench.suite.cells import Cell as Cell
from bench.suite.cells import CellLabels as CellLabels
from bench.suite.cells import Ref as Ref
from bench.suite.cells import uncorrupted as uncorrupted

SCHEMA = 1  # of a result; raised with every change of shape
REPLICATES = "replicates."  # how the names of those arrays begin

Arrays = Mapping[str, NDArray[Any]]
T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """The figures of one cell and all that is needed to doubt them."""

    key: str
    cell: Cell
    metrics: Mapping[str, Value | Undefined]
    definitions: Mapping[str, Metric]
    about: Mapping[str, Mapping[str, Any]]  # by axis: source, and what a table must say of it
    images: int
    partial: bool  # True if --limit cut the data; never ranked beside a full result
    not_applicable: str = ""  # why the pair cannot be evaluated; then every metric is undefined
    refusal: str = ""  # the same as a code, which tells reasons apart; no result of before version 0.2 has it
    pixels: Mapping[str, int] = field(default_factory=dict)  # by category
    depends: Mapping[str, str] = field(default_factory=dict)  # what decides whether the result is fresh
    provenance: Mapping[str, Any] = field(default_factory=dict)  # versions, commit, device, time, command
    seconds: Mapping[str, float] = field(default_factory=dict)  # CPU seconds per stage
    memory_mb: float = 0.0  # peak resident memory of the process that computed it
    fitted: Mapping[str, Any] | None = None  # key, data and scalars of what was fitted
    slices: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)  # axis, value: images, metrics
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by sample id

    @property
    def labels(self) -> CellLabels:
        """The coordinates for people."""
        return self.cell.labels

    def refused_as(self, other: Result) -> bool:
        """Return True if both are not applicable for the same reason, or neither is; by words where one has no code."""
        if self.refusal and other.refusal:
            return self.refusal == other.refusal
        return self.not_applicable == other.not_applicable

    @property
    def ranked(self) -> bool:
        """True where its figures are columns of a table; those of the ``definitions`` are a panel."""
        return bool(self.about.get("protocol", {}).get("ranked", True))


@dataclass(frozen=True)
class Plan:
    """The cells and figures that a run was asked for."""

    name: str
    title: str
    note: str
    keys: tuple[str, ...]
    summaries: tuple[Mapping[str, Any], ...] = ()
    cells: tuple[CellLabels, ...] = ()  # in the same order; empty in plans of before they were kept
    operating_points: tuple[Mapping[str, str], ...] = ()


class Memo:
    """Values that were computed of a run once: a page asks for most several times. Copies of a run share them."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what ``make`` gave for an equal key before, or gives now."""
        if key not in self._values:
            self._values[key] = make()
        value: T = self._values[key]
        return value


@dataclass(frozen=True)
class Run:
    """A run directory as it stands."""

    path: Path
    plan: Plan
    results: tuple[Result, ...]  # in the order of the plan; those that are there
    memo: Memo = field(default_factory=Memo, repr=False, compare=False)
    aside: tuple[Result, ...] = field(default=(), repr=False)  # not to be shown; what they say of networks holds

    @property
    def missing(self) -> int:
        """The number of cells that have no result yet."""
        return len(self.plan.keys) - len(self.results)

    def home(self, result: Result) -> Path:
        """The file of a result; those of a merged run lie in several folders."""
        return result_path(self.path, result.key)

    def sample_ids(self, result: Result) -> list[str]:
        """The ids of the images that the figures stand on, sorted."""
        return [str(sample) for sample in self.arrays(result, "ids").get("ids", [])]

    def replicates(self, result: Result) -> dict[str, NDArray[np.float64]]:
        """The bootstrap's values by metric; read once, and without the counts beside them."""
        key = ("replicates", result.key)
        return self.memo.once(key, lambda: _replicates(self.home(result).with_suffix(".npz")))

    def arrays(self, result: Result, *prefixes: str) -> dict[str, NDArray[Any]]:
        """Everything in the counts file of a cell, or only what begins with one of ``prefixes``."""
        with load_arrays(self.home(result).with_suffix(".npz")) as arrays:
            return {name: arrays[name] for name in arrays.files if not prefixes or name.startswith(prefixes)}


def _replicates(path: Path) -> dict[str, NDArray[np.float64]]:
    try:
        replicates = npz.leading(path, REPLICATES)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if replicates is not None:
        return replicates
    with load_arrays(path) as arrays:  # of before they stood at the beginning, or of another program
        names = [name for name in arrays.files if name.startswith(REPLICATES)]
        return {name.removeprefix(REPLICATES): arrays[name] for name in names}


def result_path(run: Path, key: str) -> Path:
    return run / "cells" / f"{key}.json"


def counts_path(run: Path, key: str) -> Path:
    return run / "cells" / f"{key}.npz"


def write_result(run: Path, result: Result, arrays: Arrays | None = None) -> None:
    """Counts first: a cell is finished when its JSON is there. Without ``arrays`` they are on disk already."""
    if arrays is not None:
        write_counts(run, result.key, arrays)
    content = {entry.name: getattr(result, entry.name) for entry in fields(result)}
    content["cell"] = result.cell.spelled()
    if not result.refusal:
        del content["refusal"]
    places = {"key": result.key, "cell": content["cell"], "labels": result.labels.by_axis}
    write_json(result_path(run, result.key), {"schema": SCHEMA} | places | content)


def write_counts(run: Path, key: str, arrays: Arrays) -> None:
    """Write the arrays that the figures of a cell were read off."""
    with files.writing(counts_path(run, key)) as file:
        npz.write(file, arrays, REPLICATES)


def read_result(path: Path, known: dict[tuple[str, str], Ref] | None = None) -> Result:
    """Return a result of any schema ever published; ``known`` holds the coordinates of those that were read before."""
    raw = read_json(path)
    schema = raw.pop("schema", None) if isinstance(raw, dict) else None
    if schema != SCHEMA:
        raise MissingData(f"{path} has schema {schema!r}, this version reads up to {SCHEMA}; update ood-seg-bench")
    try:
        raw["metrics"] = {name: _figure(value) for name, value in raw["metrics"].items()}
        raw["definitions"] = {name: Metric(**entry) for name, entry in raw["definitions"].items()}
        for values in raw.get("slices", {}).values():
            for part in values.values():
                part["metrics"] = {name: _figure(value) for name, value in part["metrics"].items()}
        raw["cell"] = Cell.read(raw["cell"], CellLabels(**raw.pop("labels")), {} if known is None else known)
        result = Result(**raw)
        if result.key != path.stem:  # the key leads to further files: it must not lead out of the run
            raise ValueError(f"it has the key {result.key!r}")
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise MissingData(f"{path} is not a result of this program: {error}") from None
    return result


def _figure(raw: Mapping[str, Any]) -> Value | Undefined:
    if "reason" in raw:
        return Undefined(str(raw["reason"]))
    numbers = {name: None if number is None else float(number) for name, number in raw.items()}
    if numbers["value"] is None or numbers["err"] is None:
        raise ValueError("a figure without a value gives no reason")
    return Value(numbers["value"], numbers["err"], numbers["lo"], numbers["hi"])


def write_plan(run: Path, plan: Plan, suite_text: str) -> None:
    with files.writing(run / "suite.yaml", "w") as file:
        file.write(suite_text)
    write_json(run / "run.json", {"schema": SCHEMA} | asdict(plan) | {"cells": [cell.by_axis for cell in plan.cells]})


def read_run(path: Path) -> Run:
    """The plan and every finished result. Nothing found in the directory is executed."""
    if not (path / "run.json").is_file():
        raise MissingData(f"{path} is not a run directory: it has no run.json; wanted what 'bench run' wrote")
    raw = read_json(path / "run.json")
    try:
        plan = Plan(
            raw["name"],
            raw["title"],
            raw["note"],
            tuple(raw["keys"]),
            tuple(raw["summaries"]),
            tuple(CellLabels(**labels) for labels in raw["cells"]),
            tuple(raw.get("operating_points", ())),
        )
    except (KeyError, TypeError) as error:
        raise MissingData(f"{path / 'run.json'} is not a plan of this program: {error}") from None
    paths = [result_path(path, key) for key in plan.keys if _is_key(key)]
    known: dict[tuple[str, str], Ref] = {}
    with uncollected():
        return Run(path, plan, tuple(read_result(file, known) for file in paths if file.is_file()))


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Do not look for cycles meanwhile: the many small objects of results form none, and looking costs a quarter."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _is_key(key: str) -> bool:
    return len(key) == 16 and set(key) <= set("0123456789abcdef")


def write_json(path: Path, content: Any) -> None:
    with files.writing(path, "w") as file:
        json.dump(content, file, indent=1, allow_nan=False, default=asdict)
        file.write("\n")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> MissingData:
    return MissingData(f"{path} cannot be read: {error}; delete it and run the suite again")


def write_arrays(path: Path, arrays: Arrays) -> None:
    with files.writing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_arrays(path: Path) -> Any:
    """An open .npz; arrays of objects are refused."""
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def pack_rows(rows: Mapping[str, Row]) -> dict[str, NDArray[Any]]:
    """Rows as few arrays: a field of every image one after the other, and where each begins."""
    packed: dict[str, NDArray[Any]] = {}
    names = next(iter(rows.values())).keys() if rows else ()
    for name in names:
        parts = [np.asarray(row[name]) for row in rows.values()]
        scalar = parts[0].ndim == 0
        parts = [part.reshape(1) for part in parts] if scalar else parts
        ends = np.cumsum([len(part) for part in parts])
        packed |= {
            f"row.{name}": np.concatenate(parts),
            f"row.{name}.ends": ends,
            f"row.{name}.scalar": np.array(scalar),
        }
    return packed


def unpack_rows(ids: Sequence[str], packed: Mapping[str, NDArray[Any]]) -> dict[str, Row]:
    rows: dict[str, dict[str, NDArray[Any]]] = {sample: {} for sample in ids}
    for name in [name for name in packed if f"{name}.ends" in packed]:
        parts = np.split(packed[name], packed[f"{name}.ends"][:-1])
        for sample, part in zip(ids, parts, strict=True):
            rows[sample][name.removeprefix("row.")] = part.reshape(()) if packed[f"{name}.scalar"] else part
    return dict(rows)


def write_map(path: Path, array: NDArray[Any]) -> None:
    with files.writing(path) as file:
        np.save(file, array, allow_pickle=False)


def spool_folder(run: Path, names: Sequence[tuple[str, str]], dtype: str) -> Path:
    """The folder of one model, data set and method, each given by its label and its full identity.

    What a file system may not like is replaced, and then a digest of the identity keeps different things apart.
    """
    return run.joinpath("spool", *(file_name(label, identity) for label, identity in names), dtype)


def gallery_folder(run: Path, names: Sequence[tuple[str, str]]) -> Path:
    """The folder of the pictures of one model and data set, named as in a spool."""
    return run.joinpath("gallery", *(file_name(label, identity) for label, identity in names))


def map_path(folder: Path, sample: str, kind: str = "scores") -> Path:
    """The file of one image in a spool: its score map, or its class map among the ``predictions``."""
    return folder / kind / f"{file_name(sample)}.npy"


def spool_stamp(folder: Path) -> str:
    """Return the stamp of what the maps in a spool were made with; empty where there are none."""
    path = folder / "stamp"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def open_spool(folder: Path, stamp: str, *, keep: bool) -> None:
    """Make a spool ready for maps made with ``stamp``; those of another code, network or data set are thrown away.

    Maps that were once asked for stay, also when a later run needs them in passing.
    """
    before = spool_stamp(folder)
    if before != stamp:
        if before:
            log.info("%s: its score maps are of another code, network or data set; they are thrown away", folder)
        shutil.rmtree(folder, ignore_errors=True)
        with files.writing(folder / "stamp", "w") as file:
            file.write(stamp)
    if keep:
        with files.writing(folder / "kept"):
            pass


def drop_work(run: Path, key: str) -> None:
    """Forget the shards of a cell: it is finished, or they are of another version."""
    folder = run / "work" / key
    if folder.exists():
        shutil.rmtree(folder)
    with contextlib.suppress(OSError):  # other cells still have shards
        (run / "work").rmdir()


@contextlib.contextmanager
def owned(run: Path) -> Iterator[None]:
    """Hold the run directory for this process; a second one is refused at once. The lock goes with the process."""
    from filelock import FileLock, Timeout

    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = FileLock(run / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise RunInUse(
            f"{run} is in use by another bench run; wait for it, or choose another place with --out"
        ) from None
    except OSError as error:
        raise files.cannot_write(run, error) from error
    try:
        yield
    finally:
        lock.release()
