"""What a suite asks of several cells together: summaries, operating points and claims, held to its entries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from bench.core.errors import BadSuite, UnknownName
from bench.core.yaml_text import Lines
from bench.suite import registry
from bench.suite.cells import Ref
from bench.suite.kinds import Kind
from bench.suite.schema import ClaimRule, Entry, SuiteFile


def at(path: Path, lines: Lines, *keys: str | int) -> Path:
    """The file with the line of what these keys lead to, or of what it stands in: a place to blame."""
    known = [keys[:length] for length in range(len(keys), 0, -1) if keys[:length] in lines]
    return path.with_name(f"{path.name}:{lines[known[0]]}") if known else path


def idle_summaries(axes: Mapping[Kind, list[Ref]], file: SuiteFile, path: Path, lines: Lines) -> Iterator[str]:
    """Say which summaries nothing of the suite has a part in: they would be missing from the page without a word."""
    labels = [ref.label for ref in axes["protocol"]]
    for index, rule in enumerate(file.summaries):
        place = at(path, lines, "summaries", index)
        if not any(map(rule.covers, (*labels, *(ref.name for ref in axes["protocol"])))):
            asked = f"protocol {rule.protocol!r}; the suite has {', '.join(labels)}"
        elif not any(rule.matches(ref.label, ref.corruption) for ref in axes["dataset"]):
            asked = "any data set of the suite"
        else:
            continue
        yield f"{place}: the summary {rule.name!r} is left out: it does not match {asked}"


def lone_points(axes: Mapping[Kind, list[Ref]], file: SuiteFile, path: Path, lines: Lines) -> Iterator[str]:
    """Say which thresholds are carried nowhere: a data set is never judged at one that was chosen on it."""
    for index, point in enumerate(file.operating_points):
        if all(point.calibrate in (ref.name, ref.label) for ref in axes["dataset"]):
            place = at(path, lines, "operating_points", index)
            yield f"{place}: the point {point.name!r} is left out: {point.calibrate} is the only data set"


def check_points(axes: Mapping[Kind, list[Ref]], file: SuiteFile, path: Path, lines: Lines) -> None:
    """Raise BadSuite or UnknownName for a point that no cell of the suite has."""
    for index, point in enumerate(file.operating_points):
        place = at(path, lines, "operating_points", index)
        if point.protocol not in {ref.name for ref in axes["protocol"]}:
            raise BadSuite(
                f"{place}: the point {point.name!r} is of {point.protocol}, which the suite does not ask for"
            )
        names = [name for ref in axes["dataset"] for name in (ref.name, ref.label)]
        if point.calibrate not in names:
            raise UnknownName("data set in calibrate:", point.calibrate, set(names), str(place))


def claims(
    axes: Mapping[Kind, list[Ref]], file: SuiteFile, path: Path, lines: Lines, replaced: Collection[Kind]
) -> Iterator[ClaimRule]:
    """Yield the claims by the labels of what they name; those on what the command line replaced fall away.

    Raise UnknownName for a network or a method that the suite does not have.
    """
    for index, rule in enumerate(file.claims):
        named: dict[Kind, str] = {"model": rule.model, "method": rule.method}
        labels: dict[str, str] = {}
        for axis, name in named.items():
            matching = [ref.label for ref in axes[axis] if name == ref.label]
            matching = matching or [ref.label for ref in axes[axis] if name == ref.name]
            if len(matching) == 1:
                labels[axis] = matching[0]
            elif axis not in replaced:
                known = {word for ref in axes[axis] for word in (ref.name, ref.label)}
                place = str(at(path, lines, "claims", index))
                if not matching:
                    raise UnknownName(f"{axis} of a claim", name, known, place)
                raise BadSuite(f"{place}: {axis} {name!r} means {len(matching)} entries; give the label of one")
        if len(labels) == len(named):
            yield rule.model_copy(update=labels)


def claims_of_networks(
    axes: Mapping[Kind, list[Ref]], stated: Collection[ClaimRule], method_of: Callable[[Entry], Ref]
) -> Iterator[ClaimRule]:
    """Yield what networks say of themselves: claims of their publishers on methods that the suite has.

    Those that the suite says itself come first: of a network and a method, its claims alone count. ``method_of`` reads
    an entry of a method.
    """
    known = {(rule.model, rule.method) for rule in stated}
    for ref in axes["model"]:
        for entry, published in registry.plugin("model", ref.name, where=ref.label).claims:
            claimed = method_of(entry)
            for method in axes["method"]:
                if method == claimed and (ref.label, method.label) not in known:
                    yield ClaimRule(model=ref.label, method=method.label, published=dict(published))


def claimed_methods(axes: Mapping[Kind, list[Ref]], method_of: Callable[[Entry], Ref]) -> Iterator[tuple[Entry, str]]:
    """Yield the methods that networks of the suite have claims on and the suite lacks, with a remark on each."""
    known = {*axes["method"]}
    for ref in axes["model"]:
        for entry, _ in registry.plugin("model", ref.name, where=ref.label).claims:
            claimed = method_of(entry)
            if claimed not in known:
                known.add(claimed)
                yield (
                    entry,
                    f"the method {claimed.label} joins the suite's: the figures of {ref.label} were made with it",
                )
