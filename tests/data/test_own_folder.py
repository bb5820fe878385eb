"""``bench init``: folders as people keep them become suites that run, and nothing is overwritten."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from bench.cli.main import main
from bench.core.label_values import LABEL_IDS
from bench.suite import expansion, registry

SHAPE = (24, 32)
LAYOUTS = {  # of the image and of the mask of frame {n}
    "two folders": ("images/{n}.jpg", "labels/{n}.png"),
    "two folders, upper case": ("Images/{n}.JPG", "Masks/{n}.PNG"),
    "endings": ("images/{n}_leftImg8bit.png", "gt/{n}_gtFine_labelTrainIds.png"),
    "one folder, two formats": ("{n}.jpg", "{n}.png"),
    "one folder, a tail": ("{n}.png", "{n}_mask.png"),
    "one folder, heads": ("img_{n}.png", "mask_{n}.png"),
    "official": ("images/{n}.jpg", "labels_masks/{n}_labels_semantic.png"),
    "splits outside": ("{s}/images/{n}.png", "{s}/masks/{n}.png"),
    "splits inside": ("images/{s}/{n}.png", "masks/{s}/{n}.png"),
    "cities": ("leftImg8bit/val/{s}/{n}_leftImg8bit.png", "gtFine/val/{s}/{n}_gtFine_labelIds.png"),
    "nested": ("data/photos/{n}.jpg", "data/annotations/{n}.png"),
}
SHARES = np.array([33, 5, 22, 1, 1, 1, 0.3, 0.7, 15, 1, 4, 1, 0.2, 7, 0.4, 0.3, 0.3, 0.1, 0.7])


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    return tmp_path


def fill(root, layout, masks, *, repeated=False):
    """Write images and masks; with ``repeated`` the numbers begin anew in each split."""
    image, mask = LAYOUTS[layout]
    draws = np.random.default_rng(0)
    for number, values in enumerate(masks):
        names = {"s": "ab"[number % 2], "n": f"{number // 2 if repeated else number:03}"}
        for name, pixels in ((image, draws.integers(0, 256, (*SHAPE, 3), np.uint8)), (mask, values)):
            path = root / name.format(**names)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def anomalies():
    drawn = (np.random.default_rng(1).random((4, *SHAPE)) < 0.1).astype(np.uint8)
    drawn[:, 0] = 255
    return drawn


def streets():
    drawn = np.random.default_rng(2).choice(19, (4, *SHAPE), p=SHARES / SHARES.sum()).astype(np.uint8)
    drawn[:, 1, :19] = np.arange(19)
    drawn[:, 0] = 255
    return drawn


def initialised(root, capsys, monkeypatch, *options):
    """The reader of the suite that was written, with $BENCH_DATA as the command says, and what was told."""
    assert main(["init", str(root), *options]) == 0
    told = capsys.readouterr().out
    *settings, _, _, path = shlex.split(told.strip().splitlines()[-1].removeprefix("next: "))
    for setting in settings:
        monkeypatch.setenv(*setting.split("="))
    ((name, params),) = yaml.safe_load(Path(path).read_text())["datasets"][0].items()
    expansion.load(Path(path))
    params.pop("label")
    return registry.build("dataset", name, params, where="a test"), told


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_as_people_have_them(here, capsys, monkeypatch, layout):
    drawn = anomalies()
    fill(here / "mine", layout, drawn)
    data, told = initialised(here / "mine", capsys, monkeypatch)
    data.check()
    read = sorted(data.load(index).anomaly.tobytes() for index in range(data.count))
    assert read == sorted(mask.tobytes() for mask in drawn)
    assert "taken for: 1 anomaly, 0 usual, 255 ignored" in told


@pytest.mark.parametrize("layout", ["splits outside", "splits inside", "cities"])
def test_numbers_that_begin_anew_in_each_folder(here, capsys, monkeypatch, layout):
    fill(here / "mine", layout, anomalies(), repeated=True)
    data, _ = initialised(here / "mine", capsys, monkeypatch)
    data.check()
    assert list(data.ids()) == ["a_000", "a_001", "b_000", "b_001"]


VALUES = {
    "black and white": (lambda: np.where(anomalies() == 1, 255, 0), "anomaly", lambda: anomalies() % 255),
    "two": (lambda: np.where(anomalies() == 1, 2, anomalies()), "anomaly", anomalies),
    "254": (lambda: np.where(anomalies() == 1, 254, 0), "anomaly", lambda: anomalies() % 255),
    "train ids": (streets, "labels", streets),
    "label ids": (lambda: np.append(LABEL_IDS, [0] * 237)[np.minimum(streets(), 19)], "labels", streets),
    "void is 19": (lambda: np.where(streets() == 255, 19, streets()), "labels", streets),
    "from 1": (lambda: np.where(streets() == 255, 0, streets() + 1), "labels", streets),
}


@pytest.mark.parametrize("case", VALUES)
def test_values_are_taken_for_what_they_fit(here, capsys, monkeypatch, case):
    stored, kind, wanted = VALUES[case]
    fill(here / "mine", "two folders", stored().astype(np.uint8))
    data, _ = initialised(here / "mine", capsys, monkeypatch)
    data.check()
    np.testing.assert_array_equal([getattr(data.load(index), kind) for index in range(4)], wanted())


def test_classes_without_names_are_said_to_be_that(here, capsys, monkeypatch):
    fill(here / "mine", "two folders", anomalies() % 255 * 3 + (streets() % 4 == 1))
    data, told = initialised(here / "mine", capsys, monkeypatch)
    data.check()
    assert "give them their names in ids" in told and data.class_names == ("class_0", "class_1", "class_3", "class_4")


def test_the_suite_runs(here, capsys, monkeypatch):
    fill(here / "mine", "two folders", streets())
    initialised(here / "mine", capsys, monkeypatch, "--out", "suite.yaml")
    assert main(["run", "suite.yaml", "--out", "run", "--gallery", "0", "--workers", "0"]) == 0
    assert "n/a" not in capsys.readouterr().out
    assert len(list((here / "run" / "cells").glob("*.json"))) == 5


def test_nothing_is_overwritten(here, capsys):
    fill(here / "mine", "two folders", anomalies())
    (here / "mine.yaml").write_text("mine")
    assert main(["init", "mine"]) == 2
    assert "mine.yaml exists already" in capsys.readouterr().err
    assert (here / "mine.yaml").read_text() == "mine"


def test_folders_that_say_nothing_are_refused(here, capsys):
    def refused():
        assert main(["init", "mine"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and not list(here.glob("*.yaml"))
        return said

    assert "is no folder" in refused()
    (here / "mine").mkdir()
    assert "holds no images" in refused()
    fill(here / "mine", "two folders", anomalies())
    (here / "mine" / "labels" / "000.png").unlink()
    assert "no images with a mask each" in refused()
    fill(here / "mine", "two folders", anomalies() * 0)
    assert "no mask holds an anomaly" in refused()


def test_links_to_folders_are_followed_below_two_stars(here, monkeypatch):
    fill(here / "elsewhere", "cities", anomalies())
    (here / "data" / "mine").mkdir(parents=True)
    for kind in ("leftImg8bit", "gtFine"):
        (here / "data" / "mine" / kind).symlink_to(here / "elsewhere" / kind / "val")
        (here / "data" / "mine" / kind / "a" / "loop").symlink_to(here / "data" / "mine" / kind)
    places = {"images": "mine/**/*_leftImg8bit.png", "labels": "mine/**/*_labelIds.png"}
    data = registry.build("dataset", "folder", {**places, "anomaly": [1], "usual": [0]}, where="a test")
    data.check()
    assert data.count == 4
