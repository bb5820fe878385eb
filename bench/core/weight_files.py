"""Weights as they lie on a disk: one file, shards behind an index, the one file of a folder, or the one in a zip."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from bench.core import files, unpacking
from bench.core.disguised_files import content_of, disguise
from bench.core.errors import MissingData

INDEX = ".index.json"  # how Hugging Face ends the name of a file that says which shard holds which tensor
MOST = 2**26  # bytes of an index: some 500,000 tensors
KINDS = ("safetensors", "torch", "pickle")  # contents that weights are read from
IN_PLACE = ("empty", "lfs", "annex", "html", "xml", "json", "broken zip")  # what stands where a file should be
LISTED = 4  # files that a complaint names


def check(path: Path, who: str, wanted: str = "weights") -> None:
    """Raise MissingData, in one line, where nothing is at ``path`` or what is there stands in place of weights.

    Looks at names and first bytes alone.
    """
    if not path.exists():
        raise MissingData(f"{who}: {wanted} {path} do not exist; paths in a suite are relative to its file")
    each = parts(path)
    for part in each[1:] or each:
        content = content_of(part)
        if content is not None and content.kind in IN_PLACE:
            raise MissingData(f"{who}: {wanted} {part} cannot be read: {disguise(part, *KINDS)}")


def digest(path: Path) -> str:
    """Return 16 hex digits of the content of weights, of an index and all its shards where there are several files."""
    each = [files.digest(part) for part in parts(path)]
    return each[0] if len(each) == 1 else hashlib.sha256(" ".join(each).encode()).hexdigest()[:16]


def parts(path: Path) -> list[Path]:
    """Return the files that weights are read from, an index before its shards. Raise MissingData where one is none."""
    place = found(path)
    shards = shards_of(place)
    return [place] if shards is None else [place, *shards]


def found(path: Path) -> Path:
    """Return ``path``, or of a folder the one file in it, at any depth, that holds weights or is their index."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise MissingData(f"weights {path} do not exist")
    inside = sorted(
        Path(root, name)
        for root, _, names in os.walk(path)
        for name in names
        if not name.startswith(".") and "__MACOSX" not in Path(root).parts
    )
    indices = [each for each in inside if each.name.endswith(INDEX)]
    candidates = indices or [each for each in inside if (held := content_of(each)) and held.kind in KINDS]
    if len(candidates) == 1:
        return candidates[0]
    named = ", ".join(str(each.relative_to(path)) for each in (candidates or inside)[:LISTED])
    if candidates:
        raise MissingData(f"weights {path} are a folder with {len(candidates)} files of weights ({named}); name one")
    raise MissingData(f"weights {path} are a folder without any file of weights; found {named or 'nothing'}")


def shards_of(index: Path) -> dict[Path, frozenset[str]] | None:
    """Return the names of tensors by shard, in order of the shards' names; None for a file that is no index.

    Raise MissingData for a shard that is not there, or whose name leads elsewhere.
    """
    content = content_of(index)
    if content is None or content.kind != "json" or index.stat().st_size > MOST:
        return None
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    places = listed.get("weight_map") if isinstance(listed, dict) else None
    if not isinstance(places, dict) or not places:
        return None
    shards: dict[str, set[str]] = {}
    for tensor, shard in places.items():
        if not isinstance(shard, str) or PurePosixPath(shard).name != shard or "\\" in shard:
            raise MissingData(f"weights {index}: the index names {str(shard)[:60]!r}, wanted a file beside it")
        shards.setdefault(shard, set()).add(tensor)
    for shard in shards:
        if not (index.parent / shard).is_file():
            raise MissingData(
                f"weights {index.parent / shard} do not exist, which {index.name} names as one of {len(shards)} shards;"
                " copy all of them"
            )
    return {index.parent / shard: frozenset(shards[shard]) for shard in sorted(shards)}


@contextmanager
def unzipped(path: Path) -> Iterator[Path]:
    """Inside the context, the one file of weights that a zip holds. Raise MissingData for none or several.

    The zip is unpacked by the rules for archives of strangers, and what was unpacked is removed at the end.
    """
    with tempfile.TemporaryDirectory(prefix="bench-weights-") as name:
        folder = Path(name)
        unpacking.unpack(path, folder)
        try:
            yield found(folder)
        except MissingData as error:
            text = str(error).replace(f"{folder}/", f"{path}:").replace(f"{folder} are a folder", f"{path} are a zip")
            raise MissingData(text) from None
