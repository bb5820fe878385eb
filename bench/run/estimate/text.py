"""An estimate for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.results.measured_costs import STAGES
from bench.run.estimate.total import Estimate
from bench.run.estimate.workload import Plan


def duration(seconds: float) -> str:
    """Such as ``1.2 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        whole = round(seconds)
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float) -> str:
    """Such as ``12 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def tables(estimate: Estimate, plan: Plan) -> Iterator[Any]:
    """Yield the parts that a rich console prints, in 60 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    cells = f"{estimate.cells} cells" + (
        f", {estimate.not_applicable} not applicable" if estimate.not_applicable else ""
    )
    pairs = f"{estimate.groups} pairs of network and data set, {estimate.images} images in {estimate.shards} shards"
    yield Text(f"{estimate.suite}: {cells}, {pairs}")
    stages = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    stages.add_column("stage")
    for name in ("CPU time", "share"):
        stages.add_column(name, justify="right", no_wrap=True)
    for stage, seconds in estimate.seconds.items():
        stages.add_row(STAGES[stage], duration(seconds), f"{100 * seconds / estimate.total:.0f} %")
    stages.add_row("together", duration(estimate.total), "", style="bold")
    if estimate.gpu_seconds:
        stages.add_row("of that, with the GPU", duration(estimate.gpu_seconds), "")
    yield stages
    times = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    cores = int(estimate.wall[0]["cores_here"])
    for name in ("processes", "takes", f"on {cores} {'core' if cores == 1 else 'cores'}"):
        times.add_column(name, justify="right", no_wrap=True)
    for row in estimate.wall:
        times.add_row(f"{row['processes']:.0f}", duration(row["seconds"]), duration(row["seconds_here"]))
    yield times
    needs = Table(box=None, show_header=False, pad_edge=False)
    needs.add_column()
    needs.add_column(justify="right", no_wrap=True)
    needs.add_row("disk, results", size(estimate.bytes["results"]))
    needs.add_row("disk, shards of a pair under way, at most", size(estimate.bytes["shards_at_most"]))
    if estimate.bytes["maps_at_most"]:
        needs.add_row("disk, maps of a pair under way, at most", size(estimate.bytes["maps_at_most"]))
    needs.add_row("memory of a process", size(estimate.memory_mb["process"] * 2**20))
    if estimate.memory_mb["finishing_at_most"] > estimate.memory_mb["process"]:
        needs.add_row("memory to finish a cell, at most", size(estimate.memory_mb["finishing_at_most"] * 2**20))
    yield needs
    readers = f"{plan.workers} {'reader' if plan.workers == 1 else 'readers'}"
    yield Text(f"\nEach process has {readers}; 'takes' is with a core for each of them.")
    yield Text("As many pairs are under way as keep the processes busy, at most one for each.")
    yield Text("It rests on:")
    for line in estimate.rests_on:
        yield Text(f"- {line}")
    if estimate.left_out:
        yield Text("Not in it:")
        for line in estimate.left_out:
            yield Text(f"- {line}")
