"""Weights from files of others, without running code that may be in them."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

from bench.errors import MissingData


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a .safetensors or a torch file, on the CPU.

    Torch files are read with ``weights_only=True``: a file that wants to run code is refused. A ``state_dict`` inside a
    training checkpoint is taken out, and the ``module.`` that DataParallel puts before every name is taken off.
    """
    if not path.is_file():
        raise MissingData(f"weights {path} do not exist")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise MissingData(f"weights {path} cannot be read: {error}") from None
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise MissingData(
            f"weights {path} hold more than tensors and would run code when read; save the state dict alone "
            "in a place that you trust"
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise MissingData(f"weights {path} cannot be read: {str(error).splitlines()[0]}") from None
    found = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise MissingData(f"weights {path} hold no state dict, wanted tensors by name")
    prefix = "module."
    if found and all(name.startswith(prefix) for name in found):
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return dict(found)


def load_strictly(module: torch.nn.Module, path: Path) -> torch.nn.Module:
    """Fill a network from a file; a name or shape that does not fit is refused, never skipped."""
    state = read_state_dict(path)
    wanted = module.state_dict()
    missing, surplus = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or surplus:
        parts = [
            f"{len(names)} {what} (first: {names[0]})"
            for what, names in (("missing", missing), ("surplus", surplus))
            if names
        ]
        raise MissingData(f"weights {path} do not fit the network: {', '.join(parts)}")
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            raise MissingData(
                f"weights {path}: {name} is {list(tensor.shape)}, the network wants {list(wanted[name].shape)}"
            )
    module.load_state_dict(state)
    return module
