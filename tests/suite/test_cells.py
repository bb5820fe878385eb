"""Coordinates are values: those of a suite and those that were read back from a result are the same."""

import json
import pickle

import pytest

from bench.suite import expansion
from bench.suite.cells import Cell, CellLabels, Ref, ordered, uncorrupted
from bench.suite.wrappers.corrupted import Corruption

SUITES = ["demo", "toytown_c", "toytown_meta", "cityscapes_fed", "toytown_entropy_max"]


@pytest.fixture(scope="module", params=SUITES)
def cells(request):
    return expansion.load(expansion.locate(request.param)).cells


def test_a_cell_that_was_written_and_read_is_that_of_the_suite(cells):
    known: dict[tuple[str, str], Ref] = {}
    for cell in cells:
        written = json.dumps(cell.spelled())
        again = Cell.read(json.loads(written), cell.labels, known)
        assert again == cell and hash(again) == hash(cell) and again.key == cell.key
        assert json.dumps(again.spelled()) == written and again.labels == cell.labels
        assert again.dataset.corruption == cell.dataset.corruption
        assert again.dataset.plain == cell.dataset.plain
    assert len(known) == len({(ref.kind, ref.label) for cell in cells for ref in cell.refs().values() if ref})
    assert len({cell.key for cell in cells}) == len({*cells}) == len(cells)


def test_keys_in_files_are_in_order(cells):
    for cell in cells:
        for ref in filter(None, cell.refs().values()):
            assert json.dumps(ref.spelled()) == json.dumps({**ref.spelled(), "params": ordered(ref.params)})
            assert list(ref.params) == sorted(ref.params) and ordered(ref.arguments) == ref.arguments


def test_a_copy_of_another_process_is_equal(cells):
    again = pickle.loads(pickle.dumps(cells[0]))  # noqa: S301 - our own
    assert again == cells[0] and hash(again) == hash(cells[0]) and again.model.arguments == cells[0].model.arguments


def test_coordinates_differ_by_any_parameter_and_by_no_label():
    one = Ref("method", "energy", {"temperature": 1.0}, "energy", {"temperature": 1.0})
    assert one == Ref("method", "energy", {"temperature": 1.0}, "other", {"temperature": 1.0})
    assert one != Ref("method", "energy", {"temperature": 2.0}, "energy", {"temperature": 1.0})
    assert one != Ref("method", "energy", {"temperature": 1.0}, "energy", {"temperature": 1.0}, training={"steps": 1})
    assert one != Ref("model", "energy", {"temperature": 1.0}, "energy", {"temperature": 1.0})
    assert one != "energy"


@pytest.mark.parametrize(
    ("label", "base", "corruption"),
    [
        ("toytown+fog-3", "toytown", Corruption("fog", 3)),
        ("a+b+snow-1-bgr", "a+b", Corruption("snow", 1, "bgr")),
        ("toytown", "toytown", None),
        ("+fog-3", "+fog-3", None),
        ("toytown+fog-6", "toytown+fog-6", None),
        ("toytown+mist-3", "toytown+mist-3", None),
    ],
)
def test_the_label_of_a_planned_cell_tells_its_corruption(label, base, corruption):
    assert uncorrupted(label) == (base, corruption)


def test_a_corruption_of_another_version_is_none_that_is_known_here():
    params = {"corruption": {"name": "fog", "severity": 9}}
    odd = Ref("dataset", "toytown", params, "odd", params)
    assert odd.corruption is None and odd.plain.params == {} and odd.plain.label == "odd"


def test_labels_stand_by_axis_and_without_a_method_there_is_none():
    labels = CellLabels("miou", "net", "town")
    assert labels.by_axis == {"protocol": "miou", "model": "net", "dataset": "town"}
    assert (labels.on("method"), labels.on("model"), labels.row) == ("", "net", ("net", None))
    assert str(labels) == "miou / net / town"


def test_a_cell_by_other_labels_is_the_same_cell():
    cell = expansion.load(expansion.locate("toytown_meta")).cells[0]
    labels = cell.labels._replace(dataset="elsewhere")
    assert cell.relabelled(cell.labels) is cell
    assert cell.relabelled(labels) == cell and cell.relabelled(labels).labels == labels
