"""Arguments of callers in Python as entries of a suite: names, plug-ins, and images themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.api import Dataset, PlugIn
from bench.core.errors import MissingData, UsageError
from bench.datasets import in_memory
from bench.datasets.in_memory import Images, Truth
from bench.suite import arguments, parameters, registry
from bench.suite.by_name import Samples
from bench.suite.schema import Entry

_OF_AN_ENTRY = (
    "label",
    "class_map",
    "corruption",
    "corruptions",
    "protocols",
    "models",
    "datasets",
    "methods",
    "sweep",
)


def several(entries: Any) -> list[Any]:
    """Return an argument that is one entry, or several, as a list of entries."""
    alone = isinstance(entries, str | Mapping | PlugIn | Samples) or not isinstance(entries, Iterable)
    return [entries] if alone else list(entries)


def entry(argument: Any) -> Entry:
    """Return an argument as a suite spells it. Classes of the running program are made known first."""
    if isinstance(argument, Samples):
        return dict(argument.entry)
    if isinstance(argument, PlugIn):
        registry.adopt(type(argument))
        return {argument.name: parameters.values(argument)}
    if isinstance(argument, str):
        name, params = arguments.named(argument, "bench")
        return {name: params} if params else name
    if isinstance(argument, Mapping):
        return {str(name): None if params is None else dict(params) for name, params in argument.items()}
    raise UsageError(
        f"{type(argument).__name__} is no entry; wanted a name, one name with its parameters, or an instance"
    )


def held_images(data: object, workers: int) -> dict[str, Images]:
    """Return the images that an argument holds, by the name of their set; none where it names data sets."""
    named = data if isinstance(data, Mapping) else {} if isinstance(data, Samples) else {"images": data}
    held = {str(name): images for name, images in named.items() if in_memory.is_images(images)}
    if held and workers:
        raise UsageError("bench.evaluate: workers cannot reach images of this program; a DataLoader has its own")
    return held


def truth_for(protocols: Sequence[Entry]) -> Truth:
    """Return the kind of labels that some protocols ask for; masks where they ask for none."""
    needs: set[str] = set()
    for spelled in protocols:
        ((name, params),) = ({spelled: {}} if isinstance(spelled, str) else spelled).items()
        needs |= registry.build("protocol", name, params or {}, where="bench.evaluate").needs
    if {"anomaly", "labels"} <= needs:
        raise UsageError(
            "bench.evaluate: some protocols need masks, some classes, and (image, labels) has one of them; evaluate"
            " twice, or derive a class from bench.api.Dataset that has both"
        )
    return "labels" if "labels" in needs else "anomaly"


def protocols_for(entries: Sequence[Entry]) -> list[str]:
    """Return the protocols that the labels of some data sets allow."""
    kinds: set[str] = set()
    for spelled in entries:
        ((name, params),) = ({spelled: {}} if isinstance(spelled, str) else spelled).items()
        plain = {key: value for key, value in (params or {}).items() if key not in _OF_AN_ENTRY}
        data: Dataset = registry.build("dataset", name, plain, where="bench.evaluate")
        kinds |= data.annotations
    named = (["anomaly"] if "anomaly" in kinds else []) + (["misclassification", "miou"] if "labels" in kinds else [])
    if not named:
        raise MissingData("bench.evaluate: the data have no labels here, and no protocol can judge; say other data")
    return named
