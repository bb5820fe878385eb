"""Weights from files of others, without running code that may be in them."""

from __future__ import annotations

import hashlib
import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.core import weight_files, weight_names
from bench.core.disguised_files import content_of, disguise
from bench.core.errors import MissingData

ADVICE = "save the state dict alone in a place that you trust"
# Packages whose objects stand beside weights as a record of the training. None of them is imported: see ``_stand_in``.
RECORDS = (
    *("addict", "argparse", "datetime", "easydict", "enum", "lightning", "lightning_fabric", "lightning_utilities"),
    *("ml_collections", "mmcv", "mmengine", "mmseg", "numpy", "omegaconf", "pathlib", "pytorch_lightning"),
    *("torchmetrics", "typing", "yacs"),
)
PLAIN_TYPES = frozenset(
    f"builtins.{name}" for name in ("bool", "bytes", "dict", "float", "int", "list", "str", "tuple")
)
MOST_RECORDS = 200  # different ones in one file
NESTED = 3  # levels at which weights are looked for in a checkpoint
_SIMPLE = (Tensor, str, bytes, int, float, bool, type(None))

log = logging.getLogger(__name__)


class _Record:
    """An object beside the weights, of a class that is not asked for: it keeps nothing and does nothing."""

    def __new__(cls, *_: object, **__: object) -> _Record:
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def read_state_dict(path: Path, *, part: str = "") -> dict[str, Tensor]:
    """Tensors by name from a safetensors or a torch file, on the CPU; see ``read_checkpoint``."""
    return read_checkpoint(path, part=part)[0]


def read_checkpoint(
    path: Path, *, trusted: bool = False, advice: str = ADVICE, part: str = ""
) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Tensors by name from a safetensors or a torch file, on the CPU, and the ``meta`` of a training checkpoint.

    What a file is is told by its content, not by its name. ``path`` may also be an index of shards, which lie beside
    it, a zip with one file of weights, or a folder with one. Torch files are read with ``weights_only=True``: a file
    that wants to run code is refused, ``advice`` says what to do then. ``trusted`` lifts that: whatever is in the file
    runs. The weights are taken out of a training checkpoint, and what DataParallel and torch.compile add to names is
    taken off. ``part`` says which weights are meant where a file holds several: an entry of the checkpoint, such as
    ``ema_state_dict``, or what their names begin with, such as ``teacher.``.
    """
    path = weight_files.found(path)
    content = content_of(path)
    if content is not None and content.kind == "zip":
        with weight_files.unzipped(path) as inside:
            return read_checkpoint(inside, trusted=trusted, advice=advice, part=part)
    loaded = _loaded(path, trusted, advice)
    state = _weights(loaded, path, part)
    if part and part not in _entries(loaded):
        chosen = weight_names.selected(state, part)
        if not chosen:
            raise MissingData(
                f"weights {path} have no part {part!r}: it is no entry of the file, and no name begins so; names begin"
                f" with {weight_names.groups(state)}"
            )
        state = chosen
    meta = loaded.get("meta") if isinstance(loaded, Mapping) else None
    return weight_names.unwrapped(state), meta if isinstance(meta, Mapping) else {}


def _loaded(path: Path, trusted: bool, advice: str) -> Any:
    """Return whatever a file holds; of an index the tensors of all its shards."""
    shards = weight_files.shards_of(path)
    if shards is None:
        return _of_file(path, trusted, advice)
    merged: dict[str, Tensor] = {}
    for shard, names in shards.items():
        held = _weights(_of_file(shard, trusted, advice), shard, "")
        if absent := sorted(names - held.keys()):
            raise MissingData(
                f"weights {shard} lack {absent[0]}, which {path.name} looks for there, and {len(absent) - 1} more;"
                " download the shard again"
            )
        merged |= {name: held[name] for name in sorted(names)}
    return merged


def _of_file(path: Path, trusted: bool, advice: str) -> Any:
    content = content_of(path)
    if content is not None and content.kind == "safetensors":
        return _safetensors(path)
    if instead := disguise(path, "torch", "pickle", "safetensors"):
        cure = {"torchscript": "; name it by the model torchscript", "pt2": "; name it by the model exported"}
        raise MissingData(f"weights {path} cannot be read: {instead}{cure.get(content.kind, '') if content else ''}")
    return _torch(path, trusted, advice)


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, KeyError) as error:  # a KeyError is a type of numbers that torch has not
        raise MissingData(f"weights {path} cannot be read: {error}; is the file cut off?") from None


def _torch(path: Path, trusted: bool, advice: str) -> Any:
    """Whatever a torch file holds. Objects that are a mere record of the training are left out; see ``RECORDS``."""
    records: dict[str, type[_Record]] = {}
    while True:
        try:
            # A file that is open: torch takes whatever is named .safetensors for one.
            with torch.serialization.safe_globals(list(records.values())), path.open("rb") as file:
                return torch.load(file, map_location="cpu", weights_only=not trusted)
        except pickle.UnpicklingError as error:
            match = re.search(r"GLOBAL (\S+)", str(error))
            named = match[1] if match else ""
            record = None if trusted else _stand_in(named)
            if record is None or named in records or len(records) == MOST_RECORDS:
                raise MissingData(f"weights {path} {_objection(error, named)}; {advice}") from None
            records[named] = record
        except MemoryError:
            raise
        except Exception as error:
            # Of any class: torch names no bound on what a damaged file raises, and a trusted one runs what it likes.
            cure = "" if trusted else "; is the file cut off?"
            raise MissingData(f"weights {path} cannot be read: {_first_line(error)}{cure}") from None


def _stand_in(named: str) -> type[_Record] | None:
    """A class that torch's reader takes for ``named``, of a package of records; None for any other.

    What the file says of such an object is read as data, and the object is nothing: no code of the package runs, nor
    any that the file names.
    """
    module, _, name = named.rpartition(".")
    plain = f"builtins.{named}" in PLAIN_TYPES and not module  # torch leaves the module of builtins out
    if not plain and module.partition(".")[0] not in RECORDS:
        return None
    made: type[_Record] = type(name, (_Record,), {"__module__": module or "builtins", "__qualname__": name})
    return made


def _objection(error: Exception, named: str) -> str:
    if named.startswith("torch.nn.modules."):
        return f"hold a whole network as Python objects ({named}), which would run code when read"
    if named:
        return f"hold more than tensors and would run code when read ({named})"
    return f"hold more than tensors: {_first_line(error)}"


def _weights(loaded: Any, path: Path, part: str) -> dict[str, Tensor]:
    """The tensors by name in what a file holds, or in the entry ``part`` of it."""
    if not isinstance(loaded, Mapping):
        held = "one tensor without a name" if isinstance(loaded, Tensor) else type(loaded).__name__
        raise MissingData(f"weights {path} hold no state dict but {held}, wanted tensors by name; {ADVICE}")
    entries = _entries(loaded)
    if part in entries:
        return entries[part]
    tensors = {name: value for name, value in loaded.items() if isinstance(value, Tensor) and isinstance(name, str)}
    if tensors and all(isinstance(value, _SIMPLE) for value in loaded.values()):
        return tensors
    candidates = weight_names.entries_of(entries)
    if not candidates:
        if any(isinstance(value, _Record) and type(value).__module__.startswith("numpy") for value in loaded.values()):
            raise MissingData(f"weights {path} hold NumPy arrays, wanted tensors; save them by torch.from_numpy")
        held = ", ".join(f"{str(name)[:40]} ({type(value).__name__})" for name, value in list(loaded.items())[:4])
        raise MissingData(f"weights {path} hold no state dict, wanted tensors by name; found {held or 'nothing'}")
    if len(candidates) > 1:
        raise MissingData(f"weights {path} hold several networks, {', '.join(candidates)}; {_choose(candidates[0])}")
    others = [
        entry
        for entry in entries
        if entry != candidates[0] and "." not in entry and not weight_names.is_of_training(entry)
    ]
    if others or candidates[0] not in weight_names.ENTRIES:
        _say(path, f"taken from the entry {candidates[0]}" + (f", not from {', '.join(others)}" if others else ""))
    return entries[candidates[0]]


def _entries(loaded: Any, depth: int = NESTED) -> dict[str, dict[str, Tensor]]:
    """The parts of a checkpoint that hold nothing but tensors by name; what lies deeper goes by names with dots."""
    entries: dict[str, dict[str, Tensor]] = {}
    for name, value in loaded.items() if isinstance(loaded, Mapping) else ():
        if not isinstance(name, str) or not isinstance(value, Mapping) or not value:
            continue
        tensors = {key: each for key, each in value.items() if isinstance(key, str) and isinstance(each, Tensor)}
        if tensors and all(isinstance(each, _SIMPLE) for each in value.values()):
            entries[name] = tensors
        elif depth > 1 and not tensors:
            inner = _entries(value, depth - 1)
            entries |= {f"{name}.{key}": each for key, each in inner.items()}
    return entries


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """16 hex digits of a network's tensors by name, wherever they lie; counters of batches are left out."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        if not name.endswith(weight_names.COUNTER):
            total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
            total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]


def load_strictly(
    module: torch.nn.Module, path: Path, *, part: str = "", unused: tuple[str, ...] = ()
) -> torch.nn.Module:
    """Fill a network from a file; a name or shape that does not fit is refused, never skipped.

    ``part`` and ``unused`` are those of ``read_checkpoint`` and ``fill``.
    """
    return fill(module, read_state_dict(path, part=part), path, unused=unused)


def fill(
    module: torch.nn.Module, state: Mapping[str, Tensor], path: Path, *, unused: tuple[str, ...] = ()
) -> torch.nn.Module:
    """Fill a network with tensors read from ``path``; a name, shape or type that does not fit is refused, not skipped.

    Where all names of the network stand behind one prefix, such as ``network.``, it is taken off, and what stands
    beside it is left; where they do behind several, which one is meant must be said. Second copies of the weights, as
    averages over a training are, are left too. Else only names that begin with one of ``unused`` may be left over.
    Layers that rename their own old keys do so.
    """
    own = weight_names.unwrapped({name: (name, tensor) for name, tensor in module.state_dict().items()})
    shapes = {name: tensor.shape for name, (_, tensor) in own.items()}
    match = weight_names.matched(
        state, own, lambda theirs, name: state[theirs].shape == shapes[name]
    ) or weight_names.matched(state, own, lambda theirs, name: True)
    match = match or weight_names.Match(weight_names.nearest(state, own))
    if match.others:
        prefixes = " and behind ".join([match.prefix, *match.others])
        raise MissingData(f"weights {path} fit the network behind {prefixes}; {_choose(match.prefix)}")
    if match.note:
        _say(path, match.note)
    skipped = set(match.unused)
    renamed = {name.removeprefix(match.prefix): tensor for name, tensor in state.items() if name not in skipped}
    for name, tensor in renamed.items():
        if name in own:
            _check_tensor(path, name, tensor, own[name][1])
    result = module.load_state_dict(  # it reports what the next lines refuse
        {own[name][0] if name in own else name: tensor for name, tensor in renamed.items()}, strict=False
    )
    surplus = [name for name in result.unexpected_keys if not name.startswith(unused)]
    parts = [
        f"{len(names)} {what} (first: {min(names)})"
        for what, names in (("missing", result.missing_keys), ("surplus", surplus))
        if names
    ]
    if parts:
        start = min(surplus, default="").partition(".")[0] + "."
        cure = "" if result.missing_keys else f"; load_strictly(..., unused=({start!r},)) leaves them out"
        raise MissingData(f"weights {path} do not fit the network: {', '.join(parts)}{cure}")
    return module


def _check_tensor(path: Path, name: str, tensor: Tensor, wanted: Tensor) -> None:
    """Refuse a shape that does not fit, and numbers that would not be the same in the network."""
    if tensor.shape != wanted.shape:
        raise MissingData(f"weights {path}: {name} is {list(tensor.shape)}, the network wants {list(wanted.shape)}")
    other_kind = kind_of(tensor.dtype) != kind_of(wanted.dtype) and not name.endswith(weight_names.COUNTER)
    if other_kind or tensor.layout != torch.strided or tensor.is_meta:
        held = str(tensor.dtype).removeprefix("torch.") if tensor.layout == torch.strided else str(tensor.layout)
        raise MissingData(
            f"weights {path}: {name} is {'empty (meta)' if tensor.is_meta else held}, the network wants"
            f" {str(wanted.dtype).removeprefix('torch.')}; save the weights as they were before they were converted"
        )


def kinds(path: Path) -> dict[str, str]:
    """Return the kind of numbers of each tensor in a file, by name; see ``kind_of``. Reads none of them."""
    content = content_of(path)
    if content is not None and content.kind == "safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            types = {name: str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118 - it is no dict
        by_letter = {"F": "float", "C": "complex", "I": "whole", "U": "whole"}
        return {
            name: "bool" if held == "BOOL" else "float" if held == "BF16" else by_letter.get(held[0], held)
            for name, held in types.items()
        }
    with path.open("rb") as file:
        loaded = torch.load(file, map_location="meta", weights_only=True)
    return {name: kind_of(tensor.dtype) for name, tensor in loaded.items() if isinstance(tensor, Tensor)}


def kind_of(dtype: torch.dtype) -> str:
    """``complex``, ``float``, ``bool``, ``quantized`` or ``whole``: numbers of one kind can stand for each other."""
    if dtype.is_complex or dtype.is_floating_point:
        return "complex" if dtype.is_complex else "float"
    name = str(dtype).removeprefix("torch.")
    return "bool" if name == "bool" else "quantized" if name.startswith("q") else "whole"


def _choose(part: str) -> str:
    return f"say which is meant, such as load_strictly(network, weights, part={part!r}), or part: {part} in a suite"


def _say(path: Path, note: str) -> None:
    log.warning("weights %s: %s", path, note)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
