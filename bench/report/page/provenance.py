"""What figures stand on: sources, cost, fits, versions, commands, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.core import yaml_text
from bench.core.errors import UserError
from bench.core.file_names import file_name
from bench.report.figures import absent_cells, pair
from bench.report.merge_runs import Merged
from bench.report.text import count
from bench.results import run_files
from bench.results.store import Result, Run

Fields = list[tuple[str, str]]

LARGEST = 2**20  # bytes of a suite that a page carries
LISTED = 200  # missing cells that are named; the page has to stay small


@dataclass(frozen=True)
class Cost:
    """Time per image and memory, by cell."""

    stages: tuple[str, ...]
    rows: tuple[tuple[Result, tuple[float | None, ...]], ...]  # milliseconds per image, by stage


def sources_of(results: Iterable[Result], grids_by_key: Mapping[str, str]) -> list[tuple[str, Fields]]:
    """Where models, data sets and methods come from, by axis and label; the data sets of a grid are one."""
    sources: dict[str, dict[str, str]] = {"Methods": {}, "Models": {}, "Data sets": {}}
    for result in results:
        for title, axis in zip(sources, ("method", "model", "dataset"), strict=True):
            if source := result.about.get(axis, {}).get("source"):
                label = grids_by_key.get(result.key) if axis == "dataset" else None
                sources[title][label or result.labels.on(axis)] = str(source)
    return [(title, list(entries.items())) for title, entries in sources.items() if entries]


def cost_of(results: Iterable[Result]) -> Cost:
    timed = [result for result in results if result.seconds and result.images and not result.not_applicable]
    stages = tuple(dict.fromkeys(stage for result in timed for stage in result.seconds))
    rows = []
    for result in timed:
        spent = [result.seconds.get(stage) for stage in stages]
        rows.append((result, tuple(None if each is None else 1000 * each / result.images for each in spent)))
    return Cost(stages, tuple(rows))


def fitted_by(results: Iterable[Result]) -> list[tuple[list[str], Fields]]:
    """Each thing that was fitted, once, and who used it."""
    fits: dict[str, tuple[list[str], Fields]] = {}
    for result in results:
        if result.fitted:
            users, _ = fits.setdefault(json.dumps(result.fitted, sort_keys=True), ([], _flat(result.fitted)))
            if pair(result) not in users:
                users.append(pair(result))
    return list(fits.values())


def facts_of(run: Run, shared: Mapping[str, str]) -> Fields:
    images: dict[str, int] = {}
    for result in run.results:
        if not result.not_applicable:
            label = result.labels.dataset
            images[label] = max(result.images, images.get(label, 0))
    facts = [("Images", _images(images))] if images else []
    facts.append(("Cells", f"{len(run.results)} of {len(run.plan.keys)}" if run.missing else str(len(run.results))))
    made = sorted(str(result.provenance["created"]) for result in run.results if result.provenance.get("created"))
    if made:
        facts.append(("Computed", _span(_moment(made[0]), _moment(made[-1]))))
    known = {"numerics.device": "Device", "ood_seg_bench": "ood-seg-bench", "commit": "Commit"}
    return facts + [(title, shared[name][:12]) for name, title in known.items() if shared.get(name)]


def origin_of(run: Run, shared: Mapping[str, str]) -> str:
    """Return one sentence: what was measured on how many images, when and by which code."""
    facts = dict(facts_of(run, shared))
    methods = {result.labels.method for result in run.results if result.labels.method}
    models = {result.labels.model for result in run.results}
    counted = f"{len(models)} network{'s' * (len(models) != 1)}"
    if methods:
        counted = f"{len(methods)} method{'s' * (len(methods) != 1)} on {counted}"
    words = [counted, *([f"images: {facts['Images']}"] if "Images" in facts else [])]
    words.append(f"{facts['Cells']} cells")
    if "Computed" in facts:
        words.append(f"computed {facts['Computed']}")
    commit = f", commit {facts['Commit']}" if "Commit" in facts else ""
    made_by = f" by ood-seg-bench {facts['ood-seg-bench']}{commit}" if "ood-seg-bench" in facts else ""
    return "; ".join(words) + made_by + "."


def _images(by_dataset: Mapping[str, int]) -> str:
    counts = sorted(set(by_dataset.values()))
    if len(by_dataset) == 1 or (len(counts) > 1 and len(by_dataset) <= 4):
        return ", ".join(f"{count(images)} of {label}" for label, images in by_dataset.items())
    if len(counts) == 1:
        return f"{count(counts[0])} in each of {len(by_dataset)} data sets"
    return f"{count(counts[0])} to {count(counts[-1])} in each of {len(by_dataset)} data sets"


def _span(first: str, last: str) -> str:
    if first == last:
        return first
    if first.endswith(" UTC") and last.endswith(" UTC"):
        first, last = first.removesuffix(" UTC"), last.removeprefix(first[:11])
    return f"{first} to {last}"


def _moment(text: str) -> str:
    """Minutes are enough for a reader; what is no date stays as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = " UTC" if moment.tzinfo else ""
    return f"{moment.astimezone(UTC) if zone else moment:%Y-%m-%d %H:%M}{zone}"


def shared_by(results: Sequence[Result]) -> dict[str, str]:
    """Say once what the provenance of all results has in common."""
    every = [dict(_flat(result.provenance)) for result in results]
    first = every[0] if every else {}
    return {
        name: text
        for name, text in first.items()
        if name != "command" and all(other.get(name) == text for other in every)
    }


@dataclass(frozen=True)
class Suite:
    """The suite file of a run, as a page carries it."""

    name: str  # of the file
    text: str
    root: Path  # the run directory


def _beside(entry: Any) -> Any:
    """The content of a suite with its files beside it: where they lay on the machine of the run helps no reader."""
    if isinstance(entry, dict):
        return {key: _beside(value) for key, value in entry.items()}
    if isinstance(entry, list):
        return [_beside(value) for value in entry]
    whole_path = isinstance(entry, str) and Path(entry).is_absolute() and not any(map(str.isspace, entry))
    return Path(entry).name if whole_path else entry


def suites_of(run: Run) -> list[Suite]:
    """Return the suites that results were made from, each with a file name of its own; none that cannot be read."""
    roots = {source.run.path: source.name for source in run.sources} if isinstance(run, Merged) else {run.path: ""}
    suites = []
    for root, name in roots.items():
        path = root / "suite.yaml"
        try:
            run_files.check_inside(path, root)
            if path.is_file() and path.stat().st_size <= LARGEST:
                text = yaml_text.dump(_beside(yaml_text.read(path)))
                suites.append(Suite(f"suite-{file_name(name)}.yaml" if name else "suite.yaml", text, root))
        except (OSError, ValueError, UserError):  # a page shows results, with or without it
            continue
    return suites


def command_of(run: Run, result: Result, suites: Sequence[Suite]) -> str:
    """Return what makes the figures of a cell again out of the suite that the page carries; empty without that."""
    home = run.home(result)
    suite = next((suite for suite in suites if suite.root == home.parent.parent), None)
    return f"bench run {suite.name} --only cell={home.stem} --out again" if suite else ""


def fields_of(result: Result, shared: Mapping[str, str], command: str = "") -> Fields:
    """The facts of one cell beside its figures; ``command`` makes it again out of the page."""
    result = replace(result, provenance={**result.provenance, "command": command}) if command else result
    axes = {axis: ref for axis, ref in result.cell.refs().items() if ref and ref.params}
    fields = [("not applicable", result.not_applicable)] if result.not_applicable else []
    fields += [(name, text) for name, text in _flat(result.provenance) if name not in shared]
    fields += [(f"{axis} {ref.name}", json.dumps(ref.params)) for axis, ref in axes.items()]
    fields += [(f"{name} pixels", count(pixels)) for name, pixels in result.pixels.items()]
    fields += [(f"depends on {name}", str(digest)) for name, digest in result.depends.items()]
    return fields


def missing_from(run: Run) -> list[str]:
    """Return the cells without a result; by key where the plan has no words for them."""
    return [str(labels) if labels else key for key, labels in absent_cells(run)][:LISTED]


def _flat(entries: Mapping[str, Any], prefix: str = "") -> Fields:
    """Nested mappings as dotted names; what is empty is left out."""
    fields: Fields = []
    for name, value in entries.items():
        if isinstance(value, Mapping):
            fields += _flat(value, f"{prefix}{name}.")
        elif value is not None and value != "":
            fields.append((f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)))
    return fields
