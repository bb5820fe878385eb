"""On what the numbers of a cell depend, and which results of before are still what today's files would make."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.api import Method, Protocol
from bench.core.versions import numbers_of
from bench.models.numerics import Numerics
from bench.results import store
from bench.run import fits
from bench.run.preflight import Checked, Refusal
from bench.suite.cells import Cell

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dependencies:
    """What decides the numbers of a cell: versions and digests by name."""

    all: Mapping[str, str]
    counting: frozenset[str]  # the names of those that score maps do not depend on

    @property
    def map_stamp(self) -> str:
        """16 hex digits: equal ones have equal score maps. Protocols that share a map share this."""
        return digest({name: text for name, text in self.all.items() if name not in self.counting})


def digest(depends: Mapping[str, str]) -> str:
    """Return 16 hex digits that are equal for equal dependencies."""
    return hashlib.sha256(json.dumps(dict(depends), sort_keys=True).encode()).hexdigest()[:16]


def of_cell(cell: Cell, checked: Checked, numerics: Numerics) -> Dependencies:
    """Return what the numbers of a cell depend on: its plug-ins, what these share with others, and the arithmetic."""
    protocol: Protocol = checked.built(cell.protocol)
    method: Method | None = checked.built(cell.method) if cell.method else None
    for_maps = checked.models[cell.model].computations | (method.computations if method else frozenset())
    shared = numbers_of(for_maps, str(cell)) | numbers_of(protocol.computations, cell.protocol.label)
    depends: dict[str, str] = {
        "protocol": f"{protocol.name} {protocol.version}",
        **{name: shared[name] for name in ("metrics", "scoring") if name in shared},
        "model": f"{checked.source(cell.model)} {checked.model_digests[cell.model]}",
        "dataset": f"{checked.source(cell.dataset)} {checked.data_digests[cell.dataset]}",
        "numerics": numerics.digest(),
    }
    if cell.method:
        depends["method"] = f"{checked.source(cell.method)} {checked.method_digests.get(cell.method, '')}".strip()
    if key := fits.key_of(cell, checked, numerics):
        depends["fitted"] = key
    return Dependencies(depends | shared, frozenset({"protocol"} | (protocol.computations - for_maps)))


def is_fresh(
    run_dir: Path, key: str, depends: Dependencies, refusal: Refusal | None, images: int, *, partial: bool
) -> bool:
    """Return True if a result is there that today's files would make again of that many images.

    A cell that is not applicable is compared by the code of the reason, never by its words. Raises Damaged for a file
    of a finished cell that cannot be read.
    """
    old = store.finished(run_dir, key)
    if old is None:
        return False
    cell = " / ".join(old.labels.by_axis.values())
    if refusal or old.not_applicable:
        same = refusal is not None and old.refusal == refusal.code
        if not same:
            log.info("%s: now %s; before %s", cell, refusal or "applicable", old.not_applicable or "applicable")
        return same
    if changed := {name for name, _ in old.depends.items() ^ depends.all.items()}:
        log.info("%s: computed again, since these changed: %s", cell, ", ".join(sorted(changed)))
        return False
    # A full result stands in for a limited one: it is the better answer to the same question.
    if old.partial and not (partial and old.images == images):
        log.info("%s: computed again on %d images, before on %d", cell, images, old.images)
        return False
    log.debug("%s: its result is there", cell)
    return True
