"""Images and masks of strangers: `bench check` refuses each in one line, or what it lets pass is decoded by a run."""

import subprocess

import numpy as np
import pytest
from damaged_files import OTHER_THINGS, SIZE, altered, encoded, png, trials
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.cli.main import main
from bench.suite import registry

COLOURS = Image.fromarray(np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8))
WHOLE = [encoded(kind, COLOURS) for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM")]
WHOLE += [
    encoded("TIFF", compression="tiff_lzw"),
    encoded("TIFF", COLOURS.convert("CMYK"), compression="tiff_adobe_deflate"),
    encoded("JPEG", COLOURS.convert("CMYK")),
    encoded("WEBP", COLOURS, lossless=True),
    encoded("PNG", COLOURS.quantize(5)),
    encoded("PNG", COLOURS, exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"),
]
FILES = st.one_of(png(), altered(WHOLE), OTHER_THINGS)
DATA = {"images": "mine/images/*", "labels": "mine/labels/*.png", "anomaly": (1,), "usual": (0,)}
SUITE = """
protocols: [anomaly]
models: [toynet]
datasets:
  - folder: {images: 'mine/images/*', labels: 'mine/labels/*.png', anomaly: [1], usual: [0], label: mine}
methods: [msp]
bootstrap: 0
"""


@pytest.fixture
def check(tmp_path, monkeypatch, capfd):
    """Put an image and a mask there, and give what `bench check` says of them; what passes must be decoded."""
    folder = tmp_path / "data" / "mine"
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    (tmp_path / "suite.yaml").write_text(SUITE)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def checked(image, mask):
        (folder / "images" / "0.png").write_bytes(image)
        (folder / "labels" / "0.png").write_bytes(mask)
        status = main(["check", "suite.yaml", "--no-network"])
        text = capfd.readouterr()
        assert "Traceback" not in text.out + text.err
        if status == 0:
            sample = registry.build("dataset", "folder", DATA, where="here").load(0)
            assert sample.image().shape == (*sample.size, 3) and sample.image().dtype == np.uint8
            assert set(np.unique(sample.anomaly)) <= {0, 1, 255}
        else:
            assert status == 2
            (line,) = [line for line in text.err.splitlines() if line.strip()]
            assert line.startswith("bench: ") and ("0.png" in line or "labels: all masks" in line), line
            assert line.isprintable()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "suite.yaml"]
        return status

    return checked


GOOD_MASK, GOOD_IMAGE = encoded("PNG", Image.new("L", (SIZE[1], SIZE[0]), 1)), encoded("PNG", COLOURS)


def test_what_is_whole_is_ready(check):
    assert check(GOOD_IMAGE, GOOD_MASK) == 0


@given(content=FILES)
@trials(20)
def test_a_damaged_image(check, content):
    check(content, GOOD_MASK)


@given(content=FILES)
@trials(20)
def test_a_damaged_mask(check, content):
    check(GOOD_IMAGE, content)


@pytest.mark.slow
@given(content=FILES, image=st.booleans())
@trials(600)
def test_many_damaged_images_and_masks(check, content, image):
    check(*((content, GOOD_MASK) if image else (GOOD_IMAGE, content)))
