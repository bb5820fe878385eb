"""A network as a .pt2 file, as torch.export.save writes it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import File, Network
from bench.core import files, untrusted_arrays
from bench.core.archives import BROKEN, Refused
from bench.core.disguised_files import disguise
from bench.core.errors import BadPlugin, MissingData
from bench.core.untrusted_arrays import Unreadable
from bench.models import preprocessing
from bench.models.preprocessing import FromPixels, PixelNetwork, last_line

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.models.preprocessing import Returned

PASSED_OVER = ("extra/", "extra_files/")  # texts of the author
OLD = "serialized_exported_program.json"  # in archives of torch before 2.8, whose members lie in no folder
KNOWN_OLD = (r"version", re.escape(OLD), r"serialized_(state_dict|constants|example_inputs)\.pt")
KNOWN = (  # members of a program, below the folder that all of them lie in
    r"archive_format|archive_version|byteorder|version|\.data/(version|serialization_id)|\.format_version|\.storage_alignment",
    r"models/[\w.-]+\.json",
    r"data/weights/(weight_\d+|[\w.-]+_weights_config\.json|[\w.-]+\.pt)",
    r"data/constants/(tensor_\d+|custom_obj_\d+|opaque_obj_\d+|[\w.-]+_constants_config\.json|[\w.-]+\.pt)",
    r"data/sample_inputs/[\w.-]+\.pt",
)


@dataclass(frozen=True)
class Exported(FromPixels):
    """A ``file`` of torch.export: pixels [1, 3, h, w] to a tensor, a tuple in the order of ``outputs``, or a dict.

    Pickled weights and objects and machine code in it are refused before torch, which would run them, reads the file.
    What is left still holds expressions that torch evaluates: it is to be trusted like a suite.
    """

    name = "exported"
    source = "a file written by torch.export.save"

    file: File

    def check(self) -> None:
        if not Path(self.file).is_file():
            raise MissingData(f"model exported: {self.file} does not exist; paths in a suite are relative to its file")

    def digest(self) -> str:
        parts = files.digest(Path(self.file)), files.digest(Path(preprocessing.__file__))
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def load(self, device: str) -> Network:
        import torch

        self.check()
        archive = checked(Path(self.file))
        try:
            program = torch.export.load(archive)
            if device != "cpu":
                from torch.export.passes import move_to_device_pass

                program = move_to_device_pass(program, device)
            module = program.module()
        except MemoryError:
            raise
        except Exception as error:  # of any class: torch names no bound on what a damaged program raises
            raise MissingData(f"model exported: {self.file} cannot be read: {last_line(error)}") from None
        images = [node.meta["val"] for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
        if len(images) != 1 or images[0].ndim != 4:
            shapes = ", ".join(str(list(image.shape)) for image in images)
            raise BadPlugin(f"model exported: the inputs of {self.file} are {shapes}, wanted one: float32 [1, 3, h, w]")
        return ExportedNetwork(self, module, list(images[0].shape[2:]), device)


class ExportedNetwork(PixelNetwork):
    """The module of an exported program. What evaluation mode changes was settled by the export."""

    def __init__(self, specification: Exported, module: nn.Module, sides: Sequence[object], device: str) -> None:
        super().__init__(specification, specification.file, device)
        self._module, self._sides = (
            module,
            sides,
        )  # height and width: numbers, or symbols where the export leaves them open

    def module(self) -> nn.Module:
        return self._module

    def run(self, pixels: Tensor) -> Returned:
        preprocessing.check_size(f"model exported: {self.place}", self._sides, pixels.shape[2:])
        try:
            returned: Returned = self._module(pixels)
        except (RuntimeError, AssertionError) as error:  # a guard of the export is an AssertionError
            raise preprocessing.failed(f"model exported: {self.place}", pixels, error) from None
        return returned


def checked(path: Path) -> io.BytesIO:
    """Return the archive for torch.export.load: the members of ``path`` that make a program, looked at and packed anew.

    Under torch 2.13 it unpickles weights and constants that say ``use_pickle``, objects among the constants, and any
    torch file that does not load as weights alone (torch/_export/serde/serialize.py, deserialize_torch_artifact), and
    loads libraries under data/aotinductor (torch/export/pt2_archive/_package.py, load_pt2). It finds members whatever
    their case, and the first of two. What it reads here holds known names alone, each once, so that nothing is found
    that was not looked at. Raises BadPlugin for whatever would be run, MissingData for what is no such archive.
    """
    packed = io.BytesIO()
    try:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as new:
            for name, info in _members(archive.infolist()).items():
                untrusted_arrays.check_member(info)
                content = archive.read(info)
                for unwanted in _unsafe(name, content):
                    raise BadPlugin(f"model exported: {path} holds {unwanted}; export the network again, without it")
                new.writestr(name, content)
    except Refused as error:
        raise BadPlugin(f"model exported: {path} holds {error}; export the network again, without it") from None
    except (*BROKEN, Unreadable, ValueError, RecursionError) as error:
        instead = disguise(path, "pt2") or f"{error}; is it a file of torch.export.save?"
        raise MissingData(f"model exported: {path} cannot be read: {instead}") from None
    packed.seek(0)
    return packed


def _members(infos: Sequence[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The members by the names that they get. Raises Refused for one that no program has."""
    members: dict[str, zipfile.ZipInfo] = {}
    seen: set[str] = set()
    files = [info for info in infos if not info.is_dir()]
    old = any(info.filename == OLD for info in files)
    root = "" if old or not files else files[0].filename.partition("/")[0] + "/"
    for info in files:
        name = info.filename.removeprefix(root)
        if not info.filename.startswith(root) or root == "/" or name.casefold() in seen:
            raise Refused("names", f"{info.filename!r}, which is absolute, in another folder or there twice")
        seen.add(name.casefold())
        if name.startswith(PASSED_OVER):
            continue
        if not any(re.fullmatch(pattern, name) for pattern in (KNOWN_OLD if old else KNOWN)):
            machine = "aotinductor" in name.casefold()
            raise Refused(
                "names", f"{info.filename!r}, which is {'machine code' if machine else 'no part of a program'}"
            )
        members[name if old else f"model/{name}"] = info
    return members


def _unsafe(name: str, content: bytes) -> Iterator[str]:
    """Yield what torch.export.load would unpickle of a member, in words; nothing for plain tensors."""
    import torch

    if name.endswith("_config.json"):
        yield from _pickled(name, json.loads(content))
    elif name.endswith(".pt") and content:
        try:
            torch.load(io.BytesIO(content), weights_only=True)
        except Exception:  # of any class: what matters is that torch would unpickle it next
            yield f"{name}, which is more than tensors and would run code when read"


def _pickled(name: str, config: Any) -> Iterator[str]:
    entries = config.get("config", {}) if isinstance(config, dict) else {}
    for entry_name, entry in entries.items() if isinstance(entries, dict) else ():
        plain = isinstance(entry, dict) and entry.get("use_pickle", True) is False
        if not plain or not str(entry.get("path_name", "")).startswith(("weight_", "tensor_")):
            yield f"{entry_name} in {name}, which is pickled and would run code when read"
