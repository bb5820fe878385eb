"""Files of arrays that any program can read, and ours in one piece; what was damaged is refused."""

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bench.core import npz
from bench.core.errors import MissingData
from bench.results import store

ARRAYS = {
    "counts.keys": np.arange(5, dtype=np.uint32),
    "replicates.ap": np.linspace(0, 1, 1000),
    "replicates.fpr95": np.array([np.nan, 0.5]),
    "ids": np.array(["a", "b\u00e9"]),
    "row.scalar": np.array(3, np.uint8),
    "replicates.none": np.empty(0),
    "replicates.table": np.arange(6.0).reshape(2, 3),
}


def written(path, arrays=ARRAYS, plain="replicates."):
    with path.open("wb") as file:
        npz.write(file, arrays, plain)
    return path


def test_numpy_reads_every_array(tmp_path):
    with np.load(written(tmp_path / "a.npz"), allow_pickle=False) as found:
        assert set(found.files) == set(ARRAYS)
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype and found[name].shape == array.shape


def test_what_comes_first_is_read_alone_and_unchanged(tmp_path):
    found = npz.leading(written(tmp_path / "a.npz"), "replicates.")
    assert list(found) == ["ap", "fpr95", "none", "table"]
    for name, array in found.items():
        assert array.tobytes() == ARRAYS[f"replicates.{name}"].tobytes()
        assert array.shape == ARRAYS[f"replicates.{name}"].shape and array.dtype == np.float64


def test_more_than_one_read_takes_is_read_as_well(tmp_path):
    many = {f"replicates.{index}": np.random.default_rng(index).random(5000) for index in range(9)}
    found = npz.leading(written(tmp_path / "a.npz", many | ARRAYS), "replicates.")
    assert all(found[str(index)].tobytes() == many[f"replicates.{index}"].tobytes() for index in range(9))


def test_equal_arrays_give_equal_files(tmp_path):
    one, other = (written(tmp_path / f"{name}.npz").read_bytes() for name in "ab")
    assert one == other


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_files_of_other_programs_are_left_to_their_directory(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    assert npz.leading(tmp_path / "a.npz", "replicates.") is None
    assert npz.leading(written(tmp_path / "b.npz", {"ids": np.arange(3)}), "replicates.") is None


def test_an_array_of_objects_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        written(tmp_path / "a.npz", {"replicates.x": np.array([{}], dtype=object)})


def run_with(tmp_path, save):
    frozen = sorted((Path(__file__).parents[1] / "frozen").glob("result_*"))

    (path,) = frozen[0].glob("*.json")
    result = store.read_result(path)
    counts = store.counts_path(tmp_path, result.key)
    counts.parent.mkdir()
    save(counts)
    return store.Run(tmp_path, store.Plan("", "", "", ()), (result,)), result


OF_A_RUN = {name: ARRAYS[name] for name in ("replicates.ap", "replicates.fpr95", "replicates.none", "ids")}


@pytest.mark.parametrize(
    "save",
    [lambda path: np.savez_compressed(path, **OF_A_RUN), lambda path: written(path, OF_A_RUN)],
    ids=["of numpy, as before", "ours"],
)
def test_a_run_gives_the_same_replicates_from_both(tmp_path, save):
    run, result = run_with(tmp_path, save)
    found = run.replicates(result)
    assert set(found) == {"ap", "fpr95", "none"}
    assert all(found[name].tobytes() == ARRAYS[f"replicates.{name}"].tobytes() for name in found)
    assert set(run.arrays(result)) == set(OF_A_RUN) and set(run.arrays(result, "ids", "row.")) == {"ids"}


def test_a_damaged_file_is_refused_wherever_the_damage_is(tmp_path):
    whole = written(tmp_path / "whole.npz").read_bytes()
    size = zipfile.ZipFile(tmp_path / "whole.npz").getinfo("counts.keys.npy").header_offset
    path = tmp_path / "damaged.npz"
    silent = []
    for place in range(0, size, 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            found = npz.leading(path, "replicates.")
        except ValueError:
            continue
        if found is not None and any(found[name].tobytes() != ARRAYS[f"replicates.{name}"].tobytes() for name in found):
            silent.append(place)
    assert not silent
    for end in (size - 1, size // 2):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match="shorter than it says"):
            npz.leading(path, "replicates.")


def test_a_file_that_claims_gigabytes_takes_none(tmp_path):
    content = bytearray(written(tmp_path / "a.npz").read_bytes())
    begin = npz.LOCAL.size + len("replicates.ap.npy")
    content[begin : begin + npz.MARK.size] = npz.MARK.pack(npz.OURS, npz.MARK.size - 4, 3, 2**32 - 1)
    (tmp_path / "a.npz").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(ValueError, match="shorter than it says"):
        npz.leading(tmp_path / "a.npz", "replicates.")
    assert tracemalloc.get_traced_memory()[1] < 2**21
    tracemalloc.stop()


def test_a_run_says_in_one_line_which_file_is_damaged(tmp_path):
    def save(path):
        content = bytearray(written(path).read_bytes())
        content[600] ^= 1
        path.write_bytes(bytes(content))

    run, result = run_with(tmp_path, save)
    with pytest.raises(MissingData, match=rf"{result.key}\.npz cannot be read: bad checksum of replicates\.ap"):
        run.replicates(result)
