"""``SegmentationOOD``: figures of ``bench.Metric`` after each epoch of validation or test of a Lightning trainer."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils.data.distributed import DistributedSampler

from bench.core.errors import BadScores, MissingPackage
from bench.evaluate.integrations.distributed import gathered

if importlib.util.find_spec("lightning") is not None:
    from lightning.pytorch import Callback
elif importlib.util.find_spec("pytorch_lightning") is not None:
    from pytorch_lightning import Callback
else:
    raise MissingPackage("bench.integrations.lightning needs Lightning; pip install lightning")

if TYPE_CHECKING:
    from bench import Computed, Metric

WANTED = "a mapping with 'labels', and 'scores', or 'logits' where score= makes scores of them"


class SegmentationOOD(Callback):  # type: ignore[misc] # Lightning is not installed where types are checked
    """Count what each validation or test step returns, and log the figures when the epoch ends.

    The step returns a mapping with ``labels`` and ``scores``, and ``predictions``, ``anomaly`` and ``id`` where the
    protocols need them, as ``bench.Metric.update`` takes them; ``logits`` in place of scores go through ``score``,
    such as ``bench.method("energy")``. Figures are those of the whole set on any number of processes: what a
    distributed sampler repeats to make parts equal is counted once. ``computed`` has the last ones with intervals.
    """

    def __init__(
        self, metric: Metric | str = "anomaly", *, score: Callable[[Tensor], Tensor] | None = None, prefix: str = ""
    ) -> None:
        """``metric`` is one, or the name of a protocol; ``prefix`` stands before each name, by default ``val/``."""
        super().__init__()
        if isinstance(metric, str):
            import bench

            metric = bench.Metric(metric)
        self.metric, self.score, self.prefix = metric, score, prefix
        self.computed: Computed | None = None
        self._seen = 0  # images of this process

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin()

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin()

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._count(trainer, trainer.val_dataloaders, outputs, dataloader_idx)

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._count(trainer, trainer.test_dataloaders, outputs, dataloader_idx)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self._log(pl_module, self.prefix or "val/")

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._log(pl_module, self.prefix or "test/")

    def _begin(self) -> None:
        self.metric.reset()
        self._seen = 0

    def _count(self, trainer: Any, loaders: Any, outputs: Any, dataloader_idx: int) -> None:
        if not isinstance(outputs, Mapping) or "labels" not in outputs or not {"scores", "logits"} & outputs.keys():
            raise BadScores(f"SegmentationOOD: the step returns {_spelled(outputs)}, wanted {WANTED}")
        scores = outputs.get("scores")
        if scores is None:
            if self.score is None:
                raise BadScores("SegmentationOOD: the step returns logits; say score=, such as bench.method('energy')")
            scores = self.score(outputs["logits"].detach())
        labels = outputs["labels"]
        others = {name: outputs.get(name) for name in ("predictions", "anomaly")}
        if labels.ndim == 2:  # one image without a batch
            scores, labels = scores[None], labels[None]
            others = {name: None if array is None else array[None] for name, array in others.items()}
        names, kept = self._named(trainer, loaders, outputs.get("id"), len(labels), dataloader_idx)
        if kept:
            arrays = {name: None if array is None else array[kept] for name, array in others.items()}
            self.metric.update(scores[kept], labels[kept], id=[names[index] for index in kept], **arrays)

    def _named(
        self, trainer: Any, loaders: Any, names: Any, count: int, dataloader_idx: int
    ) -> tuple[list[str], list[int]]:
        """Return the ids of a batch, and which of its images are no repetition of the sampler's."""
        first, self._seen = self._seen, self._seen + count
        world = trainer.world_size
        # A DistributedSampler deals the images in turn: so numbered, they are in the order of a single process.
        positions = [(first + index) * world + trainer.global_rank for index in range(count)]
        loader = loaders[dataloader_idx] if isinstance(loaders, list | tuple) else loaders
        sampler = getattr(loader, "sampler", None)
        size = len(loader.dataset) if isinstance(sampler, DistributedSampler) else None
        kept = [index for index, position in enumerate(positions) if size is None or position < size]
        if names is not None:
            return [names] if isinstance(names, str) else [str(name) for name in names], kept
        return [f"{dataloader_idx}/{position:08d}" for position in positions], kept

    def _log(self, pl_module: Any, prefix: str) -> None:
        self.computed = gathered(self.metric).compute()
        figures = {f"{prefix}{name}": value for name, value in self.computed.to_dict().items() if value is not None}
        pl_module.log_dict(figures, rank_zero_only=True)


def _spelled(outputs: Any) -> str:
    if isinstance(outputs, Mapping):
        return f"a mapping with {', '.join(map(repr, outputs)) or 'nothing'}"
    return type(outputs).__name__
