"""Where the CPU time of a run went: records that add up, for RUN/profile.json and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core.cpu_time import Total
from bench.results import store

SCHEMA = 1
FILE = "profile.json"
STAGES: Mapping[str, str] = {  # in the order of a run
    "start": "starting processes, imports",
    "compile": "compiling kernels, or reading compiled ones",
    "plan": "reading and checking the suite",
    "fit": "fits, without their images",
    "setup": "loading networks",
    "load": "reading images",
    "corrupt": "corrupting images",
    "predict": "the network",
    "score": "scores",
    "segments": "segments",
    "refine": "refined maps",
    "count": "counting pixels",
    "spool": "writing score maps",
    "second": "second phases",
    "shards": "writing shards",
    "merge": "merging shards",
    "read": "figures",
    "bootstrap": "the bootstrap",
    "slices": "figures of parts, curves",
    "write": "writing results",
    "summaries": "figures over several cells",
    "gallery": "the gallery, without images and scores",
    "report": "the page and the tables",
    "other": "the rest",
}


def records(total: Total, before: Total) -> list[dict[str, Any]]:
    """Return what was spent after ``before``, one record per stage and method or protocol, in the order of a run.

    Each has ``stage``, ``of`` (empty for none) and ``cpu_seconds``. Those of all records are all that was spent.
    """
    order = {name: number for number, name in enumerate(STAGES)}
    spent = {stage: seconds - before.by_stage.get(stage, 0.0) for stage, seconds in total.by_stage.items()}
    listed = sorted(spent.items(), key=lambda entry: (order[entry[0][0]], -entry[1]))
    return [{"stage": stage, "of": of, "cpu_seconds": seconds} for (stage, of), seconds in listed if seconds]


def by_stage(listed: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return seconds by stage, in the order of a run."""
    seconds: dict[str, float] = {}
    for record in listed:
        seconds[record["stage"]] = seconds.get(record["stage"], 0.0) + record["cpu_seconds"]
    return seconds


def write(run_dir: Path, listed: Sequence[Mapping[str, Any]]) -> Path:
    """Write RUN/profile.json, and return its path."""
    path = run_dir / FILE
    rounded = [{**record, "cpu_seconds": round(record["cpu_seconds"], 4)} for record in listed]
    total = round(sum(record["cpu_seconds"] for record in rounded), 4)
    store.write_json(path, {"schema": SCHEMA, "cpu_seconds": total, "stages": rounded})
    return path


def text(listed: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as lines: stages, under some of them methods or protocols, and the total."""
    total = sum(record["cpu_seconds"] for record in listed)
    lines = [f"{'CPU time of all processes':<44}  seconds    share"]
    for stage, seconds in by_stage(listed).items():
        lines.append(_line(STAGES[stage], seconds, total))
        parts = [record for record in listed if record["stage"] == stage and record["of"]]
        lines += [_line(f"  {part['of']}", part["cpu_seconds"], total) for part in parts]
    return "\n".join([*lines, _line("all of it", total, total)])


def _line(words: str, seconds: float, total: float) -> str:
    share = 100 * seconds / total if total else 0.0
    return f"{words:<44} {seconds:8.2f} {share:6.1f} %"
