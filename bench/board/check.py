"""The faults that entries of a board can have, each by the name of its entry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np

from bench.board import claimed
from bench.board.entries import DEFINITIONS, Board, Fault, Version, data_of, entry_id, protocol_of
from bench.core.printable import one_line, shortened
from bench.core.values import Metric, Undefined, Value
from bench.report.anonymous import PATH
from bench.results.store import Result, Run, read_run

FRAME = 2**27  # pixels of an image; the largest that a reader here has ever seen has 2**24
REPLICATED = 1e-9  # by which the ends of an interval may differ from the percentiles of the replicates
LABEL = 300  # characters of a label


def faults(board: Board, today: date) -> list[Fault]:
    """Return every fault of a board, in the order of its entries; an entry that cannot be read has one alone.

    ``today`` is the last day on which something may have been added, but for the zones of the world.
    """
    faults = [*board.faults, *_twice(board.definitions.data)]
    for version in board.versions:
        address = version.address
        faults += [Fault(address, problem) for problem in _named(version)]
        faults += [Fault(address, problem) for problem in _dated(version, today)]
        if version.entry.kind == "measured":
            faults += [Fault(address, problem) for problem in _measured(board, version)]
        else:
            faults += [Fault(address, problem) for problem in _claimed(board, version)]
    faults += _duplicates(board)
    faults += _counts(board)
    return sorted(dict.fromkeys(faults), key=lambda fault: fault.entry)


def _twice(known: Iterable[Any]) -> Iterator[Fault]:
    """Data sets of one label: columns that nobody could tell apart."""
    labels: set[str] = set()
    for each in known:
        if each.label in labels:
            yield Fault(DEFINITIONS, f"two data sets have the label {each.label!r}; give each one of its own")
        labels.add(each.label)


def _named(version: Version) -> Iterator[str]:
    entry = version.entry
    folder = entry_id(entry.name, entry.network)
    if version.id != folder:
        yield f"is called {entry.title!r}, whose folder is {folder!r}; rename the folder or the entry"
    if entry.anonymous and entry.by:
        yield f"is anonymous and names {entry.by!r}; leave one of the two out"
    if not entry.anonymous and not entry.by:
        yield "does not say who added it; write by, or set anonymous to true"


def _dated(version: Version, today: date) -> Iterator[str]:
    day = version.day.partition(".")[0]
    if version.entry.added != day:
        yield f"was added on {version.entry.added} and lies in {version.day}; both are the day on which it was added"
    if date.fromisoformat(version.entry.added) > today + timedelta(days=1):
        yield f"was added on {version.entry.added}, which is still to come"


def _measured(board: Board, version: Version) -> Iterator[str]:
    rows = {result.labels.row for result in version.results}
    if len(rows) != 1:
        yield f"holds {len(rows)} pairs of method and network, wanted one"
    for network in sorted({result.labels.model for result in version.results} - {version.entry.network}):
        yield f"is of the network {network!r}, and says {version.entry.network!r}"
    run = read_run(version.path)
    for result in version.results:
        where = f"{result.labels.protocol} on {result.labels.dataset}"
        for problem in (*_labelled(result), *_identified(version, result), *_defined(board, result)):
            yield f"{where}: {problem}"
        for problem in (*_plausible(result), *_replicated(run, result)):
            yield f"{where}: {problem}"
    if version.entry.anonymous:
        yield from _revealing(version)


def _labelled(result: Result) -> Iterator[str]:
    for axis, label in result.labels.by_axis.items():
        if not label or label != one_line(label) or len(label) > LABEL:
            yield f"the label of its {axis} is {shortened(one_line(label), 60)!r}, wanted printable words on one line"


def _identified(version: Version, result: Result) -> Iterator[str]:
    """The key is a digest of the coordinates; those of an anonymous entry are without paths."""
    if not version.entry.anonymous and result.key != result.cell.key:
        yield f"its key is {result.key}, and its coordinates have {result.cell.key}: one of them was changed by hand"
    if not result.depends.get("dataset") or not result.depends.get("protocol"):
        yield "it does not say what data and which definition it depends on, as every result of 'bench run' does"
    if not result.ranked:
        yield "its figures are no columns of a table"


def _defined(board: Board, result: Result) -> Iterator[str]:
    """A definition or data that the board does not have: by name what differs."""
    protocol = protocol_of(result)
    if not board.definitions.knows_protocol(result):
        same = [
            each for each in board.definitions.protocols if (each.name, each.params) == (protocol.name, protocol.params)
        ]
        listed = " and ".join(each.version or "none" for each in same)
        of_board = f"the board has version {listed}" if same else "the board has no such protocol"
        yield f"it is of version {protocol.version or 'none'} of {protocol.name}, and {of_board}; {_add(DEFINITIONS)}"
    if board.definitions.data_of(result) is None:
        name, params, digest, _ = data_of(result)
        known = [each.digest for each in board.definitions.data if (each.name, each.params) == (name, params)]
        of_board = f"the board has {' and '.join(known)}" if known else "the board has no such data set"
        yield f"its data has the digest {digest or 'none'}, and {of_board}; {_add(DEFINITIONS)}"


def _add(name: str) -> str:
    return f"if both belong on it, add the other to {name}: it gets a column of its own"


def _plausible(result: Result) -> Iterator[str]:
    if result.partial:
        yield f"only {result.images} images were seen, for want of --limit; run it whole"
    if result.not_applicable:
        return
    if result.images < 1:
        yield "it saw no image"
    pixels = sum(result.pixels.values())
    if result.pixels and not 0 < pixels <= result.images * FRAME:
        yield f"{pixels} pixels are no count of {result.images} images"
    for name in sorted(result.metrics.keys() ^ result.definitions.keys()):
        yield f"{shortened(one_line(name), 60)} has a figure and no definition, or a definition and no figure"
    for name, figure in result.metrics.items():
        metric = result.definitions.get(name)
        if metric and isinstance(figure, Value) and (problem := _impossible(figure, metric)):
            yield f"{name} {problem}"


def _impossible(figure: Value, metric: Metric) -> str:
    for value in (figure.value, figure.lo, figure.hi):
        if value is not None and metric.in_percent and not -1 <= value <= 1:  # some rates have a sign
            return f"is {value:g}, wanted a rate of at most 1"
    if (figure.lo is None) != (figure.hi is None):
        return "has one end of an interval without the other"
    if figure.lo is not None and figure.hi is not None and figure.lo > figure.hi:
        return f"has an interval from {figure.lo:g} to {figure.hi:g}"
    return f"is known within {figure.err:g}" if not 0 <= figure.err <= 1 and metric.in_percent else ""


def _replicated(run: Run, result: Result) -> Iterator[str]:
    """Marks rest on the replicates: their percentiles are the interval, or they are another's."""
    replicates = run.replicates(result)
    for name, figure in result.metrics.items():
        if not isinstance(figure, Value) or figure.lo is None or figure.hi is None:
            continue
        draws = replicates.get(name)
        if draws is None or not np.isfinite(draws).any():
            yield f"{name} has an interval and no replicates; add the run again"
            continue
        ends = np.percentile(draws[np.isfinite(draws)], [2.5, 97.5])
        if not np.allclose(ends, [figure.lo, figure.hi], rtol=0, atol=REPLICATED):
            yield f"the interval of {name} is not that of its replicates: one of them was changed by hand"


def _revealing(version: Version) -> Iterator[str]:
    """Words of an anonymous entry that name a place on a disk or a machine."""
    for result in version.results:
        if result.provenance.get("commit") or result.provenance.get("host") or result.provenance.get("user"):
            yield "is anonymous, and its provenance names a commit, a machine or a user; add the run again"
            return
        for word in _words([result.about, result.provenance, result.fitted, result.cell.spelled()]):
            if (match := PATH.search(word)) and match["last"] != word:
                yield f"is anonymous, and names {shortened(one_line(match[0]), 80)!r}; add the run again"
                return


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _words(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _words(inner)


def _claimed(board: Board, version: Version) -> Iterator[str]:
    entry = version.entry
    if not version.figures:
        yield "is claimed and has no figures"
    seen: set[tuple[str, ...]] = set()
    for row in version.figures:
        column = row.dataset, row.split, row.protocol, row.metric
        if column in seen:
            yield f"claims {row.metric} on {row.dataset} {row.split} twice"
        seen.add(column)
    measured = {each.id: each for each in board.newest if each.entry.kind == "measured"}
    if entry.of and entry.of not in measured:
        yield f"is of {shortened(one_line(entry.of), 80)!r}, which is no measured entry of the board"
    if entry.differs:
        return
    for each in claimed.compared(board, version):
        if not each.agrees:
            claim = f"claims {each.metric.title} {each.claimed_text} on {each.result.labels.dataset}"
            yield f"{claim}, and {entry.of} measured {each.measured_text}; write into differs why"


def _duplicates(board: Board) -> Iterator[Fault]:
    """Newest versions with the figures of another, and versions that change nothing."""
    figures: dict[str, Version] = {}
    for version in board.newest:
        content = _content(version)
        if version.entry.kind == "measured" and not _figured(version):
            yield Fault(version.address, "has no figure at all")
        elif (other := figures.setdefault(content, version)) is not version:
            yield Fault(version.address, f"has the figures of {other.address}, digit by digit; keep one of the two")
    for entry in dict.fromkeys(version.id for version in board.versions):
        for before, after in pairwise(board.history(entry)):
            if _content(before) == _content(after) and before.entry == after.entry.model_copy(
                update={"added": before.entry.added}
            ):
                yield Fault(after.address, f"changes nothing in {before.address}; remove it")


def _figured(version: Version) -> bool:
    return any(isinstance(figure, Value) for result in version.results for figure in result.metrics.values())


def _content(version: Version) -> str:
    """The figures of an entry with what they are of, as text that is equal for equal ones."""
    if version.entry.kind == "claimed":
        return json.dumps([sorted(row.items()) for row in version.entry.figures])
    cells = []
    for result in version.results:
        values = {
            name: figure.reason if isinstance(figure, Undefined) else [figure.value, figure.lo, figure.hi]
            for name, figure in result.metrics.items()
        }
        cells.append(json.dumps([result.cell.protocol.spelled(), data_of(result)[:3], values], sort_keys=True))
    return json.dumps(sorted(cells))


def _counts(board: Board) -> Iterator[Fault]:
    """Images, pixels and meanings of the same data by the same definition: what most entries say, or else the first."""
    columns: dict[str, list[tuple[Version, Result]]] = {}
    for version in board.versions:
        for result in version.results:
            if not result.not_applicable and not result.partial:
                key = json.dumps([protocol_of(result).model_dump(), data_of(result)[:3]], sort_keys=True)
                columns.setdefault(key, []).append((version, result))
    for members in columns.values():
        images, pixels, meaning = (
            _usual(members, told) for told in (lambda r: r.images, lambda r: sum(r.pixels.values()), _meanings)
        )
        for version, result in members:
            where = f"{result.labels.protocol} on {result.labels.dataset}"
            if result.images != images[1].images:
                difference = f"it saw {result.images} images, and {images[0].address} {images[1].images} of the same"
            elif sum(result.pixels.values()) != sum(pixels[1].pixels.values()):
                other = f"{pixels[0].address} {sum(pixels[1].pixels.values())}"
                difference = f"it counted {sum(result.pixels.values())} pixels, and {other} of the same images"
            elif _meanings(result) != _meanings(meaning[1]):
                difference = f"its figures are defined otherwise than those of {meaning[0].address}"
            else:
                continue
            yield Fault(version.address, f"{where}: {difference}")


def _usual(members: Sequence[tuple[Version, Result]], told: Callable[[Result], Any]) -> tuple[Version, Result]:
    """The first entry of those of a column that most agree with."""
    answers = [told(result) for _, result in members]
    return members[max(range(len(answers)), key=lambda index: (answers.count(answers[index]), -index))]


def _meanings(result: Result) -> Any:
    return {name: (metric.definition, metric.better, metric.unit) for name, metric in result.definitions.items()}
