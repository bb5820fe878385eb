"""Every line of the table of archives, from a mirror of made-up ones: fetched, unpacked, and checked where it is read.

A new data set is tested here as soon as it stands in the table; if it has a reader and a writer of its layout, with the
scenes of toytown in it.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bench.cli.main import main
from bench.core import unpacking
from bench.core.errors import UserError
from bench.data import fetch
from bench.data.layouts import writers
from bench.datasets import archives
from bench.datasets.archives import ALL
from bench.suite import registry
from tests.serving import packed, serving

IMAGES = 6
SETS = tuple(archives.sources())
SMALL = {"coco": {"minimum": 1}}  # parameters without which a reader passes over small images


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    """The folder of a data set with all its layouts in it that go together; empty where there are none."""
    folders: dict[str, Path] = {}

    def made(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            for layout in writers.LAYOUTS:
                if layout == name or layout.startswith(f"{name}_"):
                    split = writers.find(layout).split
                    params = {"split": split, "images": IMAGES, "height": 64, "width": 128}
                    scenes = registry.build("dataset", "toytown", params, where="test")
                    try:
                        writers.write(layout, scenes, folders[name])
                    except UserError:
                        continue  # copies of one data set that use the same folders
        return folders[name]

    return made


def members(folder, entry):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in (folder / entry).rglob("*") if path.is_file()
    }


def unpacks(source):
    """True for a data set that comes in archives: a mirror has no folders, as Google Drive has."""
    return any(unpacking.is_archive(archive.file) for archive in source.files if not archive.extra)


def made_up(source, folder):
    """The archives of a data set by name: each has the folder that it is unpacked into, the others all the rest."""
    entries = {entry.name for entry in folder.iterdir()} if unpacks(source) else set()
    flat = {archive.into for archive in source.files if archive.into}
    rest = {name: content for entry in sorted(entries - flat) for name, content in members(folder, entry).items()}
    contents = {}
    for archive in source.files:
        if archive.into and archive.into in entries:
            inner = members(folder / archive.into, ".")
        else:
            inner = {} if archive.into else rest
        contents[archive.file] = packed(inner or {f"{archive.file}.txt": archive.file.encode()}, archive.file)
    return contents


@pytest.fixture
def mirror(monkeypatch, laid_out, tmp_path):
    """Put made-up archives of a data set on a mirror, and have the table hold their checksums."""
    with serving() as served:
        monkeypatch.setenv("BENCH_MIRROR", served.address)
        monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))

        def made(name):
            source = archives.of(name)
            folder = laid_out(name)
            files = []
            for archive in source.files:
                content = made_up(source, folder)[archive.file]
                if archive.file == ALL:
                    address = served.add(f"/{name}/kept.zip", packed({"kept.txt": b"kept"}))
                    md5 = hashlib.md5(served.files[f"/{name}/kept.zip"], usedforsecurity=False).hexdigest()
                    row = {"key": "kept.zip", "size": 121, "checksum": f"md5:{md5}", "links": {"self": address}}
                    row["size"] = len(served.files[f"/{name}/kept.zip"])
                    served.add(f"/{name}/record.json", json.dumps({"files": [row]}).encode())
                else:
                    served.add(f"/{name}/{archive.file}", content)
                digest = hashlib.sha256(content).hexdigest() if archive.sha256 else ""
                md5 = hashlib.md5(content, usedforsecurity=False).hexdigest() if archive.md5 else ""
                sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest() if archive.sha1 else ""
                size = len(content) if archive.bytes else None
                about = len(content) if archive.about else None
                files.append(replace(archive, bytes=size, about=about, sha256=digest, md5=md5, sha1=sha1))
            read = [readable(name, params, folder) for params in fetch.entries(source)]
            checks = tuple(filter(None, read)) if unpacks(source) else ()
            known = {**archives.sources(), name: replace(source, files=tuple(files), check=checks)}
            monkeypatch.setattr(archives, "sources", lambda: known)
            return archives.of(name)

        yield made


def readable(name, params, folder):
    """The parameters with as many frames as a folder has for them; None where it has none."""
    if name not in registry.available("dataset"):
        return None
    from bench.core import files

    (folder.parent / "roots").mkdir(exist_ok=True)
    root = folder.parent / "roots" / name
    if not root.exists():
        root.symlink_to(folder)
    with files.rooted(root.parent):
        for frames in range(1, IMAGES + 1):
            try:
                entry = {**params, **SMALL.get(name, {}), "frames": frames}
                registry.build("dataset", name, entry, where="test").ids()
            except UserError:
                continue
            return entry
    return None


@pytest.mark.parametrize("name", SETS)
def test_every_archive_of_the_table_is_fetched_and_what_is_read_is_whole(name, mirror, laid_out, tmp_path, capsys):
    source, root = mirror(name), tmp_path / "data" / name
    flat = {archive.into for archive in source.files}
    if all(flat):  # the base images of Fishyscapes are no part of its archives
        for entry in laid_out(name).iterdir():
            if entry.name not in flat:
                root.mkdir(parents=True, exist_ok=True)
                (root / entry.name).symlink_to(entry)
    assert main(["data", "fetch", name, "--accept"]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if "frames, as they must be" in line] == [
        f"{name}{''.join(f' {value}' for value in params.values())}: {params['frames']} frames, as they must be"
        for params in source.check
    ]
    extra = [option for archive in source.files if archive.extra for option in ("--part", archive.file)]
    if extra:
        assert main(["data", "fetch", name, *extra]) == 0, capsys.readouterr().err
    noted = json.loads((root / "archives.lock").read_text())["files"]
    assert noted.keys() >= {archive.file for archive in source.files}
    for archive in source.files:
        kept = archive.keep or not unpacking.is_archive(archive.file)
        assert archive.file == ALL or (root / archive.file).exists() == kept
        assert all((root / archive.into / entry).exists() for entry in noted[archive.file]["entries"])
    assert not list(root.glob("*.part*")) and not list(root.rglob(".unpacking-*"))
    assert main(["data", "fetch", name]) == 0
    assert f"{name}: complete in {root}" in capsys.readouterr().out
    if source.check:
        assert main(["check", str(suite(name, source, tmp_path)), "--no-network"]) == 0, capsys.readouterr().err


def suite(name, source, folder):
    """A suite of all that the reader of a data set reads."""
    path = folder / "suite.yaml"
    entries = [{name: dict(params)} for params in source.check]
    kinds = {
        kind
        for params in source.check
        for kind in registry.build("dataset", name, dict(params), where="test").annotations
    }
    protocols = [
        {"anomaly": "anomaly", "labels": "misclassification", "instances": "instances"}[kind] for kind in sorted(kinds)
    ]
    path.write_text(
        yaml.safe_dump({"protocols": protocols, "models": ["toynet"], "datasets": entries, "methods": ["msp"]})
    )
    return path


def test_every_reader_with_a_layout_of_its_own_is_read_in_full(laid_out):
    """No entry of ``check`` is passed over where the layout is written."""
    for name in SETS:
        if any(layout == name or layout.startswith(f"{name}_") for layout in writers.LAYOUTS):
            read = [readable(name, params, laid_out(name)) for params in fetch.entries(archives.of(name))]
            assert any(params is not None for params in read), name
