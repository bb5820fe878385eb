"""``bench data fetch`` against a server with the faults that real ones have: whole or not at all, and one line."""

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from contextlib import suppress
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.core import downloads, locks, unpacking
from bench.data import fetch, fetch_lock
from bench.data.layouts import writers
from bench.datasets import archives
from bench.datasets.archives import Archive, Source
from bench.suite import registry
from tests.running import until
from tests.serving import packed, serving

MEMBERS = {f"images/{number}.bin": os.urandom(20_000) for number in range(8)} | {"README": b"made up"}
CONTENT = packed(MEMBERS)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(downloads, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.delenv("BENCH_MIRROR", raising=False)


@pytest.fixture
def server():
    with serving() as served:
        yield served


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "made_up"


@pytest.fixture
def offer(monkeypatch):
    """Have the table hold one made-up data set."""

    def made(*urls, file="a.zip", content=CONTENT, name="made_up", **words):
        if "md5" not in words:
            words = {"sha256": hashlib.sha256(content).hexdigest()} | words
        files = (Archive(file, urls, **words),)
        source = Source(name, files, page="https://example.org/page", terms="for tests alone")
        monkeypatch.setattr(archives, "sources", lambda: {name: source})
        return source

    return made


def run(capsys, *words):
    """Exit status, standard output and standard error of a fetch."""
    status = main(["data", "fetch", "made_up", "--accept", *words])
    out, err = capsys.readouterr()
    return status, out, err


def refused(capsys, *words):
    """The one line that a refused fetch says."""
    status, _, err = run(capsys, *words)
    assert status == 2 and len(err.splitlines()) == 1 and err.startswith("bench: "), err
    return err


def contents(root):
    """What lies in a folder of data, without what the program keeps there."""
    if not root.exists():
        return {}
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name not in (fetch_lock.NAME, fetch.LOCK)
    }


def ranges(server):
    return [headers.get("Range", "") for _, _, headers in server.asked]


def test_a_whole_archive_is_unpacked_and_noted(server, root, offer, capsys):
    offer(server.add("/a.zip", CONTENT), bytes=len(CONTENT))
    status, out, _ = run(capsys)
    assert status == 0 and contents(root) == MEMBERS
    assert "for tests alone" in out and f"a.zip ({archives.in_words(len(CONTENT))})" in out
    noted = json.loads((root / fetch_lock.NAME).read_text())
    assert noted["files"]["a.zip"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert noted["files"]["a.zip"]["address"] == f"{server.address}/a.zip"
    assert run(capsys)[1] == f"made_up: complete in {root}\n" and len(server.asked) == 1


def test_terms_are_accepted_once(server, root, offer, capsys):
    source = offer(server.add("/a.zip", CONTENT))
    assert main(["data", "fetch", "made_up"]) == 2 and not server.asked
    assert "say --accept" in capsys.readouterr().err and not root.exists()
    assert run(capsys)[0] == 0
    shutil.rmtree(root / "images")
    assert main(["data", "fetch", "made_up"]) == 0 and contents(root) == MEMBERS
    other = Source("made_up", source.files, terms="other terms")
    assert not fetch.plan(other, other.files, root).accepted


def test_a_connection_that_breaks_off_is_taken_up_where_it_broke(server, root, offer, capsys):
    offer(server.add("/a.zip", CONTENT))
    server.cut["/a.zip"] = [50_000, 30_000]
    assert run(capsys)[0] == 0 and contents(root) == MEMBERS
    assert ranges(server) == ["", "bytes=50000-", "bytes=80000-"]


def test_a_server_without_ranges_is_read_from_the_beginning(server, root, offer, capsys):
    offer(server.add("/a.zip", CONTENT))
    server.cut["/a.zip"], server.ranges = [50_000], False
    assert run(capsys)[0] == 0 and contents(root) == MEMBERS


def test_a_cut_is_resumed_by_the_next_command_and_from_a_mirror(server, root, offer, capsys):
    first, second = server.add("/a.zip", CONTENT), server.add("/mirror/a.zip", CONTENT)
    offer(first)
    server.cut["/a.zip"] = [40_000, 0, 0, 0, 0]
    assert "broke off after 40000 bytes" in refused(capsys)
    assert contents(root).keys() == {"a.zip.part", "a.zip.part.json"}
    offer(second)
    server.asked.clear()
    assert run(capsys)[0] == 0 and contents(root) == MEMBERS and ranges(server) == ["bytes=40000-"]


def test_halves_of_two_versions_are_never_joined(server, root, offer, capsys):
    other = packed({"images/0.bin": os.urandom(150_000)})
    offer(server.add("/a.zip", other), sha256="")
    server.cut["/a.zip"] = [40_000, 0, 0, 0, 0]
    refused(capsys)
    server.files["/a.zip"] = CONTENT  # without a published checksum the server's word on the version decides
    assert run(capsys)[0] == 0 and contents(root) == MEMBERS


def test_a_part_of_another_file_is_thrown_away_once_the_checksum_is_wrong(server, root, offer, capsys):
    offer(server.add("/a.zip", CONTENT))
    root.mkdir(parents=True)
    (root / "a.zip.part").write_bytes(b"x" * 1000)
    assert run(capsys)[0] == 0 and contents(root) == MEMBERS
    assert ranges(server) == ["bytes=1000-", ""]


def test_a_part_that_is_whole_is_not_asked_for_again(server, root, offer, capsys):
    offer(server.add("/a.zip", CONTENT), bytes=len(CONTENT))
    root.mkdir(parents=True)
    (root / "a.zip.part").write_bytes(CONTENT)
    assert run(capsys)[0] == 0 and contents(root) == MEMBERS and not server.asked


def test_a_wrong_checksum_leaves_nothing_and_the_next_mirror_is_asked(server, root, offer, capsys):
    other = packed({"a": b"other"})
    wrong, right = server.add("/wrong.zip", other), server.add("/right.zip", CONTENT)
    offer(wrong)
    line = refused(capsys)
    digest = hashlib.sha256(other).hexdigest()
    assert f"{wrong}: sha256 {digest}, wanted {hashlib.sha256(CONTENT).hexdigest()}" in line
    assert not contents(root)
    offer(wrong, right)
    assert run(capsys)[0] == 0 and contents(root) == MEMBERS


def test_addresses_are_tried_in_their_order_and_all_are_named(server, root, offer, capsys):
    offer(f"{server.address}/one", f"{server.address}/two")
    server.statuses["/two"] = 403
    line = refused(capsys)
    assert f"{server.address}/one: 404 Not Found; {server.address}/two: 403 Forbidden" in line
    assert "put it into" in line and "--url a.zip=URL" in line
    assert server.paths() == ["/one", "/two"] and not contents(root)


def test_an_institute_has_its_mirror_tried_first(server, root, offer, capsys, monkeypatch):
    server.add("/kept/made_up/a.zip", CONTENT)
    offer(server.add("/a.zip", CONTENT))
    monkeypatch.setenv("BENCH_MIRROR", f"{server.address}/empty {server.address}/kept/")
    assert run(capsys)[0] == 0 and server.paths() == ["/empty/made_up/a.zip", "/kept/made_up/a.zip"]


def test_a_file_of_this_machine_is_an_address(root, offer, tmp_path, capsys, server):
    offer(f"{server.address}/a.zip")
    (tmp_path / "kept.zip").write_bytes(CONTENT)
    assert run(capsys, "--url", f"a.zip={(tmp_path / 'kept.zip').as_uri()}")[0] == 0
    assert contents(root) == MEMBERS and not server.asked and (tmp_path / "kept.zip").exists()


@pytest.mark.parametrize(
    "url", ["ftp://example.org/a.zip", "/mnt/a.zip", "file://host/a.zip", "javascript:1", "http://"]
)
def test_other_addresses_are_refused(url, root, offer, capsys):
    offer("http://127.0.0.1:9/a.zip")
    assert "--url a.zip: " in refused(capsys, "--url", f"a.zip={url}") and not contents(root)


def test_redirects_are_followed_inside_the_network_alone(server, root, offer, capsys, tmp_path):
    (tmp_path / "kept.zip").write_bytes(CONTENT)
    server.add("/a.zip", CONTENT)
    server.redirects |= {"/moved": "/again", "/again": f"{server.address}/a.zip", "/round": "/round"}
    server.redirects |= {"/file": (tmp_path / "kept.zip").as_uri()}
    offer(f"{server.address}/file")
    assert "redirects to file:, which is not followed" in refused(capsys) and not contents(root)
    offer(f"{server.address}/round")
    assert "redirects more than 10 times" in refused(capsys)
    offer(f"{server.address}/moved")
    assert run(capsys)[0] == 0 and contents(root) == MEMBERS


def test_a_redirect_takes_neither_token_nor_password_to_another_host(server, tmp_path):
    content = server.add("/a.zip", CONTENT).replace("127.0.0.1", "localhost")
    server.redirects["/away"] = content
    address = downloads.Address(f"{server.address}/away".replace("//", "//me:secret@"), {"X-Token": "secret"})
    assert str(address) == f"{server.address}/away"
    with downloads.session() as over:
        downloads.fetch(address, tmp_path / "a.zip", over=over, pinned=True)
    (_, _, first), (_, _, second) = server.asked
    assert first["X-Token"] == "secret" and first["Authorization"].startswith("Basic ")
    assert "X-Token" not in second and "Authorization" not in second
    with pytest.raises(downloads.Unreachable, match="redirects from https to http://other"):
        downloads._redirected("https://here.org/a", "http://other.org/a")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
@pytest.mark.parametrize("member", ["../out.txt", "images/../../out.txt", "/out.txt", "C:/out.txt", "a\\..\\out.txt"])
def test_an_archive_that_climbs_out_of_its_folder_leaves_nothing(name, member, server, root, offer, capsys):
    content = packed({"images/0.bin": b"1", member: b"2"}, name)
    offer(server.add(f"/{name}", content), file=name, content=content)
    assert "path traversal" in refused(capsys)
    assert contents(root).keys() == {name} and not list(root.parent.parent.rglob("out.txt"))


def test_a_full_disk_keeps_what_has_come(server, root, offer, capsys, monkeypatch):
    offer(server.add("/a.zip", CONTENT))
    opened = Path.open

    class Full:
        def __init__(self, file):
            self.file, self.room = file, 60_000

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, piece):
            self.file.write(piece[: self.room])
            if len(piece) > self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.room -= len(piece)

    def on_a_full_disk(path, mode="r", **more):
        file = opened(path, mode, **more)
        return Full(file) if path.suffix == ".part" and mode in ("wb", "ab") else file

    with monkeypatch.context() as full:
        full.setattr(downloads, "PIECE", 2**14)
        full.setattr(Path, "open", on_a_full_disk)
        line = refused(capsys)
    assert "no room left after" in line and "run the same command again" in line
    assert 0 < (root / "a.zip.part").stat().st_size < len(CONTENT)
    server.asked.clear()
    assert run(capsys)[0] == 0 and contents(root) == MEMBERS and ranges(server)[0].startswith("bytes=")


def test_a_disk_that_is_full_while_it_is_unpacked_leaves_the_archive(server, root, offer, capsys, monkeypatch):
    offer(server.add("/a.zip", CONTENT))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as without_room:
        without_room.setattr(unpacking, "merge", full)
        assert "no room left to unpack a.zip" in refused(capsys)
    assert contents(root) == {"a.zip": CONTENT}
    assert run(capsys)[0] == 0 and contents(root) == MEMBERS and len(server.asked) == 1


def test_a_disk_that_is_too_small_is_said_before_anything_is_asked(server, root, offer, capsys, monkeypatch):
    usage = namedtuple("usage", "total used free")
    offer(server.add("/a.zip", CONTENT), bytes=len(CONTENT))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, len(CONTENT) + 10))
    line = refused(capsys)
    assert "are to be downloaded" in line and "are free" in line and not server.asked and not root.exists()
    offer(server.add("/a.zip", CONTENT))  # no size is published: the server tells it
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 1000))
    assert f"{len(CONTENT)} bytes are to come and 1000 are free" in refused(capsys)


@pytest.mark.parametrize("content", [b"<html>log in</html>", CONTENT[:-4000], b""], ids=["page", "cut", "empty"])
def test_what_is_no_archive_is_not_taken_for_one(content, server, root, offer, capsys):
    offer(server.add("/a.zip", content), sha256="")
    assert "a.zip" in refused(capsys) and contents(root).keys() <= {"a.zip"}
    assert not fetch_lock.read(root).files


def test_a_file_without_a_published_checksum_is_pinned_by_what_came_first(server, root, offer, capsys):
    offer(server.add("/a.zip", CONTENT), md5=hashlib.md5(CONTENT, usedforsecurity=False).hexdigest())
    _, out, _ = run(capsys)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert f"sha256 {digest}, kept in archives.lock" in out
    shutil.rmtree(root / "images")
    other = packed({"images/0.bin": b"other"})
    offer(server.add("/a.zip", other), md5=hashlib.md5(other, usedforsecurity=False).hexdigest())
    assert f"sha256 {hashlib.sha256(other).hexdigest()}, wanted {digest}" in refused(capsys)


def test_an_archive_that_was_put_there_by_hand_is_verified_and_unpacked(root, offer, capsys):
    offer(account="page")
    line = refused(capsys)
    assert "is given on https://example.org/page after registration; put it into" in line
    (root / "a.zip").write_bytes(packed({"a": b"other"}))
    assert "remove it, or put the right file there" in refused(capsys) and (root / "a.zip").exists()
    (root / "a.zip").write_bytes(CONTENT)
    assert run(capsys)[0] == 0 and contents(root) == MEMBERS | {"a.zip": CONTENT}


def test_files_that_are_there_and_differ_are_never_written_over(server, root, offer, capsys):
    offer(server.add("/a.zip", CONTENT))
    (root / "images").mkdir(parents=True)
    (root / "images" / "0.bin").write_bytes(b"mine")
    (root / "images" / "mine.bin").write_bytes(b"mine")
    assert f"{root / 'images' / '0.bin'} is there already and differs" in refused(capsys)
    assert {"images/0.bin", "images/mine.bin", "a.zip"} == contents(root).keys()
    (root / "images" / "0.bin").write_bytes(MEMBERS["images/0.bin"])
    assert run(capsys)[0] == 0 and contents(root) == MEMBERS | {"images/mine.bin": b"mine"}


def test_a_damaged_lock_file_is_named(root, offer, capsys):
    offer("http://127.0.0.1:9/a.zip")
    root.mkdir(parents=True)
    (root / fetch_lock.NAME).write_text('{"files": 3}')
    assert f"{root / fetch_lock.NAME} cannot be read" in refused(capsys)


def test_two_fetches_at_once_do_not_meet(server, root, offer, capsys):
    offer(server.add("/a.zip", CONTENT))
    root.mkdir(parents=True)
    with locks.locked(root / fetch.LOCK):
        assert "another 'bench data fetch' is at work there" in refused(capsys) and not server.asked
    assert run(capsys)[0] == 0


SCRIPT = """
import sys
from bench.cli.main import main
from bench.core import downloads
from bench.datasets import archives
url, sha256 = sys.argv[1:]
source = archives.Source("made_up", (archives.Archive("a.zip", (url,), sha256=sha256),), terms="for tests alone")
archives.sources = lambda: {"made_up": source}
sys.exit(main(["data", "fetch", "made_up", "--accept"]))
"""


def test_ctrl_c_and_the_same_command_again(server, root, offer, capsys):
    content = packed({"big.bin": os.urandom(6_000_000)})
    address, digest = server.add("/a.zip", content), hashlib.sha256(content).hexdigest()
    server.cut["/a.zip"] = [3_000_000, 0, 0, 0, 0]  # then it waits to try again
    words = [sys.executable, "-c", SCRIPT, address, digest]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    part = root / "a.zip.part"
    with suppress(FileNotFoundError):
        until(lambda: part.exists() and part.stat().st_size == 3_000_000)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on" in err
    assert contents(root).keys() == {"a.zip.part", "a.zip.part.json"}
    server.cut.clear()
    server.asked.clear()
    offer(address, content=content)
    assert run(capsys)[0] == 0 and contents(root).keys() == {"big.bin"} and ranges(server) == ["bytes=3000000-"]


def test_to_names_another_folder(server, root, offer, capsys, tmp_path):
    offer(server.add("/a.zip", CONTENT))
    status, out, _ = run(capsys, "--to", str(tmp_path / "other"))
    assert status == 0 and contents(tmp_path / "other" / "made_up") == MEMBERS and not root.exists()
    assert f"set BENCH_DATA={tmp_path / 'other'}" in out


def test_list_says_what_is_there_and_what_the_rest_costs(server, root, offer, capsys):
    offer(server.add("/a.zip", CONTENT), bytes=len(CONTENT))
    assert main(["data", "fetch", "--list"]) == 0
    size = archives.in_words(len(CONTENT))
    assert capsys.readouterr().out == f"made_up               1 file, {size} to download\n"
    root.mkdir(parents=True)
    (root / "a.zip.part").write_bytes(CONTENT[:1000])
    assert main(["data", "fetch", "made_up", "--list"]) == 0
    out = capsys.readouterr().out
    assert f"a.zip: cut off after 1 kB, {size}, sha256 " in out and "to download:" in out and not server.asked
    run(capsys)
    assert main(["data", "fetch", "made_up", "--list"]) == 0
    out = capsys.readouterr().out
    assert "a.zip: complete" in out and "(accepted)" in out and "to download" not in out


def test_wrong_words_are_one_line(offer, capsys):
    offer("http://127.0.0.1:9/a.zip")
    for words, text in (
        (["data", "fetch"], "name a data set"),
        (["data", "fetch", "made_upp"], "made_up"),
        (["data", "fetch", "made_up", "--part", "b"], "has no part b"),
        (["data", "fetch", "made_up", "--version", "2"], "has no version 2"),
        (["data", "fetch", "made_up", "--url", "a.zip"], "wanted FILE=URL"),
    ):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert text in err and len(err.splitlines()) == 1


def test_parts_choose_files():
    def files(name, parts=(), version=None):
        return [archive.file for archive in fetch.chosen(archives.of(name), parts, version)]

    assert files("fishyscapes", ["static"], 3) == ["fs_val_v3.zip"]
    assert files("fishyscapes", ["static"]) == ["fs_val_v1.zip", "fs_val_v2.zip", "fs_val_v3.zip"]
    assert len(files("fishyscapes")) == 4 and len(files("lost_and_found")) == 2
    assert files("coco", ["val2017"]) == ["val2017.zip", "annotations_trainval2017.zip"]
    assert files("lost_and_found", ["disparity", "gtCoarse.zip"]) == ["gtCoarse.zip", "disparity.zip"]
    assert files("smiyc", ["RoadObstacle21"]) == ["dataset_ObstacleTrack.zip"]


def test_check_fetches_what_a_suite_lacks_and_what_that_needs(server, tmp_path, monkeypatch, capsys):
    scenes = registry.build(
        "dataset", "toytown", {"split": "anomaly", "images": 6, "height": 64, "width": 128}, where="test"
    )
    writers.write("fishyscapes", scenes, tmp_path / "written")
    flat = tmp_path / "written" / "fishyscapes_lostandfound"
    masks = packed({path.name: path.read_bytes() for path in flat.iterdir()})
    inner = tmp_path / "written" / "lost_and_found"
    images = packed({p.relative_to(inner).as_posix(): p.read_bytes() for p in inner.rglob("*") if p.is_file()})
    table = {
        "fishyscapes": Source(
            "fishyscapes",
            (
                Archive(
                    "fishyscapes_lostandfound.zip",
                    (server.add("/masks.zip", masks),),
                    when={"set": ("lost_and_found",)},
                    into="fishyscapes_lostandfound",
                    needs=("lost_and_found",),
                ),
                Archive("fs_val_v3.zip", (f"{server.address}/never",), when={"set": ("static",)}),
            ),
            terms="of masks",
        ),
        "lost_and_found": Source(
            "lost_and_found", (Archive("leftImg8bit.zip", (server.add("/images.zip", images),)),), terms="of images"
        ),
    }
    monkeypatch.setattr(archives, "sources", lambda: table)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "protocols: [anomaly]\nmodels: [toynet]\nmethods: [msp]\ndatasets:\n"
        "  - fishyscapes: {set: lost_and_found, frames: 6, optional: true}\n"
        "  - toytown: {split: anomaly, images: 2, height: 64, width: 128}\n"
    )
    words = ["check", str(suite), "--no-network"]
    assert main([*words, "--accept"]) == 2 and "say --fetch" in capsys.readouterr().err
    assert main([*words, "--fetch"]) == 2 and "of images" in capsys.readouterr().err and not server.asked
    assert main([*words, "--fetch", "--accept"]) == 0
    assert server.paths() == ["/images.zip", "/masks.zip"]
    assert "8 images; ready to run" in capsys.readouterr().out
    assert main([*words, "--fetch"]) == 0 and len(server.asked) == 2
