"""Ids, labels and names of anybody as names of files: the one way from a word to a file that it may be written to."""

from __future__ import annotations

import hashlib
import re

LONGEST = 100  # characters that are kept; file systems take 255 bytes of a name
PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?<!\.)")
DIGESTED = re.compile(r"-(?:[0-9a-f]{8}|[0-9a-f]{16})\Z")  # as names end that stand for others
RESERVED = re.compile(r"(?i:con|prn|aux|nul|com\d|lpt\d)(?:\.|\Z)")  # devices of Windows, whatever follows the dot


def file_name(name: str, identity: str | None = None) -> str:
    """Return a name without a folder that is no other's: two names have one file only if they are equal.

    Letters, digits, ``.``, ``_`` and ``-`` stay as they are. What a file system may not like is replaced, and then a
    digest keeps different names apart: of the name, or of the ``identity`` that a label stands for.
    """
    if PLAIN.fullmatch(name) and len(name) <= LONGEST and not DIGESTED.search(name) and not RESERVED.match(name):
        return name
    kept = re.sub(r"[^A-Za-z0-9._-]", "-", name).strip(".")[:LONGEST]
    kept = f"_{kept}" if RESERVED.match(kept) else kept
    digits = 16 if identity is None else 8  # a suite has few labels, a data set may have a million ids
    text = name if identity is None else identity
    return f"{kept}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:digits]}"
