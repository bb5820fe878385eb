"""Why figures of one name disagree: every definition of them on the same maps, as tables of a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.api import Undefined, Value
from bench.metrics.protocols.definitions import POOLINGS, RULES, Entry
from bench.report.leaderboard import departed
from bench.results import definitions
from bench.results.store import Run


@dataclass(frozen=True)
class PanelRow:
    """One way to pool under one rule, and what it makes of the maps of each method."""

    pooling: str
    used_by: str
    ours: bool  # the figure of the page's own table
    figures: tuple[Value | Undefined | None, ...]


@dataclass(frozen=True)
class PanelTable:
    """Every definition of FPR95 and AP on the maps of one network and data set."""

    dataset: str
    model: str
    methods: tuple[str, ...]
    sentences: tuple[str, ...]
    metrics: Mapping[str, Mapping[str, Sequence[PanelRow]]]  # rows by metric and by the words of the rule
    remarks: tuple[str, ...]


def tables_of(run: Run) -> list[PanelTable]:
    """One per data set, network and kind of truth; those that a suite asked for in whole if there are any."""
    panels = definitions.panel(run)
    whole = [panel for panel in panels if panel.whole]
    groups: dict[tuple[str, str, str], list[definitions.Panel]] = {}
    for panel in whole or panels:
        groups.setdefault((panel.dataset, panel.model, panel.of), []).append(panel)
    return [_panel_table(dataset, model, of, members) for (dataset, model, of), members in groups.items()]


def _panel_table(dataset: str, model: str, of: str, members: Sequence[definitions.Panel]) -> PanelTable:
    by_method: dict[str, dict[tuple[str, str], Entry]] = {
        panel.method: {(entry.rule, entry.pooling): entry for entry in panel.entries} for panel in members
    }
    keys = [
        (rule, pooling)
        for rule in RULES
        for pooling in POOLINGS
        if any((rule, pooling) in e for e in by_method.values())
    ]
    metrics: dict[str, dict[str, list[PanelRow]]] = {}
    for rule, pooling in keys:
        figures = tuple(
            entries[rule, pooling].figure if (rule, pooling) in entries else None for entries in by_method.values()
        )
        ours = rule in definitions.SAME and pooling == "pooled"
        words = RULES[rule].words.replace(">=", "\N{GREATER-THAN OR EQUAL TO}")
        row = PanelRow(POOLINGS[pooling], RULES[rule].used_by.get(pooling, ""), ours, figures)
        metrics.setdefault(RULES[rule].metric, {}).setdefault(words, []).append(row)
    remarks = departed([result for panel in members for result in panel.results])
    if lacking := {pooling for panel in members for pooling in panel.lacks}:
        names = ", ".join(POOLINGS[pooling] for pooling in POOLINGS if pooling in lacking)
        remarks.append(f"Not told by counts alone: {names}. A suite with the protocol definitions has them.")
    if any(panel.partial for panel in members):
        remarks.append("Some of these cells are partial.")
    return PanelTable(
        f"{of} on {dataset}",
        model,
        tuple(by_method),
        tuple(_spread_words(members)),
        metrics,
        tuple(remarks),
    )


def _spread_words(members: Sequence[definitions.Panel]) -> Iterator[str]:
    """Where definitions move a figure most, in a sentence per metric."""
    for metric in ("FPR95", "AP"):
        spans = [
            (hi - lo, panel.method, lo, hi)
            for panel in members
            if metric in panel.ranges
            for lo, hi in [panel.ranges[metric]]
        ]
        if spans and max(spans)[0] >= 0.0005:
            _, method, lo, hi = max(spans)
            between = f"from {100 * lo:.2f} to {100 * hi:.2f}"
            yield f"The {metric} of {method} is anything {between}, depending on who computes it."
