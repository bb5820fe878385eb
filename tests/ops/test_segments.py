"""Segments and their figures: the source's own output, cases by hand, and a loop that is slow and obviously right."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.api import IGNORE, Context, Prediction
from bench.ops import segments
from bench.ops.tiles import Tiles

GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "meta_golden.json").read_text())
ROUND = range(-1, 2)


def case(given):
    """What one golden case hands in: probabilities [C, H, W], truth [H, W] and the components of its mask."""
    softmax = np.array(given["probs_CHW"], np.float32)
    ids = np.array(given["gt_train"])
    truth = np.select([ids == 255, ids == 2], [IGNORE, 1], 0).astype(np.uint8)
    return softmax, truth, segments.label(np.array(given["entropy_mask"], bool) & (truth != IGNORE))


@pytest.mark.parametrize("given", GOLDEN["cases"], ids=["4 classes", "19 classes", "2 classes"])
def test_the_source_finds_the_same_components_figures_and_overlaps(given):
    softmax, truth, components = case(given)
    at, classes = segments.of_volume(softmax), len(softmax)
    predicted = softmax.argmax(axis=0).astype(np.uint8)
    wanted, wanted_objects = given["pred_metrics"], given["gt_metrics"]
    assert np.array_equal(components, np.abs(given["pred_components_signed"]))
    assert np.array_equal(segments.label(truth == 1), np.abs(given["gt_components_signed"]))

    found = segments.features(components, predicted, at, classes)
    assert set(found) == set(wanted) - {"iou", "iou0", "prc"}
    for name, values in found.items():
        np.testing.assert_allclose(values, wanted[name], rtol=1e-5, atol=1e-6, err_msg=name)
    overlap = segments.targets(components, truth)
    assert overlap["iou"].tolist() == wanted["iou"]
    assert (overlap["I"] == 0).tolist() == [bool(one) for one in wanted["iou0"]]

    objects = segments.objects(truth, components, predicted, at, classes)
    assert objects["iou"].tolist() == wanted_objects["iou"]
    assert (objects["I"] == 0).tolist() == [bool(one) for one in wanted_objects["iou0"]]
    for name in set(wanted_objects) - {"iou0", "train_class", "label_class"}:
        np.testing.assert_allclose(objects[name], wanted_objects[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_threshold_gives_the_components_of_the_source():
    for one in GOLDEN["cases"]:
        softmax, truth, components = case(one)
        entropy = -(softmax * np.log(softmax + 1e-30)).sum(axis=0) / np.float32(np.log(len(softmax)))
        mask = (entropy >= np.float32(one["threshold"])) & (truth != IGNORE)
        assert np.array_equal(segments.label(mask), components)


def boxes(*corners, size=(7, 20)):
    mask = np.zeros(size, bool)
    for top, left, bottom, right in corners:
        mask[top:bottom, left:right] = True
    return mask


def overlaps(predictions, objects):
    components, truth = segments.label(boxes(*predictions)), boxes(*objects).astype(np.uint8)
    other = segments.targets(segments.label(truth == 1), (components > 0).astype(np.uint8))
    return segments.targets(components, truth)["iou"].tolist(), other["iou"].tolist()


@pytest.mark.parametrize(
    ("predictions", "objects", "wanted", "of_objects"),
    [
        ([(2, 2, 5, 6)], [(2, 4, 5, 10)], [6 / 24], [6 / 24]),
        ([(2, 2, 5, 5), (2, 12, 5, 15)], [(2, 2, 5, 15)], [9 / 30, 9 / 30], [18 / 39]),
        ([(2, 2, 5, 5)], [(2, 5, 5, 9)], [0], [0]),
        ([(2, 2, 5, 5), (0, 8, 7, 10)], [(2, 2, 5, 15)], [6 / 38, 0.5], [15 / 47]),
    ],
    ids=["beside", "two on one", "touching", "cut off behind another"],
)
def test_overlaps_worked_out_by_hand(predictions, objects, wanted, of_objects):
    assert overlaps(predictions, objects) == (wanted, of_objects)


def test_there_are_75_figures_in_the_order_of_their_codes():
    found = segments.names(19)
    assert len(found) == 75 and list(found) == sorted(found)
    assert found[:3] == ("D", "D_bd", "D_in") and found[-1] == "ndist9"
    assert found[found.index("cprob1") + 1] == "cprob10"


# The slow loop. Nothing of it is shared with the code: it walks pixels, and knows only what the definitions say.


def walked(mask):
    """Components as lists of pixels, in the order of their first pixel."""
    height, width = mask.shape
    seen, found = set(), []
    for start in np.ndindex(mask.shape):
        if not mask[start] or start in seen:
            continue
        todo, mine = [start], []
        seen.add(start)
        while todo:
            y, x = todo.pop()
            mine.append((y, x))
            for v, u in beside(y, x, height, width):
                if mask[v, u] and (v, u) not in seen:
                    seen.add((v, u))
                    todo.append((v, u))
        found.append(sorted(mine))
    return found


def beside(y, x, height, width):
    return [
        (y + i, x + j) for i in ROUND for j in ROUND if (i, j) != (0, 0) and 0 <= y + i < height and 0 <= x + j < width
    ]


def slow_features(mask, pixels, softmax):
    classes, height, width = softmax.shape
    outside = {place: [q for q in beside(*place, height, width) if not mask[q]] for place in pixels}
    inner = [place for place in pixels if not outside[place]]
    edge = [place for place in pixels if outside[place]]
    ranked = np.sort(softmax.astype(float), axis=0)
    heats = {
        "E": -(softmax.astype(float) * np.log(softmax + 2.0**-23)).sum(axis=0) / np.log(classes),
        "D": 1 - ranked[-1] + ranked[-2],
        "V": 1 - ranked[-1],
    }
    relative, relative_in = len(pixels) / max(len(edge), 1), len(inner) / max(len(edge), 1)
    found = {"S": len(pixels), "S_in": len(inner), "S_bd": len(edge), "S_rel": relative, "S_rel_in": relative_in}
    found |= {"mean_x": np.mean([y for y, _ in pixels]), "mean_y": np.mean([x for _, x in pixels])}
    for name, heat in heats.items():
        for part, chosen in (("", pixels), ("_in", inner), ("_bd", edge)):
            values = [heat[place] for place in chosen] or [0.0]
            found |= {f"{name}{part}": np.mean(values), f"{name}_var{part}": np.var(values)}
        for kind in (name, f"{name}_var"):
            found |= {f"{kind}_rel": found[kind] * relative, f"{kind}_rel_in": found[f"{kind}_in"] * relative_in}
    pairs = [softmax[:, v, u].argmax() for place in pixels for v, u in outside[place]]
    for c in range(classes):
        found[f"cprob{c}"] = np.mean([softmax[c][place] for place in pixels])
        found[f"ndist{c}"] = pairs.count(c) / max(len(pairs), 1)
    return found


def slow_overlap(mask, pixels, truth):
    height, width = truth.shape
    around = {q for place in pixels for q in beside(*place, height, width)}
    shared = sum(truth[place] == 1 for place in pixels)
    inside = sum(truth[place] != IGNORE for place in pixels)
    reached = sum(len(piece) for piece in walked((truth == 1) & ~mask) if around & set(piece))
    return inside, shared, inside + (reached if shared else 0)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    share=st.floats(0, 1),
    classes=st.integers(2, 5),
)
def test_random_maps_against_a_slow_loop(seed, size, share, classes):
    random = np.random.RandomState(seed)
    mask = random.rand(*size) < share
    truth = random.choice([0, 1, 1, IGNORE], size).astype(np.uint8)
    logits = random.standard_normal((classes, *size)) * 3
    softmax = (np.exp(logits) / np.exp(logits).sum(axis=0)).astype(np.float32)
    predicted = softmax.argmax(axis=0).astype(np.uint8)

    components = segments.label(mask)
    slow = walked(mask)
    assert components.max(initial=0) == len(slow)
    for number, pixels in enumerate(slow, start=1):
        assert list(zip(*np.nonzero(components == number), strict=True)) == pixels

    found = segments.features(components, predicted, segments.of_volume(softmax), classes)
    overlap = segments.targets(components, truth)
    objects = segments.objects(truth, components, predicted, segments.of_volume(softmax), classes)
    for place, pixels in enumerate(slow):
        wanted = slow_features(mask, pixels, softmax)
        assert wanted.keys() == found.keys()
        for name, value in wanted.items():
            assert found[name][place] == pytest.approx(value, rel=1e-5, abs=1e-6), name
        assert tuple(overlap[name][place] for name in ("inside", "I", "U")) == slow_overlap(mask, pixels, truth)
    other = np.where(truth == IGNORE, IGNORE, mask).astype(np.uint8)
    for place, pixels in enumerate(walked(truth == 1)):
        wanted = slow_overlap(truth == 1, pixels, other)
        assert (objects["I"][place], objects["U"][place]) == wanted[1:]
        assert objects["rec"][place] == wanted[1] / len(pixels)
    assert segments.missed(truth, mask) == (len(walked(truth == 1)), int((objects["I"] == 0).sum()))


def uniform(size, classes=3):
    return np.full((classes, *size), 1 / classes, np.float32)


def test_an_empty_mask_has_no_segment_and_every_column():
    none = segments.label(np.zeros((4, 5), bool))
    truth = np.ones((4, 5), np.uint8)
    found = segments.features(none, np.zeros((4, 5), np.uint8), segments.of_volume(uniform((4, 5))), 3)
    assert list(found) == list(segments.names(3)) and all(values.shape == (0,) for values in found.values())
    assert all(values.shape == (0,) for values in segments.targets(none, truth).values())
    objects = segments.objects(truth, none, np.zeros((4, 5), np.uint8), segments.of_volume(uniform((4, 5))), 3)
    assert objects["I"].tolist() == [0] and objects["iou"].tolist() == [0]
    assert segments.missed(truth, none > 0) == (1, 1)


def test_a_segment_as_large_as_the_image_has_no_boundary_and_finite_figures():
    whole = segments.label(np.ones((4, 5), bool))
    found = segments.features(whole, np.zeros((4, 5), np.uint8), segments.of_volume(uniform((4, 5))), 3)
    assert {name: found[name].item() for name in ("S", "S_in", "S_bd", "S_rel", "S_rel_in")} == {
        "S": 20, "S_in": 20, "S_bd": 0, "S_rel": 20, "S_rel_in": 20,
    }  # fmt: skip
    assert found["E"].item() == pytest.approx(1, abs=1e-6) and found["E_bd"].item() == 0
    assert all(np.isfinite(values).all() for values in found.values())
    assert all(found[f"ndist{c}"].item() == 0 for c in range(3))


def test_more_segments_than_16_bits_can_count():
    mask = np.zeros((400, 400), bool)
    mask[::2, ::2] = True
    truth = np.zeros((400, 400), np.uint8)
    truth[398, 398] = 1
    components = segments.label(mask)
    found = segments.features(components, np.zeros((400, 400), np.uint8), segments.of_volume(uniform((400, 400))), 3)
    overlap = segments.targets(components, truth)
    assert components.max() == 40000 and (found["S"] == 1).all()
    assert np.flatnonzero(overlap["I"]).tolist() == [39999] and overlap["iou"][-1] == 1
    assert (found["mean_x"][-1], found["mean_y"][-1]) == (398, 398)


def test_a_segment_that_is_ignored_as_a_whole_is_neither_right_nor_wrong():
    mask, truth = boxes((0, 0, 2, 3), (4, 0, 6, 3)), np.zeros((7, 20), np.uint8)
    truth[:3] = IGNORE
    truth[4, 0] = 1
    overlap = segments.targets(segments.label(mask), truth)
    assert overlap["inside"].tolist() == [0, 6]
    assert np.isnan(overlap["iou"][0]) and overlap["iou"][1] == 1 / 6


def test_probabilities_under_the_mask_are_asked_for_in_blocks():
    """Of a whole image at once no more than ``BLOCK`` pixels are held: memory is bounded by the image, not by C."""
    size = (200, 400)
    softmax = uniform(size)
    asked = []

    def at(index):
        asked.append(index.size)
        return segments.of_volume(softmax)(index)

    segments.features(segments.label(np.ones(size, bool)), np.zeros(size, np.uint8), at, 3)
    assert max(asked) <= segments.BLOCK and sum(asked) == 200 * 400


@pytest.mark.parametrize("layout", ["whole", "windows"])
def test_softmax_under_a_segment_without_the_volume(layout):
    """The compiled pass from low-resolution logits against the softmax of the upsampled volume."""
    draw = torch.Generator().manual_seed(3)
    size, index = (24, 40), torch.tensor([0, 39, 40, 517, 958, 959])
    if layout == "whole":
        outputs = {"logits": torch.randn(19, 6, 10, generator=draw) * 4}
    else:
        parts = [{"logits": torch.randn(19, 6, 6, generator=draw) * 4} for _ in range(2)]
        outputs = Tiles([(0, 0, 24, 24), (0, 16, 24, 40)], parts, size)
    slow, quick = Prediction(outputs, size), Prediction(outputs, size)
    quick.context = Context(size, fused=True)
    assert slow.classes == quick.classes == 19
    wanted = slow.logits.softmax(dim=0).flatten(1)[:, index].T
    assert torch.equal(slow.softmax_at(index), slow.logits.flatten(1)[:, index].softmax(dim=0).T)
    torch.testing.assert_close(quick.softmax_at(index), wanted, rtol=1e-5, atol=1e-7)
    assert "logits" not in quick._made, "the volume was made after all"
