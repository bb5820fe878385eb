"""Values that processes hand to each other through memory: equal, once, and without it where there is no room."""

import os
import pickle
from types import MappingProxyType

import numpy as np
import pytest

from bench.core import parcels
from bench.core.scratch_folder import ScratchFolder

ARRAYS = {
    "image": np.arange(300 * 200 * 3, dtype=np.uint64).astype(np.uint8).reshape(200, 300, 3),
    "labels": np.arange(70_000, dtype=np.uint8).reshape(100, 700),
    "strided": np.arange(70_000, dtype=np.int32)[::2],
}


def folders():
    memory = parcels.folder_in_memory()
    return [None] if memory is None else [None, ScratchFolder("bench-test-", memory)]


@pytest.mark.parametrize("more", [{}, {"empty": np.zeros((0, 3), np.uint8)}, {"words": ("a", 1)}])
def test_what_comes_out_is_what_was_put_in_and_can_be_written_to(more):
    for folder in folders():
        path = folder.path if folder else None
        sent = pickle.dumps(parcels.pack(ARRAYS | more, path))
        travels = (
            ARRAYS["strided"].nbytes
            if folder and "empty" not in more
            else sum(array.nbytes for array in ARRAYS.values())
        )
        assert travels <= len(sent) < travels + 2000
        opened = pickle.loads(sent).open()  # noqa: S301 - its own
        assert opened.keys() == (ARRAYS | more).keys()
        for name, array in ARRAYS.items():
            assert np.array_equal(opened[name], array) and opened[name].dtype == array.dtype
            opened[name].flat[0] += 1
            assert not np.array_equal(opened[name], array)
        if folder:
            assert [entry.name for entry in path.iterdir()] == [".lock"]
            folder.remove()
            assert not path.exists() and opened["image"].sum() > 0, "it is mapped"


def test_without_room_arrays_go_along_and_nothing_stays(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    parcel = parcels.pack(ARRAYS, tmp_path)
    assert parcel.path is None and not list(tmp_path.iterdir())
    assert np.array_equal(parcel.open()["image"], ARRAYS["image"])


def test_what_is_small_needs_no_file(tmp_path):
    assert parcels.pack({"labels": np.zeros((32, 64), np.uint8)}, tmp_path).path is None
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_pickled_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        parcels.pack([ARRAYS["image"], MappingProxyType({})], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_removed_by_another_once_its_process_is_gone(tmp_path):
    kept, lost = ScratchFolder("bench-test-", tmp_path), ScratchFolder("bench-test-", tmp_path)
    for folder in (kept, lost):
        os.utime(folder.path, (0, 0))
    lost._lock.release()  # as the system does when a process ends
    last = ScratchFolder("bench-test-", tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([kept.path, last.path])
