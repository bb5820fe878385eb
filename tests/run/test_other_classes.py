"""Data sets of 13, 26 and 150 classes from a suite to pages, comparisons and the refusals of leaderboards."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from running import run

from bench.api import CITYSCAPES
from bench.cli.main import main
from bench.datasets import idd, muad, street_hazards
from bench.results import pictures

NETWORK = """
import torch


class Stripes(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, classes, 1)
        generator = torch.Generator().manual_seed(classes)
        torch.nn.init.normal_(self.layer.weight, generator=generator)

    def forward(self, image):
        return self.layer(image)


def build():
    return Stripes(COUNT)
"""
SUITE = """
title: Other classes
protocols: {protocols}
models: [{{python: {{factory: "net.py:build", classes: [{names}], label: stripes}}}}]
datasets: [{dataset}]
methods: [msp]
bootstrap: 20
"""
HAZARDS = "{toytown_layout: {twin: street_hazards, scenes: 4, height: 48, width: 96, label: hazards}}"


def suite(folder, protocols, names, dataset):
    (folder / "net.py").write_text(NETWORK.replace("COUNT", str(len(names))))
    path = folder / "suite.yaml"
    path.write_text(SUITE.format(protocols=protocols, names=", ".join(names), dataset=dataset))
    return path


@pytest.fixture(scope="module")
def thirteen(tmp_path_factory):
    """A run over the 13 classes of StreetHazards."""
    folder = tmp_path_factory.mktemp("thirteen")
    by_class = f"misclassification: {{by: class, classes: [{', '.join(street_hazards.CLASSES)}]}}"
    protocols = f"[anomaly, streethazards, miou, {by_class}, open_iou, open_miou]"
    results = run(suite(folder, protocols, street_hazards.CLASSES, HAZARDS), folder / "run", workers=0, gallery=2)
    return folder / "run", results


def test_every_figure_of_13_classes_is_there_or_says_why_not(thirteen):
    _, results = thirteen
    figures = {result.labels.protocol.partition("[")[0]: result for result in results if not result.not_applicable}
    assert figures.keys() == {"anomaly", "streethazards", "miou", "misclassification"}
    assert 0 < figures["miou"].metrics["miou"].value < 1
    assert 0 < figures["streethazards"].metrics["auroc"].value < 1


def test_what_is_defined_for_19_classes_is_refused_in_one_line(thirteen, capsys):
    path, _ = thirteen
    assert main(["show", str(path), "--format", "md"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for protocol in ("open_iou", "open_miou"):
        assert f"{protocol} is defined for 19 classes, hazards has 13" in text


@pytest.mark.parametrize("suffix", ["html", "md", "tex", "csv"])
def test_pages_of_13_classes_name_them(suffix, thirteen, tmp_path):
    path, _ = thirteen
    assert main(["report", str(path), "--format", suffix, "--out", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page").read_text()
    assert "hazards" in page and "terrain" not in page
    if suffix == "html":
        assert "road line" in page and "#9dea32" in page  # with its published colour, 157, 234, 50


def test_classes_are_ranked_apart_by_their_own_names(thirteen, capsys):
    path, _ = thirteen
    assert main(["show", str(path), "--by", "class", "--format", "json"]) == 0
    text = capsys.readouterr().out
    assert json.loads(text) and '"road line"' in text and "terrain" not in text


def test_two_runs_of_13_classes_are_compared(thirteen, capsys):
    path, _ = thirteen
    assert main(["compare", str(path), str(path)]) == 0
    assert "figures are equal in A and B" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("board", "options"), [("cityscapes", []), ("fishyscapes", ["--method", "msp"]), ("bravo", ["--method", "msp"])]
)
def test_a_board_that_reads_the_numbers_of_cityscapes_refuses_13_classes(board, options, thirteen, tmp_path, capsys):
    path, _ = thirteen
    assert main(["submit", board, "--run", str(path), *options, "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "stripes has 13 classes (unlabeled, building, fence, ...), wanted the 19 classes of Cityscapes" in line
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("protocol", "cure"),
    [
        ("miou", "miou counts 19 classes, drawn has 26; write miou: {classes: 26}"),
        (
            "misclassification: {by: class}",
            "other classes than drawn has; write misclassification: {by: class, classes: [road, ",
        ),
    ],
)
def test_26_classes_want_a_table_of_their_own(protocol, cure, tmp_path, monkeypatch):
    folder(tmp_path, monkeypatch, idd.CLASSES)
    path = suite(tmp_path, f"[{protocol}, misclassification]", idd.CLASSES, OWN.format(names=ids(idd.CLASSES)))
    refused, plain = run(path, tmp_path / "run", workers=0)
    assert cure in refused.not_applicable and not plain.not_applicable


OWN = "{{folder: {{images: own/images/*.png, labels: own/labels/*.png, ids: {{{names}}}, label: drawn}}}}"


def ids(names):
    return ", ".join(f"{value}: {name}" for value, name in enumerate(names))


def folder(tmp_path, monkeypatch, names):
    """Three images whose labels hold every class once."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    home = tmp_path / "data" / "own"
    for side in ("images", "labels"):
        (home / side).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(3):
        labels = np.resize(np.arange(len(names), dtype=np.uint8), (12, 16))
        Image.fromarray(labels).save(home / "labels" / f"{number}.png")
        Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).save(home / "images" / f"{number}.png")


def test_150_classes_run_from_a_folder_to_a_page(tmp_path, monkeypatch):
    names = tuple(f"thing {number}" for number in range(150))
    folder(tmp_path, monkeypatch, names)
    protocols = "[{miou: {classes: 150}}, misclassification]"
    path = suite(tmp_path, protocols, names, OWN.format(names=ids(names)))
    results = run(path, tmp_path / "run", workers=0)
    assert len(results) == 2
    assert main(["report", str(tmp_path / "run"), "--format", "html", "--out", str(tmp_path / "page")]) == 0
    assert "thing 149" in (tmp_path / "page").read_text()


def test_published_colours_are_those_of_their_set_and_all_differ():
    assert pictures.class_colours(muad.CLASSES)[12:] == ((0, 0, 142), (0, 0, 70), (0, 60, 100))
    assert pictures.class_colours(idd.CLASSES)[8] == (255, 204, 54)
    for names in (CITYSCAPES, street_hazards.CLASSES, idd.CLASSES, [f"thing {number}" for number in range(150)]):
        colours = pictures.class_colours(names)
        assert len(set(colours)) == len(names) and pictures.VOID not in colours
