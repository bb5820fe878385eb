"""Score maps made elsewhere under any number of protocols, in one pass over the files, two where one has two phases.

Memory holds one image, the tallies and a row per image. Protocols share a tally until an image tells them apart, in the
score that they see or in the pixels that they count. Imports no torch unless a map has to be upsampled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.api import Labels, Protocol, Row, Sample, Scores, Undefined, Value
from bench.core.errors import BadScores
from bench.counts.tally import Tally, key_pixels
from bench.evaluate import files as score_files
from bench.evaluate.files import Map, MapFile, Matched
from bench.evaluate.frames import Folder, Frames
from bench.evaluate.lint import Finding, Look, inverted, missing
from bench.metrics.intervals import intervals
from bench.metrics.protocols import definitions
from bench.metrics.spread import Spread
from bench.suite import registry

NAMED = 3  # files that a message names


@dataclass(frozen=True)
class Options:
    """What does not depend on the data."""

    seed: int = 0
    resamples: int = 1000
    budget: int = 2**30  # bytes of exact keys per tally
    resize: bool = False  # upsample smaller maps; some protocols do so anyway
    allow_missing: bool = False
    definitions: bool = False


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
    """What ``bench score`` prints."""

    evaluations: tuple[Evaluation, ...]
    lint: tuple[Finding, ...] = ()  # what looks wrong with the maps
    notes: tuple[str, ...] = ()  # what was done with them


class Files(NamedTuple):
    """The files of one frame."""

    score: MapFile | None
    prediction: MapFile | None


@dataclass(eq=False)
class _Group:
    """Protocols that have counted the same pixels so far."""

    tally: Tally
    lanes: list[_Lane]


@dataclass(eq=False)
class _Lane:
    protocol: Protocol
    rows: dict[str, Row] = field(default_factory=dict)
    figures: Mapping[str, Value | Undefined] = field(default_factory=dict)
    pixels: Mapping[str, int] = field(default_factory=dict)


def score(
    protocols: Sequence[Protocol],
    sets: Sequence[Frames],
    scores: Path | None,
    predictions: Path | None,
    options: Options,
) -> Report:
    """Evaluate each protocol on each set of frames; the maps of all sets lie in the same place."""
    scored = [protocol for protocol in protocols if protocol.scored]
    if scored and scores is None:
        raise BadScores(f"protocol {scored[0].name} ranks scores; say where they are with --scores")
    classed = [protocol for protocol in protocols if protocol.needs_prediction]
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


def protocol_named(name: str, params: Mapping[str, Any]) -> Protocol:
    built: Protocol = registry.build("protocol", name, params, where="--protocol")
    return built


def _two_sided(protocol: Protocol) -> bool:
    return protocol.scored and protocol.reads == "score" and len(protocol.category_names) == 2


Given = tuple[list[MapFile], str] | None  # files, and where they were looked for


class _Set:
    """One set of frames under evaluation."""

    def __init__(self, protocols: Sequence[Protocol], frames: Frames, options: Options) -> None:
        self.frames, self.options = frames, options
        self.lanes = [_Lane(protocol) for protocol in protocols]
        self.spread: dict[int, list[_Lane]] = {}  # by the place of the lane whose two sides they take
        if options.definitions:
            self.spread = {
                place: [_Lane(Spread(inner=protocol, scaled=scaled)) for scaled in (False, True)]
                for place, protocol in enumerate(protocols)
                if _two_sided(protocol)
            }
        self.every = [*self.lanes, *(lane for lanes in self.spread.values() for lane in lanes)]
        self.groups = [
            _Group(Tally(count, options.budget), [lane for lane in self.every if _categories(lane) == count])
            for count in sorted({_categories(lane) for lane in self.every} - {0})
        ]
        self.look = Look()
        self.infinite: list[str] = []
        self.channel: list[str] = []
        self.smaller: list[str] = []

    def evaluate(self, scores: Given, predictions: Given) -> Report:
        files, lacking, extra = self._matched(scores, predictions)
        for sample, predicted, seen in self._read(files):
            self._first_phase(sample, predicted, seen)
        self._second_phase(files)
        self._read_off()
        evaluations = [self._evaluation(place, lane) for place, lane in enumerate(self.lanes)]
        found = [*self.look.findings(), *lacking, *self._inverted(evaluations)]
        return Report(
            tuple(evaluations),
            tuple(replace(finding, dataset=self.frames.label) for finding in found),
            tuple(self._notes(extra)),
        )

    def _matched(self, scores: Given, predictions: Given) -> tuple[dict[str, Files], list[Finding], list[MapFile]]:
        ids = self.frames.ids
        matches: list[tuple[score_files.Role, Given, Matched]] = []
        given: tuple[tuple[score_files.Role, Given], ...] = (("score map", scores), ("prediction", predictions))
        for role, asked in given:
            matched = Matched({}, ()) if asked is None else score_files.match(asked[0], ids, role)
            matches.append((role, asked, matched))
            if asked is not None and not matched.files and not self.frames.exact:
                raise BadScores(
                    f"none of the {len(asked[0])} {role}s in {asked[1]} is named after a frame of {self.frames.label};"
                    f" found {asked[0][0].name}, wanted such as {ids[0] if ids else 'none'}{asked[0][0].suffix}"
                )
        asked_for = [(role, asked[1], matched) for role, asked, matched in matches if asked is not None]
        absent = [sample for sample in ids if any(sample not in matched.files for _, _, matched in asked_for)]
        self._refuse_strangers(asked_for, absent)
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

    def _refuse_strangers(self, asked: Sequence[tuple[str, str, Matched]], absent: Sequence[str]) -> None:
        """Where every map must have its labels: name those without, and what has no map beside them."""
        for role, place, matched in asked:
            if self.frames.exact and matched.extra:
                lone = [f"{file.name} has no labels in {getattr(self.frames, 'folder', '')}" for file in matched.extra]
                lone += [f"{self.frames.file_of(sample)} has no {role} in {place}" for sample in absent]
                raise BadScores(_some(lone))

    def _absent(self, asked: Sequence[tuple[str, str, Matched]], absent: Sequence[str], finding: Finding) -> str:
        lone = [
            f"{self.frames.file_of(sample)} has no {role} in {place}"
            for role, place, matched in asked
            for sample in absent
            if sample not in matched.files
        ]
        return f"{_some(lone)}: {finding.text}, or say --allow-missing"

    def _are_all_clean(self, absent: Sequence[str]) -> bool:
        """Whether the absent frames are exactly those without a pixel of an anomaly."""
        if not any("anomaly" in lane.protocol.needs for lane in self.lanes):
            return False
        without = set(absent)
        ordered = [*absent, *(sample for sample in self.frames.ids if sample not in without)]
        for sample in ordered:
            truth = self.frames.load(sample).anomaly
            if truth is None or bool((truth == 1).any()) == (sample in without):
                return False
        return True

    def _read(self, files: Mapping[str, Files]) -> Iterator[tuple[Sample, Labels | None, _Seen | None]]:
        for sample_id, each in files.items():
            sample = self.frames.load(sample_id)
            predicted = score_files.read_classes(each.prediction, sample.size) if each.prediction else None
            seen = None
            if each.score:
                stored = score_files.read_map(each.score, sample.size)
                seen = _Seen(each.score, stored, sample.size, self.options)
            yield sample, predicted, seen

    def _first_phase(self, sample: Sample, predicted: Labels | None, seen: _Seen | None) -> None:
        for lane in self.every:
            given = seen.by(lane.protocol) if seen is not None and lane.protocol.scored else None
            lane.rows[sample.id] = lane.protocol.row(sample, predicted, given)
        if seen is None:
            return
        self._look_at(seen)
        for group in list(self.groups):
            parts = list(_alike(group.lanes, sample, predicted, seen))
            apart = [_Group(_copy(group.tally), part.lanes) for part in parts[1:]]
            self.groups.extend(apart)
            for owner, part in zip([group, *apart], parts, strict=True):
                owner.lanes = part.lanes
                keyed = key_pixels(part.score, part.categories, owner.tally.categories)
                owner.tally.add(keyed)
                bins = keyed.bins()
                for lane in part.lanes:
                    lane.rows[sample.id] = {**lane.rows[sample.id], **bins}

    def _second_phase(self, files: Mapping[str, Files]) -> None:
        parameters: list[tuple[_Lane, Mapping[str, float]]] = []
        for lane in self.lanes:
            if lane.protocol.second_phase and (tally := self._tally(lane)) is not None:
                found = lane.protocol.parameters(tally, lane.rows)
                if not isinstance(found, Undefined):
                    parameters.append((lane, found))
        for sample, predicted, seen in self._read(files) if parameters else ():
            for lane, found in parameters:
                if seen is not None:
                    row = lane.protocol.frame(seen.by(lane.protocol), sample, predicted, found)
                    lane.rows[sample.id] = {**lane.rows[sample.id], **row}

    def _tally(self, lane: _Lane) -> Tally | None:
        return next((group.tally for group in self.groups if lane in group.lanes), None)

    def _read_off(self) -> None:
        """The figures, one tally after the other: each takes its keys into memory and is forgotten then."""
        for lane in self.every:
            if not lane.protocol.scored:
                self._figures(lane, None)
        while self.groups:
            tally, lanes = self.groups[0].tally, self.groups[0].lanes
            del self.groups[0]
            for lane in lanes:
                self._figures(lane, tally)

    def _figures(self, lane: _Lane, tally: Tally | None) -> None:
        figures = lane.protocol.read(tally, lane.rows)
        lane.figures, _ = intervals(lane.protocol, figures, lane.rows, self.options.seed, self.options.resamples)
        if tally is not None:
            counts = tally.counts()
            names = lane.protocol.category_names
            lane.pixels = {name: counts.column([index]).total for index, name in enumerate(names)}

    def _evaluation(self, place: int, lane: _Lane) -> Evaluation:
        passes = [other.figures for other in self.spread.get(place, ())]
        entries = tuple(definitions.entries(*passes)) if passes else ()
        return Evaluation(lane.protocol, self.frames, len(lane.rows), lane.figures, lane.pixels, entries)

    def _look_at(self, seen: _Seen) -> None:
        name, stored = str(seen.file), seen.stored
        self.look.add(name, stored.values, stored.dtype)
        for names, holds in (
            (self.infinite, bool(np.isinf(stored.values).any())),
            (self.channel, stored.channel),
            (self.smaller, stored.values.shape != seen.size),
        ):
            if holds:
                names.append(name)

    def _notes(self, extra: Sequence[MapFile]) -> Iterator[str]:
        if self.infinite:
            yield (
                f"{len(self.infinite)} score maps hold infinities (first: {self.infinite[0]}); they are ranked at the"
                " ends, equal ones as ties. 'bench run' and submissions refuse them"
            )
        if self.channel:
            yield f"{len(self.channel)} maps have a last axis of length 1 (first: {self.channel[0]}); it was dropped"
        if self.smaller:
            yield (
                f"{len(self.smaller)} maps are smaller than their labels (first: {self.smaller[0]}); they were"
                " upsampled bilinearly, half-pixel centres, by torch"
            )
        if extra:
            yield f"{len(extra)} maps belong to no frame of {self.frames.label} (first: {extra[0]}); they were not read"

    def _inverted(self, evaluations: Sequence[Evaluation]) -> list[Finding]:
        for each in evaluations:
            if _two_sided(each.protocol):
                negatives, positives = each.pixels.values()
                if finding := inverted(each.figures.get("auroc"), positives, negatives):
                    return [finding]
        return []


class _Seen:
    """One map as protocols see it, at label size."""

    def __init__(self, file: MapFile, stored: Map, size: tuple[int, int], options: Options) -> None:
        self.file, self.stored, self.size = file, stored, size
        self._resize = options.resize
        self._made: list[Scores] = [stored.values]

    def by(self, protocol: Protocol) -> Scores:
        """float32 [H, W]; the same object for protocols that see the same."""
        values = self.stored.values
        if values.shape == self.size:
            return self._once(protocol.seen(values))
        if protocol.resizes:  # stored as its board stores it, then upsampled
            return self._once(score_files.upsampled(protocol.seen(values), self.size))
        if not self._resize:
            raise BadScores(
                f"{self.file} is {list(values.shape)}, its labels are {list(self.size)}; write maps at label size, or"
                " let --resize upsample them"
            )
        return self._once(protocol.seen(self._once(score_files.upsampled(values, self.size))))

    def _once(self, score: Scores) -> Scores:
        for known in self._made:
            if known is score or (known.shape == score.shape and np.array_equal(known, score)):
                return known
        self._made.append(score)
        return score


class _Part(NamedTuple):
    """Protocols that count the same pixels of one image."""

    lanes: list[_Lane]
    score: Scores
    categories: Labels


def _alike(lanes: Sequence[_Lane], sample: Sample, predicted: Labels | None, seen: _Seen) -> Iterator[_Part]:
    parts: list[_Part] = []
    for lane in lanes:
        counted, categories = seen.by(lane.protocol), lane.protocol.categories(sample, predicted)
        for part in parts:
            if part.score is counted and np.array_equal(part.categories, categories):
                part.lanes.append(lane)
                break
        else:
            parts.append(_Part([lane], counted, categories))
    yield from parts


def _copy(tally: Tally) -> Tally:
    copy = Tally(tally.categories, tally.budget)
    copy.merge(tally)
    return copy


def _categories(lane: _Lane) -> int:
    return len(lane.protocol.category_names) if lane.protocol.scored else 0


def _some(lines: Sequence[str]) -> str:
    return "; ".join(lines[:NAMED]) + (f"; and {len(lines) - NAMED} more" if len(lines) > NAMED else "")
