"""Fishyscapes: a portable package of a method, a container's content with an entry point from /input to /output.

The contract (hermannsblum/fishyscapes, the page of the board until it closed): ``/input/DDDD_*.png`` become
``/output/DDDD_*_anomaly.npy``, floating point [H, W], higher more anomalous, and ``/output/DDDD_*_segmentation.npy``,
whole train ids [H, W] below 20. No network, no root, a read-only root file system. A model ``command:`` runs such a
package as it is. Rules of what a package and its outputs must be: the same page and validation_performance.json as they
were until February 2026.
"""

from __future__ import annotations

import math
import os
import re
import sys
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image

from bench.api import (
    Archive,
    Board,
    Claim,
    Compared,
    Dataset,
    Failure,
    Made,
    Masks,
    Option,
    Protocol,
    Rerun,
    Submission,
    Trial,
    Value,
    Verdict,
)
from bench.core.errors import BadScores, BadSuite, MissingData
from bench.evaluate import evaluation
from bench.evaluate import files as map_files
from bench.evaluate.files import MapFile
from bench.evaluate.frames import Published
from bench.results import store
from bench.submit import package, sandbox
from bench.submit.submission import check_classes
from bench.suite import registry

CLAIM = "validation_performance.json"
METHOD = "method.json"
ENTRY = "run"
TEMPLATES = ("Dockerfile", "README.md", "apptainer.def", "entry.py", ENTRY)
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"  # the versions in requirements.txt are known to go with it
LARGEST = 10 * 10**9  # bytes of an image
BUILT_BY = ("Dockerfile", "apptainer.def", "Singularity")
NUMBERED = re.compile(r"\d{4}_.+")
CLASSES = 20
JSON = 2**24  # bytes
TOLERANCE = 0.01  # of a claim, that the server allows


@dataclass(frozen=True)
class Fishyscapes(Board):
    """Fishyscapes: a package that runs anywhere, /input to /output, with the claim of a validation run."""

    name = "fishyscapes"
    source = "hermannsblum/fishyscapes; arXiv:1904.03215"
    title = "Fishyscapes"
    status = (
        "closed since February 2026: the form is shut and the runner is down; the maintainer offers tests by hand"
        " (hermannsblum/fishyscapes#83)"
    )
    checked = "2026-02-23"
    page = "https://fishyscapes.com/submission"
    takes = "a container that turns /input/*.png into /output/*_anomaly.npy and /output/*_segmentation.npy"
    steps = (
        "build the image where there is Docker or Apptainer: the commands stand in README.md of the package",
        "while the board is closed: ask in https://github.com/hermannsblum/fishyscapes/issues whether a test by"
        " hand is offered, or submit to SegmentMeIfYouCan",
        "should it open again: fork hermannsblum/fishyscapes, open a pull request that puts"
        " validation_performance.json in the place of the one there",
        "upload the image (below 10 GB, Apptainer 1.1.5) through the form, with the number of the pull request",
    )
    needs_run = True

    claim_set: Annotated[
        str | None, Option("The data set of the claim; a wrong one lists those of the run.", flag="set")
    ] = None

    def recognises(self, members: Collection[str]) -> bool:
        return CLAIM in members or any(name in members for name in BUILT_BY)

    # ------------------------------------------------------------------------------------------ making

    def make(self, submission: Submission) -> Made:
        """Write ``out/title/``, whole or not at all; an older package of that name is replaced."""
        check_classes(submission)
        claim, ap, fpr95 = self._claim(submission.claims("fishyscapes"))
        with package.replacing(submission.out / submission.title) as folder:
            described = {"schema": 1, "name": submission.title, **submission.package(folder)}
            described["claim"] = {"dataset": claim.dataset_entry, "given": claim.dataset, "cell": claim.cell}
            store.write_json(folder / METHOD, described)
            store.write_json(folder / CLAIM, {"ap": ap, "fpr": fpr95})
            for template in TEMPLATES:
                text = (
                    resources.files("bench.submissions")
                    .joinpath(f"templates/fishyscapes/{template}")
                    .read_text("utf-8")
                )
                text = text.replace("@NAME@", submission.title).replace("@PYTHON@", PYTHON)
                (folder / template).write_text(text, encoding="utf-8")
            (folder / ENTRY).chmod(0o755)
            seconds = round(claim.seconds / claim.images, 4) if claim.images else None
            submission.card(folder, [claim], seconds, {"seconds_are": "CPU seconds of the run"})
        final = submission.out / submission.title
        return Made(final, [f"{final}: claims AP {ap:.4f} and FPR95 {fpr95:.4f} on {claim.dataset}"])

    def _claim(self, claims: list[Claim]) -> tuple[Claim, float, float]:
        """The result that the board compares with its own run, its AP and its FPR95."""
        known = sorted({claim.dataset for claim in claims})
        if self.claim_set:
            claims = [claim for claim in claims if self.claim_set in (claim.dataset, claim.dataset_entry["name"])]
        labels = sorted({claim.dataset for claim in claims})
        if not claims:
            wanted = f" on {self.claim_set}; it has them on {', '.join(known)}" if self.claim_set and known else ""
            raise BadSuite(
                f"the run has no full result of this method under the protocol fishyscapes{wanted}: the claim is that"
                " of a real validation run; bench run it without --limit"
            )
        if len(labels) > 1:
            raise BadSuite(
                f"the run has {len(labels)} data sets: {', '.join(labels)}; name the one of the claim with --set"
            )
        ap, fpr95 = claims[0].figures["ap"], claims[0].figures["fpr95"]
        if not isinstance(ap, Value) or not isinstance(fpr95, Value):
            raise BadSuite(f"{labels[0]}: AP or FPR95 has no value there, so there is nothing to claim")
        return claims[0], ap.value, fpr95.value

    # ------------------------------------------------------------------------------------------ checking

    def check(self, archive: Archive, masks: Masks | None = None) -> Verdict:
        """Hold a package, a folder or a .zip of it, against what can be said without running it."""
        verdict = Verdict(self.name, str(archive.path), list(archive.failures))
        if not set(BUILT_BY) & archive.members.keys():
            complaint = f"none of {', '.join(BUILT_BY)} is there: nothing says how to build the image"
            verdict.failures.append(Failure("container", str(archive.path), complaint))
        total = sum(archive.size(member) for member in archive.members)
        if total > LARGEST:
            complaint = f"holds {total / 1e9:.1f} GB, the image must stay below {LARGEST / 1e9:.0f}"
            verdict.failures.append(Failure("size in bytes", str(archive.path), complaint))
        _claimed(archive, verdict)
        package.check_manifest(archive, verdict)
        package.check_secrets(archive, verdict)
        verdict.counts["files"] = len(archive.members)
        verdict.notes.append(
            "what the program does was not looked at: bench submit dry-run runs it as the server would"
        )
        return verdict

    # ------------------------------------------------------------------------------------------ dry runs

    def dry_run(self, archive: Archive, verdict: Verdict, trial: Trial) -> Rerun:
        """Run the entry point on the frames of the claim, read its files back, and compare."""
        folder = archive.path
        if not folder.is_dir():
            raise BadScores(f"{folder}: unpack it first: a dry run runs the program in its folder")
        claim = _claimed(archive, verdict)
        dataset = _dataset_of(folder)
        with tempfile.TemporaryDirectory(prefix="bench-dry-run-") as scratch:
            images, out = Path(scratch, "input"), Path(scratch, "output")
            images.mkdir()
            out.mkdir()
            out.chmod(0o777)
            sizes = _write_images(dataset, images, trial.limit)
            # where /tmp is hidden the program still needs itself and the Python that runs it
            seen = [path.resolve() for path in (folder, Path(sys.prefix), Path(sys.base_prefix))]
            outcome = sandbox.run([str(folder.resolve() / ENTRY)], images, out, seen, trial.timeout)
            lines = [*outcome.lines(), outcome.summary(len(sizes))]
            if outcome.status:
                complaint = f"ended with status {outcome.status}: {outcome.last_lines or 'it said nothing'}"
                verdict.failures.append(Failure("runs", ENTRY, complaint))
                return Rerun((), lines)
            check_output(out, sizes, verdict)
            if trial.limit is not None:
                lines.append("nothing was compared: a claim is about all frames, and --limit took some")
            if verdict.failures or trial.limit is not None:
                return Rerun((), lines)
            protocol: Protocol = registry.build("protocol", "fishyscapes", {}, where="dry-run")
            report = evaluation.score([protocol], [Published(dataset)], out, None, evaluation.Options(resamples=0))
        figures = report.evaluations[0].figures
        compared = []
        for name, key in (("ap", "ap"), ("fpr95", "fpr")):
            figure = figures[name]
            if not isinstance(figure, Value):
                raise BadScores(f"{folder}: {name} has no value on these frames: {figure.reason}")
            compared.append(Compared("validation", name, figure.value, claim[key], TOLERANCE))
        return Rerun(compared, lines)


def _claimed(archive: Archive, verdict: Verdict) -> Mapping[str, float]:
    """``ap`` and ``fpr`` as the package claims them; a failure where it does not."""
    complaint = ""
    claim: Any = None
    if CLAIM not in archive.members:
        complaint = "is absent; wanted the AP and FPR95 of a validation run"
    else:
        claim = package.json_of(archive, CLAIM)
        if not isinstance(claim, dict) or not {"ap", "fpr"} <= claim.keys():
            complaint = 'wanted {"ap": .., "fpr": ..}'
        elif extra := sorted(claim.keys() - {"ap", "fpr", "download_url"}):
            complaint = f"holds {extra[0]!r}; the server reads ap, fpr and download_url"
        else:
            for name in ("ap", "fpr"):
                value = claim[name]
                if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                    complaint = f"{name} is {value!r}, wanted a number"
                elif not 0 <= value <= 1:
                    complaint = f"{name} is {value!r}, wanted a rate from 0 to 1, not percent"
    if complaint:
        verdict.failures.append(Failure("claim", CLAIM, complaint))
        return {}
    return {"ap": float(claim["ap"]), "fpr": float(claim["fpr"])}


def _dataset_of(folder: Path) -> Dataset:
    """The frames of the claim, by the package's own words."""
    path = folder / METHOD
    if not path.is_file():
        raise MissingData(f"{path} does not exist: nothing says on which frames the claim was measured")
    raw: Any = store.read_json(path)
    try:
        entry = raw["claim"]["dataset"]
        params = {key: value for key, value in entry["params"].items() if value is not None}
        dataset: Dataset = registry.build("dataset", entry["name"], params, where=str(path))
    except (KeyError, TypeError, AttributeError) as error:
        raise MissingData(f"{path} does not say which data set the claim is about: {error}") from None
    dataset.check()
    return dataset


def _write_images(dataset: Dataset, folder: Path, limit: int | None) -> dict[str, tuple[int, int]]:
    """Write the input as the server names it; return (H, W) by stem."""
    sizes: dict[str, tuple[int, int]] = {}
    for index, name in enumerate(dataset.ids()[:limit]):
        sample = dataset.load(index)
        stem = name if NUMBERED.fullmatch(name) else f"{index:04}_{name}"
        Image.fromarray(sample.image()).save(folder / f"{stem}.png", compress_level=1)
        sizes[stem] = sample.size
    return sizes


def check_output(folder: Path, sizes: Mapping[str, tuple[int, int]], verdict: Verdict) -> None:
    """Hold what a program left against the server's rules. ``sizes`` are (H, W) of the input by its stem."""
    wanted = {f"{stem}_{ending}.npy" for stem in sizes for ending in ("anomaly", "segmentation")}
    present = set(os.listdir(folder))  # noqa: PTH208 - names alone; what they are is looked at below
    for missing in sorted(wanted - present):
        verdict.failures.append(Failure("count", missing, "is absent: every input has two outputs"))
    for extra in sorted(present - wanted):
        verdict.failures.append(Failure("names", extra, "was not asked for; the server counts the files"))
    for stem, size in sizes.items():
        for ending in ("anomaly", "segmentation"):
            name = f"{stem}_{ending}.npy"
            if name in present:
                complaint = _output(folder / name, size, classes=ending == "segmentation")
                if complaint:
                    verdict.failures.append(Failure(complaint[0], name, complaint[1]))


def _output(path: Path, size: tuple[int, int], *, classes: bool) -> tuple[str, str] | None:
    """The rule that a file breaks and a complaint; None where it breaks none."""
    if path.is_symlink() or not path.is_file():
        return "symlink", "is no plain file"
    try:
        values = map_files.array_of(MapFile(path), size)
    except BadScores as error:
        return "npy", str(error).removeprefix(f"{path} ")
    if values.shape != size:
        turned = "; is it transposed?" if values.shape == size[::-1] else ""
        return "map size", f"is {list(values.shape)}, its input is {list(size)}{turned}"
    if classes:
        if values.dtype.kind not in "iu":
            return "dtype", f"holds {values.dtype}, wanted whole numbers"
        if values.min() < 0 or values.max() >= CLASSES:
            return "values", f"holds {values.min()} to {values.max()}, wanted train ids from 0 to {CLASSES - 1}"
        return None
    if values.dtype.kind != "f":
        return "dtype", f"holds {values.dtype}, wanted floating point"
    if not np.isfinite(values).all():
        return "finite", "holds NaN or infinities"
    if values.min() == values.max():
        return "constant", f"holds {values.flat[0]} everywhere and ranks nothing"
    return None
