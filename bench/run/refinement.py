"""Between the first pass and the counting of a refinement: decide about all images at once, and keep the tables.

    RUN/work/KEY/phase0-...npz    columns of the tables, image by image, while the run is under way
    RUN/work/KEY/decided.npz      what was decided about each image
    RUN/segments/KEY.parquet      the table of segments, with what was decided, and as many other tables as there are
    RUN/decisions/KEY.json        how it came to that: classifiers with their figures by name

A draft belongs to one network, data set and method; every protocol counts the same refined maps. Its rows are merged by
sample id and decided on in that order, so that nothing depends on shards, processes or resumption.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.api import Decision, Refinement, Row, Rows, State
from bench.core.errors import BadPlugin, MissingData
from bench.core.files import writing
from bench.fit import fitted_store
from bench.results import store
from bench.run import shards
from bench.run.shards import DraftTask
from bench.suite.expansion import Ref


@dataclass
class Draft:
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

    def task(self) -> DraftTask:
        """What a shard is told of it."""
        return DraftTask(self.key, self.method, self.fitted.key if self.fitted else None, self.stamp, self.spool)


def draft_of(run: Path, model: Ref, dataset: Ref, method: Ref, seed: int, stamp: str) -> Draft:
    """The draft that all cells of these three share."""
    spelled = {"model": model.spelled(), "dataset": dataset.spelled(), "method": method.spelled(), "seed": seed}
    key = hashlib.sha256(json.dumps(spelled, sort_keys=True).encode()).hexdigest()[:16]
    names = [(ref.label, str(ref.spelled())) for ref in (model, dataset)]
    folder = store.spool_folder(run, [*names, (f"draft-{key}", key)], "float32")
    return Draft(key, model, dataset, method, seed, stamp, str(folder.relative_to(run)))


def shard_there(run: Path, draft: Draft, start: int, stop: int, ids: Sequence[str]) -> bool:
    """Whether the first pass over a range is on disk, columns and maps."""
    path = shards.path_of(run, draft.key, start, stop, 0)
    if not path.is_file():
        return False
    header = shards.header_of(path)
    if header["stamp"] != draft.stamp or header["ids"] != list(ids):
        path.unlink()
        return False
    return all((run / draft.spool / "scores" / f"{sample}.npy").is_file() for sample in ids)


def decide(run: Path, draft: Draft, ranges: Sequence[tuple[int, int]]) -> None:
    """Merge the first pass, decide, write what workers and people will read."""
    rows: dict[str, Row] = {}
    groups: dict[str, str] = {}
    for start, stop in ranges:
        shard = shards.read(shards.path_of(run, draft.key, start, stop, 0))
        if twice := rows.keys() & shard.rows.keys():
            raise MissingData(
                f"{draft.method.label}: sample {min(twice)} was seen twice; delete {run / 'work'} and run again"
            )
        rows |= shard.rows
        groups |= {sample: str(about["group"]) for sample, about in shard.about.items()}
    rows = dict(sorted(rows.items()))
    method: Refinement = draft.method.build()
    state: State = draft.fitted.state if draft.fitted else {}
    decision = method.decide(rows, groups, state, draft.seed)
    if decision.rows.keys() != rows.keys():
        raise BadPlugin(f"method {draft.method.label} decided about other images than it was given")
    packed = store.pack_rows(decision.rows)
    digest = hashlib.sha256(json.dumps(list(rows)).encode())
    for name in sorted(packed):
        digest.update(name.encode() + np.ascontiguousarray(packed[name]).tobytes())
    draft.report, draft.digest = decision.report, digest.hexdigest()[:16]
    store.write_arrays(shards.decided_path(run, draft.key), {"ids": np.array(list(rows)), **packed})
    _keep(run, draft, rows, groups, decision)


def _keep(run: Path, draft: Draft, rows: Rows, groups: Mapping[str, str], decision: Decision) -> None:
    """One Parquet file per table, one line per segment or object, and the report beside it."""
    import pyarrow as pa
    from pyarrow import parquet

    joined = {sample: {**row, **decision.rows[sample]} for sample, row in rows.items()}
    columns = list(next(iter(joined.values()), {}))
    for table in dict.fromkeys(name.partition(".")[0] for name in columns):
        mine = [name for name in columns if name.startswith(f"{table}.")]
        counts = {sample: len(row[mine[0]]) for sample, row in joined.items()}
        total = sum(counts.values())
        content: dict[str, Any] = {
            "model": pa.array([draft.model.label] * total, pa.string()),
            "dataset": pa.array([draft.dataset.label] * total, pa.string()),
            "method": pa.array([draft.method.label] * total, pa.string()),
            "sample": pa.array([sample for sample, count in counts.items() for _ in range(count)], pa.string()),
            "group": pa.array([groups[sample] for sample, count in counts.items() for _ in range(count)], pa.string()),
        }
        for name in mine:
            values = np.concatenate([row[name] for row in joined.values()])
            missing = np.isnan(values) if values.dtype.kind == "f" else None
            content[name.removeprefix(f"{table}.")] = pa.array(values, mask=missing)
        with writing(run / table / f"{draft.key}.parquet") as file:
            parquet.write_table(pa.table(content), file)
    about = {axis: getattr(draft, axis).label for axis in ("model", "dataset", "method")}
    store.write_json(run / "decisions" / f"{draft.key}.json", about | {"images": len(rows)} | dict(decision.report))


def shown(draft: Draft) -> dict[str, Any]:
    """For a result: how it was decided, without the classifiers, and where they are."""
    report = {name: value for name, value in (draft.report or {}).items() if name != "classifiers"}
    return {**report, "classifiers": f"decisions/{draft.key}.json", "table": f"segments/{draft.key}.parquet"}


def seconds(run: Path, draft: Draft, ranges: Sequence[tuple[int, int]]) -> dict[str, float]:
    """CPU seconds of the first pass by stage."""
    spent: dict[str, float] = {}
    for start, stop in ranges:
        for stage, one in shards.header_of(shards.path_of(run, draft.key, start, stop, 0))["seconds"].items():
            spent[stage] = spent.get(stage, 0.0) + one
    return spent
