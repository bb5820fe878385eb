"""Dry runs: an archive evaluated again from its files, and held against what a run or a record claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.api import Labels, Protocol, Sample, Undefined, Value
from bench.core.errors import BadScores
from bench.datasets.cityscapes import ENCODINGS, Cityscapes
from bench.evaluate import evaluation
from bench.evaluate.frames import Folder, Published
from bench.results.store import Result, Run
from bench.submissions import check_cityscapes, smiyc
from bench.submit.archives import Archive, Refused
from bench.suite import registry

EXACT = 1e-9  # two ways to the same float16 maps
CAST = 0.005  # where a transform before the cast moves single values by a step of float16
CLAIM = 0.01  # that the server of Fishyscapes allows


@dataclass(frozen=True)
class Compared:
    """One figure, evaluated from the files and as claimed."""

    where: str
    metric: str
    found: float
    claimed: float | None  # None: nobody claims one
    tolerance: float

    @property
    def agrees(self) -> bool:
        return self.claimed is None or abs(self.found - self.claimed) <= self.tolerance

    def __str__(self) -> str:
        if self.claimed is None:
            return f"{self.where}: {self.metric} {self.found:.6f}"
        said = "agrees" if self.agrees else f"DIFFERS by {self.found - self.claimed:+.6f}"
        return f"{self.where}: {self.metric} {self.found:.6f}, claimed {self.claimed:.6f}, {said}"


def smiyc_maps(
    archive: Archive, frames: Mapping[str, int], run: Run | None, transform: str, labels: Path | None, pair: str
) -> list[Compared]:
    """The figures of the board on the labelled frames of each set, read from an archive that was checked before.

    ``labels`` holds PNG masks kept elsewhere; they take the place of the public ones.
    """
    found: list[Compared] = []
    for name in sorted({Path(member).parts[-2] for member in archive.members}):
        member = next(member for member in archive.members if Path(member).parts[-2] == name)
        place = archive.path / Path(member).parent
        if labels is None:
            truth: Published | Folder = Published(smiyc.labelled(name, frames.get(name)))
        else:
            truth = Folder(labels, pair)
            truth.exact = False  # maps of frames without labels there are let be
            held = {Path(one).stem for one in archive.members if Path(one).parts[-2] == name}
            if not held & set(truth.ids):
                continue
            if lacking := len(set(truth.ids) - held):
                raise BadScores(
                    f"{labels} holds masks of {lacking} frames that are not in {name}; name one set's masks"
                )
        protocol: Protocol = registry.build("protocol", smiyc.stored(name).protocol, {}, where=name)
        report = evaluation.score([protocol], [truth], place, None, evaluation.Options(resamples=0))
        figures = report.evaluations[0].figures
        claimed = _claimed(run, protocol.name, truth.ids) if labels is None else {}
        tolerance = EXACT if transform == "identity" else CAST
        found += _compared(name, figures, claimed, tolerance)
    return found


def cityscapes_maps(archive: Archive, frames: int | None, run: Run | None) -> list[Compared]:
    """MIoU of the class maps of val, read from an archive that was checked before."""
    reader = Cityscapes("val", frames=frames)
    protocol: Protocol = registry.build("protocol", "miou", {}, where="dry-run")
    table = ENCODINGS["labelIds"].table
    members = {Path(member).name: member for member in archive.members}

    def images() -> Iterator[tuple[Sample, Labels]]:
        for index, sample_id in enumerate(reader.ids()):
            sample = reader.load(index)
            member = next(member for name, member in members.items() if name.startswith(sample_id))
            try:
                stored = check_cityscapes.read(archive, member, sample.size)
            except Refused as error:
                raise BadScores(f"{member}: {error.text}") from None
            yield sample, table[stored]

    figures = evaluation.class_map_figures(protocol, images())
    return _compared("val", figures, _claimed(run, "miou", reader.ids()), EXACT)


def _claimed(run: Run | None, protocol: str, ids: Sequence[str]) -> Mapping[str, Any]:
    """The figures of the results of a run on exactly these frames, by metric; none where there is none."""
    if run is None:
        return {}
    fitting = [one for one in run.results if one.cell["protocol"]["name"] == protocol and not one.not_applicable]
    for result in fitting:
        if run.sample_ids(result) == sorted(ids):
            return result.metrics
    return {}


def _compared(
    where: str, figures: Mapping[str, Value | Undefined], claimed: Mapping[str, Any], tolerance: float
) -> list[Compared]:
    made = []
    for name, figure in figures.items():
        if isinstance(figure, Value):
            other = claimed.get(name)
            made.append(
                Compared(where, name, figure.value, other.value if isinstance(other, Value) else None, tolerance)
            )
    return made


def of_method(run: Run, model: str | None, method: str | None) -> Run:
    """A run with the results of one method on one network alone."""
    from dataclasses import replace

    def kept(result: Result) -> bool:
        return all(
            result.labels.get(axis) in (None, name) for axis, name in (("model", model), ("method", method)) if name
        )

    return replace(run, results=tuple(result for result in run.results if kept(result)))
