"""Once a run has its results: which galleries it lacks, and the few forward passes that make them.

A gallery is made for each network and each data set whose images are as they were taken. Of the corrupted data sets of
a grid only the worst one gets a gallery, of the same samples: a grid of 60 data sets must not cost 60 galleries.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.api import Dataset, Refinement, SegModel, ShardModel, Value
from bench.contract.progress import Reporter
from bench.core import files
from bench.core.errors import MissingData, UserError
from bench.core.file_names import file_name
from bench.counts.tally import Counts
from bench.fit import fitted_store
from bench.models.numerics import Numerics
from bench.results import gallery, pictures, store
from bench.results.gallery import Pick
from bench.results.store import Result, Run
from bench.run.blame import FATAL
from bench.run.executors.dispatch import Dispatcher
from bench.run.messages import MapTask, PictureTask, Task
from bench.suite import registry
from bench.suite.cells import Cell, Ref, Suite

Pair = tuple[Ref, Ref]  # model and data set


@dataclass(frozen=True)
class GalleryPlan:
    """A gallery that is to be made, or is made already."""

    pair: Pair
    cells: tuple[tuple[Cell, Result], ...]  # that apply
    picks: tuple[Pick, ...]
    request: Mapping[str, Any]
    note: str

    @property
    def label(self) -> str:
        return " on ".join(ref.label for ref in self.pair)


def draw(
    run: Run,
    suite: Suite,
    count: int,
    numerics: Numerics,
    workers: int | None,
    dispatcher: Dispatcher,
    reporter: Reporter,
) -> None:
    """Make the galleries of ``count`` samples that are missing or of other results, and drop those of other grid cells.

    ``run`` has the results of the cells of ``suite``. What cannot be drawn is told, and the next one is begun, unless
    it is the machine that fails.
    """
    # Where no protocol ranks anything there is nothing to choose by.
    plans = [plan for plan in _plans(run, suite, count) if plan.picks]
    todo = [plan for plan in plans if not gallery.is_there(run, _folder(run, plan.pair), plan.request)]
    if not todo:
        return
    reporter.begin(sum(len(plan.picks) for plan in todo))
    for plan in todo:
        reporter.stage(f"gallery of {plan.label}")
        try:
            _draw(run, plan, numerics, workers, dispatcher, reporter)
        except UserError as error:  # the figures are on disk and stand without pictures
            reporter.tell(f"no gallery of {plan.label}: {error}")
            if isinstance(error, FATAL):
                return


def _folder(run: Run, pair: Pair) -> Path:
    return store.gallery_folder(run.path, [(ref.label, str(ref.spelled())) for ref in pair])


def _plans(run: Run, suite: Suite, count: int) -> Iterator[GalleryPlan]:
    results = {result.key: result for result in run.results}
    groups: dict[Pair, list[tuple[Cell, Result]]] = {}
    for cell in suite.cells:
        result = results[cell.key]
        if not result.not_applicable:
            groups.setdefault((cell.model, cell.dataset), []).append((cell, result))
    planned: dict[Pair, set[str]] = {}
    for cell in suite.planned:
        planned.setdefault((cell.model, cell.dataset), set()).add(cell.key)
    asked = {cell.key for cell in suite.cells}
    grids: dict[Pair, list[Pair]] = {}
    for pair, cells in groups.items():
        model, dataset = pair
        if dataset.corruption:
            grids.setdefault((model, dataset.plain), []).append(pair)
        # A run that was narrowed leaves a gallery of more than it was asked for.
        elif planned[pair] <= asked or not gallery.stands(run, _folder(run, pair)):
            yield _of(run, pair, cells, count)
    for plain, pairs in grids.items():
        every = [pair for pair in planned if pair[1].corruption and (pair[0], pair[1].plain) == plain]
        if all(planned[pair] <= asked for pair in every):
            yield from _of_grid(run, groups, plain, pairs, count)


def _of(run: Run, pair: Pair, cells: Sequence[tuple[Cell, Result]], count: int) -> GalleryPlan:
    results = [result for _, result in cells]
    picks = gallery.choose(run, results, count)
    return GalleryPlan(pair, tuple(cells), tuple(picks), gallery.request(results, count, []), "")


def _of_grid(
    run: Run, groups: Mapping[Pair, list[tuple[Cell, Result]]], plain: Pair, pairs: Sequence[Pair], count: int
) -> Iterator[GalleryPlan]:
    """The worst data set of a grid, by the method that is best over all of them."""
    chosen = _worst(groups, pairs)
    for pair in pairs:
        if chosen is None or pair != chosen[0]:
            shutil.rmtree(_folder(run, pair), ignore_errors=True)
    if chosen is None:
        return
    worst, why = chosen
    note = f"the worst of {len(pairs)} corrupted data sets by {why}" if len(pairs) > 1 else ""
    cells = groups[worst]
    results = [result for _, result in cells]
    ids = set(run.sample_ids(results[0]))
    picks = gallery.choose(run, [result for _, result in groups.get(plain, [])], count)
    picks = [
        Pick(pick.sample, tuple(f"on {plain[1].label}: {reason}" for reason in pick.reasons))
        for pick in picks
        if pick.sample in ids
    ]
    request = gallery.request(results, count, picks)
    yield GalleryPlan(worst, tuple(cells), tuple(picks or gallery.choose(run, results, count)), request, note)


def _worst(groups: Mapping[Pair, list[tuple[Cell, Result]]], pairs: Sequence[Pair]) -> tuple[Pair, str] | None:
    """Return which of the pairs it is, and by what: the leading metric of the first protocol that ranks."""
    by_scorer: dict[tuple[str, str], dict[Pair, Result]] = {}
    for pair in pairs:
        for cell, result in sorted(groups[pair], key=lambda pair: pair[0].method is None):
            scorer = cell.protocol.label, cell.method.label if cell.method else ""
            by_scorer.setdefault(scorer, {})[pair] = result
    protocol = next(iter(by_scorer))[0]
    best: tuple[float, str, dict[Pair, float], Result] | None = None
    for (label, method), results in by_scorer.items():
        first = next(iter(results.values()))
        name, metric = next(iter(first.definitions.items()))
        values = {
            pair: figure.value
            for pair, result in results.items()
            if isinstance(figure := result.metrics.get(name), Value)
        }
        if label != protocol or not values or metric.better == "neither":
            continue
        sign = 1 if metric.better == "higher" else -1
        mean = sign * sum(values.values()) / len(values)
        if best is None or mean > best[0]:
            best = mean, method, values, first
    if best is None:
        return None
    _, method, values, first = best
    name, metric = next(iter(first.definitions.items()))
    sign = 1 if metric.better == "higher" else -1
    worst = min(values, key=lambda pair: sign * values[pair])
    return worst, f"{metric.title} of {method or 'the class map'}, {gallery.shown(metric, values[worst])}"


def _draw(
    run: Run, plan: GalleryPlan, numerics: Numerics, workers: int | None, dispatcher: Dispatcher, reporter: Reporter
) -> None:
    folder = _folder(run, plan.pair)
    (folder / gallery.INDEX).unlink(missing_ok=True)  # nothing is shown while old and new pictures lie side by side
    maps, left_out, counted = _maps(run, plan)
    model, dataset = plan.pair
    data: Dataset = dataset.build()
    ids = list(data.ids())
    relative = str(folder.relative_to(run.path))
    stamp = gallery.digest([plan.request["cells"], [[drawn.file, drawn.limits, drawn.fitted] for drawn in maps]])
    indices = {pick.sample: ids.index(pick.sample) for pick in plan.picks}
    todo = [sample for sample in indices if _list_of(folder, sample).get("stamp") != stamp]
    if len(todo) < len(indices):
        reporter.advance(len(indices) - len(todo))
    network: SegModel = model.build()
    ordered = network.state == "ordered"
    together = ordered or isinstance(network, ShardModel)  # a program that is started for each task
    todo = sorted(todo, key=indices.__getitem__) if ordered else todo
    seed = plan.cells[0][0].seed
    tasks = []
    for some in [todo] if together and todo else [[sample] for sample in todo]:
        for sample in some:
            shutil.rmtree(folder / file_name(sample), ignore_errors=True)
        chosen = PictureTask(relative, stamp, tuple(indices[sample] for sample in some), tuple(maps))
        start, stop = (0, len(some)) if together else (indices[some[0]], indices[some[0]] + 1)
        tasks.append(Task(run.path, model, dataset, (), start, stop, numerics, seed, workers, phase=3, pictures=chosen))
    if tasks:
        dispatcher.run(tasks)
    figures = gallery.figures(run, [result for _, result in plan.cells], list(indices))
    shots = [_shot(folder, pick, figures[pick.sample], maps, counted) for pick in plan.picks]
    for other in folder.iterdir():
        if other.is_dir() and other.name not in {shot["folder"] for shot in shots}:
            shutil.rmtree(other)
    about = {"model": model.label, "dataset": dataset.label, "note": plan.note, "request": plan.request}
    truths = {kind for shot in shots for kind in shot["truths"]}
    class_names = data.class_names if "classes" in truths else network.class_names  # of the prediction alone
    kinds = truths | {"classes"}
    legends = {kind: entries for kind, entries in pictures.legends(class_names).items() if kind in kinds}
    more = {"scale": gallery.scale(), "legends": legends, "left_out": left_out, "shots": shots}
    gallery.write(folder, about | more)


def _maps(run: Run, plan: GalleryPlan) -> tuple[list[MapTask], dict[str, str], dict[str, str]]:
    """The maps that can be made once more, why others cannot, and by label the cell whose counts are the scale."""
    maps: list[MapTask] = []
    left_out: dict[str, str] = {}
    counted: dict[str, str] = {}
    for cell, result in plan.cells:
        method = cell.method
        if method is None or method.label in counted:
            continue
        fitted = result.depends.get("fitted")
        counts = run.arrays(result, "counts.")
        if cell.protocol.build().reads != "score" or not counts:
            left_out.setdefault(method.label, "no protocol of this run counts its scores")
        elif reason := _unable(method, fitted):
            left_out[method.label] = reason
        else:
            known = Counts.from_arrays({name.removeprefix("counts."): array for name, array in counts.items()})
            limits = tuple(map(float, pictures.thresholds(known)))
            file = f"{len(maps) + 1:02d}-{file_name(method.label, str(method.spelled()))}.png"
            maps.append(MapTask(method, fitted, cell.protocol, file, limits))
            counted[method.label] = result.key
            left_out.pop(method.label, None)
    return maps, left_out, counted


def _unable(method: Ref, fitted: str | None) -> str:
    """Return why the map of a method cannot be made once more from one image; empty where it can."""
    if fitted and not fitted_store.path_of(fitted).is_file():
        return "what it was fitted to is no longer here"
    if not issubclass(registry.plugin("method", method.name, where=method.label), Refinement):
        return ""
    if method.fit is None and method.build().learns:
        return "its map is decided by all images together; --keep-maps keeps it"
    if method.params.get("fidelity") == "reference":
        return "its map depends on the truth of the image; --keep-maps keeps it"
    return ""


def _list_of(folder: Path, sample: str) -> dict[str, Any]:
    """Return what was drawn of a sample before, if all of it is there as it was written."""
    here = folder / file_name(sample)
    path = here / pictures.LIST
    try:
        listed = store.read_json(path) if path.is_file() else {}
    except MissingData:  # a damaged file is drawn again
        return {}
    digests = {file.name: files.digest(file) for file in here.iterdir() if file != path} if listed else {}
    return listed if isinstance(listed, dict) and listed.get("files") == digests else {}


def _shot(
    folder: Path,
    pick: Pick,
    figures: Mapping[str, Mapping[str, float]],
    maps: Sequence[MapTask],
    counted: Mapping[str, str],
) -> dict[str, Any]:
    """A sample as index.json has it."""
    drawn = store.read_json(folder / file_name(pick.sample) / pictures.LIST)
    return {
        "sample": pick.sample,
        "reasons": list(pick.reasons),
        "figures": figures,
        "folder": file_name(pick.sample),
        **{name: drawn[name] for name in ("size", "drawn", "image", "truths", "prediction")},
        "maps": {drawn.method.label: {"file": drawn.file, "cell": counted[drawn.method.label]} for drawn in maps},
    }
