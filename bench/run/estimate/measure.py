"""Costs of a suite, collected from finished runs and, for what none of them has, from a probe."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.api import Dataset, Method, Protocol, TwoPhase
from bench.core.errors import UsageError
from bench.fit import fitted_store
from bench.models.numerics import Numerics
from bench.results import measured_costs, store
from bench.results.measured_costs import KEY_BYTES, Record, together
from bench.run import fits, preflight
from bench.run.estimate.workload import Plan, Workload
from bench.run.preflight import Checked
from bench.suite import expansion as suites
from bench.suite.cells import Cell, Ref, Suite


@dataclass
class Measured:
    """All that the estimate rests on."""

    records: list[Record] = field(default_factory=list)
    loads: dict[tuple[str, str], float] = field(default_factory=dict)  # by data set and corruption, seconds per image
    other: float | None = None  # seconds per cell that belong to no stage
    driver: float = 0.0  # seconds from the command to the first shard
    worker: float = 0.0  # seconds until a further process can load its network
    warm: float = 0.0  # seconds that a process takes longer for what it does for the first time
    sources: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def measure(
    suite: Suite,
    checked: Checked,
    numerics: Numerics,
    plan: Plan,
    runs: Sequence[store.Run],
    images: int,
    run_suite: Callable[[Suite, Path, int], None],
    folder: Path,
    advance: Callable[[str], None] = lambda _: None,
) -> Measured:
    """Return what ``runs`` say, and of the rest what a probe of ``images`` of each data set says, at least 2.

    ``run_suite(suite, run directory, limit)`` runs a suite in this process; ``folder`` is for what that writes. Raises
    UsageError if ``images`` is 0 and the runs do not say everything.
    """
    workload = Workload(suite, checked, numerics, plan)
    kinds = {workload.kind(cell) for cells in workload.groups.values() for cell in cells}
    models = {workload.text(model) for model, _ in workload.groups}
    measured = Measured()
    for run in runs:
        own = [record for record in measured_costs.of_run(run) if record.model in models]
        measured.records += own
        used = sum(record.kind in kinds for record in own)
        devices = measured_costs.devices(own) or "nothing of use"
        measured.sources.append(f"{run.path}: {used} finished cells, made on {devices}")
    lacking = _lacking(workload, measured)
    uncorrupted = _unread(workload, measured, lacking)
    if (lacking or uncorrupted) and not images:
        first = str(next(iter(lacking.values()))) if lacking else f"reading {uncorrupted[0].label}"
        raise UsageError(f"{suite.name}: no run given with --from says what {first} costs; allow --probe 4")
    if lacking:
        _probe(suite, workload, measured, tuple(lacking.values()), images, run_suite, folder, advance)
    for ref in uncorrupted:
        advance(f"reading {ref.label}")
        measured.loads[workload.data(ref)] = _load_seconds(checked.datasets[ref], images)
    if uncorrupted:
        measured.sources.append(f"{images} images of each of {len(uncorrupted)} corrupted data sets, read here")
    return measured


def _lacking(workload: Workload, measured: Measured) -> dict[str, Cell]:
    """The cells whose cost no record has, with images as they are, by key.

    A cell that will be counted by 24 bits in the end is tried with the smallest budget, so that it is now, too.
    What stands for fits is the network alone on their data.
    """
    measured_kinds = {record.kind for record in measured.records}
    cells: dict[str, Cell] = {}
    to_fit = workload.to_fit()
    left_out: dict[str, None] = {}
    for (_, dataset), group in workload.groups.items():
        for cell in group:
            if workload.kind(cell) in measured_kinds:
                continue
            method = cell.method
            if method and method.fit and not fitted_store.is_long(method):
                unmade = fits.key_of(cell, workload.checked, workload.numerics) in to_fit
                instance: Method = workload.checked.built(method)
                if unmade and fitted_store.must_fit(instance):
                    left_out[f"{method.label}: it is not fitted yet"] = None
                    continue
                method = replace(method, fit=None, training={}) if unmade else method
            exact = workload.pixels(dataset) * KEY_BYTES <= cell.budget
            budget = cell.budget if exact else 2**16
            probed = replace(cell, dataset=workload.plain(dataset), method=method, budget=budget)
            cells.setdefault(probed.key, probed)
    seen = {(record.model, record.data) for record in measured.records} | {
        (workload.text(cell.model), workload.text(cell.dataset)) for cell in cells.values()
    }
    for cell in to_fit.values():
        assert cell.method is not None and cell.method.fit is not None  # noqa: S101 - ``to_fit`` looked
        plain = workload.plain(cell.method.fit)
        if (workload.text(cell.model), workload.text(plain)) not in seen:
            watching = suites.make_ref("protocol", "miou", {}, Path("estimate"), cell.seed)
            probed = replace(cell, protocol=watching, dataset=plain, method=None)
            cells.setdefault(probed.key, probed)
        left_out[f"{cell.method.label}: what its fit computes beside the network"] = None
    measured.left_out += left_out
    return cells


def _unread(workload: Workload, measured: Measured, lacking: Mapping[str, Cell]) -> list[Ref]:
    """Corrupted data sets that no record has read."""
    seen = {(record.data, record.corruption) for record in measured.records}
    seen |= {(workload.text(cell.dataset), "") for cell in lacking.values()}
    asked: dict[tuple[str, str], Ref] = {}
    for _, dataset in workload.groups:
        asked.setdefault(workload.data(dataset), dataset)
    return [ref for key, ref in asked.items() if key not in seen]


def _probe(
    suite: Suite,
    workload: Workload,
    measured: Measured,
    cells: tuple[Cell, ...],
    images: int,
    run_suite: Callable[[Suite, Path, int], None],
    folder: Path,
    advance: Callable[[str], None],
) -> None:
    """Run a few images: once so that everything is compiled and in memory, then of two sizes."""
    part = replace(suite, cells=cells, planned=cells, summaries=(), operating_points=())
    first: dict[Ref, Cell] = {}
    for cell in cells:
        first.setdefault(cell.model, cell)
    warm = replace(part, cells=tuple(first.values()), planned=tuple(first.values()))
    # The bootstrap begins with two images.
    sizes = [images // 2, images] if images >= 4 else [images]
    spent = 0.0
    for number, (probed, limit) in enumerate([(warm, 2), *((part, size) for size in sizes)]):
        advance(f"probing {len(probed.cells)} cells, {limit} images")
        before = time.process_time()
        run_suite(probed, folder / f"{number}", limit)
        spent = time.process_time() - before
    before = time.process_time()
    preflight.check(part)
    spent -= time.process_time() - before
    begun, *by_size = (
        list(measured_costs.of_run(store.read_run(folder / f"{number}"))) for number in range(len(sizes) + 1)
    )
    if sizes[0] == 2:
        kinds = {record.kind for record in begun}
        again = sum(together(record for record in by_size[0] if record.kind in kinds).values())
        measured.warm = max(0.0, sum(together(begun).values()) - again)
    measured.records += itertools.chain.from_iterable(by_size)
    measured.other = max(0.0, spent - sum(together(by_size[-1]).values())) / len(cells)
    measured.sources.append(
        f"a probe of {images} images of each data set, made here on {workload.numerics.device_name}"
    )
    second = {record.kind for record in by_size[-1] if "second" in record.seconds}
    for cell in cells:
        protocol: Protocol = cell.protocol.build()
        if isinstance(protocol, TwoPhase) and cell.method and workload.kind(cell) not in second:
            measured.left_out.append(f"the second phase of {cell}: it had nothing to do in {images} images")


def _load_seconds(data: Dataset, images: int) -> float:
    """CPU seconds that an image takes to be read."""
    indices = range(min(images, data.count))
    before = time.process_time()
    for index in indices:
        data.load(index).image()
    return (time.process_time() - before) / len(indices)
