"""The contract of a protocol: at most nine names, and those that it had before work for one version."""

import inspect
from dataclasses import asdict, dataclass

import numpy as np
import pytest

from bench.api import (
    Breakdown,
    CarriesThreshold,
    Metric,
    PlugIn,
    Presented,
    Protocol,
    Quantized,
    RefinementAware,
    Sample,
    SignedRate,
    TwoPhase,
    Undefined,
    Value,
)
from bench.contract.old_protocols import RENAMED
from bench.core.errors import BadPlugin
from bench.metrics import slices
from bench.metrics.accumulate import Accumulator, ScoredImage, Truth
from bench.metrics.protocols.pooled import Misclassification

DERIVED = {"truths", "reads"}


def public(cls):
    """Names that a class declares or defines, without those that it has from Python."""
    names = {*vars(cls), *inspect.get_annotations(cls)} - set(RENAMED)
    return {name for name in names if not name.startswith("_")}


def test_a_protocol_has_at_most_nine_names_beside_its_name_and_source():
    assert len((public(Protocol) | public(PlugIn)) - DERIVED - {"name", "source"}) <= 9
    kinds = {TwoPhase: 4, Quantized: 3, Breakdown: 1, CarriesThreshold: 1, RefinementAware: 2, Presented: 2}
    assert {kind: len(public(kind)) for kind in kinds} == kinds


def test_what_is_read_follows_from_needs():
    assert (Misclassification.reads, Misclassification.truths) == ("score", {"labels"})
    for needs, words in (({"lables", "score"}, "lables"), ({"labels", "score", "confidence"}, "one map")):
        with pytest.raises(BadPlugin, match=words):
            type("Wrong", (Misclassification,), {"needs": frozenset(needs)})


def test_the_range_of_a_metric_is_its_own_and_not_in_its_record():
    assert Metric("a", "b").limits == (0, 1) and Metric("a", "b", unit="number").limits == (-np.inf, np.inf)
    signed = Misclassification.metrics["prr"]
    assert signed.limits == (-1, 1)
    assert asdict(signed) == asdict(Metric(signed.title, signed.definition))


def told(*words):
    return pytest.warns(DeprecationWarning, match=".*".join(words))


def images(count=3):
    for index in range(count):
        truth = np.zeros((4, 6), np.uint8)
        truth[1:3, : index + 2] = 1
        score = np.arange(24, dtype=np.float32).reshape(4, 6) / 23 + 0.001
        yield Sample(f"s{index}", truth.shape, lambda: None, labels=truth, anomaly=truth), np.zeros_like(truth), score


def figures(protocol):
    """What a run makes of the images, with a second phase if there is one."""
    accumulator = Accumulator(protocol)
    for sample, predicted, score in images():
        accumulator.add(ScoredImage(Truth(sample, predicted), {"score": score, "confidence": score}))
    parameters = accumulator.parameters()
    for sample, predicted, score in images() if parameters else ():
        accumulator.add_second(sample, predicted, score, parameters)
    return accumulator.reading()


@pytest.fixture(scope="module")
def old():
    """A protocol that says everything in the names of before."""
    with pytest.warns(DeprecationWarning) as record:

        @dataclass(frozen=True)
        class Old(Protocol):
            name = "old"
            source = "here"
            title = "The old one"
            version = 1
            metrics = {"mean": Metric("mean", "of a row", unit="rate"), "first": Metric("first", "threshold")}  # noqa: RUF012
            needs = frozenset({"anomaly"})
            needs_prediction = True
            second_phase = True
            ranked = False
            resizes = True
            signed = frozenset({"mean"})
            category_names = ("normal", "anomaly")

            def seen(self, score):
                return score.round()

            def categories(self, sample, predicted):
                return sample.anomaly

            def row(self, sample, predicted, score=None):
                return {"mean": np.array(score.mean())}

            def read(self, tally, rows):
                pixels = tally.counts().column([1]).total
                mean = Value(float(self.replicate(np.ones((1, len(rows))), rows)["mean"][0]))
                return {"mean": mean, "first": Value(rows["s0"]["first"].item() + pixels)}

            def refused(self):
                return ""

            def refuses(self, method):
                return "never"

            def parts(self, tally, rows):
                return {"side": {"anomaly": {"first": Value(float(tally.counts().column([1]).total))}}}

            def replicate(self, weights, rows):
                return {"mean": weights @ np.array([row["mean"] for row in rows.values()]) / weights.sum(axis=1)}

            def parameters(self, tally, rows):
                return {"threshold": 0.5} if tally.counts().column([1]).total else Undefined("nothing")

            def frame(self, score, sample, predicted, parameters):
                return {"first": np.array((score >= parameters["threshold"]).sum())}

    return Old, [str(warning.message) for warning in record]


def test_each_old_name_says_what_replaces_it(old):
    _, messages = old
    for name, words in (
        ("seen()", "call it quantize, and derive from Quantized"),
        ("frame()", "call it second_row, and derive from TwoPhase"),
        ("parts()", "call it breakdown, and derive from Breakdown"),
        ("replicate()", "call it bootstrap"),
        ("second_phase", "derive from TwoPhase"),
        ("refuses()", "derive from RefinementAware"),
        ("resizes", "derive from Quantized"),
        ("title", "derive from Presented"),
        ("ranked", "derive from Presented"),
        ("signed", "SignedRate"),
        ("needs_prediction", "needs = frozenset({'anomaly', 'prediction', 'score'})"),
    ):
        assert any(f"Old.{name} is deprecated" in message and words in message for message in messages), name
    assert len(messages) == 11


def test_a_protocol_of_before_does_what_it_did(old):
    protocol = old[0]()
    assert protocol.needs == {"anomaly", "prediction", "score"} and protocol.reads == "score"
    assert (protocol.title, protocol.ranked) == ("The old one", False)
    assert isinstance(protocol.metrics["mean"], SignedRate)
    for kind in (TwoPhase, Quantized, Breakdown, RefinementAware, Presented):
        assert isinstance(protocol, kind)
    assert (protocol.spool, protocol.resizes, protocol.refuses(None)) == ("float16", True, "never")
    with told("counts"):
        reading = figures(protocol)
        found = reading.read()
    rounded = [score.round() for _, _, score in images()]
    pixels = sum(int((sample.anomaly == 1).sum()) for sample, _, _ in images())
    assert found["mean"] == Value(pytest.approx(np.mean(rounded), abs=1e-6))
    assert found["first"] == Value(float((rounded[0] >= 0.5).sum() + pixels))
    with told("counts"):
        assert slices.by_truth(reading)["side"]["anomaly"]["metrics"]["first"] == Value(float(pixels))


def test_a_child_of_a_new_protocol_may_call_its_parents_by_their_old_names():
    with told("replicate", "bootstrap"):

        class Child(Misclassification):
            name = "child"

            def replicate(self, weights, rows):
                return {"auroc": super().replicate(weights, rows)["auroc"]}

    reading = figures(Child())
    with told("Protocol.replicate is called bootstrap"):
        resampled = Child().bootstrap(np.ones((1, 3)), reading.rows)
    assert resampled.keys() == {"auroc"}
    assert resampled["auroc"] == Misclassification().bootstrap(np.ones((1, 3)), reading.rows)["auroc"]


@pytest.mark.parametrize(
    ("flags", "needs"),
    [
        ({"needs": frozenset({"labels"}), "needs_prediction": True, "scored": False}, {"labels", "prediction"}),
        ({"needs": frozenset({"labels"}), "scored": False}, {"labels", "prediction"}),
        ({"needs": frozenset({"labels"}), "reads": "confidence"}, {"labels", "confidence"}),
        ({"needs": frozenset({"anomaly"})}, {"anomaly", "score"}),
    ],
)
def test_three_flags_are_one_name(flags, needs):
    with told("needs = frozenset"):
        cls = type("Old", (Protocol,), flags)
    assert cls.needs == needs and cls.reads in (needs & {"score", "confidence"} or {None})
    assert cls.truths == needs & {"labels", "anomaly"}


def test_a_new_protocol_is_told_nothing(recwarn):
    class Child(Misclassification):
        name = "child"

        def bootstrap(self, weights, rows):
            return super().bootstrap(weights, rows)

    figures(Child()).figures(0, 20)
    assert not recwarn.list
