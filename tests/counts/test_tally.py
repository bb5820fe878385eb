"""Counting pixels: keys keep the order of scores, and no way of adding up changes the sum."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.counts import bins, counting, runs, sorting, tally
from bench.counts.keys import key_value, order_key
from bench.counts.tally import Counts, Tally, key_pixels

FLOATS = st.floats(width=32, allow_nan=False)
SPECIAL = np.float32([-np.inf, -1e38, -1.5, -1e-45, -0.0, 0.0, 1e-45, 1.5, 1e38, np.inf])


def maps(seed, images, size=40, categories=2, levels=7):
    """Score and category maps with many ties, signed zeros, infinities and ignored pixels."""
    generator = np.random.default_rng(seed)
    values = np.concatenate([SPECIAL, generator.normal(size=levels).astype(np.float32)])
    return [
        (generator.choice(values, (size, 3)), generator.choice([*range(categories), 255], (size, 3)).astype(np.uint8))
        for _ in range(images)
    ]


def tallied(pairs, categories=2, **options):
    whole = Tally(categories, **options)
    for score, truth in pairs:
        whole.add(key_pixels(score, truth, categories))
    return whole


def same(left, right):
    first, second = left.arrays(), right.arrays()
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype and np.array_equal(first[name], second[name]) for name in first
    )


@pytest.fixture(params=["compiled", "numpy"])
def path(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(counting, "kernels", None)
    elif counting.kernels is None:
        pytest.skip("numba is not installed")


@given(FLOATS, FLOATS)
def test_keys_order_as_scores_do(a, b):
    left, right = order_key(np.float32([a])), order_key(np.float32([b]))
    assert (left < right) == (a < b)
    assert (left == right) == (a == b)


@given(FLOATS)
def test_a_key_gives_its_score_back(value):
    assert key_value(order_key(np.float32([value])))[0] == np.float32(value)


def test_both_zeros_are_one_score(path):
    counted = tallied([(np.float32([[0.0, -0.0]]), np.uint8([[0, 0]]))]).counts()
    assert counted.keys.tolist() == [0x80000000]
    assert counted.table.tolist() == [[2, 0]]


def test_six_pixels_by_hand(path):
    # scores 1, 1, 2, -inf, 5, 5; the fourth is ignored, the second and the last are of category 1
    score = np.float32([[1, 1, 2], [-np.inf, 5, 5]])
    counted = tallied([(score, np.uint8([[0, 1, 0], [255, 0, 1]]))])
    assert counted.pixels == 5
    assert key_value(counted.counts().keys).tolist() == [1, 2, 5]
    assert counted.counts().table.tolist() == [[1, 1], [1, 0], [1, 1]]


@pytest.mark.parametrize("budget", [2**30, 0])
def test_both_paths_count_alike(monkeypatch, budget):
    pairs = maps(1, 9, size=400, categories=5)
    compiled = tallied(pairs, 5, budget=budget)
    bins = [key_pixels(*pair, 5).bins() for pair in pairs]
    monkeypatch.setattr(counting, "kernels", None)
    assert same(compiled, tallied(pairs, 5, budget=budget))
    for pair, row in zip(pairs, bins, strict=True):
        again = key_pixels(*pair, 5).bins()
        assert all(np.array_equal(row[name], again[name]) for name in ("bins", "bin_counts", "bin_bits"))


@pytest.mark.parametrize("length", [1, 5, 16, 40, 1000])
@pytest.mark.parametrize("categories", [2, 9])
def test_neighbours_of_one_category_are_split_as_each_on_its_own(length, categories):
    generator = np.random.default_rng(length)
    owners = np.repeat(generator.choice([*range(categories), 255], 5000 // length + 1), length).astype(np.uint8)[:4999]
    score = generator.normal(size=owners.size).astype(np.float32)
    pixels = key_pixels(score[None], owners[None], categories)
    keys = order_key(score)
    assert list(pixels.totals) == [np.sum(owners == category) for category in range(categories)]
    assert pixels.pixels == np.sum(owners != 255)
    for category, split in enumerate(pixels.split()):
        assert np.array_equal(split, keys[owners == category])


@pytest.mark.parametrize("span", [99, 1_000_000])  # near one another, and many between two of them
def test_ranks_are_the_same_on_both_paths(monkeypatch, span):
    generator = np.random.default_rng(0)
    keys = np.unique(generator.integers(0, span, 50).astype(np.uint32))
    among = np.sort(generator.integers(0, span, 80 if span == 99 else 5000).astype(np.uint32))
    compiled = counting.ranks_among(keys, among)
    monkeypatch.setattr(counting, "kernels", None)
    assert np.array_equal(compiled, counting.ranks_among(keys, among))


@pytest.mark.parametrize("spread", [1, 3, 1 << 10, 1 << 16, 1 << 22, 1 << 32])
def test_keys_are_sorted_by_their_digits_as_numpy_sorts_them(spread):
    """Few, many and very many keys share their leading 16 bits; some occur often, and one part cannot be written."""
    generator = np.random.default_rng(spread)
    first = np.uint32(0x80000000) if spread < 1 << 32 else np.uint32(0)
    keys = generator.integers(0, spread, 150_000).astype(np.uint32) + first
    keys.flags.writeable = False
    parts = [keys[:7].copy(), keys[7:90_000].copy(), keys[90_000:90_000], keys[90_000:]]
    assert np.array_equal(sorting.merged(parts), np.sort(np.concatenate(parts)))


@settings(max_examples=60)
@given(st.data(), st.integers(0, 99), st.sampled_from([0, 300, 1000, 2000, 2**30]), st.integers(1, 4))
def test_order_batches_and_shards_cannot_change_it(data, seed, budget, shards):
    pairs = maps(seed, 6)
    whole = tallied(pairs, budget=budget)
    order = data.draw(st.permutations(range(6)))
    owners = data.draw(st.lists(st.integers(0, shards - 1), min_size=6, max_size=6))
    parts = [tallied([pairs[i] for i in order if owners[i] == shard], budget=budget) for shard in range(shards)]
    merged = Tally(2, budget)
    for part in data.draw(st.permutations(parts)):
        merged.merge(part)
    assert same(whole, merged)
    assert (whole.exact, whole.pixels) == (merged.exact, merged.pixels)
    joined = tallied(
        [(np.concatenate([score for score, _ in pairs]), np.concatenate([truth for _, truth in pairs]))], budget=budget
    )
    assert same(whole, joined)


def test_a_batch_of_pixels_is_its_parts():
    score, truth = maps(3, 1, size=64)[0]
    parts = [(score[start : start + 8], truth[start : start + 8]) for start in range(0, 64, 8)]
    assert same(tallied([(score, truth)], budget=100), tallied(parts, budget=100))


def test_it_folds_exactly_beyond_its_budget():
    truth, score = np.zeros((1, 10), np.uint8), np.ones((1, 10), np.float32)
    assert tallied([(score, truth)], budget=40).exact
    assert not tallied([(score, truth)], budget=39).exact
    truth[0, 0] = 255  # an ignored pixel takes no room
    assert tallied([(score, truth)], budget=36).exact


def test_folding_is_cutting_the_keys():
    pairs = maps(5, 4)
    exact, folded = tallied(pairs), tallied(pairs, budget=0)
    assert (exact.bits, folded.bits) == (32, 24)
    before = exact.folded_arrays()
    assert exact.exact
    assert np.array_equal(before["keys"], folded.arrays()["keys"])
    assert np.array_equal(before["counts"], folded.arrays()["counts"])
    keys = exact.counts().keys >> np.uint32(8)
    assert np.array_equal(np.unique(keys), folded.counts().keys)
    assert np.array_equal(exact.counts().table.sum(0), folded.counts().table.sum(0))
    exact.fold()
    assert np.array_equal(exact.arrays()["counts"], folded.arrays()["counts"])


@pytest.mark.parametrize("budget", [0, 2**30])
def test_a_file_gives_the_same_state_back(tmp_path, budget):
    whole = tallied(maps(2, 5, categories=3), 3, budget=budget)
    np.savez(tmp_path / "tally.npz", **whole.arrays())
    with np.load(tmp_path / "tally.npz", allow_pickle=False) as file:
        again = Tally.from_arrays(dict(file))
    assert same(whole, again)
    more = maps(8, 1, categories=3)[0]
    for one in (whole, again):
        one.add(key_pixels(*more, 3))
    assert same(whole, again)


@pytest.mark.parametrize("budget", [0, 2**30])
def test_counts_are_read_off_a_file_without_a_tally(budget):
    whole = tallied(maps(2, 5, categories=3), 3, budget=budget)
    found, wanted = Counts.from_arrays(whole.arrays()), whole.counts()
    assert found.bits == wanted.bits and len(found.columns) == 3
    assert np.array_equal(found.keys, wanted.keys) and np.array_equal(found.table, wanted.table)
    assert found.table.dtype == np.int64


@pytest.mark.parametrize("room", [None, 1 << 12])  # bytes of keys in memory; beyond, they wait in a file
@pytest.mark.parametrize("budget", [0, 2**30])
def test_a_part_may_be_stored_in_the_order_it_was_counted_in(monkeypatch, budget, room):
    if room is not None:
        monkeypatch.setattr(runs, "SPILL", room)
    parts = [tallied(maps(seed, 3, categories=3), 3, budget=budget) for seed in (2, 3)]
    stored = [part.arrays(ascending=False) for part in parts]
    assert budget == 0 or any((np.diff(state["keys"].astype(np.int64)) < 0).sum() > 2 for state in stored)
    whole = Tally(3, budget)
    for state in stored:
        whole.merge(Tally.from_arrays(state))
    assert same(whole, tallied(maps(2, 3, categories=3) + maps(3, 3, categories=3), 3, budget=budget))
    empty = Tally(3, budget).arrays(ascending=False)
    assert same(Tally.from_arrays(empty), Tally(3, budget))


def test_an_empty_tally_can_be_stored_and_merged():
    empty = Tally.from_arrays(Tally(2).arrays())
    assert empty.pixels == 0
    assert empty.counts().keys.size == 0
    whole = tallied(maps(0, 2))
    empty.merge(whole)
    assert same(empty, whole)


def test_merging_leaves_the_other_alone():
    left, right = tallied(maps(0, 2)), tallied(maps(1, 2))
    before = right.arrays()
    left.merge(right)
    left.add(key_pixels(*maps(2, 1)[0], 2))
    left.counts()
    assert all(np.array_equal(before[name], values) for name, values in right.arrays().items())


@pytest.mark.parametrize("room", [0, 200, 1000])
def test_keys_beyond_their_room_wait_in_a_file(monkeypatch, room):
    pairs, more = maps(6, 5), maps(7, 2)
    whole, later = tallied(pairs), tallied([*pairs, *more])
    monkeypatch.setattr(runs, "SPILL", room)
    monkeypatch.setattr(runs, "PIECE", 13)
    spilled = tallied(pairs)
    assert spilled._runs._file is not None
    merged = Tally(2)
    merged.merge(spilled)
    folded = spilled.folded_arrays()
    assert same(whole, merged)
    assert same(whole, spilled)
    for pair in more:
        spilled.add(key_pixels(*pair, 2))
    assert same(later, spilled)
    assert all(np.array_equal(values, folded[name]) for name, values in whole.folded_arrays().items())
    spilled.fold()
    later.fold()
    assert same(later, spilled)


def test_where_no_file_can_be_written_keys_stay_in_memory(monkeypatch):
    def full(**_):
        raise OSError(28, "No space left on device")

    pairs = maps(6, 5)
    whole = tallied(pairs)
    monkeypatch.setattr(runs, "SPILL", 100)
    monkeypatch.setattr(runs.tempfile, "TemporaryFile", full)
    assert same(whole, tallied(pairs))


def test_counts_beyond_32_bits_do_not_wrap(monkeypatch):
    monkeypatch.setattr(tally, "WIDEST", 100)
    small, large = tallied(maps(0, 1), budget=0), tallied(maps(0, 4), budget=0)
    assert small._pool.dtype == np.uint32
    assert large._pool.dtype == np.uint64
    reference = tallied(maps(0, 4))
    assert np.array_equal(large.counts().table.sum(0), reference.counts().table.sum(0))
    small.merge(large)
    assert small._pool.dtype == np.uint64


def test_sixty_four_categories_fit_in_little_memory():
    score, truth = np.random.default_rng(0).normal(size=(256, 512)).astype(np.float32), np.zeros((256, 512), np.uint8)
    truth[:] = np.arange(512) % 64
    counted = tallied([(score, truth)], 64, budget=0)
    assert counted._pool.nbytes < 2**29
    assert counted.counts().columns[63].total == 256 * 8


@given(arrays(np.float32, 30, elements=FLOATS), arrays(np.uint8, 30, elements=st.sampled_from([0, 1, 255])))
def test_bins_are_the_leading_bits(score, truth):
    row = key_pixels(score, truth, 2).bins()
    bits = int(row["bin_bits"])
    keys = order_key(score) >> np.uint32(32 - bits) << np.uint32(32 - bits)
    assert bits in (16, 24) and (row["bins"].dtype, row["bin_counts"].dtype) == (np.uint32, np.uint32)
    assert row["bins"].tolist() == sorted(set(keys[truth != 255].tolist()))
    for key, counts in zip(row["bins"], row["bin_counts"], strict=True):
        assert counts.tolist() == [((keys == key) & (truth == category)).sum() for category in (0, 1)]


def test_scores_that_crowd_get_more_bits_and_fold_to_those_of_their_neighbours():
    generator = np.random.default_rng(0)
    wide = generator.normal(size=(40, 50)).astype(np.float32)
    narrow = (1 - 1e-3 * generator.random((40, 50))).astype(np.float32)
    truth = np.zeros((40, 50), np.uint8)
    rows = {"wide": key_pixels(wide, truth, 1).bins(), "narrow": key_pixels(narrow, truth, 1).bins()}
    assert (int(rows["wide"]["bin_bits"]), int(rows["narrow"]["bin_bits"])) == (16, 24)
    bits, folded = bins.common_bins(rows)
    assert bits == 16
    for score, (keys, counts) in zip((wide, narrow), folded, strict=True):
        expected, times = np.unique(order_key(score) >> np.uint32(16), return_counts=True)
        assert (keys >> np.uint32(16)).tolist() == expected.tolist()
        assert counts[:, 0].tolist() == times.tolist()
    assert bins.common_bins({"narrow": rows["narrow"]})[0] == 24


@given(FLOATS)
def test_a_folded_key_says_between_which_scores_it_lies(value):
    counted = tallied([(np.float32([[value]]), np.uint8([[0]]))], budget=0).counts()
    low, high = counted.lowest(counted.keys)[0], counted.highest(counted.keys)[0]
    assert low <= np.float32(value) <= high
    assert not np.isnan([low, high]).any()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="a pixel of category 2; there are 2"):
        key_pixels(np.zeros((1, 2), np.float32), np.uint8([[0, 2]]), 2)
    with pytest.raises(ValueError, match="a pixel of category 9; there are 8"):
        key_pixels(np.zeros((1, 2), np.float32), np.uint8([[9, 255]]), 8)
    with pytest.raises(ValueError, match="wanted float32 or float64, and uint8"):
        key_pixels(np.zeros((1, 2), int), np.uint8([[0, 1]]), 2)
    with pytest.raises(ValueError, match="of different categories or budgets"):
        Tally(2).merge(Tally(3))
    with pytest.raises(ValueError, match="wanted 1 to 64"):
        Tally(65)


def test_strided_maps_are_counted_as_they_look():
    score, truth = maps(4, 1, size=50)[0]
    assert same(tallied([(score.T, truth.T)]), tallied([(np.array(score.T), np.array(truth.T))]))


def test_reading_metrics_imports_neither_numba_nor_torch():
    code = (
        "import sys; from bench.suite import registry; registry.available('protocol'); "
        "print(*{'torch', 'numba', 'sklearn', 'scipy.stats'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_compiled_code_has_a_place_where_nothing_is_writable(monkeypatch, tmp_path):
    compiled = pytest.importorskip("bench.core.compiled")
    monkeypatch.setattr(compiled.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(compiled.os, "access", lambda *_: True)
    assert compiled._cache_folder() is None
    monkeypatch.setattr(compiled.os, "access", lambda *_: False)
    folder = compiled._cache_folder()
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o077 == 0
