"""``bench describe``, and what ``bench check`` and ``bench run`` find before a network is loaded."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cli.main import main
from bench.core.errors import MissingData
from bench.data import describe
from bench.data.layouts import writers
from bench.datasets.cityscapes import Cityscapes
from bench.datasets.frames import OnDisk
from bench.datasets.toytown.scenes import Toytown
from bench.suite import registry

CLONE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    out = tmp_path_factory.mktemp("data")
    writers.write("cityscapes", Toytown(images=6, height=32, width=64), out / "cityscapes")
    writers.write("lost_and_found", Toytown(split="anomaly", images=8, height=32, width=64), out / "lost_and_found")
    writers.write("smiyc_anomaly", Toytown(split="anomaly", images=8, height=32, width=64), out / "smiyc")
    return out


@pytest.fixture
def root(original, tmp_path, monkeypatch):
    """Copies that a test may damage."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    return shutil.copytree(original, tmp_path / "data")


def card(name, **params):
    told = []
    made = describe.describe(registry.build("dataset", name, params, where="test"), told.append, lambda _: None)
    return made, told


def text(made, width=100):
    return "\n".join(describe.lines(made, width))


def labels_of(root):
    return sorted(root.rglob("cityscapes/gtFine/**/*_labelTrainIds.png"))


def test_shares_and_values_are_those_of_the_pixels(root):
    made, told = card("cityscapes", frames=6, labels="labelIds")
    assert told == [6] and made.complete
    stored = np.stack(
        [np.array(Image.open(path)) for path in sorted(root.rglob("cityscapes/gtFine/**/*_labelIds.png"))]
    )
    values, counts = np.unique(stored, return_counts=True)
    assert {one.value: one.pixels for one in made.stored.values()} == dict(
        zip(values.tolist(), counts.tolist(), strict=True)
    )
    assert made.stored[7].meaning == {"labels": "road"} and made.stored[0].meaning == {"labels": "ignored"}
    assert made.truths["labels"].pixels["road"] == (stored == 7).sum()
    assert made.pixels == stored.size and made.sizes == {"32x64": 6}
    assert made.groups == {"toytown_000000": 4, "toytown_000001": 2}
    assert made.digest == Cityscapes(frames=6, labels="labelIds").digest()
    share = 100 * (stored == 7).mean()
    assert f"{7:>7}  {share:>6.2f} %  road" in text(made)


def test_objects_are_counted(root):
    made, _ = card("lost_and_found", frames=6)
    data = registry.build("dataset", "lost_and_found", {"frames": 6}, where="test")
    masks = [data.load(index).anomaly == 1 for index in range(6)]
    assert made.truths["anomaly"].pixels["anomaly"] == sum(int(mask.sum()) for mask in masks)
    assert made.truths["anomaly"].frames == sum(bool(mask.any()) for mask in masks)
    valid = sum(int((data.load(index).anomaly != 255).sum()) for index in range(6))
    share = 100 * sum(int(mask.sum()) for mask in masks) / valid
    assert f"anomalous  {share:.2f} % of the other pixels, {made.truths['anomaly'].components} objects in" in text(made)


def test_touching_corners_make_one_object(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    mask = np.zeros((6, 8), np.uint8)
    mask[0, 0] = mask[1, 1] = mask[4, 6] = mask[4, 4] = 1
    for kind, pixels in (("images", np.zeros((6, 8, 3), np.uint8)), ("labels", mask)):
        (tmp_path / "mine" / kind).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "mine" / kind / "a.png")
    made, _ = card("folder", images="mine/images/*.png", labels="mine/labels/*.png", anomaly=[1], usual=[0])
    assert made.truths["anomaly"].components == 3
    assert made.stored[0].meaning == {"anomaly": "normal"}


def test_every_frame_that_is_wrong_is_named(root):
    illegal, colour, cut = labels_of(root)[1:4]
    labels = np.array(Image.open(illegal))
    labels[5, 9] = 77
    Image.fromarray(labels).save(illegal)
    Image.new("RGB", (64, 32), "red").save(colour)
    cut.write_bytes(cut.read_bytes()[:60])
    made, _ = card("cityscapes", frames=6)
    together, *single = made.problems
    assert together.startswith("all masks together hold ") and "77: 0.0122 % of the pixels in 1 of 4 files" in together
    assert [problem.split(" ")[0] for problem in single] == [str(illegal), str(colour), str(cut)]
    assert "holds the value 77 at row 5, column 9" in single[0]
    assert sum(made.sizes.values()) == 3 and not made.digest and "complete   no: 4 problems, below" in text(made)
    assert "obtain     'bench data fetch cityscapes' gets gtFine_trainvaltest.zip" in text(made)


def test_what_is_absent_says_how_to_get_it_once(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "none"))
    for name, params in (("cityscapes", {}), ("lost_and_found", {}), ("coco", {})):
        made, told = card(name, **params)
        shown = text(made)
        assert told == [] and len(made.problems) == 1 and "does not exist" in made.problems[0]
        assert made.obtain and made.obtain not in made.problems[0]
        assert ("frames     0 of 500" in shown) == (name == "cityscapes")


def test_every_reader_on_disk_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "none"))
    needed = {
        "bravo": {"subset": "synobjs"},
        "fishyscapes": {"set": "lost_and_found"},
        "poc": {"set": "acdc"},
        "smiyc": {"track": "RoadAnomaly21", "split": "validation"},
        "synboost": {"set": "fs_static"},
        "validation_dataset": {"set": "RoadAnomaly"},
    }
    readers = [
        name for name, cls in registry.available("dataset").items() if isinstance(cls, type) and issubclass(cls, OnDisk)
    ]
    assert {"cityscapes", "coco", "lost_and_found"} < {*readers}
    for name in readers:
        if name == "coco_proxy":  # what it holds is said by a file that is written here, not downloaded
            with pytest.raises(MissingData, match="write it: bench data coco-proxy --coco COCO --out FOLDER"):
                card(name)
        elif name != "folder":  # nobody but its owner has it
            made, _ = card(name, **needed.get(name, {}))
            assert made.problems and f"'bench data fetch {name}" in made.obtain, name


def test_hidden_truth_is_said_to_be_hidden(root):
    made, _ = card("smiyc", track="RoadAnomaly21", split="test", frames=2)
    shown = text(made)
    assert "truth      hidden:" in shown and "validation" in shown
    assert made.frames == 2 and made.pixels == 0 and "anomalous" not in shown


@pytest.mark.parametrize("width", [40, 60, 100, 300])
@pytest.mark.parametrize("frames", [6, 7])
def test_it_fits_a_narrow_terminal(root, width, frames):
    made, _ = card("cityscapes", frames=frames)
    longest = max(len(word) for word in text(made, 300).split())  # of a path, which is never broken
    assert all(len(line) <= max(min(width, 100), longest + 11) for line in text(made, width).splitlines())


def test_tags_and_groups_are_listed():
    made, _ = card("toytown", split="anomaly", images=8, height=32, width=64)
    assert "groups     2, of 4 frames each" in text(made)
    assert "condition: day (4), dusk (4)" in text(made)
    assert made.complete and "layout" not in text(made)


def test_the_command_in_a_narrow_terminal_and_a_pipe(root):
    env = os.environ | {"COLUMNS": "60", "PYTHONPATH": str(CLONE), "BENCH_DATA": str(root)}
    command = [sys.executable, "-m", "bench", "describe", "cityscapes", "--set", "frames=6"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "cityscapes[frames=6]" and "complete   yes" in lines
    assert any(line.endswith("%  road") for line in lines)


def test_an_entry_of_a_suite_is_understood(root, capsys):
    assert main(["describe", "{cityscapes: {frames: 6, label: mine, protocols: [miou]}}"]) == 0
    assert capsys.readouterr().out.startswith("cityscapes[frames=6]")
    assert main(["describe", "cityscapes:frames=6,labels=labelIds", "--format", "json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["datasets"]
    assert entry["complete"] and entry["values"][0] == {
        "value": 0,
        "counts_as": {"labels": "ignored"},
        "pixels": entry["values"][0]["pixels"],
    }


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["citiscapes"], "describe: unknown dataset 'citiscapes'; did you mean 'cityscapes'?"),
        (
            ["cityscapes", "--set", "frame=6"],
            "unknown parameter of dataset 'cityscapes': 'frame'; did you mean 'frames'?",
        ),
        (["{cityscapes: [1]}"], "must be one name with its parameters"),
        (["{cityscapes: {"], "not YAML"),
        (["none.yaml"], "none.yaml: no such file"),
        (["cityscapes", "--set", "frames"], "--set: 'frames' must be name=value"),
    ],
)
def test_what_cannot_be_described_is_refused(root, capsys, asked, said):
    assert main(["describe", *asked]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_an_incomplete_set_ends_with_status_2(root, capsys):
    labels_of(root)[2].write_bytes(b"")
    assert main(["describe", "cityscapes:frames=6"]) == 2
    printed = capsys.readouterr()
    assert str(labels_of(root)[2]) in printed.out.replace("\n  ", "")
    assert printed.err.splitlines()[-1] == (
        "bench: cityscapes[frames=6]: not complete; the description says what is wrong"
    )


SUITE = """
protocols: [misclassification]
models: [{python: {factory: "net.py:build", label: a}}]
datasets:
  - cityscapes: {frames: 6}
  - toytown: {images: 2, height: 32, width: 64}
methods: [{energy: {fit: {data: {cityscapes: {frames: 6}}}}}, msp]
"""


@pytest.fixture
def suite(root, tmp_path):
    (tmp_path / "net.py").write_text("raise SystemExit('the network was loaded')")
    (tmp_path / "mine.yaml").write_text(SUITE)
    return tmp_path / "mine.yaml"


def test_the_data_sets_of_a_suite_are_described_once_each(suite, capsys):
    assert main(["describe", str(suite)]) == 0
    heads = [line for line in capsys.readouterr().out.splitlines() if "[" in line and not line.startswith(" ")]
    assert heads == ["cityscapes[frames=6]", "toytown[images=2, height=32, width=64]"]
    assert main(["describe", str(suite), "--set", "frames=6"]) == 2
    assert "a suite says itself" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "run"])
def test_faults_are_named_before_any_network_is_loaded(suite, root, tmp_path, capsys, command):
    """One illegal value, one truncated PNG, one missing: nothing is computed, and each is named in its turn."""

    def refused():
        more = ["--out", str(tmp_path / "run")] if command == "run" else []
        assert main([command, str(suite), *more]) == 2
        assert not (tmp_path / "run" / "run.json").exists()
        (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("bench: "))
        return line

    illegal, cut, lost = labels_of(root)[1:4]
    kept = {path: path.read_bytes() for path in (illegal, cut, lost)}
    labels = np.array(Image.open(illegal))
    labels[0, 3] = 99
    Image.fromarray(labels).save(illegal)
    cut.write_bytes(cut.read_bytes()[:80])
    lost.unlink()
    lost.with_name(lost.name.replace("TrainIds", "Ids")).unlink()
    assert lost.name.replace("labelTrainIds", "") in refused().replace("labelIds", "").replace("labelTrainIds", "")
    lost.write_bytes(kept[lost])
    line = refused()
    assert line.startswith(f"bench: {illegal} holds the value 99 at row 0, column 3")
    assert "(1 more frame is wrong, too; bench describe names them)" in line
    illegal.write_bytes(kept[illegal])
    assert refused().startswith(f"bench: {cut} ")


def test_images_that_exif_asks_to_turn_are_counted(root):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image = sorted(root.rglob("dataset_AnomalyTrack/images/validation*"))[0]
    Image.open(image).save(image, exif=exif)
    made, _ = card("smiyc", track="RoadAnomaly21", split="validation", frames=6)
    assert made.complete and made.rotated == 1
    assert "1 image by EXIF, which is not applied" in text(made) and describe.record(made)["rotated_by_exif"] == 1


@pytest.mark.parametrize("spelled", ["{cityscapes: {frames: 6}}", "cityscapes: {frames: 6, label: x, optional: true}"])
def test_an_entry_is_taken_with_and_without_its_outer_braces(root, spelled, capsys):
    assert main(["describe", spelled]) == 0
    assert "complete   yes" in capsys.readouterr().out


def test_images_that_hold_another_format_than_their_names_are_counted(root):
    path = sorted(root.rglob("cityscapes/leftImg8bit/**/*.png"))[0]
    Image.open(path).save(path, "JPEG")
    made, _ = card("cityscapes", frames=6)
    assert made.complete and made.formats == {"JPEG in .png": 1, "PNG in .png": 5}
    assert "images     1 are JPEG data in .png files, and are read as what they hold" in text(made)
    assert describe.record(made)["formats"]["JPEG in .png"] == 1
