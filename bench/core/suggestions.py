"""Names that somebody may have meant: the nearest of those that are known, and what others call the same thing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

NEAR = 0.72  # of SequenceMatcher; at 0.5 anything is like anything
FEW = 8  # names that an error lists
SHORTEST = 3  # letters that are taken for the beginning of a name
PLUGINS = frozenset({"method", "model", "dataset", "protocol", "trainer", "format"})  # 'bench list' and 'bench new'

# By kind: what is said elsewhere, and the name here. A name that is not known where it is asked for is not suggested.
ELSEWHERE: Mapping[str, Mapping[str, str]] = {
    "metric": dict.fromkeys(("auprc", "aupr", "prauc", "averageprecision"), "ap")
    | dict.fromkeys(("rocauc", "auc", "aucroc"), "auroc")
    | dict.fromkeys(("fpr", "fpr95tpr", "fprattpr95"), "fpr95")
    | {"iou": "miou", "meaniou": "miou"},
    "method": dict.fromkeys(("softmax", "maxsoftmax", "maxsoftmaxprobability"), "msp")
    | dict.fromkeys(("mls", "maxlogits"), "maxlogit")
    | {"softmaxentropy": "entropy", "freeenergy": "energy", "standardizedmaxlogits": "sml"},
    "dataset": dict.fromkeys(("fsstatic", "fslostandfound", "fslaf"), "fishyscapes")
    | dict.fromkeys(("roadanomaly21", "roadobstacle21", "roadobsticle21", "segmentmeifyoucan"), "smiyc")
    | {"laf": "lost_and_found"},
    "model": dict.fromkeys(("huggingface", "hf"), "transformers") | {"jit": "torchscript"},
}
NOTES: Mapping[tuple[str, str], str] = {
    ("metric", "ap"): "areas under the same curve differ by definition, and the protocol 'definitions' has them all",
}


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was most likely meant, whatever its case and hyphens; None where none is like it."""
    by_letters = {_letters(entry): entry for entry in sorted(known, reverse=True)}
    letters = _letters(name)
    if letters in by_letters:
        return by_letters[letters]
    begun = sorted(entry for entry in by_letters if len(letters) >= SHORTEST and entry.startswith(letters))
    swapped = [entry for entry in by_letters if sorted(entry) == sorted(letters)]  # of short names, much of them
    close = begun[:1] or swapped or get_close_matches(letters, by_letters, n=1, cutoff=NEAR)
    return by_letters[close[0]] if close else None


def advice(kind: str, name: str, known: Iterable[str]) -> str:
    """Return what to do about an unknown name: the one that was meant, or where to look."""
    names = sorted(known)
    meant = ELSEWHERE.get(kind, {}).get(_letters(name))
    if meant in names:
        note = NOTES.get((kind, str(meant)), "")
        return f"here it is {meant!r}" + (f"; {note}" if note else "")
    if near := nearest(name, names):
        return f"did you mean {near!r}?"
    if kind in PLUGINS and len(names) > FEW:
        return f"not built in: 'bench list {kind}s' says what is, 'bench new {kind} NAME' writes one to start from"
    return f"known: {', '.join(names) or 'none'}"


def sibling(path: Path) -> str:
    """Return ``; did you mean ...?`` with a name beside a path that is not there; empty where none is like it."""
    try:
        entries = [entry.name for entry in path.parent.iterdir() if not entry.name.startswith(".")]
    except (OSError, ValueError):
        return ""
    near = nearest(path.name, entries)
    return f"; did you mean '{path.parent / near}'?" if near else ""


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())
