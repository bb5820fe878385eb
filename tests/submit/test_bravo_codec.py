"""The files of BRAVO against those of the official toolkit, byte by byte; tests/fixtures/bravo/README.md."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.api import Refused
from bench.submit import bravo_codec
from bench.submit.bravo_codec import CHECKSUM, HEADER

FIXTURES = Path(__file__).parents[1] / "fixtures" / "bravo" / "codec"
MANIFEST = json.loads((FIXTURES / "manifest.json").read_text())
INDICES = st.sets(st.integers(0, bravo_codec.WIDEST - 1), min_size=1, max_size=300).map(sorted)


def official(name):
    return (FIXTURES / f"{name}.bin").read_bytes()


def inputs(name):
    """The class map, confidences and list of pixels that the official encoder was given."""
    classes, confidences = (np.asarray(Image.open(FIXTURES / f"{name}_{kind}.png")) for kind in ("pred", "conf"))
    indices = np.load(FIXTURES / f"{name}_decoded.npz")["indices"] if name == "sampled" else None
    return classes, confidences.astype(np.uint16), indices


@pytest.mark.parametrize("name", ["sampled", "unsampled"])
def test_predictions_have_the_official_bytes_and_contents(name):
    content = official(f"{name}_encoded")
    assert bravo_codec.encode(*inputs(name)) == content
    decoded, wanted = bravo_codec.decode(content), np.load(FIXTURES / f"{name}_decoded.npz")
    np.testing.assert_array_equal(decoded.classes, wanted["class_array"])
    np.testing.assert_array_equal(decoded.confidences, wanted["confidence_u16"])
    assert decoded.samples == MANIFEST["encoded"][name]["returned_header"]["confidence_size"]


@pytest.mark.parametrize("name", MANIFEST["decode_variants"])
def test_changed_predictions_are_taken_and_refused_as_officially(name):
    content = official(f"bad_{name}")
    if MANIFEST["decode_variants"][name]["status"] == "ok":
        assert bravo_codec.decode(content).confidences.size
    else:
        with pytest.raises(Refused):
            bravo_codec.decode(content)


@pytest.mark.parametrize("name", MANIFEST["samples"])
def test_lists_of_pixels_have_the_official_bytes_and_contents(name):
    indices = np.array(MANIFEST["samples"][name]["indices"], np.int32)
    assert bravo_codec.write_indices(indices) == official(f"{name}_samples")
    np.testing.assert_array_equal(bravo_codec.read_indices(official(f"{name}_samples")), indices)


@given(INDICES)
def test_a_list_of_pixels_is_read_as_it_was_written(indices):
    written = bravo_codec.write_indices(np.array(indices, np.int32))
    assert bravo_codec.read_indices(written).tolist() == indices


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_a_prediction_is_read_as_it_was_written(height, width, data):
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    classes = generator.integers(0, 19, (height, width), np.uint8)
    confidences = generator.integers(0, 1 << 16, (height, width), np.uint16)
    indices = np.flatnonzero(generator.random(height * width) < 0.5)
    decoded = bravo_codec.decode(bravo_codec.encode(classes, confidences, indices))
    np.testing.assert_array_equal(decoded.classes, classes)
    np.testing.assert_array_equal(decoded.confidences, confidences.reshape(-1)[indices])


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"confidences": np.zeros((2, 3), np.uint8)}, ValueError),
        ({"classes": np.zeros((2, 3), np.int64)}, ValueError),
        ({"confidences": np.zeros((3, 2), np.uint16)}, ValueError),
        ({"indices": np.zeros(1, np.uint16)}, ValueError),
        ({"indices": np.zeros((1, 1), np.int32)}, ValueError),
        ({"indices": np.array([6], np.int32)}, IndexError),
        ({"classes": np.zeros((1, 2, 3), np.uint8)}, ValueError),
    ],
)
def test_what_the_official_encoder_refuses_is_refused(changed, error):
    good = {"classes": np.zeros((2, 3), np.uint8), "confidences": np.zeros((2, 3), np.uint16), "indices": None}
    assert bravo_codec.encode(**good)
    with pytest.raises(error):
        bravo_codec.encode(**good | changed)


@pytest.mark.parametrize("indices", [[], [1, 1], [2, 1], [-1, 3], [bravo_codec.WIDEST]])
def test_a_list_that_the_format_cannot_hold_is_refused(indices):
    with pytest.raises(ValueError, match=r"list is empty|not ascending"):
        bravo_codec.write_indices(np.array(indices, np.int64))


def file_of(content, class_bytes, rows=1, columns=1, confidence_bytes=0):
    body = HEADER.pack(b"BV23", 2, rows, columns, 0, class_bytes, confidence_bytes) + content
    return body + CHECKSUM.pack(zlib.crc32(body))


def test_hostile_files_are_refused_before_memory_is_taken():
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 26))
    assert len(bomb) < 1 << 14
    lies = zstandard.ZstdCompressor(write_content_size=True).compress(bytes(100))
    with pytest.raises(Refused, match="unpacks to 67108864 bytes"):
        bravo_codec.decode(file_of(bomb, 1 << 26), limit=1 << 20)
    with pytest.raises(Refused, match="unpacks to 67108864 bytes"):
        bravo_codec.read_indices(bomb, limit=1 << 20)
    with pytest.raises(Refused, match="wanted at least"):
        bravo_codec.decode(b"BV23")
    with pytest.raises(Refused, match="declares 4294967295 x 4294967295"):
        bravo_codec.decode(file_of(lies, 100, 0xFFFFFFFF, 0xFFFFFFFF))
    with pytest.raises(Refused, match="cannot be unpacked"):
        bravo_codec.decode(file_of(lies[:-5], 100, 10, 10))


@pytest.mark.parametrize(
    "plain",
    [
        b"\x01\x00\x00",  # ends within its head
        b"\x02\x00\x00\x00\x00\x00\x00\x05",  # ends within a distance
        b"\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00",  # a distance of 0
        b"\x03\x00\x00\x00\x00\x00\x01",  # fewer than declared
        b"\x01\x00\x00\x00\x00\x00\x01",  # more than declared
        b"\x02\x00\x00\xff\xff\xff\x01",  # beyond 24 bits
    ],
)
def test_broken_lists_of_pixels_are_refused(plain):
    with pytest.raises(Refused) as refused:
        bravo_codec.read_indices(zstandard.ZstdCompressor().compress(plain))
    assert refused.value.rule == "pixel list"
