"""The files under examples/scale, and that a suite computed in parts becomes one run."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import NETWORK
from test_estimate import Quiet

from bench import corruptions
from bench.cli.main import main
from bench.run import engine
from bench.suite import expansion as suites

FOLDER = Path(__file__).parents[2] / "examples" / "scale"
SCRIPTS = sorted(FOLDER.glob("*.sbatch"))
GRID = """
protocols: [misclassification, miou]
models: [python: {factory: "net.py:build", label: tiny}]
datasets:
  - toytown: {images: 4, height: 32, width: 64}
  - toytown: {images: 4, height: 32, width: 64, corruptions: {names: [fog, contrast], severities: [1, 2]}}
methods: [msp, entropy]
bootstrap: 20
summaries: [{name: Mean, protocol: misclassification, corruption: "*"}]
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_can_read_the_scripts(script):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    done = subprocess.run([bash, "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def programs(text):
    """The lines of a script that type ``bench``, without what the shell puts in."""
    lines = text.replace("\\\n", " ").splitlines()
    return [
        shlex.split(line.strip().removeprefix("# ")) for line in lines if re.match(r"(# +)?bench run ", line.strip())
    ]


def test_the_scripts_type_options_that_there_are(capsys):
    """Held to the help of the command line."""
    assert main(["run", "--help"]) == 0
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    entry = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())["spec"]["entrypoint"]
    typed = [
        *programs((FOLDER / "slurm_ray.sbatch").read_text()),
        *programs((FOLDER / "slurm_array.sbatch").read_text()),
    ]
    typed.append(shlex.split(entry))
    assert len(typed) == 4
    for words in typed:
        assert {word for word in words if word.startswith("--")} <= known, words


def test_the_array_has_a_task_for_every_corruption_of_the_grid():
    text = (FOLDER / "slurm_array.sbatch").read_text()
    (listed,) = re.findall(r"^parts=\((.*?)^\)", text, re.M | re.S)
    assert sorted(listed.split()) == sorted(corruptions.SOURCE_15)
    assert f"#SBATCH --array=0-{len(corruptions.SOURCE_15) - 1}\n" in text
    grid = suites.load(suites.locate("cityscapes_c")).planned
    parts = [
        cell
        for name in listed.split()
        for cell in suites_only(grid, f"*+{name}-*")
        if cell.dataset.corruption is not None
    ]
    assert len(parts) == len(set(parts)) == sum(cell.dataset.corruption is not None for cell in grid)


def suites_only(cells, pattern):
    from fnmatch import fnmatchcase

    return [cell for cell in cells if fnmatchcase(cell.dataset.label, pattern)]


def test_the_manifest_mounts_every_volume_that_it_names():
    spec = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
    assert (spec["apiVersion"], spec["kind"]) == ("ray.io/v1", "RayJob")
    cluster = spec["spec"]["rayClusterSpec"]
    pods = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for pod in (one["template"]["spec"] for one in pods):
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
            assert container["resources"]["requests"] == container["resources"]["limits"]
            assert all(isinstance(one["value"], str) for one in container["env"])
    assert cluster["rayVersion"] in (FOLDER / "rayjob.yaml").read_text().split("FROM rayproject/ray:")[1].split("\n")[0]


def test_a_suite_computed_in_parts_becomes_one_run(tmp_path):
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "grid.yaml").write_text(GRID)
    suite, options = suites.load(tmp_path / "grid.yaml"), engine.Options(workers=0)
    whole = {result.key: result for result in engine.run(suite, tmp_path / "whole", options, Quiet())}
    parts = []
    for name in ("fog", "contrast"):
        part = tmp_path / "parts" / name
        assert len(list(engine.run(suite.only({"dataset": f"*+{name}-*"}), part, options, Quiet()))) == 6
        parts.append(str(part))
    assert main(["merge", *parts, "--out", str(tmp_path / "joined")]) == 0
    rest = list(engine.run(suite, tmp_path / "joined", options, Quiet()))
    assert {result.labels.dataset for result in rest} == {"toytown[height=32,images=4,width=64]"}
    for key, result in whole.items():
        assert result.metrics == engine.store.read_result(tmp_path / "joined" / "cells" / f"{key}.json").metrics
    summaries = [(tmp_path / run / "summaries.json").read_text() for run in ("whole", "joined")]
    assert summaries[0] == summaries[1] and '"value": 0.' in summaries[0]
