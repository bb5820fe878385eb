"""Fishyscapes packages and their sandbox, and the class maps of Cityscapes."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from running import until

from bench.cli.main import main
from bench.contract.board import Verdict
from bench.core import archives
from bench.core.errors import BadPlugin
from bench.data.layouts import writers
from bench.datasets.cityscapes import LABEL_IDS, Cityscapes
from bench.datasets.toytown.scenes import Toytown
from bench.results import store
from bench.submissions import cityscapes, fishyscapes
from bench.submit import commands, sandbox
from bench.submit import package as packages

SUITE = """
protocols: [fishyscapes, miou]
models: [toynet]
datasets:
  - fishyscapes: {set: lost_and_found, frames: 6, protocols: [fishyscapes], label: FS}
  - cityscapes: {split: val, frames: 4, protocols: [miou]}
methods: [maxlogit]
bootstrap: 0
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data in the official layouts, a run, a package and an archive of class maps."""
    folder = tmp_path_factory.mktemp("boards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", str(folder / "home"))
        patch.setenv("BENCH_DATA", str(folder / "data"))
        anomalies = Toytown(split="anomaly", images=6, height=64, width=128)
        writers.write("fishyscapes", anomalies, folder / "data" / "fishyscapes")
        writers.write("cityscapes", Toytown(images=4, height=64, width=128), folder / "data" / "cityscapes")
        (folder / "suite.yaml").write_text(SUITE)
        run = ["--run", str(folder / "run")]
        assert main(["run", str(folder / "suite.yaml"), "--out", str(folder / "run"), "--workers", "0"]) == 0
        assert main(["submit", "fishyscapes", *run, "--method", "maxlogit", "--out", str(folder / "out")]) == 0
        frames = ["--split", "val", "--frames", "val=4"]
        assert main(["submit", "cityscapes", *run, "--out", str(folder / "city"), *frames]) == 0
        yield folder


@pytest.fixture
def board(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(place / "data"))
    return place


@pytest.fixture
def package(board: Path, tmp_path: Path) -> Path:
    """Copy the package, so that a test may damage it."""
    return Path(shutil.copytree(board / "out" / "maxlogit", tmp_path / "package"))


def rules(path: Path, board: str | None = None) -> set[tuple[str, str]]:
    _, verdict, archive = commands.check(path, board, {"val": 4}, None)
    archive.close()
    return {(failure.rule, failure.file) for failure in verdict.failures}


def test_a_package_claims_what_the_run_measured(board: Path) -> None:
    package = board / "out" / "maxlogit"
    (result,) = [one for one in store.read_run(board / "run").results if one.labels.protocol == "fishyscapes"]
    claim = json.loads((package / "validation_performance.json").read_text())
    assert claim == {"ap": result.metrics["ap"].value, "fpr": result.metrics["fpr95"].value}
    card = yaml.safe_load((package / "card.yaml").read_text())
    assert card["claims"][0]["cell"] == result.key
    assert rules(package) == set()
    assert (package / "Dockerfile").read_text().count("USER runner") == 1
    assert any(line.startswith("torch==") for line in (package / "requirements.txt").read_text().splitlines())
    assert str(board) not in "".join(path.read_text() for path in package.glob("*.*") if path.suffix != ".md")


def test_packing_twice_gives_the_same_files(board: Path, tmp_path: Path) -> None:
    line = ["submit", "fishyscapes", "--run", str(board / "run"), "--method", "maxlogit", "--out", str(tmp_path)]
    assert main(line) == 0
    first = dict(packages.digests(tmp_path / "maxlogit"))
    assert main(line) == 0
    assert dict(packages.digests(tmp_path / "maxlogit")) == first == dict(packages.digests(board / "out/maxlogit"))


def test_a_package_needs_a_full_validation_run(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["submit", "fishyscapes", "--method", "maxlogit", "--out", str(board / "none"), "--run", str(board / "run")]
    assert main([*line, "--set", "other"]) == 2
    line = capsys.readouterr().err
    assert "no full result of this method under the protocol fishyscapes on other; it has them on FS" in line


def test_the_dry_run_of_a_package_reproduces_the_claim(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = board / "out" / "maxlogit"
    before = dict(packages.digests(package))
    assert main(["submit", "dry-run", str(package)]) == 0
    said = capsys.readouterr().out
    assert said.count(", agrees") == 2
    assert "6 images in" in said
    kept_in = "kept in: no network" in said
    assert kept_in == (sandbox.unavailable() == "")
    assert kept_in or "NOT kept in: " in said
    assert dict(packages.digests(package)) == before


def test_a_claim_that_does_not_hold_fails(
    board: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def guessing(words: list[str], images: Path, out: Path, see: list[Path], timeout: float) -> sandbox.Outcome:
        for path in images.iterdir():
            np.save(out / f"{path.stem}_anomaly.npy", np.random.default_rng(1).random((64, 128)))
            np.save(out / f"{path.stem}_segmentation.npy", np.zeros((64, 128), np.int64))
        return sandbox.Outcome(0, 1.0, "", (), "none were asked for")

    monkeypatch.setattr(sandbox, "run", guessing)
    assert main(["submit", "dry-run", str(board / "out" / "maxlogit")]) == 2
    said = capsys.readouterr().out
    assert "NOT kept in: none were asked for; it ran as you, with your network, files, devices and processes" in said
    assert "validation: fpr95 0.9" in said and "DIFFERS by +0." in said and "the dry run failed" in said


@pytest.mark.slow
def test_a_package_is_a_command_model(board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON", sys.executable)
    (tmp_path / "suite.yaml").write_text(f"""
protocols: [fishyscapes]
models:
  - command:
      run: "{{program}}/run {{input}} {{output}}"
      program: {board / "out" / "maxlogit"}
      gives: [score, labels]
datasets:
  - fishyscapes: {{set: lost_and_found, frames: 6}}
methods: [own]
bootstrap: 0
""")
    assert main(["run", str(tmp_path / "suite.yaml"), "--out", str(tmp_path / "run"), "--workers", "0"]) == 0
    (mine,) = store.read_run(tmp_path / "run").results
    (theirs,) = [one for one in store.read_run(board / "run").results if one.labels.protocol == "fishyscapes"]
    assert mine.metrics == theirs.metrics


@pytest.mark.slow
@pytest.mark.parametrize("method", ["SML fitted", "mc_dropout"])
def test_what_was_fitted_and_what_is_drawn_travel_with_a_package(
    method: str, board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "suite.yaml").write_text("""
protocols: [fishyscapes]
models: [toynet]
datasets:
  - fishyscapes: {set: lost_and_found, frames: 6}
methods:
  - sml: {fit: {data: {toytown: {split: train, images: 4, height: 64, width: 128}}}, label: SML fitted}
  - mc_dropout
bootstrap: 0
""")
    assert main(["run", str(tmp_path / "suite.yaml"), "--out", str(tmp_path / "run"), "--workers", "0"]) == 0
    words = ["submit", "fishyscapes", "--run", str(tmp_path / "run"), "--method", method, "--out", str(tmp_path)]
    assert main([*words, "--name", "packed"]) == 0
    capsys.readouterr()
    assert main(["submit", "dry-run", str(tmp_path / "packed")]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("validation:")]
    assert len(said) == 2
    for line in said:
        found, claimed = line.split()[2].rstrip(","), line.split()[4].rstrip(",")
        assert found == claimed  # to every digit that is printed, not to 0.01


Damage = Callable[[Path], object]
DAMAGES: dict[str, tuple[Damage, str, str]] = {
    "no claim": (lambda p: (p / "validation_performance.json").unlink(), "claim", "validation_performance.json"),
    "percent": (
        lambda p: (p / "validation_performance.json").write_text('{"ap": 25, "fpr": 0.1}'),
        "claim",
        "validation_performance.json",
    ),
    "NaN": (
        lambda p: (p / "validation_performance.json").write_text('{"ap": NaN, "fpr": 0.1}'),
        "claim",
        "validation_performance.json",
    ),
    "no JSON": (
        lambda p: (p / "validation_performance.json").write_text("[" * 100_000),
        "claim",
        "validation_performance.json",
    ),
    "other keys": (
        lambda p: (p / "validation_performance.json").write_text('{"ap": 0.1, "fpr": 0.1, "auroc": 1}'),
        "claim",
        "validation_performance.json",
    ),
    "no recipe": (lambda p: [(p / name).unlink() for name in ("Dockerfile", "apptainer.def")], "whole", "Dockerfile"),
    "changed code": (lambda p: (p / "entry.py").write_text("import os"), "whole", "entry.py"),
    "lost file": (lambda p: (p / "run").unlink(), "whole", "run"),
    "added file": (lambda p: (p / "more.py").write_text(""), "whole", "more.py"),
    "a link": (lambda p: (p / "host").symlink_to("/etc"), "symlink", "host"),
    "a key": (lambda p: (p / "lib" / "id_rsa").write_text(""), "secrets", "lib/id_rsa"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_package_is_refused_by_file_and_rule(kind: str, package: Path) -> None:
    damage, rule, name = DAMAGES[kind]
    damage(package)
    assert (rule, name) in rules(package, "fishyscapes")


def outputs(folder: Path, score: object = None, labels: object = None) -> list[str]:
    """Which rules the two files of one input break."""
    usual = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    np.save(folder / "0000_a_anomaly.npy", usual if score is None else score)
    np.save(folder / "0000_a_segmentation.npy", np.zeros((3, 4), np.uint8) if labels is None else labels)
    verdict = Verdict("fishyscapes", "")
    fishyscapes.check_output(folder, {"0000_a": (3, 4)}, verdict)
    return [failure.rule for failure in verdict.failures]


def test_the_outputs_of_a_program_are_held_against_the_rules(tmp_path: Path) -> None:
    grid = np.arange(12, dtype=np.float64).reshape(3, 4)
    assert outputs(tmp_path) == []
    assert outputs(tmp_path, score=grid) == []  # any floating point will do
    assert outputs(tmp_path, score=grid.astype(int)) == ["dtype"]
    assert outputs(tmp_path, score=grid.T.copy()) == ["npy"]  # taller than its input
    assert outputs(tmp_path, score=grid[:2]) == ["map size"]
    assert outputs(tmp_path, score=grid * 0) == ["constant"]
    assert outputs(tmp_path, score=np.where(grid > 5, grid, np.inf)) == ["finite"]
    assert outputs(tmp_path, score=np.array([[None]])) == ["npy"]  # a pickle is not opened
    assert outputs(tmp_path, labels=grid.astype(np.float32)) == ["dtype"]
    assert outputs(tmp_path, labels=np.full((3, 4), 20)) == ["values"]
    assert outputs(tmp_path, labels=np.full((3, 4), -1)) == ["values"]
    assert outputs(tmp_path) == []
    (tmp_path / "0000_a_anomaly.npy").unlink()
    (tmp_path / "0001_b_anomaly.npy").write_bytes(b"")
    verdict = Verdict("fishyscapes", "")
    fishyscapes.check_output(tmp_path, {"0000_a": (3, 4)}, verdict)
    assert [failure.rule for failure in verdict.failures] == ["count", "names"]


# ---------------------------------------------------------------------------------------------- the sandbox

PROBE = """
import os, socket, sys
found = []
for place in ("/", "/usr", "/etc", "/input", "/var/tmp", "/dev/shm", HERE, os.path.expanduser("~")):
    try:
        with open(os.path.join(place, "bench-was-here"), "w"):
            found.append("wrote " + place)
    except OSError:
        pass
open("/output/a", "w").close()
open(os.path.expanduser("~/MARK"), "w").close()
try:
    socket.create_connection(("127.0.0.1", PORT), 2)
    found.append("reached the host")
except OSError:
    pass
status = open("/proc/self/status").read()
print(os.getuid(), status.split("CapEff:")[1].split()[0], open("/input/in").read(), *found)
"""


def test_a_program_in_the_sandbox_reaches_nothing(tmp_path: Path) -> None:
    if why := sandbox.unavailable():
        pytest.skip(f"programs cannot be kept in here: {why}")
    images, out, seen = (tmp_path / name for name in ("in", "out", "seen"))
    for folder in (images, out, seen):
        folder.mkdir()
    (images / "in").write_text("content")
    with socket.create_server(("127.0.0.1", 0)) as server:
        mark = f"mark-{tmp_path.name}-{os.getpid()}"  # a name that nobody else has written
        code = (
            PROBE.replace("PORT", str(server.getsockname()[1])).replace("HERE", repr(str(seen))).replace("MARK", mark)
        )
        (seen / "probe.py").write_text(code)
        see = [seen, Path(sys.prefix), Path(sys.base_prefix)]
        outcome = sandbox.run([sys.executable, str(seen / "probe.py")], images, out, see, 60)
    assert outcome.status == 0, outcome.last_lines
    assert outcome.last_lines.split(" ", 3)[:3] == [str(65534), "0" * 16, "content"]
    assert "reached" not in outcome.last_lines
    others = outcome.last_lines.replace("wrote /tmp", "").replace(
        "wrote /dev/shm", ""
    )  # HOME is /tmp; both are its own
    assert "wrote" not in others
    assert [path.name for path in out.iterdir()] == ["a"]
    assert not (seen / "bench-was-here").exists()
    assert not Path(tempfile.gettempdir(), mark).exists() and not Path.home().joinpath(mark).exists()


ESCAPES = """
import os, pathlib, socket, subprocess, sys
reached = []
for name in (SOCKET, "\\0" + ABSTRACT):
    try:
        socket.socket(socket.AF_UNIX).connect(name)
        reached.append("a socket")
    except OSError:
        pass
for path in (SECRET, "/etc/passwd", "/etc/shadow", os.path.dirname(SOCKET), "/root", "/home"):
    if os.path.exists(path):
        reached.append(path)
reached += ["/dev/" + name for name in os.listdir("/dev") if name in ("sda", "vda", "kvm", "mem", "nvidia0", "fuse")]
others = [name for name in os.listdir("/proc") if name.isdigit()]
if len(others) > 3:
    reached.append(f"{len(others)} processes")
if "LEFT_OUT" in os.environ:
    reached.append("the environment")
print("reached:", *reached)
"""


def test_a_program_in_the_sandbox_sees_nothing_of_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if why := sandbox.unavailable():
        pytest.skip(f"programs cannot be kept in here: {why}")
    images, out, seen, own = (tmp_path / name for name in ("in", "out", "seen", "own"))
    for folder in (images, out, seen, own):
        folder.mkdir()
    (own / "secret").write_text("a key")
    monkeypatch.setenv("LEFT_OUT", "a token")
    abstract = f"bench-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.bind(str(own / "socket"))
        second.bind("\0" + abstract)
        first.listen()
        second.listen()
        code = ESCAPES.replace("SOCKET", repr(str(own / "socket"))).replace("ABSTRACT", repr(abstract))
        (seen / "probe.py").write_text(code.replace("SECRET", repr(str(own / "secret"))))
        # Python and nothing else: where it lies below a home, the home above it shows that way alone
        see = [seen, Path(sys.prefix), Path(sys.base_prefix)]
        outcome = sandbox.run([sys.executable, str(seen / "probe.py")], images, out, see, 60)
    assert outcome.status == 0, outcome.last_lines
    above = {str(parent) for path in see for parent in path.parents}
    reached = [word for word in outcome.last_lines.removeprefix("reached:").split() if word not in above]
    assert not reached


def test_what_a_program_started_in_a_session_of_its_own_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why := sandbox.unavailable():
        pytest.skip(f"programs cannot be kept in here: {why}")
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    escaping = "setsid sh -c 'while true; do date > /output/alive; sleep 0.2; done' & sleep 60"
    alive, wait = tmp_path / "out" / "alive", subprocess.Popen.wait

    def once_alive(process: subprocess.Popen[str], timeout: float | None = None) -> int:
        if timeout == 0.5:  # the program itself, not what looks whether programs can be kept in
            until(alive.exists)
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", once_alive)
    with pytest.raises(BadPlugin, match=r"was ended after 0.5 seconds"):
        sandbox.run(["/bin/sh", "-c", escaping], tmp_path / "in", tmp_path / "out", [], 0.5)
    alive.unlink()
    time.sleep(1)
    assert not alive.exists()


def test_a_program_that_does_not_end_is_ended(tmp_path: Path) -> None:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    with pytest.raises(BadPlugin, match=r"was ended after 1 seconds; raise --timeout"):
        sandbox.run(["/bin/sh", "-c", "sleep 60"], tmp_path / "in", tmp_path / "out", [], 1)


def test_what_a_program_said_last_is_told(tmp_path: Path) -> None:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    outcome = sandbox.run(["/bin/sh", "-c", "echo it went wrong; exit 3"], tmp_path / "in", tmp_path / "out", [], 60)
    assert (outcome.status, outcome.last_lines) == (3, "it went wrong")


# ---------------------------------------------------------------------------------------------- Cityscapes


def test_class_maps_are_checked_and_agree_with_the_run(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = str(board / "city" / "toynet.zip")
    assert main(["submit", "check", archive, "--frames", "val=4"]) == 0
    assert main(["submit", "dry-run", archive, "--frames", "val=4", "--run", str(board / "run")]) == 0
    said = capsys.readouterr().out
    assert "val: miou" in said and said.count(", agrees") >= 1 and "DIFFERS" not in said
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        values = np.array(Image.open(io.BytesIO(opened.read(names[0]))))
    assert set(np.unique(values)) <= set(LABEL_IDS)
    frames = Cityscapes("val", frames=4).ids()
    assert [Path(name).name for name in names] == [f"{frame}_pred_labelIds.png" for frame in frames]


def png(array: np.ndarray, mode: str | None = None) -> bytes:
    memory = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(memory, "PNG")
    return memory.getvalue()


def to_train_ids(content: bytes) -> bytes:
    table = np.zeros(256, np.uint8)
    table[list(LABEL_IDS)] = np.arange(19)
    return png(table[np.array(Image.open(io.BytesIO(content)))])


Maps = dict[str, bytes]
BROKEN: dict[str, tuple[Callable[[Maps, str], object], str]] = {
    "missing": (lambda m, one: m.pop(one), "count"),
    "twice": (lambda m, one: m.update({one.replace("_pred", "_other"): m[one]}), "names"),
    "stranger": (lambda m, one: m.update({"aachen_000000_000019_x.png": m[one]}), "names"),
    "wrong name": (lambda m, one: m.update({"0001.png": m.pop(one)}), "names"),
    "transposed": (lambda m, one: m.update({one: png(np.array(Image.open(io.BytesIO(m[one]))).T)}), "map size"),
    "colours": (lambda m, one: m.update({one: png(np.array(Image.open(io.BytesIO(m[one]))), "RGB")}), "dtype"),
    "void": (lambda m, one: m.update({one: png(np.full((64, 128), 255, np.uint8))}), "values"),
    "train ids": (lambda m, one: m.update({name: to_train_ids(m[name]) for name in m}), "label ids"),
    "truncated": (lambda m, one: m.update({one: m[one][:-40]}), "png"),
    "not a PNG": (lambda m, one: m.update({one: b"GIF89a"}), "png"),
    "huge": (lambda m, one: m.update({one: png(np.zeros((4000, 4000), np.uint8))}), "map size"),
    "traversal": (lambda m, one: m.update({f"../{one}": m[one]}), "path traversal"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_class_maps_are_refused(kind: str, board: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(board / "city" / "toynet.zip") as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    change, rule = BROKEN[kind]
    change(members, next(iter(members)))
    with zipfile.ZipFile(tmp_path / "broken.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert rule in {found for found, _ in rules(tmp_path / "broken.zip", "cityscapes")}


def test_no_damage_to_a_class_map_is_more_than_a_refusal(tmp_path: Path) -> None:
    generator = np.random.default_rng(9)
    content = png(generator.integers(7, 12, (24, 32)).astype(np.uint8))
    refusals = 0
    for number in range(400):
        damaged = bytearray(content)
        for place in generator.integers(0, len(content), 3):
            damaged[place] = generator.integers(256)
        (tmp_path / "a.png").write_bytes(damaged)
        archive = archives.opened(tmp_path)
        try:
            assert cityscapes.read(archive, "a.png", (24, 32)).shape == (24, 32), number
        except archives.Refused:
            refusals += 1
    assert 100 < refusals < 400


def test_the_frames_of_test_are_listed_and_have_no_truth(board: Path) -> None:
    source = board / "data" / "cityscapes" / "leftImg8bit" / "val"
    target = board / "data" / "cityscapes" / "leftImg8bit" / "test"
    if not target.exists():
        shutil.copytree(source, target)
    data = Cityscapes("test", frames=4)
    data.check()
    assert (Cityscapes("test").count, data.annotations, len(data.ids())) == (1525, frozenset(), 4)
    assert data.load(0).labels is None
    assert "kept by the organisers" in data.hidden


def test_a_suite_can_be_submitted_without_a_run(board: Path, tmp_path: Path) -> None:
    line = ["submit", "cityscapes", "--suite", str(board / "suite.yaml"), "--split", "val", "--frames", "val=4"]
    assert main([*line, "--out", str(tmp_path)]) == 0
    assert yaml.safe_load((tmp_path / "card.yaml").read_text())["claims"] == []
    assert (tmp_path / "toynet.zip").read_bytes() == (board / "city" / "toynet.zip").read_bytes()
