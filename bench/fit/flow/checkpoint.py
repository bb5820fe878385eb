"""Flows from files: those that FlowEneDet's training writes, and ours. Tensors only, nothing in a file is run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.api import State
from bench.core import files
from bench.core.errors import MissingData
from bench.core.weights import read_checkpoint, tensors_digest
from bench.fit.flow.coupling import CouplingFlow
from bench.fit.flow.published import PublishedFlow
from bench.suite import checkpoints

Flow = PublishedFlow | CouplingFlow
FLOWS: Mapping[str, type[Flow]] = {flow.fidelity: flow for flow in (PublishedFlow, CouplingFlow)}
HEAD = "decode_head."
INSIDE = f"{HEAD}flow_model."
STATISTICS = {"mean": "class_means", "variance": "class_vars"}
NO_NETWORK = tuple(f"{HEAD}{name}" for name in ("flow_model.", "class_means", "class_vars", "post_processor."))
SHIPPED = Path(__file__).parent  # *.safetensors


@dataclass(frozen=True)
class Detector:
    """A flow with the class statistics that its input is made with, and the network that it belongs to."""

    fidelity: str
    blocks: int
    condition: int  # channels
    state: State  # ``mean`` and ``variance`` of the maximum logit [C], and the flow's tensors under ``flow.``
    base: Mapping[str, Tensor] = field(default_factory=dict)  # weights of the network, in a published file
    base_digest: str = ""  # of the network's tensors, in a file of ours
    base_name: str = ""
    evidence: str = "standardised"  # what the flow looks at; see ``inputs``
    upsample: str = ""  # before or after: where a corrected flow was trained

    def flow(self) -> Flow:
        """The flow, filled, on the CPU, for evaluation."""
        return filled(self.fidelity, self.blocks, self.condition, self.state)


def filled(fidelity: str, blocks: int, condition: int, state: State) -> Flow:
    made = FLOWS[fidelity](blocks, condition)
    tensors = {name.removeprefix("flow."): torch.from_numpy(np.array(state[name])) for name in state if _inside(name)}
    made.load_state_dict(tensors)
    return made.eval().requires_grad_(False)


def emptied(flow: Flow, statistics: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The state of a flow: what ``filled`` makes it of, and the statistics."""
    tensors = {f"flow.{name}": tensor.detach().cpu().numpy().copy() for name, tensor in flow.state_dict().items()}
    return tensors | {name: np.asarray(statistics[name], np.float32) for name in STATISTICS}


def _inside(name: str) -> bool:
    return name.startswith("flow.")


def sized(state: State) -> tuple[int, int]:
    """Blocks and channels of the condition, read off the tensors of a state."""
    blocks = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("flow.blocks."))
    return blocks, int(state["flow.blocks.0.condition_norm.shift"].shape[0])


def find(weights: str) -> Path:
    """The file, else one of that name in the folder ``checkpoints`` of $BENCH_HOME, else the shipped one."""
    path = Path(weights)
    # A suite makes every path absolute, also what turns out to be a name.
    for candidate in (path, checkpoints.root() / path.name, SHIPPED / f"{path.name}.safetensors"):
        if candidate.is_file():
            return candidate
    known = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.safetensors"))) or "none"
    raise MissingData(
        f"weights {path} do not exist, nor {path.name} in {checkpoints.root()}; paths in a suite are "
        f"relative to its file; shipped: {known}"
    )


def read(path: Path) -> Detector:
    """Either kind of file."""
    return _ours(path) if path.suffix == ".safetensors" and _header(path) else published(path)


def published(path: Path) -> Detector:
    """A checkpoint of FlowEneDet: the flow under ``decode_head.flow_model.``, statistics beside it, and the network.

    How many blocks and how wide a condition follows from the names and shapes. What is fixed there (masks) or stands
    there twice (the two names of one network) must be as it should.
    """
    state, _ = read_checkpoint(path)
    flow = {name.removeprefix(INSIDE): tensor for name, tensor in state.items() if name.startswith(INSIDE)}
    if not flow:
        raise MissingData(
            f"weights {path} hold no flow: no tensor is named {INSIDE}*; wanted a checkpoint of FlowEneDet or a file "
            "that bench fit wrote"
        )
    blocks = 1 + max((int(match[1]) for name in flow if (match := re.match(r"rnvp\.(\d+)\.", name))), default=-1)
    shift = flow.get("cn.0.shift")
    if not blocks or shift is None or shift.ndim != 4:
        raise MissingData(f"weights {path}: {INSIDE}rnvp.* and cn.0.shift [1, P, 1, 1] are wanted, to tell its size")
    condition = int(shift.shape[1])
    made = PublishedFlow(blocks, condition)
    tensors: dict[str, Tensor] = {}
    used: set[str] = set()
    for name, parameter in made.state_dict().items():
        theirs = _their_name(name)
        tensors[name] = _taken(flow, theirs, parameter, path)
        used |= {theirs}
    for index in range(blocks):
        used |= _fixed(flow, index, path)
    used |= {f"{norm}.{index}.initialized" for norm in ("cn", "an") for index in range(blocks)}
    if surplus := sorted(flow.keys() - used):
        raise MissingData(f"weights {path}: {len(surplus)} surplus tensors in the flow (first: {surplus[0]})")
    statistics: dict[str, NDArray[Any]] = {}
    for ours, theirs in STATISTICS.items():
        if f"{HEAD}{theirs}" not in state:
            raise MissingData(f"weights {path} hold no {HEAD}{theirs}, which the flow's input is made with")
        statistics[ours] = state[f"{HEAD}{theirs}"].float().numpy()
    made.load_state_dict(tensors)
    base = {name: tensor for name, tensor in state.items() if not name.startswith(NO_NETWORK)}
    return Detector(made.fidelity, blocks, condition, emptied(made, statistics), base)


BASE = {"weight": "p_z.w", "centre": "p_z.mu", "factor": "p_z.U"}
BLOCK = {
    "condition_norm.shift": "cn.{}.shift",
    "condition_norm.log_scale": "cn.{}.log_scale",
    "norm.shift": "an.{}.shift",
    "norm.log_scale": "an.{}.log_scale",
    "mix": "ic.{}.weight",
    "gate_weight": "imap.{}.weight",
    "gate_bias": "imap.{}.bias",
    "gate": "imap.{}.s",
    "net.first.weight": "rnvp.{}.s.0.weight",
    "net.first.bias": "rnvp.{}.s.0.bias",
    "net.middle.weight": "rnvp.{}.s.2.weight",
    "net.middle.bias": "rnvp.{}.s.2.bias",
    "net.last.weight": "rnvp.{}.s.5.weight",
    "net.last.bias": "rnvp.{}.s.5.bias",
}


def _their_name(name: str) -> str:
    if name in BASE:
        return BASE[name]
    _, index, inner = name.split(".", 2)
    return BLOCK[inner].format(index)


def _taken(flow: Mapping[str, Tensor], name: str, ours: Tensor, path: Path) -> Tensor:
    """A tensor in our shape; theirs have axes of length 1 more."""
    theirs = flow.get(name)
    if theirs is None:
        raise MissingData(f"weights {path}: {INSIDE}{name} is missing")
    if [side for side in theirs.shape if side != 1] != [side for side in ours.shape if side != 1]:
        raise MissingData(f"weights {path}: {INSIDE}{name} is {list(theirs.shape)}, wanted {list(ours.shape)}")
    return theirs.float().reshape(ours.shape)


def _fixed(flow: Mapping[str, Tensor], index: int, path: Path) -> set[str]:
    """The names of masks and aliases of a block, looked at."""
    mask = [0.0, 1.0] if index % 2 == 0 else [1.0, 0.0]
    names = {f"rnvp.{index}.M", f"imap.{index}.M"}
    for name in names:
        if name in flow and flow[name].flatten().tolist() != mask:
            raise MissingData(f"weights {path}: {INSIDE}{name} is {flow[name].flatten().tolist()}, wanted {mask}")
    for layer in (f"{number}.{part}" for number in (0, 2, 5) for part in ("weight", "bias")):
        scale, shift = f"rnvp.{index}.s.{layer}", f"rnvp.{index}.t.{layer}"
        if shift in flow:
            names.add(shift)
            if flow[shift].shape != flow[scale].shape or not torch.equal(flow[shift], flow[scale]):
                raise MissingData(
                    f"weights {path}: {INSIDE}{shift} differs from {scale}; in the published computation both are one"
                )
    return names


def belongs(detector: Detector, tensors: Mapping[str, Tensor], who: str) -> None:
    """Refuse a network that is not the one the flow was trained on. ``tensors`` are those of the network at hand."""
    if detector.base_digest and (digest := tensors_digest(tensors)) != detector.base_digest:
        raise MissingData(
            f"{who}: trained on {detector.base_name or 'another network'}, whose weights have the digest "
            f"{detector.base_digest}; those of the network at hand have {digest}; fit it again on that network"
        )
    if not detector.base:
        return
    ours = {name: tensor for name, tensor in tensors.items() if _counts(name)}
    theirs = {name: tensor for name, tensor in detector.base.items() if _counts(name)}
    if odd := sorted(ours.keys() ^ theirs.keys()):
        raise MissingData(
            f"{who}: the network in the checkpoint is another one than that at hand: {len(odd)} tensors are in one "
            f"alone (first: {odd[0]})"
        )
    for name, tensor in sorted(ours.items()):
        other = theirs[name]
        if tensor.shape != other.shape or not torch.equal(tensor.detach().cpu(), other.to(tensor.dtype)):
            raise MissingData(
                f"{who}: the network in the checkpoint has other weights than that at hand (first: {name}); name the "
                "checkpoint that it was trained on in models"
            )


def _counts(name: str) -> bool:
    return not name.endswith("num_batches_tracked") and not name.startswith("auxiliary_head.")


def write(path: Path, state: State, about: Mapping[str, Any]) -> None:
    """Our format, which is that of everything fitted: tensors, and as JSON their ``origin`` with ``about`` inside."""
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(tensor).reshape(tensor.shape) for name, tensor in state.items()}
    content = save(tensors, {"origin": json.dumps({"about": dict(about)}, sort_keys=True)})
    with files.writing(path) as file:
        file.write(content)


def _header(path: Path) -> dict[str, Any]:
    """What a file of ours says of itself; empty for another one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header = (file.metadata() or {}).get("origin")
    except (SafetensorError, OSError) as error:
        raise MissingData(f"weights {path} cannot be read: {error}") from None
    try:
        origin = json.loads(header) if header else {}
    except ValueError:
        raise MissingData(f"weights {path}: the header 'origin' is no JSON") from None
    about = origin.get("about") if isinstance(origin, dict) else None
    return about if isinstance(about, dict) else {}


def _ours(path: Path) -> Detector:
    from safetensors.numpy import load_file

    about, state = _header(path), load_file(path)
    lacking = sorted({"fidelity", "evidence", "upsample", "base_digest", "base"} - about.keys())
    if lacking or about["fidelity"] not in FLOWS:
        raise MissingData(f"weights {path}: the header does not say its {', '.join(lacking) or 'fidelity'}")
    try:
        blocks, condition = sized(state)
        expected = FLOWS[about["fidelity"]](blocks, condition).state_dict()
    except (KeyError, ValueError) as error:
        raise MissingData(f"weights {path} hold no flow: {error}") from None
    shapes = {f"flow.{name}": tuple(tensor.shape) for name, tensor in expected.items()}
    shapes |= dict.fromkeys(STATISTICS, tuple(state["mean"].shape) if "mean" in state else ())
    stored = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if odd := sorted(name for name in shapes.keys() | stored.keys() if shapes.get(name) != stored.get(name)):
        raise MissingData(
            f"weights {path}: {odd[0]} is {stored.get(odd[0], 'missing')}, wanted {shapes.get(odd[0], 'nothing')}"
        )
    return Detector(
        about["fidelity"],
        blocks,
        condition,
        state,
        base_digest=about["base_digest"],
        base_name=about["base"],
        evidence=about["evidence"],
        upsample=about["upsample"],
    )
