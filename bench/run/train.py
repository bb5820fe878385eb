"""Fits on demand: whatever a suite declares, cheap ones and those that take days."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from bench.api import LongTrainer, Method, Network, Quantity, Sample, Source, TrainingContext
from bench.contract import network
from bench.contract.progress import Reporter
from bench.core import files
from bench.core.errors import BadSuite, MissingPackage
from bench.fit import fitted_store
from bench.fit.fitted_store import Fitted
from bench.models import inference, numerics
from bench.models.numerics import Numerics
from bench.run import fits, preflight
from bench.suite import registry
from bench.suite.cells import Cell, Ref, Suite
from bench.suite.loader import Loader

Log = Mapping[str, float]


@dataclass(frozen=True)
class Options:
    """How it is done. On a CPU the last bits of what was trained depend on the device and the threads."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 1  # of torch, in long trainings
    workers: int = 1  # processes that read images ahead
    tensorboard: Path | None = None  # folder for curves


@dataclass(frozen=True)
class Done:
    """One fit, and whether it was there already."""

    label: str
    fitted: Fitted
    path: Path
    new: bool


def run(suite: Suite, options: Options, reporter: Reporter) -> Iterator[Done]:
    """Fit what the suite declares and nobody has fitted yet, and yield everything it declares."""
    checked = preflight.check(suite, trained=False)
    cells = {cell.key: cell for cell in suite.cells if cell.method and cell.method.fit}
    if not cells:
        raise BadSuite(f"{suite.name}: no method of it has a fit")
    if all(key in checked.refused for key in cells):
        raise BadSuite(f"{suite.name}: {checked.refused[min(cells)]}")
    quick = numerics.resolve(suite.numerics)
    slow = numerics.resolve(suite.numerics.model_copy(update={"device": options.device, "threads": options.threads}))
    fits_needed: dict[str, tuple[Cell, dict[str, Any]]] = {}
    for key, cell in cells.items():
        if key not in checked.refused:
            made_from = preflight.origin(cell, checked, quick)
            fits_needed.setdefault(fitted_store.key_of(made_from), (cell, made_from))
    todo = [key for key in fits_needed if not fits.is_made(key)]
    reporter.begin(sum(_images(fits_needed[key][0]) for key in todo))
    for key, (cell, made_from) in fits_needed.items():
        assert cell.method is not None  # noqa: S101 - only such cells are here
        if key in todo:
            reporter.stage(f"fitting {cell.method.label}")
            if fitted_store.is_long(cell.method):
                _train(cell, made_from, slow, options, reporter)
            else:
                fit = fits.task_of(cell, checked, quick, options.workers)
                fits.make(fit, loaded(cell.model, quick), reporter.advance)
        yield Done(cell.method.label, fitted_store.load(key), fitted_store.path_of(key), key in todo)


def _images(cell: Cell) -> int:
    assert cell.method is not None  # noqa: S101 - callers looked
    data = fitted_store.data_of(cell.method)
    return _trainer(cell).images(data) if fitted_store.is_long(cell.method) else data.count


def _trainer(cell: Cell) -> LongTrainer:
    assert cell.method is not None  # noqa: S101 - callers looked
    name = str(fitted_store.fitting_of(cell.method).trainer)
    trainer: LongTrainer = registry.build("trainer", name, cell.method.training, where=cell.method.label)
    return trainer


def loaded(ref: Ref, resolved: Numerics) -> Network:
    """Return the network, on the device of this process."""
    numerics.apply(resolved)
    # Lightning Fabric starts this command once more for every further device, and numbers them so.
    rank = os.environ.get("LOCAL_RANK")
    return network.loaded(
        ref.build(), f"{resolved.device}:{rank}" if resolved.device == "cuda" and rank else resolved.device
    )


def _train(cell: Cell, made_from: dict[str, Any], resolved: Numerics, options: Options, reporter: Reporter) -> None:
    """Train, and keep it. What a killed training left in its folder is taken up."""
    ref = cell.method
    assert ref is not None and ref.fit is not None  # noqa: S101 - callers looked
    method: Method = ref.build()
    model = loaded(fitted_store.bare(cell.model), resolved)
    folder = files.home() / "training" / fitted_store.key_of(made_from)
    asked: dict[Quantity, None] = {}

    def predict(sample: Sample) -> Any:
        return inference.look(model, sample, resolved, made_from["seed"], asked)[1]

    def advance(images: int, status: str) -> None:
        reporter.stage(f"fitting {ref.label}, {status}")
        reporter.advance(images)

    with Loader(fitted_store.data_of(ref), ref.fit, options.workers) as loader:
        log, close = curves(options.tensorboard)
        context = TrainingContext(
            model,
            Source(loader.dataset, partial(_in_order, loader)),
            {},
            predict,
            made_from["seed"],
            resolved.device,
            folder,
            advance,
            log,
        )
        try:
            state, about = _trainer(cell).train(method, context)
        finally:
            close()
    fitted_store.write(state, made_from, {**about, "method": ref.spelled(), "model": cell.model.spelled()})
    shutil.rmtree(folder, ignore_errors=True)  # a checkpoint of what is whole now


def _in_order(loader: Loader, indices: Any, ahead: Any) -> Iterator[Sample]:
    return loader.samples(indices, ahead)


def curves(folder: Path | None) -> tuple[Any, Any]:
    """What logs figures, and what closes the log."""
    if folder is None:
        return (lambda iteration, figures: None), (lambda: None)
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingPackage("--tensorboard needs the package tensorboard; pip install tensorboard") from None
    writer = SummaryWriter(str(folder))

    def log(iteration: int, figures: Log) -> None:
        for name, value in figures.items():
            writer.add_scalar(name, value, iteration)

    return log, writer.close
