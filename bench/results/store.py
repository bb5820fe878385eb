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
    work/KEY/ in RUN          shards of unfinished cells

Everything is written whole, by rename. A result once published stays readable: ``tests/frozen`` holds a file of each
schema.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.api import Metric, Undefined, Value
from bench.core import files, locks, npz
from bench.core.errors import MissingData, RunInUse, UsageError
from bench.core.file_names import file_name
from bench.core.rows import Pieces
from bench.core.rows import pack_rows as pack_rows
from bench.core.rows import unpack_rows as unpack_rows
from bench.core.suggestions import sibling
from bench.results import file_schema, run_files
from bench.results.result import SCHEMA as SCHEMA
from bench.results.result import Plan as Plan
from bench.results.result import Result as Result
from bench.results.run_files import REPLICATES as REPLICATES
from bench.results.run_files import Arrays, Damaged
from bench.suite.cells import Cell as Cell
from bench.suite.cells import CellLabels as CellLabels
from bench.suite.cells import Ref as Ref
from bench.suite.cells import uncorrupted as uncorrupted

LOCK = ".lock"  # held by the process that writes to a run

T = TypeVar("T")

log = logging.getLogger(__name__)


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
        return self.memo.once(key, lambda: run_files.read_replicates(self._counts(result), result))

    def arrays(self, result: Result, *prefixes: str) -> dict[str, NDArray[Any]]:
        """Everything in the counts file of a cell, or only what begins with one of ``prefixes``."""
        return run_files.read_arrays(self._counts(result), result, prefixes)

    def _counts(self, result: Result) -> Path:
        home = self.home(result)
        path = home.with_suffix(".npz")
        run_files.check_inside(path, home.parent.parent)
        return path


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


def write_counts(run: Path, key: str, arrays: Mapping[str, NDArray[Any] | Pieces]) -> None:
    """Write the arrays that the figures of a cell were read off."""
    with files.writing(counts_path(run, key)) as file:
        npz.write(file, arrays, REPLICATES)


def read_result(path: Path, known: dict[tuple[str, str], Ref] | None = None) -> Result:
    """Return a result of any schema ever published; ``known`` holds the coordinates of those that were read before."""
    run_files.check_inside(path, path.parent.parent)
    raw = run_files.read_json(path, file_schema.RESULT)
    del raw["schema"]
    raw["metrics"] = _figures(raw["metrics"])
    raw["definitions"] = {name: Metric(**entry) for name, entry in raw["definitions"].items()}
    for values in raw.get("slices", {}).values():
        for part in values.values():
            part["metrics"] = _figures(part["metrics"])
    raw["cell"] = Cell.read(raw["cell"], CellLabels(**raw.pop("labels")), {} if known is None else known)
    result = Result(**raw)
    if result.key != path.stem:  # the key leads to further files: it must not lead out of the run
        raise run_files.not_of_this_program(path, file_schema.RESULT, f"it has the key {result.key!r}")
    return result


def _figures(raw: Mapping[str, Mapping[str, Any]]) -> dict[str, Value | Undefined]:
    return {name: Undefined(**entry) if "reason" in entry else _value(**entry) for name, entry in raw.items()}


def _value(value: float, err: float = 0.0, lo: float | None = None, hi: float | None = None) -> Value:
    """A figure whose numbers may stand in JSON as integers."""
    low, high = (None if end is None else float(end) for end in (lo, hi))
    return Value(float(value), float(err), low, high)


def _consistent(path: Path, known: dict[tuple[str, str], Ref]) -> Result:
    result = read_result(path, known)
    if problem := _contradiction(result):
        raise run_files.not_of_this_program(path, file_schema.RESULT, problem)
    return result


def _contradiction(result: Result) -> str:
    """Return what a result says that cannot be, of entries that each are as they should; empty for none."""
    if not result.definitions:
        return "it defines no figure"
    if result.not_applicable and any(isinstance(figure, Value) for figure in result.metrics.values()):
        return "it is not applicable, and has figures"
    if (result.cell.method is None) != ("method" not in result.labels.by_axis):
        return "cell and labels do not both have a method"
    return ""


def write_plan(run: Path, plan: Plan, suite_text: str | None) -> None:
    """Write the plan, and beside it the suite unless there is none."""
    if suite_text is not None:
        with files.writing(run / "suite.yaml", "w") as file:
            file.write(suite_text)
    content = asdict(plan) | {"cells": [cell.by_axis for cell in plan.cells]}
    for name in ("claims", "left_out"):  # of few runs
        if not content[name]:
            del content[name]
    write_json(run / "run.json", {"schema": SCHEMA} | content)


def read_run(path: Path) -> Run:
    """The plan and every finished result. Nothing found in the directory is executed."""
    plan = read_plan(path)
    paths = [result_path(path, key) for key in dict.fromkeys(plan.keys) if re.match(file_schema.KEY, key)]
    known: dict[tuple[str, str], Ref] = {}
    with uncollected():
        return Run(path, plan, tuple(_consistent(file, known) for file in paths if os.path.lexists(file)))


def read_plan(path: Path) -> Plan:
    """Return the plan of a run directory."""
    home = path / "run.json"
    if not os.path.lexists(home):
        advice = "" if path.exists() else sibling(path)
        raise MissingData(f"{path} is not a run directory: it has no run.json; wanted what 'bench run' wrote{advice}")
    run_files.check_inside(home, path)
    raw = run_files.read_json(home, file_schema.PLAN)
    cells = tuple(CellLabels(**labels) for labels in raw.get("cells", ()))
    keys, rules, points = (tuple(raw.get(name, ())) for name in ("keys", "summaries", "operating_points"))
    if any(rule.keys().isdisjoint({"dataset", "datasets"}) for rule in rules):
        raise run_files.not_of_this_program(home, file_schema.PLAN, "a summary names no data sets")
    if cells and len(cells) != len(keys):
        raise run_files.not_of_this_program(home, file_schema.PLAN, "keys and cells are not as many")
    beside = {name: tuple(raw.get(name, ())) for name in ("claims", "left_out")}
    return Plan(raw["name"], raw["title"], raw["note"], keys, rules, cells, points, **beside)


def finished(run: Path, key: str, known: dict[tuple[str, str], Ref] | None = None) -> Result | None:
    """Return the result of a cell, None where there is none; raise Damaged unless its counts lie beside it.

    The content of the counts is not looked at: who reads them finds what is broken there.
    """
    path, counts = result_path(run, key), counts_path(run, key)
    if not os.path.lexists(path):
        return None
    result = read_result(path, known)
    run_files.check_inside(counts, run)
    run_files.check_arrays(counts)
    return result


def put_broken_aside(run: Path, keys: Iterable[str]) -> list[Path]:
    """Rename the files of finished cells that cannot be read; return what they are called now."""
    renamed: list[Path] = []
    known: dict[tuple[str, str], Ref] = {}
    for key in keys:
        try:
            finished(run, key, known)
        except Damaged as error:
            log.info("%s", error)
            renamed += put_aside(run, key)
    return renamed


def put_aside(run: Path, key: str) -> list[Path]:
    """Rename what there is of a finished cell to KEY.json.broken and KEY.npz.broken; return these paths."""
    renamed = []
    for path in (result_path(run, key), counts_path(run, key)):
        if os.path.lexists(path):
            names = (path.with_name(f"{path.name}.broken{number or ''}") for number in itertools.count())
            renamed.append(path.rename(next(name for name in names if not os.path.lexists(name))))
    return renamed


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


def write_json(path: Path, content: Any) -> None:
    with files.writing(path, "w") as file:
        json.dump(content, file, indent=1, allow_nan=False, default=asdict)
        file.write("\n")


def read_json(path: Path) -> Any:
    """Return what a file of JSON holds, of no shape in particular."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise MissingData(f"{path} cannot be read: {error}; delete it and run the same command again") from None


def write_arrays(path: Path, arrays: Arrays, *, lasting: bool = True) -> None:
    with files.writing(path, lasting=lasting) as file:
        np.savez(file, allow_pickle=False, **arrays)


def write_map(path: Path, array: NDArray[Any], *, lasting: bool = True) -> None:
    with files.writing(path, lasting=lasting) as file:
        np.save(file, array, allow_pickle=False)


def has_map(folder: Path, sample: str) -> bool:
    """Return whether the maps of an image are in a spool, whole: they were not waited for to be on disk."""
    kinds = ["scores", *(["predictions"] if (folder / "predictions").is_dir() else [])]
    return all(_is_whole(map_path(folder, sample, kind)) for kind in kinds)


def _is_whole(path: Path) -> bool:
    """Return whether a file of NumPy has the length that it says."""
    try:
        with path.open("rb") as file:
            major, _ = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            return file.tell() + math.prod(shape) * dtype.itemsize == os.fstat(file.fileno()).st_size
    except (OSError, ValueError):
        return False


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
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


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
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
    with contextlib.suppress(OSError):  # other cells still have shards
        (run / "work").rmdir()


def drop_leftovers(run: Path) -> None:
    """Forget what a run with all its results needs no more: shards, drafts, and maps that nobody asked to keep.

    Processes that were killed after the last result left them.
    """
    shutil.rmtree(run / "work", ignore_errors=True)
    for stamp in list((run / "spool").rglob("stamp")):
        if not stamp.with_name("kept").is_file():
            shutil.rmtree(stamp.parent, ignore_errors=True)
    drop_empty_spool(run)
    for draft in run.rglob(".*.part"):
        draft.unlink(missing_ok=True)


def drop_empty_spool(run: Path) -> None:
    """Delete the folders of a spool without any map."""
    spool = run / "spool"
    if spool.is_dir() and not any(path.is_file() for path in spool.rglob("*")):
        shutil.rmtree(spool)


@contextlib.contextmanager
def owned(run: Path) -> Iterator[None]:
    """Hold the run directory for this process; a second one is refused at once. The lock goes with the process."""
    refusal = RunInUse(f"{run} is in use by another bench run; wait for it, or choose another place with --out")
    with locks.owned(run, LOCK, refusal):
        run_files.check_folders(run)
        yield


def refuse_foreign(run: Path, suite_text: str) -> None:
    """Raise UsageError for a folder with files that no run wrote: a run would write over some of them.

    ``suite_text`` is what the run would write first; a run that was killed right then has left that alone.
    """
    try:
        entries = sorted(entry.name for entry in run.iterdir())
    except OSError:  # it is not there, or is no folder, which is said where it is made
        return
    if _holds_plan(run):
        return
    own = {LOCK, "work"}
    with contextlib.suppress(OSError, UnicodeDecodeError):
        own |= {"suite.yaml"} if (run / "suite.yaml").read_text(encoding="utf-8") == suite_text else set()
    foreign = [name for name in entries if name not in own and not (name[0] == "." and name.endswith(".part"))]
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise UsageError(
            f"{run} is no run directory and holds {', '.join(foreign[:3])}{more}; nothing was written, choose a folder"
            f" that is new or empty with --out, such as {run / 'run'}"
        )


def _holds_plan(run: Path) -> bool:
    """True if a run has begun there: its plan can be read, or was damaged beside its cells."""
    path = run / "run.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return path.is_file() and (run / "cells").is_dir()
    return isinstance(raw, dict) and {"schema", "keys"} <= raw.keys()
