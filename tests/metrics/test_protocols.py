"""Protocols: named definitions that read figures off counts and rows."""

import numpy as np
import pytest

from bench.api import Sample, Undefined, Value
from bench.core.errors import BadPlugin
from bench.metrics import instances
from bench.metrics.accumulate import Accumulator, ScoredImage, Truth
from bench.metrics.protocols.components import Components
from bench.metrics.protocols.miou import MeanIoU
from bench.metrics.protocols.operating_point import OperatingPoint
from bench.metrics.protocols.pooled import Anomaly, Misclassification
from bench.suite import registry

PROTOCOLS = list(registry.available("protocol").values())


NOT_RANK_ONLY = {
    "miou": "reads no score",
    "calibration": "reads probabilities",
    "bravo": "reads probabilities",
    "entropy_max": "counts in 100 equal bins on [0, 1]",
    "segments": "its threshold is a score",
    "operating_point": "its threshold is a score",
    "operating_point_misclassification": "its threshold is a score",
    "smiyc_anomaly": "its official sketch interpolates between scores",
    "smiyc_obstacle": "its official sketch interpolates between scores",
    "open_miou": "its threshold is a mean over images",
    "definitions": "one of its rules has 100 equal bins on [0, 1]",
    "definitions_misclassification": "one of its rules has 100 equal bins on [0, 1]",
}


def sample(index, *, anomaly=None, labels=None):
    truth = anomaly if labels is None else labels
    return Sample(
        id=f"image{index}",
        size=truth.shape,
        image=lambda: np.zeros((*truth.shape, 3), np.uint8),
        labels=labels,
        anomaly=anomaly,
        instances=None if anomaly is None else instances.of_mask(anomaly),
    )


def scenes(count=6, seed=0, ignored=True):
    """Samples with labels and anomalies, class maps and scores that know something."""
    generator = np.random.default_rng(seed)
    for index in range(count):
        labels = np.repeat(np.repeat(generator.integers(0, 4, (6, 8)), 8, 0), 8, 1).astype(np.uint8)
        predicted = np.where(generator.random(labels.shape) < 0.1, (labels + 1) % 4, labels).astype(np.uint8)
        anomaly = np.zeros(labels.shape, np.uint8)
        top, left = generator.integers(4, 20, 2)
        anomaly[top : top + 12, left : left + 14] = 1
        if ignored:
            labels[:2] = 255
            anomaly[-3:] = 255
        score = (generator.normal(size=labels.shape) + 3 * (anomaly == 1) + 2 * (predicted != labels)).astype(
            np.float32
        )
        yield sample(index, anomaly=anomaly, labels=labels), predicted, score


def scored_image(protocol, sample, predicted, score):
    """The image as the protocol takes it: a confidence or an entropy lies in [0, 1], in opposite directions."""
    if score is None or protocol.reads is None:
        return ScoredImage(Truth(sample, predicted), {})
    if protocol.reads == "confidence" or protocol.name == "entropy_max":
        score = (1 / (1 + np.exp(score if protocol.reads == "confidence" else -score))).astype(np.float32)
    return ScoredImage(Truth(sample, predicted), {protocol.reads: score})


def evaluate(protocol, data, *, budget=2**30, replicates=None):
    """What the engine does, in one process and without a disk."""
    accumulator = Accumulator(protocol, budget)
    images = [scored_image(protocol, *each) for each in data]
    for image in images:
        accumulator.add(image)
    if isinstance(parameters := accumulator.parameters(), dict):
        for image in images:
            truth = image.truth
            accumulator.add_second(truth.sample, truth.predicted, image.score(protocol), parameters)
    reading = accumulator.reading()
    if replicates is None:
        return reading.read()
    return reading.read(), protocol.bootstrap(replicates(len(reading.rows)), reading.rows)


@pytest.fixture(params=PROTOCOLS, ids=lambda plugin: plugin.name)
def protocol(request):
    return request.param()


def test_every_protocol_says_what_it_is(protocol):
    assert protocol.source
    assert protocol.version >= 1
    assert protocol.metrics
    assert all(metric.title and metric.definition for metric in protocol.metrics.values())
    assert protocol.truths and protocol.truths <= {"labels", "anomaly", "instances"}
    assert 1 <= len(protocol.category_names) <= 64
    assert type(protocol).__doc__


def test_figures_come_in_the_order_of_the_columns(protocol):
    assert list(evaluate(protocol, scenes())) == list(protocol.metrics)


def test_categories_are_indices_or_ignored(protocol):
    for each, predicted, _ in scenes():
        categories = protocol.categories(each, predicted)
        assert categories.dtype == np.uint8
        assert categories.shape == each.size
        assert set(np.unique(categories)) <= {*range(len(protocol.category_names)), 255}


def test_the_order_of_the_images_changes_nothing(protocol):
    assert evaluate(protocol, scenes()) == evaluate(protocol, list(scenes())[::-1])


def test_rows_survive_a_file_without_pickle(protocol, tmp_path):
    for each, predicted, score in scenes(1):
        row = protocol.row(each, predicted, scored_image(protocol, each, predicted, score).score(protocol))
        np.savez(tmp_path / "row.npz", **row)
        with np.load(tmp_path / "row.npz", allow_pickle=False) as file:
            assert set(file) == set(row)


def test_a_sample_of_weight_one_each_gives_the_figures(protocol):
    figures, replicates = evaluate(protocol, scenes(), replicates=lambda n: np.ones((1, n)))
    for name, values in replicates.items():
        assert values.shape == (1,)
        if isinstance(figures[name], Undefined):
            assert np.isnan(values[0])
            continue
        if protocol.name == "entropy_max" and not name.endswith("_exact"):
            continue  # shares the resamples of the exact figures, and its own are far from them
        assert values[0] == pytest.approx(figures[name].value, abs=0.05 if protocol.name.startswith("op") else 0.02)


def test_an_image_drawn_twice_counts_twice(protocol):
    pairs = list(scenes(3))
    if protocol.name in ("smiyc_anomaly", "smiyc_obstacle", "components", "open_miou", "open_iou", "entropy_max"):
        pytest.skip("its threshold or its truncation is a figure of the images that are there")
    first = sample(9, anomaly=pairs[0][0].anomaly, labels=pairs[0][0].labels), *pairs[0][1:]
    _, twice = evaluate(protocol, [*pairs, first], replicates=lambda n: np.ones((1, n)))
    _, weighted = evaluate(protocol, pairs, replicates=lambda n: np.array([[2.0, 1, 1]]))
    for name, values in twice.items():
        assert values == pytest.approx(weighted[name], nan_ok=True, abs=1e-12)


def test_all_ignored_has_no_value_and_says_why(protocol):
    blank = [
        (sample(i, anomaly=np.full((4, 4), 255, np.uint8), labels=np.full((4, 4), 255, np.uint8)), predicted, score)
        for i, (predicted, score) in enumerate([(np.zeros((4, 4), np.uint8), np.ones((4, 4), np.float32))] * 2)
    ]
    figures, replicates = evaluate(protocol, blank, replicates=lambda n: np.ones((3, n)))
    if (
        protocol.name == "idm_ood_cdd" or protocol.name == "open_miou"
    ):  # where unlabelled pixels are a class of their own
        assert isinstance(figures.get("idm_auroc", Undefined("")), Undefined)
        return
    assert all(isinstance(figure, Undefined) and figure.reason.startswith("no ") for figure in figures.values())
    assert all(np.isnan(values).all() and values.shape == (3,) for values in replicates.values())


def test_a_sample_without_the_truth_is_refused(protocol):
    empty = Sample(id="x", size=(2, 2), image=lambda: np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(BadPlugin, match="x has no"):
        protocol.categories(empty, np.zeros((2, 2), np.uint8))


def test_an_increasing_map_of_the_scores_changes_nothing(protocol):
    if protocol.name in NOT_RANK_ONLY:
        pytest.skip(NOT_RANK_ONLY[protocol.name])
    before = evaluate(protocol, scenes())
    bent = [(each, predicted, np.where(score > 0, 4 * score, score)) for each, predicted, score in scenes()]
    after = evaluate(protocol, bent)  # exact in float32, so that no two scores become one
    for name, figure in before.items():
        if "threshold" not in name:
            assert after[name] == figure


@pytest.mark.parametrize("name", ["smiyc_anomaly", "smiyc_obstacle"])
def test_the_exact_figures_beside_a_sketch_are_rank_only(name):
    protocol = next(plugin for plugin in PROTOCOLS if plugin.name == name)()
    bent = [(each, predicted, np.where(score > 0, 4 * score, score)) for each, predicted, score in scenes()]
    before, after = evaluate(protocol, scenes()), evaluate(protocol, bent)
    assert all(before[metric] == after[metric] for metric in before if metric.endswith("_exact"))


def test_anomaly_and_misclassification_are_the_same_ranking_of_other_truths():
    (each, predicted, score), *_ = scenes(1)
    wrong = np.where(each.labels == 255, 255, each.labels != predicted).astype(np.uint8)
    as_anomaly = evaluate(Anomaly(), [(sample(0, anomaly=wrong), None, score)])
    assert evaluate(Misclassification(), [(each, predicted, score)]).items() >= as_anomaly.items()


def test_unlabelled_pixels_are_no_misclassification():
    labels, predicted = np.uint8([[0, 1, 255]]), np.uint8([[0, 2, 3]])
    categories = Misclassification().categories(sample(0, labels=labels), predicted)
    assert categories.tolist() == [[0, 1, 255]]


def test_components_are_sought_at_the_threshold_that_the_pixels_chose():
    anomaly = np.zeros((20, 40), np.uint8)
    anomaly[5:15, 5:15] = 1
    score = np.where(anomaly == 1, 2, 1).astype(np.float32)
    figures = evaluate(Components(), [(sample(0, anomaly=anomaly), None, score)])
    assert figures == {
        "siou": Value(1.0), "ppv": Value(1.0), "mean_f1": Value(1.0), "threshold": Value(2.0)
    }  # fmt: skip


def test_components_below_their_minimum_are_parameters():
    anomaly = np.zeros((20, 40), np.uint8)
    anomaly[5:8, 5:8] = 1
    score = np.where(anomaly == 1, 2, 1).astype(np.float32)
    figures = evaluate(Components(), [(sample(0, anomaly=anomaly), None, score)])
    assert figures["siou"] == Undefined("no object large enough")
    figures = evaluate(Components(min_predicted=1, min_truth=1), [(sample(0, anomaly=anomaly), None, score)])
    assert figures["siou"] == Value(1.0)


def test_miou_reads_no_score_and_leaves_absent_classes_out():
    protocol = MeanIoU()
    assert protocol.reads is None
    each = sample(0, labels=np.uint8([[0, 0, 1, 255]]))
    assert evaluate(protocol, [(each, np.uint8([[0, 1, 1, 3]]), None)]) == {
        "miou": Value(0.5), "pixel_accuracy": Value(2 / 3)
    }  # fmt: skip


def coarse(levels):
    """Scenes whose scores share few keys of 24 bits, so that the bounds are put to the test."""
    for each, predicted, score in scenes():
        key = np.float32(1).view(np.uint32) + np.clip((score * 40 + 100).astype(np.int64), 0, levels)
        yield each, predicted, key.astype(np.uint32).view(np.float32)


def test_a_threshold_from_elsewhere_counts_what_is_at_or_above_it():
    # at or above 2: two of three anomalies, one of three others
    each = sample(0, anomaly=np.uint8([[1, 1, 1, 0, 0, 0, 255]]))
    score = np.float32([[3, 2, 1, 2, 1, 0, 9]])
    for budget in (2**30, 0):
        figures = evaluate(OperatingPoint(threshold=2.0), [(each, None, score)], budget=budget)
        assert [figure.value for figure in figures.values()] == pytest.approx(
            [*[2 / 3, 1 / 3, 2 / 3, 2 / 3, 2.0], 1, 1]
        )
        assert all(figure.err == 0 for figure in figures.values())  # 2.0 is where a key of 24 bits begins
    between = evaluate(
        OperatingPoint(threshold=float(np.nextafter(np.float32(2), np.float32(3)))), [(each, None, score)]
    )
    assert between["tpr"] == Value(1 / 3)
    beyond = evaluate(OperatingPoint(threshold=99.0), [(each, None, score)])
    assert beyond["precision"] == Undefined("no pixels at or above the threshold")
    assert beyond["tpr"] == Value(0.0)


@pytest.mark.parametrize("levels", [200, 700, 2000])
def test_certified_figures_hold_the_exact_ones(protocol, levels):
    if protocol.name in {"components", "instances", "mask_instances"}:
        pytest.skip("its threshold is the lower end of a key, and its figures are of that threshold")
    if "operating_point" in protocol.name:
        protocol = type(protocol)(threshold=float(np.float32(1) + np.float32(2**-23) * 150))
    exact, certified = evaluate(protocol, coarse(levels)), evaluate(protocol, coarse(levels), budget=0)
    for metric, figure in exact.items():
        if isinstance(figure, Undefined):
            assert certified[metric] == figure
            continue
        assert figure.err == 0
        assert abs(certified[metric].value - figure.value) <= certified[metric].err, metric
