"""Average precision of instances: the official figures, a worked example, and what must not change them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.core.values import Undefined, Value
from bench.metrics import instances

OFFICIAL = json.loads((Path(__file__).parents[1] / "fixtures" / "oodis" / "official.json").read_text())

SIZE = (48, 80)


def ellipse(rng, size=SIZE, radius=(1, 14)):
    rows, columns = np.ogrid[: size[0], : size[1]]
    centre = rng.randint(0, size[0]), rng.randint(0, size[1])
    radii = rng.randint(*radius), rng.randint(*radius)
    return ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 <= 1


def case(seed):
    """Return for each of a few images the truth, int32 (0 none, -1 ignored), masks and their scores."""
    rng = np.random.RandomState(seed)
    images = []
    for _ in range(rng.randint(1, 5)):
        truth = np.zeros(SIZE, np.int32)
        if rng.rand() < 0.7:
            truth[ellipse(rng, radius=(2, 25))] = -1
        shapes = [ellipse(rng) for _ in range(rng.randint(0, 6))]
        for number, shape in enumerate(shapes, 1):
            truth[shape] = number
        masks = []
        for number in range(1, len(shapes) + 1):
            for _ in range(rng.randint(0, 3)):
                mask = np.roll(truth == number, rng.randint(-2, 3, 2), (0, 1))
                masks.append(mask & (rng.rand(*SIZE) < rng.choice([0.6, 0.9, 1.0])))
        masks += [ellipse(rng) for _ in range(rng.randint(0, 4))]
        if rng.rand() < 0.3:
            masks.append(np.zeros(SIZE, bool))
        images.append((truth, masks, np.round(rng.rand(len(masks)), rng.randint(1, 4))))
    return images


def rows_of(images):
    return [instances.row_of(truth, masks, np.asarray(scores)) for truth, masks, scores in images]


@pytest.mark.parametrize("seed", OFFICIAL)
def test_figures_are_those_of_the_official_evaluation(seed):
    figures = instances.read(rows_of(case(int(seed))))
    for name, official in OFFICIAL[seed].items():
        if official is None:
            assert isinstance(figures[name], Undefined)
        else:
            assert figures[name].value == pytest.approx(official, abs=1e-12)


def test_a_worked_example():
    """Two objects of 20 pixels, found with IoU 1 (score 0.9) and 0.6 (0.5), and an alarm (0.7) between them.

    AP50: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1; trapezoids 1/2 and (1/2 + 2/3) / 2 * 1/2 = 7/24: 19/24. From the
    overlap 0.6 on, which 12 / 20 does not exceed, the second is missed and its prediction an alarm: 1/2 each.
    """
    truth = np.zeros((10, 20), np.int32)
    truth[0:4, 0:5], truth[6:10, 0:5] = 1, 2
    alarm, whole, part = (np.zeros(truth.shape, bool) for _ in range(3))
    whole[0:4, 0:5] = part[6:10, 0:3] = alarm[0:4, 10:15] = True
    figures = instances.read([instances.row_of(truth, [whole, part, alarm], np.array([0.9, 0.5, 0.7]))])
    assert figures["ap50"].value == pytest.approx(19 / 24)
    assert figures["ap"].value == pytest.approx((2 * 19 / 24 + 8 * 1 / 2) / 10)


def test_what_meets_an_object_of_nine_pixels_is_neither_hit_nor_alarm():
    truth = np.zeros((10, 20), np.int32)
    truth[0:3, 0:3], truth[5:9, 5:9] = 1, 2
    small, large = truth == 1, truth == 2
    figures = instances.read([instances.row_of(truth, [small, large], np.array([0.9, 0.1]))])
    assert figures["ap"] == Value(1.0)


def test_a_map_of_numbers_says_what_its_masks_say():
    rng = np.random.RandomState(0)
    truth = instances.of_mask((rng.rand(40, 60) > 0.8).astype(np.uint8))
    numbers, scores = instances.predicted(rng.rand(40, 60).astype(np.float32), 0.7, 4)
    masks = [numbers == number for number in range(1, scores.size + 1)]
    by_map, by_masks = instances.row_of(truth, numbers, scores), instances.row_of(truth, masks, scores)
    assert by_map.keys() == by_masks.keys() and all((by_map[name] == by_masks[name]).all() for name in by_map)


def test_the_predictions_with_the_largest_scores_are_kept():
    score = np.zeros((6, 30), np.float32)
    for number in range(5):
        score[1:5, 6 * number : 6 * number + 4] = number + 1
    numbers, scores = instances.predicted(score, 0.5, least=10, most=2)
    assert scores.tolist() == [4, 5] and sorted(np.unique(numbers)) == [0, 1, 2]
    assert instances.predicted(score, 0.5, least=17)[1].size == 0


def test_a_resample_is_the_figure_of_the_images_that_it_draws():
    images = [image for seed in (11, 21, 37, 52) for image in case(seed)]
    rows, rng = rows_of(images), np.random.RandomState(1)
    weights = np.array([np.bincount(rng.randint(0, len(rows), len(rows)), minlength=len(rows)) for _ in range(8)])
    made = instances.figures(rows, weights.astype(np.float64))
    for number, weight in enumerate(weights):
        drawn = [row for row, times in zip(rows, weight, strict=True) for _ in range(times)]
        figures = instances.read(drawn)
        for name in ("ap", "ap50"):
            value = figures[name].value if isinstance(figures[name], Value) else np.nan
            assert made[name][number] == pytest.approx(value, abs=1e-12, nan_ok=True)


def test_order_changes_nothing():
    rows = rows_of([image for seed in (5, 17, 33) for image in case(seed)])
    forth, back = instances.read(rows), instances.read(rows[::-1])
    assert all(forth[name].value == pytest.approx(back[name].value, abs=1e-12) for name in forth)
