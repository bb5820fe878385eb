"""The scripts that measure a GPU, the pipeline and decoders run on a CPU with small sizes, so that they cannot rot."""

import argparse
import importlib
import sys

import numpy as np
import pytest
from PIL import Image
from running import clone


@pytest.fixture
def scripts(monkeypatch):
    """Import a script as it is imported where it stands."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(clone() / "benchmarks"))
    yield importlib.import_module
    for name in {"decoding", "gpu", "networks", "page", "pipeline", "reading"} & (sys.modules.keys() - before):
        del sys.modules[name]


def test_the_script_for_gpus_goes_from_png_files_to_results(scripts, tmp_path, monkeypatch):
    pytest.importorskip("mmseg", reason="the extra mmseg is not installed")
    gpu = scripts("gpu")
    monkeypatch.setattr(gpu, "SEVEN", ["msp", "gen"])  # the others cost a minute on a CPU
    given = argparse.Namespace(size=(64, 128), images=2, device="cpu")
    gpu.write_images(given, tmp_path)
    for what in gpu.WORKS:
        measured = gpu.work(given, "segformer_b2_cityscapes", "float32", what, tmp_path)
        assert measured["seconds"] >= 0 and measured["mb"] > 0 and measured["device_mb"] == 0
        assert measured["device"] == "cpu"


def test_a_network_that_sleeps_is_seen_to_begin_once_for_each_image(scripts, tmp_path):
    pipeline = scripts("pipeline")
    times = pipeline.begun(argparse.Namespace(size=(32, 64), images=10, sleep=0.01), 1, tmp_path)
    (own,) = times
    assert len(own) == 11 and own == sorted(own) and own[-1] - own[0] >= 10 * 0.01  # its multiply-adds are counted once


def test_reading_a_frame_is_measured_in_parts(scripts, tmp_path, monkeypatch, capsys):
    reading = scripts("reading")
    monkeypatch.setattr("bench.corruptions.SOURCE_15", ("contrast",))
    monkeypatch.setattr(reading, "handed_over", lambda shape, folder, frames: float(sum(shape)))
    for name, shape in (("image", (40, 70, 3)), ("labels", (40, 70))):
        Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / f"{name}.png")
    monkeypatch.setattr(sys, "argv", ["reading.py", *(str(tmp_path / f"{name}.png") for name in ("image", "labels"))])
    reading.main()
    page = capsys.readouterr().out
    assert page.count("\n| ") >= 7 and "corrupting, mean of 1 at severity 3" in page
    opened = reading.blank((3, 4), None).open()
    assert [array.shape for array in opened] == [(3, 4, 3), (3, 4)]


@pytest.mark.parametrize("shape", [(40, 70, 3), (40, 70)])
def test_decoders_of_one_file_give_what_was_written_and_inflaters_its_rows(scripts, tmp_path, shape):
    decoding = scripts("decoding")
    drawn = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / "drawn.png"
    Image.fromarray(drawn).save(path)
    for name, decode in decoding.decoders(path).items():
        pixels = decode()
        assert np.array_equal(pixels[..., ::-1] if name == "OpenCV" and drawn.ndim == 3 else pixels, drawn), name
    rows = drawn.size + len(drawn)  # a byte before each row names its filter
    for name, inflate in decoding.inflaters(rows).items():
        assert len(inflate(decoding.deflated(path))) == rows, name
    spent = decoding.least({"nothing": lambda: None}, 2)
    assert list(spent) == ["nothing"] and spent["nothing"] >= 0
