"""Who may import whom, read from the files themselves."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEAVES = {"bench", "bench.core.errors", "bench.api", "bench.contract.progress"}
READERS = LEAVES | {"bench.core.files"}
ABOVE = {  # module: what it may import of ours
    "bench.core.errors": set(),
    "bench.api": {"bench.ops", "bench.counts.tally"},  # late, and for types
    "bench.ops": {"bench.api", "bench.core.compiled"},  # the former for types
    "bench.core.files": {"bench.core.errors"},
    "bench.core.compiled": set(),
    "bench.corruptions": {"bench.core.compiled", "bench.core.errors"},
    "bench.datasets.wrappers.corruption_cache": {"bench.core.files"},
    "bench.datasets.wrappers.corrupted": LEAVES
    | {"bench.datasets.wrappers.corruption_cache", "bench.corruptions", "bench.datasets.wrappers.wrapped"},
    "bench.ops.segments": LEAVES | {"bench.core.compiled"},
    "bench.ops.meta": {"bench.core.errors"},
    "bench.metrics": LEAVES | {"bench.core.compiled", "bench.ops.segments"},
    "bench.fit.flow": READERS | {"bench.models.inference", "bench.suite.registry", "bench.ops", "bench.core.weights"},
    "bench.methods": {
        "bench.api",
        "bench.core.errors",
        "bench.fit.flow",
        "bench.ops.meta",
        "bench.ops",
        "bench.ops.segments",
    },
    "bench.datasets": READERS,
    "bench.models": READERS | {"bench.suite.registry", "bench.ops", "bench.core.weights"},
    "bench.data.coco_proxy": {"bench"} | READERS | {"bench.datasets", "bench.suite.loader"},
    "bench.fit.outliers": READERS | {"bench.fit.flow"},
    "bench.fit": READERS
    | {
        "bench.datasets",
        "bench.fit.flow",
        "bench.models",
        "bench.fit.outliers",
        "bench.suite.registry",
        "bench.ops",
    },
    "bench.core.weights": {"bench.core.errors"},
    "bench.datasets.wrappers.wrapped": {"bench.api"},
    "bench.datasets.wrappers.class_map": LEAVES | {"bench.datasets.wrappers.wrapped"},
    "bench.suite.registry": LEAVES | {"bench.datasets.wrappers.class_map", "bench.datasets.wrappers.corrupted"},
    "bench.suite.expansion": LEAVES
    | {"bench.datasets.wrappers.class_map", "bench.datasets.wrappers.corrupted", "bench.suite.registry"},
    "bench.models.numerics": {"bench.core.errors", "bench.suite.expansion"},
    "bench.models.inference": LEAVES | {"bench.models.numerics", "bench.ops"},
    "bench.metrics.intervals": LEAVES | {"bench.metrics"},
    "bench.suite.loader": LEAVES | {"bench.suite.registry"},
    "bench.core.npz": set(),
    "bench.results.store": READERS | {"bench.core.npz"},
    "bench.results.records": {"bench.api", "bench.results.store"},
    "bench.results.summary": {"bench.api", "bench.results.store"},
    "bench.results.seeds": LEAVES | {"bench.results.store"},
    "bench.metrics.slices": LEAVES | {"bench.metrics"},
    "bench.results.reliability": LEAVES | {"bench.metrics", "bench.results.store"},
    "bench.results.operating": LEAVES
    | {"bench.metrics.intervals", "bench.metrics", "bench.suite.registry", "bench.results.store"},
    "bench.results.curves": LEAVES
    | {
        "bench.metrics",
        "bench.results.operating",
        "bench.results.reliability",
        "bench.results.store",
        "bench.results.summary",
    },
    "bench.results.compare": LEAVES | {"bench.results.store", "bench.results.summary"},
    "bench.evaluate.files": LEAVES | {"bench.ops"},  # late: only what is upsampled needs torch
    "bench.evaluate.frames": READERS | {"bench.suite.registry"},
    "bench.evaluate.lint": LEAVES,
    "bench.results.definitions": LEAVES | {"bench.metrics", "bench.results.store"},
    "bench.evaluate.evaluation": LEAVES
    | {
        "bench.metrics.intervals",
        "bench.evaluate.frames",
        "bench.evaluate.lint",
        "bench.metrics",
        "bench.suite.registry",
        "bench.evaluate.files",
    },
    "bench.evaluate.text": LEAVES | {"bench.evaluate.evaluation", "bench.metrics", "bench.suite.registry"},
    "bench.run.preflight": LEAVES
    | {
        "bench.datasets.wrappers.class_map",
        "bench.datasets.wrappers.corrupted",
        "bench.fit.fitted_store",
        "bench.models.inference",
        "bench.models.numerics",
        "bench.suite.registry",
        "bench.suite.expansion",
    },
    "bench.run.estimate": LEAVES
    | {
        "bench.fit.fitted_store",
        "bench.models.numerics",
        "bench.run.preflight",
        "bench.results.store",
        "bench.suite.expansion",
    },
    "bench.run.train": READERS
    | {
        "bench.fit.fitted_store",
        "bench.models.inference",
        "bench.suite.loader",
        "bench.models.numerics",
        "bench.run.preflight",
        "bench.suite.registry",
        "bench.suite.expansion",
    },
    "bench.data.describe": READERS
    | {"bench.datasets.wrappers.class_map", "bench.datasets", "bench.suite.registry", "bench.suite.expansion"},
    "bench.run.provenance": {"bench", "bench.models.numerics"},
    "bench.fit.fitted_store": READERS
    | {
        "bench.models.inference",
        "bench.suite.loader",
        "bench.models.numerics",
        "bench.suite.registry",
        "bench.suite.expansion",
    },
    "bench.results.pictures": READERS | {"bench.metrics"},
    "bench.results.gallery": READERS | {"bench.results.pictures", "bench.results.store"},
    "bench.run.gallery_pass": READERS
    | {
        "bench.fit.fitted_store",
        "bench.results.gallery",
        "bench.metrics",
        "bench.models.numerics",
        "bench.results.pictures",
        "bench.suite.registry",
        "bench.run.shards",
        "bench.results.store",
        "bench.suite.expansion",
    },
    "bench.run.shards": READERS
    | {
        "bench.fit.fitted_store",
        "bench.models.inference",
        "bench.suite.loader",
        "bench.metrics",
        "bench.models.numerics",
        "bench.results.pictures",
        "bench.results.store",
        "bench.suite.expansion",
    },
    "bench.run.refinement": READERS
    | {"bench.fit.fitted_store", "bench.run.shards", "bench.results.store", "bench.suite.expansion"},
    "bench.run.finetune": READERS
    | {
        "bench.suite.loader",
        "bench.models",
        "bench.models.numerics",
        "bench.suite.registry",
        "bench.suite.expansion",
        "bench.run.train",
        "bench.core.weights",
    },
    "bench.run.executors": {"bench"}
    | READERS
    | {
        "bench.datasets.wrappers.corrupted",
        "bench.fit.fitted_store",
        "bench.suite.loader",
        "bench.models.numerics",
        "bench.run.provenance",
        "bench.run.shards",
        "bench.suite.expansion",
        "bench.run.tasks",
    },
    "bench.run.finalise": LEAVES
    | {
        "bench.results.curves",
        "bench.metrics.intervals",
        "bench.metrics",
        "bench.results.reliability",
        "bench.run.shards",
        "bench.metrics.slices",
        "bench.results.store",
        "bench.suite.expansion",
    },
    "bench.run.tasks": LEAVES
    | {
        "bench.run.finalise",
        "bench.fit.fitted_store",
        "bench.suite.loader",
        "bench.run.shards",
        "bench.suite.expansion",
    },
    "bench.cli.progress": set(),
    "bench.contract.progress": set(),
    "bench.suite.scaffold": READERS | {"bench.suite.registry"},
    "bench.reports": LEAVES
    | {
        "bench.corruptions",
        "bench.results.curves",
        "bench.results.definitions",
        "bench.results.gallery",
        "bench.metrics",
        "bench.results.store",
        "bench.results.summary",
    },
    "bench.run.score_maps": LEAVES
    | {
        "bench.fit.fitted_store",
        "bench.models.inference",
        "bench.suite.loader",
        "bench.models.numerics",
        "bench.run.preflight",
        "bench.suite.registry",
        "bench.ops",
        "bench.run.shards",
        "bench.suite.expansion",
    },
    "bench.submissions": READERS
    | {
        "bench.datasets",
        "bench.evaluate.evaluation",
        "bench.fit.fitted_store",
        "bench.evaluate.frames",
        "bench.evaluate.lint",
        "bench.run.score_maps",
        "bench.models.command",  # the names of its files: the contract is one
        "bench.models.numerics",
        "bench.suite.registry",
        "bench.evaluate.files",
        "bench.run.shards",
        "bench.results.store",
        "bench.suite.expansion",
    },
    "bench.suite.arguments": {"bench.core.errors"},
    "bench.cli.results": READERS
    | {
        "bench.suite.arguments",
        "bench.results.compare",
        "bench.results.operating",
        "bench.results.records",
        "bench.reports",
        "bench.results.seeds",
        "bench.results.store",
        "bench.results.summary",
    },
    "bench.cli.submit": LEAVES | {"bench.cli.progress", "bench.submissions"},
    "bench.suites": set(),
}
FOLDERS = {"bench": "bench", "methods": "bench.methods", "reports": "bench.reports", "submissions": "bench.submissions"}


def module_of(path):
    top, *rest = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join([FOLDERS[top], *rest])
    return name.removesuffix(".__init__")


FILES = {module_of(path): path for top in FOLDERS for path in sorted((ROOT / top).rglob("*.py"))}
FREE = {"bench", "bench.cli.main", "bench.__main__", "bench.run.engine"}  # the two that put everything together


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (
                full if (full := f"{node.module}.{alias.name}") in FILES or full in ABOVE else node.module
                for alias in node.names
            )
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def home(module):
    return max((known for known in ABOVE if f"{module}.".startswith(f"{known}.")), key=len, default=None)


@pytest.mark.parametrize("module", [module for module in FILES if module not in FREE])
def test_imports_point_one_way(module):
    mine = home(module)
    assert mine is not None, f"{module} has no place in the table: who may it import?"
    for name in imported(FILES[module]):
        if name == "bench" or name.startswith("bench."):
            allowed = any(f"{name}.".startswith(f"{known}.") for known in ABOVE[mine] - {"bench"} | {mine})
            assert allowed or (name == "bench" and "bench" in ABOVE[mine]), f"{module} imports {name}"


def test_nobody_imports_the_command_line_or_the_engine_from_below():
    for module, path in FILES.items():
        if module not in FREE:
            assert not {"bench.cli.main", "bench.run.engine"} & set(imported(path)), module


@pytest.mark.parametrize(
    "module", [m for m in FILES if m.startswith(("bench.datasets", "bench.metrics", "bench.results.store"))]
)
def test_what_runs_in_data_workers_and_in_bench_score_imports_no_torch(module):
    assert not any(name == "torch" or name.startswith("torch.") for name in imported(FILES[module]))
