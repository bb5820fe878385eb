"""Whether higher means more anomalous: the average precision of float16 maps and of their negation, from counts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bench.api import Failure, Labels, Verdict
from bench.submit.float16_maps import Halves

VALUES = 1 << 16  # of float16
BASE = 1.5  # times the base rate that an AP must reach


def empty() -> NDArray[np.int64]:
    """Counts of no pixel: int64 [2, 65536]."""
    return np.zeros((2, VALUES), np.int64)


def counted(half: Halves, truth: Labels) -> NDArray[np.int64]:
    """int64 [2, 65536]: normal and anomalous pixels by the value of their score, from the lowest to the highest."""
    bits = (half + np.float16(0)).view(np.uint16)  # -0 becomes 0: they are equal
    keys = np.where(bits & 0x8000, 0xFFFF - bits, bits | 0x8000)
    return np.stack([np.bincount(keys[truth == value], minlength=VALUES) for value in (0, 1)])


def average_precision(counts: NDArray[np.int64], *, negated: bool = False) -> float:
    """The step sum over distinct scores, ties together; of -score if ``negated``. NaN without an anomaly."""
    normal, anomalous = counts if negated else counts[:, ::-1]
    hits, alarms = np.cumsum(anomalous), np.cumsum(normal + anomalous)
    if not hits[-1]:
        return math.nan
    steps = anomalous > 0
    return float(np.sum(anomalous[steps] / hits[-1] * (hits[steps] / alarms[steps])))


def judge(name: str, counts: NDArray[np.int64], frames: int, why: str, verdict: Verdict) -> None:
    """Say of one set of maps whether its direction is right.

    ``counts`` are those of its labelled ``frames``; ``why`` is the reason where there are none.
    """
    normal, anomalous = (int(side.sum()) for side in counts)
    if not anomalous or not normal:
        verdict.notes.append(
            f"{name}: the direction was not looked at: no labelled frame with anomalies is here"
            + (f": {why}" if why else "")
        )
        return
    base = anomalous / (normal + anomalous)
    ap, turned = average_precision(counts), average_precision(counts, negated=True)
    measured = f"AP on {frames} labelled frames is {ap:.4f}, of the negated maps {turned:.4f}"
    rate = f"the base rate is {base:.4f}"
    if turned > ap:
        complaint = f"{measured} ({rate}): higher must mean more anomalous; negate the scores"
        verdict.failures.append(Failure("direction", f"{name}/", complaint))
    elif ap < BASE * base:
        verdict.warnings.append(f"{name}/: {measured}, below {BASE} times the base rate ({base:.4f}) [direction]")
    else:
        verdict.notes.append(f"{name}: {measured}, {rate}")
