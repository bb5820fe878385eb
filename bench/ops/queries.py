"""From the queries of a mask classifier to maps: masks are resized, then put through a sigmoid, then weighed and added.

In this order, as the code of Mask2Former and of the methods built on it has it: a sigmoid taken before the resize gives
other values at every border. One query's mask of 1024x2048 is 8 MB, a hundred of them 840 MB, so rows are done in
blocks and no mask is ever whole at that size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from bench.ops import dense

CELLS = 2**19  # floats of all masks in a block of rows: what stays near the processor


def class_scores(query_logits: Tensor, query_masks: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """float32 [C, H, W]: sum over the queries of softmax(query_logits)_c sigmoid(mask), "no object" left out.

    ``query_logits`` [Q, C + 1] has "no object" last, ``query_masks`` [Q, h, w] are logits, ``size`` is (H, W), the
    masks' own without it. From 0 to Q, and no logits: several queries may claim a pixel, or none. (Cheng et al.,
    Masked-attention Mask Transformer, arXiv:2112.01527; the inference of MaskFormer, arXiv:2107.06278, section 3.4.)
    """
    return weighed(query_logits.float().softmax(dim=1)[:, :-1], query_masks, size)


def weighed(weights: Tensor, query_masks: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """float32 [K, H, W]: for each k the sum over the queries of weights[q, k] sigmoid(mask_q).

    ``weights`` [Q, K]; masks [Q, h, w] are logits, brought to ``size`` by bilinear interpolation (half-pixel centres,
    no antialiasing) before the sigmoid.
    """
    height, width = size or (int(query_masks.shape[1]), int(query_masks.shape[2]))
    mixing = weights.float().T.contiguous()
    total = query_masks.new_empty(len(mixing), height, width, dtype=torch.float32)
    for rows, masks in in_rows(query_masks, (height, width)):
        total[:, rows] = (mixing @ masks.flatten(1)).reshape(len(mixing), -1, width)
    return total


def other_share(scores: Tensor) -> Tensor:
    """Return 1 - max_c s_c of the shares s = L / sum_c L of class scores [C, H, W], float32 [H, W].

    The other classes are added up, so that what one class is sure of keeps its digits.
    """
    return _of_shares(scores, lambda shares: shares.scatter(0, shares.argmax(dim=0, keepdim=True), 0.0).sum(dim=0))


def share_entropy(scores: Tensor) -> Tensor:
    """Return the Shannon entropy of the shares of class scores [C, H, W], float32 [H, W] in nats."""
    return _of_shares(scores, lambda shares: torch.special.entr(shares).sum(dim=0))


def _of_shares(scores: Tensor, reduced: Callable[[Tensor], Tensor]) -> Tensor:
    """Reduce L / sum_c L over the classes, in blocks of rows; equal shares where the sum is 0."""
    answer = scores.new_empty(scores.shape[1:], dtype=torch.float32)
    for start in range(0, scores.shape[1], dense.ROWS):
        rows = slice(start, start + dense.ROWS)
        block = scores[:, rows].float()
        total = block.sum(dim=0)
        answer[rows] = reduced((block / total).where(total > 0, 1 / len(scores)))
    return answer


def in_rows(query_masks: Tensor, size: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Yield blocks of rows and sigmoid(mask) in them, float32 [Q, rows, W], of masks [Q, h, w] brought to ``size``."""
    height, width = size
    masks = query_masks.float()
    first, second, share = _taps(int(masks.shape[1]), height, masks.device)
    rows = max(1, CELLS // (len(masks) * width))
    for start in range(0, height, rows):
        block = slice(start, min(start + rows, height))
        part = torch.lerp(masks[:, first[block]], masks[:, second[block]], share[block, None])
        if part.shape[2] != width:
            wide = (int(part.shape[1]), width)
            part = functional.interpolate(part[None], size=wide, mode="bilinear", align_corners=False)[0]
        yield block, part.sigmoid_()


def _taps(small: int, large: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The two neighbours of each of ``large`` rows among ``small`` ones, and the weight of the second, as in torch."""
    at = ((torch.arange(large, device=device, dtype=torch.float32) + 0.5) * (small / large) - 0.5).clamp(min=0)
    first = at.long().clamp(max=small - 1)
    return first, (first + 1).clamp(max=small - 1), at - first
