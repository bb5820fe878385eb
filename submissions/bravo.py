"""BRAVO: one tar of encoded predictions, a class map and 16-bit confidences of the sampled pixels for each image.

Names, codec, sampling and the order of checks: valeoai/bravo_challenge@d54005d, the server's toolkit. Where it lets a
class map hold 19, which is then counted as another class, this check refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, cast, get_args

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from PIL import Image

from bench.api import (
    CITYSCAPES,
    IGNORE,
    Archive,
    Board,
    Compared,
    Dataset,
    Failure,
    Labels,
    Made,
    Masks,
    Option,
    Part,
    Protocol,
    Refused,
    Rerun,
    Sample,
    Scores,
    Submission,
    Trial,
    Undefined,
    Value,
    Verdict,
)
from bench.core import files
from bench.core.errors import BadPlugin, BadScores, BadSuite, MissingData, UnknownName
from bench.datasets.bravo import SPLITS, Subset, split_of
from bench.datasets.bravo import Bravo as Reader
from bench.datasets.frames import size as size_of
from bench.evaluate.metric import Metric
from bench.metrics import bravo_index, bravo_levels
from bench.metrics.protocols import bravo as protocol
from bench.submit import archive_writer, bravo_codec, confidence, dry_run
from bench.submit.bravo_lists import LISTED, TAR, Lists
from bench.submit.confidence import FILE, Fit
from bench.submit.submission import check_classes
from bench.suite import arguments, registry

ENDING = "_encoded.bin"
SUBSETS: tuple[Subset, ...] = get_args(Subset)
CLASSES = len(CITYSCAPES)
THREADS = 2
WRAPPED = 0.9 * bravo_levels.LEVELS  # a level of 0 beside a median above this is likely 1.0 that did not fit 16 bits
Truth = Callable[[str], Sample]


@dataclass(frozen=True)
class Bravo(Board):
    """BRAVO: a tar of encoded class maps and confidences. Kill it at any time: the same command goes on.

    A method gives a confidence, the probability that a pixel is right, as msp does, or one is fitted to its score.
    """

    name = "bravo"
    source = "Vu et al., arXiv:2409.15107; valeoai/bravo_challenge@d54005d"
    title = "BRAVO Challenge"
    status = "open when last heard of, in 2024; whether it still is was not looked at"
    checked = "2024-10-09"
    page = "https://benchmarks.elsa-ai.eu/?ch=1"
    takes = "one tar of encoded predictions of nine subsets; one track for each set of allowed training data"
    steps = (
        "log in on https://benchmarks.elsa-ai.eu/?ch=1, task Autonomous Driving, and upload the tar to the track of"
        " your training data",
        "make the submission public there: only then does it count",
        "write the report of the challenge: at most 4500 words, with code and weights that others can get",
    )

    sets: Annotated[tuple[str, ...], Option("Which subsets; the server wants all nine.", "SUBSET,...")] = SUBSETS
    frames: Annotated[
        Mapping[str, int], Option("How many images a subset has, where not as published.", "SUBSET=N,...")
    ] = field(default_factory=dict)
    confidence: Annotated[
        Literal["own", "isotonic"], Option("The method's own, or its score mapped by what --validation says.")
    ] = "own"
    validation: Annotated[
        str | None,
        Option("Labelled images to fit isotonic on, such as cityscapes:split=val.", "NAME[:k=v,...]"),
    ] = None
    raw: Annotated[bool, Option("Also write the files before they are encoded, below OUT/raw.")] = False
    processes: Annotated[int, Ge(1), Option("Processes that each hold the network.")] = 1

    def __post_init__(self) -> None:
        if not self.sets:
            raise ValueError(f"--sets names none; the subsets are {', '.join(SUBSETS)}")
        for name in self.sets:
            if name not in SUBSETS:
                raise UnknownName("subset", name, SUBSETS, "bench submit")
        if (self.confidence == "isotonic") != (self.validation is not None):
            raise ValueError("--confidence isotonic and --validation NAME go together")

    def recognises(self, members: Collection[str]) -> bool:
        return any(name.endswith(ENDING) for name in members)

    def _reader(self, subset: str, labels: Literal["hidden", "present"] = "hidden") -> Reader:
        return Reader(cast(Subset, subset), labels, frames=self.frames.get(subset))

    # ------------------------------------------------------------------------------------------ making

    def make(self, submission: Submission) -> Made:
        check_classes(submission)
        own = submission.method.confidence if submission.method else lambda score: None
        if self.validation is None and own(np.zeros((1, 1), np.float32)) is None:
            raise BadSuite(
                f"{submission.method_label} gives no confidence, and BRAVO takes nothing else; fit one to its score:"
                " --confidence isotonic --validation cityscapes:split=val"
            )
        readers = {subset: self._reader(subset) for subset in self.sets}
        for reader in readers.values():
            reader.check()
        fit = self._fitted(submission)
        lists = Lists.official(readers.values()) or Lists.drawn(readers.values(), submission.out)
        code = files.digest(Path(bravo_codec.__file__))
        about = {"board": self.name, "name": submission.title}
        about |= {"confidence": fit.stamp} if fit else {}
        about |= {"raw": "yes"} if self.raw else {}
        parts = [
            Part(
                name=subset,
                reader=reader,
                ending=".bin",
                member=partial(_member, reader.bases),
                sink=partial(
                    Keep,
                    lists=lists,
                    bases=reader.bases,
                    confidence=fit.confidence if fit else own,
                    who=submission.method_label,
                    raw=_raw(submission.out, subset) if self.raw else None,
                ),
                made_with=" ".join([code, lists.digest(reader.bases.values()), *about.values()]),
            )
            for subset, reader in readers.items()
        ]
        record = submission.archive(parts, about, self.processes, ".tar")
        more = {"archive": {"name": record["archive"], "sha256": record["sha256"]}, "sets": record["sets"]}
        more |= {"confidence": fit.about} if fit else {}
        claims = [] if fit else submission.claims("bravo")  # which are about the method's own confidence
        submission.card(submission.out, claims, archive_writer.seconds(record), more)
        counts = ", ".join(f"{subset} {kept['frames']}" for subset, kept in record["sets"].items())
        lines = [f"{submission.out / record['archive']}: encoded predictions of {counts}"]
        if fit:
            lines.append(f"confidence: isotonic on {self.validation}, {len(fit.confidence.scores)} knots in {FILE}")
        return Made(submission.out, lines)

    def _fitted(self, submission: Submission) -> Fit | None:
        """Return the confidence that is fitted to the method's score; None if the method's own is meant."""
        if self.validation is None:
            return None
        name, params = arguments.named(self.validation, "--validation")
        reader: Dataset = registry.build("dataset", name, params, where="--validation")
        return confidence.of(submission, reader, self.validation, self.processes)

    # ------------------------------------------------------------------------------------------ checking

    def check(self, archive: Archive, masks: Masks | None = None) -> Verdict:
        verdict = Verdict(self.name, str(archive.path), list(archive.failures))
        members = {name.removesuffix(ENDING): name for name in archive.members if name.endswith(ENDING)}
        for stray in sorted(archive.members.keys() - set(members.values()))[:3]:
            verdict.warnings.append(f"{stray}: is none of {ENDING}, and the server passes it over")
        for base, name in members.items():
            if name.startswith("./"):
                verdict.failures.append(
                    Failure("names", name, "begins with ./, and the server then finds no file; pack names without it")
                )
            elif base.split("/")[0].removeprefix("bravo_") not in SPLITS or not base.startswith("bravo_"):
                verdict.warnings.append(f"{name}: is of no split of BRAVO, and the server passes it over")
        unlisted = [subset for subset in self.sets if not self._check_subset(subset, archive, members, verdict)]
        if unlisted:
            named = ", ".join(unlisted)
            verdict.notes.append(f"without {TAR} it was not checked how many confidences there must be: {named}")
        return verdict

    def _check_subset(self, subset: str, archive: Archive, members: Mapping[str, str], verdict: Verdict) -> bool:
        """Return False if nobody knows which pixels are sampled."""
        try:
            reader = self._reader(subset)
            sizes = {reader.bases[frame.id]: size_of(frame.image) for frame in reader._frames}
        except MissingData as error:
            verdict.notes.append(f"{subset}: names and sizes were not compared with its images: {error}")
            return True
        lists = Lists.official([reader]) or Lists.beside(archive.path, [reader])
        for base in sorted(sizes.keys() - members.keys()):
            verdict.failures.append(Failure("count", base + ENDING, "is absent: every image has a prediction"))
        held = {base: members[base] for base in sorted(sizes.keys() & members.keys())}
        truth = self._truth(subset)
        with ThreadPoolExecutor(THREADS) as pool:
            judged = pool.map(partial(_judged, archive, sizes, lists, truth), held, held.values())
            for name, (complaint, doubts) in zip(held.values(), judged, strict=True):
                verdict.warnings += [f"{name}: {doubt}" for doubt in doubts]
                if complaint:
                    verdict.failures.append(Failure(complaint.rule, name, complaint.text))
        verdict.counts[subset] = len(held)
        return lists is not None

    def _truth(self, subset: str) -> Truth | None:
        """Return what loads a labelled image by its name in the archives; None where there are no labels."""
        reader = self._reader(subset, "present")
        try:
            places = {reader.bases[sample]: place for place, sample in enumerate(reader.ids())}
        except MissingData:
            return None
        return lambda base: reader.load(places[base])

    # ------------------------------------------------------------------------------------------ dry runs

    def dry_run(self, archive: Archive, verdict: Verdict, trial: Trial) -> Rerun:
        """Evaluate the subsets whose labels and masks lie beside the images, and the means over those."""
        compared: list[Compared] = []
        measured: dict[str, Mapping[str, Value | Undefined]] = {}
        claimed: dict[str, Mapping[str, Value | Undefined]] = {}
        made_from = trial.record.get("made_from")
        fitted = isinstance(made_from, dict) and bool(made_from.get("confidence"))  # the run has the method's own
        for subset in self.sets:
            reader = self._reader(subset, "present")
            try:
                ids = reader.ids()
            except MissingData:
                continue
            lists = Lists.official([reader]) or Lists.beside(archive.path, [reader])
            samples = lists.largest(reader.bases.values()) if lists else protocol.SAMPLES
            params = {"judged": bravo_index.SUBSETS[subset], "samples": samples}
            built: Protocol = registry.build("protocol", "bravo", params, where="dry-run")
            metric = Metric(built, resamples=0)
            for index in range(len(ids)):
                sample = reader.load(index)
                assert sample.labels is not None  # noqa: S101 - the reader was asked for them
                base = reader.bases[sample.id]
                indices = protocol.sampled(sample.labels, samples)
                if lists and not np.array_equal(lists.indices(base), indices):
                    raise MissingData(
                        f"{base}{LISTED} lists other pixels than the official rule draws from the labels beside its"
                        f" image; get {TAR} again, or the labels that belong to it"
                    )
                classes, confidence = _decoded(archive, base + ENDING, sample, indices)
                metric.update(confidence, sample.labels, classes, anomaly=sample.anomaly, id=sample.id)
            measured[subset] = dict(metric.compute())
            verdict.warnings += _without_value(subset, measured[subset])
            claimed[subset] = {
                name: figure for name, figure in trial.claimed("bravo", ids).items() if name == "miou" or not fitted
            }
            compared += dry_run.compared(subset, measured[subset], claimed[subset], dry_run.EXACT)
        if measured and not compared:
            raise BadScores(f"{archive.path}: {verdict.warnings[-1]}")
        if measured:
            theirs = bravo_index.bravo_index(claimed) if all(claimed.values()) and not fitted else {}
            whole = measured.keys() == bravo_index.SUBSETS.keys()
            where = "BRAVO" if whole else f"{len(measured)} of {len(bravo_index.SUBSETS)} subsets"
            compared += dry_run.compared(where, bravo_index.bravo_index(measured), theirs, dry_run.EXACT)
        return Rerun(compared)


def _without_value(subset: str, figures: Mapping[str, Value | Undefined]) -> Iterator[str]:
    """Say which figures of a subset have no value, by reason: the server refuses the whole submission there."""
    lacking: dict[str, list[str]] = {}
    for name, figure in figures.items():
        if isinstance(figure, Undefined) and figure != bravo_index.NOT_JUDGED:
            lacking.setdefault(figure.reason, []).append(name)
    for reason, names in lacking.items():
        yield f"{subset}: {', '.join(names)} have no value ({reason}), and the server then refuses the whole submission"


def _member(bases: Mapping[str, str], sample: str) -> str:
    return bases[sample] + ENDING


@dataclass(frozen=True)
class Raw:
    """The tree of predictions before they are encoded: PNG files of classes, 8 bits, and of confidences, 16 bits."""

    folder: Path
    prediction: str  # the endings of their names
    confidence: str

    def write(self, base: str, classes: Labels, levels: NDArray[np.uint16]) -> None:
        for ending, pixels in ((self.prediction, classes), (self.confidence, levels)):
            path = self.folder / (base + ending)
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.writing(path) as file:
                Image.fromarray(pixels).save(file, "PNG")


def _raw(out: Path, subset: str) -> Raw:
    names = SPLITS[split_of(subset)]
    return Raw(out / "raw", names.prediction, names.confidence)


@dataclass(frozen=True)
class Keep:
    """Write the encoded prediction of one image."""

    folder: Path
    lists: Lists
    bases: Mapping[str, str]
    confidence: Callable[[Scores], Scores | None]
    who: str  # the method
    raw: Raw | None = None  # where it also goes before it is encoded

    def __call__(self, sample: str, score: Scores | None, labels: Labels | None) -> None:
        if score is None or labels is None:
            raise BadSuite(f"{sample}: BRAVO takes a class map and a confidence, and the network gives no class map")
        confidence = self.confidence(score)
        if confidence is None or not ((confidence >= 0) & (confidence <= 1)).all():
            raise BadPlugin(f"{self.who} on {sample}: its confidence must be a probability for every pixel")
        if labels.max() >= CLASSES:
            raise BadSuite(f"{sample}: the class map holds {int(labels.max())}, wanted train ids from 0 to 18")
        levels = bravo_levels.levels(confidence).astype(np.uint16)
        indices = self.lists.indices(self.bases[sample])
        if indices[-1] >= labels.size:
            raise MissingData(f"{self.bases[sample]}{LISTED} names the pixel {indices[-1]} of {labels.size}")
        if self.raw is not None:
            self.raw.write(self.bases[sample], labels, levels)
        with files.writing(self.folder / f"{sample}.bin") as file:
            file.write(bravo_codec.encode(labels, levels, indices))


def _read(
    archive: Archive, name: str, size: tuple[int, int], listed: int | None, truth: Callable[[], Sample] | None
) -> tuple[bravo_codec.Encoded, list[str]]:
    """Return one prediction of a submission, and what is doubtful about it.

    Raise Refused for one that the server refuses, or counts as something else. ``listed`` is the number of sampled
    pixels, None where nobody knows it; ``truth`` loads the labelled image, where there is one.
    """
    pixels = size[0] * size[1]
    encoded = bravo_codec.decode(archive.read(name, 4 * pixels + 2**16), limit=pixels)
    shape, confidences = encoded.classes.shape, encoded.confidences
    if shape != size:
        turned = "; is it transposed?" if shape == size[::-1] else ""
        raise Refused("map size", f"is {shape[0]}x{shape[1]}, its image is {size[0]}x{size[1]}{turned}")
    if listed is not None and len(confidences) != listed:
        raise Refused("confidences", f"holds {len(confidences)} confidences, wanted {listed}, as {TAR} lists")
    doubts = _doubtful_classes(encoded.classes, truth)
    if len(confidences) > 1 and not confidences.any():
        raise Refused("wrapped", "has the confidence 0 everywhere: was 1.0 stored as 65536? wanted at most 65535")
    zeros = int(np.count_nonzero(confidences == 0))
    if zeros and np.median(confidences[confidences > 0]) > WRAPPED:
        doubts.append(f"has {zeros} confidences of 0, and most others near 1: was 1.0 stored as 65536? [wrapped]")
    return encoded, doubts


def _doubtful_classes(classes: Labels, truth: Callable[[], Sample] | None) -> list[str]:
    """Say which odd classes stand where no pixel counts. Raise Refused for others, and where that cannot be known."""
    highest = int(classes.max())
    if highest < CLASSES:
        return []
    if truth is not None:
        sample = truth()
        assert sample.labels is not None and sample.anomaly is not None  # noqa: S101 - the reader was asked for them
        counted = classes[(sample.labels != IGNORE) & (sample.anomaly == 0)]
        if counted.max(initial=0) < CLASSES:
            return [f"holds the class {highest}, on pixels alone that are void or invalid and count nowhere [values]"]
        highest = int(counted.max())
    hint = ", which the server counts as the class after the right one" if highest == CLASSES else ""
    raise Refused("values", f"holds the class {highest}{hint}, wanted train ids from 0 to 18")


def _judged(
    archive: Archive,
    sizes: Mapping[str, tuple[int, int]],
    lists: Lists | None,
    truth: Truth | None,
    base: str,
    name: str,
) -> tuple[Refused | None, list[str]]:
    """Return the rule that one prediction breaks, and what is doubtful about it."""
    load = partial(truth, base) if truth else None
    try:
        return None, _read(archive, name, sizes[base], len(lists.indices(base)) if lists else None, load)[1]
    except Refused as error:
        return error, []


def _decoded(archive: Archive, name: str, sample: Sample, indices: NDArray[np.int64]) -> tuple[Labels, Scores]:
    """Return class map and confidence of one labelled image; the latter is 0 where the archive holds none."""
    try:
        encoded, _ = _read(archive, name, sample.size, len(indices), lambda: sample)
    except Refused as error:
        raise BadScores(f"{name}: {error.text}") from None
    confidence = np.zeros(encoded.classes.size, np.float32)
    confidence[indices] = (encoded.confidences + np.float32(0.5)) / np.float32(bravo_levels.LEVELS)
    return encoded.classes, confidence.reshape(sample.size)
