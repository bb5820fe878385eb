"""Reductions over the classes: the compiled pass and torch say the same, at any size, for any windows."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.api import Context, Prediction
from bench.ops import dense, fused
from bench.ops.tiles import Tiles


def logits(*shape, seed=0, scale=4.0):
    return torch.from_numpy((np.random.RandomState(seed).standard_normal(shape) * scale).astype(np.float32))


def predictions(outputs, size):
    """The same outputs, reduced by torch and by the compiled pass."""
    pair = []
    for compiled in (False, True):
        one = Prediction(outputs, size)
        one.context = Context(size, fused=compiled)
        pair.append(one)
    return pair


def assert_alike(torchs, fuseds, temperatures=(1.0,)):
    unit = 1e-6 * max(10.0, float(torchs.logits.abs().max()))  # a few units in the last place of the largest logit

    def close(name, *arguments, **tolerances):
        one, other = (getattr(prediction, name) for prediction in (torchs, fuseds))
        one, other = (value(*arguments) if arguments else value for value in (one, other))
        assert one.dtype == other.dtype and one.shape == other.shape == torch.Size(torchs.size)
        torch.testing.assert_close(other, one, **tolerances)

    close("max_logit", rtol=1e-5, atol=unit)
    close("top2_margin", rtol=1e-4, atol=unit)
    for temperature in temperatures:
        close("logsumexp", temperature, rtol=1e-5, atol=unit / temperature)
        close("other_mass", temperature, rtol=4 * unit / temperature + 1e-5, atol=1e-30)
        close("entropy", temperature, rtol=8 * unit / temperature + 1e-5, atol=1e-6)
    differing = torchs.argmax != fuseds.argmax
    assert (torchs.top2_margin[differing] < 2 * unit).all()


@settings(max_examples=60)
@given(
    st.integers(2, 21),
    st.tuples(st.integers(1, 9), st.integers(1, 13)),
    st.tuples(st.integers(1, 40), st.integers(1, 50)),
    st.floats(0.1, 30),
)
def test_one_map_of_any_size(classes, small, large, scale):
    outputs = {"logits": logits(classes, *small, scale=scale)}
    assert_alike(*predictions(outputs, large), temperatures=(1.0, 0.5, 3.0))


@pytest.mark.parametrize(
    ("size", "windows"),
    [
        ((16, 32), [(0, 0, 16, 16), (0, 12, 16, 28), (0, 16, 16, 32)]),  # the grid of 1024x2048, smaller
        ((21, 21), [(0, 0, 13, 13), (0, 8, 13, 21), (8, 0, 21, 13), (8, 8, 21, 21)]),  # up to four at a pixel
        ((10, 10), [(0, 0, 10, 5), (0, 5, 10, 10)]),  # none overlap
    ],
)
@pytest.mark.parametrize("share", [1, 4])
def test_windows_average_their_logits(size, windows, share):
    top, left, bottom, right = windows[0]
    small = -(-(bottom - top) // share), -(-(right - left) // share)
    parts = [{"logits": logits(5, *small, seed=seed)} for seed in range(len(windows))]
    torchs, fuseds = predictions(Tiles(windows, parts, size), size)
    assert_alike(torchs, fuseds)
    expected, seen = torch.zeros(5, *size), torch.zeros(size)
    for (top, left, bottom, right), part in zip(windows, parts, strict=True):
        expected[:, top:bottom, left:right] += dense.resize(part["logits"], (bottom - top, right - left))
        seen[top:bottom, left:right] += 1
    torch.testing.assert_close(fuseds.max_logit, (expected / seen).max(dim=0).values, rtol=1e-5, atol=1e-5)


def test_the_compiled_pass_never_makes_the_logits_of_windows():
    parts = [{"logits": logits(3, 2, 2)}, {"logits": logits(3, 2, 2, seed=1)}]
    tiles = Tiles([(0, 0, 4, 4), (0, 4, 4, 8)], parts, (4, 8))
    _, compiled = predictions(tiles, (4, 8))
    compiled.other_mass()
    assert tiles._made == {}


def test_windows_of_a_scaled_image_take_the_torch_path():
    """They average in the scaled image, which is resized then: not one interpolation."""
    tiles = Tiles(
        [(0, 0, 4, 4), (0, 4, 4, 8)], [{"logits": logits(3, 4, 4)}, {"logits": logits(3, 4, 4, seed=1)}], (4, 8)
    )
    torchs, fuseds = predictions(tiles, (8, 16))
    assert torch.equal(torchs.entropy(), fuseds.entropy())


def test_what_else_was_asked_for_changes_no_bit():
    outputs = {"logits": logits(19, 8, 16)}
    alone = {}
    for name, arguments in (("max_logit", ()), ("top2_margin", ()), ("other_mass", (1.0,)), ("entropy", (2.0,))):
        one = predictions(outputs, (32, 64))[1]
        alone[name] = getattr(one, name)(*arguments) if arguments else getattr(one, name)
    together = predictions(outputs, (32, 64))[1]
    together.context.asked.update(dict.fromkeys(["top", "margin", 1.0, 2.0]))
    for name, arguments in (("max_logit", ()), ("top2_margin", ()), ("other_mass", (1.0,)), ("entropy", (2.0,))):
        value = getattr(together, name)(*arguments) if arguments else getattr(together, name)
        assert torch.equal(value, alone[name]), name


def test_from_the_second_image_on_one_pass_makes_all_that_the_first_was_asked_for(monkeypatch):
    passes = []
    original = fused.reduce
    monkeypatch.setattr(fused, "reduce", lambda *given, **more: passes.append(given[3]) or original(*given, **more))
    asked = {}
    for _ in range(2):
        one = Prediction({"logits": logits(5, 2, 2)}, (8, 8))
        one.context = Context((8, 8), fused=True, asked=asked)
        for _ in range(2):
            one.labels, one.other_mass(), one.logsumexp(2.0), one.entropy()
    assert passes == [[], [1.0], [2.0], [1.0, 2.0]]


def test_a_confident_pixel_keeps_its_digits_in_the_compiled_pass():
    pixel = torch.tensor([0.0, 40.0, -60.0]).reshape(3, 1, 1)
    _, compiled = predictions({"logits": pixel}, (1, 1))
    assert compiled.other_mass().item() == pytest.approx(np.exp(-40), rel=1e-5)
    assert compiled.entropy().item() == pytest.approx(41 * np.exp(-40), rel=1e-5)
    _, surer = predictions({"logits": pixel * 100}, (1, 1))
    assert surer.other_mass().item() == surer.entropy().item() == 0.0


def test_the_exponential_is_good_to_two_units_in_the_last_place():
    depth = -np.concatenate([np.linspace(0, 87, 200_001), np.geomspace(1e-6, 1, 1000)]).astype(np.float32)
    maps = np.stack([np.zeros_like(depth), depth])[:, None]
    total = fused.reduce([maps], [(0, 0, *maps.shape[1:])], maps.shape[1:], [1.0], margin=False)[3][0, 0]
    assert np.max(np.abs(total / np.exp(depth.astype(np.float64)) - 1)) < 2.4e-7


def by_arrays(maps, windows, size, temperatures):
    """The compiled pass as whole arrays of float32, one operation after the other."""
    one, z, times = np.float32(1), np.zeros((len(maps[0]), *size), np.float32), np.zeros(size, np.float32)
    for part, (top, left, bottom, right) in zip(maps, windows, strict=True):
        ((y0, y1), wy), ((x0, x1), wx) = (
            fused._taps(small, large) for small, large in zip(part.shape[1:], (bottom - top, right - left), strict=True)
        )
        wide = (one - wx) * part[:, :, x0] + wx * part[:, :, x1]
        tall = (one - wy)[:, None] * wide[:, y0] + wy[:, None] * wide[:, y1]
        place = slice(top, bottom), slice(left, right)
        z[:, *place] = np.where(times[place] == 0, tall, z[:, *place] + tall)
        times[place] += one
    z /= times
    largest, who = z.max(axis=0), z.argmax(axis=0)
    others = np.where(np.arange(len(z))[:, None, None] == who, np.float32(-np.inf), z)
    arrays = [largest, who.astype(np.uint8), largest - others.max(axis=0)]
    for temperature in temperatures:
        total, weighted = np.zeros(size, np.float32), np.zeros(size, np.float32)
        for c in range(len(z)):
            d = (z[c] - largest) * np.float32(1 / temperature)
            n = np.floor(np.maximum(d * fused.LOG2E, fused.SMALLEST) + np.float32(0.5))
            r = (d - n * fused.LN2_HIGH) - n * fused.LN2_LOW
            e = np.float32(1 / 720) + r * np.float32(1 / 5040)
            for factorial in (120, 24, 6, 2, 1, 1):
                e = np.float32(1 / factorial) + r * e
            e = np.where((who == c) | (d * fused.LOG2E < fused.SMALLEST), np.float32(0), e * np.exp2(n))
            total, weighted = total + e, weighted + e * d
        arrays += [total, weighted]
    return arrays


@pytest.mark.parametrize("width", [255, 256, 257, 700])
@pytest.mark.parametrize("values", ["drawn", "whole numbers", "denormal"])
def test_the_tiles_of_the_compiled_pass_change_no_bit(width, values):
    small = (3, 5, max(width // 4, 1))
    draws = [logits(*small, seed=seed).numpy() for seed in range(3)]
    if values == "whole numbers":  # many of which tie
        draws = [np.round(part) for part in draws]
    if values == "denormal":
        draws = [part * np.float32(1e-41) for part in draws]
    wide = width + width // 2
    for maps, size, windows in (
        (draws[:1], (11, width), [(0, 0, 11, width)]),
        (draws, (11, wide), [(0, 0, 11, width), (0, width // 3, 11, width // 3 + width), (0, wide - width, 11, wide)]),
    ):
        largest, who, lead, total, weighted = fused.reduce(maps, windows, size, [1.0, 0.3], margin=True)
        arrays = [largest, who, lead, total[0], weighted[0], total[1], weighted[1]]
        for array, wanted in zip(arrays, by_arrays(maps, windows, size, [1.0, 0.3]), strict=True):
            np.testing.assert_array_equal(array, wanted)
        alone = fused.reduce(maps, windows, size, [0.3], margin=False)
        for array, wanted in zip(
            (*alone[:2], alone[3][0], alone[4][0]), (largest, who, total[1], weighted[1]), strict=True
        ):
            np.testing.assert_array_equal(array, wanted)


def test_ties_go_to_the_lowest_class():
    _, compiled = predictions({"logits": torch.zeros(4, 2, 2)}, (6, 6))
    assert compiled.argmax.unique().tolist() == [0] and compiled.top2_margin.abs().max() == 0
    assert compiled.other_mass().unique().tolist() == [0.75]


def test_a_prediction_made_by_hand_needs_no_compiler():
    code = (
        "import sys, torch; from bench.api import Prediction; "
        "Prediction({'logits': torch.zeros(3, 2, 2)}, (4, 4)).entropy(); print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
