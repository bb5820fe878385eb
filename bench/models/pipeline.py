"""Images read and put through a network by a thread of their own, a few ahead of who scores and counts them.

Reading in other processes, copies to the device and the forward pass go on while the image before is scored and
counted, and while the counts of a shard are written. What is ahead is bounded, so memory does not grow with the images.
No number depends on it: each image is looked at in the order that it is asked for, and one thread at a time uses the
network.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import groupby, islice

import torch

from bench.api import Network, Prediction, Quantity, Sample, ShardNetwork, View
from bench.core.cpu_time import spent
from bench.models import inference, multiply_adds
from bench.models.numerics import Numerics
from bench.suite.loader import Loader

Block = tuple[int, ...]  # samples by index

PATIENCE = 0.05  # of the time of a network: what it may wait for readers before there are more of them
ANNOUNCED = 64  # samples that readers are told of where images are asked for one by one
AHEAD = 2  # images that wait or are under way beside the one that is scored


@dataclass(frozen=True, eq=False)
class Seen:
    """One sample as the network sees it, or what the network raised at it."""

    sample: Sample
    looked: tuple[Sequence[tuple[View, Prediction]], Prediction] | Exception
    load: float = 0.0  # CPU seconds
    predict: float = 0.0
    together: Sequence[Sample] = ()  # that went through the network in the same passes, this one among them

    @property
    def id(self) -> str:
        return self.sample.id

    @property
    def predictions(self) -> tuple[Sequence[tuple[View, Prediction]], Prediction]:
        """The views with what the network says about each, and all of it as one prediction. Raise what it raised."""
        if isinstance(self.looked, Exception):
            raise self.looked
        return self.looked


class Pipeline:
    """One network over one data set."""

    def __init__(self, network: Network, loader: Loader, numerics: Numerics, seed: int) -> None:
        self.network, self.loader = network, loader
        self._numerics, self._seed = numerics, seed
        self._asked: dict[Quantity, None] = {}
        self._begun: deque[tuple[Block, Future[list[Seen]]]] = deque()
        state = network.model.state
        self._ordered = state == "ordered"
        self._next: int | None = None  # the sample that an ordered network is ready for
        self._batch = numerics.batch if network.batched and state == "none" else 1
        self._waited, self._used = 0.0, 0.0  # seconds, for readers and with the network
        self._begins = True  # what the first image waits for, such as a list of all files, says nothing of the others
        self._thread: ThreadPoolExecutor | None = None
        # A network that must see a shard together is prepared for one at a time, and one with a state sees no image
        # while methods may ask it again about the one before; several threads of torch have the cores for themselves,
        # and only those of the main thread are accounted for.
        waits = isinstance(network, ShardNetwork) or state != "none"
        if not waits and (numerics.device != "cpu" or numerics.threads == 1):
            device = torch.cuda.current_device() if numerics.device == "cuda" else None
            self._thread = ThreadPoolExecutor(1, "network", _begin, (numerics.threads, device))

    def images(self, indices: Sequence[int], ahead: Sequence[int] = ()) -> Iterator[Seen]:
        """Yield ``indices`` in order; ``ahead`` will be asked for next and may be begun."""
        if self._ordered:
            for index in indices:
                yield self._after_those_before(index, max(indices))
            return
        if self._thread is None:
            yield from self._in_this_thread(indices, ahead)
            return
        asked = self._blocks(indices)
        order, bound = [*asked, *self._blocks(ahead)], 1 + max(1, AHEAD // self._batch)
        for position, block in enumerate(asked):
            self._drop_unless(block)
            for later in range(position + len(self._begun), min(position + bound, len(order))):
                rest = [index for unread in order[later + 1 :] for index in unread]
                self._begun.append((order[later], self._thread.submit(self._seen, order[later], rest)))
            yield from self._begun.popleft()[1].result()

    def look_again(self, seen: Seen, start: int, stop: int) -> Seen:
        """Look at a sample once more, the first of a range, in the thread that asks."""
        if self._ordered:
            return self._after_those_before(start, start)
        if isinstance(self.network, ShardNetwork):  # it may have let go of what it was prepared for
            inference.prepare(self.network, list(self.loader.samples(range(start, stop))), self._numerics)
        again = self._looked(seen.together)
        return next(each for each in again if each.sample is seen.sample)

    def multiply_adds(self, sample: Sample) -> int:
        """Return how many the network takes for an image; 0 where nobody can tell."""
        self._next = None
        return multiply_adds.of_image(self.network, sample, self._numerics)

    def readers_short(self) -> float:
        """Return how many times as many readers would have kept the network busy since this was asked before."""
        waited, used, self._waited, self._used = self._waited, self._used, 0.0, 0.0
        return 1 + waited / used if used and waited > PATIENCE * used else 1.0

    def close(self) -> None:
        """End the thread, when it has finished what it is at."""
        self._drop_unless(None)
        if self._thread is not None:
            self._thread.shutdown(wait=True)

    def _after_those_before(self, index: int, last: int) -> Seen:
        """Look at a sample in the state that all samples before it leave, which may have to be shown once more.

        ``last`` is the last one that will be asked for.
        """
        if self._next is None or index < self._next:
            self.network.reset()
            self._next = 0
        while True:
            before, number = self.loader.cpu_seconds, self._next
            (sample,) = self.loader.samples([number], range(number + 1, min(number + ANNOUNCED, last + 1)))
            (seen,) = self._looked([sample], self.loader.cpu_seconds - before)
            self._next = None if isinstance(seen.looked, Exception) else number + 1
            if self._next is None or number == index:
                return seen

    def _in_this_thread(self, indices: Sequence[int], ahead: Sequence[int]) -> Iterator[Seen]:
        before = self.loader.cpu_seconds
        samples = inference.prepared(self.network, self.loader.samples(indices, ahead), self._numerics)
        for block in self._blocks(indices):
            together = list(islice(samples, len(block)))
            load, before = self.loader.cpu_seconds - before, self.loader.cpu_seconds
            yield from self._looked(together, load)

    def _blocks(self, indices: Sequence[int]) -> list[Block]:
        """Return the images that go through the network together: always the same ones, wherever a range begins."""
        return [tuple(block) for _, block in groupby(indices, key=lambda index: index // self._batch)]

    def _seen(self, block: Block, rest: Sequence[int]) -> list[Seen]:
        before, began = self.loader.cpu_seconds, time.perf_counter()
        together = list(self.loader.samples(block, rest))
        read = time.perf_counter()
        seen = self._looked(together, self.loader.cpu_seconds - before)
        self._waited += 0.0 if self._begins else read - began
        self._begins = False
        self._used += time.perf_counter() - read
        return seen

    def _looked(self, together: Sequence[Sample], load: float = 0.0) -> list[Seen]:
        """Return what the network says of some samples; they share the seconds. What it raises is the first one's."""
        before = spent.now()
        with spent("predict"):
            try:
                looked = inference.look_together(self.network, together, self._numerics, self._seed, self._asked)
            except Exception as error:
                return [Seen(together[0], error, load, spent.now() - before)]
        seconds = load / len(together), (spent.now() - before) / len(together)
        return [Seen(sample, each, *seconds, together) for sample, each in zip(together, looked, strict=True)]

    def _drop_unless(self, block: Block | None) -> None:
        """Forget what was begun unless it begins with the images that are asked for now."""
        if self._begun and self._begun[0][0] != block:
            for _, begun in self._begun:
                begun.cancel()
            wait([begun for _, begun in self._begun])
            self._begun.clear()


def _begin(threads: int, device: int | None) -> None:
    """Set the thread up: torch keeps these apart for each."""
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    if device is not None:
        torch.cuda.set_device(device)
