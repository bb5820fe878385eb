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

from bench.api import IGNORE, Labels, Protocol, Quantized, Sample, Scores, Undefined, Value
from bench.core.errors import BadScores
from bench.counts.tally import Tally
from bench.evaluate import conventions
from bench.evaluate import files as score_files
from bench.evaluate.conventions import Said, Seen
from bench.evaluate.files import Map, MapFile, Matched
from bench.evaluate.frames import Folder, Frames
from bench.evaluate.lint import Finding, Look, inverted, missing
from bench.metrics.accumulate import Accumulator, ScoredImage, Truth, add_together, by_tally, sharing
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
class Evaluation:
    """One protocol on one set of frames."""

    protocol: Protocol
    frames: Frames
    images: int
    figures: Mapping[str, Value | Undefined]
    pixels: Mapping[str, int]
    definitions: tuple[definitions.Entry, ...] = ()


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
    if options.definitions and not any(_two_sided(protocol) for protocol in protocols):
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


def _two_sided(protocol: Protocol) -> bool:
    return protocol.reads == "score" and len(protocol.category_names) == 2


Located = tuple[list[MapFile], str] | None  # files, and where they were looked for


class _Set:
    """One set of frames under evaluation."""

    def __init__(self, protocols: Sequence[Protocol], frames: Frames, options: Options) -> None:
        self.frames, self.options = frames, options
        two_sided = [protocol for protocol in protocols if options.definitions and _two_sided(protocol)]
        spreads = [Spread(inner=protocol, scaled=scaled) for protocol in two_sided for scaled in (False, True)]
        self.accumulators = sharing([*protocols, *spreads], options.budget)
        self.asked = self.accumulators[: len(protocols)]  # of the protocols themselves; those of the spreads follow
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
            add_together(self.accumulators, image)
            if isinstance(image, _StoredImage):
                self._look_at(image)
        self._second_phase(files)
        evaluations = self._evaluations()
        findings = [*self.look.findings(), *lacking, *self._inverted(evaluations)]
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
        if not any("anomaly" in accumulator.protocol.needs for accumulator in self.asked):
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
                yield _StoredImage(truth, each.score, stored, resize=self.options.resize)
            else:
                yield ScoredImage(truth, {})

    def _predicted(self, file: MapFile, size: tuple[int, int]) -> Labels:
        classes = score_files.read_classes(file, size)
        return classes if self.options.said.predictions is None else self._class_of[classes]

    def _second_phase(self, files: Mapping[str, Files]) -> None:
        """Go over the maps again for the protocols that have a second phase, unless its parameters are undefined."""
        second: list[tuple[Accumulator, Mapping[str, float]]] = []
        for accumulator in self.asked:
            if (span := accumulator.undecided()) is not None:
                accumulator.settle(self._tallies(accumulator, files), span)
            parameters = accumulator.parameters()
            if parameters is not None and not isinstance(parameters, Undefined):
                second.append((accumulator, parameters))
        for image in self._read(files) if second else ():
            truth = image.truth
            for accumulator, parameters in second:
                if (score := image.score(accumulator.protocol)) is not None:
                    accumulator.add_second(truth.sample, truth.predicted, score, parameters)

    def _tallies(self, accumulator: Accumulator, files: Mapping[str, Files]) -> Iterator[Tally]:
        """One exact tally per image, from its files."""
        for image in self._read(files):
            if (counted := image.counted(accumulator.protocol)) is not None:
                alone = Tally(counted.keyed.n_categories, max(self.options.budget, 8 * counted.keyed.pixels))
                alone.add(counted.keyed)
                yield alone

    def _evaluations(self) -> list[Evaluation]:
        """The figures, one tally after the other: each takes its keys into memory and is forgotten then."""
        made: dict[Accumulator, Evaluation] = {}
        for members in by_tally(self.accumulators):
            for accumulator in members:
                reading = accumulator.reading()
                figures, _ = reading.figures(self.options.seed, self.options.resamples)
                made[accumulator] = Evaluation(
                    reading.protocol, self.frames, len(reading.rows), figures, reading.pixels
                )
            for accumulator in members:
                accumulator.tally = None
        evaluations = [made[accumulator] for accumulator in self.asked]
        spreads = iter([made[accumulator].figures for accumulator in self.accumulators[len(self.asked) :]])
        if not self.options.definitions:
            return evaluations
        return [
            replace(each, definitions=tuple(definitions.entries(next(spreads), next(spreads))))
            if _two_sided(each.protocol)
            else each
            for each in evaluations
        ]

    def _look_at(self, image: _StoredImage) -> None:
        name, stored = str(image.file), image.stored
        wide = stored.values.dtype == np.float64
        if wide:
            protocols = [accumulator.protocol for accumulator in self.asked]
            self.rounding |= {
                protocol.name
                for protocol in protocols
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

    def _inverted(self, evaluations: Sequence[Evaluation]) -> list[Finding]:
        for each in evaluations:
            if _two_sided(each.protocol):
                negatives, positives = each.pixels.values()
                if finding := inverted(
                    each.figures.get("auroc"), positives, negatives, masks="anomaly" in each.protocol.truths
                ):
                    return [finding]
        return []


class _StoredImage(ScoredImage):
    """A stored map, brought to the size of its labels as each protocol does it."""

    def __init__(self, truth: Truth, file: MapFile, stored: Map, *, resize: bool) -> None:
        super().__init__(truth, dict.fromkeys(("score", "confidence"), stored.values))  # whichever the protocols read
        self.file, self.stored = file, stored
        self._resize = resize

    @property
    def smaller(self) -> bool:
        """The map is smaller than its labels."""
        return self.stored.values.shape != self.truth.sample.size

    def taken(self, protocol: Protocol, score: Scores) -> Scores:
        size = self.truth.sample.size
        if isinstance(protocol, Quantized) and protocol.levels and self.stored.dtype.kind in "ui":
            score = self._of_levels(protocol, score)
        if not self.smaller:
            return super().taken(protocol, score)
        if isinstance(protocol, Quantized) and protocol.resizes:  # stored as its board stores it, then upsampled
            return score_files.upsampled(super().taken(protocol, score), size)
        if not self._resize:
            raise BadScores(
                f"{self.file} is {list(score.shape)}, its labels are {list(size)}; write maps at label size, or"
                " let --resize upsample them"
            )
        return super().taken(protocol, self.shared(score_files.upsampled(score, size)))

    def _of_levels(self, protocol: Quantized, score: Scores) -> Scores:
        """The meaning of stored whole numbers."""
        low, high = int(score.min()), int(score.max())
        if self.stored.dtype.itemsize == 1 or low < 0 or high >= protocol.levels:
            raise BadScores(
                f"{self.file} holds {self.stored.dtype} from {low} to {high}; {protocol.name} reads whole numbers of 16"
                f" bits, 0 to {protocol.levels - 1}, or fractions from 0 to 1"
            )
        return ((score + np.float32(0.5)) / np.float32(protocol.levels)).astype(np.float32, copy=False)


def _some(lines: Sequence[str]) -> str:
    return "; ".join(lines[:NAMED]) + (f"; and {len(lines) - NAMED} more" if len(lines) > NAMED else "")


def _first(files: Sequence[object], of_one: str, of_several: str) -> str:
    """Return how many files there are, the first of them, and what is said of one or of several."""
    noun, _, verb = (of_one if len(files) == 1 else of_several).rpartition(" ")
    return f"{len(files)} {noun} (first: {files[0]}) {verb}"
