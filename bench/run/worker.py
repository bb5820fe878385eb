"""Everything that one process keeps between two pieces of work: the network on its device, methods, fits, readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from bench.api import Method, Network, State
from bench.contract.network import loaded
from bench.core import child_processes
from bench.core.errors import BadPlugin
from bench.fit import fitted_store
from bench.models.acceleration import accelerate
from bench.models.numerics import Numerics, apply
from bench.models.pipeline import Pipeline
from bench.run import lending
from bench.run.messages import Task
from bench.suite.cells import Ref
from bench.suite.loader import Loader
from bench.suite.readers import Pool, Readers


class Worker:
    """One network, one data set, and as many methods and fits as were asked for."""

    def __init__(self) -> None:
        self.cores = float(child_processes.cores())  # for this process and its readers
        self.name = ""  # among those that share a pool
        self.pool: Pool | None = None  # of readers, where processes share one
        self._network: tuple[Ref, Numerics, Network] | None = None
        self._readers: Readers | None = None
        self._loader: tuple[tuple[Ref, Readers, bool], Loader] | None = None
        self._pipeline: tuple[tuple[Network, Loader, int], Pipeline] | None = None
        self._methods: dict[Ref, Method] = {}
        self._states: dict[str, State] = {}
        self._marks: dict[str, dict[str, bytes]] = {}  # of states, by key
        self._met: set[tuple[Ref, Ref, Numerics]] = set()

    def network(self, ref: Ref, numerics: Numerics) -> Network:
        """The network, loaded; the one before it is let go first."""
        if self._network is None or self._network[:2] != (ref, numerics):
            self._close_pipeline()
            self._network = None
            apply(numerics)
            network = loaded(ref.build(), numerics.device)
            accelerate(network, numerics)
            self._network = (ref, numerics, network)
        return self._network[2]

    def readers(self, count: int | None) -> Readers:
        """Processes that read; the same for all data sets. None is as many as turn out to be needed."""
        if self._readers is None or self._readers.chosen != count:
            self.close()
            self._readers = Readers(count, self.pool, asker=self.name, cores=self.cores)
        return self._readers

    def loader(self, ref: Ref, workers: int | None, *, images: bool) -> Loader:
        """The reader of a data set; the one before it is closed first."""
        key = ref, self.readers(workers), images
        if self._loader is None or self._loader[0] != key:
            self._close_loader()  # one data set at a time
            self._loader = key, Loader(ref.build(), ref, key[1], images=images)
        return self._loader[1]

    def pipeline(self, task: Task) -> Pipeline:
        """The images of a task's data set, with what its network says of them."""
        network = self.network(task.model, task.numerics)
        if self._pipeline is not None:
            self.readers(task.workers).keep_up(self._pipeline[1].readers_short())
        loader = self.loader(task.dataset, task.workers, images=True)
        key = network, loader, task.seed
        if self._pipeline is None or self._pipeline[0] != key:
            self._close_pipeline()
            self._pipeline = key, Pipeline(network, loader, task.numerics, task.seed)
        return self._pipeline[1]

    def method(self, ref: Ref) -> Method:
        if ref not in self._methods:
            self._methods[ref] = ref.build()
        return self._methods[ref]

    def meet(self, ref: Ref, model: Ref, numerics: Numerics) -> None:
        """Show the network to a method that is about to score its predictions for the first time."""
        if (ref, model, numerics) not in self._met:
            network = self.network(model, numerics)
            self.method(ref).check(network.model, network)
            self._met.add((ref, model, numerics))

    def state(self, fitted: str | None) -> State:
        """The tensors of a fit by its key; empty without one."""
        if fitted is None:
            return {}
        if fitted not in self._states:
            self._states[fitted] = fitted_store.load(fitted).state
        return self._states[fitted]

    @contextmanager
    def lent(self, fitted: str | None, who: str) -> Iterator[State]:
        """The same for one of the methods that share it. Raise BadPlugin at the end if it changed any of it."""
        state = self.state(fitted)
        if fitted is None:
            yield state
            return
        if fitted not in self._marks:
            self._marks[fitted] = lending.marks_of(state)
        try:
            with lending.state_lent(state, self._marks[fitted], who):
                yield state
        except lending.Changed:
            del self._states[fitted]  # it is read again for the others
            raise

    def take_state(self, fitted: str, state: State) -> None:
        """Keep what was fitted elsewhere, on a machine whose files are not here."""
        self._states[fitted] = state

    def forget(self) -> None:
        """Let go of the network too, after want of memory."""
        self.close()
        self._network = None

    def close(self) -> None:
        """End threads and processes; others are started if more is asked for."""
        self._close_loader()
        if self._readers is not None:
            self._readers.close()

    def _close_loader(self) -> None:
        self._close_pipeline()
        if self._loader is not None:
            self._loader[1].close()
            self._loader = None

    def _close_pipeline(self) -> None:
        if self._pipeline is not None:
            self._pipeline[1].close()
            self._pipeline = None


def network_of(network: Network) -> dict[str, Any]:
    """What a loaded network says of itself in a table: ``backbone`` and ``parameters``; empty for a program."""
    known = dict(network.about())
    with suppress(BadPlugin):  # of a program
        known["parameters"] = sum(tensor.numel() for tensor in network.module().parameters())
    return {name: value for name, value in known.items() if value}
