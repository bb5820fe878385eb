"""Arrays as a caller in Python has them, NumPy or torch on any device, as NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import BadScores

if TYPE_CHECKING:
    from torch import Tensor

Array = Union[NDArray[Any], "Tensor"]
"""Numbers of any type, NumPy or torch, on any device."""


def numpy_of(name: str, array: Array) -> NDArray[Any]:
    """Return the numbers on the CPU; bfloat16, which NumPy does not have, as float32. Raises BadScores for no array."""
    if isinstance(array, np.ndarray):
        return array
    if not (hasattr(array, "detach") and hasattr(array, "cpu")):
        raise BadScores(f"{name} are {type(array).__name__}, wanted a NumPy array or a torch tensor")
    tensor = array.detach().cpu()
    numbers: NDArray[Any] = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    return numbers


def whole_numbers(name: str, array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return labels as uint8. Raises BadScores for fractions, and for values beyond 0..255."""
    if array.dtype == np.bool_ or array.dtype == np.uint8:
        return np.ascontiguousarray(array, np.uint8)
    if array.dtype.kind not in "ui":
        raise BadScores(f"{name} are {array.dtype}, wanted whole numbers")
    if array.size and (array.min() < 0 or array.max() > np.iinfo(np.uint8).max):
        raise BadScores(f"{name} hold values beyond 0..255, from {array.min()} to {array.max()}")
    return np.ascontiguousarray(array, np.uint8)
