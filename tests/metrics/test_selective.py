"""Risk, coverage and calibration, by hand and by brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.api import Sample, Undefined
from bench.core.errors import BadPlugin
from bench.counts import ranked_pair
from bench.counts.tally import Column, Counts, Tally, key_pixels
from bench.metrics import selective
from bench.metrics.protocols import fed
from bench.metrics.protocols.calibration import Calibration
from bench.metrics.ranking import harmonic, ranking, steps


def counted(score, wrong, budget=2**30):
    whole = Tally(2, budget)
    whole.add(key_pixels(np.float32([score]), np.uint8([wrong]), 2))
    return whole.counts()


def brute(score, wrong, repeats=4000):
    """AURC over random orders of the ties."""
    generator = np.random.default_rng(0)
    score, wrong = np.array(score), np.array(wrong)
    total = 0.0
    for _ in range(repeats):
        order = np.lexsort([generator.random(score.size), score])
        total += (np.cumsum(wrong[order]) / np.arange(1, score.size + 1)).mean()
    return total / repeats


def test_five_pixels_by_hand():
    # accepted: right, wrong, right, right, wrong: risks 0, 1/2, 1/3, 1/4, 2/5
    # perfect: right three times, then wrong: 0, 0, 0, 1/4, 2/5
    # AUGRC: wrong accepted of 5 after each: 0 1 1 1 2; by trapezoid over coverage 0, .2 ... 1: (0+.5+1+1+1.5) / 25
    found = selective.read(counted([1, 2, 3, 4, 5], [0, 1, 0, 0, 1]), [1], [0])
    assert found["aurc"].value == pytest.approx((1 / 2 + 1 / 3 + 1 / 4 + 2 / 5) / 5)
    assert found["e_aurc"].value == pytest.approx((1 / 2 + 1 / 3) / 5)
    assert found["augrc"].value == pytest.approx(4 / 25)
    auroc = ranking(counted([1, 2, 3, 4, 5], [0, 1, 0, 0, 1]), [1], [0])["auroc"].value
    assert found["prr"].value == pytest.approx(2 * auroc - 1)


def test_a_perfect_ranking_has_no_excess():
    found = selective.read(counted([1, 2, 3, 4], [0, 0, 1, 1]), [1], [0])
    assert found["e_aurc"].value == pytest.approx(0, abs=1e-15)
    assert found["prr"].value == 1


def test_ties_count_as_every_order_would_on_average():
    score, wrong = [1, 1, 1, 2, 2, 3, 3, 3, 3], [0, 1, 0, 0, 1, 1, 0, 0, 1]
    found = selective.read(counted(score, wrong), [1], [0])
    assert found["aurc"].value == pytest.approx(brute(score, wrong), abs=3e-3)


@settings(max_examples=80)
@given(
    arrays(np.float32, 40, elements=st.floats(1, 1.001953125, width=32)),
    arrays(np.uint8, 40, elements=st.sampled_from([0, 0, 1])),
)
def test_the_certified_interval_holds_the_exact_value(score, wrong):
    wrong[:2] = 0, 1
    exact, certified = counted(score, wrong), counted(score, wrong, 0)
    for read in (lambda counts: selective.read(counts, [1], [0]), lambda counts: fed.ood_metrics(counts, [1], [0])):
        for name, figure in read(exact).items():
            assert abs(read(certified)[name].value - figure.value) <= read(certified)[name].err, name


@pytest.mark.parametrize("seed", range(25))
def test_the_bounds_of_the_trapezoid_hold_however_keys_are_shared(seed):
    generator = np.random.default_rng(seed)
    pixels = int(generator.integers(2, 3000))
    low = np.float32(1).view(np.uint32) + generator.integers(0, generator.integers(1, 9), pixels) * 256
    score = (low + generator.integers(0, generator.integers(1, 257), pixels)).astype(np.uint32).view(np.float32)
    wrong = (generator.random(pixels) < generator.choice([0.01, 0.3, 0.95])).astype(np.uint8)
    wrong[:2] = 0, 1
    exact = fed.trapezoid_exact(steps(counted(score, wrong), [1], [0])).value
    bound = fed.trapezoid(steps(counted(score, wrong, 0), [1], [0]))
    assert abs(bound.value - exact) <= bound.err


def test_pieces_of_any_size_give_the_same_risk(monkeypatch):
    generator = np.random.default_rng(5)
    score, wrong = generator.integers(0, 40, 500), (generator.random(500) < 0.3).astype(np.uint8)
    for budget in (2**30, 0):
        whole = selective.read(counted(score, wrong, budget), [1], [0])
        with monkeypatch.context() as patch:
            patch.setattr(selective, "PIECE", 7)
            pieces = selective.read(counted(score, wrong, budget), [1], [0])
        for name, figure in whole.items():
            assert pieces[name].value == pytest.approx(figure.value, abs=1e-13)
            assert pieces[name].err == pytest.approx(figure.err, abs=1e-13)


def test_one_kind_of_pixel_alone_has_no_risk_and_says_so():
    assert set(selective.read(counted([1, 2], [0, 0]), [1], [0]).values()) == {Undefined("no positive pixels")}


def calibrated(confidence, wrong):
    labels = np.uint8([wrong])
    sample = Sample(id="a", size=labels.shape, image=lambda: np.zeros((1, 1, 3), np.uint8), labels=labels)
    protocol = Calibration()
    return protocol.read(Counts(32, ()), {"a": protocol.row(sample, np.zeros_like(labels), np.float32([confidence]))})


def test_calibration_by_hand():
    # one bin holds 0.9 (right) and 0.875 (wrong): |1/2 - 0.8875|; another 0.25 (wrong): 0.25; a third 1.0 (right): 0
    found = calibrated([0.875, 0.9, 0.25, 1.0, 0.5], [1, 0, 1, 0, 255])
    assert found["ece"].value == pytest.approx((2 * abs(0.5 - 0.8875) + 0.25) / 4, abs=1e-7)
    assert found["brier"].value == pytest.approx((0.875**2 + 0.1**2 + 0.25**2 + 0) / 4, abs=1e-7)


def test_bins_are_closed_above():
    sample = Sample(id="a", size=(1, 4), image=lambda: np.zeros((1, 1, 3), np.uint8), labels=np.zeros((1, 4), np.uint8))
    row = Calibration(bins=4).row(sample, np.zeros((1, 4), np.uint8), np.float32([[0, 0.25, 0.5, 1]]))
    assert row["pixels"].tolist() == [2, 1, 0, 1]


def test_what_is_no_probability_is_refused():
    with pytest.raises(BadPlugin, match=r"a: a confidence outside \[0, 1\]"):
        calibrated([1.5], [0])


@pytest.mark.parametrize("ties", [1, 40, 10**6])
def test_two_sorted_runs_are_ranked_alike_with_and_without_the_compiled_loop(monkeypatch, ties):
    generator = np.random.default_rng(ties)
    runs = [Column(np.sort(generator.integers(0, ties, size).astype(np.uint32)), None) for size in (300, 1000)]
    compiled = ranked_pair.accepted(*runs, 5, 11)
    monkeypatch.setattr(ranked_pair, "kernels", None)
    plain = ranked_pair.accepted(*runs, 5, 11)
    assert all(np.array_equal(found, wanted) for found, wanted in zip(compiled, plain, strict=True))
    assert compiled.bad.sum() == 300 and compiled.good.sum() == 1000
    assert (compiled.bad_before[0], compiled.all_before[0]) == (5, 11)
    assert compiled.all_before[-1] + compiled.bad[-1] + compiled.good[-1] == 1311


def test_the_harmonic_series_is_cut_off_where_no_digit_feels_it(monkeypatch):
    start = np.concatenate([np.arange(1.0, 3000.0), 2.0 ** np.arange(11, 40)])
    terms = np.random.default_rng(0).integers(0, 5, start.size)
    cut = harmonic(start, terms)
    monkeypatch.setattr("bench.metrics.ranking.FAR", np.inf)
    monkeypatch.setattr("bench.metrics.ranking.BLOCK", start.size)
    assert np.array_equal(cut, harmonic(start, terms))
