"""Figures of finished cells made results: with where they come from, written, and their shards forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.api import Undefined
from bench.models.numerics import Numerics
from bench.results import store
from bench.results.store import Result
from bench.run import provenance, refinement
from bench.run.jobs import Job
from bench.run.messages import Figures
from bench.suite import registry


def publish(
    run_dir: Path, job: Job, figures: Figures, ranges: Sequence[tuple[int, int]], numerics: Numerics, command: str
) -> None:
    """Write the result of a cell whose counts are on disk, and forget its shards."""
    result = _result(job, numerics, command)
    before = refinement.seconds(run_dir, job.refinement, ranges) if job.refinement else {}
    result = replace(
        result,
        about={**result.about, "model": {**result.about["model"], **figures.network}},
        metrics=figures.metrics,
        pixels=figures.pixels,
        seconds={**before, **figures.seconds},
        memory_mb=figures.memory_mb,
        slices=figures.slices,
        tags=figures.tags,
    )
    store.write_result(run_dir, result)
    store.drop_work(run_dir, job.key)


def _result(job: Job, numerics: Numerics, command: str) -> Result:
    refs = {axis: ref for axis, ref in job.cell.refs().items() if ref}
    about: dict[str, dict[str, Any]] = {
        axis: {"source": registry.plugin(ref.kind, ref.name, where=ref.label).source} for axis, ref in refs.items()
    }
    about["model"] |= job.cell.model.build().about()
    about["protocol"] |= {"version": job.protocol.version, "title": job.protocol.title or job.cell.protocol.label}
    about["protocol"] |= {} if job.protocol.ranked else {"ranked": False}
    if job.cell.method:
        about["method"]["uses_outliers"] = job.cell.method.build().uses_outliers
    return Result(
        key=job.key,
        cell=job.cell,
        metrics={},
        definitions=job.protocol.metrics,
        about=about,
        images=job.images,
        partial=job.partial,
        depends=job.depends,
        provenance=provenance.of(numerics, f"{command} --only cell={job.key}".strip()),
        fitted=_fitted(job),
    )


def _fitted(job: Job) -> dict[str, Any] | None:
    """Return what a result says of its fit, and of what was decided about segments."""
    fitted = job.fitted.shown() if job.fitted else None
    if job.refinement is None or job.refinement.report is None:
        return fitted
    return (fitted or {"key": job.refinement.key}) | {"decided": refinement.shown(job.refinement)}


def not_applicable(job: Job, reason: str, numerics: Numerics, command: str) -> Result:
    """Return the result of a cell that means nothing: every figure is undefined, for the same reason."""
    figures = {name: Undefined(reason) for name in job.protocol.metrics}
    return replace(_result(job, numerics, command), metrics=figures, images=0, partial=False, not_applicable=reason)
