"""Plug-ins that were written for the contract before: they run for one version and are told what replaces each name."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch

from bench.api import CITYSCAPES, Constants, Fitting, Method, Prediction
from bench.contract.logit_score import LogitScore


def told(*words):
    return pytest.warns(DeprecationWarning, match=".*".join(words))


def bare(**attributes):
    """Return a method class with these attributes; making it may warn."""

    def score(self, prediction, state):
        return prediction.max_logit

    return type("Mine", (Method,), {"name": "mine", "source": "here", "score": score} | attributes)


def test_facts_that_were_methods_are_properties_now():
    with told("Mine.asks", "needs"):
        cls = bare(needs=frozenset({"logits"}), asks=lambda self: self.needs_too(), needs_too=lambda self: {"raw"})
    with told("Mine.merges", "merge"):
        views = bare(merges=lambda self: "views")
    assert cls().needs == {"raw"} and cls().merge == "merged" and views().merge == "views"


def test_an_old_method_may_ask_its_parents():
    with told("Old.asks", "needs"):

        @dataclass(frozen=True)
        class Old(LogitScore):
            name = "old"
            source = "here"
            more: bool = True

            def asks(self) -> frozenset[str]:
                return super().asks() | ({"image"} if self.more else frozenset())

            def score(self, prediction, state):
                return prediction.max_logit

    with told("Method.asks", "needs"):
        assert Old().needs == {"logits", "image"}
    with told("Method.asks", "needs"):
        assert Old(more=False, fidelity="reference").needs == {"logits", "raw"}


def test_a_fit_that_was_declared_in_five_places():
    with told("Mine.must_fit", "fitting = Fitting"):
        cls = bare(must_fit=True, fit_needs=frozenset({"anomaly"}), fit_reads=frozenset(), fit=lambda self, s, seed: {})
    assert cls().fitting == Fitting(None, True, frozenset({"anomaly"}), frozenset())
    with told("Mine.trainer", "fitting = Fitting"):
        shared = bare(trainer="temperature")
    assert shared().fitting == Fitting("temperature")
    with told("Mine.fit", "fitting = Fitting"):
        assert bare(fit=lambda self, stream, seed: {})().fitting == Fitting()
    with told("Mine.trainer", "fitting = Fitting"):

        @dataclass(frozen=True)
        class Mine(LogitScore):
            name = "mine"
            source = "here"
            trainer: ClassVar[str | None] = "temperature"

            def score(self, prediction, state):
                return prediction.max_logit

    assert Mine().fitting == Fitting("temperature") and Mine(fidelity="reference").fitting is None


def test_a_fit_that_parameters_decide():
    with told("Sure.fits", "Constants"):

        @dataclass(frozen=True)
        class Sure(Method):
            name = "sure"
            source = "here"
            statistics: Literal["fitted", "published"] = "fitted"

            def fits(self):
                return "must" if self.statistics == "fitted" else "cannot"

            def classes(self):
                return None if self.statistics == "fitted" else CITYSCAPES

            def fit(self, stream, seed):
                return {}

            def score(self, prediction, state):
                return prediction.max_logit

    assert Sure().fitting == Fitting(must=True) and Sure("published").fitting == Constants(CITYSCAPES)


def test_check_and_meet_are_one():
    calls = []
    with told("Mine.meet", "check"):
        cls = bare(check=lambda self, model: calls.append(("check", model)), meet=lambda self, net: calls.append(net))
    cls().check("specification")
    cls().check("specification", "loaded")
    assert calls == [("check", "specification"), "loaded"]
    with told("Mine.check", "network=None"):
        cls = bare(check=lambda self, model: calls.append("alone"))
    cls().check("specification")
    cls().check("specification", "loaded")
    assert calls[2:] == ["alone"]


def test_old_questions_have_answers():
    method = bare(needs=frozenset({"score"}), fitting=Fitting(must=True))()
    for ask, answer in ((method.asks, {"score"}), (method.merges, "merged"), (method.fits, "must")):
        with told("deprecated"):
            assert ask() == answer
    with told("deprecated"):
        assert bare(fitting=Constants(("a",)))().classes() == ("a",)
    with told("deprecated"):
        assert bare()().fits() == "cannot"


def test_a_new_method_is_told_nothing(recwarn):
    cls = bare(fitting=Fitting(), fit=lambda self, stream, seed: {}, check=lambda self, model, network=None: None)
    given = cls().score(Prediction({"logits": torch.zeros(2, 1, 1)}, (1, 1)), {})
    assert not recwarn.list and np.array_equal(given.numpy(), [[0]])
