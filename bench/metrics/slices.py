"""The same figures by part of the truth and by tag, read off what every image left behind: no second pass.

Slices by tag count the leading bits of each image's scores, so a ranking is known to within its ``err``; figures that
are sums over images, such as mIoU, are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.contract.protocol import Presented, TwoPhase
from bench.core.values import Rows, Undefined, Value
from bench.metrics.accumulate import Reading

MOST = 32  # values of a tag beyond which it names images rather than groups of them

AMBIGUOUS = "the tag {!r} is called as what the protocol counts apart; give it another name"

Slices = dict[str, dict[str, dict[str, Any]]]  # axis -> value -> {"images": n, "metrics": figures}


def by_truth(reading: Reading) -> Slices:
    """Figures of the parts of the truth that the protocol counted apart, as exact as those of the whole."""
    return {
        axis: {part: {"images": len(reading.rows), "metrics": figures} for part, figures in parts.items()}
        for axis, parts in reading.breakdown().items()
    }


def by_tag(reading: Reading, tags: Mapping[str, Mapping[str, str]]) -> Slices:
    """Every figure for the images that share a value of a tag; none of a protocol that ranks nobody.

    ``tags`` are the values by axis, by sample id.
    """
    rows = reading.rows
    if isinstance(reading.protocol, Presented) and not reading.protocol.ranked:
        return {}
    slices: Slices = {}
    for axis in sorted({axis for sample in rows for axis in tags.get(sample, {})}):
        values = sorted({tags[sample][axis] for sample in rows if axis in tags.get(sample, {})})
        if 1 < len(values) <= MOST:
            slices[axis] = {}
            for value in values:
                part = {sample: row for sample, row in rows.items() if tags.get(sample, {}).get(axis) == value}
                slices[axis][value] = {"images": len(part), "metrics": _read(reading, part)}
    return slices


def _read(reading: Reading, rows: Rows) -> Mapping[str, Value | Undefined]:
    protocol = reading.protocol
    part = Reading.of_rows(protocol, rows)  # its counts are nobody else's, and are not held against what they were
    figures = dict(protocol.read(part.counts, part.rows))
    if isinstance(
        protocol, TwoPhase
    ):  # its rows were made with the parameters of the whole set, not with those of a part
        figures = {name: figure for name, figure in figures.items() if protocol.metrics[name].better != "neither"}
    return figures
