"""Weights from files of others, without running code that may be in them."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.core.errors import MissingData

ADVICE = "save the state dict alone in a place that you trust"


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a .safetensors or a torch file, on the CPU; see ``read_checkpoint``."""
    return read_checkpoint(path)[0]


def read_checkpoint(
    path: Path, *, trusted: bool = False, advice: str = ADVICE
) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Tensors by name from a .safetensors or a torch file, on the CPU, and the ``meta`` of a training checkpoint.

    Torch files are read with ``weights_only=True``: a file that wants to run code is refused, ``advice`` says what to
    do then. ``trusted`` lifts that: whatever is in the file runs. A ``state_dict`` inside a training checkpoint is
    taken out, and the ``module.`` that DataParallel puts before every name is taken off.
    """
    if not path.is_file():
        raise MissingData(f"weights {path} do not exist")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path), {}
        except (SafetensorError, OSError) as error:
            raise MissingData(f"weights {path} cannot be read: {error}") from None
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=not trusted)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        held = f" ({named[1]})" if named else ""
        raise MissingData(
            f"weights {path} hold more than tensors and would run code when read{held}; {advice}"
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError, ImportError, AttributeError) as error:
        # The last two: a trusted file names a class of a package that is not here, or no longer has it.
        raise MissingData(f"weights {path} cannot be read: {str(error).splitlines()[0]}") from None
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise MissingData(f"weights {path} hold no state dict, wanted tensors by name")
    prefix = "module."
    if state and all(name.startswith(prefix) for name in state):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    meta = loaded.get("meta") if state is not loaded and isinstance(loaded, dict) else None
    return dict(state), meta if isinstance(meta, Mapping) else {}


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """16 hex digits of a network's tensors by name, wherever they lie; counters of batches are left out."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        if not name.endswith("num_batches_tracked"):
            total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
            total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]


def load_strictly(module: torch.nn.Module, path: Path) -> torch.nn.Module:
    """Fill a network from a file; a name or shape that does not fit is refused, never skipped."""
    return fill(module, read_state_dict(path), path)


def fill(
    module: torch.nn.Module, state: Mapping[str, Tensor], path: Path, *, unused: tuple[str, ...] = ()
) -> torch.nn.Module:
    """Fill a network with tensors read from ``path``; a name or shape that does not fit is refused, never skipped.

    Only names that begin with one of ``unused`` may be left over. Layers that rename their own old keys do so.
    """
    expected = module.state_dict()
    for name, tensor in state.items():
        if name in expected and tensor.shape != expected[name].shape:
            raise MissingData(
                f"weights {path}: {name} is {list(tensor.shape)}, the network wants {list(expected[name].shape)}"
            )
    result = module.load_state_dict(state, strict=False)  # it reports what the next lines refuse
    surplus = [name for name in result.unexpected_keys if not name.startswith(unused)]
    parts = [
        f"{len(names)} {what} (first: {min(names)})"
        for what, names in (("missing", result.missing_keys), ("surplus", surplus))
        if names
    ]
    if parts:
        raise MissingData(f"weights {path} do not fit the network: {', '.join(parts)}")
    return module
