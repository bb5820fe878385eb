"""``bench.Metric`` over the processes of ``torch.distributed``: each counts its images, all get the figures of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from bench import Metric

    AnyMetric = TypeVar("AnyMetric", bound=Metric)


def gathered(metric: AnyMetric, *, prefixed: bool = False, group: ProcessGroup | None = None) -> AnyMetric:
    """Return the metric of all processes of a group, the same in each; each one's own stays as it is.

    Images are told apart by the ids that ``update`` was given; ``prefixed`` puts the rank before them, for those that
    were only numbered. Without a process group the metric itself is returned. Raises BadScores for an image in two.
    """
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return metric
    parts: list[AnyMetric] = [metric] * distributed.get_world_size(group)
    distributed.all_gather_object(parts, metric, group=group)
    return joined(parts, prefixed=prefixed)


def joined(parts: list[AnyMetric], *, prefixed: bool) -> AnyMetric:
    """Return the metrics of several processes as one, in the order of their ranks."""
    whole = parts[0].empty()
    for rank, part in enumerate(parts):
        whole.merge(part, prefix=f"{rank:05d}/" if prefixed else "")
    return whole
