"""A submission to ISSU: made of a run, checked, evaluated again with its figures; and archives that are none."""

import io
import json
import re
import zipfile

import numpy as np
import pytest

from bench.cli.main import main
from bench.data.layouts import writers
from bench.datasets.issu import Issu
from bench.datasets.toytown.scenes import Toytown

FRAMES = ["--frames", "static=4,temporal=4"]
SUITE = """
protocols: [anomaly: {by: size}, components: {min_predicted: 49, min_truth: 49}, open_iou]
models: [toynet]
datasets:
  - issu: {split: static, frames: 4, label: static}
  - issu: {split: all, frames: 8, label: both}
  - issu: {split: static, track: obstacle, frames: 4, label: obstacles, protocols: [anomaly, components]}
methods: [maxlogit]
bootstrap: 0
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run on synthetic scenes and the archive of its method."""
    home = tmp_path_factory.mktemp("issu")
    writers.write("issu", Toytown(split="anomaly", images=8, height=64, width=128, seed=3), home / "issu")
    (home / "suite.yaml").write_text(SUITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATA", str(home))
        assert main(["run", str(home / "suite.yaml"), "--out", str(home / "run"), "--gallery", "0"]) == 0
        assert main(submit(home, home / "out")) == 0
    return home


def submit(home, out):
    return [
        "submit",
        "issu",
        "--run",
        str(home / "run"),
        "--method",
        "maxlogit",
        "--name",
        "M",
        "--out",
        str(out),
        *FRAMES,
    ]


@pytest.fixture
def data(made, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(made))
    return made


def test_the_archive_of_a_run_has_the_figures_of_the_run(data, capsys):
    archive = str(data / "out" / "M.zip")
    assert main(["submit", "check", archive, *FRAMES]) == 0
    assert "every rule that could be checked is kept (static 4, temporal 4)" in capsys.readouterr().out
    assert main(["submit", "dry-run", archive, "--run", str(data / "run"), *FRAMES]) == 0
    out = capsys.readouterr().out
    assert "DIFFERS" not in out
    agreeing = re.findall(r"^(\w+ \w+), (\w+): (\w+) .* agrees$", out, re.M)
    for where in ("static anomaly", "all anomaly"):
        for name in ("open_iou_tpr95", "open_iou_fpr5", "closed_iou", "tpr_at_fpr5"):
            assert (where, "open_iou", name) in agreeing
    for where in ("static anomaly", "all anomaly", "static obstacle"):
        for protocol, name in (("anomaly", "ap"), ("anomaly", "fpr95"), ("components", "siou"), ("components", "ppv")):
            assert (where, protocol, name) in agreeing
    assert re.search(r"^temporal obstacle, components: mean_f1 [0-9.]+$", out, re.M)  # the run has no such cell


def test_figures_of_other_parameters_are_not_compared(data, tmp_path, capsys):
    (tmp_path / "suite.yaml").write_text(SUITE.replace("min_truth: 49", "min_truth: 8"))
    assert main(["run", str(tmp_path / "suite.yaml"), "--out", str(tmp_path / "run"), "--gallery", "0"]) == 0
    capsys.readouterr()
    assert main(["submit", "dry-run", str(data / "out" / "M.zip"), "--run", str(tmp_path / "run"), *FRAMES]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^static anomaly, components: siou [0-9.]+$", out, re.M)
    assert re.search(r"^static anomaly, anomaly: ap .* agrees$", out, re.M)


def test_files_are_as_the_program_of_the_authors_reads_them(data):
    with zipfile.ZipFile(data / "out" / "M.zip") as archive:
        assert sorted(archive.namelist()) == sorted(f"M/{name}.npz" for name in Issu(frames=8).ids())
        for name in archive.namelist():
            stored = np.load(io.BytesIO(archive.read(name)))
            assert stored["anomaly_scores"].dtype == np.float32
            assert stored["pred_id_labels"].dtype == np.uint8
            assert stored["anomaly_scores"].shape == stored["pred_id_labels"].shape == (64, 128)
    assert json.loads((data / "out" / "submission.json").read_text())["sets"]["static"]["frames"] == 4


def test_made_again_in_pieces_it_has_the_same_bytes(data, tmp_path, monkeypatch):
    from bench.core import npz

    written, calls = npz.write, []

    def failing(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        return written(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(npz, "write", failing)
        assert main(submit(data, tmp_path / "again")) == 2
    assert not (tmp_path / "again" / "M.zip").exists()
    assert main(submit(data, tmp_path / "again")) == 0
    assert (tmp_path / "again" / "M.zip").read_bytes() == (data / "out" / "M.zip").read_bytes()


def contents(archive):
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def packed(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def arrays(**changed):
    file = io.BytesIO()
    ramp = np.linspace(0, 1, 64 * 128, dtype=np.float32).reshape(64, 128)
    plain = {"anomaly_scores": ramp, "pred_id_labels": np.zeros((64, 128), np.uint8)}
    np.savez_compressed(file, **{key: value for key, value in (plain | changed).items() if value is not None})
    return file.getvalue()


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"pred_id_labels": np.full((64, 128), 19, np.uint8)}, "[values]"),
        ({"pred_id_labels": np.full((64, 128), -1, np.int64)}, "holds -1, wanted train ids"),
        ({"pred_id_labels": np.zeros((64, 128), np.float32)}, "holds float32, wanted whole numbers [dtype]"),
        ({"anomaly_scores": np.zeros((64, 128), np.uint8)}, "holds uint8, wanted floating point [dtype]"),
        ({"anomaly_scores": np.zeros((128, 64), np.float32)}, "is it transposed? [map size]"),
        ({"anomaly_scores": np.full((64, 128), np.nan, np.float32)}, "[finite]"),
        ({"pred_id_labels": None}, "holds no array named pred_id_labels; it holds anomaly_scores [npz]"),
        ({"anomaly_scores": np.array([None])}, "[npz]"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(changed, rule, data, tmp_path, capsys):
    members = contents(data / "out" / "M.zip")
    name = next(iter(members))
    archive = packed(tmp_path / "changed.zip", members | {name: arrays(**changed)})
    assert main(["submit", "check", str(archive), *FRAMES]) == 2
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("refused: ")]
    assert line.startswith(f"refused: {name}: ") and rule in line


def test_what_is_doubtful_is_said(data, tmp_path, capsys):
    members = contents(data / "out" / "M.zip")
    first, second, *_ = members
    flat, huge = np.zeros((64, 128), np.float32), np.linspace(0, 1e6, 64 * 128, dtype=np.float32).reshape(64, 128)
    members |= {first: arrays(anomaly_scores=flat), second: arrays(anomaly_scores=huge)}
    assert main(["submit", "check", str(packed(tmp_path / "a.zip", members)), *FRAMES]) == 0
    out = capsys.readouterr().out
    assert "ranks nothing [constant]" in out and "which the authors' program makes infinite [float16]" in out


def test_absent_strange_and_doubled_files_are_named(data, tmp_path, capsys):
    members = contents(data / "out" / "M.zip")
    name, content = members.popitem()
    members |= {"M/static_9_other.npz": content, "N/static_9_other.npz": content, "M/readme.txt": b"text"}
    assert main(["submit", "check", str(packed(tmp_path / "a.zip", members)), *FRAMES]) == 2
    out = capsys.readouterr().out
    assert f"{name.removeprefix('M/')}: is absent" in out
    assert "[one method]" in out
    assert "static_9_other.npz: is no frame of static, temporal" in out
    assert "readme.txt: is no .npz" in out


def test_without_the_images_files_are_counted_and_read(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    archive = str(data / "out" / "M.zip")
    assert main(["submit", "check", archive, *FRAMES]) == 0
    assert "names and sizes were not compared" in capsys.readouterr().out
    assert main(["submit", "check", archive]) == 2
    assert "static_*.npz: the archive holds 4 frames, wanted 980 [count]" in capsys.readouterr().out
    members = contents(archive)
    name = next(iter(members))
    for changed in ({"pred_id_labels": np.zeros((9, 9), np.uint8)}, {"anomaly_scores": np.zeros(5)}):
        packed(tmp_path / "a.zip", members | {name: arrays(**changed)})
        assert main(["submit", "check", str(tmp_path / "a.zip"), *FRAMES]) == 2
        assert f"refused: {name}: " in (out := capsys.readouterr().out) and "[map size]" in out
