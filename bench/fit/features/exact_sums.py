"""Sums of float64 arrays that no order and no grouping changes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

BITS = 32  # of a limb: a float64 has digits in two or three of them
CARRIED_AFTER = 2**30  # additions: an int64 limb of 32 bits has room for 2**31

Doubles = NDArray[np.float64]


class ExactSum:
    """The exact sum of arrays of one shape, in memory that does not grow with their number.

    Each entry is an integer in base 2^32, whose digits are kept as arrays by their exponent; a digit that no entry has
    takes no memory. ``value`` rounds once, as ``math.fsum`` over all arrays does.
    """

    def __init__(self) -> None:
        self._limbs: dict[int, NDArray[np.int64]] = {}  # by exponent k: what counts 2^(32 k)
        self._shape: tuple[int, ...] | None = None
        self._added = 0

    @property
    def empty(self) -> bool:
        """True before anything was added."""
        return self._shape is None

    def add(self, values: NDArray[Any]) -> None:
        """Add finite values, entry by entry. Raise ValueError for another shape, or what is not finite."""
        rest = np.array(values, np.float64)
        if not np.isfinite(rest).all():
            raise ValueError("an exact sum takes finite values")
        self._begin(rest.shape)
        while rest.any():
            exponent = (int(np.frexp(np.abs(rest).max())[1]) - 1) // BITS
            digits = np.trunc(np.ldexp(rest, -BITS * exponent))
            rest -= np.ldexp(digits, BITS * exponent)  # exact: what is left are the lower digits
            self._limb(exponent)[...] += digits.astype(np.int64)
        self._count(1)

    def merge(self, other: ExactSum) -> None:
        """Add what another one holds. Raise ValueError for another shape."""
        if other._shape is None:
            return
        self._begin(other._shape)
        for exponent, limb in other._limbs.items():
            self._limb(exponent)[...] += limb
        self._count(other._added)

    def value(self) -> Doubles:
        """Return the sum, float64, each entry rounded once; an empty array before anything was added."""
        self._carry()
        columns = [np.ldexp(limb.astype(np.float64), BITS * k).reshape(-1) for k, limb in self._limbs.items()]
        if not columns:
            return np.zeros(self._shape or 0)
        return np.array([math.fsum(entry) for entry in np.stack(columns, axis=1)]).reshape(self._shape or 0)

    def _begin(self, shape: tuple[int, ...]) -> None:
        if self._shape not in (None, shape):
            raise ValueError(f"an exact sum of {list(self._shape or ())} cannot take {list(shape)}")
        self._shape = shape

    def _limb(self, exponent: int) -> NDArray[np.int64]:
        return self._limbs.setdefault(exponent, np.zeros(self._shape or (), np.int64))

    def _count(self, added: int) -> None:
        self._added += added
        if self._added >= CARRIED_AFTER:
            self._carry()

    def _carry(self) -> None:
        """Bring every digit below 2^32 in size, so that a float64 holds it and there is room to add."""
        exponent = min(self._limbs, default=0)
        while exponent <= max(self._limbs, default=-1):
            if exponent in self._limbs:
                limb = self._limbs[exponent]
                above = np.sign(limb) * (np.abs(limb) >> BITS)  # towards 0: a shift of -1 alone never ends
                if above.any():
                    limb -= above << BITS
                    self._limb(exponent + 1)[...] += above
            exponent += 1
        self._added = min(self._added, 1)
