"""Files of a run under way: what a process wrote last it need not read, and gets the same as from the file."""

import numpy as np
import pytest

from bench.core import untrusted_arrays
from bench.core.errors import MissingData
from bench.core.recent_arrays import RecentArrays
from bench.counts.tally import Tally, key_pixels
from bench.results import store
from bench.run import shard_files

LIMIT = 150_000


@pytest.fixture(autouse=True)
def recent(monkeypatch):
    kept = RecentArrays(LIMIT)
    monkeypatch.setattr(shard_files, "_recent", kept)
    return kept


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that are read."""
    names, read_all = [], untrusted_arrays.read_all

    def reading(path, *arguments):
        names.append(path.name)
        return read_all(path, *arguments)

    monkeypatch.setattr(untrusted_arrays, "read_all", reading)
    return names


def shard(seed=0, size=50):
    generator = np.random.default_rng(seed)
    tally, rows = Tally(2), {}
    for sample in ("a", "b"):
        keyed = key_pixels(
            generator.normal(size=(size, size)).astype(np.float32), generator.integers(0, 2, (size, size), np.uint8), 2
        )
        tally.add(keyed)
        rows[sample] = keyed.bins()
    return shard_files.Shard("stamp", tally, rows, {"score": 1.5}, 12.0, {"a": {"group": "a", "tags": {}}})


def content(part):
    rows = {sample: {name: (str(v.dtype), v.tolist()) for name, v in row.items()} for sample, row in part.rows.items()}
    tally = {name: (str(values.dtype), values.tolist()) for name, values in part.tally.arrays().items()}
    return part.stamp, part.seconds, part.memory_mb, part.about, part.network, rows, tally


def test_what_was_written_last_is_read_once_without_its_file_and_is_the_same(tmp_path, opened):
    path = tmp_path / "phase1-0-2.npz"
    shard_files.write(path, shard())
    first = content(shard_files.read(path))
    assert opened == []
    assert content(shard_files.read(path)) == first == content(shard())
    assert opened == [path.name]


@pytest.mark.parametrize("change", ["replaced", "cut", "gone"])
def test_a_file_that_changed_is_read(tmp_path, opened, change):
    path, other = tmp_path / "phase1-0-2.npz", tmp_path / "phase1-2-4.npz"
    shard_files.write(path, shard())
    shard_files.write(other, shard(1))
    if change == "replaced":
        other.replace(path)
        assert content(shard_files.read(path)) == content(shard(1))
    else:
        path.write_bytes(path.read_bytes()[:-30]) if change == "cut" else path.unlink()
        with pytest.raises(MissingData, match=r"phase1-0-2\.npz cannot be read"):
            shard_files.read(path)
    assert opened == [path.name]


def test_the_oldest_are_forgotten_where_they_are_too_many(tmp_path, opened, recent):
    paths = [tmp_path / f"phase1-{start}-{start + 2}.npz" for start in range(0, 12, 2)]
    for seed, path in enumerate(paths):
        shard_files.write(path, shard(seed))
        shard_files.write(path, shard(seed))  # in its own place
        assert recent._bytes <= LIMIT
    for seed, path in enumerate(paths):
        assert content(shard_files.read(path)) == content(shard(seed))
    assert opened and opened == [path.name for path in paths[: len(opened)]] and len(opened) < len(paths)
    assert recent._bytes == 0


@pytest.mark.parametrize("lost", ["", "the score map", "the end of it", "all of it but the name", "the class map"])
def test_a_shard_whose_maps_did_not_reach_the_disk_is_made_again(tmp_path, lost):
    """A loss of power may leave a file short, empty or not at all: nobody waited for the disk."""
    path, spool = tmp_path / "phase1-0-2.npz", tmp_path / "spool"
    shard_files.write(path, shard())
    for sample in ("a", "b"):
        store.write_map(store.map_path(spool, sample), np.zeros((20, 30), np.float16), lasting=False)
        store.write_map(store.map_path(spool, sample, "predictions"), np.zeros((20, 30), np.uint8), lasting=False)
    scores = store.map_path(spool, "b")
    if lost == "the class map":
        store.map_path(spool, "b", "predictions").unlink()
    elif lost == "the score map":
        scores.unlink()
    elif lost:
        scores.write_bytes(scores.read_bytes()[: -1 if lost == "the end of it" else 0])
    assert shard_files.is_there(path, "stamp", ["a", "b"], spool) == (not lost)
