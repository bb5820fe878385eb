"""A method packed with all it needs to run: this project, the network, its weights, plug-ins and versions.

What is in a package is listed in its manifest with digests, and a check holds a package of anybody against its own.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import bench
from bench.api import Archive, Failure, Refused, Verdict
from bench.core import files
from bench.core.errors import BadSuite, CannotWrite
from bench.fit import fitted_store
from bench.results import store
from bench.run import score_maps
from bench.suite import registry
from bench.suite.cells import Ref

MANIFEST = "manifest.json"
JSON = 2**24  # bytes of a file of a package that is read as JSON
PLAIN = frozenset({"toynet", "toyquery", "torchscript"})  # networks that need no package beyond the project's own
OPTIONAL = ("imagecorruptions", "onnxruntime", "transformers", "onedl-mmcv", "onedl-mmengine", "onedl-mmsegmentation")
CODE = frozenset({".py", ".safetensors", ".json", ".yaml", ".typed"})
NAMES = {"bench": "", "methods": "methods", "reports": "reports", "submissions": "submissions", "suites": "suites"}
SECRETS = ("id_rsa", "id_ed25519", "credentials", ".netrc", ".env")


@contextmanager
def replacing(final: Path) -> Iterator[Path]:
    """A folder that becomes ``final``, with a manifest, once it is whole; an older package there is replaced."""
    out = final.parent
    out.mkdir(parents=True, exist_ok=True)
    if final.exists() and not (final / MANIFEST).is_file():
        raise CannotWrite(f"{final} is there and is no package; choose another place with --out")
    draft = Path(tempfile.mkdtemp(dir=out, prefix=f".{final.name}."))
    try:
        yield draft
        store.write_json(draft / MANIFEST, {"schema": 1, "files": dict(digests(draft))})
        draft.chmod(0o755)
        shutil.rmtree(final, ignore_errors=True)
        draft.rename(final)
    except OSError as error:
        raise files.cannot_write(final, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def digests(package: Path) -> Iterator[tuple[str, str]]:
    """Every file of a package but its manifest, with its sha256, sorted by name."""
    for path in sorted(package.rglob("*")):
        name = path.relative_to(package).as_posix()
        if path.is_file() and not path.is_symlink() and name != MANIFEST and "__pycache__" not in path.parts:
            with path.open("rb") as file:
                yield name, hashlib.file_digest(file, "sha256").hexdigest()


def fill(package: Path, choice: score_maps.Choice) -> dict[str, Any]:
    """Copy project, network and method into a package; return what ``bench.submit.entry`` reads of them.

    Raise BadSuite for a network whose program cannot be copied.
    """
    assert choice.method is not None  # noqa: S101 - the command line asks for one
    if choice.model.name in ("precomputed", "command"):
        raise BadSuite(
            f"{choice.model.label}: a {choice.model.name} network is not one file of weights that could be packed; pack"
            " its program by hand, or export it as torchscript or onnx"
        )
    refs = {"model": _packed(choice.model, package), "method": _packed(choice.method, package)}
    if choice.fitted:
        folder = package / "home" / "fitted"
        folder.mkdir(parents=True)
        shutil.copyfile(fitted_store.path_of(choice.fitted), folder / f"{choice.fitted}.safetensors")
    _copy_code(package / "lib" / "bench")
    for number, plugins in enumerate(registry.folders()):
        _copy_tree(plugins, package / "plugins" / str(number))
    with files.writing(package / "requirements.txt", "w") as file:
        file.write("".join(f"{line}\n" for line in requirements(choice.model.name)))
    numerics = {"dtype": choice.numerics.dtype, "tf32": choice.numerics.tf32, "batch": choice.numerics.batch}
    return {**refs, "fitted": choice.fitted, "seed": choice.seed, "numerics": numerics}


def _packed(ref: Ref, package: Path) -> dict[str, Any]:
    """An entry of a suite whose files lie in the package."""
    return {"name": ref.name, "label": ref.label, "given": _with_files(ref.arguments, ref.params, package)}


def _with_files(value: Any, identity: Any, package: Path) -> Any:
    """Copy whatever file a parameter names; in an identity a file stands by its name alone, elsewhere the two agree."""
    if isinstance(value, dict) and isinstance(identity, dict):
        return {key: _with_files(inner, identity.get(key), package) for key, inner in value.items()}
    if not isinstance(value, str) or value == identity:
        return value
    path, colon, function = value.partition(":") if not Path(value).exists() else (value, "", "")
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
    versions: dict[str, str] = {}
    queue = [*_own(), *(() if model in PLAIN else OPTIONAL)]
    while queue:
        name = _distribution(queue.pop())
        if name in versions:
            continue
        try:
            installed = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # of another platform, or an extra that is not there
            continue
        versions[name] = installed.version.partition("+")[0]
        queue += [line for line in installed.requires or () if "extra ==" not in line]
    return sorted(f"{name}=={version}" for name, version in versions.items())


def _own() -> list[str]:
    """What the project itself asks for: as its clone says, else as it was installed."""
    declared = Path(bench.__file__).parents[1] / "pyproject.toml"
    if declared.is_file():
        dependencies: list[str] = tomllib.loads(declared.read_text(encoding="utf-8"))["project"]["dependencies"]
        return dependencies
    lines = importlib.metadata.requires("ood-seg-bench") or []
    return [line for line in lines if "extra ==" not in line]


def _distribution(requirement: str) -> str:
    return re.split(r"[\s;<>=!~\[(]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def json_of(archive: Archive, member: str) -> Any:
    """The content of a member as JSON; None where it is none."""
    try:
        return json.loads(archive.read(member, JSON))
    except (Refused, ValueError, RecursionError):  # the caller says what was wanted
        return None


def check_manifest(archive: Archive, verdict: Verdict) -> None:
    """Hold every file against the manifest, where there is one."""
    if MANIFEST not in archive.members:
        verdict.warnings.append(f"{MANIFEST}: is absent; nobody can tell whether the package is whole")
        return
    raw = json_of(archive, MANIFEST)
    listed = raw.get("files") if isinstance(raw, dict) else None
    if not isinstance(listed, dict):
        verdict.failures.append(Failure("whole", MANIFEST, "is no list of files and their sha256"))
        return
    for name in sorted(archive.members.keys() | listed.keys()):
        if name == MANIFEST or "__pycache__" in name:
            continue
        if name not in archive.members:
            verdict.failures.append(Failure("whole", name, f"is absent, but {MANIFEST} lists it"))
        elif name not in listed:
            verdict.failures.append(Failure("whole", name, f"is not listed in {MANIFEST}"))
        else:
            try:
                same = archive.sha256(name) == listed[name]
            except Refused as error:
                verdict.failures.append(Failure(error.rule, name, error.text))
                continue
            if not same:
                verdict.failures.append(Failure("whole", name, f"is not what {MANIFEST} says: it was changed"))


def check_secrets(archive: Archive, verdict: Verdict) -> None:
    """A package is published: keys and tokens have no place in it."""
    for name in (*archive.members, *archive.strays):
        if Path(name).name in SECRETS:
            verdict.failures.append(Failure("secrets", name, "looks like a key or a token; the package is published"))
