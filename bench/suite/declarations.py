"""Declarations of plug-ins held to their types: a name in the place of a set of names is a set of letters to Python."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from bench import api


def _names(value: Any) -> bool:
    return isinstance(value, frozenset | set) and all(isinstance(name, str) for name in value)


def _ordered(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(name, str) for name in value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _metrics(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(metric, api.Metric) for metric in value.values())


Rule = tuple[str, Callable[[Any], bool], str]

ANY: tuple[Rule, ...] = (("computations", _names, "a set of names"),)
RULES: Mapping[type[Any], tuple[Rule, ...]] = {
    api.Method: (
        ("needs", _names, "a set of names such as frozenset({'logits'})"),
        ("merge", lambda value: value in ("merged", "views"), "'merged' or 'views'"),
        ("fitting", lambda value: value is None or isinstance(value, api.Fitting | api.Constants), "a Fitting"),
        ("uses_outliers", lambda value: isinstance(value, bool), "True or False"),
    ),
    api.SegModel: (
        ("outputs", _names, "a set of names such as frozenset({'logits'})"),
        ("class_names", _ordered, "a tuple of names"),
        ("inference", lambda value: isinstance(value, api.Inference), "an Inference"),
        ("state", lambda value: value in ("none", "per_image", "ordered"), "'none', 'per_image' or 'ordered'"),
    ),
    api.Dataset: (
        ("annotations", _names, "a set of names such as frozenset({'labels'})"),
        ("class_names", _ordered, "a tuple of names"),
        ("count", _whole, "a whole number"),
    ),
    api.Protocol: (
        ("needs", _names, "a set of names such as frozenset({'anomaly', 'score'})"),
        ("version", _whole, "a whole number"),
        ("metrics", _metrics, "Metric by identifier"),
        ("category_names", _ordered, "a tuple of names"),
    ),
    api.Trainer: (("version", _whole, "a whole number"),),
    api.Format: (("suffix", lambda value: isinstance(value, str), "text such as '.txt'"),),
}


def complaint(plugin: Any) -> str:
    """Return what a plug-in declares wrongly, and what was wanted; empty for nothing.

    Of a class what stands in it is looked at, of an instance also what its properties compute.
    """
    cls = plugin if isinstance(plugin, type) else type(plugin)
    for name, fits, wanted in (
        *ANY,
        *(rule for base, rules in RULES.items() if issubclass(cls, base) for rule in rules),
    ):
        static = inspect.getattr_static(cls, name, None)
        if isinstance(plugin, type) and (static is None or hasattr(static, "__get__")):
            continue
        value = getattr(plugin, name, None)
        if callable(value) and not isinstance(value, type):
            return f"{cls.__name__}.{name} is a method; write @property above it"
        if not fits(value):
            return f"{cls.__name__}.{name} is {value!r}, wanted {wanted}"
    return ""
