"""A confidence fitted to a score falls with it, says how often pixels are right, and goes on beyond what was seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.counts.keys import order_key
from bench.submit.confidence import BINS, LEAST, fitted


def counts(scores, right):
    bins = (order_key(scores.astype(np.float32)) >> 16).astype(np.int64)
    return [np.bincount(bins[side], minlength=BINS) for side in (right, ~right)]


def drawn(seed=0, size=200_000):
    """Scores of which the pixel is wrong with the probability score / 10."""
    generator = np.random.default_rng(seed)
    scores = generator.uniform(0, 10, size)
    return scores, generator.random(size) > scores / 10


def test_it_is_the_share_of_right_pixels():
    confidence = fitted(*counts(*drawn()))
    at = np.linspace(0.5, 9.5, 50, dtype=np.float32)
    np.testing.assert_allclose(confidence(at), 1 - at / 10, atol=0.02)


def test_what_a_score_tells_apart_stays_apart_also_beyond_the_scores_that_were_seen():
    confidence = fitted(*counts(*drawn()))
    made = confidence(np.linspace(-20, 40, 3000).astype(np.float32)).astype(np.float64)
    assert (np.diff(made) <= 0).all()
    inside = confidence(np.linspace(confidence.scores[0], 40, 3000).astype(np.float32))
    assert (np.diff(inside.astype(np.float64)) < 0).all()
    assert 0 < made[-1] < confidence.values[-1]


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 1.0, 1e6]), st.floats(-5, 5))
def test_it_never_leaves_0_to_1(seed, scale, shift):
    scores, right = drawn(seed, 300)
    confidence = fitted(*counts((scores + shift) * scale, right))
    made = confidence(np.float32([-3e38, -1, 0, 1e-30, 3, 3e38]))
    assert made.dtype == np.float32
    assert ((made >= 0) & (made <= 1)).all()
    assert (confidence.values >= LEAST).all() and (np.diff(confidence.values) < 0).all()
    assert (np.diff(confidence.scores) > 0).all()


@pytest.mark.parametrize(
    ("right", "said"),
    [
        (lambda scores: np.ones(len(scores), bool), "200 pixels are right and 0 wrong, wanted some of both"),
        (lambda scores: scores > 5, "pixels with higher scores are not wrong more often"),
    ],
)
def test_a_score_that_says_nothing_is_refused(right, said):
    scores = drawn(size=200)[0]
    with pytest.raises(ValueError, match=said):
        fitted(*counts(scores, right(scores)))
