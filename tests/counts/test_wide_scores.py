"""Scores that float32 cannot tell apart: counted by 64 bits, folded to what they round down to, never merged unsaid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.counts import keys
from bench.counts.bins import common_bins
from bench.counts.tally import Tally, key_pixels

FLOATS = st.floats(allow_nan=False, width=64)


def tally(*images, budget=2**30):
    counted = Tally(2, budget)
    for score, truth in images:
        counted.add(key_pixels(np.atleast_2d(score), np.atleast_2d(np.uint8(truth)), 2))
    return counted


@given(st.lists(FLOATS, min_size=2, max_size=30))
def test_keys_of_64_bits_keep_the_order_and_give_the_scores_back(values):
    scores = np.array(values)
    made = keys.wide_key(scores)
    assert np.array_equal(keys.wide_value(made), scores)
    assert np.array_equal(made[:, None] < made, scores[:, None] < scores)


@pytest.mark.filterwarnings("ignore:overflow")
@given(FLOATS)
def test_rounding_to_float32_ends_at_the_nearest_on_its_side(value):
    down, up = (float(rounded(np.array([value]))[0]) for rounded in (keys.rounded_down, keys.rounded_up))
    assert down <= value <= up
    assert np.nextafter(np.float32(down), np.float32(np.inf)) >= np.float32(up)
    assert (down == up) == (float(np.clip(value, -3.5e38, 3.5e38).astype(np.float32)) == value or np.isinf(value))


@pytest.mark.parametrize(
    "values, dtype",
    [
        (np.array([1.5, -np.inf]), np.float32),
        (np.array([0.1]), np.float64),
        (np.array([1e39]), np.float64),
        (np.float32([0.1]), np.float32),
        (np.float16([0.1]), np.float32),
        (np.array([2**24]), np.float32),
        (np.array([2**24 + 1]), np.float64),
        (np.uint16([65535]), np.float32),
        (np.array([np.nan, 1.5]), np.float32),
    ],
)
def test_numbers_come_as_float32_where_it_holds_them_all(values, dtype):
    narrow = keys.narrowed(values)
    assert narrow.dtype == dtype
    assert np.array_equal(narrow.astype(values.dtype), values, equal_nan=values.dtype.kind == "f")


@pytest.mark.parametrize("values", [np.array([2**53 + 1]), np.uint64([2**64 - 1]), np.array([-(2**63)])])
def test_whole_numbers_that_float64_would_merge_are_refused(values):
    with pytest.raises(ValueError, match="2\\^53"):
        keys.narrowed(values)


def test_the_state_depends_on_the_images_alone_wherever_the_first_wide_one_stands():
    generator = np.random.default_rng(0)
    images = [(generator.normal(size=50).astype(np.float32), generator.integers(0, 2, 50)) for _ in range(3)]
    images.insert(1, (1 - generator.random(50) * 1e-12, generator.integers(0, 2, 50)))
    for budget in (2**30, 1000):
        one, other = tally(*images, budget=budget), tally(*images[2:], budget=budget)
        other.merge(tally(*images[:2], budget=budget))
        again = Tally.from_arrays(one.arrays())
        for state in (other, again):
            assert state.bits == one.bits == (64 if budget > 1000 else 24)
            assert one.arrays().keys() == state.arrays().keys()
            assert all(np.array_equal(state.arrays()[name], array) for name, array in one.arrays().items())


@settings(max_examples=50)
@given(st.lists(st.tuples(FLOATS, st.booleans()), min_size=1, max_size=40), FLOATS)
def test_a_threshold_parts_folded_scores_where_it_says_it_does(pixels, threshold):
    score, truth = np.array([value for value, _ in pixels]), [int(side) for _, side in pixels]
    for counts in (tally((score, truth)).counts(), tally((score, truth), budget=0).counts()):
        whole = counts.column([0, 1])
        (first, begins), (last, ends) = counts.first_at(threshold), counts.last_at(threshold)
        below, at = (int(part[0]) for part in whole.ranks(first))
        reached = int((score >= threshold).sum())
        assert score.size - below - at <= reached <= score.size - below
        assert not begins or reached == score.size - below
        below, at = (int(part[0]) for part in whole.ranks(last))
        reached = int((score <= threshold).sum())
        assert below <= reached <= below + at
        assert not ends or reached == below + at


def test_bins_tell_crowded_wide_scores_apart_and_mix_with_narrow_ones():
    crowded = 1 - np.arange(1, 1001) * 1e-12
    wide = key_pixels(crowded[None], np.zeros((1, 1000), np.uint8), 2).bins()
    narrow = key_pixels(np.float32([[0.5, 2]]), np.uint8([[0, 1]]), 2).bins()
    assert wide["bins"].dtype == np.uint64
    assert wide["bins"].size >= 128
    _, images = common_bins({"a": wide, "b": narrow})
    (first, _), (second, counts) = images
    assert second[0] < first[0] <= first[-1] < second[1]
    assert counts.tolist() == [[1, 0], [0, 1]]


def test_lost_order_is_the_share_of_pairs_that_float32_ties():
    assert keys.lost_order(np.array([1 - 1e-12, 1 - 2e-12, 1 - 3e-12])) == 1
    assert keys.lost_order(np.array([1.0, 2.0, 2.0])) == 0
    assert keys.lost_order(np.random.default_rng(0).normal(size=10**5)) < 1e-5
