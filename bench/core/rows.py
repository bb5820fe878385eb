"""Rows of images, packed into few arrays for a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.values import Row


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


def unpack_rows(ids: Sequence[str], packed: Mapping[str, NDArray[Any]]) -> dict[str, Row]:
    """Return what ``pack_rows`` packed, by the ids in their order."""
    rows: dict[str, dict[str, NDArray[Any]]] = {sample: {} for sample in ids}
    for name in [name for name in packed if f"{name}.ends" in packed]:
        parts = np.split(packed[name], packed[f"{name}.ends"][:-1])
        for sample, part in zip(ids, parts, strict=True):
            rows[sample][name.removeprefix("row.")] = part.reshape(()) if packed[f"{name}.scalar"] else part
    return dict(rows)
