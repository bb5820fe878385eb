"""Results as flat records, the public interface of ``bench show --format json`` (docs/results.md)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.api import Undefined
from bench.store import Result

SCHEMA = 1  # raised when a field changes its meaning or goes; a new field may be added


def records(results: Iterable[Result]) -> list[dict[str, Any]]:
    """One record per cell and metric, in order."""
    return [_record(result, name, figure) for result in results for name, figure in result.metrics.items()]


def _record(result: Result, name: str, figure: Any) -> dict[str, Any]:
    undefined = isinstance(figure, Undefined)
    corruption = result.cell["dataset"]["params"].get("corruption") or {}
    return {
        "model": result.labels["model"],
        "dataset": result.labels["dataset"],
        "corruption": corruption.get("name"),
        "severity": corruption.get("severity"),
        "method": result.labels.get("method"),
        "protocol": result.labels["protocol"],
        "metric": name,
        "value": None if undefined else figure.value,
        "err": None if undefined else figure.err,
        "lo": None if undefined else figure.lo,
        "hi": None if undefined else figure.hi,
        "images": result.images,
        "partial": result.partial,
        "reason": (result.not_applicable or figure.reason) if undefined else None,
        "evaluator": f"{result.cell['protocol']['name']} {result.about['protocol']['version']}",
        "key": result.key,
    }
