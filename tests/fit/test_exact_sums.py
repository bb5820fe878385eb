"""Exact sums: what math.fsum gives, entry by entry, whatever the order and the grouping."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bench.fit.features import exact_sums
from bench.fit.features.exact_sums import ExactSum

FINITE = st.floats(-1e300, 1e300, allow_subnormal=True)


def total(parts):
    summed = ExactSum()
    for part in parts:
        summed.add(part)
    return summed


@settings(max_examples=60)
@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 3)), elements=FINITE))
def test_each_entry_is_rounded_once(parts):
    assert np.array_equal(total(parts).value(), [math.fsum(column) for column in parts.T])


def test_no_order_and_no_grouping_changes_a_digit():
    draws = np.random.default_rng(0)
    parts = draws.standard_normal((50, 4, 3)) * 10.0 ** draws.integers(-12, 12, (50, 4, 3))
    expected = total(parts).value()
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(parts))
        shards = [total(parts[shard]) for shard in np.array_split(order, 7)]
        whole = ExactSum()
        for shard in shards:
            whole.merge(shard)
        assert np.array_equal(whole.value(), expected)
    naive = {parts[np.random.default_rng(seed).permutation(len(parts))].sum(axis=0).tobytes() for seed in range(5)}
    assert len(naive) > 1  # what a sum of floats does


@pytest.mark.parametrize("sign", [1, -1])
def test_digits_are_carried_before_they_overflow(monkeypatch, sign):
    monkeypatch.setattr(exact_sums, "CARRIED_AFTER", 3)
    values = sign * np.array([2.0**32 - 1, 2.0**63, 1.0])
    summed = total([values] * 40 + [-values] * 38)
    assert np.array_equal(summed.value(), 2 * values)
    assert all(np.abs(limb).max() < 2**34 for limb in summed._limbs.values())


def test_memory_does_not_grow_with_the_number_of_arrays():
    draws = np.random.default_rng(0)
    counts = [len(total(draws.standard_normal((images, 5, 5)))._limbs) for images in (20, 200)]
    assert max(counts) <= 6 and counts[1] - counts[0] <= 1


def test_an_empty_sum_has_a_value_and_merges_into_anything():
    assert ExactSum().empty and ExactSum().value().size == 0
    summed = total([np.ones((2, 2))])
    summed.merge(ExactSum())
    assert np.array_equal(summed.value(), np.ones((2, 2))) and np.array_equal(total([np.zeros(3)]).value(), np.zeros(3))


def test_other_shapes_and_what_is_not_finite_are_refused():
    with pytest.raises(ValueError, match=r"of \[2\] cannot take \[3\]"):
        total([np.ones(2), np.ones(3)])
    with pytest.raises(ValueError, match="finite values"):
        total([np.array([1.0, np.inf])])
