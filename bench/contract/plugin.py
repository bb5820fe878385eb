"""What all plug-ins share: a name, a source, and parameters that are fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NewType

from annotated_types import Gt

Positive = Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Entry:
    """Marks a parameter that is an entry of a suite itself: a name, or one name with its parameters."""

    kind: Literal["model", "dataset"]


ModelEntry = Annotated[str | dict[str, Any], Entry("model")]
DatasetEntry = Annotated[str | dict[str, Any], Entry("dataset")]
File = NewType("File", str)  # a path given in a suite: its file name is part of a cell's key, its folder is not


LATER: Mapping[str, bool] = {"later": True}
"""Metadata of a field that is younger than results are: at its default it is no part of a key, so that keys stay."""


@dataclass(frozen=True)
class PlugIn:
    """Parameters of a plug-in are fields of a frozen dataclass: typed, checked, printable, part of a cell's key."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True}

    name: ClassVar[str]
    source: ClassVar[str]  # the paper, and where in it; or the page that defines it
    # Names from the table in ``bench.core.versions``: a value of the plug-in is another once one of their numbers is.
    computations: ClassVar[frozenset[str]] = frozenset()
