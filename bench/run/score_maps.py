"""Score maps and class maps of images without truth: one network and one method of a suite, over any images.

What ``bench submit`` archives, and what a packaged method does with a folder of images. The maps are made by the code
that ``bench run`` uses, so frames that a run has counted get the same bits here.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from bench.api import Dataset, Labels, Method, Quantity, Refinement, Sample, Scores, SegModel
from bench.core import child_processes
from bench.core.errors import BadPlugin, BadSuite, UsageError, WorkerDied
from bench.core.versions import numbers_of
from bench.models import inference, numerics
from bench.models.numerics import Numerics
from bench.ops import transfer
from bench.run import fits, preflight, scoring
from bench.run.lending import Lender
from bench.run.worker import Worker
from bench.suite import registry
from bench.suite.cells import Ref, Suite
from bench.suite.loader import Loader

Sink = Callable[[str, Scores | None, Labels | None], None]  # id, score, class map; called from several threads
Advance = Callable[[int], None]

STRETCH = 16  # images of one task: what a process takes at a time
WRITERS = 2  # threads that compress and write behind a network
WAITING = 4  # maps that may wait for them


@dataclass(frozen=True)
class Choice:
    """One network, and one method on it, as every process builds them."""

    model: Ref
    method: Ref | None  # None: class maps alone
    fitted: str | None  # key of what the method was fitted to
    numerics: Numerics
    seed: int
    depends: Mapping[str, str]  # digests of whatever can change a map

    @property
    def ordered(self) -> bool:
        """True where the map of an image depends on the images before it."""
        return bool(self.model.build().state == "ordered")

    @property
    def digest(self) -> str:
        """16 hex digits of what the maps are made with."""
        return hashlib.sha256(json.dumps(dict(self.depends), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Stretch:
    """Some images of one data set for one process."""

    choice: Choice
    dataset: Dataset
    indices: tuple[int, ...]
    sink: Sink


@dataclass(frozen=True)
class Spent:
    """What some images cost."""

    images: int = 0
    seconds: float = 0.0  # from image to map, without reading and writing; summed over processes


def narrowed(suite: Suite, method: str | None, model: str | None) -> Suite:
    """The cells of one method on one network. Raise UsageError if the names leave more than one of either."""
    asked = {axis: name for axis, name in (("method", method), ("model", model)) if name}
    chosen = suite.only(asked) if asked else suite
    cells = tuple(cell for cell in chosen.cells if cell.method is not None or method is None)
    for axis, refs in (("model", {cell.model for cell in cells}), ("method", {cell.method for cell in cells})):
        labels = sorted(ref.label for ref in refs if ref)
        if len(labels) > 1 and (axis == "model" or method is not None):
            raise UsageError(
                f"{suite.name} has {len(labels)} {axis}s here: {', '.join(labels)}; name one with --{axis}"
            )
    return replace(chosen, cells=cells)


def choose(suite: Suite, advance: Advance | None = None, *, scored: bool = True) -> Choice:
    """Check a narrowed suite as ``bench run`` does, and fit what it declares and nobody has fitted.

    ``scored`` False leaves the method out: class maps are the network's alone.
    """
    checked = preflight.check(suite, confident=False)
    able = [cell for cell in suite.cells if cell.key not in checked.refused]
    if not able:
        raise BadSuite(f"{next(iter(checked.refused.values()))}; nothing can be submitted of this pair")
    cell = able[0]
    resolved = numerics.resolve(suite.numerics)
    numerics.apply(resolved)
    computations = checked.models[cell.model].computations
    if scored and cell.method:
        computations |= checked.built(cell.method).computations
    depends = {
        **numbers_of(computations, str(cell)),
        "model": f"{registry.digest('model', cell.model.name)} {checked.model_digests[cell.model]}",
        "model_entry": json.dumps(cell.model.spelled(), sort_keys=True),
        "numerics": resolved.digest(),
        "seed": str(cell.seed),
    }
    if not scored or cell.method is None:
        return Choice(cell.model, None, None, resolved, cell.seed, depends)
    if isinstance(method := cell.method.build(), Refinement) and method.learns and cell.method.fit is None:
        raise BadSuite(
            f"{cell.method.label} learns from the truth of the images that it judges, which a submission has not; "
            f"fit it on other data: {cell.method.name}: {{fit: {{data: ...}}}}"
        )
    depends["method"] = f"{registry.digest('method', cell.method.name)} {checked.method_digests.get(cell.method, '')}"
    depends["method_entry"] = json.dumps(cell.method.spelled(), sort_keys=True)
    fitted = None
    if cell.method.fit:
        fit = fits.task_of(cell, checked, resolved, 1)
        if not fits.is_made(fit.key):
            fits.make(fit, Worker().network(cell.model, resolved), advance or (lambda _: None))
        fitted = depends["fitted"] = fit.key
    return Choice(cell.model, cell.method, fitted, resolved, cell.seed, depends)


def each(
    choice: Choice, samples: Iterator[Sample], worker: Worker, spent: list[float] | None = None
) -> Iterator[tuple[Sample, Scores | None, Labels | None]]:
    """Each sample with its score, float32 [H, W], and its class map, uint8 [H, W]; None where there is none.

    ``spent`` gets the seconds of each image, from decoded image to maps.
    """
    network = worker.network(choice.model, choice.numerics)
    method: Method | None = None
    if choice.method is not None:
        worker.meet(choice.method, choice.model, choice.numerics)
        method = worker.method(choice.method)
    if network.model.state == "ordered":
        network.reset()
    asked: dict[Quantity, None] = {}
    for sample in inference.prepared(network, samples, choice.numerics):
        sample.image()
        began = time.perf_counter()
        with torch.no_grad():
            lender = Lender(*inference.look(network, sample, choice.numerics, choice.seed, asked))
            score, labels = None, None
            if lender.merged.has_labels:
                labels = transfer.to_host(lender.merged.labels)
            if method is not None and choice.method is not None:
                who = f"method {choice.method.label} on {sample.id}"
                with lender.lend(who) as (views, merged), worker.lent(choice.fitted, who) as state:
                    score, own = scoring.score(method, state, views, merged, network.model.inference, who)
                    if isinstance(method, Refinement):
                        score = scoring.refined_alone(method, state, merged, score, sample.id, choice.seed, who)
                labels = labels if own is None else own
        if labels is not None and labels.shape != sample.size:
            raise BadPlugin(f"{sample.id}: the class map is {list(labels.shape)}, the image {list(sample.size)}")
        if spent is not None:
            spent.append(time.perf_counter() - began)
        yield sample, score, labels


def run(stretch: Stretch, worker: Worker, advance: Advance | None = None) -> Spent:
    """The maps of some images into the sink. At most a few of them are in memory at any time."""
    loader, wanted = Loader(stretch.dataset, None, 0), set(stretch.indices)
    shown = range(max(wanted) + 1) if stretch.choice.ordered else stretch.indices
    waiting: list[Future[None]] = []
    spent: list[float] = []
    with ThreadPoolExecutor(WRITERS) as writers:
        made = each(stretch.choice, loader.samples(shown), worker, spent)
        for index, (sample, score, labels) in zip(shown, made, strict=True):
            if index not in wanted:  # it is there, and others depend on it
                continue
            while len(waiting) >= WAITING:
                waiting.pop(0).result()
            waiting.append(writers.submit(stretch.sink, sample.id, score, labels))
            if advance:
                advance(1)
        for writing in waiting:
            writing.result()
    return Spent(len(stretch.indices), sum(spent))


def every(
    choice: Choice,
    dataset: Dataset,
    indices: Sequence[int],
    sink: Sink,
    processes: int = 1,
    advance: Advance | None = None,
) -> Spent:
    """``run`` over any number of images, in this process or in several. The maps do not depend on how many."""
    size = len(indices) if choice.ordered else STRETCH
    parts = [tuple(indices[start : start + size]) for start in range(0, len(indices), size or 1)]
    stretches = [Stretch(choice, dataset, part, sink) for part in parts]
    if processes == 1 or len(stretches) < 2:
        worker = Worker()
        return _sum(run(stretch, worker, advance) for stretch in stretches)
    done: list[Spent] = []
    with child_processes.pool(min(processes, len(stretches)), _prepare_process) as pool:
        pending = [pool.submit(_remote, stretch) for stretch in stretches]
        try:
            for future in as_completed(pending):
                done.append(future.result())
                if advance:
                    advance(done[-1].images)
        except BrokenProcessPool:
            raise WorkerDied(
                "a process with the network was killed, perhaps for want of memory; run the same command again to go"
                " on, with fewer --processes if it happens again"
            ) from None
        finally:
            for future in pending:
                future.cancel()
    return _sum(done)


_WORKER: list[Worker] = []  # of a process of ``every``: the network is read once


def _prepare_process() -> None:
    """Import the plug-ins whose objects arrive pickled: data sets, and what boards write maps with."""
    registry.available("dataset")
    registry.available("board")


def _remote(stretch: Stretch) -> Spent:
    if not _WORKER:
        _WORKER.append(Worker())
    return run(stretch, _WORKER[0])


def _sum(parts: Iterable[Spent]) -> Spent:
    total = Spent()
    for part in parts:
        total = Spent(total.images + part.images, total.seconds + part.seconds)
    return total


def described(choice: Choice) -> dict[str, Any]:
    """What a method card says of the network and the method."""
    method = choice.method
    instance: Method | None = method.build() if method else None
    network: SegModel = choice.model.build()
    own = dict(network.about())
    return {
        "method": None
        if method is None or instance is None
        else {"name": method.name, "label": method.label, "parameters": method.params, "source": instance.source}
        | ({"fitted_on": method.fit.label, "fitted": choice.fitted} if method.fit else {}),
        "network": {
            "name": choice.model.name,
            "label": choice.model.label,
            "parameters": choice.model.params,
            "source": network.source,
        },
        "uses_outliers": bool(instance and instance.uses_outliers) or bool(own.get("uses_outliers")),
        "retrained": choice.model.name == "retrained",
        "numerics": asdict(choice.numerics),
        "seed": choice.seed,
        "digests": dict(choice.depends) | {"maps": choice.digest},
    }
