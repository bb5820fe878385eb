"""Weights that lie in $BENCH_HOME, where they are published, and data that a suite can do without."""

from __future__ import annotations

import pytest

from bench.cli.main import main
from bench.core.errors import BadSuite, MissingData, UnknownName
from bench.run import preflight
from bench.suite import expansion, placing

SUITE = """
protocols: [anomaly]
models:
  - enet: {label: first, weights: first/model_best.pth, origin: https://example.org/weights}
  - enet: {label: second, weights: second/model_best.pth}
datasets:
  - validation_dataset: {set: fs_static, optional: true, label: absent}
  - toytown: {split: anomaly, images: 2, height: 32, width: 64}
methods:
  - void_channel
  - energy: {fit: {data: {cityscapes: {split: val, optional: true}}}, label: fitted}
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "home"


@pytest.fixture
def suite(tmp_path, home):
    path = tmp_path / "suite" / "x.yaml"
    path.parent.mkdir()
    path.write_text(SUITE)
    return path


def put(folder, text):
    folder.mkdir(parents=True)
    (folder / "model_best.pth").write_text(text)
    return folder / "model_best.pth"


def models(path):
    return {cell.model.label: cell.model for cell in expansion.load(path).cells}


def test_weights_are_looked_for_beside_the_suite_and_then_in_the_home(suite, home):
    kept = put(home / "checkpoints" / "first", "kept")
    put(home / "checkpoints" / "second", "other")
    beside = put(suite.parent / "second", "beside")
    refs = models(suite)
    assert [refs[label].arguments["weights"] for label in ("first", "second")] == [str(kept), str(beside)]
    assert refs["first"] != refs["second"]


def test_absent_weights_are_said_with_their_origin_and_the_place_for_them(suite, home):
    loaded = placing.present(expansion.load(suite))  # two networks whose files of one name are absent are no twins
    with pytest.raises(MissingData) as error:
        preflight.check(loaded)
    kept = home / "checkpoints"
    assert f"first/model_best.pth from https://example.org/weights, and put it by that name into {kept}" in str(
        error.value
    )


def test_the_written_suite_keeps_origin_and_optional(suite, tmp_path):
    put(suite.parent / "first", "1")
    put(suite.parent / "second", "2")
    again = tmp_path / "again.yaml"
    again.write_text(expansion.load(suite).text)
    first, second = expansion.load(suite), expansion.load(again)
    assert [cell.key for cell in first.cells] == [cell.key for cell in second.cells]
    assert second.cells[0].model.origin == "https://example.org/weights" and second.cells[0].dataset.optional


def test_optional_data_that_is_absent_costs_its_own_cells_and_is_said(suite, capsys):
    whole = expansion.load(suite)
    kept = placing.present(whole)
    assert {(cell.dataset.name, cell.method.label) for cell in kept.cells} == {("toytown", "void_channel")}
    assert kept.planned == whole.cells
    counted = [sentence.partition(" left out for want of data: ")[0] for sentence in kept.left_out]
    assert counted == ["4 cells are", "2 cells are"]
    assert main(["check", str(suite), "--no-network"]) == 2
    assert "bench: 4 cells are left out for want of data: " in capsys.readouterr().err


def test_data_that_is_there_and_broken_is_not_left_out(suite, tmp_path):
    (tmp_path / "data" / "validation_dataset" / "fs_static" / "images").mkdir(parents=True)
    assert "absent" in {cell.dataset.label for cell in placing.present(expansion.load(suite)).cells}


def test_where_nothing_would_be_left_nothing_is_left_out(suite):
    suite.write_text(SUITE.replace("  - toytown: {split: anomaly, images: 2, height: 32, width: 64}\n", ""))
    loaded = expansion.load(suite)
    assert placing.present(loaded) is loaded


@pytest.mark.parametrize(
    "line, kind, message",
    [
        ("{model: third, method: void_channel, published: {source: x}}", UnknownName, "model of a claim 'third'"),
        ("{model: enet, method: void_channel, published: {source: x}}", BadSuite, "'enet' means 2 entries"),
        ("{model: first, method: void_channel}", BadSuite, "missing claims.0.published"),
        ("{model: first, method: void_channel, published: {}}", BadSuite, "claims.0.published"),
        ("{model: first, method: void_channel, publisht: {source: x}}", UnknownName, "did you mean 'published'"),
    ],
)  # fmt: skip
def test_claims_name_what_the_suite_has(suite, line, kind, message):
    suite.write_text(f"{SUITE}claims:\n  - {line}\n")
    with pytest.raises(kind, match=message):
        expansion.load(suite)


def test_claims_on_what_the_command_line_replaced_fall_away(suite):
    suite.write_text(f"{SUITE}claims:\n  - {{model: first, method: void_channel, published: {{source: x}}}}\n")
    assert [claim.model for claim in expansion.load(suite).claims] == ["first"]
    assert expansion.load(suite, {"methods": ["msp"]}).claims == ()


@pytest.mark.parametrize("word", ["optional: yes please", "origin: 3"])
def test_words_of_another_type_are_refused(suite, word):
    name = word.partition(":")[0]
    old = {"optional": "optional: true, label: absent", "origin": "origin: https://example.org/weights"}[name]
    suite.write_text(SUITE.replace(old, word))
    with pytest.raises(BadSuite, match=f"{name} is "):
        expansion.load(suite)
