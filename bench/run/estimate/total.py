"""Everything added up: time by stage and by number of processes, disk, memory."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.api import Protocol, Refinement, TwoPhase
from bench.core import child_processes
from bench.models.numerics import Numerics
from bench.results.measured_costs import GPU, KEY_BYTES, PER_CELL, PER_IMAGE, PER_METHOD, STAGES, devices
from bench.run.estimate.costs import Costs
from bench.run.estimate.measure import Measured
from bench.run.estimate.workload import Plan, Workload
from bench.run.preflight import Checked
from bench.suite.cells import Suite

SCHEMA = 1


@dataclass(frozen=True)
class Estimate:
    """The costs of a suite. Seconds, bytes, and megabytes of memory."""

    suite: str
    cells: int
    not_applicable: int
    groups: int  # pairs of network and data set
    images: int  # looked at, once for every network
    shards: int
    device: str
    seconds: Mapping[str, float]  # CPU seconds by stage, with one process
    gpu_seconds: float  # of ``seconds``; 0 where no GPU is meant
    wall: Sequence[Mapping[str, float]]  # processes, seconds, and seconds on this machine's cores
    bytes: Mapping[str, int]
    memory_mb: Mapping[str, float]
    rests_on: Sequence[str]
    left_out: Sequence[str]

    @property
    def total(self) -> float:
        """CPU seconds of all stages."""
        return sum(self.seconds.values())

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"schema": SCHEMA} | asdict(self) | {"total_seconds": self.total}


def of(suite: Suite, checked: Checked, numerics: Numerics, plan: Plan, measured: Measured) -> Estimate:
    """Return the costs of a suite with everything added up."""
    workload, costs = Workload(suite, checked, numerics, plan), Costs(measured)
    seconds: dict[str, float] = defaultdict(float)
    results, cells, images, shards = 0.0, 0, 0, 0
    for (model, dataset), group in workload.groups.items():
        n, (data, corruption), network = workload.images(dataset), workload.data(dataset), workload.text(model)
        images, shards, cells = images + n, shards + math.ceil(n / workload.shard(dataset)), cells + len(group)
        seconds["load"] += n * costs.rate(data, corruption, "load")
        seconds["predict"] += n * costs.rate(network, data, "predict")
        for scorer in {workload.text(cell.method) for cell in group}:
            for stage in PER_METHOD:
                seconds[stage] += n * costs.rate(network, data, scorer, stage)
        for cell in group:
            kind, exact = workload.kind(cell), workload.pixels(dataset) * KEY_BYTES <= cell.budget
            for stage in PER_IMAGE:
                seconds[stage] += n * costs.rate(*kind, stage)
            for stage in PER_CELL:
                seconds[stage] += costs.per_cell(kind, stage, n, exact)
            results += costs.per_cell(kind, "bytes", n, exact)
        seconds["setup"] += costs.beginning.get(network, 0.0)
    for network in {workload.text(model) for model, _ in workload.groups}:
        seconds["setup"] += costs.loading.get(network, 0.0)
    for cell in workload.to_fit().values():
        assert cell.method is not None and cell.method.fit is not None  # noqa: S101 - ``to_fit`` looked
        data, corruption = workload.data(cell.method.fit)
        each = costs.rate(data, corruption, "load") + costs.rate(workload.text(cell.model), data, "predict")
        seconds["fit"] += checked.datasets[cell.method.fit].count * each
    seconds["start"] = measured.driver + measured.warm
    seconds["other"] = (measured.other or 0.0) * cells
    spent = {stage: seconds[stage] for stage in STAGES if seconds.get(stage)}
    gpu = sum(spent.get(stage, 0.0) for stage in GPU) if _on_gpu(measured, workload) else 0.0
    rests = list(measured.sources)
    if costs.proportional:
        rests.append("figures, bootstrap and files were measured at one size; taken to grow with it, that is at most")
    return Estimate(
        suite.name,
        cells,
        len(suite.cells) - cells,
        len(workload.groups),
        images,
        shards,
        devices(measured.records) or numerics.device_name,
        spent,
        gpu,
        [_wall(spent, processes, shards, plan, measured) for processes in plan.processes],
        {"results": round(results), **_passing(workload, costs)},
        _memory(workload, measured),
        rests,
        list(dict.fromkeys(measured.left_out)),
    )


def _on_gpu(measured: Measured, workload: Workload) -> bool:
    return (
        any(record.device != "cpu" for record in measured.records)
        if measured.records
        else workload.numerics.device != "cpu"
    )


def _wall(spent: Mapping[str, float], processes: int, shards: int, plan: Plan, measured: Measured) -> dict[str, float]:
    """Seconds with so many processes: each on cores of its own, and on the cores that are here.

    Readers work beside the network. Shards do not always divide evenly. Whoever has several cells ready to be finished
    has other processes finish them, too.
    """
    sharded = ("setup", "predict", *PER_METHOD, *PER_IMAGE, *PER_CELL)
    computed = sum(spent.get(stage, 0.0) for stage in sharded)
    loaded = spent.get("load", 0.0)
    alone = spent.get("start", 0.0) + spent.get("fit", 0.0) + spent.get("other", 0.0)
    begun = measured.worker + measured.warm if processes > 1 else 0.0
    uneven = math.ceil(shards / processes) * processes / shards if shards else 1.0
    if plan.workers:
        passed = max(computed * uneven / processes, loaded / (processes * plan.workers))
    else:
        passed = (computed + loaded) * uneven / processes
    seconds = alone + begun + passed
    cores = child_processes.cores()
    busy = alone + begun + (computed + loaded + begun * (processes - 1)) / cores
    return {"processes": processes, "seconds": seconds, "seconds_here": max(seconds, busy), "cores_here": cores}


def _passing(workload: Workload, costs: Costs) -> dict[str, int]:
    """Bytes that are on disk for a while: of the pair of network and data set that needs most, at most."""
    spool, work = 0, 0
    for (_, dataset), group in workload.groups.items():
        n, pixels, shard = workload.images(dataset), workload.pixels(dataset), workload.shard(dataset)
        maps: set[tuple[str, int]] = set()
        kept = 0.0
        for cell in group:
            protocol: Protocol = workload.checked.built(cell.protocol)
            if cell.method and isinstance(protocol, TwoPhase):
                maps.add((workload.text(cell.method), 2 if protocol.spool == "float16" else 4))
            if cell.method and isinstance(workload.checked.built(cell.method), Refinement):
                maps.add((f"draft {workload.text(cell.method)}", 4))
            if protocol.reads:
                folded = math.ceil(n / shard) * 2 * KEY_BYTES * costs.keys(workload.kind(cell), shard)
                exact = pixels * KEY_BYTES
                kept += exact if exact <= cell.budget else min(exact, max(cell.budget, folded))
        spool = max(spool, sum(pixels * (width + 1) for _, width in maps))  # a class map beside each
        work = max(work, round(kept))
    return {"shards_at_most": work, "maps_at_most": spool}


def _memory(workload: Workload, measured: Measured) -> dict[str, float]:
    """Megabytes of a process, as it was measured and, for a cell of other size, with the keys it then holds."""
    known = max((record.memory_mb for record in measured.records), default=0.0)
    held = max((min(record.pixels * KEY_BYTES, 2**30) for record in measured.records if record.exact), default=0)
    keys = 0
    for (_, dataset), group in workload.groups.items():
        keys = max(keys, max(min(workload.pixels(dataset) * KEY_BYTES, cell.budget) for cell in group))
    more = 2 * max(0, keys - held) / 2**20  # once merged, once sorted
    return {"process": round(known, 1), "finishing_at_most": round(known + more, 1)}
