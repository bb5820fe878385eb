"""Fishyscapes: a portable package of a method, a container's content with an entry point from /input to /output.

The contract (hermannsblum/fishyscapes, the page of the board until it closed): ``/input/DDDD_*.png`` become
``/output/DDDD_*_anomaly.npy``, floating point [H, W], higher more anomalous, and ``/output/DDDD_*_segmentation.npy``,
whole train ids [H, W] below 20. No network, no root, a read-only root file system. A model ``command:`` runs such a
package as it is.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import bench
from bench.api import CITYSCAPES, SegModel, Value
from bench.core import files
from bench.core.errors import BadSuite, CannotWrite
from bench.fit import fitted_store
from bench.results import store
from bench.results.store import Result
from bench.run import score_maps
from bench.suite.expansion import Ref

MANIFEST = "manifest.json"
CLAIM = "validation_performance.json"
METHOD = "method.json"
ENTRY = "run"
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"  # the versions in requirements.txt are known to go with it
PLAIN = frozenset({"toynet", "toyquery", "torchscript"})  # networks that need no package beyond the project's own
OPTIONAL = ("imagecorruptions", "onnxruntime", "transformers", "onedl-mmcv", "onedl-mmengine", "onedl-mmsegmentation")
TEMPLATES = ("Dockerfile", "README.md", "apptainer.def", "entry.py", ENTRY)
CODE = frozenset({".py", ".safetensors", ".json", ".yaml", ".typed"})
NAMES = {"bench": "", "methods": "methods", "reports": "reports", "submissions": "submissions", "suites": "suites"}


@dataclass(frozen=True)
class Claim:
    """What a validation run measured, and on which frames."""

    ap: float
    fpr: float
    result: Result

    @property
    def dataset(self) -> Mapping[str, Any]:
        """Name and parameters of the data set."""
        found: Mapping[str, Any] = self.result.cell["dataset"]
        return found


def claim_of(results: list[Result], asked: str | None) -> Claim:
    """The figures that the board compares with its own run, from a full result of the protocol ``fishyscapes``."""
    if asked:
        results = [one for one in results if asked in (one.labels["dataset"], one.cell["dataset"]["name"])]
    labels = sorted({one.labels["dataset"] for one in results})
    if not results:
        wanted = f" on {asked}" if asked else ""
        raise BadSuite(
            f"the run has no full result of this method under the protocol fishyscapes{wanted}: the claim is that of a"
            " real validation run; bench run it without --limit"
        )
    if len(labels) > 1:
        raise BadSuite(
            f"the run has {len(labels)} data sets: {', '.join(labels)}; name the one of the claim with --set"
        )
    ap, fpr = results[0].metrics["ap"], results[0].metrics["fpr95"]
    if not isinstance(ap, Value) or not isinstance(fpr, Value):
        raise BadSuite(f"{labels[0]}: AP or FPR95 has no value there, so there is nothing to claim")
    return Claim(ap.value, fpr.value, results[0])


def write(choice: score_maps.Choice, out: Path, name: str, claim: Claim, card: Mapping[str, Any]) -> Path:
    """Write ``out/name/``, whole or not at all; an older package of that name is replaced."""
    from bench.submit import card as cards

    assert choice.method is not None  # noqa: S101 - the command line asks for one
    network: SegModel = choice.model.build()
    if network.class_names != CITYSCAPES:
        raise BadSuite(f"{choice.model.label} does not name the 19 classes of Cityscapes; the board asks for train ids")
    if choice.model.name in ("precomputed", "command"):
        raise BadSuite(
            f"{choice.model.label}: a {choice.model.name} network is not one file of weights that could be packed; pack"
            " its program by hand, or export it as torchscript or onnx"
        )
    out.mkdir(parents=True, exist_ok=True)
    final = out / name
    if final.exists() and not (final / MANIFEST).is_file():
        raise CannotWrite(f"{final} is there and is no package; choose another place with --out")
    draft = Path(tempfile.mkdtemp(dir=out, prefix=f".{name}."))
    try:
        _fill(draft, choice, name, claim)
        cards.write(draft, card)
        store.write_json(draft / MANIFEST, {"schema": 1, "files": dict(digests(draft))})
        draft.chmod(0o755)
        shutil.rmtree(final, ignore_errors=True)
        draft.rename(final)
    except OSError as error:
        raise files.cannot_write(final, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return final


def digests(package: Path) -> Iterator[tuple[str, str]]:
    """Every file of a package but its manifest, with its sha256, sorted by name."""
    for path in sorted(package.rglob("*")):
        name = path.relative_to(package).as_posix()
        if path.is_file() and not path.is_symlink() and name != MANIFEST and "__pycache__" not in path.parts:
            with path.open("rb") as file:
                yield name, hashlib.file_digest(file, "sha256").hexdigest()


def _fill(package: Path, choice: score_maps.Choice, name: str, claim: Claim) -> None:
    assert choice.method is not None  # noqa: S101 - the caller looked
    refs = {"model": _packed(choice.model, package), "method": _packed(choice.method, package)}
    described = {
        "schema": 1,
        "name": name,
        **refs,
        "fitted": choice.fitted,
        "seed": choice.seed,
        "numerics": {"dtype": choice.numerics.dtype, "tf32": choice.numerics.tf32, "batch": choice.numerics.batch},
        "claim": {"dataset": claim.dataset, "given": claim.result.labels["dataset"], "cell": claim.result.key},
    }
    store.write_json(package / METHOD, described)
    store.write_json(package / CLAIM, {"ap": claim.ap, "fpr": claim.fpr})
    if choice.fitted:
        place = package / "home" / "fitted"
        place.mkdir(parents=True)
        shutil.copyfile(fitted_store.path_of(choice.fitted), place / f"{choice.fitted}.safetensors")
    _copy_code(package / "lib" / "bench")
    for number, plugins in enumerate(filter(None, os.environ.get("BENCH_PLUGINS", "").split(os.pathsep))):
        _copy_tree(Path(plugins), package / "plugins" / str(number))
    with files.writing(package / "requirements.txt", "w") as file:
        file.write("".join(f"{line}\n" for line in requirements(choice.model.name)))
    for template in TEMPLATES:
        text = resources.files("bench.submissions").joinpath(f"templates/fishyscapes/{template}").read_text("utf-8")
        (package / template).write_text(text.replace("@NAME@", name).replace("@PYTHON@", PYTHON), encoding="utf-8")
    (package / ENTRY).chmod(0o755)


def _packed(ref: Ref, package: Path) -> dict[str, Any]:
    """An entry of a suite whose files lie in the package."""
    given, identity = json.loads(ref.given), json.loads(ref.identity)
    return {"name": ref.name, "label": ref.label, "given": _with_files(given, identity, package)}


def _with_files(given: Any, identity: Any, package: Path) -> Any:
    """Copy whatever file a parameter names; in an identity a file stands by its name alone, elsewhere the two agree."""
    if isinstance(given, dict) and isinstance(identity, dict):
        return {key: _with_files(value, identity.get(key), package) for key, value in given.items()}
    if not isinstance(given, str) or given == identity:
        return given
    path, colon, function = given.partition(":") if not Path(given).exists() else (given, "", "")
    if not Path(path).exists():
        raise BadSuite(f"{path} does not exist, and the package would need it")
    folder = package / "files" / hashlib.sha256(str(Path(path).resolve()).encode()).hexdigest()[:8]
    if Path(path).is_dir():
        _copy_tree(Path(path), folder / Path(path).name)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / Path(path).name)
    return f"{(folder / Path(path).name).relative_to(package).as_posix()}{colon}{function}"


def _copy_code(target: Path) -> None:
    """Copy the project as it is installed, into the folders of its wheel."""
    home = Path(bench.__file__).parent
    for part, inner in NAMES.items():
        module = home if part == "bench" else Path(str(resources.files(f"bench.{part}")))
        for path in sorted(module.rglob("*")):
            within = path.relative_to(module)
            if "__pycache__" in within.parts or any(piece.startswith(".") for piece in within.parts):
                continue
            if part == "bench" and within.parts[0] in NAMES:
                continue  # in a wheel these lie inside, and come by their own names
            template = "templates" in within.parts or "published" in within.parts
            if path.is_file() and (path.suffix in CODE or template):
                goal = target / inner / within
                goal.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, goal)


def _copy_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))


def requirements(model: str) -> list[str]:
    """``name==version`` of what the project and a network of that name need to run, as installed here.

    A network of the user's own may import anything: what it needs beyond this is to be added by hand.
    """
    found: dict[str, str] = {}
    queue = [*_own(), *(() if model in PLAIN else OPTIONAL)]
    while queue:
        name = _distribution(queue.pop())
        if name in found:
            continue
        try:
            held = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # of another platform, or an extra that is not there
            continue
        found[name] = held.version.partition("+")[0]
        queue += [line for line in held.requires or () if "extra ==" not in line]
    return sorted(f"{name}=={version}" for name, version in found.items())


def _own() -> list[str]:
    """What the project itself asks for: as its clone says, else as it was installed."""
    declared = Path(bench.__file__).parents[1] / "pyproject.toml"
    if declared.is_file():
        wanted: list[str] = tomllib.loads(declared.read_text(encoding="utf-8"))["project"]["dependencies"]
        return wanted
    lines = importlib.metadata.requires("ood-seg-bench") or []
    return [line for line in lines if "extra ==" not in line]


def _distribution(requirement: str) -> str:
    return re.split(r"[\s;<>=!~\[(]", requirement, maxsplit=1)[0].lower().replace("_", "-")
