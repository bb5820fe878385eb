"""The shapes of ``cells/KEY.json`` and ``run.json``: what both are read by, and their JSON schemas.

``python -m bench.results.file_schema`` writes the schemas again after a change of shape; docs/results.md shows how to
hold a file to them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import pydantic
from pydantic import BaseModel, ConfigDict, create_model
from pydantic.json_schema import SkipJsonSchema

from bench.api import Undefined, Value
from bench.core import files
from bench.results.result import SCHEMA, Plan, Result

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FOLDER = Path(__file__).parent / "schema"
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
OPEN = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)  # what stands beside is for people

KEY = r"^[0-9a-f]{16}$"
# The reader itself looks at keys: it says more of a wrong one, and passes over those of a plan.
ReadKey = Annotated[str, pydantic.WithJsonSchema({"type": "string", "pattern": KEY})]
Count = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
Amount = Annotated[float, pydantic.Field(ge=0)]


class _Part(BaseModel):
    model_config = STRICT


class _Open(BaseModel):
    model_config = OPEN


class Coordinate(_Part):
    """A plug-in with every parameter, files by name alone."""

    name: str
    params: dict[str, Any]
    fit: Coordinate | SkipJsonSchema[None] = None  # the data set that a method is fitted on
    training: dict[str, Any] | SkipJsonSchema[None] = None  # parameters of its trainer


class Cell(_Part):
    """The coordinates that the key of a cell is made of."""

    protocol: Coordinate
    model: Coordinate
    dataset: Coordinate
    method: Coordinate | None
    seed: int = 0
    budget: int = 2**30
    bootstrap: Annotated[int, pydantic.Field(ge=0)] = 1000
    resample: Literal["images", "groups"] = "images"


class Labels(_Part):
    """The coordinates of a cell for people."""

    protocol: str
    model: str
    dataset: str
    method: str | SkipJsonSchema[None] = None


class Network(_Open):
    """A network by name."""

    name: str
    params: dict[str, Any]


class Recipe(_Open):
    """The code that trained a network."""

    trainer: str = ""


class Origin(_Open):
    """The origin of a network, as its file says."""

    model: Network | None = None
    by: Recipe = Recipe()
    seed: int = 0


class AboutProtocol(_Open):
    """The definition that figures were read by."""

    version: int | str | None = None
    source: str = ""
    title: str = ""
    ranked: bool = True


class AboutModel(_Open):
    """A network, as far as somebody said."""

    source: str = ""
    parameters: Annotated[int, pydantic.Field(ge=0)] | None = None
    parents: Origin | None = None


class AboutOther(_Open):
    """A data set or a method."""

    source: str = ""


class About(_Part):
    """The name and parameters that a table needs of each coordinate."""

    protocol: AboutProtocol = AboutProtocol()
    model: AboutModel = AboutModel()
    dataset: AboutOther = AboutOther()
    method: AboutOther = AboutOther()


class Provenance(_Open):
    """Versions, device, time and command."""

    numerics: dict[str, Any] = {}


class Slice(_Part):
    """The figures of a part of the truth or of the images."""

    images: Count
    metrics: dict[str, Value | Undefined]


class Summary(_Open):
    """A mean over data sets, or what else a rule makes of them."""

    name: str
    protocol: str
    rule: str = "mean"
    datasets: list[str] = []
    dataset: str = ""  # a pattern, of before corruptions were an axis


class Point(_Open):
    """A threshold chosen on one data set and carried to others."""

    name: str
    protocol: str
    calibrate: str
    rule: str


class Claim(_Open):
    """The method on the network of which figures were published."""

    model: str
    method: str
    published: dict[str, str]
    weights: str = ""


SPELLED: Mapping[type[Result | Plan], Mapping[str, Any]] = {  # fields that a file spells otherwise than the class
    Result: {
        "cell": Cell,
        "labels": Labels,
        "key": ReadKey,
        "about": About,
        "provenance": Provenance,
        "images": Count,
        "pixels": dict[str, Count],
        "seconds": dict[str, Amount],
        "memory_mb": Amount,
        "slices": dict[str, dict[str, Slice]],
    },
    Plan: {
        "cells": list[Labels],
        "keys": list[ReadKey],
        "summaries": list[Summary],
        "operating_points": list[Point],
        "claims": list[Claim],
    },
}


def _model(written: type[Result | Plan]) -> type[BaseModel]:
    """The shape of the file that holds a class."""
    hints, spelled = get_type_hints(written), SPELLED[written]
    content: dict[str, Any] = {"schema_": (Literal[1], pydantic.Field(alias="schema"))}
    for entry in fields(written):
        content[entry.name] = (spelled.get(entry.name, hints[entry.name]), _default(entry))
    content |= {name: (hint, ...) for name, hint in spelled.items() if name not in content}
    assert content["schema_"][0] == Literal[SCHEMA]  # noqa: S101 - whoever raises the one raises the other
    model: type[BaseModel] = create_model(written.__name__, __config__=STRICT, __doc__=written.__doc__, **content)
    return model


def _default(entry: Field[Any]) -> Any:
    if entry.default is not MISSING:
        return entry.default
    return ... if entry.default_factory is MISSING else pydantic.Field(default_factory=entry.default_factory)


RESULT, PLAN = _model(Result), _model(Plan)  # both titles are words of messages


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each file by its name in ``FOLDER``."""
    models = {"result.json": RESULT, "run.json": PLAN}
    return {name: {"$schema": DIALECT} | model.model_json_schema() for name, model in models.items()}


def text(schema: Mapping[str, Any]) -> str:
    """Return a schema as it is shipped."""
    return json.dumps(schema, indent=1) + "\n"


def write() -> None:
    """Write both files where the package has them."""
    for name, schema in schemas().items():
        with files.writing(FOLDER / name, "w") as file:
            file.write(text(schema))


if __name__ == "__main__":
    write()
