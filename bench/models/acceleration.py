"""A loaded network made faster as ``numerics`` say: its layout in memory, torch.compile, CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from bench.api import Network
from bench.core.errors import BadPlugin, BadSuite
from bench.models.ensemble import EnsembleNetwork
from bench.models.numerics import Numerics

WARM = 3  # passes before a graph is captured, in which kernels are chosen and workspaces made


def accelerate(network: Network, numerics: Numerics) -> None:
    """Change the module of a network in place. Raise BadSuite where there is none, or no compiler for it."""
    if isinstance(network, EnsembleNetwork):
        for member in network.networks:
            accelerate(member, numerics)
        return
    chosen = [name for name in ("channels_last", "compile", "graphs") if getattr(numerics, name)]
    if not chosen:
        return
    try:
        module = network.module()
        part = network._compiled_part() if numerics.compile or numerics.graphs else module
    except BadPlugin:
        raise BadSuite(
            f"model {network.model.name} is no torch module, which numerics.{chosen[0]} is for; leave that out"
        ) from None
    if numerics.channels_last:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if isinstance(part, torch.jit.ScriptModule) and (numerics.compile or numerics.graphs):
        raise BadSuite(f"model {network.model.name} is compiled already; leave numerics.{chosen[-1]} out")
    if numerics.compile:
        part.forward = _compiled(part.forward, network.model.name)
    if numerics.graphs:
        part.forward = _Replayed(part)


def _compiled(forward: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a function as torch.compile makes it, for each shape anew."""
    compiled: Callable[..., Any] = torch.compile(forward, dynamic=False)

    def called(*arguments: Any, **named: Any) -> Any:
        from torch._dynamo.exc import TorchDynamoException

        try:
            return compiled(*arguments, **named)
        except TorchDynamoException as error:
            cause = str(error).strip().splitlines()[0]
            raise BadPlugin(
                f"model {name}: torch.compile fails: {cause}; it needs a C++ compiler on a CPU and Triton on a GPU, or"
                " say numerics: {compile: false}"
            ) from error

    return called


class _Replayed:
    """The forward of a module as a CUDA graph for each shape of inputs; outputs are copies, as graphs reuse them."""

    def __init__(self, module: nn.Module) -> None:
        self._forward = module.forward
        self._graphs: dict[Any, tuple[torch.cuda.CUDAGraph, list[Tensor], Any]] = {}

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        leaves, structure = pytree.tree_flatten((arguments, named))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        others = tuple(leaf for leaf in leaves if not isinstance(leaf, Tensor))
        if torch.is_grad_enabled() or any(tensor.requires_grad for tensor in tensors):
            return self._forward(*arguments, **named)  # a method that asks for gradients
        shapes = tuple((tuple(tensor.shape), tensor.stride(), tensor.dtype) for tensor in tensors)
        key = shapes, others, torch.is_autocast_enabled("cuda")
        if key not in self._graphs:
            self._graphs[key] = self._captured(leaves, structure)
        graph, held, outputs = self._graphs[key]
        for static, tensor in zip(held, tensors, strict=True):
            static.copy_(tensor)
        graph.replay()
        return pytree.tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, outputs)

    def _captured(self, leaves: list[Any], structure: Any) -> tuple[torch.cuda.CUDAGraph, list[Tensor], Any]:
        static = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        arguments, named = pytree.tree_unflatten(static, structure)
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARM):
                self._forward(*arguments, **named)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # methods compute meanwhile in another thread
            outputs = self._forward(*arguments, **named)
        return graph, [leaf for leaf in static if isinstance(leaf, Tensor)], outputs
