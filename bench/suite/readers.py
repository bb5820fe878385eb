"""Processes that read samples, for one process with a network or for all those of a machine.

They import neither torch nor numba, outlive a data set, and read one sample each at a time, whoever asks for it: who
asks first is served first, and a reader that is killed costs the sample that it was at. What is read travels through
memory that both sides see (``bench.core.parcels``).
"""

from __future__ import annotations

import math
import pickle
import threading
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing.managers import BaseManager, BaseProxy
from pathlib import Path
from queue import LifoQueue
from typing import Any, Protocol

from bench.api import Dataset, Sample
from bench.core import child_processes, diagnostics, parcels
from bench.core.cpu_time import Stage, spent
from bench.core.errors import BadPlugin, WorkerDied
from bench.core.foreign_code import told
from bench.core.parcels import Parcel
from bench.core.scratch_folder import ScratchFolder
from bench.datasets import frames
from bench.suite import limits, registry
from bench.suite.cells import Ref
from bench.suite.wrappers.corrupted import Corrupted

Loaded = tuple[Sample, Any, float, Mapping[Stage, float]]  # a sample, its image, CPU seconds, and those by stage

KEPT = 4  # data sets that a reader keeps, with the list of their files and masks, for all their corruptions
FOLDER = "bench-readers-"


class Pool(Protocol):
    """What ``ReaderPool`` is to those who ask it, in whatever process."""

    def claim(self, asker: str, wanted: float, most: float) -> float: ...
    def keep_up(self, asker: str, share: float, short: float) -> float: ...
    def read(self, ref: Ref, index: int, images: bool) -> Parcel: ...


class ReaderPool:
    """Processes that read, started when the first sample is asked for; none is given one before it is ready."""

    def __init__(self, folder: Path | None = None) -> None:
        """``folder`` is where to leave arrays; without one the pool makes one in memory, if it can."""
        self.count = 0
        self._readers: list[_Reader] = []
        self._idle: LifoQueue[_Reader] = LifoQueue()  # who read last reads next
        self._claims: dict[str, tuple[float, float]] = {}  # by who asks
        self._lock = threading.Lock()
        self._folder = folder
        self._own: ScratchFolder | None = None
        self._ended = False

    def claim(self, asker: str, wanted: float, most: float) -> float:
        """Return how many readers there are for each that asks, after one of them says how many it wants and at most.

        There are as many as all want together, no more than all of them may have, but one; and never fewer than before.
        """
        with self._lock:
            self._claims[asker] = wanted, most
            return self._shares()

    def keep_up(self, asker: str, share: float, short: float) -> float:
        """Return the same after one asks for ``short`` times the share that it had."""
        with self._lock:
            wanted = short * min(share, self.count / len(self._claims))  # since then others came, or had some added
            self._claims[asker] = wanted, self._claims[asker][1]
            return self._shares()

    def _shares(self) -> float:
        together, bound = (sum(amounts) for amounts in zip(*self._claims.values(), strict=True))
        self.count = max(1, self.count, min(math.ceil(together - 1e-9), int(bound + 1e-9)))
        return self.count / len(self._claims)

    def read(self, ref: Ref, index: int, images: bool) -> Parcel:
        """Have a sample of a data set read, with its decoded image if wanted; return ``Loaded``, or what was raised.

        Raises BrokenProcessPool where the process that read it was killed, another takes its place, and OSError where
        the system refuses to start one.
        """
        with self._lock:
            self.count = max(1, self.count)
            while len(self._readers) < self.count:
                reader = _Reader()
                reader.start(self._idle)
                self._readers.append(reader)  # one that cannot start is no reader: others would wait for it
            if self._folder is None and self._own is None:
                self._own = _folder()
            folder = self._own.path if self._own else self._folder
        reader = self._idle.get()
        try:
            if self._ended:
                raise BrokenProcessPool("its readers were ended")
            return reader.read(folder, ref, index, images)
        finally:
            self._idle.put(reader)

    def close(self) -> None:
        """End the processes when they have finished what they are at; others are started if more is asked for."""
        for reader in self._readers:
            reader.close()
        if self._own is not None:
            self._own.remove()
            self._own = None

    def end(self) -> None:
        """The same for good: whoever still waits gets nothing."""
        self._ended = True
        self.close()


class _Reader:
    """One process."""

    def __init__(self) -> None:
        self._process: ProcessPoolExecutor | None = None

    def start(self, idle: LifoQueue[_Reader]) -> None:
        """Join those that are idle when it has imported what reading needs. Raises OSError where it cannot start."""
        self._process = child_processes.pool(1)
        try:
            self._process.submit(_ready).add_done_callback(lambda _: idle.put(self))
        except OSError:
            self.close()
            raise

    def read(self, folder: Path | None, ref: Ref, index: int, images: bool) -> Parcel:
        if self._process is None:  # the one before was killed, or closed
            self._process = child_processes.pool(1)
        try:
            return self._process.submit(_packed, folder, ref, index, images).result()
        except (BrokenProcessPool, OSError):
            self.close()
            raise

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.shutdown(wait=True, cancel_futures=True)


class Readers:
    """What one process has read, by a pool of its own or by one that it shares."""

    def __init__(self, count: int | None, pool: Pool | None = None, *, asker: str = "", cores: float = 1) -> None:
        """``count`` is how many read for this process; None: as many as turn out to be needed beside its ``cores``."""
        own = ReaderPool()
        self._pool: Pool = pool or own
        self._own = None if pool else own
        self._asker, self.chosen = asker, count
        self._threads: ThreadPoolExecutor | None = None
        self._share = 0.0
        if count != 0:
            wanted, most = (1.0, max(1.0, cores - 1)) if count is None else (count, count)
            with _survived():
                self._share = self._pool.claim(asker, wanted, most)

    @property
    def count(self) -> int:
        """How many read for this process; 0 where it reads itself."""
        return math.ceil(self._share)

    def keep_up(self, short: float) -> None:
        """Have ``short`` times as many, where nobody said how many and as far as cores are left for them."""
        if self.chosen is None:
            with _survived():
                self._share = self._pool.keep_up(self._asker, self._share, short)

    def load(self, ref: Ref, index: int, *, images: bool) -> Future[Loaded]:
        """Have a sample of a data set read, with its decoded image if wanted. It raises what reading it raised.

        WorkerDied where the process was killed.
        """
        if self._threads is None:
            self._threads = ThreadPoolExecutor(2 * limits.PROCESSES, "asks a reader")
        return self._threads.submit(self._loaded, ref, index, images)

    def _loaded(self, ref: Ref, index: int, images: bool) -> Loaded:
        with _survived():
            parcel = self._pool.read(ref, index, images)
        value = parcel.open()
        if isinstance(value, _Raised):
            raise value.error from _Trace(value.trace)
        loaded: Loaded = value
        return loaded

    def close(self) -> None:
        """Forget what was asked for, and end the processes unless others share them; more may be asked for."""
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
            self._threads = None
        if self._own is not None:
            self._own.close()


@contextmanager
def _survived() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise WorkerDied(
            "a data worker was killed, perhaps for want of memory; run the same command again to go on, "
            "with fewer --workers if it happens again"
        ) from None


class SharedPool(BaseProxy):
    """A ReaderPool in a process of its own, as others see it. Raises BrokenProcessPool where that process is gone."""

    _exposed_ = ("claim", "keep_up", "read", "end")

    def claim(self, asker: str, wanted: float, most: float) -> float:
        share: float = self._ask("claim", asker, wanted, most)
        return share

    def keep_up(self, asker: str, share: float, short: float) -> float:
        grown: float = self._ask("keep_up", asker, share, short)
        return grown

    def read(self, ref: Ref, index: int, images: bool) -> Parcel:
        parcel: Parcel = self._ask("read", ref, index, images)
        return parcel

    def end(self) -> None:
        self._ask("end")

    def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            return self._callmethod(method, arguments)
        except (EOFError, OSError) as error:
            raise BrokenProcessPool("the process that keeps the readers of this machine is gone") from error


class Host(BaseManager):
    """The process that keeps the readers of a machine, and ends with the one that starts it."""

    pool: SharedPool

    def __init__(self) -> None:
        super().__init__(ctx=child_processes.SPAWNING)
        self._folder = _folder()
        child_processes.start(self, diagnostics.attach)
        self.pool = self.readers(self._folder.path if self._folder else None)  # type: ignore[attr-defined]

    @property
    def alive(self) -> bool:
        """False where somebody killed it."""
        try:
            self.connect()
        except OSError:
            return False
        return True

    def close(self) -> None:
        """End the readers, then the process."""
        with suppress(BrokenProcessPool):
            self.pool.end()
        self.shutdown()
        if self._folder:
            self._folder.remove()


Host.register("readers", ReaderPool, SharedPool)


def load(dataset: Dataset, index: int, images: bool) -> tuple[Sample, Any, float]:
    """Return a sample without its image, that decoded if wanted, and what this took, in CPU seconds."""
    before = spent.now()
    with spent("load"):
        sample = dataset.load(index)
        image = sample.image() if images else None
    return replace(sample, image=_not_decoded), image, spent.now() - before


@dataclass(frozen=True)
class _Raised:
    """What reading a sample raised, in a reader."""

    error: BaseException
    trace: str


class _Trace(Exception):
    """Where in a reader something was raised, as the cause of the same error elsewhere."""


def _ready() -> None: ...


def _packed(folder: Path | None, ref: Ref, index: int, images: bool) -> Parcel:
    frames.keep_masks()
    try:
        value: Any = *load(_dataset(ref), index, images), spent.taken()
    except BaseException as error:  # of whatever kind: it is raised where the sample was asked for
        value = _raised(error)
    return parcels.pack(value, folder)


def _raised(error: BaseException) -> _Raised:
    trace = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - its own pickle, which others will open
    except Exception:  # a constructor may take anything
        error = BadPlugin(told(error))
    return _Raised(error, trace)


def _dataset(ref: Ref) -> Dataset:
    """Return a data set whose files are listed once for all corruptions of it."""
    return Corrupted(_plain(ref.plain), ref.corruption) if ref.corruption else _plain(ref)


@lru_cache(KEPT)
def _plain(ref: Ref) -> Dataset:
    dataset: Dataset = registry.build("dataset", ref.name, ref.arguments, where="data worker")
    return dataset


def _folder() -> ScratchFolder | None:
    memory = parcels.folder_in_memory()
    if memory is None:
        return None
    try:
        return ScratchFolder(FOLDER, memory)
    except OSError:  # full, or without locks
        return None


def _not_decoded() -> Any:
    raise AssertionError("this pass did not ask for images")
