"""The multiplications with an addition that a network takes for an image, by torch's own counter."""

from __future__ import annotations

import logging
from weakref import WeakKeyDictionary

import torch
from torch.utils.flop_counter import FlopCounterMode

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
        with FlopCounterMode(display=False) as counter, inference.precision(numerics):
            for view in views:
                network.predict([view])
    return int(counter.get_total_flops()) // 2  # it counts a multiplication and an addition as two
