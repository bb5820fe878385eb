"""Every result file ever published loads, and means what it meant; what is hostile is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.api import Undefined, Value
from bench.core.errors import MissingData
from bench.results import failures, run_files, store

FROZEN = sorted((Path(__file__).parents[1] / "frozen").glob("result_*"))


def test_there_is_a_frozen_result_for_every_schema():
    assert [path.name for path in FROZEN] == [f"result_{n + 1}" for n in range(store.SCHEMA)]


@pytest.fixture(params=FROZEN, ids=lambda path: path.name)
def frozen(request):
    (path,) = request.param.glob("*.json")
    return path


def test_it_loads_and_means_what_it_meant(frozen):
    result = store.read_result(frozen)
    assert result.labels.method == "energy[temperature=2]"
    assert result.metrics["ap"] == Value(0.25, 1e-06, 0.2, 0.3)
    assert result.metrics["fpr95"] == Undefined("no positive pixels")
    assert result.images == 4 and not result.partial
    assert result.definitions["ap"].better == "higher"


def test_what_is_written_is_what_is_read(frozen, tmp_path):
    result = store.read_result(frozen)
    store.write_result(tmp_path, result, {"replicates.ap": np.arange(3.0)})
    assert store.read_result(store.result_path(tmp_path, result.key)) == result
    with np.load(store.counts_path(tmp_path, result.key), allow_pickle=False) as arrays:
        assert arrays["replicates.ap"].tolist() == [0, 1, 2]


def test_reasons_are_the_same_by_their_code_and_by_their_words_where_one_has_none(frozen):
    result = store.read_result(frozen)
    coded = replace(result, not_applicable="no labels", refusal="truth labels")
    assert coded.refused_as(replace(coded, not_applicable="it lacks labels"))
    assert not coded.refused_as(replace(coded, refusal="confidence"))
    assert coded.refused_as(replace(coded, refusal="")) and not coded.refused_as(result) and result.refused_as(result)


def test_a_nan_is_never_written(frozen, tmp_path):
    result = replace(store.read_result(frozen), metrics={"ap": Value(float("nan"))})
    with pytest.raises(ValueError, match="Out of range float"):
        store.write_result(tmp_path, result, {})
    assert not store.result_path(tmp_path, result.key).exists() and not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 99}, "has schema 99, this version reads up to 1"),
        ({"key": "../../etc/passwd"}, "is not a result of this program: it has the key"),
        ({"metrics": {"ap": {"value": "<script>", "err": 0, "lo": None, "hi": None}}}, "is not a result"),
        ({"surplus": 1}, "is not a result of this program"),
    ],
)
def test_what_is_not_ours_is_refused_in_one_line(frozen, tmp_path, change, words):
    path = tmp_path / frozen.name
    path.write_text(json.dumps(json.loads(frozen.read_text()) | change))
    with pytest.raises(MissingData, match=words):
        store.read_result(path)


def test_a_plan_cannot_name_files_outside_the_run(tmp_path):
    plan = store.Plan("x", "", "", ("../../secret", "0123456789abcdef"))
    store.write_plan(tmp_path, plan, "")
    assert store.read_run(tmp_path).results == ()


def test_arrays_of_objects_are_refused(frozen, tmp_path):
    result = store.read_result(frozen)
    np.savez(tmp_path / "x.npz", ids=np.array([{}], dtype=object))
    with pytest.raises(MissingData, match=r"x\.npz cannot be read: ids: holds object"):
        run_files.read_arrays(tmp_path / "x.npz", result)


def test_reading_a_run_leaves_the_collector_as_it_was(tmp_path):
    import gc

    store.write_plan(tmp_path, store.Plan("x", "", "", ()), "")
    for wanted in (False, True):
        (gc.enable if wanted else gc.disable)()
        store.read_run(tmp_path)
        assert gc.isenabled() == wanted
    with pytest.raises(MissingData), store.uncollected():
        assert not gc.isenabled()
        raise MissingData("x")
    assert gc.isenabled()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    from bench.core import files

    (tmp_path / "a").write_text("old")
    with pytest.raises(RuntimeError), files.writing(tmp_path / "a", "w") as file:
        file.write("new")
        raise RuntimeError
    assert (tmp_path / "a").read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["a"]


def test_failures_with_one_cause_are_one_line(tmp_path):
    def failed(number, message):
        labels = {"protocol": "anomaly", "model": "net", "dataset": f"set{number}", "method": "msp"}
        return failures.Failed(f"{number:016x}", labels, message)

    cells = [failed(n, f"net/set{n}/frame_{n:03}: ValueError: size {n}x2 (net.py:11)") for n in range(3)]
    cells.append(failed(7, "set7/frame_007: it is torn"))
    assert [len(cause.cells) for cause in failures.causes(cells)] == [3, 1]
    assert str(failures.causes(cells)[0]) == f"3 cells, such as {cells[0]}"
    path = failures.write(tmp_path, cells)
    assert failures.read(tmp_path) == cells and failures.write(tmp_path, []) is None and not path.exists()
    path.write_text('[{"key": 1}]')
    with pytest.raises(MissingData, match=r"failures\.json is not a listing of this program"):
        failures.read(tmp_path)


@pytest.mark.parametrize("name", ["cells", "work", "spool", "gallery"])
def test_a_folder_that_leads_out_of_a_run_is_neither_read_nor_written(tmp_path, name):
    (tmp_path / "outside").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "outside")
    with pytest.raises(MissingData, match=f"{name} is a link that leads out of the run"), store.owned(tmp_path / "run"):
        raise AssertionError("it is not owned")
