"""Methods share what a network says of an image, and states of fits: one that changes any of it is found and named."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.api import Prediction, State, View
from bench.core import sharing
from bench.core.errors import BadPlugin
from bench.ops import transfer

Views = Sequence[tuple[View, Prediction]]
ADVICE = "which other methods are given too; change a copy of it"


class Changed(BadPlugin):
    """A plug-in wrote into what others are given, too."""


class Mark(NamedTuple):
    """Numbers that differ for contents that differ."""

    known: bytes  # at once
    sums: Tensor | None = None  # int64 on the device, that nobody has waited for


class Lender:
    """The prediction of one image, handed to one method after the other.

    With ``writes`` nobody waits for the device. Torch says at once which tensors were written to; whether one was
    behind its back, as through ``tensor.data``, becomes a bool [] in ``writes``, to be looked at in the end.
    """

    def __init__(self, views: Views, merged: Prediction, writes: list[Tensor] | None = None) -> None:
        self.views, self.merged = views, merged
        self.changed = False  # by a method: nothing of it may be used any more
        self._writes = writes
        self._marks: dict[tuple[int, Hashable], Mark] = {}  # by view, the last is ``merged``, and name of the tensor

    @contextmanager
    def lend(self, who: str) -> Iterator[tuple[Views, Prediction]]:
        """Views and the merged prediction for one method. Raise Changed at the end if it changed a tensor of them."""
        handed: dict[tuple[int, Hashable], Tensor] = {}

        def noted(number: int) -> Callable[[Hashable, Tensor], None]:
            def note(name: Hashable, tensor: Tensor) -> None:
                key = number, name
                if key not in handed:
                    handed[key] = tensor
                    if key not in self._marks:
                        self._marks[key] = self._mark(tensor)

            return note

        lent = [(view, prediction.lent(noted(number))) for number, (view, prediction) in enumerate(self.views)]
        try:
            yield lent, self.merged.lent(noted(len(lent)))
        finally:
            marks = [(key, self._mark(tensor), self._marks[key]) for key, tensor in handed.items()]
            changed = [name for (_, name), now, before in marks if now.known != before.known]
            if changed:
                self.changed = True
                names = ", ".join(dict.fromkeys(map(_spelled, changed)))
                raise Changed(f"{who} changed {names} of the prediction in place, {ADVICE}, such as tensor.clone()")
            for _, now, before in marks:
                if self._writes is not None and now.sums is not None and before.sums is not None:
                    self._writes.append((now.sums != before.sums).any())

    def _mark(self, tensor: Tensor) -> Mark:
        return Mark(_mark(tensor)) if self._writes is None else _mark_on_device(tensor)


def marks_of(state: Mapping[str, NDArray[Any]]) -> dict[str, bytes]:
    """Return the marks of the arrays of a state, by name."""
    return {name: sharing.mark(array) for name, array in state.items()}


@contextmanager
def state_lent(state: State, marks: Mapping[str, bytes], who: str) -> Iterator[None]:
    """Raise Changed at the end if the arrays of a state no longer have their ``marks``."""
    try:
        yield
    finally:
        if (now := marks_of(state)) != marks:
            names = sorted(name for name in now.keys() | marks.keys() if now.get(name) != marks.get(name))
            raise Changed(f"{who} changed {', '.join(names)} of its state in place, {ADVICE}")


def _spelled(name: Hashable) -> str:
    """A name as the author of a method writes it."""
    if not isinstance(name, tuple):
        return str(name)
    return f"raw[{name[1]!r}]" if name[0] == "raw" else f"{name[0]}({name[1]:g})"


def _mark(tensor: Tensor) -> bytes:
    """Bytes that differ for contents that differ; the host waits for them."""
    values = tensor.detach()
    if values.device.type == "cpu" and values.dtype != torch.bfloat16:  # which NumPy has not
        return _about(tensor) + sharing.mark(values.numpy())
    return _about(tensor) + transfer.to_host(_sums(values)).tobytes()


def _mark_on_device(tensor: Tensor) -> Mark:
    """The same without waiting: how often torch wrote to the tensor, and sums that stay on the device."""
    writes = 0 if tensor.is_inference() else tensor._version
    return Mark(_about(tensor) + str(writes).encode(), _sums(tensor.detach()))


def _about(tensor: Tensor) -> bytes:
    return f"{tensor.requires_grad} {tensor.dtype} {tuple(tensor.shape)} ".encode()


def _sums(values: Tensor) -> Tensor:
    """Return int64 [n]: the sum of all words, that of each with its place, and the bytes after the last word."""
    content = values.contiguous().reshape(-1).view(torch.uint8)
    words, rest = content[: content.numel() // 4 * 4].view(torch.int32), content[content.numel() // 4 * 4 :]
    places = torch.arange(words.numel(), device=words.device, dtype=torch.int32) | 1  # odd: no bit is lost in a product
    return torch.stack([words.sum(dtype=torch.int64), (words * places).sum(dtype=torch.int64), *rest.long()])
