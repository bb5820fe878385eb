"""Categories as tables by the values of a pixel, for pixels that are not on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.contract.dataset import Sample
from bench.contract.protocol import Pointwise, Protocol
from bench.core.errors import UserError
from bench.core.values import Labels
from bench.metrics.single_precision import SinglePrecision

REFUSED = 254  # in a table: the protocol raises where a pixel has these values
NAME = "pixels of every value"
VALUES = np.arange(256, dtype=np.uint8)


def table_of(protocol: Protocol) -> Labels | None:
    """Return the categories of a protocol by the values of a pixel; None where they depend on more than these.

    uint8 [256] by the anomaly mask, or [256, 256] by label and predicted class.
    """
    if not is_pointwise(protocol):
        return None
    read = (protocol.truths - {"instances"}) | ({"prediction"} & protocol.needs)  # no category is read off instances
    if read == {"anomaly"}:
        return _line(protocol, Sample(NAME, (1, 256), _no_image, anomaly=VALUES[None]), None)
    if read == {"labels", "prediction"}:
        labels = (np.full((1, 256), label, np.uint8) for label in VALUES)
        samples = (Sample(NAME, (1, 256), _no_image, labels=line) for line in labels)
        return np.stack([_line(protocol, sample, VALUES[None]) for sample in samples])
    return None


def is_pointwise(protocol: Protocol) -> bool:
    """Return whether nothing but the categories of pixels and their scores as they are matters to a protocol.

    A class that has ``categories`` of its own says itself that they are pointwise: that is not inherited.
    """
    kind: Any = type(protocol)
    owner = next(base for base in kind.__mro__ if "categories" in vars(base))
    return (
        isinstance(protocol, Pointwise)
        and protocol.pointwise
        and (Pointwise in owner.__bases__ or "pointwise" in vars(owner))
        and protocol.reads == "score"
        and kind.row is Protocol.row
        and getattr(kind, "quantize", None) in (None, SinglePrecision.quantize)  # scores there are float32
    )


def _line(protocol: Protocol, sample: Sample, predicted: Labels | None) -> Labels:
    """Return the categories [256] of 256 pixels side by side, ``REFUSED`` where the protocol raises."""
    try:
        return protocol.categories(sample.sealed(), predicted).reshape(256)
    except UserError:
        return np.full(256, REFUSED, np.uint8)


def _no_image() -> Labels:
    raise UserError("categories that depend on the image are not pointwise")
