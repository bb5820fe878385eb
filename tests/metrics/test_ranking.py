"""AUROC, AP, FPR95 and F1: by hand, by brute force, by scikit-learn, and bounded when keys are cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.api import Undefined, Value
from bench.counts import counting
from bench.counts.tally import Tally, key_pixels
from bench.metrics.ranking import METRICS, RESAMPLED, binned_ranking, harmonic, ranking


def figures(score, truth, *, budget=2**30, positives=(1,), negatives=(0,), categories=2):
    whole = Tally(categories, budget)
    score, truth = np.asarray(score, np.float32), np.asarray(truth, np.uint8)
    whole.add(key_pixels(score.reshape(1, -1), truth.reshape(1, -1), categories))
    return ranking(whole.counts(), positives, negatives)


def values(score, truth, **options):
    return {name: figure.value for name, figure in figures(score, truth, **options).items()}


def brute(score, truth):
    """Every threshold, in plain Python."""
    pairs = [(float(s), int(t)) for s, t in zip(score, truth, strict=True) if t != 255]
    pos, neg = [s for s, t in pairs if t == 1], [s for s, t in pairs if t == 0]
    auroc = sum((p > n) + 0.5 * (p == n) for p in pos for n in neg) / len(pos) / len(neg)
    ap, fpr95, best, threshold, previous = 0.0, None, -1.0, None, 0.0
    for t in sorted({s for s, _ in pairs}, reverse=True):
        tp, fp = sum(p >= t for p in pos), sum(n >= t for n in neg)
        ap += (tp / len(pos) - previous) * tp / (tp + fp)
        previous = tp / len(pos)
        if fpr95 is None and 20 * tp >= 19 * len(pos):
            fpr95 = fp / len(neg)
        f1 = 2 * tp / (tp + fp + len(pos))
        if f1 > best:
            best, threshold = f1, t
    return {"auroc": auroc, "ap": ap, "fpr95": fpr95, "best_f1": best, "best_f1_threshold": threshold}


def random_case(seed, pixels=300, levels=20):
    generator = np.random.default_rng(seed)
    score = generator.choice(generator.normal(size=levels).astype(np.float32), pixels)
    truth = generator.choice([0, 0, 0, 1, 255], pixels).astype(np.uint8)
    truth[:2] = 0, 1
    return score, truth


def test_six_pixels_by_hand():
    # descending: 6 anomaly | 5 normal | 4 anomaly, normal (a tie) | 3 anomaly | 2 normal
    # pairs won: 6 beats 3; 4 beats one, ties one; 3 beats one: 3 + 1.5 + 1 = 5.5 of 9
    # AP: 1/3 * 1 + 1/3 * 2/4 + 1/3 * 3/5 = 0.7
    # TPR 0.95 needs all three: the threshold 3 lets 2 of 3 normal pixels through
    # F1: 2/4, 2/5, 4/7, 6/8, 6/9: best 0.75 at 3
    found = values([6, 5, 4, 4, 3, 2], [1, 0, 1, 0, 1, 0])
    assert found == pytest.approx(
        {"auroc": 5.5 / 9, "ap": 0.7, "fpr95": 2 / 3, "best_f1": 0.75, "best_f1_threshold": 3.0}, abs=1e-15
    )
    assert all(figure.err == 0 for figure in figures([6, 5, 4, 4, 3, 2], [1, 0, 1, 0, 1, 0]).values())


def test_the_order_of_the_figures_is_that_of_a_tables_columns():
    assert list(figures([1, 2], [0, 1])) == list(METRICS)


@pytest.mark.parametrize("seed", range(20))
def test_it_is_what_every_threshold_in_turn_gives(seed):
    score, truth = random_case(seed)
    assert values(score, truth) == pytest.approx(brute(score, truth), abs=1e-12)


@pytest.mark.parametrize("levels", [3, 30, 3000])
def test_it_agrees_with_scikit_learn(levels):
    sklearn = pytest.importorskip("sklearn.metrics")
    score, truth = random_case(levels, pixels=5000, levels=levels)
    valid = truth != 255
    found = values(score, truth)
    assert found["auroc"] == pytest.approx(sklearn.roc_auc_score(truth[valid], score[valid]), abs=1e-12)
    assert found["ap"] == pytest.approx(sklearn.average_precision_score(truth[valid], score[valid]), abs=1e-12)
    fpr, tpr, _ = sklearn.roc_curve(truth[valid], score[valid], drop_intermediate=False)
    assert found["fpr95"] == pytest.approx(fpr[np.argmax(tpr >= 0.95)], abs=1e-12)


def test_a_true_positive_rate_of_exactly_95_percent_is_enough():
    # 19 of 20 anomalies above the only normal pixel: 19 / 20 is 0.95, whatever floating point says of it
    assert values([*range(2, 21), 1, 0], [1] * 19 + [0, 1])["fpr95"] == 0
    for twenties in (1, 3, 7, 11, 1001):
        score = [2] * (19 * twenties) + [1] * 3 + [0] * twenties
        truth = [1] * (19 * twenties) + [0] * 3 + [1] * twenties
        assert values(score, truth)["fpr95"] == 0
        assert values(score, truth, budget=0)["fpr95"] == pytest.approx(0, abs=1e-11)
    # one anomaly fewer above it, and it is not
    assert values([*range(2, 20), 1, 0, 0], [1] * 18 + [0, 1, 1])["fpr95"] == 1


def test_pieces_of_any_size_give_the_same_figures(monkeypatch):
    from bench.metrics import ranking as module

    for seed in range(5):
        score, truth = random_case(seed, levels=50)
        whole = figures(score, truth)
        with monkeypatch.context() as patch:
            patch.setattr(module, "PIECE", 7)
            pieces = figures(score, truth)
        for name, figure in whole.items():
            assert pieces[name].value == pytest.approx(figure.value, abs=1e-14)


def test_ignored_pixels_change_nothing():
    score, truth = random_case(3)
    more = np.concatenate([score, np.float32([np.inf, -np.inf, 0])])
    assert values(score, truth) == values(more, [*truth, 255, 255, 255])


@given(st.integers(0, 50), st.sampled_from([np.exp, np.cbrt, lambda x: 3 * x - 7, lambda x: np.arctan(x)]))
@settings(max_examples=30)
def test_an_increasing_map_changes_nothing(seed, increasing):
    score, truth = random_case(seed)
    before, after = values(score, truth), values(increasing(score.astype(np.float64)), truth)
    assert all(before[name] == after[name] for name in RESAMPLED)
    assert after["best_f1_threshold"] == np.float32(increasing(np.float64(before["best_f1_threshold"])))


def test_infinities_rank_at_the_ends():
    assert values([np.inf, 1, 0, -np.inf], [1, 0, 1, 0])["auroc"] == 0.75
    assert figures([np.inf, 0], [1, 0])["best_f1_threshold"] == Undefined("the threshold is infinite")
    assert figures([np.inf, 0], [1, 0], budget=0)["best_f1_threshold"] == Undefined("the threshold is infinite")


@pytest.mark.parametrize("budget", [2**30, 0])
def test_one_kind_of_pixel_alone_has_no_value_and_says_so(budget):
    for truth, reason in [([0, 0], "positive"), ([1, 1], "negative"), ([255, 255], None)]:
        wanted = Undefined(f"no {reason} pixels" if reason else "no pixels")
        assert figures([1, 2], truth, budget=budget) == dict.fromkeys(METRICS, wanted)


def test_categories_can_be_joined_and_left_out():
    score, truth = random_case(1)
    split = truth.copy()
    split[(truth == 0) & (np.arange(truth.size) % 2 == 0)] = 2
    split[(truth == 1) & (np.arange(truth.size) % 3 == 0)] = 3
    split[truth == 255] = 4
    for budget in (2**30, 0):
        options = {"categories": 5, "positives": (1, 3), "negatives": (0, 2), "budget": budget}
        assert figures(score, split, **options) == figures(score, truth, budget=budget)


def test_the_threshold_predicts_what_the_best_f1_counted():
    score, truth = random_case(11, levels=200)
    for budget in (2**30, 0):
        found = figures(score, truth, budget=budget)
        predicted = (score >= np.float32(found["best_f1_threshold"].value)) & (truth != 255)
        hit = (predicted & (truth == 1)).sum()
        f1 = 2 * hit / (predicted.sum() + (truth == 1).sum())
        assert abs(found["best_f1"].value - f1) <= found["best_f1"].err
        assert budget == 0 or found["best_f1"].value == f1


def holds(certified, exact):
    return all(abs(certified[name].value - exact[name].value) <= certified[name].err for name in METRICS)


@settings(max_examples=150)
@given(
    arrays(np.float32, 60, elements=st.floats(1, 1.0078125, width=32)),
    arrays(np.uint8, 60, elements=st.sampled_from([0, 0, 0, 1, 255])),
)
def test_the_certified_interval_holds_the_exact_value(score, truth):
    truth[:2] = 0, 1
    assert holds(figures(score, truth, budget=0), figures(score, truth))


@pytest.mark.parametrize("seed", range(30))
def test_the_certified_interval_holds_however_keys_are_shared(seed):
    # all pixels within a few keys of 24 bits, in many patterns of ties and of positives among negatives
    generator = np.random.default_rng(seed)
    pixels, keys = int(generator.integers(2, 4000)), int(generator.integers(1, 9))
    low = np.float32(1).view(np.uint32) + generator.integers(0, keys, pixels) * 256
    score = (low + generator.integers(0, generator.integers(1, 257), pixels)).astype(np.uint32).view(np.float32)
    truth = (generator.random(pixels) < generator.choice([0.002, 0.1, 0.5, 0.98])).astype(np.uint8)
    truth[:2] = 0, 1
    assert holds(figures(score, truth, budget=0), figures(score, truth))


@pytest.mark.parametrize("worst", ["negatives first", "positives first"])
def test_the_bounds_are_met_where_a_key_is_in_its_worst_order(worst):
    low = np.float32(1).view(np.uint32)
    inside = np.arange(200)
    truth = (inside >= 100 if worst == "positives first" else inside < 100).astype(np.uint8)
    score = (low + inside).astype(np.uint32).view(np.float32)
    certified, exact = figures(score, truth, budget=0), figures(score, truth)
    assert holds(certified, exact)
    assert certified["auroc"].err == pytest.approx(0.5)
    assert abs(certified["auroc"].value - exact["auroc"].value) == pytest.approx(0.5)
    assert abs(certified["ap"].value - exact["ap"].value) == pytest.approx(certified["ap"].err)


def test_a_certified_value_is_close_where_scores_look_like_scores():
    generator = np.random.default_rng(0)
    truth = (generator.random(200_000) < 0.05).astype(np.uint8)
    score = (generator.normal(size=truth.size) + 1.5 * truth).astype(np.float32)
    certified, exact = figures(score, truth, budget=0), figures(score, truth)
    assert holds(certified, exact)
    for name in RESAMPLED:
        assert abs(certified[name].value - exact[name].value) < 2e-5
        assert certified[name].err < 2e-4


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0023, 0.057])
@pytest.mark.parametrize("shape", ["logit", "mass"])
def test_half_widths_stay_below_5e_5_on_thirty_frames(share, shape):
    generator = np.random.default_rng(1)
    exact, certified = Tally(2), Tally(2, 0)
    for _ in range(30):
        truth = (generator.random((1024, 2048)) < share).astype(np.uint8)
        margin = abs(generator.normal(6, 3, truth.shape) - 4 * truth + generator.normal())  # best logit over second
        score = (-margin if shape == "logit" else 1 / (1 + np.exp(margin))).astype(np.float32)
        for each in (exact, certified):
            each.add(key_pixels(score, truth, 2))
    found, truth_of = ranking(certified.counts(), [1], [0]), ranking(exact.counts(), [1], [0])
    assert holds(found, truth_of)
    assert all(found[name].err < 5e-5 for name in RESAMPLED), found


@given(st.floats(1, 1e12), st.integers(1, 10**7))
def test_harmonic_sums_are_digamma_differences(start, terms):
    special = pytest.importorskip("scipy.special")
    found = harmonic(np.array([start]), np.array([terms]))[0]
    if terms <= 2000:
        assert found == pytest.approx((1 / (start + np.arange(terms))).sum(), rel=1e-13)
    else:
        assert found == pytest.approx(special.digamma(start + terms) - special.digamma(start), rel=1e-9, abs=1e-13)


def test_many_resamples_at_once_are_each_alone():
    generator = np.random.default_rng(0)
    positives, negatives = generator.integers(0, 5, (2, 3, 4, 50)).astype(np.float64)
    positives[1, 2] = 0
    whole = binned_ranking(positives, negatives)
    assert all(values.shape == (3, 4) for values in whole.values())
    for place in np.ndindex(3, 4):
        alone = binned_ranking(positives[place], negatives[place])
        for name in whole:
            assert np.array_equal(whole[name][place], alone[name], equal_nan=True)
    assert all(np.isnan(values[1, 2]) for values in whole.values())


def test_resamples_are_the_same_without_numba(monkeypatch):
    generator = np.random.default_rng(3)
    sides = generator.integers(0, 3, (2, 40, 70)).astype(np.float64) * generator.integers(0, 2, (2, 40, 70))
    sides[0, 7] = 0
    compiled = binned_ranking(*sides)
    monkeypatch.setattr(counting, "kernels", None)
    for name, values in binned_ranking(*sides).items():
        assert np.array_equal(values, compiled[name], equal_nan=True), name


def test_bins_that_are_scores_give_the_exact_figures():
    score, truth = random_case(7)
    levels = np.unique(score)
    sides = [np.array([((score == level) & (truth == side)).sum() for level in levels], float) for side in (1, 0)]
    binned, exact = binned_ranking(*sides), figures(score, truth)
    for name in ("auroc", "ap", "best_f1"):
        assert binned[name] == pytest.approx(exact[name].value, abs=1e-12)
    assert binned["fpr95"] <= exact["fpr95"].value


def test_without_numba_the_figures_are_the_same(monkeypatch):
    score, truth = random_case(2, pixels=4000, levels=900)
    compiled = [figures(score, truth, budget=budget) for budget in (2**30, 0)]
    monkeypatch.setattr(counting, "kernels", None)
    assert compiled == [figures(score, truth, budget=budget) for budget in (2**30, 0)]
    assert all(isinstance(figure, Value) for figure in compiled[1].values())
