"""What every test gets: a home of its own, and a suite small enough for seconds."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from processor_time import ProcessorTime

NETWORK = '''
import torch
from torch import nn


def build():
    """Four strided filters and a classifier, seeded: wrong, but never the same twice in one image."""
    torch.manual_seed(7)
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, stride=4), nn.ReLU(), nn.Conv2d(16, 19, 1))
'''

SUITE = """
title: Tiny
protocols: [anomaly, misclassification, miou, {components: {min_predicted: 6, min_truth: 4}}]
models:
  - python: {factory: "net.py:build", label: tiny}
datasets:
  - toytown: {split: anomaly, images: 10, height: 32, width: 64}
methods: [msp, maxlogit, {energy: {temperature: 2}}, entropy]
bootstrap: 50
summaries:
  - {name: all, protocol: misclassification}
"""


# A busy machine, or a kernel that is compiled for the first case, is no fault of what is checked: nothing fails by the
# clock. Here and not on each test, so that none can be written without it.
settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")


def pytest_configure(config):
    config.pluginmanager.register(ProcessorTime())
    # A shell starts what it puts in the background with Ctrl-C ignored, and children inherit that: tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def unsynced():
    """No test cuts the power, and to wait for the disk at every file takes more than a second of a run of seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


# What tests of real frames and real weights read: it lies beside the project and is no part of it.
REAL = ("anomaly_val/RoadAnomaly21", "cityscapes_sample", "enet_cityscapes.pth", "weights/enet_training_void_ft")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Fitted things and settings of the user stay out of the tests."""
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BENCH_PLUGINS", raising=False)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    return tmp_path / "home"


def write_suite(folder):
    """A suite file beside its network."""
    (folder / "net.py").write_text(NETWORK)
    (folder / "tiny.yaml").write_text(SUITE)
    return folder / "tiny.yaml"


@pytest.fixture
def tiny(tmp_path):
    folder = tmp_path / "suite"
    folder.mkdir()
    return write_suite(folder)


@pytest.fixture
def shared():
    """The data beside the project, where there are some; tests that need them skip and say why."""
    folder = Path(__file__).parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("../shared/data is not here: it holds the real frame and the real weights")
    return folder


@pytest.fixture
def real(shared, tmp_path, monkeypatch):
    """The folder of weights, with $BENCH_DATA at the frames; where one of them is absent, tests skip and name it."""
    folder = shared / "data"
    if absent := [name for name in REAL if not (folder / name).exists()]:
        pytest.skip(f"../shared/data is without {', '.join(absent)}")
    places = tmp_path / "data"
    places.mkdir()
    (places / "validation_dataset").symlink_to(folder / "anomaly_val")
    (places / "cityscapes").symlink_to(folder / "cityscapes_sample")
    monkeypatch.setenv("BENCH_DATA", str(places))
    return folder
