"""Detectors that read the queries of a mask classifier: their formulas, worked out by hand."""

import math

import pytest
import torch

from bench.api import CITYSCAPES, Constants, Prediction
from bench.core.errors import BadSuite
from bench.models.inference import OF_ONE_VIEW
from bench.suite import registry


def build(name, **parameters):
    return registry.build("method", name, parameters, where="suite.yaml")


def logit(*shares):
    return torch.tensor(shares).logit()


# Probabilities of the classes a and b and of "no object", and masks at three pixels.
SHARES = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.9, 0.0001], [0.6, 0.2, 0.2], [0.1, 0.3, 0.6]])
SHARES = SHARES / SHARES.sum(dim=1, keepdim=True)
MASKS = torch.stack([logit(0.5, 0.05, 0.2), logit(0.01, 0.75, 0.9), logit(0.05, 0.05, 0.05), logit(0.99, 0.2, 0.3)])


def queries():
    return Prediction({"query_logits": SHARES.log(), "query_masks": MASKS[:, None]}, (1, 3))


def test_maskomaly_rejects_what_no_sure_query_claims():
    """Queries 0 and 1 are sure of a class, 2 is not sure enough and 3 is of none; at the third pixel two masks meet."""
    sure = SHARES[1].max().item()
    scores = build("maskomaly").score(queries(), {})[0].tolist()
    assert scores == pytest.approx([0.6 * (1 - 0.5 * 0.8), 0.6 * (1 - 0.75 * sure), 0], rel=1e-5)


def test_maskomaly_adds_what_the_chosen_queries_claim_and_takes_the_ground_away():
    """Query 3 is of no class, and its largest probability is that of "no object"; query 2 is ground."""
    sure, ground = SHARES[1].max().item(), 0.05 * 0.6
    method = build("maskomaly", anomaly_queries=[3], ground_queries=[2], rejection=0.5)
    scores = method.score(queries(), {})[0].tolist()
    rest = [min(1 - 0.5 * 0.8, 1 - ground), min(1 - 0.75 * sure, 1 - ground), 0]
    claimed = [0.6 * mask for mask in (0.99, 0.2, 0.3)]
    assert scores == pytest.approx([0.5 * (r + claim) for r, claim in zip(rest, claimed, strict=True)], rel=1e-5)


def test_chosen_queries_are_declared_and_must_exist():
    assert not build("maskomaly").uses_outliers and build("maskomaly", anomaly_queries=[49, 31, 83, 32]).uses_outliers
    with pytest.raises(BadSuite, match="query 49 is named, and the network has 4, from 0"):
        build("maskomaly", anomaly_queries=[49, 31]).score(queries(), {})


def test_masks_are_resized_before_the_sigmoid_in_blocks_of_rows():
    """At 600 rows the masks are done in several blocks; between rows the logit is interpolated, not the mask."""
    masks = torch.tensor([[[4.0], [-4.0]]])
    seen = Prediction({"query_logits": torch.tensor([[0.9, 0.05, 0.05]]).log(), "query_masks": masks}, (600, 2048))
    score = build("maskomaly").score(seen, {})
    middle = 4 - 8 * ((299 + 0.5) / 300 - 0.5)
    assert score[299, 5].item() == pytest.approx(0.6 * (1 - 0.9 / (1 + math.exp(-middle))), rel=1e-4)
    assert score[0].unique().item() == pytest.approx(0.6 * (1 - 0.9 / (1 + math.exp(-4))), rel=1e-4)


def test_uno_takes_the_negative_from_the_best_class():
    """One query with shares 0.5 and 0.2 of classes, 0.2 of negatives and 0.1 of nothing; another all negative."""
    shares = torch.tensor([[0.5, 0.2, 0.1, 0.2], [0.03, 0.02, 0.15, 0.8]]).log()
    outputs = {
        "query_logits": shares[:, :3],
        "query_negative": shares[:, 3],
        "query_masks": torch.stack([logit(0.9, 0.1), logit(0.2, 0.7)])[:, None],
    }
    method = build("uno")
    scores = method.score(Prediction(outputs, (1, 2)), {})[0].tolist()
    assert scores == pytest.approx([1 - 0.9 * 0.3 + 0.2 * 0.77, 1 - 0.1 * 0.3 + 0.7 * 0.77], rel=1e-5)
    assert method.uses_outliers and "query_negative" in OF_ONE_VIEW  # it has no average over views


def test_mask2anomaly_averages_with_the_mirror_image():
    """The network sees class scores that depend on the column of the mirrored image."""
    image = torch.arange(3, dtype=torch.uint8).expand(3, 1, 3)
    asked = []

    def again(pixels):
        asked.append(pixels[0, 0].tolist())
        return Prediction({"class_scores": torch.tensor([[[0.1, 0.2, 0.9]], [[0.4, 0.3, 0.0]]])}, (1, 3))

    plain = {"class_scores": torch.tensor([[[0.5, 0.6, 0.7]], [[0.8, 0.1, 0.1]]])}
    scores = build("mask2anomaly").score(Prediction(plain, (1, 3), image=image, again=again), {})[0].tolist()
    assert asked == [[2, 1, 0]]
    assert scores == pytest.approx([1 - (0.8 + 0.9) / 2, 1 - (0.6 + 0.3) / 2, 1 - (0.7 + 0.4) / 2])


def test_mask2anomaly_refined_is_certain_of_what_a_sure_query_of_the_background_claims():
    """Queries 0 and 1 are sure of sky and of building, 2 is sure of a car, 3 is of a fence, but not sure."""

    def shares(*pairs):
        rows = torch.full((len(pairs), 20), 1e-6)
        for row, (index, share) in zip(rows, pairs, strict=True):
            row[index], row[19] = share, 1 - share
        return rows.log()

    def seen(query_logits, masks, scores, again=None):
        outputs = {
            "query_logits": query_logits,
            "query_masks": masks[:, None],
            "class_scores": torch.tensor([[scores]]),
        }
        return Prediction(outputs, (1, 4), image=torch.zeros(3, 1, 4, dtype=torch.uint8), again=again)

    sky, building, car, fence = (10, 0.99), (2, 0.96), (13, 0.99), (4, 0.9)
    masks = torch.stack([logit(0.6, 0.1, 0.1, 0.1), logit(0.1, 0.53, 0.1, 0.1), logit(*[0.9] * 4), logit(*[0.9] * 4)])
    mirrored = seen(shares(sky, fence, car, fence), masks, [0.1, 0.2, 0.3, 0.4])  # one such query alone: left as it is
    plain = seen(shares(sky, building, car, fence), masks, [0.5, 0.6, 0.7, 0.8], again=lambda _: mirrored)
    method = build("mask2anomaly", refinement=True)
    scores = method.score(plain, {})[0].tolist()
    # The second pixel is claimed by 0.96 x 0.53, which is above one half.
    assert scores == pytest.approx([1 - (1 + 0.4) / 2, 1 - (1 + 0.3) / 2, 1 - (0.7 + 0.2) / 2, 1 - (0.8 + 0.1) / 2])
    whole = build("mask2anomaly").score(plain, {})[0].tolist()
    assert whole == pytest.approx([1 - (0.5 + 0.4) / 2, 1 - (0.6 + 0.3) / 2, 1 - (0.7 + 0.2) / 2, 1 - (0.8 + 0.1) / 2])
    assert method.fitting == Constants(CITYSCAPES) and build("mask2anomaly").fitting is None
