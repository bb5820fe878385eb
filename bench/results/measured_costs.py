"""Costs that were measured: one record for each finished cell of a run, with the stages of a run by name."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.results import store
from bench.suite.cells import Ref

STAGES: Mapping[str, str] = {  # in the order of a run
    "start": "starting and planning",
    "fit": "the network, on data to fit on",
    "setup": "loading networks",
    "load": "reading images, corrupting",
    "predict": "the network",
    "score": "scores",
    "segments": "segments",
    "refine": "refined maps",
    "count": "counting pixels",
    "spool": "writing score maps",
    "second": "second phases",
    "merge": "merging shards",
    "read": "figures",
    "bootstrap": "the bootstrap",
    "slices": "figures of parts",
    "write": "writing results",
    "other": "the rest",
}
SHARED = ("setup", "load", "predict")  # of all cells of one network and data set
PER_METHOD = ("score", "segments", "refine")  # of all cells of one method beside
PER_IMAGE = ("count", "spool", "second")
PER_CELL = ("merge", "read", "bootstrap", "slices", "write")
GPU = ("fit", "predict", "score")  # those that run on a GPU where there is one
KEY_BYTES = 4  # of an exact key


@dataclass(frozen=True, eq=False)
class Record:
    """The costs of one finished cell. Plug-ins by their identity as JSON."""

    protocol: str
    model: str
    data: str  # without its corruption
    corruption: str  # empty for none
    scorer: str  # the method without what it was fitted on; empty for none
    images: int
    pixels: int
    exact: bool
    keys: int  # of 24 bits that occur
    seconds: Mapping[str, float]
    memory_mb: float
    bytes: int
    device: str
    source: str

    @property
    def kind(self) -> tuple[str, str, str, str]:
        """Cells of one kind differ in corruption, number of images and fit."""
        return self.protocol, self.model, self.data, self.scorer


def of_run(run: store.Run) -> Iterator[Record]:
    """Yield a record of every finished cell of a run that has figures."""
    for result in run.results:
        if result.not_applicable or not result.images:
            continue
        cell = result.cell
        ends = run.arrays(result, "counts.").get("counts.ends")
        pixels = sum(result.pixels.values())
        files = store.result_path(run.path, result.key), store.counts_path(run.path, result.key)
        yield Record(
            cell.protocol.identity,
            cell.model.identity,
            cell.dataset.plain.identity,
            identity(cell.dataset.params.get("corruption")),
            scorer_of(cell.method),
            result.images,
            pixels,
            pixels * KEY_BYTES <= cell.budget,
            int(ends[-1]) if ends is not None and ends.size else 0,
            result.seconds,
            result.memory_mb,
            sum(path.stat().st_size for path in files),
            result.provenance.get("numerics", {}).get("device_name", "a machine unknown"),
            str(run.path),
        )


def identity(spelled: Mapping[str, Any] | None) -> str:
    """Return a spelled entry as JSON; empty for none."""
    return json.dumps(spelled, sort_keys=True) if spelled else ""


def scorer_of(method: Ref | None) -> str:
    """Return the identity of a method without its fit; empty for none."""
    return identity({"name": method.name, "params": method.params}) if method else ""


def devices(records: Iterable[Record]) -> str:
    """Return the names of the devices that records were made on."""
    return ", ".join(sorted({record.device for record in records}))


def together(records: Iterable[Record]) -> dict[tuple[Record, str], float]:
    """Seconds by stage of some records; what cells share is with one of them, the first of the group."""
    first: dict[tuple[str, ...], Record] = {}
    spent: dict[tuple[Record, str], float] = defaultdict(float)
    for record in records:
        group = record.source, record.model, record.data, record.corruption
        for stage, seconds in record.seconds.items():
            if stage in SHARED or stage in PER_METHOD:
                owner = first.setdefault((*group, record.scorer if stage in PER_METHOD else ""), record)
                spent[owner, stage] = max(spent[owner, stage], seconds)
            else:
                spent[record, stage] += seconds
    return spent
