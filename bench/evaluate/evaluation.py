"""Score maps made elsewhere under any number of protocols, in one pass over the files, two where one has two phases.

Memory holds one image, the tallies and a row per image. Protocols share a tally until an image tells them apart, in the
score that they see or in the pixels that they count. Imports no torch unless a map has to be upsampled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.api import IGNORE, Labels, Protocol, Sample, Undefined, Value
from bench.core.errors import BadScores
from bench.evaluate import conventions
from bench.evaluate import files as score_files
from bench.evaluate.conventions import Said, Seen
from bench.evaluate.counting import Counted, Counting
from bench.evaluate.files import MapFile, Matched
from bench.evaluate.frames import Folder, Frames
from bench.evaluate.lint import Finding, Look, against_chance, is_two_sided, missing
from bench.evaluate.stored_image import StoredImage
from bench.metrics.accumulate import Accumulator, ScoredImage, Truth
from bench.metrics.protocols import definitions
from bench.metrics.spread import Spread
from bench.suite import registry

NAMED = 3  # files that a message names


@dataclass(frozen=True)
class Options:
    """Settings that do not depend on the data."""

    seed: int = 0
    resamples: int = 1000
    budget: int = 2**30  # bytes of exact keys per tally
    resize: bool = False  # upsample smaller maps; some protocols do so anyway
    allow_missing: bool = False
    definitions: bool = False
    said: Said = field(default_factory=Said)  # what the values of labels and class maps mean


@dataclass(frozen=True)
class Evaluation(Counted):
    """One protocol on one set of frames."""

    frames: Frames | None = None  # None: images that come from no set with a name
    definitions: tuple[definitions.Entry, ...] = ()

    @property
    def dataset(self) -> str:
        """The name of the set; empty where it has none."""
        return self.frames.label if self.frames else ""


@dataclass(frozen=True)
class Report:
    """Everything that ``bench score`` prints."""

    evaluations: tuple[Evaluation, ...]
    lint: tuple[Finding, ...] = ()  # what looks wrong with the maps
    notes: tuple[str, ...] = ()  # what was done with them


class Files(NamedTuple):
    """The files of one frame."""

    score: MapFile | None
    prediction: MapFile | None


def score(
    protocols: Sequence[Protocol],
    sets: Sequence[Frames],
    scores: Path | None,
    predictions: Path | None,
    options: Options,
) -> Report:
    """Evaluate each protocol on each set of frames; the maps of all sets lie in the same place."""
    scored = [protocol for protocol in protocols if protocol.reads]
    if scored and scores is None:
        raise BadScores(f"protocol {scored[0].name} ranks scores; say where they are with --scores")
    classed = [protocol for protocol in protocols if "prediction" in protocol.needs]
    if classed and predictions is None:
        raise BadScores(f"protocol {classed[0].name} needs class maps; say where they are with --predictions")
    kinds = {protocol.reads: protocol.name for protocol in scored}
    if len(kinds) > 1:
        both = " and ".join(f"{name} reads a {kind}" for kind, name in sorted(kinds.items()))
        raise BadScores(f"{both}: the same maps cannot be both; evaluate them apart")
    if options.definitions and not any(is_two_sided(protocol) for protocol in protocols):
        raise BadScores("--definitions needs a protocol that ranks two sides, such as anomaly or misclassification")
    for frames in sets:
        frames.check(protocols)
    score_maps = score_files.find(scores, "score map") if scored and scores else []
    class_maps = score_files.find(predictions, "prediction") if classed and predictions else []
    asked = (score_maps, str(scores)) if scored else None, (class_maps, str(predictions)) if classed else None
    parts = [_Set(protocols, frames, options).evaluate(*asked) for frames in sets]
    return Report(
        tuple(each for part in parts for each in part.evaluations),
        tuple(finding for part in parts for finding in part.lint),
        tuple(note for part in parts for note in part.notes),
    )


def evaluate(
    protocol: Protocol,
    scores: Path | None,
    labels: Path,
    predictions: Path | None,
    *,
    seed: int,
    resamples: int,
    budget: int,
) -> Evaluation:
    """One protocol, with labels in a folder."""
    options = Options(seed=seed, resamples=resamples, budget=budget)
    return score([protocol], [Folder(labels)], scores, predictions, options).evaluations[0]


def class_map_figures(protocol: Protocol, images: Iterable[tuple[Sample, Labels]]) -> Mapping[str, Value | Undefined]:
    """The figures of a protocol that reads class maps alone, without intervals."""
    accumulator = Accumulator(protocol)
    for sample, predicted in images:
        accumulator.add(ScoredImage(Truth(sample, predicted), {}))
    return accumulator.reading().read()


def protocol_named(name: str, params: Mapping[str, Any]) -> Protocol:
    built: Protocol = registry.build("protocol", name, params, where="--protocol")
    return built


Located = tuple[list[MapFile], str] | None  # files, and where they were looked for


class _Set:
    """One set of frames under evaluation."""

    def __init__(self, protocols: Sequence[Protocol], frames: Frames, options: Options) -> None:
        self.protocols, self.frames, self.options = protocols, frames, options
        two_sided = [protocol for protocol in protocols if options.definitions and is_two_sided(protocol)]
        spreads = [Spread(inner=protocol, scaled=scaled) for protocol in two_sided for scaled in (False, True)]
        self.counting = Counting(protocols, options.budget, spreads)
        self._class_of = conventions.table(conventions.predicted(options.said.predictions))  # of a stored prediction
        self.look = Look()
        self.infinite: list[str] = []
        self.wide: list[str] = []
        self.rounding: set[str] = set()  # names of protocols that round wide maps
        self.channel: list[str] = []
        self.unknown: list[str] = []
        self.several: list[str] = []
        self.smaller: list[str] = []

    def evaluate(self, scores: Located, predictions: Located) -> Report:
        files, lacking, extra = self._matched(scores, predictions)
        self._judge_values(files)
        for image in self._read(files):
            self.counting.add(image)
            if isinstance(image, StoredImage):
                self._look_at(image)
        while self.counting.goes_on():
            for image in self._read(files):
                self.counting.add(image)
        evaluations = self._evaluations()
        findings = [*self.look.findings(), *lacking, *against_chance(evaluations)]
        return Report(
            tuple(evaluations),
            tuple(replace(finding, dataset=self.frames.label) for finding in findings),
            tuple(self._notes(extra)),
        )

    def _matched(self, scores: Located, predictions: Located) -> tuple[dict[str, Files], list[Finding], list[MapFile]]:
        ids = self.frames.ids
        matches: list[tuple[score_files.Role, Located, Matched]] = []
        roles: tuple[tuple[score_files.Role, Located], ...] = (("score map", scores), ("prediction", predictions))
        for role, asked in roles:
            own = [] if asked is None else score_files.of_set(asked[0], self.frames.names)
            matched = score_files.match(own, ids, role)
            matches.append((role, asked, matched))
            if asked is not None and not matched.files and not self.frames.exact:
                raise BadScores(
                    f"none of the {len(asked[0])} {role}s in {asked[1]} is named after a frame of {self.frames.label};"
                    f" found {asked[0][0].name}, wanted such as {ids[0] if ids else 'none'}{asked[0][0].suffix}"
                )
        asked_for = [(role, asked[1], matched) for role, asked, matched in matches if asked is not None]
        absent = [sample for sample in ids if any(sample not in matched.files for _, _, matched in asked_for)]
        self._refuse_unlabelled(asked_for, absent)
        findings = []
        if absent:
            clean = bool(asked_for) and self._are_all_clean(absent)
            finding = missing(absent, len(ids), clean=clean)
            if not self.options.allow_missing or len(absent) == len(ids):
                raise BadScores(self._absent(asked_for, absent, finding))
            findings.append(finding)
        score_maps, class_maps = (matched.files for _, _, matched in matches)
        without = set(absent)
        files = {
            sample: Files(score_maps.get(sample), class_maps.get(sample)) for sample in ids if sample not in without
        }
        return files, findings, [file for _, _, matched in asked_for for file in matched.extra]

    def _refuse_unlabelled(self, asked: Sequence[tuple[str, str, Matched]], absent: Sequence[str]) -> None:
        """Where every map must have its labels: name those without, and what has no map beside them."""
        for role, folder, matched in asked:
            if self.frames.exact and matched.extra:
                lone = [f"{file.name} has no labels in {getattr(self.frames, 'folder', '')}" for file in matched.extra]
                lone += [f"{self.frames.file_of(sample)} has no {role} in {folder}" for sample in absent]
                raise BadScores(f"{_some(lone)}; --pair says how labels are named, such as '{{id}}_mask.png'")

    def _absent(self, asked: Sequence[tuple[str, str, Matched]], absent: Sequence[str], finding: Finding) -> str:
        lone = [
            f"{self.frames.file_of(sample)} has no {role} in {folder}"
            for role, folder, matched in asked
            for sample in absent
            if sample not in matched.files
        ]
        return f"{_some(lone)}: {finding.text}, or say --allow-missing"

    def _are_all_clean(self, absent: Sequence[str]) -> bool:
        """Return whether the absent frames are exactly those without a pixel of an anomaly."""
        if not any("anomaly" in protocol.needs for protocol in self.protocols):
            return False
        without = set(absent)
        ordered = [*absent, *(sample for sample in self.frames.ids if sample not in without)]
        for sample in ordered:
            truth = self.frames.load(sample).anomaly
            if truth is None or bool((truth == 1).any()) == (sample in without):
                return False
        return True

    def _judge_values(self, files: Mapping[str, Files]) -> None:
        """Raise BadScores where the values of all labels and class maps can hardly mean what they are taken for."""
        seen = Seen()
        for sample, each in files.items():
            if (each.prediction or self.frames.exact) and (labels := self.frames.stored(sample)) is not None:
                size = (labels.shape[0], labels.shape[1])
                seen.add(sample, labels, score_files.read_classes(each.prediction, size) if each.prediction else None)
        if told := self.frames.doubt(seen, self.options.said):
            raise BadScores(told)

    def _read(self, files: Mapping[str, Files]) -> Iterator[ScoredImage]:
        for sample_id, each in files.items():
            sample = self.frames.load(sample_id)
            truth = Truth(sample, self._predicted(each.prediction, sample.size) if each.prediction else None)
            if each.score:
                truths = [kind for kind in (sample.labels, sample.anomaly) if kind is not None]
                ignored = np.logical_and.reduce([kind == IGNORE for kind in truths])
                stored = score_files.read_map(each.score, sample.size, ignored)
                yield StoredImage(truth, each.score, stored, resize=self.options.resize)
            else:
                yield ScoredImage(truth, {})

    def _predicted(self, file: MapFile, size: tuple[int, int]) -> Labels:
        classes = score_files.read_classes(file, size)
        return classes if self.options.said.predictions is None else self._class_of[classes]

    def _evaluations(self) -> list[Evaluation]:
        counted = self.counting.figures(self.options.seed, self.options.resamples, release=True)
        made = [Evaluation(each.protocol, each.images, each.figures, each.pixels, self.frames) for each in counted]
        evaluations, spreads = made[: len(self.protocols)], iter(made[len(self.protocols) :])
        if not self.options.definitions:
            return evaluations
        return [
            replace(each, definitions=tuple(definitions.entries(next(spreads).figures, next(spreads).figures)))
            if is_two_sided(each.protocol)
            else each
            for each in evaluations
        ]

    def _look_at(self, image: StoredImage) -> None:
        name, stored = str(image.place), image.stored
        wide = stored.values.dtype == np.float64
        if wide:
            self.rounding |= {
                protocol.name
                for protocol in self.protocols
                if (score := image.score(protocol)) is not None and score.dtype == np.float32
            }
        self.look.add(name, stored.values, stored.dtype)
        for names, holds in (
            (self.wide, wide),
            (self.infinite, bool(np.isinf(stored.values).any())),
            (self.channel, stored.channel),
            (self.unknown, bool(stored.unknown)),
            (self.several, stored.several),
            (self.smaller, image.smaller),
        ):
            if holds:
                names.append(name)

    def _notes(self, extra: Sequence[MapFile]) -> Iterator[str]:
        if self.infinite:
            yield (
                f"{_first(self.infinite, 'score map holds', 'score maps hold')} infinities; they are ranked at the"
                " ends, equal ones as ties. 'bench run' and submissions refuse them"
            )
        if self.wide:
            names = " and ".join(sorted(self.rounding))
            yield (
                f"{_first(self.wide, 'score map holds', 'score maps hold')} numbers that float32 does not; they are"
                f" ranked in float64{f'; {names} rounds them, as its source does' if names else ''}"
            )
        if self.channel:
            yield f"{_first(self.channel, 'map has', 'maps have')} an axis of length 1; it was dropped"
        if self.unknown:
            yield (
                f"{_first(self.unknown, 'score map holds', 'score maps hold')} NaN, only on pixels that are ignored;"
                " the lowest score of the map stands there"
            )
        if self.several:
            yield (
                f"{_first(self.several, 'file holds', 'files hold')} several arrays; the one named like a score was"
                " read"
            )
        if self.smaller:
            yield (
                f"{_first(self.smaller, 'map is', 'maps are')} smaller than the labels; upsampled bilinearly,"
                " half-pixel centres, by torch"
            )
        if extra:
            yield f"{_first(extra, 'map belongs', 'maps belong')} to no frame of {self.frames.label}; not read"


def _some(lines: Sequence[str]) -> str:
    return "; ".join(lines[:NAMED]) + (f"; and {len(lines) - NAMED} more" if len(lines) > NAMED else "")


def _first(files: Sequence[object], of_one: str, of_several: str) -> str:
    """Return how many files there are, the first of them, and what is said of one or of several."""
    noun, _, verb = (of_one if len(files) == 1 else of_several).rpartition(" ")
    return f"{len(files)} {noun} (first: {files[0]}) {verb}"
