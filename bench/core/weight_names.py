"""Names of weights: which of a checkpoint's are those of a network, whatever wrapper, trainer or copy named them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

ENTRIES = (  # of a training checkpoint: where its weights stand, by the frameworks in use
    *("state_dict", "model_state_dict", "model_state", "model", "network", "net", "module", "weights", "params"),
    *("model_dict", "model_weights", "net_state_dict", "network_state_dict", "checkpoint"),
)
COUNTER = "num_batches_tracked"  # of batch normalisation: older files lack it, and inference does not read it
_AVERAGED = re.compile(r"(^|[._])(ema|averaged?|swa|shadow)([._\d]|$)", re.IGNORECASE)
_COMPILED = re.compile(r"(^|\.)_orig_mod\.")


@dataclass(frozen=True)
class Match:
    """Where the names of a network stand among those of a file."""

    prefix: str  # before each of them
    unused: tuple[str, ...] = ()  # names of the file that belong to something else
    others: tuple[str, ...] = ()  # prefixes that fit as well: the choice is not the program's

    @property
    def note(self) -> str:
        """The decision in words; empty where the names are those of the network and no others."""
        parts = [f"names begin with {self.prefix}, which is taken off"] if self.prefix else []
        if self.unused:
            parts.append(f"not used: {groups(self.unused)}")
        return "; ".join(parts)


def unwrapped(state: Mapping[str, T]) -> dict[str, T]:
    """The state without what DataParallel puts before all names (module.) and torch.compile anywhere (_orig_mod.)."""
    names = {name: _COMPILED.sub(r"\1", name) for name in state}
    while names and all(name.startswith("module.") for name in names.values()):
        names = {before: name.removeprefix("module.") for before, name in names.items()}
    if len(set(names.values())) < len(names):  # two would become one: it is no wrapper that made them differ
        return dict(state)
    return {names[before]: value for before, value in state.items()}


def is_averaged(name: str) -> bool:
    """True for a prefix or an entry that says of itself that it holds an average over a training."""
    return bool(_AVERAGED.search(name))


def is_of_training(entry: str) -> bool:
    """True for an entry that belongs to an optimiser or a schedule, not to a network."""
    return bool(re.search("optim|sched", entry, re.IGNORECASE))


def matched(names: Collection[str], expected: Collection[str], fits: Callable[[str, str], bool]) -> Match | None:
    """Where all the ``expected`` names stand among ``names``, behind one prefix; None where they do nowhere.

    ``fits`` says whether a name of the file can be one of the network, by shapes. Names as they are come before any
    prefix, and weights as they were trained before averages.
    """
    present, required = set(names), [name for name in expected if not name.endswith(COUNTER)]
    prefixes = [
        prefix
        for prefix in _prefixes(present, required)
        if all(prefix + name in present and fits(prefix + name, name) for name in required)
    ]
    if not prefixes:
        return None
    trained = [prefix for prefix in prefixes if not is_averaged(prefix)] or prefixes
    prefix = "" if "" in trained else trained[0]
    others = () if prefix == "" else tuple(trained[1:])
    own = {prefix + name for name in expected}
    # The averages of mmcv's hook, those of heads for training alone included.
    hooked = f"{prefix}ema_" if any(f"{prefix}ema_{name.replace('.', '_')}" in present for name in required) else ""
    parts = {f"{part}." for part in (each.partition(".")[0] for each in expected)}
    copies = tuple(first for first in {each.partition(".")[0] + "." for each in prefixes if each} if first not in parts)
    unused = [
        name
        for name in present - own
        if not name.startswith(prefix) or (not prefix and name.startswith(copies)) or _is_flat(name, hooked)
    ]
    return Match(prefix, tuple(sorted(unused)), others)


def nearest(names: Collection[str], expected: Collection[str]) -> str:
    """The prefix behind which most of the ``expected`` names stand; empty where they are as they should be."""
    present = set(names)
    prefixes = {prefix for name in expected for prefix in _prefixes(present, [name])} or {""}
    return max(sorted(prefixes), key=lambda prefix: sum(prefix + name in present for name in expected))


def selected(state: Mapping[str, T], prefix: str) -> dict[str, T]:
    """The part of a state whose names begin with ``prefix``, without it; empty where none does.

    ``ema_`` of mmcv's hook is followed by names with underscores for dots, of parameters alone: the buffers are those
    of the plain names.
    """
    plain = {name: value for name, value in state.items() if not name.startswith(prefix)}
    flat = {name: prefix + name.replace(".", "_") for name in plain}
    if any("." in name and copy in state for name, copy in flat.items()):
        return {name: state.get(copy, plain[name]) for name, copy in flat.items()}
    dotted = prefix if prefix.endswith((".", "_")) else f"{prefix}."
    return {name.removeprefix(dotted): value for name, value in state.items() if name.startswith(dotted)}


def entries_of(entries: Collection[str]) -> tuple[str, ...]:
    """The entry that holds the network, of those of a checkpoint that hold tensors by name; several where unclear."""
    known = tuple(entry for entry in ENTRIES if entry in entries)
    trained = tuple(entry for entry in entries if not is_averaged(entry) and not is_of_training(entry))
    return known or trained or tuple(entries)


def groups(names: Collection[str], most: int = 4) -> str:
    """Names by what they begin with, for people: "criterion.*, teacher.* and 2 more"."""
    starts = ["ema_" if _is_flat(name, "ema_") else name[: name.find(".") + 1] or name for name in sorted(names)]
    shown = [f"{start}*" if start.endswith((".", "_")) else start or "nothing" for start in Counter(starts)]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def _is_flat(name: str, prefix: str) -> bool:
    return bool(prefix) and name.startswith(prefix) and "." not in name.removeprefix(prefix)


def _prefixes(present: Collection[str], expected: Collection[str]) -> list[str]:
    """Every prefix behind which the longest of the expected names stands; the empty one is among them."""
    anchor = max(expected, key=len, default="")
    starts = {name.removesuffix(anchor) for name in present if anchor and name.endswith(anchor)}
    return ["", *sorted(start for start in starts if start.endswith("."))]
