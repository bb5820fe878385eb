"""Each case of ../shared/faults/reports run again: its command must end as outcomes/*.yaml says.

The cases are inputs of people who report and ask in public; they are not part of the project, so this skips without
them. Ordinary tests of the rooms make the same kinds of input for themselves.

`python tests/faults/test_reported_inputs.py` prints the table of all cases: status, and the line that a person reads.
"""

import functools
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
CASES = HERE.parents[2] / "shared" / "faults" / "reports"

# Below $BASE, what a suite of a case may ask for: (name of the data set's folder, layout, sets of it).
BASE = {"cityscapes": "cityscapes", "validation_dataset": "validation_dataset"}


@functools.cache
def outcomes():
    """{case: what its command must come to} of all areas.

    Keys of an outcome: status (int or list), says (regular expressions, each must match stdout or stderr), silent (none
    may match), figures ({metric: figure, as the command prints it; within 0.0005}), because (for the reader).
    """
    table = {}
    for path in sorted((HERE / "outcomes").glob("*.yaml")):
        for case, outcome in (yaml.safe_load(path.read_text()) or {}).items():
            assert case not in table, f"{case} stands in two files of outcomes"
            table[case] = outcome
    return table


def cases():
    if not CASES.is_dir():
        return []
    return sorted(folder.name for folder in CASES.iterdir() if (folder / "run.sh").is_file())


def make_base(folder):
    """The synthetic sets in official layouts that cases refer to as $BASE."""
    for name, layout in BASE.items():
        bench(
            folder,
            "data",
            "toytown",
            "--layout",
            layout,
            "--images",
            "4",
            "--size",
            "64x128",
            "--out",
            str(folder / name),
        )
    return folder


def bench(cwd, *arguments):
    subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=cwd, env=environment(cwd), check=True, capture_output=True
    )


def environment(cwd, **more):
    clone = str(HERE.parents[1])
    plain = {name: value for name, value in os.environ.items() if not name.startswith("BENCH_")}
    return (
        plain | {"PYTHONPATH": clone, "BENCH_HOME": str(cwd / "home"), "COLUMNS": "200", "OMP_NUM_THREADS": "1"} | more
    )


def run_case(case, scratch, base):
    """(Status, stdout and stderr together) of a case's command, in a copy of its folder."""
    folder = scratch / case
    shutil.copytree(CASES / case, folder, symlinks=True)
    script = (folder / "run.sh").read_text()
    (folder / "run.sh").write_text(re.sub(r"(?m)^(bench .*?) \([^)]*\)$", r"\1", script))  # a remark after the command
    commands = scratch / "bin"
    commands.mkdir(exist_ok=True)
    entry = commands / "bench"
    entry.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bench "$@"\n')
    entry.chmod(0o755)
    variables = environment(folder, BASE=str(base), PATH=f"{commands}:{os.environ['PATH']}")
    ended = subprocess.run(
        ["sh", "./run.sh"],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )
    return ended.returncode, ended.stdout.decode(errors="replace")


def printed_figure(text, metric):
    """The first number after the name of a metric in what a command printed, a float."""
    match = re.search(rf"(?im)^.*?\b{re.escape(metric)}\b[^\d\n-]*(-?\d+(?:\.\d+)?|nan|n/a)(?: ±[^%\n]*)?( %)?", text)
    assert match, f"{metric} is not in:\n{text}"
    return float("nan") if match[1] in ("nan", "n/a") else float(match[1]) / (100 if match[2] else 1)


def departures(outcome, status, text):
    """Each way in which a command ended otherwise than it must, as lines; empty where all is well."""
    lines = []
    allowed = outcome["status"] if isinstance(outcome["status"], list) else [outcome["status"]]
    if status not in allowed:
        lines.append(f"status {status}, must be {outcome['status']}")
    lines.extend(f"missing: {pattern}" for pattern in outcome.get("says", ()) if not re.search(pattern, text))
    silent = [*outcome.get("silent", ()), "Traceback"]
    lines.extend(f"must not be there: {pattern}" for pattern in silent if re.search(pattern, text))
    for metric, figure in outcome.get("figures", {}).items():
        printed = printed_figure(text, metric)
        if not math.isclose(printed, figure, abs_tol=0.0005):
            lines.append(f"{metric} {printed}, must be {figure}")
    return lines


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.mark.slow
@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/faults is not here: it holds the inputs")
@pytest.mark.parametrize("case", cases())
def test_a_case_ends_as_it_must(case, tmp_path, base):
    assert case in outcomes(), f"no file of outcomes/ says how {case} must end"
    status, text = run_case(case, tmp_path, base)
    assert not departures(outcomes()[case], status, text), text


def main():
    import tempfile

    chosen = sys.argv[1:] or cases()
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "base").mkdir()
        base = make_base(Path(scratch) / "base")
        for case in chosen:
            status, text = run_case(case, Path(scratch), base)
            outcome = outcomes().get(case)
            verdict = (
                "no outcome stated" if outcome is None else "; ".join(departures(outcome, status, text)) or "as it must"
            )
            lines = [line for line in text.strip().splitlines() if line.strip()]
            print(f"{case} | status {status} | {verdict} | {lines[-1] if lines else '(nothing printed)'}")


if __name__ == "__main__":
    main()
