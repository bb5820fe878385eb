"""Signs that something went wrong before score maps were written. Nothing here changes a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Protocol, Scores, Undefined, Value
from bench.evaluate.counting import Counted

LEVELS = 256  # of 8 bits
CROWD = 16  # half of the pixels on so few values of float16 have collapsed
INVERTED = 0.45  # AUROC below which a score is suspected to point the other way
PROBE = 509  # every so-manieth pixel decides first; a prime, so that columns do not repeat


@dataclass(frozen=True)
class Finding:
    """One thing that looks wrong, in words that say what to do about it."""

    code: str
    text: str
    files: tuple[str, ...] = ()  # empty where it is about all of them
    dataset: str = ""


class Look:
    """One pass over maps, a bounded memory of them."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.scaled: list[str] = []
        self.constant: list[str] = []
        self.types: dict[str, list[str]] = {}  # files by the type that they are stored in
        self._levels: NDArray[np.float32] | None = np.empty(0, np.float32)  # None: more than LEVELS
        self._halves: NDArray[np.int64] | None = np.zeros(1 << 16, np.int64)  # by bits; None: not float16

    def add(self, name: str, score: Scores, dtype: np.dtype[Any]) -> None:
        """A map as it was stored, float32 [h, w], and the type it was stored in."""
        self.files.append(name)
        self.types.setdefault(dtype.name, []).append(name)
        low, high = float(score.min()), float(score.max())
        if low == high:
            self.constant.append(name)
        full = 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)
        if (low, high) in ((0.0, 1.0), (0.0, full)):
            self.scaled.append(name)
        self._count_levels(score)
        self._count_halves(score, dtype)

    def _count_levels(self, score: Scores) -> None:
        for part in (score.reshape(-1)[::PROBE], score):
            if self._levels is not None:
                together = np.union1d(self._levels, part)
                self._levels = together if together.size <= LEVELS else None

    def _count_halves(self, score: Scores, dtype: np.dtype[Any]) -> None:
        if self._halves is None:
            return
        with np.errstate(over="ignore"):
            probe = score.reshape(-1)[::PROBE]
            fits = dtype == np.float16 or (dtype.kind == "f" and bool((probe.astype(np.float16) == probe).all()))
            half = score.astype(np.float16) if fits else None
        if half is None or not (fits and (dtype == np.float16 or bool((half == score).all()))):
            self._halves = None
            return
        self._halves += np.bincount(half.view(np.uint16).reshape(-1), minlength=1 << 16)

    def findings(self) -> list[Finding]:
        """Return what the maps looked at so far have in common."""
        findings = []
        if len(self.files) > 1 and len(self.scaled) == len(self.files):
            text = (
                "every map spans its full range exactly: they look scaled by image, which makes scores of different"
                " images incomparable; write the scores before any scaling"
            )
            findings.append(Finding("scaled_per_image", text, tuple(self.scaled)))
        if self.constant:
            text = f"{len(self.constant)} of {len(self.files)} maps hold one value each and rank nothing"
            findings.append(Finding("constant", text, tuple(self.constant)))
        if len(self.types) > 1 and any("int" in kind for kind in self.types):
            kinds = " and ".join(f"{kind} ({len(names)})" for kind, names in sorted(self.types.items()))
            text = (
                f"maps are stored as {kinds}: whole numbers of another width, or beside fractions, have another scale,"
                " and all are ranked together; store all maps alike"
            )
            fewest = min(self.types.values(), key=len)
            findings.append(Finding("mixed_types", text, tuple(fewest)))
        if self._levels is not None and len(self.constant) < len(self.files):
            text = (
                f"all maps together hold {self._levels.size} values: they look stored in 8 bits or as masks; pixels on"
                " one level are ties; write float32"
            )
            findings.append(Finding("few_levels", text))
        elif (crowd := self._crowd()) is not None:
            text = (
                f"half of the pixels lie on {crowd} values of float16: what tells them apart was lost when they were"
                " stored; map the scores so that the suspicious end is near 0, or write float32"
            )
            findings.append(Finding("float16_collapsed", text))
        return findings

    def _crowd(self) -> int | None:
        """Return how few values hold half of the pixels, zeros aside; None if they are many."""
        if self._halves is None:
            return None
        counts = self._halves.copy()
        counts[[0x0000, 0x8000]] = 0
        if not counts.any():
            return None
        fullest = np.cumsum(np.sort(counts)[::-1])
        needed = int(np.searchsorted(fullest, fullest[-1] / 2)) + 1
        return needed if needed <= CROWD else None


def inverted(auroc: Value | Undefined | None, positives: int, negatives: int, *, masks: bool = False) -> Finding | None:
    """An AUROC so far below one half that the score is likely a confidence; ``masks``: positive are anomalies."""
    if not isinstance(auroc, Value) or auroc.value + auroc.err >= INVERTED or (auroc.hi or 0.0) >= 0.5:
        return None
    rate = positives / (positives + negatives)
    text = (
        f"AUROC is {auroc.value:.3f}, below chance, with {100 * rate:.3g} % of the pixels positive (the AP of chance):"
        " higher must mean more suspicious; if the maps hold a confidence, negate it"
    )
    if masks and rate > 0.5:
        text += "; if the labels call the anomaly 0 and what is normal 1, say --label-values 0=anomaly,1=normal"
    return Finding("inverted", text)


def against_chance(counted: Iterable[Counted]) -> list[Finding]:
    """Return at most one finding: that of the first protocol under which the score looks inverted."""
    for each in counted:
        if is_two_sided(each.protocol):
            negatives, positives = each.pixels.values()
            masks = "anomaly" in each.protocol.truths
            if finding := inverted(each.figures.get("auroc"), positives, negatives, masks=masks):
                return [finding]
    return []


def is_two_sided(protocol: Protocol) -> bool:
    """Return whether a protocol ranks two kinds of pixels by a score."""
    return protocol.reads == "score" and len(protocol.category_names) == 2


def missing(lacking: Sequence[str], total: int, *, clean: bool) -> Finding:
    """Frames without a map; ``clean``: they are exactly those without a positive pixel."""
    which = f"{len(lacking)} of {total} frames have no map"
    if clean:
        text = (
            f"{which}, and they are exactly those without an anomaly: leaving out clean frames hides their false alarms"
            " and lowers FPR95; write a map for every frame"
        )
        return Finding("missing_clean", text, tuple(lacking))
    text = f"{which}; figures of a part of the frames are comparable with nothing published"
    return Finding("missing", text, tuple(lacking))
