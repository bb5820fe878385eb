"""The files of a run directory, read as those of a stranger.

What is no file of this program is a ``Damaged`` that names it: JSON is held to its shape (``file_schema``), arrays to
the types and shapes that figures are read off. No link is followed out of the run, and nothing is unpickled.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from bench.core import npz, untrusted_arrays
from bench.core.errors import MissingData
from bench.core.untrusted_arrays import Unreadable
from bench.results.result import SCHEMA, Result

HEAVIEST = 2**28  # bytes of a JSON
REPLICATES = "replicates."  # how the names of those arrays begin
NUMBERS, WHOLE, WORDS = "biuf", "iu", "U"  # kinds of NumPy
LARGEST = 2**53  # pixels of a cell; beyond it a float64 is no exact count
RELIABILITY = ("pixels", "right", "confidence")

Arrays = Mapping[str, NDArray[Any]]


class Damaged(MissingData):
    """A file of a run that is not what this program writes; ``bench run`` puts it aside and makes it again."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path, self.problem = path, problem
        run = path.parent.parent if path.parent.name == "cells" else path.parent
        again = f"'bench run {run / 'suite.yaml'} --out {run}' puts it aside and makes it again"
        super().__init__(f"{path} {problem}; {again}")

    def __reduce__(self) -> tuple[type[Damaged], tuple[Path, str]]:
        return Damaged, (self.path, self.problem)


def check_inside(path: Path, run: Path) -> None:
    """Raise MissingData for a folder, and Damaged for a file, that a link puts outside of the run."""
    if path.parent != run and path.parent.is_symlink() and not _is_inside(path.parent, run):
        raise MissingData(f"{path.parent} is a link that leads out of the run; put the folder itself there")
    if path.is_symlink() and not _is_inside(path, run):
        raise Damaged(path, "is a link that leads out of the run")


def check_folders(run: Path) -> None:
    """Raise MissingData for a folder of a run that is a link out of it: nothing is written or thrown away there."""
    for path in sorted(run.iterdir()):
        if path.is_symlink() and path.is_dir() and not _is_inside(path, run):
            raise MissingData(f"{path} is a link that leads out of the run; put the folder itself there")


def _is_inside(path: Path, run: Path) -> bool:
    try:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(run))
    except (OSError, ValueError):
        return False


def read_json(path: Path, model: type[BaseModel]) -> Any:
    """Return the object or the list that a file of this shape holds, as JSON has it."""
    try:
        if not path.is_file():
            raise Damaged(path, "is no regular file")
        if path.stat().st_size > HEAVIEST:
            raise Damaged(path, f"has more than {HEAVIEST} bytes")
        content = path.read_bytes()
        raw = from_json(content, allow_inf_nan=False)
    except OSError as error:
        raise Damaged(path, f"cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise Damaged(path, f"cannot be read: {error}") from None
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise MissingData(f"{path} has schema {schema}, this version reads up to {SCHEMA}; update ood-seg-bench")
    try:
        model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "it"
        value = reprlib.repr(first["input"])
        raise not_of_this_program(path, model, f"{place} is {value}: {first['msg'].lower()}") from None
    if not _is_finite(raw):
        raise not_of_this_program(path, model, "it holds a number beyond those of JSON")
    return raw


def not_of_this_program(path: Path, model: type[BaseModel], problem: str) -> Damaged:
    """Return the error for a file that is no result, or no plan."""
    return Damaged(path, f"is not a {model.__name__.lower()} of this program: {problem}")


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return abs(value) != float("inf")
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return all(map(_is_finite, value)) if isinstance(value, list) else True


def read_arrays(path: Path, result: Result, prefixes: Collection[str] = ()) -> dict[str, NDArray[Any]]:
    """Return the arrays in the file of a cell whose names begin with one of ``prefixes``, or all of them."""
    chosen = tuple(prefixes)
    try:
        arrays = untrusted_arrays.read_all(path, lambda name: not chosen or name.startswith(chosen))
        _check(arrays, result)
    except (Unreadable, _Misshapen) as error:
        raise Damaged(path, f"cannot be read: {error}") from None
    return arrays


def read_replicates(path: Path, result: Result) -> dict[str, NDArray[np.float64]]:
    """Return the replicates alone, float64 [R] by metric, without the counts beside them."""
    try:
        if not path.is_file():
            raise Damaged(path, "is absent")
        replicates = npz.leading(path, REPLICATES)
        if replicates is not None:
            _check({f"{REPLICATES}{name}": array for name, array in replicates.items()}, result)
            return replicates
    except (OSError, ValueError, OverflowError, _Misshapen) as error:
        raise Damaged(path, f"cannot be read: {error}") from None
    # Of before they stood at the beginning, or of another program.
    arrays = read_arrays(path, result, [REPLICATES])
    return {name.removeprefix(REPLICATES): array for name, array in arrays.items()}


def check_arrays(path: Path) -> None:
    """Raise Damaged unless a file is there that begins and ends as one of arrays; its content is not looked at."""
    try:
        untrusted_arrays.names(path, ".npz")
    except Unreadable as error:
        raise Damaged(path, f"cannot be read: {error}") from None


class _Misshapen(Exception):
    """An array whose type or shape is not that of its name."""


def _check(arrays: Arrays, result: Result) -> None:
    count = next((len(array) for name, array in arrays.items() if _is_by_image(name) and array.ndim), None)
    for name, array in arrays.items():
        if name.startswith(REPLICATES):
            _wanted(name, array, "f", (None,))
        elif _is_by_image(name):
            figures = name.startswith("images.") and name != "images.pixels"
            kinds = WORDS if name == "ids" else NUMBERS if figures else WHOLE
            _wanted(name, array, kinds, (count, len(result.pixels)) if name == "images.pixels" else (count,))
    _check_counts(_below("counts.", arrays))
    _check_rows(_below("row.", arrays), result, count)
    if bins := _below("reliability.", arrays):
        _check_reliability(bins)


def _is_by_image(name: str) -> bool:
    """True for arrays with an entry for each image."""
    return name == "ids" or name.startswith("images.") or (name.startswith("row.") and name.endswith(".ends"))


def _below(prefix: str, arrays: Arrays) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _wanted(name: str, array: NDArray[Any], kinds: str, shape: tuple[int | None, ...]) -> None:
    fits = array.ndim == len(shape) and all(
        extent in (None, size) for extent, size in zip(shape, array.shape, strict=True)
    )
    if array.dtype.kind not in kinds or not fits:
        shown = ", ".join("n" if extent is None else str(extent) for extent in shape)
        raise _Misshapen(f"{name} is {array.dtype} {list(array.shape)}, wanted [{shown}] of another kind or size")


def _member(arrays: Arrays, of: str, name: str) -> NDArray[Any]:
    if name not in arrays:
        raise _Misshapen(f"it holds no {of}{name}")
    return arrays[name]


def _check_counts(counts: Arrays) -> None:
    """Counts by category: keys of 24 bits, ascending within each, and how often each occurs."""
    if not counts:
        return
    tally, ends, keys, times = (_member(counts, "counts.", name) for name in ("tally", "ends", "keys", "counts"))
    _wanted("counts.tally", tally, WHOLE, (4,))
    categories, _, bits, _ = (int(value) for value in tally)
    _wanted("counts.ends", ends, WHOLE, (categories,))
    _wanted("counts.keys", keys, "u", (None,))
    _wanted("counts.counts", times, "u", (keys.size,))
    steps = np.diff(ends, prepend=0)
    if bits != 24 or (steps < 0).any() or (int(ends[-1]) if categories else 0) != keys.size:
        raise _Misshapen("counts.ends do not cut counts.keys into categories")
    first = np.zeros(keys.size + 1, bool)
    first[np.append(0, ends)] = True
    ascending = keys[1:] > keys[:-1]
    if not (ascending | first[1:-1]).all() or (keys.size and int(keys.max()) >= 2**bits):
        raise _Misshapen("counts.keys do not ascend, or have more than 24 bits")
    if float(times.sum(dtype=np.float64)) > LARGEST or (keys.size and int(times.min()) == 0):
        raise _Misshapen("counts.counts are no counts of pixels")


def _check_rows(rows: Arrays, result: Result, count: int | None) -> None:
    """The rows that a protocol kept, one image after the other."""
    fields = [name for name in rows if f"{name}.ends" in rows]
    for name in fields:
        array, ends = rows[name], rows[f"{name}.ends"]
        scalar = _member(rows, "row.", f"{name}.scalar")
        _wanted(f"row.{name}.scalar", scalar, "b", ())
        steps = np.diff(ends, prepend=0)
        whole = array.ndim > 0 and (int(ends[-1]) if ends.size else 0) == len(array)
        if not whole or (steps < 0).any() or (bool(scalar) and (array.ndim != 1 or (steps != 1).any())):
            raise _Misshapen(f"row.{name}.ends do not cut row.{name} into images")
    if "bins" in rows:
        bins, counts, bits = (_member(rows, "row.", name) for name in ("bins", "bin_counts", "bin_bits"))
        _wanted("row.bins", bins, "u", (None,))
        _wanted("row.bin_counts", counts, "u", (bins.size, len(result.pixels)))
        _wanted("row.bin_bits", bits, "u", (count,))
        same = np.array_equal(_member(rows, "row.", "bins.ends"), _member(rows, "row.", "bin_counts.ends"))
        if not same or (bits.size and not 1 <= int(bits.min()) <= int(bits.max()) <= 24):
            raise _Misshapen("row.bins and row.bin_counts do not belong together")
    if result.cell.protocol.name == "calibration" and rows:
        shapes = {_member(rows, "row.", name).shape for name in RELIABILITY}
        sizes = {size for name in RELIABILITY for size in np.diff(_member(rows, "row.", f"{name}.ends"), prepend=0)}
        if len(shapes) > 1 or len(sizes) > 1:
            raise _Misshapen("row.pixels, row.right and row.confidence have other numbers of bins")


def _check_reliability(bins: Arrays) -> None:
    """The diagram of a misclassification, by bin."""
    pixels = _member(bins, "reliability.", "pixels")
    _wanted("reliability.pixels", pixels, WHOLE, (None,))
    sizes = {"right": pixels.size, "confidence": pixels.size, "shared": pixels.size - 1, "slack": pixels.size}
    for name, size in sizes.items():
        array = _member(bins, "reliability.", name)
        _wanted(f"reliability.{name}", array, NUMBERS, (size,))
        if not np.isfinite(array).all():
            raise _Misshapen(f"reliability.{name} is not finite")
