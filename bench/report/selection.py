"""What a reader asked to see of a run: some cells, some metrics in an order of their own, how many digits.

A choice never changes what a name means. Means and operating points are computed before data sets are left out, and
those over something that is no longer shown are not shown either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import zip_longest
from typing import Any

from bench.core.errors import UnknownName, UsageError
from bench.results.store import CellLabels, Plan, Result, Run

AXES = ("protocol", "model", "dataset", "method", "cell")


@dataclass(frozen=True)
class Choice:
    """The options of ``bench report`` and ``bench show`` that are the same for all formats."""

    only: Mapping[str, str] = field(default_factory=dict)  # a pattern by axis
    metrics: tuple[str, ...] = ()  # identifiers, the first ranks; none for all, in the order of the protocol
    columns: tuple[str, ...] = ()  # further columns
    digits: int | None = None  # after the point of a percent; None for what ``leaderboard.number`` does
    intervals: bool | None = None  # whether figures have theirs beside them; None for what suits the table
    captions: bool = False  # LaTeX: each table in an environment of its own, with a caption
    baseline: str | None = None  # label or pattern of the method that rows are held against
    images: bool = True  # whether pictures of the data may be shown
    gallery_size: str = "medium"  # of those of a page: small, medium or large
    anonymous: bool = False  # leave out paths, commands, names of machines, users and runs


def select(run: Run, choice: Choice) -> Run:
    """The run as asked for; what was left out and says something of a network stays aside."""
    if not choice.only and not choice.metrics:
        return run
    names: dict[tuple[str, str], str] = {
        (axis, ref.label): ref.name for result in run.results for axis, ref in result.cell.refs().items() if ref
    }
    kept = [
        (key, labels)
        for key, labels in zip_longest(run.plan.keys, run.plan.cells)
        if labels is None or matches(choice.only, labels, key, names)
    ]
    _check_only(choice.only, [labels for _, labels in kept if labels is not None], kept)
    keys = {key for key, _ in kept}
    results = [
        result
        for result in run.results
        if result.key in keys and matches(choice.only, result.labels, result.key, names)
    ]
    shown = _metrics(results, choice.metrics) if choice.metrics else results
    if choice.metrics:
        mute = {_table(result.labels) for result in results} - {_table(result.labels) for result in shown}
        kept = [(key, labels) for key, labels in kept if labels is None or _table(labels) not in mute]
    # Old plans name fewer cells than they have keys: those without a name come last.
    kept.sort(key=lambda entry: entry[1] is None)
    plan = replace(
        run.plan,
        keys=tuple(key for key, _ in kept),
        cells=tuple(labels for _, labels in kept if labels is not None),
        note=" ".join(filter(None, (run.plan.note, _note(choice.only)))),
    )
    shown_keys = {result.key for result in shown}
    plan = replace(plan, summaries=tuple(rule for rule in plan.summaries if _whole(rule, run.plan, plan)))
    aside = tuple(result for result in run.results if result.key not in shown_keys)
    return replace(run, plan=plan, results=tuple(shown), aside=(*run.aside, *aside))


def wide(choice: Choice) -> Choice:
    """The choice without what leaves out data sets or metrics: means and operating points are computed on this."""
    return replace(
        choice, only={axis: p for axis, p in choice.only.items() if axis not in {"dataset", "cell"}}, metrics=()
    )


def figures(run: Run, choice: Choice, entries: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return those of the figures over several cells that belong to a run as ``select`` gave it."""
    labels = list(_known(run))
    rows = {cell.row for cell in labels}
    rules = {(rule["name"], rule["protocol"]) for rule in run.plan.summaries}
    points = {f"{rule['name']}, on {cell.dataset}" for rule in run.plan.operating_points for cell in labels}
    return [
        entry
        for entry in entries
        if (not choice.metrics or entry.get("metric") in choice.metrics)
        and (
            not choice.only
            or (
                (entry.get("name") in points or (entry.get("name"), entry.get("protocol")) in rules)
                and (entry.get("model"), entry.get("method")) in rows
            )
        )
    ]


def matches(patterns: Mapping[str, str], labels: CellLabels, key: str, names: Mapping[tuple[str, str], str]) -> bool:
    """Whether a cell is meant, by name or label as in ``bench run --only``.

    A cell without a method is, whatever is asked of methods. ``names`` has the name behind a label, where it is known.
    """
    for axis, pattern in patterns.items():
        if axis == "cell":
            if not fnmatchcase(key, pattern):
                return False
        elif label := labels.on(axis):
            name = names.get((axis, label), label)
            if not (fnmatchcase(name, pattern) or label == pattern or fnmatchcase(label, pattern)):
                return False
    return True


def _check_only(patterns: Mapping[str, str], kept: Sequence[CellLabels], entries: Sequence[Any]) -> None:
    for axis in patterns:
        if axis not in AXES:
            raise UnknownName("axis", axis, AXES, "--only")
    idle = [axis for axis in patterns if axis != "cell" and not any(labels.on(axis) for labels in kept)]
    if patterns and (not entries or idle):
        asked = ", ".join(f"{axis}={patterns[axis]}" for axis in idle or patterns)
        raise UsageError(f"no cell of the run matches --only {asked}; 'bench show RUN' lists what is there")


def _metrics(results: Sequence[Result], metrics: Sequence[str]) -> list[Result]:
    """The results with these figures alone, in this order; panels stay, results without any of them go."""
    known = sorted({name for result in results if result.ranked for name in result.definitions})
    for name in metrics:
        if name not in known:
            raise UnknownName("metric", name, known, "--metrics")
    chosen = []
    for result in results:
        names = [name for name in metrics if name in result.definitions]
        if not result.ranked:
            chosen.append(result)
        elif names:
            values = {name: result.metrics[name] for name in names if name in result.metrics}
            definitions = {name: result.definitions[name] for name in names}
            chosen.append(replace(result, metrics=values, definitions=definitions))
    return chosen


def _table(labels: CellLabels) -> tuple[str, str]:
    return labels.protocol, labels.dataset


def _whole(rule: Mapping[str, Any], before: Plan, after: Plan) -> bool:
    """Whether all data sets of a mean are still there."""
    asked = rule.get("datasets")
    if asked is None:
        return before.cells == after.cells
    planned = {labels.dataset for labels in before.cells} & set(asked)
    return planned <= {labels.dataset for labels in after.cells}


def _note(only: Mapping[str, str]) -> str:
    return f"Only {', '.join(f'{axis}={pattern}' for axis, pattern in only.items())} is shown." if only else ""


def _known(run: Run) -> Iterable[CellLabels]:
    return (*run.plan.cells, *(result.labels for result in run.results))
