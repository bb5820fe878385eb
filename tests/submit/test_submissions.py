"""SegmentMeIfYouCan: archives from a run, their checks against archives that are broken in many ways, dry runs."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from running import until

from bench.cli.main import main
from bench.contract.board import Verdict
from bench.core import archives
from bench.core.errors import BadPlugin, BadScores, UnknownName
from bench.data.layouts import writers
from bench.datasets.toytown.scenes import Toytown
from bench.submissions import smiyc
from bench.submit import archive_writer, commands, direction, float16_maps

FIXTURES = Path(__file__).parents[1] / "fixtures" / "leaderboards"
SUITE = """
protocols: [smiyc_anomaly, smiyc_obstacle]
models: [toynet]
datasets:
  - smiyc: {track: RoadAnomaly21, split: validation, frames: 6, protocols: [smiyc_anomaly]}
  - smiyc: {track: RoadObstacle21, split: validation, frames: 6, protocols: [smiyc_obstacle]}
methods: [maxlogit, msp]
bootstrap: 0
"""
FRAMES = ["--frames", "AnomalyTrack-all=8,ObstacleTrack-all=8"]
COUNTS = {"AnomalyTrack-all": 8, "ObstacleTrack-all": 8}
TREE = "anomaly_p/MaxLogit"
FIRST = f"{TREE}/AnomalyTrack-all/cow0000.hdf5"  # a test frame, 64x96


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data in the official layout, a run, and an archive of it."""
    folder = tmp_path_factory.mktemp("board")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", str(folder / "home"))
        patch.setenv("BENCH_DATA", str(folder / "data"))
        scenes = Toytown(split="anomaly", images=8, height=64, width=128)
        for layout in ("smiyc_anomaly", "smiyc_obstacle"):
            writers.write(layout, scenes, folder / "data" / "smiyc")
        (folder / "suite.yaml").write_text(SUITE)
        assert main(["run", str(folder / "suite.yaml"), "--out", str(folder / "run"), "--workers", "0"]) == 0
        assert submit(folder, folder / "made") == 0
        yield folder


def submit(folder: Path, out: Path, *more: str) -> int:
    line = ["submit", "smiyc", "--run", str(folder / "run"), "--method", "maxlogit", "--out", str(out)]
    return main([*line, "--name", "MaxLogit", *FRAMES, *more])


@pytest.fixture
def board(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(place / "data"))
    return place


@pytest.fixture(scope="module")
def members(place: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(place / "made" / "MaxLogit.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_an_archive_is_made_checked_and_agrees_with_the_run(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = str(board / "made" / "MaxLogit.zip")
    assert main(["submit", "check", archive, *FRAMES]) == 0
    said = capsys.readouterr().out
    assert "every rule that could be checked is kept (AnomalyTrack-all 8, ObstacleTrack-all 8)" in said
    assert "of the distinct values were lost in the cast to float16" in said
    assert main(["submit", "dry-run", archive, *FRAMES, "--run", str(board / "run"), "--method", "maxlogit"]) == 0
    said = capsys.readouterr().out
    assert said.count(", agrees") >= 20
    assert "DIFFERS" not in said


def test_a_dry_run_fails_where_the_run_is_of_another_method(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["submit", "dry-run", str(board / "made" / "MaxLogit.zip"), *FRAMES, "--run", str(board / "run")]
    assert main([*line, "--method", "msp"]) == 2
    assert "DIFFERS by" in capsys.readouterr().out
    assert main(line) == 2  # two methods and none is named
    assert "name one with --method" in capsys.readouterr().err


def test_the_card_says_what_the_boards_ask_for(board: Path) -> None:
    card = yaml.safe_load((board / "made" / "card.yaml").read_text())
    assert card["method"]["name"] == "maxlogit"
    assert card["network"]["name"] == "toynet"
    assert card["requires_ood_data"] == "not stated"
    assert card["seconds_per_image"] > 0
    assert {claim["protocol"] for claim in card["claims"]} == {"smiyc_anomaly", "smiyc_obstacle"}
    assert card["digests"]["maps"]
    text = (board / "made" / "card.md").read_text()
    assert f"ap {card['claims'][0]['figures']['ap']:.6g}" in text


def test_the_root_of_the_zip_is_chosen(board: Path, tmp_path: Path) -> None:
    assert submit(board, tmp_path / "sets", "--root", "sets") == 0
    with zipfile.ZipFile(tmp_path / "sets" / "MaxLogit.zip") as archive:
        assert {Path(name).parts[0] for name in archive.namelist()} == {"AnomalyTrack-all", "ObstacleTrack-all"}
    line = ["submit", "dry-run", str(tmp_path / "sets" / "MaxLogit.zip"), *FRAMES, "--run", str(board / "run")]
    assert main([*line, "--method", "maxlogit"]) == 0


def test_an_archive_of_one_track_is_one_only_if_that_is_said(
    board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(board, tmp_path / "one", "--sets", "AnomalyTrack-all") == 0
    line = ["submit", "check", str(tmp_path / "one" / "MaxLogit.zip"), *FRAMES]
    assert main(line) == 2
    assert "ObstacleTrack-all/: is absent; wanted 8 maps in it, or say --sets" in capsys.readouterr().out
    assert main([*line, "--sets", "AnomalyTrack-all"]) == 0
    assert main([*line, "--sets", "AnomalyTrack"]) == 2
    assert "unknown set 'AnomalyTrack'; did you mean 'AnomalyTrack-all'" in capsys.readouterr().err


def test_lost_and_found_is_a_third_set(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(shutil.copytree(board / "data", tmp_path / "data")))
    scenes = Toytown(split="anomaly", images=16, height=128, width=256)
    writers.write("lost_and_found", scenes, tmp_path / "data" / "lost_and_found")
    chosen = ["--sets", "LostAndFound-test", "--frames", "LostAndFound-test=12"]
    assert submit(board, tmp_path / "out", *chosen) == 0
    archive = str(tmp_path / "out" / "MaxLogit.zip")
    assert main(["submit", "check", archive, *chosen]) == 0
    assert "LostAndFound-test: AP on 12 labelled frames" in capsys.readouterr().out
    assert main(["submit", "dry-run", archive, *chosen]) == 0
    assert "LostAndFound-test: ap 0." in capsys.readouterr().out


def test_interrupted_and_resumed_gives_the_same_bytes(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (board / "made" / "MaxLogit.zip").read_bytes()
    calls, packed = [0], float16_maps.packed

    def failing(half: float16_maps.Halves) -> bytes:
        calls[0] += 1
        if calls[0] == 6:
            raise OSError(28, "No space left on device")
        return packed(half)

    with monkeypatch.context() as patch:
        patch.setattr(float16_maps, "packed", failing)
        assert submit(board, tmp_path / "again") == 2
    there = list((tmp_path / "again").rglob("*.hdf5"))
    assert 4 <= len(there) < 16
    assert not (tmp_path / "again" / "MaxLogit.zip").exists()
    kept = {path: path.stat().st_mtime_ns for path in there}
    pack = archive_writer.packing.pack
    seen: list[int] = []

    def looking(out: Path, members: object, roots: object) -> None:
        seen.extend(path.stat().st_mtime_ns for path in kept)
        pack(out, members, roots)  # type: ignore[arg-type]

    monkeypatch.setattr(archive_writer.packing, "pack", looking)
    assert submit(board, tmp_path / "again") == 0
    assert seen == list(kept.values())  # what was there was not made again
    assert (tmp_path / "again" / "MaxLogit.zip").read_bytes() == whole


def test_a_finished_archive_is_left_alone(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (board / "made" / "MaxLogit.zip").stat().st_mtime_ns
    monkeypatch.setattr(float16_maps, "packed", None)
    assert submit(board, board / "made") == 0
    assert (board / "made" / "MaxLogit.zip").stat().st_mtime_ns == before


@pytest.mark.slow
def test_killed_and_run_again_in_other_processes(board: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    code = (
        "import time; from bench.submit import float16_maps; from bench.cli.main import main; import sys\n"
        "packed = float16_maps.packed\n"
        "float16_maps.packed = lambda half: (time.sleep(0.3), packed(half))[1]\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ["submit", "smiyc", "--run", str(board / "run"), "--method", "maxlogit", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words, "--name", "MaxLogit", *FRAMES],
        env=os.environ | {"BENCH_DATA": str(board / "data")},
        cwd=Path(__file__).parents[2],
    )
    until(lambda: len(list(out.rglob("*.hdf5"))) >= 3 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 3 <= len(list(out.rglob("*.hdf5"))) < 16
    assert submit(board, out, "--processes", "2") == 0
    assert (out / "MaxLogit.zip").read_bytes() == (board / "made" / "MaxLogit.zip").read_bytes()


# ---------------------------------------------------------------------------------------------- maps


def test_our_files_have_the_structure_of_the_official_ones() -> None:
    content = (FIXTURES / "smiyc_io/anomaly_p/fixture/cc04_min_sizes_obstacle/frame000.hdf5").read_bytes()
    official = float16_maps.unpacked(content, (48, 64), 0)
    ours = float16_maps.packed(official)
    with h5py.File(io.BytesIO(content)) as one, h5py.File(io.BytesIO(ours)) as other:
        assert list(one) == list(other) == ["value"]
        assert not dict(other.attrs) and not dict(other["value"].attrs)
        for name in ("shape", "dtype", "chunks", "compression", "compression_opts", "shuffle", "fletcher32"):
            assert getattr(one["value"], name) == getattr(other["value"], name), name
        np.testing.assert_array_equal(one["value"][()], other["value"][()])
    assert ours == float16_maps.packed(official.copy())


@pytest.mark.parametrize("size", [(1, 1), (7, 1), (130, 517), (1080, 1920)])
def test_maps_come_back_by_our_reader_and_by_the_library(size: tuple[int, int]) -> None:
    half = np.random.default_rng(3).normal(size=size).astype(np.float16)
    content = float16_maps.packed(half)
    np.testing.assert_array_equal(float16_maps.unpacked(content, size, 0), half)
    with h5py.File(io.BytesIO(content)) as file:
        np.testing.assert_array_equal(file["value"][()], half)


@pytest.mark.parametrize("how", [{}, {"chunks": True}, {"compression": 4, "shuffle": True, "fletcher32": True}])
def test_files_of_others_are_read_however_they_are_stored(how: dict[str, object]) -> None:
    half = np.random.default_rng(4).normal(size=(70, 90)).astype(np.float16)
    np.testing.assert_array_equal(float16_maps.unpacked(stored(half, **how), (70, 90), 0), half)


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=40), st.sampled_from(sorted(float16_maps.TRANSFORMS)))
def test_transforms_keep_the_order(values: list[float], transform: str) -> None:
    score = np.sort(np.array([values], np.float32))
    half = float16_maps.halved(score, transform, "method")
    assert (np.diff(half.astype(np.float64)) >= 0).all()


def test_a_transform_keeps_what_float16_would_lose_next_to_one() -> None:
    score = (1 - np.geomspace(1e-6, 1e-2, 500, dtype=np.float64)).astype(np.float32)[None]
    plain, better = (float16_maps.levels(float16_maps.halved(score, name, "")) for name in ("identity", "-log(1-x)"))
    assert plain < 30 < 300 < better


def test_what_float16_cannot_hold_is_refused() -> None:
    with pytest.raises(BadPlugin, match=r"scores up to 70000 do not fit float16.*--transform asinh"):
        float16_maps.halved(np.array([[0, 70000]], np.float32), "identity", "method x on y")
    assert np.isfinite(float16_maps.halved(np.array([[0, 70000]], np.float32), "asinh", "")).all()
    with pytest.raises(BadPlugin, match=r"the transform logit is for \[0, 1\]"):
        float16_maps.halved(np.array([[0, 2]], np.float32), "logit", "method x on y")


def test_a_method_declares_its_transform() -> None:
    declared = type("Declared", (), {"float16": "logit"})
    assert float16_maps.transform_of(declared, None) == "logit"
    assert float16_maps.transform_of(declared, "asinh") == "asinh"
    assert float16_maps.transform_of(type("Plain", (), {}), None) == "identity"
    with pytest.raises(UnknownName, match=r"unknown transform 'logitt'; did you mean 'logit'"):
        float16_maps.transform_of(declared, "logitt")


def test_the_direction_is_read_off_exact_counts() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(5)
    truth = (generator.random((40, 50)) < 0.1).astype(np.uint8)
    half = (generator.normal(size=truth.shape) + truth).round(1).astype(np.float16)
    half[0, :4] = [0.0, -0.0, 0.0, -0.0]
    counts = direction.counted(half, truth)
    for sign, negated in ((1, False), (-1, True)):
        wanted = sklearn.average_precision_score(truth.ravel(), sign * half.ravel().astype(np.float64))
        assert direction.average_precision(counts, negated=negated) == pytest.approx(wanted, abs=1e-12)


def test_a_weak_direction_is_a_warning() -> None:
    generator = np.random.default_rng(6)
    truth = (generator.random((200, 200)) < 0.1).astype(np.uint8)
    half = (generator.normal(size=truth.shape) + 0.1 * truth).astype(np.float16)
    verdict = Verdict("smiyc", "maps.zip")
    direction.judge("AnomalyTrack-all", direction.counted(half, truth), 1, "", verdict)
    assert verdict.failures == []
    assert "below 1.5 times the base rate" in verdict.warnings[0]


# ---------------------------------------------------------------------------------------------- broken archives

Broken = dict[str, bytes]
Break = Callable[[Broken], object]


def stored(array: np.ndarray, name: str = "value", **how: object) -> bytes:
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.create_dataset(name, data=array, **how)
    return memory.getvalue()


def changed(content: bytes, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    return stored(change(float16_maps.unpacked(content, None, 2**24)))


def edit(change: Callable[[np.ndarray], np.ndarray]) -> Break:
    """Change the numbers of one map."""
    return lambda members: members.update({FIRST: changed(members[FIRST], change)})


def bomb() -> bytes:
    """A chunk of 130 kilobytes that unpacks to 128 megabytes inside the library."""
    packer = zlib.compressobj(9)
    raw = b"".join(packer.compress(bytes(2**24)) for _ in range(8)) + packer.flush()
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        made = file.create_dataset("value", shape=(64, 96), dtype=np.float16, chunks=(64, 96), compression=9)
        made.id.write_direct_chunk((0, 0), raw)
    return memory.getvalue()


def linked(kind: str) -> bytes:
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        if kind == "link":
            file["value"] = h5py.ExternalLink("/etc/passwd", "/x")
        else:
            file.create_dataset(
                "value", shape=(64, 96), dtype=np.float16, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
            )
    return memory.getvalue()


MAPS: dict[str, tuple[Break, str, str]] = {  # what is done to the archive; the rule; the file that is named
    "missing frame": (lambda m: m.pop(FIRST), "count", "AnomalyTrack-all/cow0000.hdf5"),
    "missing set": (lambda m: [m.pop(k) for k in list(m) if "Obstacle" in k], "count", "ObstacleTrack-all/"),
    "extra frame": (lambda m: m.update({FIRST.replace("0000", "0999"): m[FIRST]}), "names", "cow0999"),
    "wrong name": (lambda m: m.update({FIRST.replace("cow", "Cow"): m.pop(FIRST)}), "names", "Cow0000"),
    "wrong suffix": (lambda m: m.update({FIRST.replace(".hdf5", ".h5"): m.pop(FIRST)}), "names", "cow0000.h5"),
    "wrong folder": (lambda m: m.update({FIRST.replace("-all", "-test"): m.pop(FIRST)}), "names", "AnomalyTrack-test"),
    "two methods": (lambda m: m.update({FIRST.replace("MaxLogit", "B"): m.pop(FIRST)}), "one method", "MaxLogit"),
    "float64": (edit(lambda a: a.astype(float)), "dtype", FIRST),
    "dataset name": (lambda m: m.update({FIRST: stored(np.eye(4, dtype="f2"), "score")}), "dataset name", FIRST),
    "transposed": (edit(np.transpose), "map size", FIRST),
    "too small": (edit(lambda a: a[::2, ::2]), "map size", FIRST),
    "three axes": (edit(lambda a: a[None]), "rank", FIRST),
    "NaN": (edit(lambda a: np.where(a > a.mean(), a, np.nan)), "finite", FIRST),
    "infinite": (edit(lambda a: np.where(a > a.mean(), a, np.inf)), "finite", FIRST),
    "constant": (edit(np.zeros_like), "constant", FIRST),
    "two values": (edit(lambda a: (a > a.mean()).astype("f2")), "distinct values", FIRST),
    "inverted": (lambda m: m.update({k: changed(v, np.negative) for k, v in m.items()}), "direction", "AnomalyTrack"),
    "truncated map": (lambda m: m.update({FIRST: m[FIRST][:-200]}), "hdf5", FIRST),
    "no hdf5": (lambda m: m.update({FIRST: b"hello"}), "hdf5", FIRST),
    "empty": (lambda m: m.update({FIRST: b""}), "hdf5", FIRST),
    "chunk bomb": (lambda m: m.update({FIRST: bomb()}), "zip bomb", FIRST),
    "external link": (lambda m: m.update({FIRST: linked("link")}), "dataset name", FIRST),
    "external data": (lambda m: m.update({FIRST: linked("data")}), "dataset name", FIRST),
    "lzf": (lambda m: m.update({FIRST: stored(np.eye(64, 96, dtype="f2"), compression="lzf")}), "compression", FIRST),
    "never written": (lambda m: m.update({FIRST: hollow()}), "hdf5", FIRST),
    "far too many pixels": (lambda m: m.update({FIRST: hollow((2**20, 2**20))}), "map size", FIRST),
    "a text file": (lambda m: m.update({f"{TREE}/readme.txt": b"hello"}), "names", "readme.txt"),
    "path traversal": (lambda m: m.update({"../../outside.hdf5": m[FIRST]}), "path traversal", "../../outside.hdf5"),
    "absolute": (lambda m: m.update({"/outside.hdf5": m[FIRST]}), "path traversal", "/outside.hdf5"),
    "backslashes": (lambda m: m.update({"a\\..\\b.hdf5": m[FIRST]}), "path traversal", "b.hdf5"),
}  # fmt: skip


def hollow(shape: tuple[int, int] = (64, 96)) -> bytes:
    """A map that declares its numbers and holds none."""
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.create_dataset("value", shape=shape, dtype=np.float16, chunks=(16, 16), compression=9)
    return memory.getvalue()


def refused(path: Path) -> list[archives.Failure]:
    _, verdict, archive = commands.check(path, "smiyc", COUNTS, None)
    archive.close()
    return verdict.failures


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


@pytest.mark.parametrize("kind", MAPS)
def test_a_broken_archive_is_refused_by_file_and_rule(
    kind: str, board: Path, tmp_path: Path, members: dict[str, bytes]
) -> None:
    change, rule, name = MAPS[kind]
    broken = dict(members)
    change(broken)
    (tmp_path / "inner").mkdir()
    path = write_zip(tmp_path / "inner" / "broken.zip", broken)
    around = {place for place in tmp_path.rglob("*") if "home" not in place.parts}
    tracemalloc.start()
    failures = refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert any(failure.rule == rule and name in failure.file for failure in failures), [*map(str, failures)]
    assert peak < 64 * 2**20
    assert {place for place in tmp_path.rglob("*") if "home" not in place.parts} == around  # nothing was unpacked
    assert not Path("/outside.hdf5").exists()


def test_the_good_archive_breaks_no_rule_and_so_does_its_folder(
    board: Path, tmp_path: Path, members: dict[str, bytes]
) -> None:
    assert refused(write_zip(tmp_path / "good.zip", members)) == []
    for name, content in members.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(content)
    assert refused(tmp_path / "tree") == []
    (tmp_path / "tree" / FIRST).unlink()
    (tmp_path / "tree" / FIRST).symlink_to("/etc/passwd")
    assert {failure.rule for failure in refused(tmp_path / "tree")} == {"symlink", "count"}


def test_symlinks_duplicates_and_passwords_in_a_zip(board: Path, tmp_path: Path, members: dict[str, bytes]) -> None:
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
        link = zipfile.ZipInfo(f"{TREE}/AnomalyTrack-all/link.hdf5")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        with pytest.warns(UserWarning, match=r"Duplicate name"):
            archive.writestr(zipfile.ZipInfo(FIRST), members[FIRST])
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 8] |= 1  # the flag of encryption, of the first member
    path.write_bytes(content)
    assert {"symlink", "names", "encrypted"} <= {failure.rule for failure in refused(path)}


def test_a_zip_bomb_is_refused_before_it_is_unpacked(board: Path, tmp_path: Path, members: dict[str, bytes]) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content if name != FIRST else bytes(2**28))
    tracemalloc.start()
    failures = refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(failure.rule, failure.file) for failure in failures] == [("size in bytes", FIRST)]
    assert peak < 32 * 2**20


def test_a_size_that_lies_is_found_out(board: Path, tmp_path: Path, members: dict[str, bytes]) -> None:
    """The listing says few bytes and deflate holds many: no more than what is said is ever unpacked."""
    path = tmp_path / "lie.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content if name != FIRST else bytes(2**26))
    content = bytearray(path.read_bytes())
    place = content.rindex(FIRST.encode()) - 46  # of its entry in the listing
    assert content[place : place + 4] == b"PK\x01\x02"
    struct.pack_into("<L", content, place + 24, 5000)
    path.write_bytes(content)
    assert [(failure.rule, failure.file) for failure in refused(path)] == [("whole", FIRST)]


@pytest.mark.parametrize("cut", [0.3, 0.99])
def test_a_truncated_zip_is_refused(board: Path, tmp_path: Path, cut: float) -> None:
    content = (board / "made" / "MaxLogit.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(content[: int(len(content) * cut)])
    with pytest.raises(BadScores, match=r"cut\.zip: .*truncated.*\[whole\]"):
        refused(tmp_path / "cut.zip")


def test_a_listing_of_millions_is_refused_unread(tmp_path: Path) -> None:
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 60000, 60000, 2**30, 0, 0)
    (tmp_path / "many.zip").write_bytes(bytes(100) + end)
    with pytest.raises(BadScores, match=r"many\.zip: lists 60000 members in 1073741824 bytes.*\[zip bomb\]"):
        archives.opened(tmp_path / "many.zip")


def test_a_flipped_byte_is_found_by_the_checksum(board: Path, tmp_path: Path) -> None:
    content = bytearray((board / "made" / "MaxLogit.zip").read_bytes())
    content[len(content) // 3] ^= 0xFF
    (tmp_path / "flipped.zip").write_bytes(content)
    assert [failure.rule for failure in refused(tmp_path / "flipped.zip")] == ["whole"]


def flipped(content: bytes, generator: np.random.Generator, first: int = 0) -> bytes:
    """A few bytes changed at random, none before ``first``."""
    damaged = bytearray(content)
    for place in generator.integers(first, len(content), generator.integers(1, 4)):
        damaged[place] = generator.integers(256)
    return bytes(damaged)


def test_no_damage_to_a_map_is_more_than_a_refusal() -> None:
    generator = np.random.default_rng(7)
    content = float16_maps.packed(generator.normal(size=(24, 32)).astype(np.float16))
    refusals = 0
    for _ in range(600):
        try:
            assert float16_maps.unpacked(flipped(content, generator), (24, 32), 0).shape == (24, 32)
        except archives.Refused:
            refusals += 1
    assert 100 < refusals < 600


def test_no_damage_to_the_listing_of_a_zip_is_more_than_a_refusal(tmp_path: Path) -> None:
    generator = np.random.default_rng(8)
    content = write_zip(tmp_path / "whole.zip", {f"{name}.hdf5": bytes(50) for name in "abcdef"}).read_bytes()
    listing, refusals = content.index(b"PK\x01\x02"), 0
    for _ in range(400):
        (tmp_path / "damaged.zip").write_bytes(flipped(content, generator, listing))
        try:
            archive = archives.opened(tmp_path / "damaged.zip")
        except BadScores:
            refusals += 1
            continue
        for name in archive.members:
            try:
                archive.read(name, 1000)
            except archives.Refused:
                refusals += 1
        archive.close()
    assert refusals > 100


def test_without_the_images_names_and_sizes_are_said_to_be_unchecked(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nothing"))
    assert main(["submit", "check", str(board / "made" / "MaxLogit.zip"), *FRAMES]) == 2
    said = capsys.readouterr().out
    assert "AnomalyTrack-all: names and sizes were not compared with the images, which are not here" in said
    assert "is 64x96, the frames are 1024x2048 or 720x1280 [map size]" in said


def test_the_published_counts_are_the_rule(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "check", str(board / "made" / "MaxLogit.zip")]) == 2
    said = capsys.readouterr().out
    assert "AnomalyTrack-all/: holds 8 maps, wanted 110 [count]" in said
    assert "ObstacleTrack-all/: holds 8 maps, wanted 442 [count]" in said


def test_labels_kept_elsewhere_and_a_public_log(
    board: Path, tmp_path: Path, members: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    labels = board / "data" / "smiyc" / "dataset_AnomalyTrack" / "labels_masks"
    held = ["--labels", str(labels), "--pair", "{id}_labels_semantic.png", "--public-log"]
    assert main(["submit", "dry-run", str(board / "made" / "MaxLogit.zip"), *FRAMES, *held]) == 0
    said = capsys.readouterr()
    assert "AnomalyTrack-all: ap 0." in said.out
    broken = dict(members)
    MAPS["NaN"][0](broken)
    assert main(["submit", "dry-run", str(write_zip(tmp_path / "nan.zip", broken)), *FRAMES, *held]) == 2
    failed = capsys.readouterr()
    assert "refused: 1 files fail the rule finite" in failed.out
    held[1] = str(tmp_path / "absent")
    assert main(["submit", "dry-run", str(board / "made" / "MaxLogit.zip"), *FRAMES, *held]) == 2
    lost = capsys.readouterr()
    assert "the evaluation could not be done" in lost.out
    for text in (said.out, said.err, failed.out, failed.err, lost.out, lost.err):
        assert "validation0" not in text and "cow" not in text


# ---------------------------------------------------------------------------------------------- the board's entry


def returned() -> dict[str, float]:
    counts = smiyc.COUNTS
    return {key: 3 if key.rpartition("-")[2] in counts else 0.25 for key in smiyc.GROUPS["anomaly_track"]}


def test_an_entry_has_the_keys_of_the_board(board: Path, tmp_path: Path) -> None:
    assert submit(board, tmp_path / "out", "--no-ood-data", "--paper", "https://example.org/p") == 0
    (tmp_path / "scores.json").write_text(json.dumps(returned()))
    assert main(["submit", "entry", str(tmp_path / "out"), "--returned", str(tmp_path / "scores.json")]) == 0
    made = json.loads((tmp_path / "out" / "leaderboard_entry.json").read_text())
    assert list(made) == ["anomaly_track"]
    entry = made["anomaly_track"]
    assert (
        entry["method"] == "MaxLogit" and entry["requires_ood"] is False and entry["paper"] == "https://example.org/p"
    )
    assert entry["AnomalyTrack-test-PixBinaryClass-area_PRC"] == 0.25
    assert entry["AnomalyTrack-test-SegEval-AnomalyTrack-f1_mean"] == 0.25
    assert len(entry) == 4 + 15


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"AnomalyTrack-test-PixBinaryClass-area_PRC": 25.0}, r"area_PRC is 25\.0, wanted a rate from 0 to 1"),
        ({"AnomalyTrack-test-PixBinaryClass-area_ROC": 0.5}, r"unknown key .*area_ROC"),
        ({"AnomalyTrack-test-SegEval-AnomalyTrack-fp_25": 1.5}, r"fp_25 is 1\.5, wanted a count"),
        ({"AnomalyTrack-test-SegEval-AnomalyTrack-f1_mean": None}, r"f1_mean is None, wanted a number"),
        ({"ObstacleTrack-test-PixBinaryClass-area_PRC": 0.1}, r"ObstacleTrack.*is missing \(1 of 15 keys"),
    ],
)
def test_scores_that_the_board_does_not_return_are_refused(change: dict[str, float], said: str) -> None:
    with pytest.raises((BadScores, UnknownName), match=said):
        smiyc.Smiyc().entry(returned() | change, {}, "scores.json")


def test_boards_say_their_status_and_the_day(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "leaderboards"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["issu", "smiyc", "fishyscapes", "bravo", "cityscapes", "oodis"]
    for line in lines:
        assert re.search(r" \[(checked 20[0-9-]{5,8}|not checked)\], https://\S+; ", line)
