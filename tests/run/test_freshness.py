"""Which cells are computed again: exactly those that depend on what has changed."""

import ast
import inspect
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bench.api import Method, Protocol
from bench.core import versions
from bench.core.errors import BadPlugin
from bench.models import numerics
from bench.results import store
from bench.results.store import Result
from bench.run import finalise, jobs, preflight
from bench.suite import expansion, registry
from bench.suite.schema import NumericsRule

SUITE = """
protocols: [anomaly, components, miou]
models:
  - toynet
  - precomputed: {scores: maps, labels: maps}
datasets:
  - toytown: {split: anomaly, height: 32, width: 64, images: 2, label: streets}
  - toytown: {split: anomaly, height: 32, width: 64, images: 2, corruption: {name: fog, severity: 3}, label: fog}
  - folder: {images: mine/images/*.png, labels: mine/masks/*.png, anomaly: [1], usual: [0], label: photographs}
methods:
  - maxlogit
  - own
  - entropy_meta
  - ash
  - fed_u: {weights: toynet_fed_u, post: none, label: fed_u}
bootstrap: 0
"""
NUMERICS = numerics.resolve(NumericsRule())


@pytest.fixture(scope="module")
def suite_path(tmp_path_factory):
    """A suite of two networks, one of them stored maps, and data that is drawn, corrupted, or read from files."""
    folder = tmp_path_factory.mktemp("suite")
    for name in ("mine/images", "mine/masks", "maps"):
        (folder / name).mkdir(parents=True)
    Image.fromarray(np.zeros((32, 64, 3), np.uint8)).save(folder / "mine" / "images" / "a.png")
    Image.fromarray(np.eye(32, 64, dtype=np.uint8)).save(folder / "mine" / "masks" / "a.png")
    np.save(folder / "maps" / "a.npy", np.zeros((32, 64), np.float32))
    (folder / "suite.yaml").write_text(SUITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATA", str(folder))
        yield folder / "suite.yaml"


@pytest.fixture(autouse=True)
def data(monkeypatch, suite_path):
    monkeypatch.setenv("BENCH_DATA", str(suite_path.parent))


def planned(path, run_dir):
    """Every job of the suite with what refuses it, as a run would see them now."""
    suite = expansion.load(path)
    checked = preflight.check(suite)
    return [(jobs.job_of(cell, checked, NUMERICS, run_dir), checked.refused.get(cell.key)) for cell in suite.cells]


def finish(path, run_dir):
    """Write a result of every cell, as a run leaves them."""
    for job, refusal in planned(path, run_dir):
        result = Result(job.key, job.cell, {}, {}, {}, job.images, False, depends=job.depends.all)
        if refusal:
            result = finalise.not_applicable(job, refusal, NUMERICS, "")
        store.write_result(run_dir, result, {})


def stale(path, run_dir):
    """The cells that a run would compute again."""
    return {str(job.cell) for job, refusal in planned(path, run_dir) if not jobs.is_fresh(run_dir, job, refusal)}


def uses(job, *, protocol=(), model=(), dataset=(), method=()):
    """Return True for a cell with one of the coordinates named."""
    labels = job.cell.labels
    return labels.protocol in protocol or labels.model in model or labels.dataset in dataset or labels.method in method


READERS = {
    "metrics": lambda job: True,
    "scoring": lambda job: True,
    "segments": lambda job: uses(job, protocol={"components"}, method={"entropy_meta"}),
    "meta": lambda job: uses(job, method={"entropy_meta"}),
    "inference": lambda job: uses(job, model={"toynet"}),
    "features": lambda job: uses(job, method={"ash"}),
    "flow": lambda job: uses(job, method={"fed_u"}),
    "corruptions": lambda job: uses(job, dataset={"fog+fog-3"}),
    "toytown": lambda job: uses(job, dataset={"streets", "fog+fog-3"}),
    "curves": lambda job: False,  # they are read off the counts where they are out of date
    "gallery": lambda job: False,  # pictures have a request of their own
}


@pytest.fixture(scope="module")
def finished(suite_path, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("run")
    finish(suite_path, run_dir)
    return run_dir


def test_nothing_is_stale_as_long_as_nothing_changes(suite_path, finished):
    assert READERS.keys() == versions.NUMBERS.keys()
    assert stale(suite_path, finished) == set()


@pytest.mark.parametrize("name", versions.NUMBERS)
def test_a_raised_number_makes_exactly_its_readers_stale(monkeypatch, suite_path, finished, name):
    monkeypatch.setattr(versions, "NUMBERS", {**versions.NUMBERS, name: 99})
    applicable = [job for job, refusal in planned(suite_path, finished) if not refusal]
    wanted = {str(job.cell) for job in applicable if READERS[name](job)}
    assert stale(suite_path, finished) == wanted
    assert 0 < len(wanted) < len(applicable) or name in {"metrics", "scoring", "curves", "gallery"}


@pytest.mark.parametrize("name", ["metrics", "segments"])
def test_what_a_protocol_alone_reads_leaves_score_maps_as_they_are(monkeypatch, suite_path, finished, name):
    def stamps():
        return {
            job.cell.labels: job.map_stamp
            for job, _ in planned(suite_path, finished)
            if job.cell.labels.method == "maxlogit"
        }

    before = stamps()
    monkeypatch.setattr(versions, "NUMBERS", {**versions.NUMBERS, name: 99})
    assert stamps() == before
    monkeypatch.setattr(versions, "NUMBERS", {**versions.NUMBERS, "scoring": 99})
    assert all(stamp != before[labels] for labels, stamp in stamps().items())


def changed(run_dir, job, **fields):
    """Write the result of a cell anew, with other fields."""
    result = store.read_result(store.result_path(run_dir, job.key))
    store.write_result(run_dir, replace(result, **fields))


def test_a_cell_that_is_not_applicable_is_told_by_a_code_and_not_by_its_words(suite_path, tmp_path):
    finish(suite_path, tmp_path)
    job, refusal = next((job, refusal) for job, refusal in planned(suite_path, tmp_path) if refusal)
    changed(tmp_path, job, not_applicable="the same in other words")
    assert jobs.is_fresh(tmp_path, job, refusal)
    changed(tmp_path, job, refusal="another reason", not_applicable=refusal.reason)
    assert not jobs.is_fresh(tmp_path, job, refusal)
    changed(tmp_path, job, refusal="")  # a result of before there were codes
    assert "refusal" not in store.result_path(tmp_path, job.key).read_text()
    assert not jobs.is_fresh(tmp_path, job, refusal)
    assert not jobs.is_fresh(tmp_path, job, None), "the pair is applicable now"
    job, _ = next((job, refusal) for job, refusal in planned(suite_path, tmp_path) if not refusal)
    assert jobs.is_fresh(tmp_path, job, None) and not jobs.is_fresh(tmp_path, job, refusal)


def test_reasons_that_differ_have_codes_that_differ(suite_path, tmp_path):
    refusals = {refusal for _, refusal in planned(suite_path, tmp_path) if refusal}
    codes = {refusal.code for refusal in refusals}
    assert "truth labels" in codes and any(code.startswith("outputs ") for code in codes)


def test_a_computation_that_is_not_in_the_table_is_refused_by_name(monkeypatch, suite_path, tmp_path):
    monkeypatch.setattr(registry.plugin("method", "maxlogit", where="here"), "computations", frozenset({"segment"}))
    with pytest.raises(BadPlugin, match="depends on 'segment', which is no shared computation: metrics, scoring, "):
        planned(suite_path, tmp_path)


MODULES = {"bench.ops.segments": "segments", "bench.ops.meta": "meta", "bench.fit.flow": "flow"}


def imported(module, within, seen):
    """Modules that a module imports, and those that they import where their names begin with ``within``."""
    if module in seen:
        return
    seen.add(module)
    if not module.startswith(within) or module not in sys.modules:
        return
    for node in ast.walk(ast.parse(inspect.getsource(sys.modules[module]))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bench."):
            for name in [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]:
                imported(name, within, seen)


@pytest.mark.parametrize(("kind", "base", "within"), [("protocol", Protocol, "bench.metrics"), ("method", Method, "-")])
def test_who_imports_a_shared_computation_declares_it(kind, base, within):
    declared = 0
    for name, cls in registry.available(kind).items():
        reached: set[str] = set()
        for ancestor in inspect.getmro(cls):
            if issubclass(ancestor, base) and ancestor.__module__.startswith("bench."):
                imported(ancestor.__module__, (within, ancestor.__module__), reached)
        reached = {f"{module}." for module in reached}
        read = {number for module, number in MODULES.items() if any(one.startswith(f"{module}.") for one in reached)}
        assert read <= cls.computations, f"{kind} {name}"
        declared += len(read)
    assert declared >= 2
