"""Boards of a few made-up entries for tests, by the script that times a large one."""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

from running import clone

from bench.board import adding, check, entries, scaffold
from bench.board.adding import About

JANE = About(by="Jane Doe")
DAY, LATER = date(2026, 1, 5), date(2026, 2, 1)
TODAY = date(2026, 3, 1)
LEVELS = {"msp": 0.0, "energy": 0.05, "entropy": 0.02}
COLUMNS = (  # of docs/published.md
    *("method", "variant", "backbone", "retraining", "ood_data", "dataset", "split", "protocol", "metric", "title"),
    *("value", "unit", "spread", "rule", "definition", "same_definition", "source", "paper", "date", "repeats", "note"),
)


def script() -> ModuleType:
    """Import benchmarks/board.py as it is imported where it stands."""
    folder = str(clone() / "benchmarks")
    before = set(sys.modules)
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("board")
    finally:
        sys.path.remove(folder)
        for name in {"board", "page"} & (sys.modules.keys() - before):
            del sys.modules[name]


SCRIPT = script()


def run_of(path: Path, method: str, data_sets: tuple[str, ...] = ("Town", "road_anomaly"), **others: Any) -> Path:
    """Write a run of one method on the network ``tiny``."""
    skill = others.pop("skill", LEVELS.get(method, 0.0))
    network = others.pop("network", "tiny")
    SCRIPT.write_run(path, [SCRIPT.made(method, network, name, skill, **others) for name in data_sets])
    return path


def add(board: Path, source: Path, about: About = JANE, day: date = DAY, **only: str) -> list[str]:
    return adding.add(board, source, about, only, day)


def claim(path: Path, **changed: str) -> Path:
    """Write a table with one published figure: AP on the frames of RoadAnomaly, of the same definition."""
    row = {
        "method": "Claimed", "backbone": "R101", "retraining": "no", "ood_data": "no", "dataset": "RoadAnomaly",
        "split": "test", "protocol": "anomaly", "metric": "ap", "title": "AP", "value": "91.0", "unit": "percent",
        "definition": "step sum", "same_definition": "yes", "source": "A paper: table 2",
        "paper": "https://example.org/paper",
    } | changed  # fmt: skip
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, [row.get(name, "") for name in COLUMNS]])
    return path


def board_of(folder: Path, methods: Mapping[str, float] = LEVELS) -> Path:
    """Write a board with an entry of each method on two data sets, and a claimed one."""
    board = folder / "board"
    scaffold.write(board, "A small board")
    for method, skill in methods.items():
        add(board, run_of(folder / f"run-{method}", method, skill=skill))
    add(board, claim(folder / "claim.csv"))
    return board


def faults(board: Path) -> list[str]:
    """Return the faults of a board as lines."""
    return [str(fault) for fault in check.faults(entries.read(board), TODAY)]
