"""One decoder for whatever stores pixels: the same numbers from every way to store them, or one line that says why."""

import ast
import io
import os
import re
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bench
from bench.core import images
from bench.core.errors import MissingData
from bench.core.images import Undecodable

ROOT = Path(bench.__file__).parents[1]
VALUES = np.array([[0, 1, 18], [255, 1, 0]], np.uint8)
PIXELS = np.random.default_rng(1).integers(0, 256, (12, 20, 3), np.uint8)


def packed(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(size, depth, colour, rows, interlaced=0):
    head = struct.pack(">IIBBBBB", size[1], size[0], depth, colour, 0, 0, interlaced)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def paletted(values, colours):
    picture = Image.fromarray(np.asarray(values, np.uint8), "P")
    picture.putpalette(np.asarray(colours, np.uint8).tobytes())
    return picture


def numbers(content, **options):
    return images.numbers(io.BytesIO(content), **options)


def rgb(content):
    return images.rgb(io.BytesIO(content))


def refused(act, content, **options):
    with pytest.raises(Undecodable) as error:
        act(content, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def alpha(picture, value):
    picture.putalpha(value)
    return picture


STORED = {
    "grey": Image.fromarray(VALUES),
    "grey of 16 bits": Image.fromarray(VALUES.astype(np.uint16)),
    "palette": paletted([[0, 1, 2], [3, 1, 0]], [[0] * 3, [1] * 3, [18] * 3, [255] * 3]),
    "palette in another order": paletted([[3, 2, 1], [0, 2, 3]], [[255] * 3, [18] * 3, [1] * 3, [0] * 3]),
    "colour": Image.fromarray(VALUES).convert("RGB"),
    "colour with alpha": Image.fromarray(VALUES).convert("RGBA"),
    "colour with one alpha": alpha(Image.fromarray(VALUES).convert("RGB"), 7),
    "grey with alpha": Image.fromarray(VALUES).convert("LA"),
}


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("kind", images.NUMBERS)
def test_numbers_are_the_same_however_they_are_stored(stored, kind):
    if kind == "BMP" and STORED[stored].mode in ("I;16", "LA"):
        pytest.skip("BMP has no such files")
    content = packed(STORED[stored], kind)
    np.testing.assert_array_equal(numbers(content), VALUES)
    labels = images.labels(io.BytesIO(content))
    assert labels.dtype == np.uint8 and labels.flags.writeable
    np.testing.assert_array_equal(labels, VALUES)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits_are_the_numbers_that_they_hold_and_colours_are_shown(depth):
    samples = np.arange(8) % 2**depth
    row = np.packbits(np.unpackbits(samples.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :].ravel()).tobytes()
    content = png((2, 8), depth, 0, 2 * (b"\0" + row))
    np.testing.assert_array_equal(numbers(content), [samples] * 2)
    np.testing.assert_array_equal(rgb(content)[0, :, 1], samples * 255 // (2**depth - 1))
    assert "less than 8 bits" in refused(numbers, content, shallow=False)


def test_a_palette_of_colours_is_refused_unless_its_indices_are_asked_for():
    content = packed(paletted([[0, 1], [1, 0]], [[0, 0, 0], [128, 0, 0]]))
    assert "palette of colours" in refused(numbers, content)
    np.testing.assert_array_equal(numbers(content, indices=True), [[0, 1], [1, 0]])
    grey = packed(paletted([[0, 1], [1, 0]], [[0, 0, 0], [255, 255, 255]]))
    np.testing.assert_array_equal(numbers(grey, indices=True), [[0, 255], [255, 0]])
    identity = packed(paletted([[0, 1], [1, 0]], [[0, 0, 0], [1, 1, 1], [9, 0, 0]]))
    np.testing.assert_array_equal(numbers(identity), [[0, 1], [1, 0]])
    short = bytearray(packed(paletted([[0, 3]], [[0] * 3, [1] * 3, [2] * 3, [3] * 3])))
    begin = short.index(b"PLTE")
    short[begin - 4 : begin + 4 + 16] = chunk(b"PLTE", bytes([0, 0, 0, 1, 1, 1]))
    assert "index 3 of a palette of 2 colours" in refused(numbers, bytes(short))
    assert "index 3 of a palette of 2 colours" in refused(rgb, bytes(short))


def test_what_is_no_number_for_each_pixel_is_refused():
    for mode in ("RGB", "RGBA", "CMYK"):
        assert refused(numbers, packed(Image.new(mode, (4, 3), 3), "TIFF")).startswith(f"is stored as {mode}")
    uneven = Image.fromarray(np.dstack([VALUES] * 3 + [VALUES]))
    assert "its alpha differs" in refused(numbers, packed(uneven))
    deep = png((1, 2), 16, 2, b"\0" + bytes([0, 1] * 6))
    assert refused(numbers, deep).startswith("is stored as RGB in 16 bits")
    for kind in ("JPEG", "WEBP"):
        assert refused(numbers, packed(Image.fromarray(VALUES), kind)).startswith(f"is a {kind}, which does not keep")
    frames = [Image.fromarray(VALUES), Image.fromarray(VALUES + 1)]
    for kind in ("PNG", "TIFF", "WEBP"):
        content = packed(frames[0], kind, save_all=True, append_images=frames[1:])
        assert "several images" in refused(rgb, content)


def test_labels_beyond_eight_bits_are_refused():
    for value in (256, 65535):
        content = packed(Image.fromarray(np.array([[0, value]], np.uint16)))
        assert refused(lambda held: images.labels(io.BytesIO(held)), content) == (
            f"holds the value {value} in 16 bits, wanted 0 to 255; 255 is what is ignored"
        )
        np.testing.assert_array_equal(numbers(content), [[0, value]])
    content = packed(Image.fromarray(np.array([[0, 0.5]], np.float32)), "TIFF")
    assert "float32, wanted whole numbers" in refused(lambda held: images.labels(io.BytesIO(held)), content)
    assert numbers(content).dtype == np.float32


def tiff(values, **tags):
    """A TIFF of one strip with tags that Pillow would not write."""
    height, width = values.shape
    code = {"photometric": 262, "sign": 339, "orientation": 274}
    entries = {256: width, 257: height, 258: values.itemsize * 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height}
    entries |= {279: values.nbytes} | {code[name]: value for name, value in tags.items()}
    content = values.tobytes()
    directory = struct.pack("<H", len(entries))
    for tag, value in sorted(entries.items()):
        directory += struct.pack("<HHII", tag, 4 if tag in (256, 257, 273, 278, 279) else 3, 1, value)
    return struct.pack("<2sHI", b"II", 42, 8 + len(content)) + content + directory + bytes(4)


def test_what_pillow_would_alter_in_a_tiff_is_refused_or_mended():
    high = np.array([[1, 2**32 - 1]], np.uint32)
    np.testing.assert_array_equal(numbers(tiff(high)), high)
    np.testing.assert_array_equal(numbers(tiff(-VALUES.astype(np.int32), sign=2)), -VALUES.astype(np.int32))
    wide = tiff(VALUES.astype(np.float64), sign=3)
    assert refused(numbers, wide).startswith("is a TIFF image whose header is damaged, or says something unusual, such")
    assert "signed numbers of 8 bits" in refused(numbers, tiff(VALUES, sign=2))
    assert "0 is white" in refused(numbers, tiff(VALUES, photometric=0))
    for act in (numbers, rgb):
        assert "orientation" in refused(act, tiff(VALUES, orientation=6))
    np.testing.assert_array_equal(numbers(tiff(VALUES)), VALUES)
    assert "jpeg" in refused(numbers, packed(Image.fromarray(VALUES), "TIFF", compression="jpeg"))


def test_a_broken_tiff_is_refused_without_a_word_of_its_library(capfd):
    for way in ("tiff_lzw", "tiff_adobe_deflate"):
        content = bytearray(packed(Image.fromarray(PIXELS[:, :, 0]), "TIFF", compression=way))
        content[9:60] = b"\xff" * 51
        assert refused(numbers, bytes(content)).startswith("cannot be read")
    sys.stderr.write("later words")
    assert capfd.readouterr().err == "later words"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM"])
def test_a_grey_picture_is_three_equal_channels(kind):
    picture = Image.fromarray(PIXELS[:, :, 0])
    seen = rgb(packed(picture, kind))
    assert seen.shape == (12, 20, 3) and seen.dtype == np.uint8 and seen.flags.c_contiguous and seen.flags.writeable
    np.testing.assert_array_equal(seen[:, :, 0], seen[:, :, 2])
    if kind not in ("JPEG", "WEBP"):
        np.testing.assert_array_equal(seen[:, :, 0], PIXELS[:, :, 0])


def test_pictures_are_converted_by_one_rule():
    grey = PIXELS[:, :, 0]
    three = np.dstack([grey] * 3)
    np.testing.assert_array_equal(rgb(packed(alpha(Image.fromarray(grey), 9))), three)
    np.testing.assert_array_equal(rgb(packed(alpha(Image.fromarray(PIXELS), 9))), PIXELS)
    np.testing.assert_array_equal(rgb(packed(Image.fromarray(grey > 99))), three_of(255 * (grey > 99)))
    colours = np.random.default_rng(2).integers(0, 256, (256, 3), np.uint8)
    see_through = packed(paletted(grey, colours), transparency=bytes(range(256)))
    np.testing.assert_array_equal(rgb(see_through), colours[grey])
    deep = grey.astype(np.uint16) * 256 + 77
    np.testing.assert_array_equal(rgb(packed(Image.fromarray(deep))), three)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in PIXELS.astype(np.uint16) * 256 + 77)
    np.testing.assert_array_equal(rgb(png((12, 20), 16, 2, rows)), PIXELS)
    inks = np.random.default_rng(3).integers(0, 256, (12, 20, 4), np.uint8)
    seen = rgb(packed(Image.fromarray(inks, "CMYK"), "TIFF")).astype(float)
    assert np.abs(seen - (255.0 - inks[:, :, :3]) * (255.0 - inks[:, :, 3:]) / 255).max() <= 1


def three_of(grey):
    return np.dstack([np.asarray(grey, np.uint8)] * 3)


def test_pictures_of_which_the_meaning_would_be_a_guess_are_refused():
    twelve = PIXELS[:, :, 0].astype(np.uint16) * 16
    assert "fewer than 12 of them" in refused(rgb, packed(Image.fromarray(twelve)))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in PIXELS.astype(np.uint16) * 16)
    assert "fewer than 12 of them" in refused(rgb, png((12, 20), 16, 2, rows))
    assert refused(rgb, packed(Image.fromarray(twelve / np.float32(9)), "TIFF")).startswith("is stored as F")
    assert refused(rgb, packed(Image.fromarray(twelve.astype(np.int32)), "TIFF")).startswith("is stored as I,")


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (8, 8), (9, 17), (1, 5), (6, 1)])
def test_rows_that_a_png_lacks_are_not_black(size, interlaced):
    passes = images._ADAM7 if interlaced else ((0, 0, 1, 1),)
    shapes = [(len(range(top, size[0], down)), len(range(left, size[1], right))) for top, left, down, right in passes]
    rows = b"".join(rows * (b"\0" + bytes([7]) * columns) for rows, columns in shapes if columns)
    assert (numbers(png(size, 8, 0, rows, interlaced)) == 7).all()
    for missing in range(1, size[1] + 2):
        assert refused(numbers, png(size, 8, 0, rows[:-missing], interlaced)).endswith("is it truncated?")


def test_a_small_file_takes_no_memory_for_the_picture_that_it_declares():
    few = png((13000, 13000), 8, 2, bytes(39001 * 3))
    for content in (few, few + bytes(2**15), png((60000, 60000), 8, 0, b"")):
        tracemalloc.start()
        assert re.match(
            r"(declares 169000000 pixels|cannot be read: \d+ bytes|cannot be read: Image)", refused(rgb, content)
        )
        assert tracemalloc.get_traced_memory()[1] < 2**24
        tracemalloc.stop()
    flat = packed(Image.new("1", (4097, 4096)))
    assert numbers(flat).shape == (4096, 4097), "a flat mask may be small"
    canvas = bytearray(
        packed(Image.fromarray(PIXELS), "WEBP", save_all=True, append_images=[Image.new("RGB", (20, 12))])
    )
    canvas[24:30] = (19).to_bytes(3, "little") + (2**23).to_bytes(3, "little")
    assert refused(rgb, bytes(canvas)) == f"declares {20 * (2**23 + 1)} pixels in {len(canvas)} bytes; is it truncated?"


def test_sizes_are_asked_about_before_pixels_are_decoded():
    def fits(size):
        raise ValueError(f"{size}")

    with pytest.raises(Undecodable, match=r"\(12, 20\)"):
        numbers(png((12, 20), 8, 0, b""), fits=fits)


def test_a_postscript_file_starts_no_program(tmp_path, monkeypatch):
    path = tmp_path / "0.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 12\n%%EndComments\nshowpage\n")
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    for act in (images.read_rgb, images.read_labels, images.read_header):
        with pytest.raises(MissingData, match=r"0\.png is not an image of the formats .*: it is PostScript"):
            act(path)


def test_files_that_are_none_are_named(tmp_path):
    for act in (images.read_rgb, images.read_labels, images.read_header):
        with pytest.raises(MissingData, match=r"a\.png does not exist"):
            act(tmp_path / "a.png")
        with pytest.raises(MissingData, match=r"is no regular file"):
            act(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(MissingData, match=r"pipe\.png is no regular file"):
        images.read_rgb(tmp_path / "pipe.png")


def test_a_mask_that_fits_the_image_as_exif_turns_it_is_told(tmp_path):
    Image.fromarray(np.zeros((12, 20), np.uint8)).save(tmp_path / "m.png")
    for orientation, said in ((6, r"EXIF asks viewers to turn that image \(orientation 6\)"), (1, "unpack both")):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for end in ("jpg", "png", "webp"):
            image = tmp_path / f"{orientation}.{end}"
            Image.fromarray(PIXELS.transpose(1, 0, 2)).save(image, exif=exif)
            with pytest.raises(MissingData, match=said):
                images.read_labels(tmp_path / "m.png", like=image)


SOURCES = [path for folder in ("bench", "methods", "reports", "submissions") for path in (ROOT / folder).rglob("*.py")]


def test_images_are_opened_in_one_place():
    opening = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "open" and "Image" in ast.unparse(node.value)
    }
    assert opening == {"bench/core/images.py"}
    assert {"EPS", "GIF", "FPX", "WMF"}.isdisjoint({*images.PICTURES, *images.NUMBERS})
