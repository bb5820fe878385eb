"""Images go through the network ahead of who scores them, in order, and no more of them than a few."""

import threading
import time
from contextlib import closing

import numpy as np
import pytest
import torch

from bench.api import CITYSCAPES, Network, Prediction, Sample, SegModel
from bench.contract.network import loaded
from bench.models import numerics
from bench.models.pipeline import AHEAD, Pipeline
from bench.suite.loader import Loader
from bench.suite.schema import NumericsRule

SIZE = 4, 6


class Images:
    """Twelve images, each of its own colour; ``torn`` ones cannot be read."""

    def __init__(self, torn=()):
        self.torn, self.read = torn, []

    def ids(self):
        return [f"image{index}" for index in range(12)]

    def load(self, index):
        self.read.append(index)
        if index in self.torn:
            raise OSError("torn")
        return Sample(f"image{index}", SIZE, lambda: np.full((*SIZE, 3), index, np.uint8))


class Plain(SegModel):
    name = "plain"
    source = "a test"

    def check(self): ...

    def digest(self):
        return "0" * 16

    def load(self, device):
        return Counting()


class Counting(Network):
    """Notes which images it saw, and fails at the third of them if it is ``bad``."""

    def __init__(self):
        self.saw, self.bad, self.inside, self.most = [], False, 0, 0

    def predict(self, views):
        return [self._one(view.pixels) for view in views]

    def _one(self, pixels):
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.002)
        index = int(pixels[0, 0, 0])
        self.saw.append(index)
        self.inside -= 1
        if self.bad and index == 2:
            raise ZeroDivisionError("no")
        logits = torch.full((len(CITYSCAPES), *SIZE), float(index))
        return Prediction({"logits": logits}, SIZE, image=pixels, again=self._one)

    def module(self):
        raise AssertionError


def pipeline_of(dataset, **rule):
    network = loaded(Plain(), "cpu")
    resolved = numerics.resolve(NumericsRule(device="cpu", **rule))
    return closing(Pipeline(network, Loader(dataset, None, 0), resolved, 0))


def test_images_come_in_order_across_ranges_and_few_are_ahead():
    images = Images()
    with pipeline_of(images) as pipeline:
        for number, seen in enumerate(pipeline.images(range(6), range(6, 12))):
            assert seen.id == f"image{number}" and float(seen.predictions[1].logits.max()) == number
            time.sleep(0.02)
            assert len(pipeline.network.saw) <= number + 1 + AHEAD
        assert set(pipeline.network.saw) > set(range(6)), "the next range was begun"
        assert [seen.id for seen in pipeline.images(range(6, 12))] == [f"image{number}" for number in range(6, 12)]
    assert images.read == pipeline.network.saw == list(range(12)), "each once"


def test_what_was_begun_in_vain_is_forgotten():
    with pipeline_of(Images()) as pipeline:
        list(pipeline.images(range(3), range(3, 6)))
        assert [seen.id for seen in pipeline.images(range(9, 12))] == ["image9", "image10", "image11"]


def test_the_network_is_at_the_next_image_while_one_is_scored():
    with pipeline_of(Images()) as pipeline:
        for number, _ in enumerate(pipeline.images(range(12))):
            deadline = time.monotonic() + 30
            while number < 11 and number + 1 not in pipeline.network.saw:
                assert time.monotonic() < deadline
                time.sleep(0.001)


@pytest.mark.parametrize("rule", [{}, {"threads": 2}])
def test_failures_come_at_their_place_with_the_image_that_was_out(rule):
    with pipeline_of(Images(), **rule) as pipeline:
        pipeline.network.bad = True
        seen = list(pipeline.images(range(4)))
        assert [each.id for each in seen] == ["image0", "image1", "image2", "image3"]
        with pytest.raises(ZeroDivisionError):
            _ = seen[2].predictions
        assert seen[3].predictions
    with pipeline_of(Images(torn=[2]), **rule) as pipeline:
        read = []
        with pytest.raises(Exception, match=r"image2.*torn"):
            read.extend(seen.id for seen in pipeline.images(range(4)))


def test_it_says_how_many_times_the_readers_would_keep_up():
    with pipeline_of(Images()) as pipeline:
        assert pipeline.readers_short() == 1.0
        pipeline._waited, pipeline._used = 3.0, 2.0
        assert pipeline.readers_short() == 2.5
        assert pipeline.readers_short() == 1.0, "of what came since it was asked before"
        pipeline._waited, pipeline._used = 0.01, 2.0
        assert pipeline.readers_short() == 1.0


def test_what_the_first_image_waits_for_says_nothing_of_the_readers():
    images = Images()
    load = images.load
    images.load = lambda index: time.sleep(0.2 if index == 0 else 0.0) or load(index)
    with pipeline_of(images) as pipeline:
        list(pipeline.images(range(12)))
        assert pipeline._waited < 0.2 and pipeline._used >= 12 * 0.002


def test_one_thread_at_a_time_uses_the_network():
    with pipeline_of(Images()) as pipeline:
        for seen in pipeline.images(range(12)):
            prediction = seen.predictions[1]
            for _ in range(3):
                prediction = prediction.again(prediction.image)
        assert pipeline.network.most == 1


def test_several_threads_of_torch_have_the_cores_for_themselves():
    with pipeline_of(Images(), threads=2) as pipeline:
        threads = threading.active_count()
        next(pipeline.images(range(2)))
        assert threading.active_count() == threads and pipeline.network.saw == [0]


def test_gradients_are_off_in_the_thread_and_time_is_told(monkeypatch):
    with pipeline_of(Images()) as pipeline:
        weights = torch.ones(19, 4, 6, requires_grad=True)
        monkeypatch.setattr(pipeline.network, "predict", lambda views: [Prediction({"logits": weights * 2}, SIZE)])
        (seen,) = pipeline.images(range(1))
        assert seen.predict > 0 and seen.load >= 0
        assert not seen.predictions[1].logits.requires_grad
