"""Probabilities given as logits, and more classes than a protocol counts: said before a figure is wrong."""

import json

import numpy as np
import pytest
from PIL import Image

from bench.cli.main import main

CLASSES = 25
SHAPE = (16, 24)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three frames of 25 classes and logits that are right on most pixels."""
    draws = np.random.default_rng(3)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        labels = draws.integers(0, CLASSES, SHAPE).astype(np.uint8)
        for kind, pixels in (("images", np.zeros((*SHAPE, 3), np.uint8)), ("labels", labels)):
            path = tmp_path / "data" / "mine" / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        logits = draws.normal(size=(CLASSES, *SHAPE)).astype(np.float32)
        logits += 3 * (np.arange(CLASSES)[:, None, None] == labels)
        softmax = np.exp(logits) / np.exp(logits).sum(0)
        for kind, values in (("logits", logits), ("softmax", softmax), ("log", np.log(softmax)), ("half", softmax)):
            (tmp_path / kind).mkdir(exist_ok=True)
            np.save(tmp_path / kind / f"{number}.npy", values.astype(np.float16 if kind == "half" else np.float32))
    return tmp_path


def suite(folder, kind, protocols="misclassification"):
    names = [f"c{number}" for number in range(CLASSES)]
    path = folder / "suite.yaml"
    path.write_text(
        json.dumps(
            {
                "protocols": protocols.split(", ") if isinstance(protocols, str) else protocols,
                "models": [{"precomputed": {"logits": str(folder / kind), "classes": names}}],
                "datasets": [
                    {
 "folder": {
 "images": "mine/images/*.png", "labels": "mine/labels/*.png",
 "ids": dict(enumerate(names)),
 }
 }
                ],
                "methods": ["msp"],
                "bootstrap": 0,
            }
        )
    )  # fmt: skip
    return path


def figures(folder, kind, capsys, protocols="misclassification"):
    out = folder / f"run_{kind}"
    short = ["--gallery", "0", "--workers", "0"]
    status = main(["run", str(suite(folder, kind, protocols)), "--out", str(out), *short])
    said = capsys.readouterr()
    cells = [json.loads(path.read_text())["metrics"] for path in sorted((out / "cells").glob("*.json"))]
    return status, cells, " ".join((said.out + said.err).split())


@pytest.mark.parametrize("kind", ["half", pytest.param("softmax", marks=pytest.mark.slow)])
def test_probabilities_are_no_logits(folder, capsys, kind):
    status, cells, said = figures(folder, kind, capsys)
    assert status == 3 and not cells
    assert "they are probabilities" in said and "their logarithm" in said


def test_their_logarithm_gives_the_figures_of_the_logits(folder, capsys):
    _, (wanted,), _ = figures(folder, "logits", capsys)
    _, (logarithm,), _ = figures(folder, "log", capsys)
    for name, figure in wanted.items():
        assert logarithm[name]["value"] == pytest.approx(figure["value"], abs=1e-3)


def test_a_protocol_that_counts_fewer_classes_says_how_to_count_all(folder, capsys):
    assert main(["check", str(suite(folder, "logits", "misclassification, miou"))]) == 0
    assert "n/a: miou counts 19 classes" in capsys.readouterr().out
    status, cells, said = figures(folder, "logits", capsys, ["miou", {"miou": {"classes": CLASSES}}])
    assert status == 0 and "write miou: {classes: 25}" in said
    assert any(cell["miou"].get("value", 0) > 0.5 for cell in cells)
