"""A pass by hand: the steps in order, what each has to do, and what of it is done already."""

from collections import deque
from dataclasses import replace

import pytest
from running import Silent

from bench.core.errors import MissingData
from bench.models import numerics
from bench.run import jobs, preflight, steps
from bench.run.context import Options, RunContext
from bench.run.messages import Failure, Finish, Outcome, Task
from bench.run.passes import execute
from bench.run.steps import CountStep, FigureStep, ParameterStep, Pass
from bench.run.worker import Worker
from bench.suite import expansion as suites


def opened(path, run_dir, only=None, **options):
    """The only pass of a suite, and its context."""
    suite = suites.load(path)
    suite = suite.only(only) if only else suite
    checked, how = preflight.check(suite), numerics.resolve(suite.numerics)
    numerics.apply(how)
    context = RunContext(run_dir, how, Options(workers=0, **options), Silent(), checked)
    cells = [jobs.job_of(cell, checked, how, run_dir) for cell in suite.cells]
    return Pass(context, suite.cells[0].model, suite.cells[0].dataset, cells)


def done(step, worker, most=None):
    """Do the work of a step, or so many pieces of it; return what it was."""
    works = []
    while (most is None or len(works) < most) and (work := step.next_work()) is not None:
        step.take(work, execute(work, worker))
        works.append(work)
    return works


def test_a_pass_goes_from_step_to_step_and_gives_each_result_once(tiny, tmp_path):
    follows, worker = opened(tiny, tmp_path / "run", shard=4), Worker()
    kinds, labels = [], deque()
    while (step := follows.next_step()) is not None:
        works = done(step, worker)
        assert step.remaining == 0
        kinds.append((type(step), len(works)))
        labels.append([result.labels.protocol for result in follows.results()])
        assert list(follows.results()) == []
    assert kinds == [
        (CountStep, 3),  # of 4, 4 and 2 images
        (FigureStep, 9),
        (ParameterStep, 4),
        (CountStep, 3),
        (FigureStep, 4),
    ]
    assert [len(found) for found in labels] == [0, 9, 0, 0, 4]
    assert set(labels[1]) == {"anomaly", "misclassification", "miou"} and len(set(labels[4])) == 1
    assert follows.next_step() is None
    assert not (tmp_path / "run" / "spool").exists() and not (tmp_path / "run" / "work").exists()


def test_a_step_knows_how_many_tasks_are_left_and_makes_them_one_by_one(tiny, tmp_path):
    only = {"method": "msp", "protocol": "anomaly"}
    step = opened(tiny, tmp_path / "run", only, shard=1).next_step()
    for left in range(10, 0, -1):
        assert step.remaining == left
        task = step.next_work()
        assert (task.start, task.stop) == (10 - left, 11 - left)
    assert step.remaining == 0 and step.next_work() is None


def test_what_is_on_disk_is_no_work(tiny, tmp_path):
    only = {"method": "msp", "protocol": "anomaly"}
    worker = Worker()
    assert len(done(opened(tiny, tmp_path / "run", only, shard=3).next_step(), worker, most=2)) == 2
    follows = opened(tiny, tmp_path / "run", only, shard=3)
    assert [(task.start, task.stop) for task in done(follows.next_step(), worker)] == [(6, 9), (9, 10)]


def test_another_range_or_another_stamp_is_counted_again(tiny, tmp_path):
    only = {"method": "msp", "protocol": "anomaly"}
    worker = Worker()
    done(opened(tiny, tmp_path / "run", only, shard=5).next_step(), worker)
    assert len(done(opened(tiny, tmp_path / "run", only, shard=4).next_step(), worker)) == 3
    follows = opened(tiny, tmp_path / "run", only, shard=5)
    (job,) = follows.jobs
    job.depends = replace(job.depends, all={**job.depends.all, "metrics": "another version"})
    assert len(done(follows.next_step(), worker)) == 2


def test_a_cell_that_fails_is_in_no_task_made_afterwards(tiny, tmp_path):
    follows = opened(tiny, tmp_path / "run", {"protocol": "anomaly"}, shard=2)
    step = follows.next_step()
    first = step.next_work()
    assert len(first.cells) == 4
    step.take(first, Outcome({cell.key: Failure("it broke") for cell in first.cells}))
    assert step.next_work() is None and step.remaining == 0
    assert follows.next_step() is None and list(follows.results()) == []
    assert {failed.message for failed in follows.context.failed.values()} == {"it broke"}


def test_a_network_that_cannot_be_loaded_ends_the_passes_that_are_opened_later(tiny, tmp_path):
    follows = opened(tiny, tmp_path / "run", {"method": "msp"})
    step = follows.next_step()
    task = step.next_work()
    step.take(task, Outcome(dict.fromkeys(task.keys, Failure("no weights", model=True))))
    assert follows.model in follows.context.broken
    later = Pass(follows.context, follows.model, follows.dataset, follows.jobs)
    assert later.next_step() is None


def test_a_data_set_whose_first_image_is_torn_fails_its_cells_and_not_the_run(tiny, tmp_path, monkeypatch):
    def torn(dataset):
        raise MissingData("image 0 is torn")

    monkeypatch.setattr(steps, "shard_size", torn)
    follows = opened(tiny, tmp_path / "run", {"method": "msp"})
    step = follows.next_step()
    assert step.next_work() is None
    assert follows.next_step() is None
    assert {failed.message for failed in follows.context.failed.values()} == {"image 0 is torn"}


@pytest.mark.parametrize("work", [Task, Finish])
def test_a_failure_of_the_whole_work_names_it_and_leaves_a_traceback(tiny, tmp_path, monkeypatch, work):
    follows, worker = opened(tiny, tmp_path / "run", {"method": "msp", "protocol": "anomaly"}), Worker()
    step = follows.next_step()
    if work is Finish:
        done(step, worker)
        step = follows.next_step()
        monkeypatch.setattr("bench.run.shard_files.read", lambda path: 1 / 0)
    else:
        monkeypatch.setattr("bench.models.inference.look_together", lambda *_: 1 / 0)
    outcome = execute(step.next_work(), worker)
    (failure,) = outcome.failures.values()
    assert "ZeroDivisionError: division by zero (test_steps.py:" in failure.message
    assert failure.message.startswith("figures of " if work is Finish else "model tiny on toytown[")
    assert ("toytown_anomaly_000000: Zero" in failure.message) == (work is Task), "the sample that was out"
    assert "Traceback" in failure.trace and not failure.model
