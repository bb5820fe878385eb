"""Reliability diagrams: of rows, of whole scores, of 24 bits, and of what a run keeps."""

import numpy as np
import pytest

from bench.api import Sample, Undefined
from bench.cli.main import main
from bench.counts.tally import Tally, key_pixels
from bench.metrics.accumulate import NOTHING
from bench.metrics.protocols import calibration
from bench.metrics.protocols.calibration import Calibration
from bench.metrics.protocols.pooled import Misclassification
from bench.results import reliability, store
from bench.suite import expansion as suites


def scenes(levels=None):
    """Samples, class maps and scores: the probability of being wrong, which they mostly are not."""
    rng = np.random.default_rng(0)
    for index in range(3):
        score = rng.beta(0.4, 2, (40, 60)).astype(np.float32)
        if levels:
            score = (np.round(score * levels) / levels).astype(np.float32)
        labels = rng.integers(0, 4, score.shape).astype(np.uint8)
        predicted = np.where(rng.random(score.shape) < score**1.5, (labels + 1) % 4, labels).astype(np.uint8)
        labels[:2] = 255
        yield Sample(f"s{index}", score.shape, lambda: None, labels=labels), predicted, score


def confidence(score):
    return 1 - score


def counted(bits, data):
    tally = Tally(2)
    if bits == 24:
        tally.fold()
    for sample, predicted, score in data:
        tally.add(key_pixels(score, Misclassification().categories(sample, predicted), 2))
    return tally.counts()


def rows(data):
    return {sample.id: Calibration().row(sample, predicted, confidence(score)) for sample, predicted, score in data}


@pytest.mark.parametrize("levels", [None, 30])  # with 30 the confidences of two bins in three lie on an edge, nearly
def test_whole_scores_have_the_very_bins_of_the_protocol(levels):
    data = list(scenes(levels))
    wanted, found = calibration.of_rows(rows(data)), calibration.of_counts(counted(32, data), [1], [0], confidence)
    assert np.array_equal(found.pixels, wanted.pixels) and np.array_equal(found.right, wanted.right)
    assert found.confidence == pytest.approx(wanted.confidence, rel=1e-12)
    assert not found.shared.any() and not found.slack.any()
    assert found.pixels.sum() == 3 * 38 * 60
    gap = abs(found.right - found.confidence).sum() / found.pixels.sum()
    assert gap == pytest.approx(Calibration().read(NOTHING, rows(data))["ece"].value)


def test_scores_of_24_bits_say_how_many_pixels_may_lie_elsewhere():
    data = list(scenes())
    exact, found = (calibration.of_counts(counted(bits, data), [1], [0], confidence) for bits in (32, 24))
    either = np.concatenate([found.shared, [0]]) + np.concatenate([[0], found.shared])
    assert (abs(found.pixels - exact.pixels) <= either).all() and (abs(found.right - exact.right) <= either).all()
    assert 0 < found.slack.sum() < 1e-4 * found.pixels.sum()
    assert abs(found.confidence.sum() - exact.confidence.sum()) <= found.slack.sum()


def test_pixels_that_share_a_key_across_an_edge_are_counted():
    # Of 5 bins .6 is an edge. The 24 bits of a score of .4 hold scores on both sides of it; those of the others do not.
    score = np.float32([[0.4, 0.55, 0.1, 0.9]])
    sample = Sample("s", (1, 4), lambda: None, labels=np.uint8([[0, 0, 0, 1]]))
    data = [(sample, np.zeros((1, 4), np.uint8), score)]
    found = calibration.of_counts(counted(24, data), [1], [0], confidence, bins=5)
    assert found.shared.tolist() == [0, 0, 1, 0]
    assert found.pixels.tolist() in ([1, 0, 1, 1, 1], [1, 0, 2, 0, 1]) and found.right[0] == 0
    assert calibration.of_counts(counted(32, data), [1], [0], confidence, bins=5).shared.tolist() == [0, 0, 0, 0]


def test_only_a_falling_confidence_can_be_read():
    counts = counted(32, scenes())
    assert calibration.of_counts(counts, [1], [0], lambda score: None) == Undefined("the method gives no confidence")
    rising = calibration.of_counts(counts, [1], [0], lambda score: score)
    assert rising == Undefined("the confidence does not fall as the score rises")
    empty = calibration.of_counts(Tally(2).counts(), [1], [0], confidence)
    assert empty == calibration.of_rows({}) == Undefined("no pixels")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reliability")
    (folder / "suite.yaml").write_text("""
protocols: [misclassification, misclassification: {by: class}, calibration]
models: [toynet]
datasets: [toytown: {split: val, images: 4}]
methods: [msp, energy]
bootstrap: 0
""")
    argv = ["--out", str(folder / "run"), "--workers", "0", "--gallery", "0"]
    assert main(["run", str(folder / "suite.yaml"), *argv]) == 0
    return store.read_run(folder / "run")


def test_a_run_keeps_the_bins_of_scores_that_are_confidences(run):
    diagrams = {(each.labels.protocol, each.labels.method): reliability.diagram(run, each) for each in run.results}
    assert {cell for cell, found in diagrams.items() if found is None} == {
        ("misclassification", "energy"),
        ("misclassification[by=class]", "energy"),
        ("calibration", "energy"),
    }
    wanted = diagrams["calibration", "msp"]
    for protocol in ("misclassification", "misclassification[by=class]"):
        found = diagrams[protocol, "msp"]
        assert np.array_equal(found.pixels, wanted.pixels) and np.array_equal(found.right, wanted.right)
        assert found.confidence == pytest.approx(wanted.confidence, rel=1e-9)


def test_a_run_of_before_has_no_bins(run, tmp_path):
    (cell,) = suites.load(run.path / "suite.yaml").only({"protocol": "misclassification", "method": "msp"}).cells[:1]
    result = next(each for each in run.results if each.key == cell.key)
    path = store.counts_path(run.path, cell.key)
    with np.load(path) as arrays:
        rest = {name: arrays[name] for name in arrays.files if not name.startswith("reliability.")}
    np.savez(path, **rest)
    assert reliability.diagram(run, result) is None
