"""Pooled rankings: the parts they count apart, and that the whole does not notice."""

import numpy as np
import pytest

from bench.api import Sample, Undefined
from bench.core.errors import BadPlugin
from bench.counts.tally import Tally, key_pixels
from bench.metrics import ranking
from bench.metrics.accumulate import Accumulator, ScoredImage, Truth
from bench.suite import registry


def protocol(name, **params):
    return registry.build("protocol", name, params, where="")


def read(chosen, images):
    """Figures and parts over (sample, class map, score)."""
    accumulator = Accumulator(chosen)
    for sample, predicted, score in images:
        accumulator.add(ScoredImage(Truth(sample, predicted), {"score": score}))
    reading = accumulator.reading()
    return reading.read(), chosen.breakdown(reading.counts, reading.rows), reading.rows


def pixels(seed=0, images=4):
    rng = np.random.RandomState(seed)
    for index in range(images):
        labels = rng.randint(0, 19, (24, 40)).astype(np.uint8)
        labels[0] = 255
        predicted = np.where(rng.random_sample(labels.shape) < 0.3, (labels + 1) % 19, labels).astype(np.uint8)
        anomaly = np.zeros(labels.shape, np.uint8)
        anomaly[3 : 5 + index, 4 : 6 + index] = 1  # 4, 9, 16 and 25 pixels
        anomaly[10:20, 20:35] = 1  # 150 pixels
        anomaly[:2] = 255
        score = (np.round(rng.random_sample(labels.shape) * 16) / 16 + 0.2 * anomaly).astype(np.float32)
        yield Sample(f"s{index}", labels.shape, lambda: None, labels=labels, anomaly=anomaly), predicted, score


def test_classes_counted_apart_leave_the_whole_as_it_is():
    whole, none, _ = read(protocol("misclassification"), pixels())
    split, parts, rows = read(protocol("misclassification", by="class"), pixels())
    assert whole == split and none == {}
    assert protocol("misclassification").bootstrap(
        np.ones((1, 4)), read(protocol("misclassification"), pixels())[2]
    ) == {
        name: pytest.approx(values)
        for name, values in protocol("misclassification", by="class").bootstrap(np.ones((1, 4)), rows).items()
    }
    assert len(parts["class"]) == 19


def test_a_class_is_ranked_among_its_own_pixels():
    _, parts, _ = read(protocol("misclassification", by="class"), pixels())
    metrics = pytest.importorskip("sklearn.metrics")
    scores, wrong = [], []
    for sample, predicted, score in pixels():
        mine = sample.labels == 13
        scores.append(score[mine])
        wrong.append(predicted[mine] != 13)
    expected = metrics.roc_auc_score(np.concatenate(wrong), np.concatenate(scores))
    assert parts["class"]["car"]["auroc"].value == pytest.approx(expected, abs=1e-12)


def test_sizes_counted_apart_leave_the_whole_as_it_is():
    whole, _, _ = read(protocol("anomaly"), pixels())
    split, parts, _ = read(protocol("anomaly", by="size", sizes=[10, 100]), pixels())
    assert whole == split
    assert list(parts["size"]) == ["below 10 px", "10 to 99 px", "100 px and more"]


def test_an_object_is_ranked_against_all_normal_pixels():
    _, parts, _ = read(protocol("anomaly", by="size", sizes=[10, 100]), pixels())
    small, normal = [], []
    for index, (sample, _, score) in enumerate(pixels()):
        normal.append(score[sample.anomaly == 0])
        if index < 2:  # 4 and 9 pixels
            small.append(score[3 : 5 + index, 4 : 6 + index].ravel())
    scores = np.concatenate([*small, *normal])
    truth = np.arange(len(scores)) < sum(map(len, small))
    tally = Tally(2)
    tally.add(key_pixels(scores[None], truth[None].astype(np.uint8), 2))
    assert parts["size"]["below 10 px"] == ranking.ranking(tally.counts(), [1], [0])


def test_a_part_that_never_occurs_has_no_value_and_says_so():
    _, parts, _ = read(protocol("anomaly", by="size", sizes=[500]), pixels())
    assert parts["size"]["500 px and more"]["ap"] == Undefined("no positive pixels")


@pytest.mark.parametrize("sizes", [[10, 5], [5, 5], [0]])
def test_sizes_must_rise(sizes):
    from bench.core.errors import BadSuite

    with pytest.raises(BadSuite, match="sizes must rise from at least 1"):
        protocol("anomaly", by="size", sizes=sizes)


@pytest.mark.parametrize("value", [19, 240, 254])
def test_a_label_without_a_name_is_refused_and_does_not_become_another_class(value):
    labels, predicted = np.uint8([[0, value]]), np.uint8([[0, 1]])
    sample = Sample("x", labels.shape, lambda: None, labels=labels)
    with pytest.raises(BadPlugin, match=f"the class {value}, and 19 have names"):
        protocol("misclassification", by="class").categories(sample, predicted)
