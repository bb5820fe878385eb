"""The fits that a suite declares: which are missing, who makes them, where they stay.

Each is made once and read by all cells whose fit has the same key: the same method or trainer, network and data.
"""

from __future__ import annotations

from bench.api import Network, State
from bench.fit import fitted_store
from bench.fit.fitted_store import Fitted
from bench.models.numerics import Numerics
from bench.run import preflight
from bench.run.messages import Advance, Fit
from bench.run.preflight import Checked
from bench.suite.cells import Cell
from bench.suite.loader import Loader
from bench.suite.readers import Readers


def key_of(cell: Cell, checked: Checked, numerics: Numerics) -> str | None:
    """Return the key of what a cell is fitted to; None where its method has no fit."""
    if cell.method is None or cell.method.fit is None:
        return None
    return fitted_store.key_of(preflight.origin(cell, checked, numerics))


def is_made(key: str) -> bool:
    """Return True if the fit is on disk."""
    return fitted_store.path_of(key).is_file()


def task_of(cell: Cell, checked: Checked, numerics: Numerics, workers: int | None) -> Fit:
    """Return the work that makes the fit of a cell, with ``workers`` that read ahead.

    Raises MissingData where the data to fit on lack what the method learns from.
    """
    assert cell.method is not None and cell.method.fit is not None  # noqa: S101 - callers looked
    origin = preflight.origin(cell, checked, numerics)
    images = fitted_store.data_of(cell.method).count
    return Fit(fitted_store.key_of(origin), cell.method, cell.model, origin, numerics, workers, images)


def estimate(fit: Fit, network: Network, readers: Readers | int, advance: Advance) -> State:
    """Return the tensors of a fit by name, and write nothing."""
    assert fit.method.fit is not None  # noqa: S101 - as in ``task_of``
    data = fitted_store.data_of(fit.method)
    with Loader(data, fit.method.fit, readers) as loader:
        return fitted_store.estimate(fit.method, network, fit.origin, loader, fit.numerics, advance)


def keep(fit: Fit, state: State) -> Fitted:
    """Write what was estimated, and return it."""
    return fitted_store.write(state, dict(fit.origin))


def make(fit: Fit, network: Network, advance: Advance) -> Fitted:
    """Estimate here, write, and return it."""
    return keep(fit, estimate(fit, network, 1 if fit.workers is None else fit.workers, advance))
