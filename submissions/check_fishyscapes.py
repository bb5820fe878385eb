"""What the server of Fishyscapes needs of a package, and of what a program leaves in /output.

Rules: hermannsblum/fishyscapes, the page of submissions and validation_performance.json as they were until February
2026. Nothing here knows how this project writes packages; its manifest is compared where there is one.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.errors import BadScores
from bench.evaluate.files import MapFile
from bench.submit.archives import Archive, Failure, Refused
from bench.submit.verdict import Verdict

LARGEST = 10 * 10**9  # bytes of an image
CLAIM = "validation_performance.json"
MANIFEST = "manifest.json"
BUILT_BY = ("Dockerfile", "apptainer.def", "Singularity")
NUMBERED = re.compile(r"\d{4}_.+")
CLASSES = 20
JSON = 2**24  # bytes


def check(archive: Archive) -> Verdict:
    """Hold a package, a folder or a .zip of it, against what can be said without running it."""
    verdict = Verdict("fishyscapes", str(archive.path), list(archive.failures))
    if not set(BUILT_BY) & archive.members.keys():
        said = f"none of {', '.join(BUILT_BY)} is there: nothing says how to build the image"
        verdict.failures.append(Failure("container", str(archive.path), said))
    total = sum(archive.size(member) for member in archive.members)
    if total > LARGEST:
        said = f"holds {total / 1e9:.1f} GB, the image must stay below {LARGEST / 1e9:.0f}"
        verdict.failures.append(Failure("size in bytes", str(archive.path), said))
    claim(archive, verdict)
    _check_manifest(archive, verdict)
    _check_secrets(archive, verdict)
    verdict.counts["files"] = len(archive.members)
    verdict.notes.append("what the program does was not looked at: bench submit dry-run runs it as the server would")
    return verdict


def claim(archive: Archive, verdict: Verdict) -> Mapping[str, float]:
    """``ap`` and ``fpr`` as the package claims them; a failure where it does not."""
    said = ""
    found: Any = None
    if CLAIM not in archive.members:
        said = "is absent; wanted the AP and FPR95 of a validation run"
    else:
        found = _json(archive, CLAIM)
        if not isinstance(found, dict) or not {"ap", "fpr"} <= found.keys():
            said = 'wanted {"ap": .., "fpr": ..}'
        elif extra := sorted(found.keys() - {"ap", "fpr", "download_url"}):
            said = f"holds {extra[0]!r}; the server reads ap, fpr and download_url"
        else:
            for name in ("ap", "fpr"):
                value = found[name]
                if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                    said = f"{name} is {value!r}, wanted a number"
                elif not 0 <= value <= 1:
                    said = f"{name} is {value!r}, wanted a rate from 0 to 1, not percent"
    if said:
        verdict.failures.append(Failure("claim", CLAIM, said))
        return {}
    return {"ap": float(found["ap"]), "fpr": float(found["fpr"])}


def _json(archive: Archive, name: str) -> Any:
    try:
        return json.loads(archive.read(name, JSON))
    except (Refused, ValueError, RecursionError):  # the caller says what was wanted
        return None


def _check_manifest(archive: Archive, verdict: Verdict) -> None:
    if MANIFEST not in archive.members:
        verdict.warnings.append(f"{MANIFEST}: is absent; nobody can tell whether the package is whole")
        return
    raw = _json(archive, MANIFEST)
    said = raw.get("files") if isinstance(raw, dict) else None
    if not isinstance(said, dict):
        verdict.failures.append(Failure("whole", MANIFEST, "is no list of files and their sha256"))
        return
    for name in sorted(archive.members.keys() | said.keys()):
        if name == MANIFEST or "__pycache__" in name:
            continue
        if name not in archive.members:
            verdict.failures.append(Failure("whole", name, f"is absent, but {MANIFEST} lists it"))
        elif name not in said:
            verdict.failures.append(Failure("whole", name, f"is not listed in {MANIFEST}"))
        else:
            try:
                same = archive.sha256(name) == said[name]
            except Refused as error:
                verdict.failures.append(Failure(error.rule, name, error.text))
                continue
            if not same:
                verdict.failures.append(Failure("whole", name, f"is not what {MANIFEST} says: it was changed"))


def _check_secrets(archive: Archive, verdict: Verdict) -> None:
    """A package is published: keys and tokens have no place in it."""
    for name in (*archive.members, *archive.strays):
        if Path(name).name in ("id_rsa", "id_ed25519", "credentials", ".netrc", ".env"):
            verdict.failures.append(Failure("secrets", name, "looks like a key or a token; the package is published"))


def check_output(folder: Path, sizes: Mapping[str, tuple[int, int]], verdict: Verdict) -> None:
    """Hold what a program left against the server's rules. ``sizes`` are (H, W) of the input by its stem."""
    wanted = {f"{stem}_{ending}.npy" for stem in sizes for ending in ("anomaly", "segmentation")}
    found = set(os.listdir(folder))  # noqa: PTH208 - names alone; what they are is looked at below
    for missing in sorted(wanted - found):
        verdict.failures.append(Failure("count", missing, "is absent: every input has two outputs"))
    for extra in sorted(found - wanted):
        verdict.failures.append(Failure("names", extra, "was not asked for; the server counts the files"))
    for stem, size in sizes.items():
        for ending in ("anomaly", "segmentation"):
            name = f"{stem}_{ending}.npy"
            if name in found:
                complaint = _output(folder / name, size, classes=ending == "segmentation")
                if complaint:
                    verdict.failures.append(Failure(complaint[0], name, complaint[1]))


def _output(path: Path, size: tuple[int, int], *, classes: bool) -> tuple[str, str] | None:
    """Which rule a file breaks, and how."""
    from bench.evaluate import files

    if path.is_symlink() or not path.is_file():
        return "symlink", "is no plain file"
    try:
        values = files._array(MapFile(path), size)
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
