"""The screen of ``bench`` without a word: the commands that people start with, and what to do next."""

from __future__ import annotations

from pathlib import Path

FIRST = (
    ("bench run demo", "A whole benchmark on synthetic scenes; needs no data."),
    ("bench score ...", "Evaluate score maps that you already have."),
    ("bench init FOLDER", "Write a suite for your images and masks."),
    ("bench check SUITE", "Find what is wrong before a run."),
    ("bench show RUN", "Print the results of a run."),
)


def screen(runs: Path) -> str:
    """Return it; ``runs`` is the folder that runs are written into unless somebody chose another."""
    wide = max(len(command) for command, _ in FIRST)
    return "\n".join([
        "Evaluate anomaly and misclassification detection in semantic segmentation.",
        "",
        *(f"  {command:<{wide}}  {words}" for command, words in FIRST),
        "",
        f"Next: {_next(runs)}",
        "All commands: bench --help. Of one: bench run --help.",
    ])  # fmt: skip


def _next(runs: Path) -> str:
    """Return what to do where the newest run stands: go on with it, look at it, or begin with the demo."""
    newest = max(runs.glob("*/run.json"), key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        return "bench run demo"
    run = newest.parent
    page, suite = run / "report.html", run / "suite.yaml"
    if page.is_file():
        return f"open {page}, or bench show {run}"
    return f"bench run {suite} --out {run}" if suite.is_file() else f"bench show {run}"
