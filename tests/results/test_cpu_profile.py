"""``bench run --profile``: where the CPU time of a run went."""

import json
import subprocess
import sys

import pytest

from bench.core.cpu_time import OTHER, Total
from bench.results import cpu_profile
from tests.running import clone

SUITE = """
protocols: [anomaly]
models: [toynet]
datasets: [{toytown: {split: anomaly, images: 2}}]
methods: [msp, maxlogit]
"""


def test_records_are_in_the_order_of_a_run_and_add_up():
    before = Total(3.0, {("plan", ""): 3.0})
    after = Total(11.0, {OTHER: 1.0, ("score", "msp"): 2.0, ("score", "sml"): 4.0, ("plan", ""): 4.0})
    listed = cpu_profile.records(after, before)
    assert [(record["stage"], record["of"]) for record in listed] == [
        ("plan", ""),
        ("score", "sml"),
        ("score", "msp"),
        ("other", ""),
    ]
    assert sum(cpu_profile.by_stage(listed).values()) == after.seconds - before.seconds


def test_a_run_of_two_processes_says_where_all_of_its_time_went(tmp_path):
    suite, run = tmp_path / "two.yaml", tmp_path / "run"
    suite.write_text(SUITE)
    options = ["--out", run, "--gallery", "0", "--processes", "2", "--profile"]
    command = [sys.executable, "-m", "bench", "run", suite, *options]
    printed = subprocess.run(command, cwd=clone(), capture_output=True, text=True, check=True).stdout
    profile = json.loads((run / cpu_profile.FILE).read_text())
    seconds = cpu_profile.by_stage(profile["stages"])
    assert profile["cpu_seconds"] == pytest.approx(sum(seconds.values()), abs=1e-3)
    assert {"start", "plan", "load", "predict", "score", "count", "merge", "write", "report"} <= seconds.keys()
    assert {record["of"] for record in profile["stages"] if record["stage"] == "score"} == {"msp", "maxlogit"}
    assert seconds["other"] < 0.5 * profile["cpu_seconds"]
    assert "counting pixels" in printed and str(run / cpu_profile.FILE) in printed
