"""Files of strangers: whatever is wrong with one, each reader refuses it in one line, and takes no memory for it."""

import io
import os
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from bench.core import untrusted_arrays
from bench.core.archives import Refused
from bench.core.errors import BadScores, MissingData
from bench.core.untrusted_arrays import Unreadable
from bench.datasets import fishyscapes
from bench.evaluate import files
from bench.models import stored
from bench.submit import float16_maps

SIZE = (12, 20)
MAP = np.random.default_rng(1).normal(size=SIZE).astype(np.float16)
MEMORY = 2**22  # bytes that a refusal may take at most


def npy(array: object, **options: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asanyarray(array), **options)
    return buffer.getvalue()


def header(text: str, version: tuple[int, int] = (1, 0), content: bytes = bytes(480)) -> bytes:
    size = len(text).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + size + text.encode() + content


def declared(shape: str, descr: str = "'<f2'") -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n")


HOSTILE_NPY: dict[str, bytes] = {
    "nothing": b"",
    "wrong magic": b"\x92NUMPY" + npy(MAP)[6:],
    "pickle": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    "another format": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "cut magic": npy(MAP)[:4],
    "cut header": npy(MAP)[:60],
    "cut numbers": npy(MAP)[:-8],
    "two arrays": npy(MAP) * 2,
    "objects": npy(np.array([[{}] * 20] * 12, dtype=object), allow_pickle=True),
    "structure": npy(np.zeros(SIZE, [("a", "<f2")])),
    "structure in structures": declared("(12, 20)", repr([("a", [("b", [("c", "<f2")])])])),
    "structure of many": declared("(12, 20)", repr("f4," * 900)),
    "structure in many": declared("(12, 20)", "[('a'," * 200 + "'<f2'" + ")]" * 200),
    "complex": npy(MAP.astype(np.complex64)),
    "longer than doubles": declared(
        "(12, 20)",
        "'<f16'",
    ),
    "subarray": declared("(12, 20)", "('<f2', (3,))"),
    "text": npy(np.full(SIZE, "x")),
    "no bytes each": declared("(12, 20)", "'|S0'"),
    "terabytes": declared("(1099511627776, 20)"),
    "terabytes each": declared("(12, 20)", "'|V99999999999'"),
    "negative": declared("(12, -1)"),
    "negative in volume": declared("(19, -1, 24)"),
    "twice negative": declared("(-12, -20)"),
    "booleans": declared("(True, True)"),
    "beyond 64 bits": declared(f"({2**70}, 0)"),
    "version 3": header("{'descr': '<f2', 'fortran_order': False, 'shape': (12, 20), }", (2, 0)).replace(
        b"\2", b"\3", 1
    ),
    "header of gigabytes": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100),
    "header of code": header("__import__('os').system('true')"),
    "nested header": header("(" * 3000),
    "signs": header("{'descr': '<f2', 'fortran_order': False, 'shape': (" + "-" * 3500 + "1,), }"),
    "binary header": b"\x93NUMPY\x01\x00\x40\x00" + bytes(range(192, 256)) + bytes(480),
    "scalar": npy(np.float16(1)),
    "empty": npy(np.zeros((0, 20), np.float16)),
    "volume": npy(np.zeros((2, 12, 20, 1), np.float16)),
}


def packed(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def patched(offset: int, value: bytes, content: bytes | None = None) -> bytes:
    """An archive of one map whose directory says something else; ``offset`` counts from its entry."""
    damaged = bytearray(content or packed(("arr_0.npy", npy(MAP))))
    at = damaged.rindex(b"PK\x01\x02") + offset
    damaged[at : at + len(value)] = value
    return bytes(damaged)


def flipped(content: bytes) -> bytes:
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 255
    return bytes(damaged)


HOSTILE_NPZ: dict[str, bytes] = {
    **{name: packed(("arr_0.npy", content)) for name, content in HOSTILE_NPY.items()},
    "no archive": b"nonsense",
    "cut archive": packed(("arr_0.npy", npy(MAP)))[:-30],
    "no array": packed(),
    "two members": packed(("a.npy", npy(MAP)), ("b.npy", npy(MAP))),
    "encrypted": patched(8, b"\x01"),
    "unknown packing": patched(10, b"\x63\x00"),
    "bzip2": packed(("arr_0.npy", npy(MAP)), method=zipfile.ZIP_BZIP2),
    "lzma": packed(("arr_0.npy", npy(MAP)), method=zipfile.ZIP_LZMA),
    "declares too much": patched(24, b"\xff\xff\xff\x7f"),
    "declares too little": patched(24, b"\x90\x00\x00\x00"),
    "bomb behind numbers": packed(("arr_0.npy", npy(MAP) + bytes(2**25))),
    "bomb in header": packed(("arr_0.npy", b"\x93NUMPY\x02\x00" + (2**25).to_bytes(4, "little") + bytes(2**25))),
    "wrong checksum": patched(16, b"abcd"),
    "damaged": flipped(packed(("arr_0.npy", npy(MAP)))),
}


def hdf5(write: Callable[[h5py.File], object]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        write(file)
    return buffer.getvalue()


def dataset(data: object = MAP, **options: object) -> bytes:
    return hdf5(lambda file: file.create_dataset("value", data=data, **options))


def direct(raw: bytes, **options: object) -> bytes:
    """A dataset whose single chunk holds ``raw``."""

    def write(file: h5py.File) -> None:
        made = file.create_dataset("value", SIZE, np.float16, chunks=SIZE, **options)
        made.id.write_direct_chunk((0, 0), raw)

    return hdf5(write)


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(SIZE, "f2")
    layout[:] = h5py.VirtualSource("secret.h5", "value", SIZE)
    file.create_virtual_dataset("value", layout)


def soft(file: h5py.File) -> None:
    file["other"] = MAP
    file["value"] = h5py.SoftLink("/other")


HOSTILE_HDF5: dict[str, bytes] = {
    "nothing": b"",
    "wrong magic": b"\x88HDF" + dataset()[4:],
    "pickle": HOSTILE_NPY["pickle"],
    "cut": dataset(compression=9)[:-100],
    "absent": hdf5(lambda file: file.create_dataset("a\nb", data=MAP)),
    "empty file": hdf5(lambda file: None),
    "group": hdf5(lambda file: file.create_group("value")),
    "external link": hdf5(lambda file: file.__setitem__("value", h5py.ExternalLink("secret.h5", "/value"))),
    "soft link": hdf5(soft),
    "virtual": hdf5(virtual),
    "external storage": hdf5(lambda file: file.create_dataset("value", SIZE, "f2", external=[("/etc/passwd", 0, 480)])),
    "no numbers": hdf5(lambda file: file.create_dataset("value", data=h5py.Empty("f2"))),
    "objects": hdf5(lambda file: file.create_dataset("value", SIZE, h5py.string_dtype())),
    "structure": dataset(np.zeros(SIZE, [("a", "<f2")])),
    "text": dataset(np.full(SIZE, b"x")),
    "complex": dataset(MAP.astype(np.complex64)),
    "longer than doubles": dataset(MAP.astype(np.longdouble)),
    "scalar": dataset(np.float16(1)),
    "empty": dataset(np.zeros((0, 20), np.float16)),
    "volume": dataset(np.zeros((2, 12, 20, 1), np.float16)),
    "terabytes": hdf5(lambda file: file.create_dataset("value", (2**40, 20), "f2", chunks=(64, 20), compression=9)),
    "never written": hdf5(lambda file: file.create_dataset("value", SIZE, "f2", chunks=(3, 5))),
    "never written whole": hdf5(lambda file: file.create_dataset("value", SIZE, "f2")),
    "huge chunks": hdf5(
        lambda file: file.create_dataset("value", SIZE, "f2", chunks=(2**14, 2**14), maxshape=(None, None))
    ),
    "lzf": dataset(np.zeros(SIZE, np.float16), compression="lzf"),
    "scale and offset": dataset(np.zeros(SIZE, np.int16), scaleoffset=0),
    "bomb": direct(zlib.compress(bytes(2**25), 9), compression=9),
    "cut chunk": direct(zlib.compress(MAP.tobytes())[:-20], compression=9),
    "broken chunk": direct(b"nonsense", compression=9),
    "short chunk": direct(zlib.compress(bytes(20)), compression=9),
    "short shuffled chunk": direct(bytes(20), shuffle=True),
    "wrong checksum": direct(MAP.tobytes() + b"abcd", fletcher32=True),
}
HOSTILE = [
    pytest.param(suffix, content, id=f"{suffix} {name}")
    for suffix, cases in ((".npy", HOSTILE_NPY), (".npz", HOSTILE_NPZ), (".hdf5", HOSTILE_HDF5))
    for name, content in cases.items()
]


def by_evaluation(path: Path) -> object:
    return files.read_map(files.MapFile(path), SIZE)


def by_evaluation_of_classes(path: Path) -> object:
    return files.read_classes(files.MapFile(path), SIZE)


def by_evaluation_of_an_archive(path: Path) -> object:
    archive = path.with_name("maps.zip")
    archive.write_bytes(packed((path.name, path.read_bytes())))
    (member,) = files.find(archive, "score map")
    return files.read_map(member, SIZE)


def by_model(path: Path) -> object:
    return stored.volume(stored.Entry(path), None, SIZE)


def by_class_map(path: Path) -> object:
    return stored.class_map(stored.Entry(path), 19, SIZE)


def by_other_output(path: Path) -> object:
    return stored.numbers(stored.Entry(path))


def by_overlay(path: Path) -> object:
    return fishyscapes._overlay(path, SIZE)


def by_board(path: Path) -> object:
    return float16_maps.unpacked(path.read_bytes(), SIZE, 0)


def by_board_without_images(path: Path) -> object:
    return float16_maps.unpacked(path.read_bytes(), None, 2**20)


CALLERS = [
    by_evaluation,
    by_evaluation_of_classes,
    by_evaluation_of_an_archive,
    by_model,
    by_class_map,
    by_other_output,
]
BOARDS = [by_board, by_board_without_images]


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """Imports are no memory of a refusal."""
    stored.np, h5py, __import__("torch")


def refusal(caller: Callable[[Path], object], path: Path) -> str:
    """The one line by which a caller refuses a file, and no more memory than a small map takes."""
    tracemalloc.start()
    try:
        with pytest.raises((BadScores, MissingData, Refused)) as caught:
            caller(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert message.isprintable() and len(message) < 800, message
    assert peak < MEMORY, f"{peak} bytes"
    return message


@pytest.mark.parametrize(("suffix", "content"), HOSTILE)
def test_every_caller_refuses_in_one_line_and_little_memory(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    for caller in [*CALLERS, *(BOARDS if suffix == ".hdf5" else [by_overlay] if suffix == ".npz" else [])]:
        message = refusal(caller, path)
        assert caller in BOARDS or f"a{suffix}" in message, caller


@pytest.mark.parametrize(("suffix", "content"), HOSTILE)
def test_the_reader_itself_refuses_what_no_rule_of_a_caller_would(
    suffix: str, content: bytes, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Scalars, volumes and empty arrays are for the callers to refuse; all else is refused whatever they allow."""
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    case = request.node.callspec.id.split(" ", 1)[1]
    if case in {"scalar", "empty", "volume"}:
        assert untrusted_arrays.read(path, suffix, lambda shape, dtype: None).size in (0, 1, 480)
        return
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable):
            untrusted_arrays.read(path, suffix, lambda shape, dtype: None)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


REASONS = {
    ".npy objects": "type", ".npy structure": "type", ".npy text": "type", ".npy two arrays": "short",
    ".npy cut numbers": "short", ".npy terabytes": "limit", ".npy negative in volume": "format",
    ".npy header of gigabytes": "format", ".npz two members": "count", ".npz no array": "count",
    ".npz encrypted": "archive", ".npz bzip2": "archive", ".npz bomb behind numbers": "short",
    ".npz wrong checksum": "archive", ".hdf5 absent": "name", ".hdf5 soft link": "link",
    ".hdf5 external link": "link", ".hdf5 virtual": "foreign", ".hdf5 external storage": "foreign",
    ".hdf5 group": "foreign", ".hdf5 lzf": "filters", ".hdf5 scale and offset": "filters", ".hdf5 bomb": "bomb",
    ".hdf5 huge chunks": "chunks", ".hdf5 never written": "short", ".hdf5 cut chunk": "short",
    ".hdf5 wrong checksum": "format", ".hdf5 objects": "type", ".hdf5 terabytes": "limit",
}  # fmt: skip


@pytest.mark.parametrize("case", REASONS)
def test_a_refusal_says_its_reason(case: str) -> None:
    suffix, name = case.split(" ", 1)
    content = {".npy": HOSTILE_NPY, ".npz": HOSTILE_NPZ, ".hdf5": HOSTILE_HDF5}[suffix][name]
    with pytest.raises(Unreadable) as caught:
        untrusted_arrays.read(io.BytesIO(content), suffix, lambda shape, dtype: None)
    assert caught.value.reason == REASONS[case]


SHUFFLED = {"compression": 4, "shuffle": True, "chunks": (5, 7)}
WHOLE = [
    (".npy", npy), (".npz", lambda array: packed(("arr_0.npy", npy(array)))),
    (".npz", lambda array: packed(("arr_0.npy", npy(array)), method=zipfile.ZIP_STORED)), (".h5", dataset),
    (".hdf5", lambda array: dataset(array, compression=9)), (".hdf5", lambda array: dataset(array, **SHUFFLED)),
    (".hdf5", lambda array: dataset(array, fletcher32=True, **SHUFFLED)),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "write"), WHOLE)
@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", "u1", "<i4", ">i8", "?"])
def test_whole_arrays_come_back_as_they_are(
    suffix: str, write: Callable[[object], bytes], dtype: str, tmp_path: Path
) -> None:
    array = np.random.default_rng(2).normal(0, 9, (12, 20)).astype(dtype)
    for laid_out in (array, np.asfortranarray(array), array[:, ::2]):
        (tmp_path / f"a{suffix}").write_bytes(write(laid_out))
        for source in (tmp_path / f"a{suffix}", io.BytesIO(write(laid_out))):
            again = untrusted_arrays.read(source, suffix, lambda shape, dtype: None)
            np.testing.assert_array_equal(again, laid_out)
            assert again.dtype == laid_out.dtype and again.flags.writeable


def test_numbers_of_an_uncommon_width_are_left_to_the_library() -> None:
    kind = h5py.h5t.STD_I32LE.copy()
    kind.set_precision(12)
    kind.set_offset(4)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((4, 5))
        plan.set_deflate(9)
        made = h5py.Dataset(h5py.h5d.create(file.id, b"value", kind, h5py.h5s.create_simple((6, 5)), plan))
        made[...] = np.arange(30).reshape(6, 5)
    again = untrusted_arrays.read(buffer, ".hdf5", lambda shape, dtype: None)
    assert again.tolist() == np.arange(30).reshape(6, 5).tolist()


def test_the_rule_of_the_caller_is_asked_before_numbers_are_looked_at() -> None:
    class Mine(Exception):
        pass

    def fits(shape: tuple[int, ...], dtype: np.dtype) -> None:
        raise Mine(shape, dtype)

    for suffix, content in ((".npy", npy(MAP)[:-8]), (".npz", packed(("a.npy", npy(MAP)))), (".h5", dataset())):
        with pytest.raises(Mine) as caught:
            untrusted_arrays.read(io.BytesIO(content), suffix, fits)
        assert caught.value.args == (SIZE, np.dtype(np.float16))
        with pytest.raises(Unreadable, match=r"declares 480 bytes, wanted at most 479"):
            untrusted_arrays.read(io.BytesIO(npy(MAP)), ".npy", lambda shape, dtype: None, limit=479)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".hdf5"])
def test_no_damage_is_more_than_a_refusal(suffix: str, tmp_path: Path) -> None:
    content = {".npy": npy(MAP), ".npz": packed(("a.npy", npy(MAP))), ".hdf5": dataset(compression=9, shuffle=True)}
    generator, refusals = np.random.default_rng(3), 0
    for _ in range(400):
        damaged = bytearray(content[suffix])
        for at in generator.integers(0, min(len(damaged), 800), generator.integers(1, 4)):
            damaged[at] = generator.integers(256)
        try:
            assert untrusted_arrays.read(io.BytesIO(damaged), suffix, lambda shape, dtype: None, limit=2**20).ndim < 9
        except Unreadable as error:
            assert str(error).isprintable()
            refusals += 1
    assert refusals > 40


def test_pipes_folders_and_absent_files_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "folder.npy").mkdir()
    for name in ("pipe.npy", "folder.npy", "absent.npy"):
        with pytest.raises(Unreadable):
            untrusted_arrays.read(tmp_path / name, ".npy", lambda shape, dtype: None)


def test_headers_say_nothing_beside_the_refusal(recwarn: pytest.WarningsRecorder) -> None:
    python2 = declared("(12L, 20L)")
    assert untrusted_arrays.read(io.BytesIO(python2), ".npy", lambda shape, dtype: None).shape == SIZE
    for shape in ("(1if 1else 2, 20)", "(0x1for x in 2)", "('\\d', 20)"):
        with pytest.raises(Unreadable):
            untrusted_arrays.read(io.BytesIO(declared(shape)), ".npy", lambda shape, dtype: None)
    assert not list(recwarn)


def test_names_that_would_break_a_line_do_not(tmp_path: Path) -> None:
    (tmp_path / "a.hdf5").write_bytes(HOSTILE_HDF5["absent"])
    assert refusal(by_evaluation, tmp_path / "a.hdf5").endswith(
        "has no dataset 'value'; found a\N{REPLACEMENT CHARACTER}U+000Ab"
    )
    assert refusal(by_model, tmp_path / "a.hdf5").endswith(
        "has no dataset 'value' of its own; found a\N{REPLACEMENT CHARACTER}U+000Ab"
    )


def test_an_import_loads_neither_torch_nor_h5py() -> None:
    code = "import sys, bench.core.untrusted_arrays; print({'torch', 'h5py'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"
