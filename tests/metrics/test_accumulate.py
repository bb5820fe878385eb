"""The one loop of a protocol: order, shards and sharing change no figure."""

from collections.abc import Mapping
from dataclasses import MISSING, fields

import numpy as np
import pytest

from bench.api import Sample, Undefined
from bench.core import kept_rows
from bench.counts.tally import Tally
from bench.metrics import accumulate, bootstrap
from bench.metrics import intervals as interval_module
from bench.metrics.accumulate import (
    Accumulator,
    CountedTwice,
    Reading,
    ScoredImage,
    Truth,
    add_together,
    by_tally,
    sharing,
)
from bench.metrics.protocols.components import Components
from bench.metrics.protocols.definitions import Definitions
from bench.metrics.protocols.fishyscapes import Fishyscapes
from bench.metrics.protocols.miou import MeanIoU
from bench.metrics.protocols.pooled import Anomaly, Misclassification
from bench.metrics.protocols.smiyc import SmiycAnomaly, SmiycObstacle
from bench.suite import registry


def images(count=4, seed=0):
    """Truths and score maps of images with labels, a class map and an anomaly."""
    generator = np.random.default_rng(seed)
    for index in range(count):
        labels = generator.integers(0, 4, (20, 30)).astype(np.uint8)
        predicted = np.where(generator.random(labels.shape) < 0.2, (labels + 1) % 4, labels).astype(np.uint8)
        anomaly = np.zeros(labels.shape, np.uint8)
        anomaly[4:14, 5 : 16 + index] = 1
        anomaly[-2:] = 255
        score = (generator.normal(size=labels.shape) + 2 * (anomaly == 1)).astype(np.float32)
        sample = Sample(f"s{index}", labels.shape, lambda: None, labels=labels, anomaly=anomaly)
        yield Truth(sample, predicted), score


def filled(protocol, pairs, budget=2**30):
    accumulator = Accumulator(protocol, budget)
    for truth, score in pairs:
        accumulator.add(ScoredImage(truth, {"score": score}))
    return accumulator


@pytest.mark.parametrize("protocol", [Anomaly(), Misclassification(), MeanIoU()], ids=lambda p: p.name)
@pytest.mark.parametrize("budget", [2**30, 0])
def test_shards_in_any_order_make_the_same_figures(protocol, budget):
    whole = filled(protocol, images(), budget)
    merged = Accumulator(protocol, budget)
    for part in (list(images())[2:], list(images())[:2]):
        shard = filled(protocol, part, budget)
        merged.merge(shard.tally, shard.rows)
    assert list(merged.rows) == ["s0", "s1", "s2", "s3"]
    assert merged.reading().pixels == whole.reading().pixels
    one, other = (each.reading().figures(0, 50) for each in (whole, merged))
    assert one[0] == other[0] and one[1].keys() == other[1].keys()
    assert all(np.array_equal(values, other[1][name], equal_nan=True) for name, values in one[1].items())


@pytest.mark.parametrize("protocol", [Anomaly(), Misclassification(), MeanIoU(), Definitions()], ids=lambda p: p.name)
def test_rows_in_a_file_and_resamples_in_blocks_change_no_digit(protocol, monkeypatch):
    def read():
        reading = filled(protocol, images(9)).reading()
        figures, replicates = reading.figures(0, 150)
        return reading, figures, {**replicates, **reading.arrays()}, Reading.of_rows(protocol, reading.rows).read()

    _, figures, arrays, of_rows = read()
    for place, name, value in [
        (kept_rows, "LIMIT", 0),
        (kept_rows, "LONG", 1),
        (interval_module, "WEIGHTS", 1),  # blocks of EVEN resamples
        (bootstrap, "DRAWN", 20),
        (accumulate, "ALONE", 2),
    ]:
        monkeypatch.setattr(place, name, value)
    filed, same_figures, same_arrays, same_of_rows = read()
    assert all(map(kept_rows.is_filed, filed.rows.values()))
    assert figures == same_figures and of_rows == same_of_rows and arrays.keys() == same_arrays.keys()
    assert all(np.array_equal(values, same_arrays[name], equal_nan=True) for name, values in arrays.items())


def test_protocols_of_this_package_leave_the_counts_that_they_read_as_they_are():
    tried = set()
    for name, cls in registry.available("protocol").items():
        if not cls.__module__.startswith(accumulate.OURS) or any(f.default is MISSING for f in fields(cls)):
            continue
        protocol = cls()
        if protocol.reads is None or "instances" in protocol.needs:
            continue
        accumulator = Accumulator(protocol)
        for truth, score in images(6):
            accumulator.add(ScoredImage(truth, {protocol.reads: 1 / (1 + np.exp(-score))}))
        before = [accumulate._marks(column) for column in accumulator.reading().counts.columns]
        parameters = accumulator.parameters()
        for truth, score in images(6) if isinstance(parameters, Mapping) else ():
            accumulator.add_second(truth.sample, truth.predicted, 1 / (1 + np.exp(-score)), parameters)
        reading = accumulator.reading()
        reading.read(), reading.breakdown()
        assert [accumulate._marks(column) for column in reading.counts.columns] == before, name
        tried.add(name)
    assert {"anomaly", "misclassification", "definitions", "components", "smiyc_anomaly", "fishyscapes"} <= tried


def test_an_image_that_comes_twice_is_refused_by_name():
    accumulator = filled(Anomaly(), images())
    with pytest.raises(CountedTwice, match="s1") as refusal:
        accumulator.add(ScoredImage(list(images())[1][0], {"score": list(images())[1][1]}))
    assert refusal.value.sample == "s1"
    with pytest.raises(CountedTwice, match="s0"):
        accumulator.merge(Tally(2), filled(Anomaly(), images(1)).rows)
    accumulator.merge_second({"s0": {}})
    with pytest.raises(CountedTwice, match="s0"):
        accumulator.merge_second({"s0": {}})


def test_a_second_phase_in_shards_joins_the_rows_of_the_first():
    protocol, pairs = Components(min_predicted=1), list(images())
    whole = filled(protocol, pairs)
    parameters = whole.parameters()
    assert not isinstance(parameters, Undefined)
    second = [Accumulator(protocol), Accumulator(protocol)]
    for index, (truth, score) in enumerate(pairs):
        whole.add_second(truth.sample, truth.predicted, score, parameters)
        second[index % 2].add_second(truth.sample, truth.predicted, score, parameters)
    merged = filled(protocol, pairs)
    for shard in second:
        merged.merge_second(shard.rows)
    assert merged.reading().read() == whole.reading().read()
    assert "siou" in merged.rows["s3"] and "bins" in merged.rows["s3"]


def test_protocols_that_count_alike_share_a_tally_until_an_image_tells_them_apart():
    class Late(Fishyscapes):
        def categories(self, sample, predicted):
            sides = super().categories(sample, predicted)
            return np.where(sides == 0, np.uint8(255), sides) if sample.id == "s3" else sides

    protocols = [Anomaly(), Late(), Fishyscapes(), MeanIoU()]
    accumulators = sharing(protocols, 2**30)
    tallies = []
    for truth, score in images():
        add_together(accumulators, ScoredImage(truth, {"score": score}))
        tallies.append([len(members) for members in by_tally(accumulators)])
    assert tallies == [[3, 1]] * 3 + [[2, 1, 1]]
    for accumulator in accumulators:
        alone = filled(accumulator.protocol, images()).reading()
        assert accumulator.reading().read() == alone.read() and accumulator.reading().pixels == alone.pixels


def test_what_protocols_share_is_made_once():
    """Categories once per class map for all methods, quantized scores and keys once per method."""
    made = []

    class Counting(Fishyscapes):
        def categories(self, sample, predicted):
            made.append(sample.id)
            return super().categories(sample, predicted)

    ((truth, score),) = images(1)
    scored = [ScoredImage(truth, {"score": each}) for each in (score, score + 1)]
    for image in scored:
        image.counted(Counting())
    assert made == ["s0"]
    image = scored[0]
    assert image.counted(Anomaly()) is image.counted(Fishyscapes()), "the same pixels of the same scores"
    assert image.score(SmiycAnomaly()) is image.score(SmiycObstacle()), "both round to float16"
    assert image.counted(SmiycAnomaly()) is not image.counted(Fishyscapes())
    assert image.counted(SmiycAnomaly()) is image.counted(SmiycObstacle())
    assert image.counted(MeanIoU()) is None, "it reads no score"


def test_a_reading_of_rows_alone_holds_the_exact_figures_within_their_error():
    whole = filled(Anomaly(), images()).reading()
    exact, binned = whole.read(), Reading.of_rows(Anomaly(), whole.rows).read()
    for name in ("auroc", "ap", "fpr95"):
        assert abs(exact[name].value - binned[name].value) <= binned[name].err < 0.05
