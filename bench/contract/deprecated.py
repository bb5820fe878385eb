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


def adopt_method(cls: type[Any]) -> None:
    """Give a class of the old contract the properties of the new one."""
    own = vars(cls)
    for old, new in (("asks", "needs"), ("merges", "merge")):
        if old in own:
            warn(f"{cls.__name__}.{old}()", f"write a property {new}")
            setattr(cls, new, _Computed(own[old], own.get(new)))
    declares = [name for name in FITTING if name in own]
    if not declares and "fit" in own and inspect.getattr_static(cls, "fitting") is vars(_method())["fitting"]:
        declares = ["fit"]
    if declares and "fitting" not in own:
        warn(
            f"{cls.__name__}.{declares[0]}",
            "write fitting = Fitting(trainer, must, needs, reads), or Constants(classes)",
        )
        cls.fitting = _Computed(_old_fitting)
    if "meet" in own or ("check" in own and len(inspect.signature(own["check"]).parameters) < 3):
        warn(f"{cls.__name__}.{'meet' if 'meet' in own else 'check'}(model)", "write check(model, network=None)")
        cls.check = _merged_check(cls, own.get("check"), own.get("meet"))


def _method() -> Any:
    from bench.contract.method import Method

    return Method


def _old_fitting(method: Any) -> Any:
    from bench.contract.method import Constants, Fitting

    own = type(method).fit is not _method().fit
    trainer = getattr(method, "trainer", None)
    said = method.fits()
    if said == "cannot" or not (own or trainer):
        classes = method.classes()
        return Constants(classes) if classes else None
    needs = getattr(method, "fit_needs", Fitting().needs)
    return Fitting(None if own else trainer, said == "must", needs, getattr(method, "fit_reads", None))


def _merged_check(cls: type[Any], check: Callable[..., None] | None, meet: Callable[..., None] | None) -> Any:
    def merged(self: Any, model: Any, network: Any = None) -> None:
        old = check if network is None else meet
        if old is None:
            super(cls, self).check(model, network)
        else:
            old(self, model if network is None else network)

    return merged


class OldModelNames:
    """What networks were asked for under another name."""

    @property
    def gives(self) -> frozenset[str]:
        """Return ``outputs``."""
        warn("SegModel.gives", "read outputs")
        return _declared(self, "outputs")  # type: ignore[no-any-return]  # whatever the class declares


def adopt_model(cls: type[Any]) -> None:
    """Give a network of the old contract the properties of the new one."""
    gives = vars(cls).get("gives")
    if isinstance(gives, property):
        warn(f"{cls.__name__}.gives", "write a property outputs")
        cls.outputs = _Computed(lambda self: self.gives)
