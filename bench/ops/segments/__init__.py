"""Segments of a score map: what a threshold leaves connected, described by 75 figures and compared with the truth.

Source: Chan et al., Entropy Maximization and Meta Classification, arXiv:2012.06575, section 4; robin-chan/meta-ood.
Components are 8-connected and numbered from 1 on, in the order of the scan line that first meets them. Everything is
one image at a time; of the class probabilities only those under a segment are asked for, block by block. Imports no
torch, and numba only when there is a mask.

Figures of a segment k, with h one of E, D and V:

E            entropy / log C, with log(p + 2^-23) as in the source; D = 1 - p(1) + p(2); V = 1 - p(1), p(i) the i-th
             largest probability
h            mean over the pixels; ``h_in`` over the interior, ``h_bd`` over the boundary; ``h_var``, ``h_var_in`` and
             ``h_var_bd`` the population variances; a mean over no pixel is 0
S            pixels; ``S_in``, ``S_bd`` of interior and boundary; ``S_rel`` = S / S_bd, ``S_rel_in`` = S_in / S_bd
h_rel        h x S_rel; ``h_rel_in`` = h_in x S_rel_in; ``h_var_rel`` and ``h_var_rel_in`` alike
mean_x       mean row, ``mean_y`` mean column
cprob<c>     mean probability of class c
ndist<c>     share of class c among the neighbours outside, each counted once per pixel of k that it touches

A boundary pixel has one of its eight neighbours in the image, but in no segment: the frame of the image makes no
boundary. Where S_bd is 0, the segment being the whole image, S_bd is taken as 1 in S_rel and S_rel_in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.values import IGNORE, Labels

BLOCK = 1 << 15  # pixels whose probabilities are held at a time
HEATS = ("E", "D", "V")

Bools = NDArray[np.bool_]
Components = NDArray[np.int32]  # [H, W]; 0 is none
Columns = dict[str, NDArray[Any]]  # one entry per segment, [n] each
SoftmaxAt = Callable[[NDArray[np.int64]], NDArray[np.float32]]  # flat indices [n] -> [n, C]


def label(mask: Bools) -> Components:
    """int32 [H, W]: 8-connected components of the mask from 1 on."""
    from bench.ops.segments import kernels  # numba takes a second

    labels = np.zeros(mask.shape, np.int32)
    if labels.size:
        pixels = np.require(mask, requirements=["C", "W"]).view(np.uint8)
        flat = pixels.reshape(-1)
        runs = np.count_nonzero(flat[1:] > flat[:-1]) + len(pixels)  # or fewer: not every line begins with one
        starts, ends = np.empty((2, runs), np.int32)
        kernels.label(pixels, starts, ends, np.arange(runs), np.empty(len(pixels) + 1, np.int64), labels)
    return labels


def names(classes: int) -> tuple[str, ...]:
    """The features of a segment in the source's order, that of their ASCII codes; 75 for 19 classes."""
    heats = [
        f"{h}{part}"
        for h in HEATS
        for part in ("", "_in", "_bd", "_rel", "_rel_in", "_var", "_var_in", "_var_bd", "_var_rel", "_var_rel_in")
    ]
    shape = ["S", "S_in", "S_bd", "S_rel", "S_rel_in", "mean_x", "mean_y"]
    return tuple(sorted([*heats, *shape, *(f"{kind}{c}" for kind in ("cprob", "ndist") for c in range(classes))]))


def of_volume(softmax: NDArray[np.float32]) -> SoftmaxAt:
    """Probabilities by index from a whole volume [C, H, W]."""
    flat = softmax.reshape(len(softmax), -1)
    return lambda index: flat[:, index].T


def features(components: Components, predicted: Labels, softmax_at: SoftmaxAt, classes: int) -> Columns:
    """float64 [n] by name, in the order of ``names``. ``predicted`` uint8 [H, W] is the argmax of the probabilities."""
    sums = _sums(components, predicted, softmax_at, classes)
    whole, inner = sums["pixels"], sums["inner"]
    size, size_in = whole[:, 0], inner[:, 0]
    size_bd = size - size_in
    relative, relative_in = (sizes / np.maximum(size_bd, 1) for sizes in (size, size_in))
    columns: Columns = {"S": size, "S_in": size_in, "S_bd": size_bd, "S_rel": relative, "S_rel_in": relative_in}
    columns |= {"mean_x": sums["places"][:, 0] / size, "mean_y": sums["places"][:, 1] / size}
    for position, heat in enumerate(HEATS):
        for part, counts, total in (("", size, whole), ("_in", size_in, inner), ("_bd", size_bd, whole - inner)):
            mean, squares = (total[:, 1 + 2 * position + k] / np.maximum(counts, 1) for k in (0, 1))
            columns |= {f"{heat}{part}": mean, f"{heat}_var{part}": squares - mean * mean}
        for kind in (heat, f"{heat}_var"):
            columns |= {f"{kind}_rel": columns[kind] * relative, f"{kind}_rel_in": columns[f"{kind}_in"] * relative_in}
    neighbours = sums["neighbours"] / np.maximum(sums["neighbours"].sum(axis=1, keepdims=True), 1)
    for c in range(classes):
        columns |= {f"cprob{c}": sums["probabilities"][:, c] / size, f"ndist{c}": neighbours[:, c]}
    return {name: columns[name] for name in names(classes)}


def _sums(components: Components, predicted: Labels, softmax_at: SoftmaxAt, classes: int) -> Columns:
    """What all figures are made of, one line per segment."""
    from bench.ops.segments import kernels  # numba takes a second

    number = int(components.max(initial=0))
    sums: Columns = {
        "pixels": np.zeros((number, 7)),  # count, then sum and sum of squares of E, D and V
        "inner": np.zeros((number, 7)),
        "places": np.zeros((number, 2)),
        "probabilities": np.zeros((number, classes)),
        "neighbours": np.zeros((number, classes)),
    }
    scale, heat = np.float32(np.log(classes)), np.empty(3, np.float32)
    components = np.require(components, requirements=["C", "W"])  # for others the loops would be compiled again
    predicted = np.require(predicted, requirements=["C", "W"])
    index = np.flatnonzero(components)
    for start in range(0, index.size, BLOCK):
        block = index[start : start + BLOCK]
        probabilities = np.require(softmax_at(block), np.float32, ["C", "W"])
        kernels.accumulate(probabilities, block, components, predicted, scale, heat, *sums.values())
    return sums


def targets(components: Components, truth: Labels) -> Columns:
    """How well each component lies on the truth (0, 1, 255 [H, W]): int64 ``inside``, ``I``, ``U``, float64 ``iou``.

    ``inside`` are its pixels that are not ignored, I those on an object. U is ``inside`` and every connected part of
    the objects that no component covers and that touches this one; without any I, U is ``inside`` and the IoU 0. A
    component that is ignored as a whole has the IoU NaN: nobody knows whether it is right.
    """
    inside, on_objects = shared(components, truth)
    number = inside.size
    rest = label((truth == 1) & (components == 0))
    more = np.zeros(number + 1, np.int64)
    of, piece = _touching(components, rest)
    np.add.at(more, of, np.bincount(rest.reshape(-1))[piece])
    union = inside + np.where(on_objects > 0, more[1:], 0)
    iou = np.divide(on_objects, union, out=np.full(number, np.nan), where=inside > 0)
    return {"inside": inside, "I": on_objects, "U": union, "iou": iou}


def shared(components: Components, truth: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """int64 [n] each: pixels of a component that are not ignored, and those on an object; ``inside`` and ``I``."""
    marked = np.flatnonzero(components)
    which, values = components.reshape(-1)[marked], truth.reshape(-1)[marked]
    length = int(components.max(initial=0)) + 1
    inside, on_objects = (
        np.bincount(which[chosen], minlength=length)[1:] for chosen in (values != IGNORE, values == 1)
    )
    return inside, on_objects


def _touching(components: Components, others: Components) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every pair of a component and another one beside it, once; the two never overlap."""
    wide = np.pad(components, 1)
    line = wide.shape[1]
    index = np.flatnonzero(np.pad(others, 1))
    labels = np.pad(others, 1).reshape(-1)[index].astype(np.int64)
    columns = int(components.max(initial=0)) + 1
    codes = [np.empty(0, np.int64)]
    for shift in (-line - 1, -line, -line + 1, -1, 1, line - 1, line, line + 1):
        beside = wide.reshape(-1)[index + shift]
        codes.append(np.unique(labels[beside > 0] * columns + beside[beside > 0]))
    piece, of = np.divmod(np.unique(np.concatenate(codes)), columns)
    return of, piece


def objects(truth: Labels, components: Components, predicted: Labels, softmax_at: SoftmaxAt, classes: int) -> Columns:
    """The other way round: 8-connected objects of the truth, compared with all components together.

    ``I``, ``U``, ``iou`` as in ``targets`` with the roles exchanged, ``rec`` = I / S, ``S``, ``S_in``, ``S_bd``,
    ``mean_x``, ``mean_y``, ``S_<c>`` pixels predicted as class c, ``cprob<c>``. An object is missed if its I is 0.
    """
    segments = label(truth == 1)
    sums = _sums(segments, predicted, softmax_at, classes)
    size = sums["pixels"][:, 0]
    columns = targets(segments, np.where(truth == IGNORE, np.uint8(IGNORE), (components > 0).astype(np.uint8)))
    del columns["inside"]
    columns |= {"rec": columns["I"] / size, "S": size, "S_in": sums["inner"][:, 0], "S_bd": size - sums["inner"][:, 0]}
    columns |= {"mean_x": sums["places"][:, 0] / size, "mean_y": sums["places"][:, 1] / size}
    marked = np.flatnonzero(segments)
    codes = (segments.reshape(-1)[marked].astype(np.int64) - 1) * classes + predicted.reshape(-1)[marked]
    by_class = np.bincount(codes, minlength=size.size * classes).reshape(size.size, classes)
    for c in range(classes):
        columns |= {f"S_{c}": by_class[:, c], f"cprob{c}": sums["probabilities"][:, c] / size}
    return columns


def missed(truth: Labels, mask: Bools) -> tuple[int, int]:
    """How many objects there are, and how many of them not a single pixel of the mask lies on."""
    segments = label(truth == 1)
    hit = np.unique(segments[mask & (segments > 0)])
    number = int(segments.max(initial=0))
    return number, number - hit.size
