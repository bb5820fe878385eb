"""The multiplications with an addition that a network takes for an image, by torch's own formulas."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.api import Network, Sample, ShardNetwork
from bench.models import inference
from bench.models.numerics import Numerics

log = logging.getLogger(__name__)

_KNOWN: WeakKeyDictionary[Network, dict[tuple[int, int], int]] = WeakKeyDictionary()  # by the size of the image


def of_image(network: Network, sample: Sample, numerics: Numerics) -> int:
    """Return how many an image takes, all its views together; 0 where nobody can tell.

    Convolutions, products of matrices and attention count. The image goes through the network once more, whose answer
    is dropped; of a size that was counted before nothing is computed. Programs, what ONNX Runtime computes and what is
    compiled or replayed as a graph show no operation. A network with a state is to be reset before it goes on.
    """
    if isinstance(network, ShardNetwork) or numerics.compile or numerics.graphs:
        return 0
    known = _KNOWN.setdefault(network, {})
    if sample.size not in known:
        try:
            known[sample.size] = _counted(network, sample, numerics)
        except Exception as error:  # of somebody's network: it is no reason to fail a cell
            log.info("model %s: its multiply-adds cannot be counted: %s", network.model.name, error)
            known[sample.size] = 0
    return known[sample.size]


def _counted(network: Network, sample: Sample, numerics: Numerics) -> int:
    rule = network.model.inference
    # The counter's hooks are on every module of the process, so that no other thread may use one meanwhile.
    with inference.IN_USE, torch.no_grad():
        if network.model.state != "none":
            network.reset()
        views = list(inference.views(sample, rule, numerics.device))
        counter = _Counter()
        with counter, inference.precision(numerics):
            for view in views:
                network.predict([view])
    return counter.operations // 2  # a multiplication and an addition are two


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch types neither
    """Adds up the operations of whatever torch computes inside, as ``torch.utils.flop_counter`` does."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    def count(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        formula = flop_registry.get(func.overloadpacket)
        if formula is None:
            with self:
                parts = func.decompose(*args, **(kwargs or {}))
            if parts is not NotImplemented:
                return parts
        result = func(*args, **(kwargs or {}))
        if formula is not None:
            self.operations += int(formula(*args, **(kwargs or {}), out_val=result))
        return result


# A class that defines this by its name is wrapped by torch so that its first call imports the compiler: five seconds.
_Counter.__torch_dispatch__ = _Counter.count  # type: ignore[method-assign, assignment]
