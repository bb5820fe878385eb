"""``SegmentationOOD`` in a trainer: the figures of ``bench.Metric`` on the same images."""

import logging
import warnings

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

import bench

lightning = pytest.importorskip("lightning.pytorch")
SegmentationOOD = pytest.importorskip("bench.integrations.lightning").SegmentationOOD

GENERATOR = np.random.default_rng(0)
LABELS = torch.from_numpy((GENERATOR.random((5, 16, 24)) < 0.2).astype(np.uint8))
LOGITS = torch.from_numpy(GENERATOR.normal(size=(5, 19, 16, 24)).astype(np.float32))


class Network(lightning.LightningModule):
    """A network whose logits are the images."""

    def __init__(self, names=("logits", "labels")):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.names = names

    def validation_step(self, batch, index):
        return dict(zip(self.names, batch, strict=True))

    test_step = validation_step


def trainer(callback, **settings):
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return lightning.Trainer(accelerator="cpu", devices=1, callbacks=[callback], **quiet, **settings)


def loader(**settings):
    return DataLoader(list(zip(LOGITS, LABELS, strict=True)), batch_size=2, **settings)


def expected():
    metric, energy = bench.Metric("anomaly", resamples=20), bench.method("energy")
    for index, (logits, labels) in enumerate(zip(LOGITS, LABELS, strict=True)):
        metric.update(energy(logits), labels, id=f"0/{index:08d}")
    return metric.compute()


def test_figures_are_logged_after_validation_and_test():
    callback = SegmentationOOD(bench.Metric("anomaly", resamples=20), score=bench.method("energy"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (validated,) = trainer(callback).validate(Network(), loader(), verbose=False)
        assert callback.computed.record() == expected().record()
        (tested,) = trainer(callback).test(Network(), loader(), verbose=False)
    known = expected().to_dict()
    assert validated == {f"val/{name}": pytest.approx(value, rel=1e-6) for name, value in known.items()}
    assert tested == {f"test/{name}": pytest.approx(value, rel=1e-6) for name, value in known.items()}


def test_what_a_distributed_sampler_repeats_is_counted_once():
    """Two ranks one after the other: the second gets the first image again, to have as many."""
    parts = []
    for rank in range(2):
        callback = SegmentationOOD(score=bench.method("energy"))
        sampler = DistributedSampler(LABELS, num_replicas=2, rank=rank, shuffle=False)
        given = loader(sampler=sampler)
        played = type(
            "Trainer", (), {"world_size": 2, "global_rank": rank, "val_dataloaders": given, "sanity_checking": False}
        )
        callback.on_validation_epoch_start(played, None)
        for place, (logits, labels) in enumerate(given):
            callback.on_validation_batch_end(played, None, {"logits": logits, "labels": labels}, None, place)
        parts.append(callback.metric)
    whole = bench.Metric("anomaly", resamples=20)
    for part in parts:
        rest = bench.Metric("anomaly", resamples=20)
        rest.merge(part)
        whole.merge(rest)
    assert whole.compute().record() == expected().record()


@pytest.mark.parametrize(
    ("names", "words"), [(("pixels", "labels"), "'pixels', 'labels', wanted"), (("logits", "labels"), "say score=")]
)
def test_a_step_that_returns_something_else_is_refused(names, words):
    callback = SegmentationOOD()
    with pytest.raises(bench.errors.BadScores, match=words), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer(callback).validate(Network(names), loader(), verbose=False)
