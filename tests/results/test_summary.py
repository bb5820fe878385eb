"""Means over cells and their intervals are NumPy's, to the last bit, however they are computed."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.results import resampled, summary

NUMBERS = st.floats(-10, 10, allow_nan=False)


@settings(max_examples=300)
@given(arrays(np.float64, st.integers(1, 1200), elements=NUMBERS), st.lists(st.floats(0, 100), min_size=1, max_size=4))
def test_percentiles_are_those_of_numpy(values, levels):
    before = values.copy()
    assert resampled.percentiles(values, levels) == np.percentile(values, levels).tolist()
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("size", [1, 2, 39, 40, 41, 200, 1000, 1001])
def test_the_ends_of_an_interval_are_those_of_numpy(size):
    draws = np.random.default_rng(size).normal(0.5, 0.1, size)
    assert list(resampled.limits(draws)) == np.percentile(draws, [2.5, 97.5]).tolist()
    draws[:: max(3, size // 7)] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy says that a slice has only NaN
        wanted = np.nanpercentile(draws, [2.5, 97.5]).tolist()
    assert list(resampled.limits(draws)) == ([None, None] if np.isnan(wanted).any() else wanted)


def test_no_resample_with_a_figure_means_no_interval():
    assert resampled.limits(np.full(5, np.nan)) == (None, None)
    assert resampled.limits(np.array([np.nan, 0.25])) == (0.25, 0.25)


@settings(max_examples=300)
@given(
    arrays(np.float64, st.integers(1, 300), elements=st.one_of(NUMBERS, st.sampled_from([0.0, 0.5, np.nan, np.inf]))),
    st.one_of(NUMBERS, st.sampled_from([0.0, 0.5])),
)
def test_a_lead_is_beyond_what_numpy_says(draws, least):
    there = draws[np.isfinite(draws)]
    assert resampled.beyond(draws, least) == (bool(np.percentile(there, 2.5) > least) if there.size else None)


@pytest.mark.parametrize("shift", np.linspace(-0.2, 0.4, 61))
def test_a_close_lead_is_decided_as_numpy_does(shift):
    draws = np.random.default_rng(3).normal(shift, 0.1, 1000)
    edge = float(np.percentile(draws, 2.5))
    for least in (0.0, edge, np.nextafter(edge, -1), np.nextafter(edge, 1)):
        assert resampled.beyond(draws, least) == (edge > least)


@pytest.mark.parametrize("cells", [1, 2, 7, 60])
def test_the_mean_of_draws_is_that_of_numpy(cells):
    spread = list(np.random.default_rng(cells).random((cells, 1000)))
    kept = spread[0].copy()
    assert summary._mean_of(spread).tobytes() == np.mean(spread, axis=0).tobytes()
    np.testing.assert_array_equal(spread[0], kept)


def test_draws_that_are_not_of_the_same_resamples_have_no_mean():
    assert summary._mean_of([np.ones(3), None]) is None
    assert summary._mean_of([np.ones(3), np.ones(4)]) is None


def test_the_interval_of_a_difference_needs_draws_of_the_same_resamples():
    a, b = np.random.default_rng(1).random((2, 1000))
    assert list(resampled.between(a, b)) == np.percentile(a - b, [2.5, 97.5]).tolist()
    a[3], b[7] = np.nan, np.inf
    spread = (a - b)[np.isfinite(a - b)]
    assert list(resampled.between(a, b)) == np.percentile(spread, [2.5, 97.5]).tolist() and spread.size == 998
    assert resampled.between(a, b[:-1]) == resampled.between(None, b) == resampled.between(a, None) == (None, None)
    assert resampled.between(np.full(5, np.nan), np.ones(5)) == (None, None)
