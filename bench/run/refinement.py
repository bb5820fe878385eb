"""Between the first pass and the counting of a refinement: decide about all images at once, and keep the tables.

    work/KEY/phase0-...npz        columns of the tables, image by image, while the run is under way
    work/KEY/decided.npz          what was decided about each image
    RUN/segments/KEY.parquet      the table of segments, with what was decided, and as many other tables as there are
    RUN/decisions/KEY.json        how it came to that: classifiers with their figures by name

A refinement belongs to one network, data set and method; every protocol counts the same refined maps. Its rows are
merged by sample id and decided on in that order, so that nothing depends on shards, processes or resumption.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from bench.api import Decision, Refinement, Row, Rows, State
from bench.core import cost
from bench.core.errors import BadPlugin, MissingData
from bench.core.files import writing
from bench.core.sharing import read_only
from bench.fit import fitted_store
from bench.results import store
from bench.run import lending, shard_files
from bench.run.messages import RefinementTask
from bench.suite.cells import Ref


@dataclass
class RefinementJob:
    """A refinement under way."""

    key: str
    model: Ref
    dataset: Ref
    method: Ref
    seed: int
    stamp: str  # what its maps and columns must have been made with
    spool: str  # folder of the maps as they are before, relative to the run
    fitted: fitted_store.Fitted | None = None
    report: Mapping[str, Any] | None = None  # of the decision
    digest: str = ""  # of the decision

    def task(self) -> RefinementTask:
        """What a shard is told of it."""
        return RefinementTask(self.key, self.method, self.fitted.key if self.fitted else None, self.stamp, self.spool)


def job_of(run: Path, model: Ref, dataset: Ref, method: Ref, seed: int, stamp: str) -> RefinementJob:
    """The refinement that all cells of these three share."""
    spelled = {"model": model.spelled(), "dataset": dataset.spelled(), "method": method.spelled(), "seed": seed}
    key = hashlib.sha256(json.dumps(spelled, sort_keys=True).encode()).hexdigest()[:16]
    names = [(ref.label, str(ref.spelled())) for ref in (model, dataset)]
    folder = store.spool_folder(run, [*names, (f"draft-{key}", key)], "float32")
    return RefinementJob(key, model, dataset, method, seed, stamp, str(folder.relative_to(run)))


def shard_there(run: Path, job: RefinementJob, start: int, stop: int, ids: Sequence[str], since: float) -> bool:
    """True if the first pass over a range is on disk, columns and maps, and was written after ``since``."""
    path = shard_files.path_of(run, job.key, start, stop, 0)
    shard_files.drop_older(path, since)
    return shard_files.is_there(path, job.stamp, ids, run / job.spool)


def decide(run: Path, job: RefinementJob, ranges: Sequence[tuple[int, int]]) -> None:
    """Merge the first pass, decide, write what workers and people will read."""
    rows: dict[str, Row] = {}
    groups: dict[str, str] = {}
    for start, stop in ranges:
        shard = shard_files.read(shard_files.path_of(run, job.key, start, stop, 0))
        if twice := rows.keys() & shard.rows.keys():
            raise MissingData(
                f"{job.method.label}: sample {min(twice)} was seen twice; delete {run / 'work'} and run again"
            )
        rows |= shard.rows
        groups |= {sample: str(about["group"]) for sample, about in shard.about.items()}
    rows = dict(sorted(rows.items()))
    method: Refinement = job.method.build()
    state: State = job.fitted.state if job.fitted else {}
    lent = {sample: {name: read_only(values) for name, values in row.items()} for sample, row in rows.items()}
    with lending.state_lent(state, lending.marks_of(state), f"method {job.method.label}"):
        decision = method.decide(lent, MappingProxyType(groups), state, job.seed)
    if decision.rows.keys() != rows.keys():
        raise BadPlugin(f"method {job.method.label} decided about other images than it was given")
    packed = store.pack_rows(decision.rows)
    digest = hashlib.sha256(json.dumps(list(rows)).encode())
    for name in sorted(packed):
        digest.update(name.encode() + np.ascontiguousarray(packed[name]).tobytes())
    job.report, job.digest = decision.report, digest.hexdigest()[:16]
    store.write_arrays(shard_files.decided_path(run, job.key), {"ids": np.array(list(rows)), **packed})
    _keep(run, job, rows, groups, decision)


def _keep(run: Path, job: RefinementJob, rows: Rows, groups: Mapping[str, str], decision: Decision) -> None:
    """One Parquet file per table, one line per segment or object, and the report beside it."""
    import pyarrow as pa
    from pyarrow import parquet

    joined = {sample: {**row, **decision.rows[sample]} for sample, row in rows.items()}
    columns = list(next(iter(joined.values()), {}))
    for table in dict.fromkeys(name.partition(".")[0] for name in columns):
        names = [name for name in columns if name.startswith(f"{table}.")]
        counts = {sample: len(row[names[0]]) for sample, row in joined.items()}
        total = sum(counts.values())
        content: dict[str, Any] = {
            "model": pa.array([job.model.label] * total, pa.string()),
            "dataset": pa.array([job.dataset.label] * total, pa.string()),
            "method": pa.array([job.method.label] * total, pa.string()),
            "sample": pa.array([sample for sample, count in counts.items() for _ in range(count)], pa.string()),
            "group": pa.array([groups[sample] for sample, count in counts.items() for _ in range(count)], pa.string()),
        }
        for name in names:
            values = np.concatenate([row[name] for row in joined.values()])
            missing = np.isnan(values) if values.dtype.kind == "f" else None
            content[name.removeprefix(f"{table}.")] = pa.array(values, mask=missing)
        with writing(run / table / f"{job.key}.parquet") as file:
            parquet.write_table(pa.table(content), file)
    about = {axis: getattr(job, axis).label for axis in ("model", "dataset", "method")}
    store.write_json(run / "decisions" / f"{job.key}.json", about | {"images": len(rows)} | dict(decision.report))


def shown(job: RefinementJob) -> dict[str, Any]:
    """For a result: how it was decided, without the classifiers, and where they are."""
    report = {name: value for name, value in (job.report or {}).items() if name != "classifiers"}
    return {**report, "classifiers": f"decisions/{job.key}.json", "table": f"segments/{job.key}.parquet"}


def seconds(run: Path, job: RefinementJob, ranges: Sequence[tuple[int, int]]) -> dict[str, float]:
    """CPU seconds of the first pass by stage."""
    paths = [shard_files.path_of(run, job.key, *samples, 0) for samples in ranges]
    return cost.total(shard_files.header_of(path)["seconds"] for path in paths)
