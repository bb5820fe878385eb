"""Archives of strangers: hostile ones leave nothing, honest ones come whole, and what is there is never lost."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from bench.core import unpacking
from bench.core.errors import CannotWrite, MissingData


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tarred(path, *members):
    """Write a tar of ``(name, type, link or content)``."""
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tape:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(text) if kind == tarfile.REGTYPE else 0
            info.linkname = "" if kind == tarfile.REGTYPE else text.decode()
            info.mode = 0o6777
            tape.addfile(info, io.BytesIO(text) if kind == tarfile.REGTYPE else None)
    return path


HOSTILE = {
    "symlink": (("a", tarfile.REGTYPE, b"1"), ("b", tarfile.SYMTYPE, b"/etc/passwd")),
    "hard link": (("a", tarfile.REGTYPE, b"1"), ("b", tarfile.LNKTYPE, b"a")),
    "through a link": (("out", tarfile.SYMTYPE, b".."), ("out/a", tarfile.REGTYPE, b"1")),
    "device": (("a", tarfile.REGTYPE, b"1"), ("b", tarfile.CHRTYPE, b"")),
    "pipe": (("b", tarfile.FIFOTYPE, b""),),
    "twice": (("a", tarfile.REGTYPE, b"1"), ("./a", tarfile.REGTYPE, b"2")),
    "control character": (("a\nb", tarfile.REGTYPE, b"1"),),
    "too deep": (("a/" * 100 + "b", tarfile.REGTYPE, b"1"),),
    "hidden and climbing": (("../.out", tarfile.REGTYPE, b"1"),),
    "nothing": (("folder", tarfile.DIRTYPE, b""),),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_a_hostile_tar_leaves_nothing(name, ending, tmp_path):
    archive = tarred(tmp_path / f"a.{ending}", *HOSTILE[name])
    with pytest.raises(MissingData, match=r"a\.tar"):
        unpacking.unpack(archive, tmp_path / "into")
    assert {path.name for path in tmp_path.iterdir()} == {archive.name}


@pytest.mark.parametrize("kind", [0o120777, 0o020666, 0o010666], ids=["symlink", "device", "pipe"])
def test_a_hostile_zip_leaves_nothing(kind, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", b"1")
        info = zipfile.ZipInfo("b")
        info.create_system, info.external_attr = 3, kind << 16
        archive.writestr(info, b"/etc/passwd")
    with pytest.raises(MissingData, match=r"\[symlink\]; nothing was unpacked"):
        unpacking.unpack(tmp_path / "a.zip", tmp_path / "into")
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip"}


@pytest.mark.parametrize("ending", ["zip", "tar.gz"])
def test_a_bomb_is_stopped_before_it_fills_the_disk(ending, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "SLACK", 10_000)
    archive, zeros = tmp_path / f"a.{ending}", bytes(3_000_000)
    if ending == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("zeros", zeros)
    else:
        tarred(archive, ("zeros", tarfile.REGTYPE, zeros))
    with pytest.raises(MissingData, match=r"\[zip bomb\]"):
        unpacking.unpack(archive, tmp_path / "into")
    assert {path.name for path in tmp_path.iterdir()} == {archive.name}
    monkeypatch.setattr(unpacking, "GROWTH", 10_000)
    monkeypatch.setattr(unpacking, "MEMBERS", 0)
    with pytest.raises(MissingData, match="zip bomb"):
        unpacking.unpack(archive, tmp_path / "into")


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
def test_a_truncated_or_altered_archive_leaves_nothing(ending, tmp_path):
    whole = tmp_path / f"a.{ending}"
    members = {f"folder/{number}": bytes([number]) * 5000 for number in range(20)}
    if ending == "zip":
        with zipfile.ZipFile(whole, "w") as packed:
            for name, content in members.items():
                packed.writestr(name, content)
    else:
        tarred(whole, *((name, tarfile.REGTYPE, content) for name, content in members.items()))
    content = whole.read_bytes()
    unpacking.unpack(whole, tmp_path / "whole")
    assert contents(tmp_path / "whole") == members
    for length in range(0, len(content) - (20_000 if ending == "tar" else 9), max(1, len(content) // 12)):
        whole.write_bytes(content[:length])
        with pytest.raises(MissingData):
            unpacking.unpack(whole, tmp_path / "into")
        assert not (tmp_path / "into").exists(), length


def test_files_are_plain_and_leftovers_of_editors_stay_out(tmp_path):
    names = ("./a/b.txt", "__MACOSX/a/._b.txt", "a/.DS_Store", "a/Thumbs.db")
    archive = tarred(tmp_path / "a.tar", *((name, tarfile.REGTYPE, b"1") for name in names))
    unpacked = unpacking.unpack(archive, tmp_path / "into")
    assert contents(tmp_path / "into") == {"a/b.txt": b"1"} and unpacked.entries == {"a"} and unpacked.bytes == 1
    assert not (tmp_path / "into" / "a" / "b.txt").stat().st_mode & 0o6111


def test_a_folder_is_merged_wholly_or_not_at_all(tmp_path, monkeypatch):
    staging, into = tmp_path / "staging", tmp_path / "into"
    for folder, names in ((staging, ("a/1", "a/2", "b/3", "README")), (into, ("a/1", "a/mine", "README"))):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"{name} of {folder.name if name == 'README' else 'both'}")
    before, renamed = contents(into), []
    rename = Path.rename

    def fails_at_the_second(path, target):
        renamed.append(path)
        if len(renamed) == 2:
            raise OSError(5, "Input/output error")
        return rename(path, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", fails_at_the_second)
        with pytest.raises(OSError, match="Input/output"):
            unpacking.merge(staging, into)
    assert contents(into) == before
    unpacking.merge(staging, into)
    assert contents(into).keys() == {"a/1", "a/2", "a/mine", "b/3", "README"}
    assert (into / "README").read_text() == "README of into"
    (staging / "a").mkdir(exist_ok=True)
    (staging / "a" / "1").write_text("other")
    with pytest.raises(CannotWrite, match="is there already and differs"):
        unpacking.merge(staging, into)
    (into / "c").write_text("a file")
    (staging / "c").mkdir()
    (staging / "a" / "1").unlink()
    with pytest.raises(CannotWrite, match="is in the way: the archive has a folder there"):
        unpacking.merge(staging, into)
