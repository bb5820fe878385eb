"""A gate as continuous integration shows it: JUnit, and the summary and annotations of GitHub."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from bench.core.printable import one_line
from bench.results.gates import Judgement

LISTED = 50  # lines of a summary, and annotations


def junit(judgements: Sequence[Judgement]) -> str:
    """Return XML with a case for each judgement: failures are conditions that are met, errors what cannot be judged."""
    counts = {name: sum(each.outcome == name for each in judgements) for name in ("met", "unknown", "skipped")}
    suite = ElementTree.Element(
        "testsuite",
        name="bench compare",
        tests=str(len(judgements)),
        failures=str(counts["met"]),
        errors=str(counts["unknown"]),
        skipped=str(counts["skipped"]),
    )
    for judgement in judgements:
        name = one_line(judgement.condition or "is there")
        case = ElementTree.SubElement(suite, "testcase", classname=one_line(judgement.cell), name=name)
        if judgement.outcome != "passed":
            tag = {"met": "failure", "unknown": "error", "skipped": "skipped"}[judgement.outcome]
            ElementTree.SubElement(case, tag, message=one_line(judgement.words))
    ElementTree.indent(suite)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(suite, encoding="unicode")}\n'


def summary(title: str, verdict: str, judgements: Sequence[Judgement]) -> str:
    """Return Markdown for the summary of a job: the verdict, and a line for all that failed."""
    failed = [each for each in judgements if each.outcome in ("met", "unknown")]
    lines = [f"### {_cell(title)}", "", _cell(verdict), ""]
    if failed:
        lines += ["| cells | condition | |", "| :--- | :--- | :--- |"]
        lines += [f"| {_cell(e.cell)} | {_cell(e.condition)} | {_cell(e.words)} |" for e in failed[:LISTED]]
        lines += ["", f"and {len(failed) - LISTED} more"] * (len(failed) > LISTED)
    return "\n".join(lines) + "\n\n"


def _cell(words: str) -> str:
    plain = one_line(words).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return plain.replace("`", "'")


def commands(judgements: Sequence[Judgement]) -> list[str]:
    """Return a command of GitHub's runner for each of the first that failed."""
    failed = [each for each in judgements if each.outcome in ("met", "unknown")]
    return [f"::error title={_escaped(each.cell, ':,')}::{_escaped(each.words)}" for each in failed[:LISTED]]


def _escaped(words: str, more: str = "") -> str:
    """As the runner wants properties and messages."""
    escaped = one_line(words).replace("%", "%25")
    for character in more:
        escaped = escaped.replace(character, f"%{ord(character):02X}")
    return escaped
