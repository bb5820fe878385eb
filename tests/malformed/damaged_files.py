"""Strategies for files of strangers: PNG by its chunks, NumPy by its header, and whole files with bytes altered."""

import io
import struct
import zipfile
import zlib

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from PIL import Image

SIZE = (6, 8)
COUNTS = st.one_of(st.integers(0, 9), st.sampled_from([2**16, 2**31 - 1, 2**31, 2**32 - 1]))


def trials(default):
    """So many generated inputs, the same ones everywhere; ``pytest -m slow`` has ten times as many."""
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=default, derandomize=True, database=None, suppress_health_check=quiet)


def chunk(kind, content, length=None, checksum=None):
    crc = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content) if length is None else length) + kind + content + struct.pack(">I", crc)


@st.composite
def png(draw):
    """A PNG of which header, palette, rows and order of chunks may fit together or not; checksums are right."""
    plausible = draw(st.booleans())
    height, width = SIZE if plausible else (draw(COUNTS), draw(COUNTS))
    depth, colour = draw(st.tuples(st.sampled_from([1, 2, 4, 8, 16]), st.sampled_from([0, 2, 3, 4, 6])))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, draw(st.sampled_from([0, 0, 0, 1, 2])))
    row = 1 + SIZE[1] * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] // 8
    fill = draw(st.sampled_from([b"\0", b"\1", b"\xff", b"\x1b"]))
    rows = b"".join(b"\0" + fill * (row - 1) for _ in range(SIZE[0]))
    rows = rows[: draw(st.sampled_from([len(rows), len(rows), len(rows), 0, row, len(rows) - 1]))]
    packed = zlib.compress(rows * draw(st.sampled_from([1, 1, 2])))
    chunks = [chunk(b"IDAT", packed[: len(packed) // 2]), chunk(b"IDAT", packed[len(packed) // 2 :])]
    if colour == 3 or draw(st.integers(0, 5)) == 0:
        colours = draw(st.sampled_from([bytes(range(6)), b"\0\0\0\1\1\1", b"\0\0\0\xff\xff\xff", b"\7", b"\1" * 999]))
        chunks.insert(0, chunk(b"PLTE", colours))
    extras = st.sampled_from([
        chunk(b"tRNS", b"\0\x80"), chunk(b"gAMA", b"\0\0\xb1\x8f"), chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\xff"),
        chunk(b"acTL", struct.pack(">II", 3, 0)), chunk(b"fcTL", b"\0" * 26), chunk(b"iCCP", b"x\0\0" + b"\xff" * 9),
        chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 2**20)), chunk(b"tEXt", b"\x1b[2J\0\n"), chunk(b"pHYs", b"1"),
        chunk(b"IDAT", b""), chunk(b"IHDR", head), chunk(b"IEND", b""), chunk(b"NOPE", b""),
        chunk(b"abcd", b"\n", 2**31),
    ])  # fmt: skip
    for extra in draw(st.lists(extras, max_size=2)):
        chunks.insert(draw(st.integers(0, len(chunks))), extra)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + chunk(b"IEND", b"")


@st.composite
def npy(draw):
    """An .npy file whose header declares some shape and dtype, and whose numbers may be as many, or not."""
    extent = st.one_of(
        COUNTS.map(str), st.sampled_from(["-1", "True", "None", "1e3", "'6'", "2**99", "6L", "1if 1else 2", "(" * 90])
    )
    shape = draw(st.one_of(st.just("(6, 8)"), st.lists(extent, max_size=4).map(lambda parts: f"({', '.join(parts)},)")))
    descr = draw(
        st.sampled_from([
            "'<f4'", "'<f4'", "'<f4'", "'<f2'", "'>f8'", "'<f16'", "'<c8'", "'|b1'", "'|i1'", "'<i8'", "'|O'", "'<U9'",
            "'|V99999999999'", "'<M8[ns]'", "('<f4', (9, 9))", "[('a', '<f4')]", "[('a'," * 99 + "'<f4'" + ")]" * 99,
            repr("f4," * 500), "'<f5'", "None", "9", "{}",
        ])
    )  # fmt: skip
    order = draw(st.sampled_from(["False", "False", "True", "2"]))
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    text = (draw(st.sampled_from([text, text, text, "", text[:-3], "0", text * 2])) + "\n").encode()
    version = draw(st.sampled_from([(1, 0), (1, 0), (2, 0), (3, 0), (9, 9)]))
    length = len(text) + draw(st.sampled_from([0, 0, 0, 1, -1, 2**15]))
    size = max(length, 0).to_bytes(2 if version == (1, 0) else 4, "little")
    numbers = np.arange(48, dtype=np.float32).tobytes() * draw(st.sampled_from([1, 1, 0, 2]))
    return b"\x93NUMPY" + bytes(version) + size + text + numbers


def zipped(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("value.npy", content)
    return buffer.getvalue()


@st.composite
def altered(draw, whole):
    """A file of ``whole`` with some bytes altered, missing or added."""
    content = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(content)))
        end = begin + draw(st.sampled_from([0, 1, 1, 4, 8, 10**6]))
        content[begin:end] = draw(st.one_of(st.binary(max_size=8), st.sampled_from([b"\xff" * 4, b"\0" * 8])))
    return bytes(content)


def encoded(kind, picture=None, **options):
    buffer = io.BytesIO()
    picture = picture or Image.fromarray(np.arange(48, dtype=np.uint8).reshape(SIZE))
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


OTHER_THINGS = st.sampled_from([
    b"", b"\n", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\nshowpage\n", b"<html>\x1b[2J</html>", b"GIF89a",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", b"\x80\x04\x95", b"P5 8 6 255\n",
    b"P5 8 6 255\n" + bytes(48), b"P6 99999 99999 255\n", b"\xc5\xd0\xd3\xc6" + bytes(99), b"BM" + b"\xff" * 60,
    b"II*\0\x08\0\0\0\xff\xff" + bytes(99),
])  # fmt: skip
