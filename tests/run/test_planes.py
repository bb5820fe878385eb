"""Both planes count alike: the tally and the bins of equal scores are equal, bit for bit."""

import numpy as np
import pytest
import torch

from bench.counts.plane import HOST
from bench.counts.tally import Tally, key_pixels
from bench.ops import pixel_counts
from bench.run.device_plane import DEVICE, DevicePixels

SPECIAL = np.float32([-np.inf, -1e38, -1.5, -1e-40, -1e-45, -0.0, 0.0, 1e-45, 1e-40, 1.5, 1e38, np.inf])


def scores(dice, pixels):
    """Ties, constant maps, infinities, denormals, both zeros, scores that crowd below 1, every pattern of bits."""
    kind = dice.integers(7)
    if kind == 0:
        return dice.choice(SPECIAL, pixels)
    if kind == 1:
        return np.full(pixels, dice.choice(SPECIAL))
    if kind == 2:
        return dice.normal(size=pixels).round(1)
    if kind == 3:
        return 1 - dice.random(pixels) * 10.0 ** dice.integers(-9, 0)
    if kind == 4:
        return dice.integers(0, 2**32, pixels, dtype=np.uint32).view(np.float32)
    return dice.normal(size=pixels) * 10 - 5 if kind == 5 else dice.random(pixels)


def maps(dice, categories):
    pixels = int(dice.choice([0, 1, 7, 300, 3000]))
    score = np.asarray(scores(dice, pixels), np.float32)
    score = np.where(np.isnan(score), np.float32(0), score)
    truth = dice.integers(0, categories, pixels).astype(np.uint8)
    truth[dice.random(pixels) < dice.choice([0, 0.1, 1])] = 255
    return score[None], truth[None]


def on_device(score, truth, categories):
    keys = pixel_counts.order_keys(torch.from_numpy(score))
    return DevicePixels(keys, torch.from_numpy(truth.reshape(-1)), categories, lambda: None)


def same(first, second):
    assert list(first) == list(second)
    for name, array in first.items():
        assert (array.dtype, array.shape) == (second[name].dtype, second[name].shape)
        assert np.array_equal(array, second[name]), name


def check(seed, patch):
    """One random set of images, whole on the host, and cut into shards on either plane."""
    dice = np.random.default_rng(seed)
    # Tables as wide as the program makes them take most of the time, and count as narrower ones and sorts do.
    patch.setattr(pixel_counts, "LARGEST", int(dice.choice([0, 1 << 18, 1 << 25], p=[0.3, 0.65, 0.05])))
    categories = int(dice.choice([1, 2, 3, 5, 38, 64]))
    images = [maps(dice, categories) for _ in range(dice.integers(1, 5))]
    budget = int(dice.choice([0, 1000, 5000, 2**20]))
    whole = Tally(categories, budget)
    bins = HOST.count([key_pixels(*image, categories) for image in images], whole)
    shards = dice.integers(1, 4, len(images))
    merged = Tally(categories, budget)
    for shard in dice.permutation(4):
        members = [index for index, owner in enumerate(shards) if owner == shard]
        part = Tally(categories, budget)
        if members and dice.integers(4):
            rows = DEVICE.count([on_device(*images[index], categories) for index in members], part)
            for index, row in zip(members, rows, strict=True):
                same(bins[index], row)
        elif members:
            HOST.count([key_pixels(*images[index], categories) for index in members], part)
        merged.merge(part)
    same(whole.arrays(), merged.arrays())
    assert (whole.pixels, whole.exact) == (merged.pixels, merged.exact)


def test_both_planes_count_random_maps_alike(monkeypatch):
    for seed in range(100):
        check(seed, monkeypatch)


@pytest.mark.slow
def test_both_planes_count_ten_thousand_random_maps_alike(monkeypatch):
    for seed in range(100, 10_100):
        check(seed, monkeypatch)


def test_keys_of_the_device_are_those_of_the_host():
    from bench.counts.keys import order_key

    patterns = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32)
    score = np.concatenate([SPECIAL, patterns.view(np.float32)])
    keys = pixel_counts.order_keys(torch.from_numpy(score)).numpy().view(np.uint32) ^ np.uint32(1 << 31)
    finite = ~np.isnan(score)
    assert np.array_equal(keys[finite], order_key(score[finite]))


def test_a_wide_table_and_a_sort_count_alike(monkeypatch):
    dice = np.random.default_rng(5)
    images = [on_device(*maps(dice, 5), 5) for _ in range(3)]
    counted = []
    for largest in (1 << 25, 0):
        monkeypatch.setattr(pixel_counts, "LARGEST", largest)
        images[0].made.clear()
        tally = Tally(5, 0)
        rows = DEVICE.count(images, tally)
        counted.append((tally.arrays(), *rows))
    for one, other in zip(*counted, strict=True):
        same(one, other)


def test_protocols_that_count_the_same_images_share_what_was_made(monkeypatch):
    images = [on_device(*maps(np.random.default_rng(8), 2), 2) for _ in range(2)]
    tallies = [Tally(2, 1 << 20), Tally(2, 1 << 20)]
    DEVICE.count(images, tallies[0])
    monkeypatch.setattr(pixel_counts, "census", None)
    DEVICE.count(images, tallies[1])
    same(tallies[0].arrays(), tallies[1].arrays())


def test_a_category_that_the_protocol_refuses_is_its_own_complaint():
    def refuse():
        raise ValueError("a class without a name")

    keys = pixel_counts.order_keys(torch.zeros(3))
    image = DevicePixels(keys, torch.tensor([0, 1, 254], dtype=torch.uint8), 2, refuse)
    with pytest.raises(ValueError, match="a class without a name"):
        DEVICE.count([image], Tally(2))
