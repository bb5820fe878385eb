"""The same figures by tag and by image, read off what every image left behind: no second pass, no forward pass.

Slices count the leading bits of each image's scores, so a ranking is known to within its ``err``; figures that are
sums over images, such as mIoU, are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from bench.contract.protocol import Protocol
from bench.core.values import Rows, Undefined, Value
from bench.counts.keys import union
from bench.counts.tally import Column, Counts, common_bins

if TYPE_CHECKING:
    from bench.counts.tally import Tally

MOST = 32  # values of a tag beyond which it names images rather than groups of them

Slices = dict[str, dict[str, dict[str, Any]]]  # axis -> value -> {"images": n, "metrics": figures}


class Binned:
    """What ``Protocol.read`` needs of a tally, from the leading bits that each image kept."""

    exact = False

    def __init__(self, rows: Rows, categories: int) -> None:
        self.bits, images = common_bins(rows)
        used = union([keys for keys, _ in images])
        table = np.zeros((used.size, categories), np.int64)
        for keys, counts in images:
            table[np.searchsorted(used, keys)] += counts
        self.table, self.keys = table, used >> np.uint32(32 - self.bits)
        self.pixels = int(table.sum())

    def counts(self) -> Counts:
        columns = []
        for category in range(self.table.shape[1]):
            there = self.table[:, category] > 0
            columns.append(Column(self.keys[there], self.table[there, category]))
        return Counts(self.bits, columns)


def by_truth(protocol: Protocol, tally: Tally | None, rows: Rows) -> Slices:
    """Figures of the parts of the truth that the protocol counted apart, as exact as those of the whole."""
    found = protocol.parts(tally, rows) if tally is not None else {}
    return {
        axis: {part: {"images": len(rows), "metrics": figures} for part, figures in parts.items()}
        for axis, parts in found.items()
    }


def by_tag(protocol: Protocol, rows: Rows, tags: Mapping[str, Mapping[str, str]]) -> Slices:
    """Every figure for the images that share a value of a tag; none of a protocol that ranks nobody."""
    if not protocol.ranked:
        return {}
    axes = sorted({axis for sample in rows for axis in tags.get(sample, {})})
    found: Slices = {}
    for axis in axes:
        values = sorted({tags[sample][axis] for sample in rows if axis in tags.get(sample, {})})
        if 1 < len(values) <= MOST:
            found[axis] = {}
            for value in values:
                mine = {sample: row for sample, row in rows.items() if tags.get(sample, {}).get(axis) == value}
                found[axis][value] = {"images": len(mine), "metrics": _read(protocol, mine)}
    return found


def _read(protocol: Protocol, rows: Rows) -> Mapping[str, Value | Undefined]:
    binned = Binned(rows, len(protocol.category_names)) if protocol.scored else None
    figures = protocol.read(cast("Tally | None", binned), rows)
    if protocol.second_phase:  # its rows were made with the parameters of the whole set, not with those of a part
        figures = {name: figure for name, figure in figures.items() if protocol.metrics[name].better != "neither"}
    return figures


def by_image(protocol: Protocol, rows: Rows) -> dict[str, NDArray[Any]]:
    """Arrays over the images, in the order of ``rows``: each figure, NaN where it has none, and the pixels."""
    figures = protocol.replicate(np.eye(len(rows)), rows)
    arrays: dict[str, NDArray[Any]] = {f"images.{name}": values for name, values in figures.items()}
    if protocol.scored:
        arrays["images.pixels"] = np.array([row["bin_counts"].sum(axis=0) for row in rows.values()], np.int64)
    return arrays
