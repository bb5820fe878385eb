"""The ledger of CPU time: stages that add up to all of it."""

import threading

import pytest

from bench.core.cpu_time import OTHER, START, Ledger


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(clock):
    return Ledger(clock, clock)


def test_inner_stages_are_taken_from_outer_ones(ledger, clock):
    clock.now = 1.0
    with ledger("count", "anomaly"):
        clock.now += 2.0
        with ledger("compile"):
            clock.now += 4.0
        clock.now += 8.0
    clock.now += 16.0
    with ledger("count", "miou"):
        clock.now += 32.0
    spent = ledger.total().by_stage
    assert {stage: spent[stage] for stage in spent if stage != OTHER} == {
        START: 1.0,
        ("count", "anomaly"): 10.0,
        ("compile", ""): 4.0,
        ("count", "miou"): 32.0,
    }
    assert ledger.taken()[OTHER] == 16.0


def test_a_stage_ends_where_something_is_raised(ledger, clock):
    with pytest.raises(KeyError), ledger("score"):
        clock.now += 1.0
        raise KeyError
    clock.now += 1.0
    assert ledger.taken() == {("score", ""): 1.0, OTHER: 1.0}


def test_all_stages_add_up_with_threads_and_other_processes():
    process, of_thread = Clock(), Clock()
    ledger = Ledger(process, of_thread)

    def work():
        of_thread.now = 100.0  # spent before the stage
        with ledger("merge"):
            of_thread.now += 3.0
            process.now += 3.0

    with ledger("predict"):
        process.now += 5.0
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    ledger.add({("load", ""): 7.0}, child=False)
    assert ledger.taken() == {("predict", ""): 5.0, ("merge", ""): 3.0, ("load", ""): 7.0}
    process.now += 1.0
    assert ledger.taken() == {OTHER: 1.0}
    total = ledger.total()
    assert total.seconds == pytest.approx(sum(total.by_stage.values()))
