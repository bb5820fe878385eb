"""Names of the contract before version 0.2: understood for one version, each with a warning that says what replaces it.

Plug-ins of that version are adopted when their class is made; nothing else of the program knows the old names.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

FITTING = ("trainer", "must_fit", "fit_needs", "fit_reads", "fits", "classes")  # one declaration now


def warn(old: str, new: str) -> None:
    """Say that a name is old, and what replaces it; the line that used it is three calls away."""
    warnings.warn(f"{old} is deprecated and goes with the next version: {new}", DeprecationWarning, stacklevel=4)


class _Computed(property):
    """A property that a class of the old contract computes by a method; ``declared`` is what stood beside it."""

    def __init__(self, compute: Callable[[Any], Any], declared: Any = None) -> None:
        super().__init__(compute)
        self.declared = declared


def _declared(instance: Any, name: str) -> Any:
    """Return a property of a method as its classes declare it, without what an old class computes."""
    for cls in type(instance).__mro__:
        value = vars(cls).get(name)
        if isinstance(value, _Computed):
            value = value.declared
        if value is not None:
            return value.__get__(instance) if isinstance(value, property) else value
    raise AttributeError(name)


class OldMethodNames:
    """What methods were asked before their facts became properties."""

    def asks(self) -> Any:
        """Return ``needs``."""
        warn("Method.asks()", "read needs")
        return _declared(self, "needs")

    def merges(self) -> Any:
        """Return ``merge``."""
        warn("Method.merges()", "read merge")
        return _declared(self, "merge")

    def fits(self) -> str:
        """Return must, may or cannot."""
        if isinstance(inspect.getattr_static(self, "fitting"), _Computed):
            if getattr(self, "fidelity", "corrected") == "reference":
                return "cannot"
            return "must" if getattr(self, "must_fit", False) else "may"
        warn("Method.fits()", "read fitting")
        fitting = self.fitting  # type: ignore[attr-defined]  # of the method that this is mixed into
        return "must" if getattr(fitting, "must", False) else "may" if hasattr(fitting, "trainer") else "cannot"

    def classes(self) -> Any:
        """Return the classes that the method holds constants for."""
        if not isinstance(inspect.getattr_static(self, "fitting"), _Computed):
            warn("Method.classes()", "read fitting")
            return getattr(self.fitting, "classes", None)  # type: ignore[attr-defined]
        return None

    def meet(self, model: Any) -> None:
        """Do nothing: ``check`` is called with the loaded network."""
        warn("Method.meet(model)", "call check(model, network)")


def adopt_method(cls: type[Any], base: type[Any], fitting: type[Any], constants: type[Any]) -> None:
    """Give a class of the old contract the properties of the new one: of ``base``, with its two kinds of state."""
    own = vars(cls)
    for old, new in (("asks", "needs"), ("merges", "merge")):
        if old in own:
            warn(f"{cls.__name__}.{old}()", f"write a property {new}")
            setattr(cls, new, _Computed(own[old], own.get(new)))
    for old, new in (("look", "describe"), ("refine", "apply")):
        if old in own and hasattr(cls, new):  # of a refinement alone
            warn(f"{cls.__name__}.{old}()", f"call it {new}")
            setattr(cls, new, own[old])
    declares = [name for name in FITTING if name in own]
    if not declares and "fit" in own and inspect.getattr_static(cls, "fitting") is vars(base)["fitting"]:
        declares = ["fit"]
    if declares and "fitting" not in own:
        warn(
            f"{cls.__name__}.{declares[0]}",
            "write fitting = Fitting(trainer, must, needs, reads), or Constants(classes)",
        )
        cls.fitting = _Computed(lambda self: _old_fitting(self, base, fitting, constants))
    if "meet" in own or ("check" in own and len(inspect.signature(own["check"]).parameters) < 3):
        warn(f"{cls.__name__}.{'meet' if 'meet' in own else 'check'}(model)", "write check(model, network=None)")
        cls.check = _merged_check(cls, own.get("check"), own.get("meet"))


def _old_fitting(method: Any, base: type[Any], fitting: type[Any], constants: type[Any]) -> Any:
    own = type(method).fit is not base.fit
    trainer = getattr(method, "trainer", None)
    answer = method.fits()
    if answer == "cannot" or not (own or trainer):
        classes = method.classes()
        return constants(classes) if classes else None
    needs = getattr(method, "fit_needs", fitting().needs)
    return fitting(None if own else trainer, answer == "must", needs, getattr(method, "fit_reads", None))


def _merged_check(cls: type[Any], check: Callable[..., None] | None, meet: Callable[..., None] | None) -> Any:
    def merged(self: Any, model: Any, network: Any = None) -> None:
        old = check if network is None else meet
        if old is None:
            super(cls, self).check(model, network)
        else:
            old(self, model if network is None else LoadedModel(network))

    return merged


class OldModelNames:
    """What networks were asked for under another name."""

    @property
    def gives(self) -> frozenset[str]:
        """Return ``outputs``."""
        warn("SegModel.gives", "read outputs")
        return _declared(self, "outputs")  # type: ignore[no-any-return]  # whatever the class declares


class OldDatasetNames:
    """What data sets were asked for under another name."""

    @property
    def gives(self) -> frozenset[str]:
        """Return ``annotations``."""
        warn("Dataset.gives", "read annotations")
        return self.annotations  # type: ignore[attr-defined, no-any-return]  # of the data set that this is mixed into


def adopt_dataset(cls: type[Any]) -> None:
    """Give a data set of the old contract the property of the new one."""
    if (gives := vars(cls).get("gives")) is not None:
        warn(f"{cls.__name__}.gives", "write annotations")
        cls.annotations = gives


def adopt_model(cls: type[Any]) -> None:
    """Give a network of the old contract the properties of the new one."""
    if isinstance(vars(cls).get("gives"), property):
        warn(f"{cls.__name__}.gives", "write a property outputs")
        cls.outputs = _Computed(lambda self: self.gives)
    if vars(cls).get("by_shard") is True:
        warn(f"{cls.__name__}.by_shard", "derive from ShardModel, and its network from ShardNetwork")


class LoadedModel:
    """A network and its specification in one, as the old contract had it."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def __getattr__(self, name: str) -> Any:
        if name == "predict_views":
            return self._network.predict
        if name == "predict":
            return lambda view: self._network.predict([view])[0]
        return getattr(self._network, name, None) or getattr(self._network.model, name)


class OldContext:
    """What the contexts of trainings were asked for under another name."""

    __slots__ = ()

    @property
    def model(self) -> Any:
        """Return the network and its specification in one."""
        warn("Course.model", "read context.network, and context.network.model for its specification")
        return LoadedModel(self.network)  # type: ignore[attr-defined]  # of the context that this is mixed into

    @property
    def samples(self) -> Any:
        """Return the reader of the labelled data."""
        warn("Course.samples", "read context.data.samples")
        return self.data.samples  # type: ignore[attr-defined]  # as above


class OldSource:
    """What was the data set itself, or ``data``, and is ``dataset`` now."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        warn(f"context.data.{name}", "read context.data.dataset")
        dataset = self.dataset
        return dataset if name == "data" else getattr(dataset, name)


def adopt_trainer(cls: type[Any], estimator: type[Any], finetuner: type[Any]) -> None:
    """Give a trainer of the old contract its kind, and its method the new name."""
    if "retrain" in vars(cls) and finetuner in cls.__mro__:
        warn(f"{cls.__name__}.retrain(course)", "write finetune(context)")
        setattr(cls, "finetune", vars(cls)["retrain"])  # noqa: B010 - it is a method of the base
    if "fit" in vars(cls) and estimator not in cls.__mro__:
        warn(f"{cls.__name__}, a Trainer with fit", "derive from Estimator")


RENAMED = {"Course": "TrainingContext", "Retraining": "TrainingContext", "Retrainer": "Finetuner"}


def renamed(name: str) -> str:
    """Return what a name of ``bench.api`` is called now. Raise AttributeError for a name that never was one."""
    if name not in RENAMED:
        raise AttributeError(f"module 'bench.api' has no attribute {name!r}")
    warn(f"bench.api.{name}", f"import {RENAMED[name]}")
    return RENAMED[name]
