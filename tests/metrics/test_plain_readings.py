"""Every registered protocol against a plain float64 reading of its definition, on random maps with odd values."""

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from plain_readings import READINGS, Plain, auroc, objects, step_ap
from scipy import ndimage

from bench.api import Sample, TwoPhase, Undefined, Value
from bench.counts.keys import narrowed
from bench.counts.tally import Tally
from bench.metrics.accumulate import Accumulator, ScoredImage, Truth
from bench.suite import registry

PROTOCOLS = sorted(registry.available("protocol"))
SIZE = (13, 17)
ODD = {
    "smooth": lambda score: score,
    "ties": lambda score: np.round(score * 4) / 4,
    "few": lambda score: np.round(score),
    "constant": lambda score: np.zeros_like(score),
    "signed zeros": lambda score: np.where(abs(score) < 0.5, -0.0, np.round(score)),
    "below 1": lambda score: 1 - np.exp(-abs(score) - 20),
    "huge": lambda score: np.sinh(score) * 1e300,
    "tiny": lambda score: score * 1e-44,
    "grid": lambda score: np.round(np.clip(score / 6 + 0.5, 0, 1), 2),
    "float32": lambda score: score.astype(np.float32).astype(np.float64),
    "whole numbers": lambda score: np.round(score * 100) + 2.0**30,
}
BOUNDED = ("calibration", "bravo")  # read confidences in [0, 1]
HALVES = ("smiyc_anomaly", "smiyc_obstacle")  # refuse what float16 cannot hold


def images_of(number, kind, bounded):
    """Two or three frames whose truths have blobs, ignored pixels and, at times, one side only."""
    generator = np.random.default_rng(number)

    def blobs(sigma=1.5):
        field = ndimage.gaussian_filter(generator.normal(size=SIZE), sigma)
        return field / field.std()

    images = []
    for index in range(generator.integers(2, 4)):
        anomaly = (blobs() > generator.choice([0.8, 1.5, 9])).astype(np.uint8)
        anomaly[blobs() > 1.5] = 255
        labels = np.digitize(blobs(), [-1, 0, 1]).astype(np.uint8)
        predicted = np.where(blobs(0.7) > generator.choice([0.9, 9], p=[0.8, 0.2]), (labels + 1) % 19, labels)
        labels[blobs() > 1.6] = 255
        score = ODD[kind](blobs(0.9) + (anomaly == 1) + (labels != predicted))
        if bounded:
            score = np.clip(np.nan_to_num(abs(score) % 1.0 if kind != "huge" else score / 1e302), 0, 1)
        images.append(Plain(f"f{index}", score, labels, predicted.astype(np.uint8), anomaly))
    return images


def evaluated(protocol, images, budget=2**30):
    """The figures of the protocol, by the way that its hosts take."""
    accumulator = Accumulator(protocol, budget)

    def scored(image):
        sample = Sample(
            image.id, SIZE, lambda: None, labels=image.labels, anomaly=image.anomaly, instances=objects(image)
        )
        maps = {protocol.reads: narrowed(image.score)} if protocol.reads else {}
        return ScoredImage(Truth(sample, image.predicted), maps)

    def alone(image):
        counted = scored(image).counted(protocol)
        tally = Tally(counted.keyed.n_categories)
        tally.add(counted.keyed)
        return tally

    for image in images[::-1]:
        accumulator.add(scored(image))
    if (span := accumulator.undecided()) is not None:
        accumulator.settle(map(alone, images), span)
    parameters = accumulator.parameters()
    if isinstance(protocol, TwoPhase) and not isinstance(parameters, Undefined):
        for image in images:
            each = scored(image)
            accumulator.add_second(each.truth.sample, image.predicted, each.score(protocol), parameters)
    return accumulator.reading().read()


def check(name, number, kind, budget):
    images = images_of(number, kind, name in BOUNDED)
    plain = READINGS[name](images)
    figures = evaluated(registry.available("protocol")[name](), images, budget)
    if plain is None:
        assert all(isinstance(figure, Undefined) for figure in figures.values())
        return
    for metric, value in plain.items():
        figure = figures[metric]
        if value is None or not np.isfinite(value):
            assert isinstance(figure, Undefined), (metric, figure)
            continue
        if budget == 0 and isinstance(figure, Undefined) and "threshold" in metric:
            continue  # one end of what is known of it is infinite
        assert isinstance(figure, Value), (metric, figure, value)
        slack = figure.err if budget == 0 or name in HALVES else 0
        tolerance = 1e-7 if metric == "ece" else 1e-9 * max(1, abs(value))
        assert abs(figure.value - value) <= slack + tolerance, (metric, figure, value)
        assert budget == 0 or name in HALVES or not figure.err, (metric, figure)
    unread = figures.keys() - plain.keys()
    assert all(isinstance(figures[metric], Undefined) for metric in unread), unread


def test_every_protocol_has_a_plain_reading():
    assert set(PROTOCOLS) == set(READINGS), "write a reading of the new protocol into plain_readings.py"


@pytest.mark.parametrize("name", PROTOCOLS)
@seed(16)
@settings(max_examples=12, database=None)
@given(number=st.integers(0, 2**32 - 1), kind=st.sampled_from(sorted(ODD)), budget=st.sampled_from([0, 2**30]))
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_a_protocol_gives_what_its_definition_does(name, number, kind, budget):
    if name in HALVES and kind in ("huge", "whole numbers"):
        kind = "smooth"
    check(name, number, kind, budget)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(ODD))
@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_a_protocol_gives_what_its_definition_does_on_many_maps(name, kind):
    if name in HALVES and kind in ("huge", "whole numbers"):
        pytest.skip("refused: float16 does not hold them")
    for number in range(30):
        check(name, number, kind, (0, 2**30)[number % 2])


@pytest.mark.parametrize("kind", ["smooth", "ties", "below 1", "huge"])
def test_the_plain_readings_agree_with_scikit_learn(kind):
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    scores = ODD[kind](generator.normal(size=300))
    truth = generator.random(300) < 0.3
    assert auroc(scores[truth], scores[~truth]) == pytest.approx(metrics.roc_auc_score(truth, scores), abs=1e-12)
    assert step_ap(scores[truth], scores[~truth]) == pytest.approx(metrics.average_precision_score(truth, scores))
