"""From a suite file to jobs: what is made once however many cells share it, and how long 10,000 cells take."""

import time
from collections import Counter

import pytest

from bench.models import numerics
from bench.run import engine, jobs, preflight
from bench.suite import expansion as suites
from bench.suite import registry

GRID = """
protocols: [misclassification, miou]
models:
  - toynet: {label: whole}
  - toynet: {label: halves, inference: {window: [32, 32]}}
  - toynet: {label: strips, inference: {window: [16, 64]}}
datasets:
  - toytown:
      split: val
      height: 32
      width: 64
      sweep: {images: IMAGES}
      corruptions: {names: source, severities: [1, 2, 3, 4, 5]}
methods: [msp, maxlogit, entropy, softmax_std, {energy: {sweep: {temperature: [1, 2, 3]}}}]
"""


def grid(folder, sets):
    """A suite of 75 corruptions x 3 networks x 8 cells, for each of so many data sets."""
    path = folder / "grid.yaml"
    path.write_text(GRID.replace("IMAGES", str(list(range(1, sets + 1)))))
    return path


def jobs_of(path, run_dir):
    """All that happens between the command and the first image."""
    suite = suites.load(path)
    checked = preflight.check(suite)
    how = numerics.resolve(suite.numerics)
    engine.plan_of(suite)
    planned = [jobs.job_of(cell, checked, how, run_dir) for cell in suite.cells]
    assert not any(jobs.is_fresh(run_dir, job, checked.refused.get(job.key)) for job in planned)
    return planned


def test_cells_that_share_a_plug_in_share_its_instance_and_digest(tmp_path, monkeypatch):
    built, digested = Counter(), Counter()
    build, digest = registry.build, registry.digest
    monkeypatch.setattr(
        registry, "build", lambda kind, name, *rest, **more: (built.update([kind]), build(kind, name, *rest, **more))[1]
    )
    monkeypatch.setattr(registry, "digest", lambda kind, name: (digested.update([(kind, name)]), digest(kind, name))[1])
    jobs = jobs_of(grid(tmp_path, 1), tmp_path / "run")
    assert len(jobs) == 1800 == len({job.key for job in jobs})
    # Once to resolve the entry, once for the cells; every corruption is an entry of its own.
    assert built == {"protocol": 4, "model": 6, "method": 14, "dataset": 76}
    assert set(digested.values()) == {1}


def test_a_key_is_made_once_and_survives_a_copy(tmp_path):
    cell = suites.load(grid(tmp_path, 1)).cells[0]
    again = suites.load(grid(tmp_path, 1)).cells[0]
    assert cell.key is cell.key
    assert cell == again and hash(cell) == hash(again) and cell.key == again.key


@pytest.mark.slow
def test_ten_thousand_cells_are_planned_in_less_than_five_seconds(tmp_path):
    path = grid(tmp_path, 6)
    for kind in registry.HOMES:
        registry.available(kind)  # importing plug-ins is no part of it
    before = time.process_time()
    jobs = jobs_of(path, tmp_path / "run")
    assert len(jobs) == 10800
    assert time.process_time() - before < 5
