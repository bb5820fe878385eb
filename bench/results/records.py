"""Results as flat records, the public interface of ``bench show --format json`` (docs/reference/files.md)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bench.api import Undefined
from bench.results.store import Result, Run

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1  # raised when a field changes its meaning or goes; a new field may be added


def records(results: Iterable[Result]) -> list[dict[str, Any]]:
    """One record per cell and metric, in order."""
    return [_record(result, name, figure) for result in results for name, figure in result.metrics.items()]


def slices(results: Iterable[Result], axes: Iterable[str]) -> list[dict[str, Any]]:
    """The same for parts of each cell: ``slice`` is the axis, ``part`` its value, ``images`` those of the part."""
    entries = []
    for result in results:
        for axis in axes:
            for part, content in result.slices.get(axis, {}).items():
                for name, figure in content["metrics"].items():
                    entry = _record(result, name, figure) | {"images": content["images"], "slice": axis, "part": part}
                    entries.append(entry)
    return entries


def per_image(run: Run) -> pd.DataFrame:
    """One row per cell and image: labels, id, tags, pixels by category, figures (of the leading bits; NaN: none)."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for result in run.results:
        if result.not_applicable:
            continue
        arrays = run.arrays(result)
        figures = {name.removeprefix("images."): values for name, values in arrays.items() if name[:7] == "images."}
        pixels = figures.pop("pixels", None)
        for index, image in enumerate(map(str, arrays["ids"])):
            row: dict[str, Any] = {"key": result.key, **result.labels.by_axis, "image": image}
            row |= {f"tag.{axis}": value for axis, value in result.tags.get(image, {}).items()}
            if pixels is not None:
                row |= {f"pixels.{name}": int(n) for name, n in zip(result.pixels, pixels[index], strict=True)}
            rows.append(row | {name: float(values[index]) for name, values in figures.items()})
    return pd.DataFrame(rows)


def _record(result: Result, name: str, figure: Any) -> dict[str, Any]:
    undefined = isinstance(figure, Undefined)
    corruption = result.cell.dataset.corruption
    return {
        "model": result.labels.model,
        "dataset": result.labels.dataset,
        "corruption": corruption and corruption.name,
        "severity": corruption and corruption.severity,
        "method": result.labels.method,
        "protocol": result.labels.protocol,
        "metric": name,
        "value": None if undefined else figure.value,
        "err": None if undefined else figure.err,
        "lo": None if undefined else figure.lo,
        "hi": None if undefined else figure.hi,
        "images": result.images,
        "partial": result.partial,
        "reason": (result.not_applicable or figure.reason) if undefined else None,
        "evaluator": f"{result.cell.protocol.name} {result.about.get('protocol', {}).get('version', '')}".strip(),
        "key": result.key,
    }
