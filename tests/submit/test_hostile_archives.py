"""Archives that are made to take all memory are refused in a line, and the memory that this takes is measured."""

import io
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import zstandard

from bench.cli.main import main
from bench.data.layouts import writers
from bench.datasets.bravo import Bravo
from bench.datasets.issu import Issu
from bench.datasets.toytown.scenes import Toytown
from bench.submit import bravo_codec
from bench.submit.bravo_codec import CHECKSUM, HEADER

GIGABYTE = 1 << 30
BOUND = 48 << 20  # bytes that a check may take beyond what the process had
SIZE = (48, 96)
PIXELS = SIZE[0] * SIZE[1]


def peak(call):
    """The most bytes of memory that a call takes, code of other languages included."""
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark so far is forgotten

    def kilobytes(field):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field))

    before = kilobytes("VmRSS:")
    call()
    return (kilobytes("VmHWM:") - before) << 10


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile")
    scenes = Toytown(split="anomaly", images=9, height=SIZE[0], width=SIZE[1])
    writers.write("bravo", scenes, root / "bravo")
    writers.write("issu", Toytown(split="anomaly", images=2, height=SIZE[0], width=SIZE[1]), root / "issu")
    with pytest.MonkeyPatch.context() as patch:  # what is imported on the way is no part of what is measured
        patch.setenv("BENCH_DATA", str(root))
        for name, board in (("a.tar", "bravo"), ("a.zip", "issu")):
            with zipfile.ZipFile(root / name, "w") if board == "issu" else tarfile.open(root / name, "w"):
                pass
            assert main(["submit", "check", str(root / name), "--board", board]) == 2
    return root


@pytest.fixture(autouse=True)
def data(home, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(home))


@pytest.fixture(scope="module")
def bomb():
    """One zstd frame of a gigabyte of zeros, which says so."""
    packing = zstandard.ZstdCompressor(level=1).compressobj(size=GIGABYTE)
    piece = bytes(1 << 20)
    return b"".join([*(packing.compress(piece) for _ in range(1 << 10)), packing.flush()])


def prediction(frame, rows=SIZE[0], columns=SIZE[1], class_bytes=PIXELS, confidence_bytes=0):
    body = HEADER.pack(b"BV23", 2, rows, columns, 0, class_bytes, confidence_bytes) + frame
    return body + CHECKSUM.pack(zlib.crc32(body))


def lying(bomb):
    """The bomb, which says that it holds as many bytes as the image has pixels."""
    size = bomb.index(struct.pack("<I", GIGABYTE))
    return bomb[:size] + struct.pack("<I", PIXELS) + bomb[size + 4 :]


HOSTILE = {
    "a bomb": (lambda bomb: prediction(bomb, class_bytes=GIGABYTE), "[zip bomb]"),
    "a bomb that lies": (lambda bomb: prediction(lying(bomb)), "[zstd]"),
    "a truncated frame": (lambda bomb: prediction(bomb[: len(bomb) // 2]), "[zip bomb]"),
    "a truncated small frame": (lambda bomb: prediction(zstandard.compress(os.urandom(PIXELS))[:-9]), "[zstd]"),
    "wrong lengths": (lambda bomb: prediction(zstandard.compress(bytes(PIXELS)), class_bytes=2**32 - 1), "[length]"),
    "wrong rows": (lambda bomb: prediction(zstandard.compress(bytes(PIXELS)), 2**32 - 1, 2**32 - 1), "[length]"),
    "no content": (lambda bomb: b"", "[whole]"),
    "zeros": (lambda bomb: bytes(1 << 20), "[size in bytes]"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_predictions_of_bravo_are_refused_in_little_memory(name, bomb, tmp_path, capsys):
    content, rule = HOSTILE[name]
    (base,) = Bravo("synobjs", frames=1).bases.values()
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(f"{base}_encoded.bin")
        info.size = len(content(bomb))
        tar.addfile(info, io.BytesIO(content(bomb)))
    argv = ["submit", "check", str(path), "--sets", "synobjs", "--frames", "synobjs=1"]
    assert peak(lambda: main(argv)) < BOUND
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("refused: ")]
    assert line.startswith(f"refused: {base}_encoded.bin: ") and rule in line


def test_a_member_that_says_it_is_longer_than_its_tar_is_refused(tmp_path, capsys):
    (base,) = Bravo("synobjs", frames=1).bases.values()
    info = tarfile.TarInfo(f"{base}_encoded.bin")
    info.size = 1 << 40
    (tmp_path / "a.tar").write_bytes(info.tobuf() + bytes(1 << 12))
    argv = ["submit", "check", str(tmp_path / "a.tar"), "--sets", "synobjs", "--frames", "synobjs=1"]
    assert peak(lambda: main(argv)) < BOUND
    printed = capsys.readouterr()
    assert "refused: " in printed.out or "cannot be read as a .tar" in printed.err


def test_a_bomb_in_place_of_a_list_of_pixels_is_refused(home, bomb, tmp_path, monkeypatch, capsys):
    writers.write("bravo", Toytown(split="anomaly", images=9, height=48, width=96), tmp_path / "data" / "bravo")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    (base,) = Bravo("synobjs", frames=1).bases.values()
    (tmp_path / "data" / "bravo" / f"{base}_samples.bin").write_bytes(bomb)
    classes = np.zeros(SIZE, np.uint8)
    content = bravo_codec.encode(classes, np.ones(SIZE, np.uint16), np.arange(9, dtype=np.int32))
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(f"{base}_encoded.bin")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    argv = ["submit", "check", str(path), "--sets", "synobjs", "--frames", "synobjs=1"]
    assert peak(lambda: main(argv)) < BOUND
    assert "unpacks to 1073741824 bytes" in capsys.readouterr().err


def npy(shape, content, descr="<f4"):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def npz(scores):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("anomaly_scores.npy", "w", force_zip64=True) as member:
            member.write(scores[0])
            for _ in range(scores[1]):
                member.write(bytes(1 << 20))
        archive.writestr("pred_id_labels.npy", npy(SIZE, bytes(PIXELS), "|u1"))
    return file.getvalue()


@pytest.mark.parametrize(
    ("scores", "rule"),
    [
        ((npy((1 << 14, 1 << 14), b""), 256), "[size in bytes]"),
        ((npy((1 << 14, 1 << 14), b""), 16), "[map size]"),
        ((npy(SIZE, b""), 16), "[npz]"),
        ((npy(SIZE, bytes(100)), 0), "[npz]"),
        ((npy(SIZE, bytes(100), "|O"), 0), "[npz]"),
        ((b"no array", 0), "[npz]"),
    ],
    ids=["a bomb", "a large shape", "more than it says", "less than it says", "objects", "no array"],
)
def test_hostile_files_of_issu_are_refused_in_little_memory(scores, rule, tmp_path, capsys):
    (frame,) = Issu("static", frames=1).ids()
    content = npz(scores)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"M/{frame}.npz", content)
    argv = ["submit", "check", str(tmp_path / "a.zip"), "--sets", "static", "--frames", "static=1"]
    assert peak(lambda: main(argv)) < BOUND
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("refused: ")]
    assert rule in line
