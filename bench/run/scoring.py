"""The score map of one image by one method: for counting, for pictures and for submissions, with the same bits."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from bench.api import Inference, Labels, Method, Prediction, Refinement, Scores, State, View
from bench.core.errors import BadPlugin
from bench.core.sharing import read_only
from bench.models import inference
from bench.ops import dense, transfer
from bench.run import checks


def score(
    method: Method,
    state: State,
    views: Sequence[tuple[View, Prediction]],
    merged: Prediction,
    rule: Inference,
    who: str,
) -> tuple[Scores, Labels | None]:
    """A score per pixel of the labels, float32 [H, W], and the class map, uint8 [H, W], if the method has its own.

    ``views`` and ``merged`` are what the network says, as ``rule`` of its inference makes them. Raises BadPlugin.
    """
    tensor, own = score_on_device(method, state, views, merged, rule, who)
    score_map: Scores = transfer.to_host(tensor)
    checks.scores(score_map, who)
    return score_map, None if own is None else transfer.to_host(own)


def score_on_device(
    method: Method,
    state: State,
    views: Sequence[tuple[View, Prediction]],
    merged: Prediction,
    rule: Inference,
    who: str,
) -> tuple[Tensor, Tensor | None]:
    """``score`` on the device of the network. Whether the scores are finite is not looked at."""
    if method.merge == "views":
        parts = [checks.as_scored(method.score(prediction, state), prediction, who) for _, prediction in views]
        if any(part.labels is not None for part in parts) and len(parts) > 1:
            raise BadPlugin(f"{who}: a method that alters the class map of views must return their logits")
        labels = parts[0].labels
        if any(part.logits is not None for part in parts):
            labels = inference.relabelled(views, [part.logits for part in parts], rule)
        merged_score = inference.merge_scores([view for view, _ in views], [part.score for part in parts])
    else:
        whole = checks.as_scored(method.score(merged, state), merged, who)
        merged_score, labels = whole.score, whole.labels
        if whole.logits is not None:
            raise BadPlugin(f"{who}: logits are merged where views are scored; return labels, or say merge = 'views'")
    return dense.resize(merged_score, merged.size), labels


def refined_alone(
    method: Refinement, state: State, merged: Prediction, before: Scores, sample: str, seed: int, who: str
) -> Scores:
    """The map of one image without a truth, float32 [H, W], by a refinement that was fitted."""
    before = read_only(before)
    decision = method.decide({sample: method.describe(merged, before, None)}, {sample: ""}, state, seed)
    return checks.refined(method, before, None, decision.rows[sample], who)
