"""Who gets which task: with workers that only pretend, so that every order can be had."""

import itertools
import weakref
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.errors import BadPlugin, UsageError
from bench.models.numerics import Numerics
from bench.run import shard_files
from bench.run.executors import local, select
from bench.run.executors.dispatch import DEPTH, Died, Dispatcher, InProcessPool, Step, WorkerPool
from bench.run.messages import CellTask, Failure, Outcome, Task
from bench.suite.cells import Ref

HOW = Numerics("cpu", "cpu", 1, "AVX2")


def ref(kind, name):
    return Ref(kind, name, {}, name, {})


CELL = CellTask("cell", ref("protocol", "anomaly"), None, None, 2**30, False, "", None)


def task(start, stop, dataset="data", model="net"):
    ids = tuple(f"image{index}" for index in range(start, stop))
    place = (Path("run"), ref("model", model), ref("dataset", dataset), (CELL,), start, stop)
    return Task(*place, HOW, 0, 0, ids=ids)


class Listed(Step):
    """Tasks of a list; ``done`` is told what becomes of them."""

    def __init__(self, tasks, done=lambda work, outcome: None):
        super().__init__(ref("model", "net"))
        self.tasks, self.done = deque(tasks), done

    @property
    def remaining(self):
        return len(self.tasks)

    def next_work(self):
        return self.tasks.popleft() if self.tasks else None

    def take(self, work, outcome):
        self.done(work, outcome)


class Pretending(WorkerPool):
    """Does nothing, in an order that a list of numbers chooses. ``deadly`` images kill, ``unlucky`` ones at first."""

    def __init__(self, size, order=(), deadly=(), unlucky=()):
        self.size, self.order = size, deque(order)
        self.deadly, self.unlucky = set(deadly), dict(unlucky)
        self.given = {worker: deque() for worker in range(size)}
        self.did, self.restarts, self.most = [], 0, 0

    def room(self):
        free = [worker for worker, given in self.given.items() if len(given) < DEPTH]
        return sorted(free, key=lambda worker: len(self.given[worker]))

    def give(self, worker, work):
        self.given[worker].append(work)
        self.most = max(self.most, sum(map(len, self.given.values())))

    def take(self):
        busy = [worker for worker, given in self.given.items() if given]
        worker = busy[(self.order.popleft() if self.order else 0) % len(busy)]
        work = self.given[worker][0]
        for image in range(work.start, work.stop):
            if image in self.deadly or self.unlucky.get(image, 0) > 0:
                self.unlucky[image] = self.unlucky.get(image, 0) - 1
                return worker, Died("was killed")
        self.given[worker].popleft()
        self.did.append((worker, work))
        return worker, Outcome()

    def restart(self, worker):
        self.restarts += 1
        self.given[worker].clear()

    def close(self): ...


def dispatched(pool, stages, retries=2):
    """Run stages of tasks to their end: what was done, with which failures, and what was told."""
    done, told = [], []
    dispatcher = Dispatcher(pool, retries, lambda images: None, told.append)
    for tasks in stages:
        dispatcher.add(Listed(tasks, lambda work, outcome: done.append((work, outcome.failures))))
    unfinished = len(stages)
    while unfinished:
        unfinished -= len(dispatcher.step(share=True))
    return done, told


@given(
    st.integers(1, 4),
    st.lists(st.integers(0, 3), max_size=60),
    st.dictionaries(st.integers(0, 19), st.integers(1, 2), max_size=3),
)
@settings(max_examples=60)
def test_every_task_is_done_once_in_any_order_and_whoever_dies(size, order, unlucky):
    stages = [[task(start, start + 4, dataset) for start in range(0, 20, 4)] for dataset in ("a", "b")]
    done, _ = dispatched(Pretending(size, order, unlucky=unlucky), stages, retries=20)
    found = sorted((work.dataset.name, work.start) for work, failures in done if not failures)
    assert found == [(dataset, start) for dataset in ("a", "b") for start in range(0, 20, 4)]


def test_no_more_tasks_exist_than_are_under_way():
    """Twenty thousand shards are planned one by one: memory does not grow with their number."""
    alive, most, count = [0], [0], []

    def ended():
        alive[0] -= 1

    class Made(Listed):
        def next_work(self):
            start = super().next_work()
            if start is None:
                return None
            made = task(start, start + 1)
            weakref.finalize(made, ended)
            alive[0] += 1
            most[0] = max(most[0], alive[0])
            return made

    class Forgetful(Pretending):
        def take(self):
            found = super().take()
            self.did.clear()
            return found

    pool = Forgetful(8)
    dispatcher = Dispatcher(pool, 2, count.append, lambda line: None)
    dispatcher.add(Made(range(20_000)))
    while not dispatcher.step(share=True):
        pass
    assert sum(count) == 20_000 and pool.most == 8 * DEPTH and most[0] <= 2 * 8 * DEPTH


def test_a_worker_stays_with_its_data_set_and_a_small_one_is_not_shared():
    pool = Pretending(2, [0, 1] * 20)
    dispatched(pool, [[task(start, start + 1, dataset) for start in range(4)] for dataset in ("a", "b")])
    for worker in (0, 1):
        assert len({work.dataset.name for who, work in pool.did if who == worker}) == 1


def test_a_large_data_set_is_shared_by_all_workers():
    pool = Pretending(4, range(100))
    dispatched(pool, [[task(start, start + 1) for start in range(40)]])
    assert {who for who, _ in pool.did} == {0, 1, 2, 3}


def test_another_group_is_opened_only_for_workers_that_would_stand_idle():
    pool = Pretending(2)
    dispatcher = Dispatcher(pool, 2, lambda images: None, lambda line: None)
    assert dispatcher.wants_more()
    dispatcher.add(Listed(task(start, start + 1) for start in range(3)))
    dispatcher.step(share=False)
    assert dispatcher.wants_more(), "three tasks are not enough for two workers"
    dispatcher.add(Listed(task(start, start + 1, "large") for start in range(30)))
    dispatcher.step(share=False)
    assert not dispatcher.wants_more()


@pytest.mark.parametrize("size", [1, 3])
def test_the_deadly_image_is_found_by_halving_and_the_rest_is_done(size, monkeypatch):
    joined = []
    monkeypatch.setattr(shard_files, "join", lambda whole, parts, keys: joined.append(whole))
    pool = Pretending(size, deadly={21})
    done, told = dispatched(pool, [[task(0, 16), task(16, 32), task(32, 48)]])
    failures = {work.start: failed for work, failed in done}
    assert failures[0] == failures[32] == {} and not joined
    (failure,) = failures[16].values()
    assert failure.message.startswith("model net on data/image21: a worker was killed there every time; give it")
    assert pool.restarts == 3 + 4 + 0 and len(told) == 2 + 4, "three attempts, then 8, 4, 2 and 1 images"


def test_halves_that_are_survived_are_joined(monkeypatch):
    joined = []
    monkeypatch.setattr(shard_files, "join", lambda whole, parts, keys: joined.append((whole, parts, keys)))

    class TooLarge(Pretending):
        def take(self):
            worker = next(worker for worker, given in self.given.items() if given)
            if self.given[worker][0].images > 4:
                return worker, Died("ran out of memory")
            return super().take()

    done, _ = dispatched(TooLarge(1), [[task(0, 16)]], retries=0)
    assert [(work.start, work.stop, failed) for work, failed in done] == [(0, 16, {})]
    assert [(whole.images, len(parts), keys) for whole, parts, keys in joined] == [
        (8, 2, {"cell"}),
        (8, 2, {"cell"}),
        (16, 2, {"cell"}),
    ]


def test_joined_shards_are_the_shard_of_the_whole(tmp_path):
    import numpy as np

    from bench.counts.tally import Tally, key_pixels

    def shard(images):
        tally, rows = Tally(2, 2**20), {}
        for image in images:
            score = np.random.default_rng(image).normal(size=(8, 8)).astype(np.float32)
            tally.add(key_pixels(score, (score > 1).astype(np.uint8), 2))
            rows[f"image{image}"] = {"pixels": np.array(image)}
        about = {name: {"group": "g", "tags": {}} for name in rows}
        return shard_files.Shard("stamp", tally, rows, {"score": 1.0 * len(images)}, 5.0 + len(images), about)

    whole = replace(task(0, 5), run=tmp_path)
    parts = whole.halves()
    for part in parts:
        shard_files.write(
            shard_files.path_of(tmp_path, "cell", part.start, part.stop, 1), shard(range(part.start, part.stop))
        )
    shard_files.join(whole, parts, {"cell"})
    (path,) = (tmp_path / "work" / "cell").iterdir()
    found, wanted = shard_files.read(path), shard(range(5))
    assert found.rows == wanted.rows and found.about == wanted.about and found.seconds == {"score": 5.0}
    for name, array in wanted.tally.arrays().items():
        assert np.array_equal(array, found.tally.arrays()[name]), name


def test_pictures_are_drawn_through_the_same_workers_and_a_failure_is_raised():
    class Failing(Pretending):
        def take(self):
            worker, _ = super().take()
            return worker, Outcome({"cell": Failure("it cannot be drawn")} if len(self.did) == 2 else {})

    pool = Failing(1)
    dispatcher = Dispatcher(pool, 2, lambda images: None, lambda line: None)
    with pytest.raises(BadPlugin, match=r"it cannot be drawn"):
        dispatcher.run([task(start, start + 1) for start in range(3)])
    assert [work.start for _, work in pool.did] == [0, 1, 2], "the others are drawn all the same"


@dataclass
class Fake:
    """A machine with these GPUs."""

    names: list

    def device_count(self):
        return len(self.names)

    def get_device_name(self, place=0):
        return self.names[place]


@pytest.mark.parametrize(
    ("names", "visible", "wanted"),
    [
        (["A", "A", "A"], None, ["0", "1", "2"]),
        (["A", "B", "A"], None, ["0", "2"]),
        (["A", "A"], "5,3", ["5", "3"]),
        (["A", "A"], "GPU-1f, MIG-7c", ["GPU-1f", "MIG-7c"]),
    ],
)
def test_gpus_that_compute_alike_get_a_process_each(monkeypatch, names, visible, wanted):
    """No GPU was there: what is assigned, not what it computes."""
    import torch

    monkeypatch.setattr(torch, "cuda", Fake(names))
    if visible:
        monkeypatch.setenv(local.VISIBLE, visible)
    else:
        monkeypatch.delenv(local.VISIBLE, raising=False)
    how = replace(HOW, device="cuda", device_name="A")
    assert local.gpus(how) == wanted
    pool = select.local(None, how, lambda images: None)
    assert isinstance(pool, local.ProcessPool) and pool.size == len(wanted)
    assert [local.device_of(worker, wanted) for worker in range(len(wanted) + 1)] == [*wanted, wanted[0]]
    assert select.local(5, how, lambda images: None).size == 5


def test_a_cpu_gets_one_process_unless_more_are_asked_for():
    assert isinstance(select.local(None, HOW, lambda images: None), InProcessPool)
    assert select.local(3, HOW, lambda images: None).size == 3
    assert local.device_of(2, []) == ""


def test_options_of_ray_without_ray_are_refused():
    from bench.cli.run import run

    with pytest.raises(UsageError, match=r"belong to Ray; say --executor ray"):
        run(["demo"], address="auto")


def test_a_task_says_which_samples_its_worker_gets_next():
    pool = Pretending(2, [0, 1, 1] * 20)
    handed = []
    give = pool.give
    pool.give = lambda worker, work: handed.append((worker, work)) or give(worker, work)
    dispatched(pool, [[task(start, start + 2) for start in range(0, 24, 2)]])
    announced = 0
    for worker in (0, 1):
        own = [work for who, work in handed if who == worker]
        announced += sum(work.ahead == (later.start, later.stop) for work, later in itertools.pairwise(own))
    assert announced >= len(handed) - 4, "all but the last of each, and what an idle worker takes from the other"
