"""Reductions of the logits over their classes, by the compiled pass on a CPU or by torch anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.ops import dense
from bench.ops.tiles import Tiles, Window

if TYPE_CHECKING:
    from bench.core.values import Quantity


def classes(
    outputs: Mapping[str, Tensor],
    size: tuple[int, int],
    logits: Callable[[], Tensor],
    quantities: Iterable[Quantity],
    *,
    fused: bool,
) -> dict[Quantity, tuple[Tensor, ...]]:
    """What is asked for, each [H, W] at label size, and ``top`` with it.

    ``top``: the largest logit and its class, uint8, the lowest class where two are equal. ``margin``: its lead over the
    second. A temperature T: the sums over the other classes of e_c and of e_c d_c, where d_c = (z_c - max z) / T and
    e_c = exp d_c. ``logits`` makes the logits at label size, where torch does the work.
    """
    asked = list(quantities)
    temperatures = [quantity for quantity in asked if not isinstance(quantity, str)]
    if fused and (parts := _parts(outputs, size)) is not None:
        return _fused(*parts, size, temperatures, margin="margin" in asked)
    whole = logits()
    top = dense.top(whole)
    reduced: dict[Quantity, tuple[Tensor, ...]] = {"top": top}
    if "margin" in asked:
        best = whole.topk(2, dim=0).values
        reduced["margin"] = (best[0] - best[1],)
    for temperature in temperatures:
        reduced[temperature] = dense.others(whole, *top, temperature)
    return reduced


def softmax_at(
    outputs: Mapping[str, Tensor], size: tuple[int, int], logits: Callable[[], Tensor], index: Tensor, *, fused: bool
) -> Tensor:
    """float32 [n, C]: class probabilities of the pixels ``index`` by flat index, on the device of the logits."""
    if fused and "logits" in outputs and (parts := _parts(outputs, size)) is not None:
        from bench.ops import fused as compiled

        maps, windows = parts
        return torch.from_numpy(
            compiled.softmax_at([logit_map.numpy() for logit_map in maps], windows, size, index.numpy())
        )
    return logits().flatten(1)[:, index].softmax(dim=0).T


def count(outputs: Mapping[str, Tensor]) -> int:
    """How many classes the logits have; those of windows are not joined for it."""
    first = outputs.parts[0] if isinstance(outputs, Tiles) else outputs
    return len(first["logits"])


def _parts(outputs: Mapping[str, Tensor], size: tuple[int, int]) -> tuple[list[Tensor], Sequence[Window]] | None:
    """The logits as the compiled pass takes them, None where it cannot: off the CPU, or resized twice."""
    if isinstance(outputs, Tiles):
        maps, windows = [part["logits"] for part in outputs.parts], outputs.windows
        if outputs.size != size:
            return None  # windows average in the scaled image, which is then resized itself
    else:
        maps, windows = [outputs["logits"]], [(0, 0, *size)]
    sides = {(bottom - top, right - left) for top, left, bottom, right in windows}
    alike = len(sides) == 1 and len({logit_map.shape for logit_map in maps}) == 1
    here = all(logit_map.device.type == "cpu" and logit_map.dtype == torch.float32 for logit_map in maps)
    return (maps, windows) if alike and here and len(maps[0]) > 1 else None


def _fused(
    maps: Sequence[Tensor], windows: Sequence[Window], size: tuple[int, int], temperatures: list[float], *, margin: bool
) -> dict[Quantity, tuple[Tensor, ...]]:
    from bench.ops import fused  # numba takes a second, and torch alone does without it

    largest, who, lead, total, weighted = fused.reduce(
        [logit_map.numpy() for logit_map in maps], windows, size, temperatures, margin=margin
    )
    reduced: dict[Quantity, tuple[Tensor, ...]] = {"top": (torch.from_numpy(largest), torch.from_numpy(who))}
    if margin:
        reduced["margin"] = (torch.from_numpy(lead),)
    for temperature, others, products in zip(temperatures, total, weighted, strict=True):
        reduced[temperature] = (torch.from_numpy(others), torch.from_numpy(products))
    return reduced
