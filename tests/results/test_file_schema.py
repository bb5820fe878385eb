"""The shipped JSON schemas are those of the classes, and hold for every file that was ever written."""

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError

from bench.results import file_schema, store
from bench.results.store import CellLabels, Plan

FROZEN = sorted((Path(__file__).parents[1] / "frozen").glob("result_*/*.json"))
DOCS = Path(__file__).parents[2] / "docs" / "results.md"


def shipped(name):
    return json.loads((resources.files("bench.results") / "schema" / name).read_text(encoding="utf-8"))


def problems(name, content):
    return [error.message for error in Draft202012Validator(shipped(name)).iter_errors(content)]


@pytest.mark.parametrize("name", ["result.json", "run.json"])
def test_the_shipped_schema_is_that_of_the_classes(name):
    Draft202012Validator.check_schema(shipped(name))
    assert (resources.files("bench.results") / "schema" / name).read_text() == file_schema.text(
        file_schema.schemas()[name]
    ), "write it again: python -m bench.results.file_schema"


@pytest.mark.parametrize("path", FROZEN, ids=lambda path: path.parent.name)
def test_every_result_ever_published_holds_to_it(path, tmp_path):
    assert problems("result.json", json.loads(path.read_text())) == []
    result = store.read_result(path)
    for written in (result, replace(result, not_applicable="no labels", refusal="truth labels")):
        store.write_result(tmp_path, written)
        again = json.loads(store.result_path(tmp_path, result.key).read_text())
        assert problems("result.json", again) == [] and ("refusal" in again) == bool(written.refusal)
    assert shipped("result.json")["properties"].keys() >= again.keys() >= json.loads(path.read_text()).keys()


def test_a_plan_holds_to_it_with_cells_and_without(tmp_path):
    rules = ({"name": "mean", "protocol": "anomaly", "datasets": ["a", "b"]},)
    points = ({"name": "fixed", "protocol": "anomaly", "calibrate": "a", "rule": "tpr95"},)
    cells = (CellLabels("anomaly", "net", "a", "msp"), CellLabels("miou", "net", "a"))
    store.write_plan(tmp_path, Plan("x", "", "", ("0123456789abcdef",) * 2, rules, cells, points), "")
    plan = json.loads((tmp_path / "run.json").read_text())
    assert problems("run.json", plan) == [] and store.read_run(tmp_path).plan.cells == cells
    del plan["cells"], plan["operating_points"]
    assert problems("run.json", plan) == []
    assert problems("run.json", plan | {"keys": ["../x"]}) != []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 2}, "1 was expected"),
        ({"surplus": 1}, "'surplus' was unexpected"),
        ({"key": "../../etc/passwd"}, "does not match"),
        ({"images": "4"}, "is not of type 'integer'"),
        ({"metrics": {"ap": {"value": None}}}, "is not valid under any of the given schemas"),
        ({"cell": {"protocol": {"name": "anomaly"}}}, "'params' is a required property"),
    ],
)
def test_what_is_no_result_does_not(change, words):
    content = json.loads(FROZEN[0].read_text()) | change
    assert any(words in message for message in problems("result.json", content))
    for name in ("cell", "labels", "metrics", "images"):
        assert problems("result.json", {key: value for key, value in content.items() if key != name})


def test_the_docs_hold_a_file_to_it(tmp_path, monkeypatch):
    setup, _, rest = DOCS.read_text(encoding="utf-8").partition("jsonschema.validate(")
    code = setup.rpartition("```python\n")[2] + "jsonschema.validate(" + rest.partition("\n")[0]
    result = store.read_result(FROZEN[0])
    path = tmp_path / "runs" / "demo" / "cells" / f"{result.key}.json"
    path.parent.mkdir(parents=True)
    path.write_text(FROZEN[0].read_text())
    monkeypatch.chdir(tmp_path)
    code = code.replace("KEY", result.key)
    exec(code, {})  # noqa: S102 - the docs' own words
    path.write_text(json.dumps({**json.loads(path.read_text()), "images": None}))
    with pytest.raises(ValidationError):
        exec(code, {})  # noqa: S102
