"""NumPy's legacy generator, compiled: the numbers that ``RandomState`` draws, in its order, made where they are used.

Mersenne Twister MT19937 (Matsumoto and Nishimura, ACM TOMACS 8(1), 1998). The distributions are those that
``numpy.random.RandomState`` is frozen to (NEP 19): 53-bit uniforms and Marsaglia's polar method for normals; Poisson
counts are in ``noise``, their only user. A bulk draw by NumPy takes two to four times as long.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from bench.core.compiled import compiled

WORDS, SHIFT = 624, 397
BATCH = WORDS // 2  # uniforms, of two words each, in one batch


class Stream(NamedTuple):
    """A generator's state in arrays that compiled code advances."""

    key: NDArray[np.uint32]  # [624]
    carry: NDArray[np.uint32]  # [2]: 1 if uniforms begin at odd words, and the word that waits for its other half
    batch: NDArray[np.float64]  # [312], uniform in [0, 1)
    cursor: NDArray[np.int64]  # [1], the next of them; 312 if all are used up
    spare: NDArray[np.float64]  # [2]: 1 if the second normal of a pair is kept, and that normal


@contextmanager
def drawing(random: RandomState) -> Iterator[Stream]:
    """Yield a stream that draws from ``random``, and leave that where NumPy would have left it."""
    state = random.get_state(legacy=False)
    key, position = np.array(state["state"]["key"], np.uint32), int(state["state"]["pos"])
    odd = position % 2
    stream = Stream(
        key,
        np.array([odd, 0], np.uint32),
        np.empty(BATCH),
        np.array([(position + odd) // 2], np.int64),
        np.array([state["has_gauss"], state["gauss"]], np.float64),
    )
    _halve(key, stream.carry, stream.batch)
    yield stream
    state["state"] = {"key": key, "pos": 2 * int(stream.cursor[0]) - odd}
    state["has_gauss"], state["gauss"] = int(stream.spare[0]), float(stream.spare[1])
    random.set_state(state)


@compiled
def _twist(here: np.uint32, following: np.uint32, far: np.uint32) -> np.uint32:
    mixed = (here & np.uint32(0x80000000)) | (following & np.uint32(0x7FFFFFFF))
    return np.uint32(far ^ (mixed >> np.uint32(1)) ^ (np.uint32(0x9908B0DF) * (mixed & np.uint32(1))))


@compiled
def _halve(key: NDArray[np.uint32], carry: NDArray[np.uint32], batch: NDArray[np.float64]) -> None:
    """Temper the key and pair its words to uniforms; in an odd stream, beginning with the word that waits."""
    words = np.empty(WORDS + 1, np.uint32)
    odd = np.int64(carry[0])
    words[0] = carry[1]
    for index in range(WORDS):
        word = key[index]
        word = np.uint32(word ^ (word >> np.uint32(11)))
        word = np.uint32(word ^ ((word << np.uint32(7)) & np.uint32(0x9D2C5680)))
        word = np.uint32(word ^ ((word << np.uint32(15)) & np.uint32(0xEFC60000)))
        words[index + odd] = np.uint32(word ^ (word >> np.uint32(18)))
    carry[1] = words[WORDS]
    for index in range(BATCH):
        high, low = words[2 * index], words[2 * index + 1]
        batch[index] = (np.int32(high >> np.uint32(5)) * 67108864.0 + np.int32(low >> np.uint32(6))) * (
            1.0 / 9007199254740992.0
        )


@compiled
def renew(key: NDArray[np.uint32], carry: NDArray[np.uint32], batch: NDArray[np.float64]) -> None:
    """Put the next 312 uniforms into ``batch``."""
    for index in range(WORDS - SHIFT):
        key[index] = _twist(key[index], key[index + 1], key[index + SHIFT])
    for index in range(WORDS - SHIFT, WORDS - 1):
        key[index] = _twist(key[index], key[index + 1], key[index + SHIFT - WORDS])
    key[WORDS - 1] = _twist(key[WORDS - 1], key[0], key[SHIFT - 1])
    _halve(key, carry, batch)


@compiled
def fill_uniform(
    key: NDArray[np.uint32],
    carry: NDArray[np.uint32],
    batch: NDArray[np.float64],
    cursor: NDArray[np.int64],
    low: float,
    span: float,
    out: NDArray[np.float64],
) -> None:
    """Put ``low + span * u`` into every element of a flat array."""
    here = cursor[0]
    done = 0
    while done < out.size:
        if here == BATCH:
            renew(key, carry, batch)
            here = 0
        take = min(out.size - done, BATCH - here)
        for index in range(take):
            out[done + index] = low + span * batch[here + index]
        done += take
        here += take
    cursor[0] = here


@compiled
def fill_normal(
    key: NDArray[np.uint32],
    carry: NDArray[np.uint32],
    batch: NDArray[np.float64],
    cursor: NDArray[np.int64],
    spare: NDArray[np.float64],
    mean: float,
    scale: float,
    out: NDArray[np.float64],
) -> None:
    """Put ``mean + scale * z`` into each element of a flat array. Normals come in pairs; ``spare`` keeps the second."""
    here = cursor[0]
    done = 0
    if spare[0] != 0.0 and out.size:
        out[0] = mean + scale * spare[1]
        spare[0] = spare[1] = 0.0
        done = 1
    while done < out.size:
        square = 0.0
        first = second = 0.0
        while square >= 1.0 or square == 0.0:
            if here == BATCH:
                renew(key, carry, batch)
                here = 0
            first = 2.0 * batch[here] - 1.0
            here += 1
            if here == BATCH:
                renew(key, carry, batch)
                here = 0
            second = 2.0 * batch[here] - 1.0
            here += 1
            square = first * first + second * second
        factor = math.sqrt(-2.0 * math.log(square) / square)
        out[done] = mean + scale * (factor * second)
        if done + 1 < out.size:
            out[done + 1] = mean + scale * (factor * first)
        else:
            spare[0], spare[1] = 1.0, factor * first
        done += 2
    cursor[0] = here
