"""The ``model-index`` block of a model card on the Hugging Face Hub: what a network was measured at, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.api import Format, Value
from bench.core import yaml_text
from bench.core.errors import MissingData
from bench.report.document import Document
from bench.results.store import Result

TASK = {"type": "image-segmentation", "name": "Image segmentation"}


@dataclass(frozen=True)
class ModelIndex(Format):
    """YAML for the head of a model card, one entry per network: data sets, protocols, methods and their figures.

    Partial results, of which ``--limit`` cut the data, are left out: the Hub would show them as any other.
    """

    name: ClassVar[str] = "model-index"
    source: ClassVar[str] = "https://huggingface.co/docs/hub/model-cards#evaluation-results"
    suffix: ClassVar[str] = ".yaml"

    def write(self, document: Document) -> str:
        """Return the block. Raises MissingData where no result is whole."""
        by_model: dict[str, list[dict[str, Any]]] = {}
        for result in document.run.results:
            if not result.not_applicable and not result.partial:
                by_model.setdefault(result.labels.model, []).extend(_entries(result))
        if not by_model:
            raise MissingData(f"{document.run.path}: no result is of a whole data set, and a card shows no others")
        entries = [{"name": model, "results": results} for model, results in by_model.items()]
        return yaml_text.dump({"model-index": entries})


def _entries(result: Result) -> Iterator[dict[str, Any]]:
    """Yield one entry per cell; the name of a figure says its method and protocol, for the Hub shows no other words."""
    of = " of ".join(part for part in (result.labels.method, result.labels.protocol) if part)
    figures = [
        {"type": name, "name": f"{metric.title} ({of})", "value": figure.value}
        for name, metric in result.definitions.items()
        if isinstance(figure := result.metrics.get(name), Value)
    ]
    if figures:
        dataset: Mapping[str, Any] = {"type": result.cell.dataset.name, "name": result.labels.dataset}
        yield {"task": TASK, "dataset": dataset, "metrics": figures}
