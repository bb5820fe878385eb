"""Protocols of the contract before version 0.2: adopted for one version, as ``deprecated`` does with other plug-ins."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from bench.contract import deprecated
from bench.core.values import Metric, SignedRate

RENAMED = {"seen": "quantize", "frame": "second_row", "parts": "breakdown", "replicate": "bootstrap"}


def adopt_protocol(cls: type[Any]) -> None:
    """Give a protocol of the old contract the names of the new one, and one of the new contract its old methods."""
    own = dict(vars(cls))
    for old, new in RENAMED.items():
        if callable(own.get(old)) and new not in own:
            deprecated.warn(f"{cls.__name__}.{old}()", f"call it {new}" + _base_of(cls, new))
            setattr(cls, new, own[old])
        elif new in own and old not in own:
            setattr(cls, old, _renamed(old, new, own[new]))
    if cls.__module__ == "bench.contract.protocol":
        return
    if own.get("second_phase"):
        deprecated.warn(f"{cls.__name__}.second_phase", "derive from TwoPhase")
        cls.spool = getattr(cls, "spool", "float16")
    for old in ("refuses", "refined"):
        if old in own and not hasattr(super(cls, cls), old):
            deprecated.warn(f"{cls.__name__}.{old}()", "derive from RefinementAware")
            cls.refuses, cls.refined = own.get("refuses", lambda *_: ""), own.get("refined", lambda *_: {})
    if "resizes" in own and not hasattr(super(cls, cls), "resizes"):
        deprecated.warn(f"{cls.__name__}.resizes", "derive from Quantized")
        cls.quantize = getattr(cls, "quantize", lambda self, score: score)
    for name in ("title", "ranked"):
        if name in own and not hasattr(super(cls, cls), name):
            deprecated.warn(f"{cls.__name__}.{name}", "derive from Presented")
            cls.title, cls.ranked = own.get("title", ""), own.get("ranked", True)
    if own.get("signed"):
        deprecated.warn(f"{cls.__name__}.signed", "make a SignedRate of each of these metrics")
        signed = own["signed"]
        cls.metrics = {name: _signed(metric) if name in signed else metric for name, metric in cls.metrics.items()}
    flags = [name for name in ("scored", "reads", "needs_prediction") if name in own]
    inherited = getattr(super(cls, cls), "needs", None)
    beyond = {"score", "confidence", "prediction"}
    if not flags and ("needs" not in own or own["needs"] & beyond):
        return
    # ``needs`` now says what stood in three flags beside it.
    needs = set(own.get("needs", inherited or ())) | (set(inherited or {"score"}) & beyond)
    if own.get("scored") is False:
        needs -= {"score", "confidence"}
    if "reads" in own:
        needs = needs - {"score", "confidence"} | {own["reads"]}
    if own.get("scored") is False or own.get("needs_prediction"):
        needs |= {"prediction"}
    cls.needs = frozenset(needs)
    for name in flags:
        delattr(cls, name)
    named = ", ".join(repr(name) for name in sorted(needs))
    deprecated.warn(f"{cls.__name__}.{flags[0] if flags else 'needs'}", f"write needs = frozenset({{{named}}})")


def _base_of(cls: type[Any], new: str) -> str:
    bases = {"quantize": "Quantized", "second_row": "TwoPhase", "breakdown": "Breakdown"}
    return f", and derive from {bases[new]}" if new in bases and not hasattr(super(cls, cls), new) else ""


def _renamed(old: str, new: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def renamed(self: Any, *arguments: Any) -> Any:
        warnings.warn(f"Protocol.{old} is called {new} now", DeprecationWarning, stacklevel=2)
        return function(self, *arguments)

    return renamed


def _signed(metric: Metric) -> SignedRate:
    return SignedRate(metric.title, metric.definition, metric.better, metric.unit)


def offers(asked: type[Any], other: type[Any], kind: type[Any], method: str) -> bool:
    """Return what ``__subclasshook__`` does: a protocol of the old contract is of a kind if it has the method of it."""
    if asked is kind and any(method in vars(base) for base in other.__mro__):
        return True
    return NotImplemented  # type: ignore[no-any-return]  # as the protocol of Python has it
