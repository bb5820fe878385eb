"""Rows of images, packed into few arrays for a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core import kept_rows
from bench.core.values import Row, Rows


@dataclass(frozen=True, eq=False)
class Pieces:
    """A field of every image one after the other, [n, ...], of which the array of one image at a time is in memory."""

    rows: Rows
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for row in self.rows.values():
            yield np.ascontiguousarray(row[self.name], self.dtype)


def pack_rows(rows: Mapping[str, Row]) -> dict[str, NDArray[Any]]:
    """Return rows as few arrays: a field of every image one after the other, and where each begins."""
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


def pack_filed_rows(rows: Rows) -> dict[str, NDArray[Any] | Pieces]:
    """Return what ``pack_rows`` does, but for rows whose long arrays lie in a file: those come in pieces."""
    if not any(map(kept_rows.is_filed, rows.values())):
        return {**pack_rows(rows)}
    packed: dict[str, NDArray[Any] | Pieces] = {}
    for name in next(iter(rows.values())):
        known = [kept_rows.described(row, name) for row in rows.values()]
        shapes = [shape for shape, _ in known]
        if not shapes[0]:
            packed |= pack_rows({sample: {name: row[name]} for sample, row in rows.items()})
            continue
        ends = np.cumsum([shape[0] for shape in shapes])
        dtype = np.result_type(*{dtype for _, dtype in known})
        pieces = Pieces(rows, name, (int(ends[-1]), *shapes[0][1:]), dtype)
        packed |= {f"row.{name}": pieces, f"row.{name}.ends": ends, f"row.{name}.scalar": np.array(False)}
    return packed


def unpack_rows(ids: Sequence[str], packed: Mapping[str, NDArray[Any]]) -> dict[str, Row]:
    """Return what ``pack_rows`` packed, by the ids in their order."""
    rows: dict[str, dict[str, NDArray[Any]]] = {sample: {} for sample in ids}
    for name in [name for name in packed if f"{name}.ends" in packed]:
        parts = np.split(packed[name], packed[f"{name}.ends"][:-1])
        for sample, part in zip(ids, parts, strict=True):
            rows[sample][name.removeprefix("row.")] = part.reshape(()) if packed[f"{name}.scalar"] else part
    return dict(rows)
