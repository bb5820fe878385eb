"""What a suite will cost: CPU seconds by stage, time with some processes, disk and memory.

Nothing here is guessed. What a stage costs comes from results of earlier runs or, for what none of them has, from a
probe: the suite itself on a few images of each data set, through the same code as ever. From few images to many:

* per image: reading, the network, scores, counting, score maps, second phases;
* per cell: merging, figures, the bootstrap, slices, bytes on disk. A part of these stays and a part grows, so they are
  taken from two sizes where two were measured: with the images, or, where what counts is how many keys of 24 bits
  occur, with those, which grow as a power of the images up to every key that there is.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.api import Dataset, Method, Protocol, Refinement
from bench.core.errors import UsageError
from bench.fit import fitted_store
from bench.models.numerics import Numerics
from bench.results import store
from bench.run import fits, preflight
from bench.run.preflight import Checked
from bench.suite import expansion as suites
from bench.suite.cells import Cell, Ref, Suite

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
GPU = ("fit", "predict", "score")  # what runs on a GPU where there is one
KEYS = 2**24  # that there are, of each category
KEY_BYTES = 4  # of an exact key
ALIKE = 0.1  # relative difference in size up to which a measurement is taken as it is
SCHEMA = 1

Advance = Callable[[int], None]
Group = tuple[Ref, Ref]  # network and data set


@dataclass(frozen=True, eq=False)
class Record:
    """What one finished cell cost. Plug-ins by their identity as JSON."""

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


@dataclass(frozen=True)
class Plan:
    """How it will be run."""

    shard_of: Callable[[Ref], int]  # images per shard of a data set
    processes: Sequence[int] = (1, 2, 4, 8)
    workers: int = 1  # readers of each process
    limit: int | None = None  # first images of each data set only


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


@dataclass(frozen=True)
class Estimate:
    """The answer. Seconds, bytes, and megabytes of memory."""

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


def records(run: store.Run) -> Iterator[Record]:
    """Every finished cell of a run that has figures."""
    for result in run.results:
        if result.not_applicable or not result.images:
            continue
        cell = result.cell
        ends = run.arrays(result, "counts.ends").get("counts.ends")
        pixels = sum(result.pixels.values())
        files = store.result_path(run.path, result.key), store.counts_path(run.path, result.key)
        yield Record(
            cell.protocol.identity,
            cell.model.identity,
            cell.dataset.plain.identity,
            _text(cell.dataset.params.get("corruption")),
            _text(_unfitted(cell.method)),
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


def _text(spelled: Mapping[str, Any] | None) -> str:
    return json.dumps(spelled, sort_keys=True) if spelled else ""


def _unfitted(method: Ref | None) -> Mapping[str, Any] | None:
    return {"name": method.name, "params": method.params} if method else None


class _Todo:
    """The cells to run, by network and data set, and how large everything is."""

    def __init__(self, suite: Suite, checked: Checked, how: Numerics, plan: Plan) -> None:
        self.suite, self.checked, self.how, self.plan = suite, checked, how, plan
        self.groups: dict[Group, list[Cell]] = defaultdict(list)
        for cell in suite.cells:
            if cell.key not in checked.refused:
                self.groups[cell.model, cell.dataset].append(cell)
        self._texts: dict[Ref, str] = {}
        self._sizes: dict[Ref, tuple[int, int]] = {}
        self._shards: dict[Ref, int] = {}

    def text(self, ref: Ref | None) -> str:
        """The identity of a plug-in; of a method without its fit."""
        if ref is None:
            return ""
        if ref not in self._texts:
            self._texts[ref] = _text(_unfitted(ref)) if ref.kind == "method" else ref.identity
        return self._texts[ref]

    def data(self, ref: Ref) -> tuple[str, str]:
        """The identities of a data set without its corruption, and of that."""
        return self.text(self.plain(ref)), self._corruptions.get(ref, "")

    def plain(self, ref: Ref) -> Ref:
        return self._plains[ref]

    @cached_property
    def _plains(self) -> dict[Ref, Ref]:
        return {ref: ref.plain for ref in self.checked.datasets}

    @cached_property
    def _corruptions(self) -> dict[Ref, str]:
        return {ref: _text(ref.params.get("corruption")) for ref in self.checked.datasets}

    def kind(self, cell: Cell) -> tuple[str, str, str, str]:
        """See ``Record.kind``."""
        return self.text(cell.protocol), self.text(cell.model), self.data(cell.dataset)[0], self.text(cell.method)

    def images(self, dataset: Ref) -> int:
        count = self.checked.datasets[dataset].count
        return min(self.plan.limit or count, count)

    def size(self, dataset: Ref) -> tuple[int, int]:
        """Of the labels of its first image; those of a grid of corruptions are one."""
        plain = self.plain(dataset)
        if plain not in self._sizes:
            self._sizes[plain] = self.checked.datasets[dataset].load(0).size
        return self._sizes[plain]

    def shard(self, dataset: Ref) -> int:
        """Images per shard."""
        plain = self.plain(dataset)
        if plain not in self._shards:
            self._shards[plain] = self.plan.shard_of(plain)
        return self._shards[plain]

    def pixels(self, dataset: Ref) -> int:
        return math.prod(self.size(dataset)) * self.images(dataset)

    def to_fit(self) -> dict[str, Cell]:
        """Quick fits that nobody made yet, by their key."""
        found: dict[str, Cell] = {}
        for cell in itertools.chain.from_iterable(self.groups.values()):
            if cell.method and cell.method.fit and not fitted_store.is_long(cell.method):
                key = fits.key_of(cell, self.checked, self.how)
                if key and key not in found and not fits.is_made(key):
                    found[key] = cell
        return found


# What is measured


def measure(
    suite: Suite,
    checked: Checked,
    how: Numerics,
    plan: Plan,
    runs: Sequence[store.Run],
    images: int,
    tried: Callable[[Suite, Path, int], None],
    folder: Path,
    advance: Callable[[str], None] = lambda _: None,
) -> Measured:
    """Collect what ``runs`` say, and probe the rest with so many ``images`` of each data set (at least 2).

    ``tried(suite, run directory, limit)`` runs a suite in this process; ``folder`` is for what that writes. Raises
    UsageError if ``images`` is 0 and the runs do not say everything.
    """
    todo = _Todo(suite, checked, how, plan)
    wanted = {todo.kind(cell) for cells in todo.groups.values() for cell in cells}
    models = {todo.text(model) for model, _ in todo.groups}
    measured = Measured()
    for run in runs:
        mine = [one for one in records(run) if one.model in models]
        measured.records += mine
        used = sum(one.kind in wanted for one in mine)
        measured.sources.append(f"{run.path}: {used} finished cells, made on {_devices(mine) or 'nothing of use'}")
    lacking = _lacking(todo, measured)
    uncorrupted = _unread(todo, measured, lacking)
    if (lacking or uncorrupted) and not images:
        first = str(next(iter(lacking.values()))) if lacking else f"reading {uncorrupted[0].label}"
        raise UsageError(f"{suite.name}: no run given with --from says what {first} costs; allow --probe 4")
    if lacking:
        _probe(suite, todo, measured, tuple(lacking.values()), images, tried, folder, advance)
    for ref in uncorrupted:
        advance(f"reading {ref.label}")
        measured.loads[todo.data(ref)] = _load_seconds(checked.datasets[ref], images)
    if uncorrupted:
        measured.sources.append(f"{images} images of each of {len(uncorrupted)} corrupted data sets, read here")
    return measured


def _devices(found: Iterable[Record]) -> str:
    return ", ".join(sorted({one.device for one in found}))


def _lacking(todo: _Todo, measured: Measured) -> dict[str, Cell]:
    """The cells whose cost no record has, with images as they are, by key.

    A cell that will be counted by 24 bits in the end is tried with the smallest budget, so that it is now, too. What
    stands for fits is the network alone on their data.
    """
    have = {one.kind for one in measured.records}
    cells: dict[str, Cell] = {}
    to_fit = todo.to_fit()
    left_out: dict[str, None] = {}
    for (_, dataset), group in todo.groups.items():
        for cell in group:
            if todo.kind(cell) in have:
                continue
            method = cell.method
            if method and method.fit and not fitted_store.is_long(method):
                unmade = fits.key_of(cell, todo.checked, todo.how) in to_fit
                instance: Method = todo.checked.built(method)
                if unmade and fitted_store.must_fit(instance):
                    left_out[f"{method.label}: it is not fitted yet"] = None
                    continue
                method = replace(method, fit=None, training={}) if unmade else method
            exact = todo.pixels(dataset) * KEY_BYTES <= cell.budget
            budget = cell.budget if exact else 2**16
            one = replace(cell, dataset=todo.plain(dataset), method=method, budget=budget)
            cells.setdefault(one.key, one)
    seen = {(one.model, one.data) for one in measured.records} | {
        (todo.text(cell.model), todo.text(cell.dataset)) for cell in cells.values()
    }
    for cell in to_fit.values():
        assert cell.method is not None and cell.method.fit is not None  # noqa: S101 - ``to_fit`` looked
        plain = todo.plain(cell.method.fit)
        if (todo.text(cell.model), todo.text(plain)) not in seen:
            watching = suites.make_ref("protocol", "miou", {}, Path("estimate"), cell.seed)
            one = replace(cell, protocol=watching, dataset=plain, method=None)
            cells.setdefault(one.key, one)
        left_out[f"{cell.method.label}: what its fit computes beside the network"] = None
    measured.left_out += left_out
    return cells


def _unread(todo: _Todo, measured: Measured, lacking: Mapping[str, Cell]) -> list[Ref]:
    """Corrupted data sets that no record has read."""
    seen = {(one.data, one.corruption) for one in measured.records}
    seen |= {(todo.text(cell.dataset), "") for cell in lacking.values()}
    asked: dict[tuple[str, str], Ref] = {}
    for _, dataset in todo.groups:
        asked.setdefault(todo.data(dataset), dataset)
    return [ref for key, ref in asked.items() if key not in seen]


def _probe(
    suite: Suite,
    todo: _Todo,
    measured: Measured,
    cells: tuple[Cell, ...],
    images: int,
    tried: Callable[[Suite, Path, int], None],
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
    for place, (what, limit) in enumerate([(warm, 2), *((part, size) for size in sizes)]):
        advance(f"probing {len(what.cells)} cells, {limit} images")
        before = time.process_time()
        tried(what, folder / f"{place}", limit)
        spent = time.process_time() - before
    before = time.process_time()
    preflight.check(part)
    spent -= time.process_time() - before
    begun, *found = (list(records(store.read_run(folder / f"{place}"))) for place in range(len(sizes) + 1))
    if sizes[0] == 2:
        kinds = {one.kind for one in begun}
        again = sum(_together(one for one in found[0] if one.kind in kinds).values())
        measured.warm = max(0.0, sum(_together(begun).values()) - again)
    measured.records += itertools.chain.from_iterable(found)
    measured.other = max(0.0, spent - sum(_together(found[-1]).values())) / len(cells)
    measured.sources.append(f"a probe of {images} images of each data set, made here on {todo.how.device_name}")
    second = {one.kind for one in found[-1] if "second" in one.seconds}
    for cell in cells:
        protocol: Protocol = cell.protocol.build()
        if protocol.second_phase and cell.method and todo.kind(cell) not in second:
            measured.left_out.append(f"the second phase of {cell}: it had nothing to do in {images} images")


def _together(found: Iterable[Record]) -> dict[tuple[Record, str], float]:
    """Seconds by stage of some records; what cells share is with one of them, the first of the group."""
    first: dict[tuple[str, ...], Record] = {}
    spent: dict[tuple[Record, str], float] = defaultdict(float)
    for one in found:
        group = one.source, one.model, one.data, one.corruption
        for stage, seconds in one.seconds.items():
            if stage in SHARED or stage in PER_METHOD:
                owner = first.setdefault((*group, one.scorer if stage in PER_METHOD else ""), one)
                spent[owner, stage] = max(spent[owner, stage], seconds)
            else:
                spent[one, stage] += seconds
    return spent


def _load_seconds(data: Dataset, images: int) -> float:
    """CPU seconds that an image takes to be read."""
    wanted = range(min(images, data.count))
    before = time.process_time()
    for index in wanted:
        data.load(index).image()
    return (time.process_time() - before) / len(wanted)


# What it comes to


@dataclass
class _Rate:
    """Seconds per image, of several measurements together."""

    seconds: float = 0.0
    images: int = 0

    def add(self, seconds: float, images: int) -> None:
        self.seconds, self.images = self.seconds + seconds, self.images + images

    @property
    def each(self) -> float:
        return self.seconds / self.images if self.images else 0.0


class _Costs:
    """Seconds and bytes of anything, from what was measured."""

    def __init__(self, measured: Measured) -> None:
        self.rates: dict[tuple[str, ...], _Rate] = defaultdict(_Rate)
        setups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.points: dict[tuple[str, ...], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.exact: dict[tuple[str, ...], bool] = {}
        self.proportional = False  # whether what was measured at one size was wanted at another
        for (one, stage), seconds in _together(measured.records).items():
            if stage == "setup":
                setups[one.model][one.source].append(seconds)
            elif stage == "load":
                self.rates[one.data, one.corruption, stage].add(seconds, one.images)
            elif stage == "predict":
                self.rates[one.model, one.data, stage].add(seconds, one.images)
            elif stage in PER_METHOD:
                self.rates[one.model, one.data, one.scorer, stage].add(seconds, one.images)
            elif stage in PER_CELL:
                self.points[*one.kind, stage][one.images].append(seconds)
            else:
                self.rates[*one.kind, stage].add(seconds, one.images)
        for one in measured.records:
            self.points[*one.kind, "keys"][one.images].append(one.keys)
            self.points[*one.kind, "bytes"][one.images].append(one.bytes)
        for (data, corruption), seconds in measured.loads.items():
            self.rates[data, corruption, "load"].add(seconds, 1)
        # The first data set of a run includes loading the network.
        self.loading = {model: statistics.fmean(max(one) for one in runs.values()) for model, runs in setups.items()}
        others = {model: [rest for one in runs.values() for rest in sorted(one)[:-1]] for model, runs in setups.items()}
        self.beginning = {model: statistics.median(rest) if rest else 0.0 for model, rest in others.items()}
        self._memo: dict[tuple[Any, ...], float] = {}

    def rate(self, *key: str) -> float:
        """Seconds per image."""
        return self.rates[key].each if key in self.rates else 0.0

    def keys(self, kind: tuple[str, ...], images: int) -> float:
        """How many keys of 24 bits occur in so many images: a power of their number, as the words of a language."""
        points = _means(self.points.get((*kind, "keys"), {}))
        if not points:
            return 0.0
        (few, less), (many, more) = points[0], points[-1]
        near = min(points, key=lambda point: abs(point[0] - images))
        if abs(near[0] - images) <= ALIKE * images:
            return near[1] * images / near[0]
        power = math.log(more / less) / math.log(many / few) if few < many and 0 < less < more else float(few == many)
        return float(min(more * (images / many) ** min(power, 1.0), KEYS))

    def per_cell(self, kind: tuple[str, ...], what: str, images: int, exact: bool) -> float:
        """Seconds of a stage, or ``bytes``, of a cell with so many images."""
        asked = (*kind, what, images, exact)
        if asked not in self._memo:
            self._memo[asked] = self._per_cell(kind, what, images, exact)
        return self._memo[asked]

    def _per_cell(self, kind: tuple[str, ...], what: str, images: int, exact: bool) -> float:
        points = _means(self.points.get((*kind, what), {}))
        if what in {"read", "merge"} and not exact and (wanted := self.keys(kind, images)):
            return self._grown([(self.keys(kind, n), value) for n, value in points], wanted)
        return self._grown([(float(n), value) for n, value in points], float(images))

    def _grown(self, points: Sequence[tuple[float, float]], wanted: float) -> float:
        """A value at another size: a line through what was measured at the smallest and at the largest."""
        if not points:
            return 0.0
        (few, less), (many, more) = points[0], points[-1]
        near = min(points, key=lambda point: abs(point[0] - wanted))
        if abs(near[0] - wanted) <= ALIKE * wanted:
            return near[1] * wanted / near[0]
        if many - few <= ALIKE * many:
            self.proportional |= len(points) == 1
            return more * max(1.0, wanted / many)  # at most: what stays is taken to grow, too
        return max(0.0, more + max(0.0, more - less) / (many - few) * (wanted - many))


def _means(points: Mapping[int, Sequence[float]]) -> list[tuple[int, float]]:
    return [(images, statistics.fmean(values)) for images, values in sorted(points.items())]


def of(suite: Suite, checked: Checked, how: Numerics, plan: Plan, measured: Measured) -> Estimate:
    """Add everything up."""
    todo, costs = _Todo(suite, checked, how, plan), _Costs(measured)
    seconds: dict[str, float] = defaultdict(float)
    results, cells, images, shards = 0.0, 0, 0, 0
    for (model, dataset), group in todo.groups.items():
        n, (data, corruption), network = todo.images(dataset), todo.data(dataset), todo.text(model)
        images, shards, cells = images + n, shards + math.ceil(n / todo.shard(dataset)), cells + len(group)
        seconds["load"] += n * costs.rate(data, corruption, "load")
        seconds["predict"] += n * costs.rate(network, data, "predict")
        for scorer in {todo.text(cell.method) for cell in group}:
            for stage in PER_METHOD:
                seconds[stage] += n * costs.rate(network, data, scorer, stage)
        for cell in group:
            kind, exact = todo.kind(cell), todo.pixels(dataset) * KEY_BYTES <= cell.budget
            for stage in PER_IMAGE:
                seconds[stage] += n * costs.rate(*kind, stage)
            for stage in PER_CELL:
                seconds[stage] += costs.per_cell(kind, stage, n, exact)
            results += costs.per_cell(kind, "bytes", n, exact)
        seconds["setup"] += costs.beginning.get(network, 0.0)
    for network in {todo.text(model) for model, _ in todo.groups}:
        seconds["setup"] += costs.loading.get(network, 0.0)
    for cell in todo.to_fit().values():
        assert cell.method is not None and cell.method.fit is not None  # noqa: S101 - ``to_fit`` looked
        data, corruption = todo.data(cell.method.fit)
        each = costs.rate(data, corruption, "load") + costs.rate(todo.text(cell.model), data, "predict")
        seconds["fit"] += checked.datasets[cell.method.fit].count * each
    seconds["start"] = measured.driver + measured.warm
    seconds["other"] = (measured.other or 0.0) * cells
    spent = {stage: seconds[stage] for stage in STAGES if seconds.get(stage)}
    gpu = sum(spent.get(stage, 0.0) for stage in GPU) if _on_gpu(measured, todo) else 0.0
    rests = list(measured.sources)
    if costs.proportional:
        rests.append("figures, bootstrap and files were measured at one size; taken to grow with it, that is at most")
    return Estimate(
        suite.name,
        cells,
        len(suite.cells) - cells,
        len(todo.groups),
        images,
        shards,
        _devices(measured.records) or how.device_name,
        spent,
        gpu,
        [_wall(spent, processes, shards, plan, measured) for processes in plan.processes],
        {"results": round(results), **_passing(todo, costs)},
        _memory(todo, measured),
        rests,
        list(dict.fromkeys(measured.left_out)),
    )


def _on_gpu(measured: Measured, todo: _Todo) -> bool:
    return any(one.device != "cpu" for one in measured.records) if measured.records else todo.how.device != "cpu"


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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    busy = alone + begun + (computed + loaded + begun * (processes - 1)) / cores
    return {"processes": processes, "seconds": seconds, "seconds_here": max(seconds, busy), "cores_here": cores}


def _passing(todo: _Todo, costs: _Costs) -> dict[str, int]:
    """Bytes that are on disk for a while: of the pair of network and data set that needs most, at most."""
    spool, work = 0, 0
    for (_, dataset), group in todo.groups.items():
        n, pixels, shard = todo.images(dataset), todo.pixels(dataset), todo.shard(dataset)
        maps: set[tuple[str, int]] = set()
        kept = 0.0
        for cell in group:
            protocol: Protocol = todo.checked.built(cell.protocol)
            if cell.method and protocol.second_phase:
                maps.add((todo.text(cell.method), 2 if protocol.spool == "float16" else 4))
            if cell.method and isinstance(todo.checked.built(cell.method), Refinement):
                maps.add((f"draft {todo.text(cell.method)}", 4))
            if protocol.scored:
                folded = math.ceil(n / shard) * 2 * KEY_BYTES * costs.keys(todo.kind(cell), shard)
                exact = pixels * KEY_BYTES
                kept += exact if exact <= cell.budget else min(exact, max(cell.budget, folded))
        spool = max(spool, sum(pixels * (width + 1) for _, width in maps))  # a class map beside each
        work = max(work, round(kept))
    return {"shards_at_most": work, "maps_at_most": spool}


def _memory(todo: _Todo, measured: Measured) -> dict[str, float]:
    """Megabytes of a process, as it was measured and, for a cell of other size, with the keys it then holds."""
    known = max((one.memory_mb for one in measured.records), default=0.0)
    held = max((min(one.pixels * KEY_BYTES, 2**30) for one in measured.records if one.exact), default=0)
    keys = 0
    for (_, dataset), group in todo.groups.items():
        keys = max(keys, max(min(todo.pixels(dataset) * KEY_BYTES, cell.budget) for cell in group))
    more = 2 * max(0, keys - held) / 2**20  # once merged, once sorted
    return {"process": round(known, 1), "finishing_at_most": round(known + more, 1)}


# How it reads


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


def tables(found: Estimate, plan: Plan) -> Iterator[Any]:
    """What a rich console prints, in 60 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    cells = f"{found.cells} cells" + (f", {found.not_applicable} not applicable" if found.not_applicable else "")
    pairs = f"{found.groups} pairs of network and data set, {found.images} images in {found.shards} shards"
    yield Text(f"{found.suite}: {cells}, {pairs}")
    stages = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    stages.add_column("stage")
    for name in ("CPU time", "share"):
        stages.add_column(name, justify="right", no_wrap=True)
    for stage, seconds in found.seconds.items():
        stages.add_row(STAGES[stage], duration(seconds), f"{100 * seconds / found.total:.0f} %")
    stages.add_row("together", duration(found.total), "", style="bold")
    if found.gpu_seconds:
        stages.add_row("of that, with the GPU", duration(found.gpu_seconds), "")
    yield stages
    times = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    cores = int(found.wall[0]["cores_here"])
    for name in ("processes", "takes", f"on {cores} {'core' if cores == 1 else 'cores'}"):
        times.add_column(name, justify="right", no_wrap=True)
    for row in found.wall:
        times.add_row(f"{row['processes']:.0f}", duration(row["seconds"]), duration(row["seconds_here"]))
    yield times
    needs = Table(box=None, show_header=False, pad_edge=False)
    needs.add_column()
    needs.add_column(justify="right", no_wrap=True)
    needs.add_row("disk, results", size(found.bytes["results"]))
    needs.add_row("disk, shards of a pair under way, at most", size(found.bytes["shards_at_most"]))
    if found.bytes["maps_at_most"]:
        needs.add_row("disk, maps of a pair under way, at most", size(found.bytes["maps_at_most"]))
    needs.add_row("memory of a process", size(found.memory_mb["process"] * 2**20))
    if found.memory_mb["finishing_at_most"] > found.memory_mb["process"]:
        needs.add_row("memory to finish a cell, at most", size(found.memory_mb["finishing_at_most"] * 2**20))
    yield needs
    readers = f"{plan.workers} {'reader' if plan.workers == 1 else 'readers'}"
    yield Text(f"\nEach process has {readers}; 'takes' is with a core for each of them.")
    yield Text("As many pairs are under way as keep the processes busy, at most one for each.")
    yield Text("It rests on:")
    for line in found.rests_on:
        yield Text(f"- {line}")
    if found.left_out:
        yield Text("Not in it:")
        for line in found.left_out:
            yield Text(f"- {line}")
