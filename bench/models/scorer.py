"""``bench.method``: the scores of a method for logits that a caller has, as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from bench.api import Context, Fitting, Method, Prediction, Scored
from bench.core.errors import BadPlugin, NotFitted
from bench.ops import dense
from bench.suite import parameters, registry

if TYPE_CHECKING:
    from torch import Tensor

OFFERED = frozenset({"raw"})  # beside the outputs that are given


def method(name: str, /, **params: object) -> Scorer:
    """Return the scores of a method as a function of logits. Raises UnknownName, BadSuite, or NotFitted."""
    built: Method = registry.build("method", name, params, where="bench.method")
    return Scorer(built)


class Scorer:
    """A method as a function: ``bench.method("energy", temperature=2.0)(logits)``."""

    def __init__(self, method: Method) -> None:
        """Raises NotFitted for a method that means nothing before it is fitted."""
        if isinstance(method.fitting, Fitting) and method.fitting.must:
            raise NotFitted(
                f"{method.name} means nothing unfitted: bench.run or bench.evaluate fit it, with"
                f" {{{method.name!r}: {{'fit': {{'data': ...}}}}}} among the methods"
            )
        self.method = method

    def __repr__(self) -> str:
        return f"bench.method({parameters.label(self.method)!r})"

    def __call__(self, logits: Tensor | Mapping[str, Tensor], *, size: tuple[int, int] | None = None) -> Tensor:
        """Return float32 [B, H, W] of logits [B, C, h, w], or [H, W] of [C, h, w], on their device; higher is stranger.

        ``size`` is (H, W), that of the labels: logits are brought there as in ``bench run``; None is their own. A
        method that reads more than logits takes a mapping of outputs by name, such as ``features``. Raises BadPlugin
        for outputs that it lacks, or of another shape.
        """
        if not isinstance(logits, torch.Tensor | Mapping):
            raise BadPlugin(
                f"logits are {type(logits).__name__}, wanted a torch tensor, or a mapping of outputs by name"
            )
        outputs = {"logits": logits} if isinstance(logits, torch.Tensor) else dict(logits)
        if lacking := self.method.needs - outputs.keys() - OFFERED:
            raise BadPlugin(
                f"{self.method.name} needs {', '.join(sorted(lacking))}, given are {', '.join(sorted(outputs))};"
                " bench.evaluate asks the network itself"
            )
        name, first = next(iter(outputs.items()))
        first = first.flatten(-4, -3) if name == "members" and first.ndim > 3 else first  # [M, C, h, w] of each image
        if first.ndim not in (3, 4):
            raise BadPlugin(f"logits are {list(first.shape)}, wanted [C, h, w] or [B, C, h, w]")
        height, width = size or (int(first.shape[-2]), int(first.shape[-1]))
        with torch.no_grad():
            if first.ndim == 3:
                return self._of_image(outputs, (height, width))
            images = [{name: output[index] for name, output in outputs.items()} for index in range(len(first))]
            return torch.stack([self._of_image(image, (height, width)) for image in images])

    def _of_image(self, outputs: Mapping[str, Tensor], size: tuple[int, int]) -> Tensor:
        prediction = Prediction({name: output.float() for name, output in outputs.items()}, size)
        fused = all(output.device.type == "cpu" for output in outputs.values()) and find_spec("numba") is not None
        prediction.context = Context(size, fused=fused)
        scored = self.method.score(prediction, {})
        score = scored.score if isinstance(scored, Scored) else scored
        if score.ndim != 2:
            raise BadPlugin(f"{self.method.name} returned {list(score.shape)}, wanted [h, w]")
        return dense.resize(score, size)
