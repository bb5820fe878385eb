"""``as_torchmetrics()``: what torchmetrics asks of every metric.

The checks are those of its own tester, ``_class_test`` in tests/unittests/_helpers/testers.py of
https://github.com/Lightning-AI/torchmetrics at 03d52bdc. It comes in no wheel (torchmetrics 1.9.0 has no module for
tests), so that each is made here; those with two processes are in test_distributed_processes.py.
"""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch

import bench

torchmetrics = pytest.importorskip("torchmetrics")

GENERATOR = np.random.default_rng(0)
TRUTH = torch.from_numpy((GENERATOR.random((4, 2, 20, 30)) < 0.1).astype(np.uint8))  # [batches, B, H, W]
SCORES = torch.from_numpy(GENERATOR.normal(size=TRUTH.shape).astype(np.float32)) + TRUTH


def adapted(*protocols, **settings):
    return bench.Metric(*(protocols or ("anomaly",)), resamples=0).as_torchmetrics(**settings)


def numbers(figures):
    return {name: value.item() for name, value in figures.items()}


def expected(scores, truth):
    metric = bench.Metric("anomaly", resamples=0)
    metric.update(scores.flatten(0, -3), truth.flatten(0, -3))
    return metric.compute().to_dict()


def test_it_is_a_metric_and_module_of_theirs():
    metric = adapted()
    assert isinstance(metric, torchmetrics.Metric)
    assert isinstance(hash(metric), int)
    assert hash(metric) != hash(adapted())
    assert metric.state_dict() == {}
    assert not list(metric.parameters())
    for constant in ("is_differentiable", "higher_is_better"):
        with pytest.raises(RuntimeError):
            setattr(metric, constant, True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is deprecated, and their tester still asks for it
        torch.jit.script(metric)


def test_forward_gives_the_batch_and_compute_all():
    metric = adapted()
    for scores, truth in zip(SCORES, TRUTH, strict=True):
        assert numbers(metric(scores, truth)) == expected(scores[None], truth[None])
    assert numbers(metric.compute()) == expected(SCORES, TRUTH)
    assert metric.update_count == 4
    metric.reset()
    metric.update(SCORES[1], TRUTH[1])
    assert numbers(metric.compute()) == expected(SCORES[1:2], TRUTH[1:2])


def test_copies_and_pickles_go_on_alone():
    metric = adapted()
    metric.update(SCORES[0], TRUTH[0])
    others = metric.clone(), copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))  # noqa: S301
    for other in others:
        other.update(SCORES[1], TRUTH[1])
        assert numbers(other.compute()) == expected(SCORES[:2], TRUTH[:2])
    assert numbers(metric.compute()) == expected(SCORES[:1], TRUTH[:1])


def test_states_merge():
    first, second = adapted(), adapted()
    first.update(SCORES[0], TRUTH[0])
    second.update(SCORES[1], TRUTH[1])
    second.update(SCORES[2], TRUTH[2])
    first.merge_state(second)
    first.merge_state(second.clone())
    again = torch.cat([SCORES[:3], SCORES[1:3]]), torch.cat([TRUTH[:3], TRUTH[1:3]])
    assert numbers(first.compute()) == expected(*again)
    with pytest.raises(ValueError, match="wanted a TorchMetric"):
        first.merge_state(torchmetrics.SumMetric())


def test_figures_come_on_the_device_of_the_metric():
    metric = adapted().to("meta")
    metric.update(SCORES[0], TRUTH[0])
    assert {value.device.type for value in metric.compute().values()} == {"meta"}
    assert {value.dtype for value in adapted_of_one().compute().values()} == {torch.float64}


def adapted_of_one():
    metric = adapted().half()
    metric.update(SCORES[0], TRUTH[0])
    return metric


def test_processes_are_synchronised_as_theirs_are():
    """With a gather in place of processes: two that have the same images."""
    metric = adapted()
    metric.update(SCORES[0], TRUTH[0])
    metric.sync(dist_sync_fn=lambda tensor, group: [tensor, tensor], distributed_available=lambda: True)
    assert len(metric.counted) == 4
    metric.unsync()
    assert len(metric.counted) == 2
    assert numbers(metric.compute()) == expected(SCORES[:1], TRUTH[:1])


def test_it_stands_in_their_collections():
    collection = torchmetrics.MetricCollection({"ood": adapted("anomaly", "streethazards")})
    collection.update(SCORES[0], TRUTH[0])
    assert "ood" in next(iter(collection.compute())) or any("auroc" in name for name in collection.compute())
