"""Ray and processes of this machine: the same figures, whoever dies, and failures that stay where they are."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import NETWORK
from PIL import Image
from running import PATIENCE, Silent, metrics, until

from bench.core.errors import CellsFailed, ClusterTrouble, MissingPackage
from bench.core.parcels import folder_in_memory
from bench.run import engine
from bench.run.engine import Options
from bench.suite import expansion as suites
from bench.suite import registry
from bench.suite.readers import FOLDER

CLONE = Path(__file__).parents[2]
DATA = "{split: anomaly, images: 6, height: 32, width: 64, label: scenes}"
# Everything that travels: fits, maps between two phases, decisions about all images, shards.
WHOLE = f"""
protocols: [anomaly, {{components: {{min_predicted: 6, min_truth: 4}}}}, miou]
models:
  - python: {{factory: "net.py:build", label: tiny}}
datasets:
  - toytown: {DATA}
  - toytown: {{split: anomaly, images: 6, height: 32, width: 64, seed: 5, label: others}}
methods:
  - msp
  - sml: {{fit: {{data: {{toytown: {{split: train, images: 4, height: 32, width: 64}}}}}}}}
  - entropy_meta: {{threshold: 0.995}}
bootstrap: 20
"""
PLUGIN = '''
"""Methods that misbehave at one image; a file says how often they did."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.api import File, Method


@dataclass(frozen=True)
class Fragile(Method):
    """MaxLogit, and trouble at the image whose mean is the number that a file holds, at most ``times`` times."""

    name = "fragile"
    source = "a test"
    needs = frozenset({"logits", "image"})

    notes: File
    trouble: str = "killed"
    times: int = 2
    number: int = 3  # of the image

    def score(self, prediction, state):
        if abs(float(prediction.image.double().mean()) - json_of(self.notes)[self.number]) < 1e-9:
            marks = sorted(Path(self.notes).parent.glob("mark-*"))
            if len(marks) < self.times:
                (Path(self.notes).parent / f"mark-{len(marks)}").touch()
                misbehave(self.trouble)
        return -prediction.max_logit


def json_of(path):
    import json

    return json.loads(Path(path).read_text())


def misbehave(trouble):
    if trouble == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == "memory":
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, before[1]))
        try:
            np.ones(2**28)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
    raise ZeroDivisionError("by this image")
'''


def scenes():
    params = {"split": "anomaly", "images": 6, "height": 32, "width": 64}
    return registry.build("dataset", "toytown", params, where="test")


@pytest.fixture
def fragile(tmp_path, monkeypatch):
    """Write a suite of methods that misbehave; the folder is where they leave marks."""
    plugins = tmp_path / "plugins" / "methods"
    plugins.mkdir(parents=True)
    (plugins / "fragile.py").write_text(PLUGIN)
    (tmp_path / "net.py").write_text(NETWORK)
    means = [float(scenes().load(index).image().astype(np.float64).mean()) for index in range(6)]
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "plugins"))
    registry.forget()

    def write(**methods):
        entries = []
        for label, params in methods.items():
            notes = tmp_path / label / "means.json"
            notes.parent.mkdir(exist_ok=True)
            notes.write_text(json.dumps(means))
            entries.append({"fragile": {"notes": str(notes), "label": label, **params}})
        text = (
            "protocols: [anomaly, misclassification]\n"
            'models:\n  - python: {factory: "net.py:build", label: tiny}\n'
            f"datasets:\n  - toytown: {DATA}\n  - toytown: {DATA.replace('scenes', 'again, seed: 9')}\n"
            f"methods: {json.dumps(['maxlogit', *entries])}\nbootstrap: 20\n"
        )
        path = tmp_path / "fragile.yaml"
        path.write_text(text)
        return path

    yield write
    registry.forget()


def run(path, folder, **options):
    """The figures, what was told, and the error at the end, if any."""
    seen, failed = Silent(), None
    try:
        list(engine.run(suites.load(path), folder, Options(**{"shard": 2, "workers": 0} | options), seen))
    except CellsFailed as error:
        failed = error
    assert not list(folder.glob(".seen-*")) and not list(folder.rglob("*.part"))
    return metrics(folder), seen.told, failed


@pytest.fixture(scope="module")
def cluster():
    """One Ray for the tests of this module, as a notebook has one."""
    from bench.run.executors import select
    from bench.run.executors.dispatch import RayOptions

    select.loopback()
    pytest.importorskip("ray", reason="the extra ray is not installed")
    from bench.run.executors import ray as actors

    actors.connect(RayOptions(workers=2))
    yield {"executor": "ray", "processes": 2}
    import ray

    ray.shutdown()


@pytest.fixture
def crew(request):
    """Options of an executor with two workers."""
    return request.getfixturevalue("cluster") if request.param == "ray" else {"processes": 2}


BOTH = pytest.mark.parametrize("crew", ["local", "ray"], indirect=True)


def test_ray_gives_the_digits_of_one_process_without_seeing_its_files(cluster, tmp_path, monkeypatch):
    """What phases leave to each other is sent along where the run directory cannot be seen."""
    (tmp_path / "net.py").write_text(NETWORK)
    path = tmp_path / "whole.yaml"
    path.write_text(WHOLE)
    wanted, _, _ = run(path, tmp_path / "here")
    real = Path.touch
    monkeypatch.setattr(
        Path, "touch", lambda self, **how: None if self.name.startswith(".seen-") else real(self, **how)
    )
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "another home"))  # the fit is made again, by a worker
    found, told, failed = run(path, tmp_path / "there", **cluster)
    assert (told, failed) == ([], None) and len(found) == 2 * (2 * 3 + 1)
    assert found == wanted
    for one in (tmp_path / "here" / "cells").glob("*.npz"):
        with np.load(one) as mine, np.load(tmp_path / "there" / "cells" / one.name) as theirs:
            assert mine.files == theirs.files
            assert all(np.array_equal(mine[n], theirs[n], equal_nan=mine[n].dtype.kind == "f") for n in mine.files)
    assert {path.name for path in (tmp_path / "there").iterdir()} == {
        path.name for path in (tmp_path / "here").iterdir()
    }


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("crew", [pytest.param("local", marks=pytest.mark.slow), "ray"], indirect=True)
def test_killed_workers_and_a_poisoned_image_cost_their_own_cells_at_most(crew, fragile, tmp_path):
    path = fragile(killed={}, poisoned={"trouble": "raised", "times": 99, "number": 4})
    for number in range(2):
        (tmp_path / "killed" / f"mark-{number}").touch()  # without trouble
    wanted, _, failed = run(path, tmp_path / "here")
    assert len(wanted) == 10 and len(str(failed).splitlines()) == 1 + 2 + 1  # 2 of 12 cells
    for mark in tmp_path.glob("killed/mark-*"):
        mark.unlink()
    found, told, failed = run(path, tmp_path / "run", **crew)
    assert found == wanted
    assert [line.partition(" on scenes/")[0] for line in told if "worker" in line] == [
        "a worker was killed at model tiny",
        "a worker was killed at model tiny",
    ]
    name = scenes().ids()[4]
    assert f"method poisoned on scenes/{name}: ZeroDivisionError: by this image" in str(failed)
    kept = json.loads((tmp_path / "run" / "failures.json").read_text())
    assert {entry["labels"]["method"] for entry in kept} == {"poisoned"} and "misbehave" in kept[0]["trace"]
    # Repaired, the same command does what is missing, and takes the reasons back.
    for number in range(99):
        (tmp_path / "poisoned" / f"mark-{number}").touch()
    found, _, failed = run(path, tmp_path / "run")
    assert len(found) == 12 and failed is None and not (tmp_path / "run" / "failures.json").exists()


@BOTH
@pytest.mark.parametrize(("trouble", "said"), [("killed", "was killed"), ("memory", "ran out of memory")])
@pytest.mark.slow
def test_the_image_that_no_worker_survives_is_found_and_named(crew, fragile, tmp_path, trouble, said):
    path = fragile(fatal={"trouble": trouble, "times": 99})
    found, told, failed = run(path, tmp_path / "run", retries=1, **crew)
    name = scenes().ids()[3]
    assert f"model tiny on scenes/{name}: a worker {said} there every time" in str(failed)
    assert "looking for the image" in " ".join(told)
    assert len(found) == 4, "the cells of the other data set"


@BOTH
@pytest.mark.slow
def test_a_shard_that_two_workers_ran_out_of_memory_at_is_done_by_the_third(crew, fragile, tmp_path):
    path = fragile(hungry={"trouble": "memory"})
    found, told, failed = run(path, tmp_path / "run", **crew)
    assert failed is None and len([line for line in told if "ran out of memory" in line]) == 2
    assert found == run(path, tmp_path / "here")[0]


TORN = '''
"""Toytown with one image whose file is torn."""

from dataclasses import dataclass, replace

from bench.datasets.toytown import Toytown
from bench.core.files import data
from bench.core.images import read_rgb


@dataclass(frozen=True)
class Torn(Toytown):
    """One file is half there."""

    name = "torn"

    def load(self, index):
        sample = super().load(index)
        return replace(sample, image=lambda: read_rgb(data("torn.png"))) if index == 2 else sample
'''


@pytest.mark.parametrize("crew", ["here", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_torn_image_fails_its_data_set_and_no_other(crew, request, fragile, tmp_path, monkeypatch):
    path = fragile()
    (tmp_path / "plugins" / "datasets").mkdir()
    (tmp_path / "plugins" / "datasets" / "torn.py").write_text(TORN)
    Image.fromarray(scenes().load(2).image()).save(tmp_path / "torn.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "torn.png").read_bytes()[:-200])
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    path.write_text(path.read_text().replace("toytown: {split", "torn: {split", 1))
    found, told, failed = run(path, tmp_path / "run", **(request.getfixturevalue("cluster") if crew == "ray" else {}))
    where = f"model tiny on scenes: {scenes().ids()[2]}: {tmp_path / 'torn.png'} cannot be read: "
    assert len(found) == 2 and where in str(failed) and "is it truncated?" in str(failed)
    (line,) = told
    assert line.startswith("failed: ") and " and 1 more: " in line


KILLING = '''
"""Toytown that notes who reads, and ends its reader once."""

import os
import signal
from dataclasses import dataclass

from bench.core.files import data
from bench.datasets.toytown import Toytown


@dataclass(frozen=True)
class Killing(Toytown):
    name = "killing"

    def load(self, index):
        if data("begun").exists():
            (data("readers") / str(os.getpid())).touch()
            if index == 3 and not data("killed").exists():
                data("killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().load(index)
'''


class Beginning(Silent):
    """Leaves a mark when images are read for the network."""

    def begin(self, images):
        Path(os.environ["BENCH_DATA"], "begun").touch()
        super().begin(images)


@pytest.mark.slow
@BOTH
def test_processes_share_readers_and_one_that_is_killed_costs_one_shard_a_try(crew, fragile, tmp_path, monkeypatch):
    path = fragile()
    (tmp_path / "plugins" / "datasets").mkdir()
    (tmp_path / "plugins" / "datasets" / "killing.py").write_text(KILLING)
    (tmp_path / "readers").mkdir()
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    path.write_text(path.read_text().replace("toytown: {split", "killing: {split", 1))
    wanted, _, _ = run(path, tmp_path / "here")
    seen = Beginning()
    list(engine.run(suites.load(path), tmp_path / "run", Options(shard=2, workers=1, **crew), seen))
    assert metrics(tmp_path / "run") == wanted
    (line,) = seen.told
    assert line.startswith("a worker lost a process that reads its images at ") and "once more (1 of 2)" in line
    readers = names(tmp_path / "readers")
    assert str(os.getpid()) not in readers and 2 <= len(readers) <= 3, "one for each of two, and one in its place"
    until(lambda: not any(Path(f"/proc/{reader}").exists() for reader in readers))
    memory = folder_in_memory()
    assert memory is None or not [folder for folder in memory.glob(f"{FOLDER}*") if any(folder.glob("tmp*"))]


def test_without_ray_one_line_says_how_to_install_it(fragile, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "bench.run.executors.ray", raising=False)
    with pytest.raises(MissingPackage, match=r"--executor ray needs Ray; pip install 'ood-seg-bench\[ray\]'"):
        run(fragile(), tmp_path / "run", executor="ray")


def test_no_command_imports_ray_unasked():
    script = (
        "import sys; from bench.run import engine; from bench.run.executors import select; print('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=CLONE, check=True)
    assert done.stdout.split() == ["False"]


def test_an_address_where_nobody_listens_is_said_at_once():
    pytest.importorskip("ray", reason="the extra ray is not installed")
    from bench.run.executors.dispatch import RayOptions
    from bench.run.executors.ray import connect

    with socket.socket() as free:  # bound and not listening
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ClusterTrouble, match=rf"the cluster at {place} cannot be reached: .*refused"):
            connect(RayOptions(address=place))


def test_a_worker_that_no_node_has_room_for_is_said_with_what_to_do(cluster, fragile, tmp_path):
    with pytest.raises(ClusterTrouble, match=r"no node of the cluster has room for a worker of 500 CPUs and 0"):
        run(fragile(), tmp_path / "run", executor="ray", cpus_per_worker=500.0)


@pytest.mark.slow
def test_a_worker_that_computes_otherwise_is_left_out(cluster, fragile, tmp_path, monkeypatch):
    from dataclasses import replace

    from bench.run.executors import ray as actors

    real = actors.RayPool._answer
    answers = []

    def other(self, number):
        hello = real(self, number)
        answers.append(hello)
        return hello if len(answers) == 1 else replace(hello, numerics=replace(hello.numerics, capability="VSX"))

    monkeypatch.setattr(actors.RayPool, "_answer", other)
    found, told, failed = run(fragile(), tmp_path / "run", **cluster)
    assert failed is None and len(found) == 4
    assert all("is not used" in line and "capability VSX (others " in line for line in told) and len(told) <= 1


COMMAND = [sys.executable, "-m", "bench", "run"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_driver_that_is_ended_goes_on_where_it_was_and_leaves_no_process(fragile, tmp_path, how):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    path = fragile()
    path.write_text(path.read_text().replace("images: 6", "images: 60"))
    wanted, _, _ = run(path, tmp_path / "here")
    out = tmp_path / "run"
    command = [*COMMAND, str(path), "--out", str(out), "--executor", "ray", "--processes", "1", "--shard", "2"]
    started = subprocess.Popen(command, cwd=CLONE, start_new_session=True, stderr=subprocess.PIPE)
    until(lambda: len(list(out.glob("work/*/phase1-*.npz"))) >= 8 or started.poll() is not None)
    (os.killpg if how == signal.SIGINT else os.kill)(started.pid, how)
    assert started.wait(PATIENCE) == (130 if how == signal.SIGINT else -signal.SIGKILL)
    left = list(out.glob("work/*/phase1-*.npz"))
    assert left, "it came too late to show anything"
    until(lambda: not of_session(started.pid))
    done = subprocess.run(command, cwd=CLONE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert metrics(out) == wanted
    assert not (out / "work").exists() and not list(out.glob(".seen-*"))


def of_session(leader):
    """Processes that are left of a session, but for two of Ray itself that look for their raylet once a minute."""
    said = subprocess.run(["ps", "-eo", "pid,sid,stat,args"], capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 3) for line in said.splitlines()[1:]]
    alive = [line for line in lines if line[1] == str(leader) and not line[2].startswith("Z")]
    return [line[3] for line in alive if not line[3].startswith(("ray::DashboardAgent", "ray::RuntimeEnvAgent"))]


@pytest.mark.slow
def test_a_full_disk_at_the_driver_is_one_line_and_the_next_run_goes_on(fragile, tmp_path):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    path = fragile()
    out = tmp_path / "run"
    script = (
        "import sys, resource; from bench.run.executors import dispatch, select; select.loopback();"
        # Its own files are larger than what is allowed afterwards.
        "from bench.run.executors import ray as actors; actors.connect(dispatch.RayOptions(workers=1));"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)); from bench.cli.main import main; sys.exit(main())"
    )
    options = ["run", str(path), "--out", str(out), "--executor", "ray", "--processes", "1"]
    done = subprocess.run([sys.executable, "-c", script, *options], cwd=CLONE, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("bench: ")]  # Ray's own log may be cut, too
    assert "no room left" in said and said.endswith("run the same command again")
    assert not list(out.rglob("*.part"))
    assert run(path, out)[0] == run(path, tmp_path / "here")[0]


@pytest.mark.slow
def test_two_nodes_of_one_cluster_give_the_same_figures(fragile, tmp_path):
    """Two raylets of this machine; a third script starts them, for this process has a Ray of its own."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    path = fragile()
    script = (
        "import sys; from ray.cluster_utils import Cluster; from bench.cli.main import main\n"
        "cluster = Cluster(initialize_head=True, head_node_args={'num_cpus': 1}); cluster.add_node(num_cpus=1)\n"
        "status = main([*sys.argv[1:], '--address', cluster.address]); cluster.shutdown(); sys.exit(status)"
    )
    options = ["run", str(path), "--out", str(tmp_path / "run"), "--executor", "ray", "--shard", "2"]
    done = subprocess.run([sys.executable, "-c", script, *options], cwd=CLONE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert metrics(tmp_path / "run") == run(path, tmp_path / "here")[0]
