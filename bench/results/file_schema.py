"""The JSON schemas of ``cells/KEY.json`` and ``run.json``, made from the classes that are written to them.

``python -m bench.results.file_schema`` writes them again after a change of shape; docs/results.md shows how to hold a
file to them.
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

from bench.core import files
from bench.results import store
from bench.results.store import Plan, Result

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FOLDER = Path(__file__).parent / "schema"
STRICT = ConfigDict(extra="forbid")

Key = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{16}$")]


class _Part(BaseModel):
    model_config = STRICT


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
    seed: int
    budget: int
    bootstrap: int
    resample: Literal["images", "groups"] = "images"


class Labels(_Part):
    """The coordinates of a cell for people."""

    protocol: str
    model: str
    dataset: str
    method: str | SkipJsonSchema[None] = None


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each file by its name in ``FOLDER``."""
    return {
        "result.json": _schema(Result, {"cell": Cell, "labels": Labels, "key": Key}),
        "run.json": _schema(Plan, {"cells": list[Labels], "keys": list[Key]}),
    }


def text(schema: Mapping[str, Any]) -> str:
    """Return a schema as it is shipped."""
    return json.dumps(schema, indent=1) + "\n"


def _schema(written: type[Result | Plan], spelled: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the file that holds a class, where some fields are spelled otherwise than the class has them."""
    hints = get_type_hints(written)
    content: dict[str, Any] = {"schema_": (Literal[1], pydantic.Field(alias="schema"))}
    for entry in fields(written):
        content[entry.name] = (spelled.get(entry.name, hints[entry.name]), _default(entry))
    content |= {name: (hint, ...) for name, hint in spelled.items() if name not in content}
    assert content["schema_"][0] == Literal[store.SCHEMA]  # noqa: S101 - whoever raises the one raises the other
    model: type[BaseModel] = create_model(written.__name__, __config__=STRICT, __doc__=written.__doc__, **content)
    return {"$schema": DIALECT} | model.model_json_schema()


def _default(entry: Field[Any]) -> Any:
    if entry.default is not MISSING:
        return entry.default
    return ... if entry.default_factory is MISSING else pydantic.Field(default_factory=entry.default_factory)


def write() -> None:
    """Write both files where the package has them."""
    for name, schema in schemas().items():
        with files.writing(FOLDER / name, "w") as file:
            file.write(text(schema))


if __name__ == "__main__":
    write()
