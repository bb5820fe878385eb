"""Forms that checkpoints of others have, made of a state dict: those that are understood, and those that are not."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

State = Mapping[str, Tensor]
Write = Callable[[State, Path], Path]  # into a new folder; returns what a suite names


def _saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def _prefixed(prefix: str) -> Write:
    return lambda state, folder: _saved({prefix + name: tensor for name, tensor in state.items()}, folder / "w.pth")


def _zeros(state: State) -> dict[str, Tensor]:
    return {name: torch.zeros_like(tensor) for name, tensor in state.items()}


def _lightning(state: State, folder: Path) -> Path:
    content = {
        "epoch": 7,
        "global_step": 100,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {f"model.{name}": tensor for name, tensor in state.items()} | {"criterion.weight": torch.ones(3)},
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'miou'}": {"best_model_score": torch.tensor(0.7)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}],
        "lr_schedulers": [{"last_epoch": 7}],
        "hyper_parameters": {"lr": 0.1, "name": "net"},
    }
    return _saved(content, folder / "last.ckpt")


def _detectron2(state: State, folder: Path) -> Path:
    optimiser = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
    return _saved(
        {"model": dict(state), "optimizer": optimiser, "scheduler": {"last_epoch": 9}, "iteration": 9},
        folder / "model_final.pth",
    )


def _average_beside(state: State, folder: Path) -> Path:
    return _saved({"model": dict(state), "model_ema": _zeros(state), "epoch": 3}, folder / "w.pth")


def _average_in_names(state: State, folder: Path) -> Path:
    copies = {f"model_ema.{name}": tensor for name, tensor in _zeros(state).items()}
    return _saved({f"model.{name}": tensor for name, tensor in state.items()} | copies, folder / "w.pth")


def _sharded(state: State, folder: Path, *, ending: str = "safetensors") -> Path:
    names = sorted(state)
    halves = {
        f"model-0000{number}-of-00002.{ending}": {name: state[name].contiguous() for name in part}
        for number, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), 1)
    }
    for file, tensors in halves.items():
        save_file(tensors, folder / file) if ending == "safetensors" else torch.save(tensors, folder / file)
    index = folder / f"model.{ending}.index.json"
    places = {name: file for file, tensors in halves.items() for name in tensors}
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index


def _safetensors(state: State, folder: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "w.safetensors")
    return folder / "w.safetensors"


def _half(state: State, folder: Path, dtype: torch.dtype = torch.float16) -> Path:
    content = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    return _saved(content, folder / "w.pth")


def _zipped(state: State, folder: Path, *, name: str = "weights.zip") -> Path:
    inner = _saved({"model": dict(state)}, folder / "model_final.pth")
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.write(inner, "swin_b_1dl/model_final.pth")
        archive.writestr("swin_b_1dl/config.yaml", "VERSION: 2\n")
        archive.writestr("__MACOSX/swin_b_1dl/._model_final.pth", b"\0\5\x16\7")
    inner.unlink()
    return folder / name


def _folder(state: State, folder: Path) -> Path:
    (folder / "swin_b_1dl").mkdir()
    _saved({"model": dict(state)}, folder / "swin_b_1dl" / "model_final.pth")
    (folder / "swin_b_1dl" / "config.yaml").write_text("VERSION: 2\n")
    return folder / "swin_b_1dl"


def _old(state: State, folder: Path) -> Path:
    torch.save(dict(state), folder / "w.pth", _use_new_zipfile_serialization=False)
    return folder / "w.pth"


READ: Mapping[str, Write] = {  # each holds the state itself, and is to fill the network with it
    "plain": lambda state, folder: _saved(dict(state), folder / "w.pth"),
    "of torch 1.5": _old,
    **{f"prefix {prefix}": _prefixed(prefix) for prefix in ("module.", "_orig_mod.", "model.", "teacher.")},
    "prefix module.model._orig_mod.": _prefixed("module.model._orig_mod."),
    "Lightning": _lightning,
    "detectron2": _detectron2,
    "an average beside": _average_beside,
    "an average in names": _average_in_names,
    "safetensors": _safetensors,
    "shards": _sharded,
    "shards of torch": lambda state, folder: _sharded(state, folder, ending="bin"),
    "half": _half,
    "bfloat16": lambda state, folder: _half(state, folder, torch.bfloat16),
    "zip": _zipped,
    "zip by another name": lambda state, folder: _zipped(state, folder, name="pebal"),
    "folder": _folder,
}
LOSSY = ("half", "bfloat16")  # forms that do not hold every digit


def _text(text: bytes, name: str = "w.pth") -> Write:
    def write(_: State, folder: Path) -> Path:
        (folder / name).write_bytes(text)
        return folder / name

    return write


class Evil:
    """What prints when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


def _lost_shard(state: State, folder: Path) -> Path:
    index = _sharded(state, folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    return index


def _shard_elsewhere(state: State, folder: Path) -> Path:
    index = _sharded(state, folder)
    index.write_text(index.read_text().replace("model-00002", "../model-00002"))
    return index


def _two_in_zip(state: State, folder: Path) -> Path:
    path = _zipped(state, folder)
    inner = _saved(dict(state), folder / "other.pth")
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(inner, "other.pth")
    return path


def _two_networks(state: State, folder: Path) -> Path:
    both = {f"{who}.{name}": tensor for who in ("student", "teacher") for name, tensor in state.items()}
    return _saved({"state_dict": both}, folder / "w.pth")


def _truncated(state: State, folder: Path) -> Path:
    path = _saved(dict(state), folder / "w.pth")
    path.write_bytes(path.read_bytes()[:-100])
    return path


def _whole_numbers(state: State, folder: Path) -> Path:
    return _saved({name: tensor.to(torch.int8) for name, tensor in state.items()}, folder / "w.pth")


REFUSED: Mapping[str, tuple[Write, str]] = {  # with words of the one line that says what it is
    "Git LFS": (
        _text(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n"),
        "a Git LFS pointer.*git lfs pull",
    ),
    "git-annex": (_text(b"../.git/annex/objects/xy/SHA256E-s1--0.pth\n"), "a git-annex pointer.*git annex get"),
    "page of Drive": (
        _text(b"<!DOCTYPE html><html><title>Google Drive - Virus scan warning</title></html>", "pebal"),
        "an HTML page .*Google Drive sent this page.*gdown",
    ),
    "page": (_text(b"<html><head><title>Sign in</title></head></html>"), "an HTML page .*Sign in.*download"),
    "error of a store": (_text(b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"), "an XML text"),
    "JSON": (_text(b'{"message": "Not Found"}'), "a JSON text"),
    "empty": (_text(b""), "an empty file; download the file again"),
    "truncated": (_truncated, "cut off"),
    "lost shard": (_lost_shard, "model-00002-of-00002.safetensors do not exist.*copy all of them"),
    "shard elsewhere": (_shard_elsewhere, r"the index names '\.\./model-00002.*wanted a file beside it"),
    "two in a zip": (_two_in_zip, r"a zip with 2 files of weights \(other\.pth, swin_b_1dl/model_final\.pth\)"),
    "two networks": (_two_networks, r"fit the network behind student\. and behind teacher\.; say which is meant"),
    "code": (lambda state, folder: _saved({"model": dict(state), "x": Evil()}, folder / "w.pth"), "would run code"),
    "bare pickle": (
        lambda _, folder: _text(pickle.dumps(Evil(), 2))({}, folder),
        "would run code when read|hold more than tensors|cannot be read",
    ),
    "optimiser alone": (
        lambda _, folder: _saved({"optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}, folder / "w.pth"),
        "hold no state dict, wanted tensors by name; found optimizer",
    ),
    "converted to int8": (_whole_numbers, "is int8, the network wants float32"),
}
