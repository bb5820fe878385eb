"""Resamples of images: frozen weights, intervals around the exact figure, paired differences by subtraction."""

import numpy as np
import pytest

from bench.api import Value
from bench.counts.tally import Tally, key_pixels
from bench.metrics import bootstrap
from bench.metrics.bootstrap import interval, replicate_ranking, weights
from bench.metrics.intervals import intervals
from bench.metrics.protocols.pooled import Misclassification
from bench.metrics.ranking import RESAMPLED, ranking

IDS = [f"image{index}" for index in range(6)]


def images(count, seed=0, size=400):
    generator = np.random.default_rng(seed)
    for index in range(count):
        truth = (generator.random((1, size)) < 0.1 + 0.02 * index).astype(np.uint8)
        yield (generator.normal(size=truth.shape) + truth * generator.uniform(0.5, 2)).astype(np.float32), truth


def rows_of(pairs):
    rows = {}
    for index, (score, truth) in enumerate(pairs):
        rows[f"image{index}"] = key_pixels(score, truth, 2).bins()
    return rows


def test_weights_are_frozen():
    drawn = weights(0, IDS, 3)
    assert drawn.tolist() == [[2, 0, 2, 0, 1, 1], [1, 2, 1, 1, 0, 1], [2, 2, 0, 0, 2, 0]]


def test_every_resample_draws_as_many_images_as_there_are():
    drawn = weights(7, [f"{index}" for index in range(50)], 1000)
    assert (drawn.sum(axis=1) == 50).all()
    assert drawn.mean() == 1
    assert drawn.var() == pytest.approx(1 - 1 / 50, rel=0.03)


def test_weights_depend_on_the_set_of_ids_and_the_seed_alone():
    forward, backward = weights(0, IDS, 20), weights(0, IDS[::-1], 20)
    assert np.array_equal(forward, backward[:, ::-1])
    assert not np.array_equal(forward, weights(1, IDS, 20))
    assert not np.array_equal(forward[:, :5], weights(0, IDS[:5], 20))


def test_a_group_is_drawn_whole():
    drawn = weights(0, IDS, 200, ["a", "a", "b", "", "", "b"])
    assert np.array_equal(drawn[:, 0], drawn[:, 1])
    assert np.array_equal(drawn[:, 2], drawn[:, 5])
    assert not np.array_equal(drawn[:, 3], drawn[:, 4])
    assert (drawn[:, [0, 2, 3, 4]].sum(axis=1) == 4).all()


def test_an_id_twice_is_refused():
    with pytest.raises(ValueError, match="occurs twice"):
        weights(0, ["a", "a"], 2)


def test_a_resample_is_the_ranking_of_its_images():
    pairs = list(images(6))
    drawn = weights(0, IDS, 5)
    found = replicate_ranking(drawn, rows_of(pairs), [1], [0])
    for replicate, times in enumerate(drawn.astype(int)):
        whole = Tally(2)
        for (score, truth), count in zip(pairs, times, strict=True):
            for _ in range(count):
                whole.add(key_pixels(score, truth, 2))
        exact = ranking(whole.counts(), [1], [0])
        for name in RESAMPLED:
            assert found[name][replicate] == pytest.approx(exact[name].value, abs=0.02)


def test_pieces_of_any_size_give_the_same_resamples(monkeypatch):
    rows, drawn = rows_of(images(6)), weights(0, IDS, 30)
    whole = replicate_ranking(drawn, rows, [1], [0])
    monkeypatch.setattr(bootstrap, "CELLS", 1)
    pieces = replicate_ranking(drawn, rows, [1], [0])
    assert all(np.array_equal(whole[name], pieces[name]) for name in RESAMPLED)


def test_the_interval_lies_around_the_exact_figure():
    pairs = list(images(30))
    whole = Tally(2)
    for score, truth in pairs:
        whole.add(key_pixels(score, truth, 2))
    rows = rows_of(pairs)
    found = replicate_ranking(weights(0, sorted(rows), 1000), {key: rows[key] for key in sorted(rows)}, [1], [0])
    binned = replicate_ranking(np.ones((1, 30)), rows, [1], [0])
    for name in RESAMPLED:
        point = ranking(whole.counts(), [1], [0])[name]
        low, high, shifted = interval(point, found[name], float(binned[name][0]))
        assert low < point.value < high
        assert high - low < 0.3
        assert shifted.shape == (1000,)
        assert np.median(shifted) == pytest.approx(point.value, abs=0.02)


def test_shifting_makes_the_binned_point_the_exact_one():
    low, high, shifted = interval(Value(0.5), np.linspace(0.3, 0.5, 101), 0.4)
    assert shifted == pytest.approx(np.linspace(0.4, 0.6, 101))
    assert (low, high) == pytest.approx((0.405, 0.595))


def test_nothing_is_shifted_beyond_what_the_figure_can_be():
    _, high, shifted = interval(Value(0.99), np.linspace(0.9, 1.0, 101), 0.95)
    assert high == shifted.max() == 1.0
    _, _, shifted = interval(Value(7.0), np.array([4.0, 6.0]), 5.0, (-np.inf, np.inf))
    assert shifted.tolist() == [6.0, 8.0]


def test_resamples_without_a_figure_are_left_out_while_they_are_few():
    values = np.linspace(0, 1, 100)
    values[:10] = np.nan
    low, high, _ = interval(Value(0.5), values, 0.5)
    assert low > 0.1
    values[10] = np.nan
    low, high, shifted = interval(Value(0.5), values, 0.5)
    assert (low, high) == (None, None)
    assert np.isnan(shifted).sum() == 11
    assert interval(Value(0.5), np.full(5, 0.5), float("nan"))[:2] == (None, None)


def test_no_images_give_no_figure():
    assert all(np.isnan(values).all() for values in replicate_ranking(np.ones((2, 0)), {}, [1], [0]).values())


def test_a_rate_that_can_be_negative_keeps_an_interval_below_zero():
    """A score that is worse than none: its prediction rejection ratio is negative, and so are both ends."""
    protocol = Misclassification()
    tally, rows = Tally(2), {}
    for index, (score, truth) in enumerate(images(6)):
        keyed = key_pixels(-score, truth, 2)
        tally.add(keyed)
        rows[f"image{index}"] = keyed.bins()
    figures, replicates = intervals(protocol, protocol.read(tally.counts(), rows), rows, 0, 200)
    prr, auroc = figures["prr"], figures["auroc"]
    assert prr.lo < prr.value < prr.hi < 0 < auroc.lo
    assert prr.lo == pytest.approx(2 * auroc.lo - 1, abs=1e-6)
    assert len(np.unique(replicates["prr"])) > 100
