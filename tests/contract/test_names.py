"""How much of the contract the author of a plug-in must know, beside what all plug-ins share."""

from bench.api import Estimator, Finetuner, LongTrainer, Method, Network, PlugIn, SegModel, ShardNetwork, Trainer

SHARED = {"name", "source", "computations"}  # of every kind of plug-in


def names(*classes):
    return {name for cls in classes for name in vars(cls) if not name.startswith("_")} - SHARED


def test_a_method_is_nine_names():
    assert names(Method) == {
        *("needs", "merge", "fitting", "uses_outliers", "check", "digest", "score", "fit", "confidence"),
    }


def test_a_network_is_fourteen_names():
    """No program can tell whether a network treats each image of a batch alone, nor what images change in it."""
    specification = {"inference", "class_names", "outputs", "state", "check", "digest", "about", "load", "claims"}
    assert names(SegModel) | SegModel.__annotations__.keys() == specification
    assert names(Network, ShardNetwork) == {*("batched", "predict", "module", "forward", "about", "prepare", "reset")}
    parameters = {"inference"}  # every suite may give it; no author writes it
    assert len((names(SegModel, Network, ShardNetwork)) - parameters) == 14


def test_three_kinds_of_trainers_are_siblings():
    assert all(kind.__mro__[1] is Trainer for kind in (Estimator, LongTrainer, Finetuner))
    assert [names(kind) for kind in (Estimator, LongTrainer, Finetuner)] == [
        {"fit"},
        {"images", "train"},
        {"images", "finetune"},
    ]
    assert names(Trainer, PlugIn) == {"version"}
