"""``bench.weights``, as files of networks import it that were written for version 0.1."""

import warnings

from bench.core.weights import fill as fill
from bench.core.weights import load_strictly as load_strictly
from bench.core.weights import read_checkpoint as read_checkpoint
from bench.core.weights import read_state_dict as read_state_dict
from bench.core.weights import tensors_digest as tensors_digest

warnings.warn(
    "bench.weights is deprecated and goes with the next version: import bench.core.weights",
    DeprecationWarning,
    stacklevel=2,
)
