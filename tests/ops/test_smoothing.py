"""The two filters of score maps: worked out by hand, against plain loops, on maps of any size."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.ops import smoothing

WAYS = pytest.mark.parametrize("fused", [False, True], ids=["torch", "compiled"])
WEIGHTS = np.exp(-0.5 * np.arange(-3, 4) ** 2) / np.exp(-0.5 * np.arange(-3, 4) ** 2).sum()


def drawn(height, width, classes=4, seed=0):
    """Scores, and a class map of blocks."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.randint(classes, (-(-height // 9), -(-width // 9)), generator=g)
    labels = coarse.repeat_interleave(9, 0).repeat_interleave(9, 1)[:height, :width].byte().contiguous()
    return 5 * torch.randn(height, width, generator=g), labels


def plain_gaussian(score):
    """A sum over 49 taps; beyond the edges the map is mirrored without repeating the edge, as NumPy has it."""
    padded = np.pad(score, 3, mode="reflect")
    out = np.zeros(score.shape)
    for down in range(7):
        for right in range(7):
            weight = WEIGHTS[down] * WEIGHTS[right]
            out += weight * padded[down : down + score.shape[0], right : right + score.shape[1]]
    return out


def plain_boundary(score, labels):
    """The definition, pixel by pixel, in double precision."""
    height, width = labels.shape
    here = [(y, x) for y in range(height) for x in range(width)]

    def inside(y, x):
        return 0 <= y < height and 0 <= x < width

    def edge(y, x):
        cross = [(y, x), (y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        square = [(y + down, x + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
        return max(labels[p] for p in cross if inside(*p)) != min(labels[p] for p in square if inside(*p))

    edges = [p for p in here if edge(*p)]
    score = score.astype(np.float64)
    for radius in (3, 2, 1, 0):
        near = {(y, x) for y, x in here if any(abs(y - v) + abs(x - u) <= radius for v, u in edges)}
        after = score.copy()
        for y, x in near:
            nine = [
                (min(max(y + down, 0), height - 1), min(max(x + right, 0), width - 1))
                for down in (-1, 0, 1)
                for right in (-1, 0, 1)
            ]
            far = [score[p] for p in nine if p not in near]
            if far:
                after[y, x] = np.mean(far)
        score = after
    padded = np.pad(score, 18, mode="edge")
    out = np.zeros(score.shape)
    for down in range(7):
        for right in range(7):
            weight = WEIGHTS[down] * WEIGHTS[right]
            out += weight * padded[6 * down : 6 * down + height, 6 * right : 6 * right + width]
    return out


@WAYS
def test_one_bright_pixel_becomes_the_weights(fused):
    score = torch.zeros(9, 9)
    score[4, 4] = 1
    np.testing.assert_allclose(smoothing.gaussian(score, fused=fused)[1:8, 1:8], np.outer(WEIGHTS, WEIGHTS), rtol=1e-6)
    wide = torch.zeros(45, 45)
    wide[22, 22] = 1
    dilated = smoothing.boundary(wide, torch.zeros(45, 45, dtype=torch.uint8), fused=fused)
    np.testing.assert_allclose(dilated[4:41:6, 4:41:6], np.outer(WEIGHTS, WEIGHTS), rtol=1e-6)
    assert np.count_nonzero(dilated) == 49


@WAYS
def test_a_ridge_along_a_boundary_is_gone(fused):
    """Classes meet between columns 29 and 30; their scores are 1 but for 100 within two columns of there."""
    labels = torch.zeros(50, 60, dtype=torch.uint8)
    labels[:, 30:] = 7
    score = torch.ones(50, 60)
    score[:, 28:32] = 100.0
    np.testing.assert_allclose(smoothing.boundary(score, labels, fused=fused), np.ones((50, 60)), rtol=1e-6)


@WAYS
@pytest.mark.parametrize(("strange", "edges"), [(0, 9), (9, 5)], ids=["a smaller id", "a larger id"])
def test_a_corner_counts_where_the_smaller_id_is(fused, strange, edges):
    """One pixel of another class: its 8 neighbours and itself are a boundary, or itself and its 4 neighbours."""
    from bench.ops import suppression

    labels = torch.full((5, 5), 5, dtype=torch.uint8)
    labels[2, 2] = strange
    if fused:
        assert (suppression.boundary_steps(labels.numpy()) & 1).sum() == edges
    score = torch.zeros(5, 5)
    score[1, 1] = 80.0  # diagonal to it
    given = smoothing.boundary(score, labels, fused=fused)
    np.testing.assert_allclose(given, plain_boundary(score.numpy(), labels.numpy()), rtol=1e-5, atol=1e-6)


SIZES = [(1, 1), (1, 2), (2, 3), (1, 30), (17, 4), (25, 40)]


@WAYS
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_size_against_plain_loops(size, fused):
    score, labels = drawn(*size)
    np.testing.assert_allclose(
        smoothing.boundary(score, labels, fused=fused),
        plain_boundary(score.numpy(), labels.numpy()),
        rtol=1e-5,
        atol=3e-6,
    )
    np.testing.assert_allclose(
        smoothing.gaussian(score, fused=fused), plain_gaussian(score.numpy()), rtol=1e-5, atol=3e-6
    )


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 3, 19, 255]), st.integers(0, 10**6))
def test_the_compiled_loops_are_the_torch_path(height, width, classes, seed):
    score, labels = drawn(height, width, classes, seed)
    noisy = torch.where(torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) < 0.1, 254, labels)
    for grey in (labels, noisy.byte()):
        one, other = (smoothing.boundary(score, grey, fused=fused) for fused in (False, True))
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    one, other = (smoothing.gaussian(score, fused=fused) for fused in (False, True))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@WAYS
def test_it_neither_changes_its_input_nor_wants_it_in_one_piece(fused):
    score, labels = drawn(40, 60)
    copies = score.clone(), labels.clone()
    expected = smoothing.boundary(score, labels, fused=fused)
    turned = smoothing.boundary(score.T.contiguous().T, labels.T.contiguous().T, fused=fused)
    assert torch.equal(expected, turned)
    assert torch.equal(score, copies[0]) and torch.equal(labels, copies[1])


@WAYS
def test_the_sign_of_the_score_does_not_matter(fused):
    score, labels = drawn(40, 60)
    for smooth in (smoothing.gaussian, lambda one, fused: smoothing.boundary(one, labels, fused=fused)):
        torch.testing.assert_close(smooth(-score, fused=fused), -smooth(score, fused=fused), rtol=0, atol=0)
        constant = torch.full_like(score, 3.25)
        torch.testing.assert_close(smooth(constant, fused=fused), constant, rtol=1e-6, atol=0)
