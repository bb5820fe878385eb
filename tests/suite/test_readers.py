"""Readers that several processes share: whose they are, what a death costs, how many there are, and what they do."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from running import PATIENCE

from bench.core import child_processes
from bench.core.errors import BadPlugin, WorkerDied
from bench.suite import registry
from bench.suite.cells import Ref
from bench.suite.loader import Loader
from bench.suite.readers import Host, ReaderPool, Readers

DAMAGE = {"name": "jpeg_compression", "severity": 3, "order": "rgb", "seed": 0}
PLUGIN = '''
"""Toytown that says who reads, and ends its reader or raises at some samples."""

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

from bench.core.files import data
from bench.datasets.toytown import Toytown


class Odd(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


@dataclass(frozen=True)
class Telling(Toytown):
    name = "telling"

    def load(self, index):
        if index == 4 and not data("killed").exists():
            data("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if index == 5:
            raise Odd("this", "that")
        return replace(super().load(index), tags={"pid": str(os.getpid())})
'''


def telling(**more):
    params = {"split": "val", "images": 6, "height": 256, "width": 256, **more}
    return Ref("dataset", "telling", params, "telling", params)


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    (tmp_path / "plugins" / "datasets").mkdir(parents=True)
    (tmp_path / "plugins" / "datasets" / "telling.py").write_text(PLUGIN)
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "plugins"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    registry.forget()
    yield
    registry.forget()


def alive(pid):
    return Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_processes_of_a_machine_share_readers_and_a_death_costs_one_sample(plugins, tmp_path):
    host = Host()
    folder = host._folder.path if host._folder else tmp_path / "none"
    try:
        askers = [Readers(1, host.pool, asker="both") for _ in range(2)]
        plain, damaged = telling(), telling(corruption=DAMAGE)
        asked = [(readers, ref, index) for index in range(2) for readers in askers for ref in (plain, damaged)]
        with ThreadPoolExecutor(len(asked)) as threads:
            loaded = list(
                threads.map(lambda one: one[0].load(one[1], one[2], images=True).result(timeout=PATIENCE), asked)
            )
        (reader,) = {sample.tags["pid"] for sample, *_ in loaded}
        assert int(reader) not in (os.getpid(), host._process.pid), "one process for all"
        for (_, ref, index), (sample, image, _, told) in zip(asked, loaded, strict=True):
            here = ref.build().load(index)
            assert np.array_equal(image, here.image()) and np.array_equal(sample.labels, here.labels)
            corrupted_there = told.get(("corrupt", DAMAGE["name"]), 0.0)
            assert (corrupted_there > 0) == (ref is damaged), "it is the reader that corrupts, and says what it took"
        killed, waiting = askers[0].load(plain, 4, images=True), askers[1].load(plain, 3, images=True)
        with pytest.raises(WorkerDied, match="a data worker was killed"):
            killed.result(timeout=PATIENCE)
        other = waiting.result(timeout=PATIENCE)[0].tags["pid"]
        assert not alive(reader)
        with pytest.raises(BadPlugin, match=r"Odd: this and that \(telling.py:27\)"):  # which no pickle can hold
            askers[1].load(plain, 5, images=True).result(timeout=PATIENCE)
        assert alive(other) or askers[1].load(plain, 3, images=True).result(timeout=PATIENCE)
        keeper = host._process.pid
    finally:
        host.close()
    for readers in askers:
        readers.close()
    assert not alive(keeper) and not alive(other) and not folder.exists()
    with pytest.raises(WorkerDied):
        askers[0].load(plain, 0, images=True).result(timeout=PATIENCE)


@pytest.mark.parametrize("refused", ["making", "starting"])
def test_readers_that_the_system_does_not_start_are_said_to_each_that_asks_and_waited_for_by_none(refused, monkeypatch):
    started = child_processes.pool

    class Refusing:
        def submit(self, *_):
            raise OSError(errno.EMFILE, "Too many open files")

        def shutdown(self, **_):
            pass

    def refusing(processes):
        return Refusing() if refused == "starting" else Refusing().submit()

    small = {"split": "val", "images": 2, "height": 32, "width": 64}
    ref = Ref("dataset", "toytown", small, "toytown", small)
    readers = Readers(2)
    monkeypatch.setattr(child_processes, "pool", refusing)
    for asked in [readers.load(ref, index, images=True) for index in (0, 1, 0)]:
        with pytest.raises(OSError, match="Too many open files"):
            asked.result(timeout=PATIENCE)
    monkeypatch.setattr(child_processes, "pool", started)
    try:
        assert readers.load(ref, 1, images=True).result(timeout=PATIENCE)[1].shape == (32, 64, 3)
    finally:
        readers.close()


def test_a_host_that_somebody_kills_is_noticed():
    host = Host()
    readers = Readers(1, host.pool)
    assert host.alive
    host._process.kill()
    host._process.join()
    assert not host.alive
    with pytest.raises(WorkerDied):
        readers.load(telling(), 0, images=False).result(timeout=PATIENCE)
    with pytest.raises(WorkerDied):
        Readers(None, host.pool)
    host.close()


@pytest.mark.parametrize(
    ("count", "short", "cores", "wanted"),
    [
        (1, 1.0, 16, 1),
        (1, 3.2, 16, 4),
        (4, 2.0, 16, 8),
        (4, 9.0, 16, 15),
        (1, 9.0, 2, 1),
        (1, 9.0, 0, 1),
        (6, 1.0, 4, 6),
    ],
)
def test_readers_are_added_while_the_network_waits_and_cores_are_left(count, short, cores, wanted):
    pool = ReaderPool()
    pool.claim("", count, count)
    readers = Readers(None, pool, cores=cores)
    readers.keep_up(short)
    assert (pool.count, readers.count) == (wanted, wanted)
    Readers(2, pool).keep_up(9.0)
    assert pool.count == max(wanted, 2), "who says a number has it"


@pytest.mark.parametrize(
    ("cores", "processes", "short", "at_first", "later"),
    [
        (2, 1, [1.0], 1, 1),
        (2, 2, [1.0, 1.0], 2, 2),
        (2, 4, [8.0] * 4, 4, 4),  # no core is left for more
        (12, 4, [1.5] * 4, 4, 6),
        (64, 8, [1.0] * 8, 8, 8),
        (64, 8, [3.0] * 8, 8, 24),
        (64, 8, [3.0] + [1.0] * 7, 8, 10),
        (64, 8, [99.0] * 8, 8, 56),
    ],
)
def test_all_processes_together_have_as_many_readers_as_keep_up(cores, processes, short, at_first, later):
    pool = ReaderPool()
    askers = [Readers(None, pool, asker=str(number), cores=cores / processes) for number in range(processes)]
    assert pool.count == at_first
    for readers, times in zip(askers, short, strict=True):
        readers.keep_up(times)
    assert pool.count == later
    for readers in askers:
        readers.keep_up(1.0)
    assert pool.count == later
    assert all(1 <= readers.count <= -(-later // processes) for readers in askers)


def test_a_number_is_of_each_process_and_none_of_them_reads_for_itself():
    pool = ReaderPool()
    askers = [Readers(3, pool, asker=str(number), cores=1) for number in range(4)]
    assert pool.count == 12 and {readers.count for readers in askers} == {3}
    assert Readers(0, pool).count == 0 and pool.count == 12


def test_few_samples_are_ahead_and_one_that_nobody_wants_any_more_leaves_nothing():
    params = {"split": "val", "images": 9, "height": 256, "width": 256}
    ref = Ref("dataset", "toytown", params, "toytown", params)
    with Loader(ref.build(), ref, 1) as loader:
        samples = loader.samples(range(9))
        next(samples)
        assert len(loader._pending) == 2
        own = loader._readers._own._own
        assert [sample.id for sample in loader.samples([8])] == [ref.build().ids()[8]]
    assert not loader._pending and not (own and own.path.exists())
