"""Plug-ins that were written for the contract before: they run for one version and are told what replaces each name."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch

import bench.api
from bench.api import (
    CITYSCAPES,
    Constants,
    Dataset,
    Estimator,
    Finetuner,
    Fitting,
    Method,
    Prediction,
    Refinement,
    Sample,
    SegModel,
    ShardModel,
    ShardNetwork,
    Source,
    Trainer,
    TrainingContext,
    View,
)
from bench.contract.logit_score import LogitScore
from bench.contract.network import loaded
from bench.datasets.toytown.scenes import Toytown
from bench.models import inference
from bench.models.numerics import Numerics


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


def test_an_old_refinement_describes_and_applies():
    with told("Mine.look", "describe"), told("Mine.refine", "apply"):
        cls = type(
            "Mine",
            (Refinement,),
            {
                "name": "mine",
                "source": "here",
                "refines": "msp",
                "score": lambda self, prediction, state: prediction.max_logit,
                "look": lambda self, prediction, score, truth: {"segments.id": score},
                "decide": lambda self, rows, groups, state, seed: None,
                "refine": lambda self, score, truth, decided: score + 1,
            },
        )
    assert cls().describe(None, 1, None) == {"segments.id": 1} and cls().apply(1, None, {}) == 2


def test_check_and_meet_are_one():
    calls = []
    with told("Mine.meet", "check"):
        cls = bare(
            check=lambda self, model: calls.append(("check", model)), meet=lambda self, net: calls.append(net.name)
        )
    cls().check("specification")
    cls().check("specification", SimpleNamespace(name="loaded"))
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


def network(**attributes):
    """Return the class of a network that predicts itself once ``load`` was called; making it may warn."""

    def load(self, device):
        vars(self)["_module"] = torch.nn.Conv2d(3, 19, 1).to(device)

    def predict(self, view):
        logits = self.module()(view.pixels[None].float())[0].detach()
        return Prediction({"logits": logits}, view.input_size, image=view.pixels)

    own = {
        "name": "own",
        "source": "here",
        "load": load,
        "predict": predict,
        "module": lambda self: vars(self)["_module"],
    }
    own |= {"check": lambda self: None, "digest": lambda self: "0" * 16}
    return type("Own", (SegModel,), own | attributes)


SAMPLE = Sample("one", (4, 6), lambda: np.zeros((4, 6, 3), np.uint8))
NUMERICS = Numerics("cpu", "cpu", 1, "")


def views(*names):
    return [
        View(name, torch.zeros(3, 4, 6, dtype=torch.uint8), 1.0, False, (0, 0, 4, 6), (4, 6), (4, 6)) for name in names
    ]


def test_a_network_that_predicts_itself_runs():
    model = network(backbone="Conv", forward=lambda self, pixels: self.module()(pixels))()
    with told("Own.load that returns None", "return a Network"):
        net = loaded(model, "cpu")
    assert inference.look(net, SAMPLE, NUMERICS, 0, {})[1].logits.shape == (19, 4, 6)
    assert net.module() is vars(model)["_module"] and net.about() == {"backbone": "Conv"} and net.model is model
    assert net.forward(torch.zeros(2, 3, 4, 6)).requires_grad
    batches = []
    model = network(predict_views=lambda self, several: batches.append(len(several)) or several)()
    with told("Own.load"):
        assert len(loaded(model, "cpu").predict(views("a", "b"))) == 2
    assert batches == [2]


def test_a_network_that_says_what_it_gives_and_sees_a_shard_together():
    seen = []
    with told("Own.by_shard", "ShardModel"), told("Own.gives", "outputs"):
        cls = network(
            gives=property(lambda self: frozenset({"logits"})),
            by_shard=True,
            prepare=lambda self, samples: seen.extend(sample.id for sample in samples),
        )
    assert cls().outputs == {"logits"} and isinstance(cls(), ShardModel)
    with told("Own.load"):
        net = loaded(cls(), "cpu")
    assert isinstance(net, ShardNetwork)
    assert list(inference.prepared(net, iter([SAMPLE]), NUMERICS)) == [SAMPLE] and seen == ["one"]
    with told("SegModel.gives", "outputs"):
        assert network()().gives == {"logits", "raw", "image"}


@pytest.mark.parametrize("gives", [frozenset({"anomaly"}), property(lambda self: frozenset({"anomaly"}))])
def test_a_data_set_that_says_what_it_gives(gives):
    body = dict.fromkeys(("ids", "load", "digest"), lambda self: None) | {"count": 0, "gives": gives}
    with told("Old.gives", "annotations"):
        cls = type("Old", (Dataset,), body)
    assert cls().annotations == {"anomaly"} == cls().gives
    with told("Dataset.gives", "annotations"):
        assert Toytown(images=2).gives == {"labels"}


def test_an_old_method_meets_a_new_network():
    with told("Mine.meet"):
        cls = bare(meet=lambda self, model: (model.name, model.class_names, model.module()))
    with told("Own.load"):
        net = loaded(network()(), "cpu")
    assert cls().check(net.model, net) is None


def context(net):
    data = Source(Toytown(images=2), lambda indices, ahead: list(indices))
    return TrainingContext(net, data, {"more": data}, None, 0, "cpu", None, None, None)


def test_contexts_of_trainings_answer_by_their_old_names():
    with told("Own.load"):
        net = loaded(network()(), "cpu")
    course = context(net)
    with told("Course.model", "context.network"):
        assert course.model.class_names == CITYSCAPES and course.model.module() is net.module()
    with told("Course.model"):
        assert len(course.model.predict_views(views("a"))) == 1 and course.model.predict(views("a")[0]).size == (4, 6)
    with told("Course.samples", "context.data.samples"):
        assert course.samples([1], []) == [1]
    with told("context.data.count", "context.data.dataset"):
        assert course.data.count == 2
    with told("context.data.data", "context.data.dataset"):
        assert course.others["more"].data is course.data.dataset


@pytest.mark.parametrize(
    ("old", "new"), [("Course", TrainingContext), ("Retraining", TrainingContext), ("Retrainer", Finetuner)]
)
def test_old_classes_of_the_contract_are_found(old, new):
    with told(f"bench.api.{old}", f"import {new.__name__}"):
        assert getattr(bench.api, old) is new
    with pytest.raises(AttributeError, match="has no attribute 'Cursor'"):
        bench.api.Cursor  # noqa: B018 - it is asked for


def test_old_trainers_are_of_their_kind():
    with told("Guess, a Trainer with fit", "Estimator"):

        class Guess(Trainer):
            name = "guess"
            source = "here"

            def fit(self, stream, seed):
                return {"count": np.array(float(len(list(stream))))}

    assert isinstance(Guess(), Estimator) and Guess().fit([1, 2], 0)["count"] == 2
    with told("Again.retrain", "finetune"):

        @dataclass(frozen=True)
        class Again(Finetuner):
            name = "again"
            source = "here"

            def images(self, data, others):
                return 1

            def retrain(self, course):
                return {}, {"seed": course.seed}

    with told("Own.load"):
        assert Again().finetune(context(loaded(network()(), "cpu"))) == ({}, {"seed": 0})
