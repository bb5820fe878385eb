"""Hosts of their own kind: Cityscapes, ACDC, Hugging Face, Google Drive and Zenodo, as their interfaces answer."""

import hashlib
import json
import sys
from urllib.parse import parse_qs

import pytest

from bench.cli import fetch as commands
from bench.cli.main import main
from bench.core import downloads
from bench.core.errors import MissingData
from bench.data import fetch_sources
from bench.data.fetch_sources import Wanted
from bench.datasets import archives
from bench.datasets.archives import ALL, Archive, Source
from tests.serving import packed, serving

MEMBERS = {"gtFine/val/a.bin": b"labels" * 1000, "README": b"made up"}
CONTENT = packed(MEMBERS)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setattr(downloads, "WAITS", (0.0,))
    for name in ("BENCH_MIRROR", "CITYSCAPES_USERNAME", "CITYSCAPES_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    with serving() as served:
        yield served


@pytest.fixture
def offer(monkeypatch):
    def made(*urls, file="a.zip", **words):
        source = Source("made_up", (Archive(file, urls, **words),), page="https://example.org", terms="for tests alone")
        monkeypatch.setattr(archives, "sources", lambda: {"made_up": source})

    return made


def run(*words):
    return main(["data", "fetch", "made_up", "--accept", *words])


def cityscapes(server, md5=MD5):
    """Have a server answer as that of Cityscapes does to csDownload (cityscapesscripts 2.3.0)."""
    server.add("/file-handling/", CONTENT)
    server.answers["/md5-sum/?packageID=1"] = f"{md5}  a.zip\n".encode()
    server.answers["/downloads/?list"] = json.dumps([{"name": "a.zip", "packageID": "1", "size": "1KB"}]).encode()
    return f"{server.address}/file-handling/?packageID=1"


def unpacked(tmp_path):
    return (tmp_path / "data" / "made_up" / "gtFine" / "val" / "a.bin").read_bytes() == b"labels" * 1000


def secrets(tmp_path):
    """Files below a folder in which a password stands."""
    return [path for path in tmp_path.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]


def test_cityscapes_is_asked_as_its_own_program_does_with_range_and_md5(server, offer, monkeypatch, tmp_path):
    offer(cityscapes(server), account="cityscapes")
    server.cut["/file-handling/"] = [1000]
    monkeypatch.setenv("CITYSCAPES_USERNAME", "me")
    monkeypatch.setenv("CITYSCAPES_PASSWORD", "secret")
    assert run() == 0 and unpacked(tmp_path) and not secrets(tmp_path)
    (method, path, headers), *rest = server.asked
    assert (method, path) == ("POST", "/login")
    assert parse_qs(headers["body"]) == {"username": ["me"], "password": ["secret"], "submit": ["Login"]}
    assert [path for _, path, _ in rest] == ["/md5-sum/?packageID=1"] + ["/file-handling/?packageID=1"] * 2
    assert all(headers["Cookie"] == "session=known" for _, _, headers in rest)
    assert rest[-1][2]["Range"] == "bytes=1000-"


def test_a_package_without_a_number_is_looked_up_and_a_wrong_md5_of_the_server_is_seen(
    server, offer, monkeypatch, tmp_path, capsys
):
    cityscapes(server, "0" * 32)
    offer(f"{server.address}/downloads/?list", account="cityscapes")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    assert run() == 2 and f"md5 {MD5}, wanted {'0' * 32}" in capsys.readouterr().err
    assert "/downloads/?list" in server.paths() and secrets(tmp_path) == [tmp_path / "netrc"]


def test_a_wrong_password_and_none_at_all_are_one_line(server, offer, monkeypatch, tmp_path, capsys):
    offer(cityscapes(server), account="cityscapes")
    assert run() == 2
    err = capsys.readouterr().err
    assert "$CITYSCAPES_USERNAME and $CITYSCAPES_PASSWORD" in err and len(err.splitlines()) == 1 and not server.asked
    monkeypatch.setenv("CITYSCAPES_USERNAME", "me")
    monkeypatch.setenv("CITYSCAPES_PASSWORD", "other")
    assert run() == 2 and "does not know this user name and password" in capsys.readouterr().err
    assert server.paths() == ["/login"]


def test_a_name_and_a_password_are_asked_for_on_a_terminal(server, offer, monkeypatch, tmp_path):
    offer(cityscapes(server), account="cityscapes")
    asked = []

    def answer(question, hidden):
        asked.append((question, hidden))
        return "secret" if hidden else "me"

    wanted = Wanted(ask=answer)
    (archive,) = archives.of("made_up").files
    found = fetch_sources.offer(archive.address, archive, downloads.session(), wanted)
    assert found.sums == {"md5": MD5}
    assert asked == [("user name for 127.0.0.1", False), ("password for 127.0.0.1", True)]


def test_an_address_of_the_users_own_is_told_no_password(server, offer, monkeypatch, tmp_path):
    offer("https://www.example.org/file-handling/?packageID=1", account="cityscapes")
    monkeypatch.setenv("CITYSCAPES_USERNAME", "me")
    monkeypatch.setenv("CITYSCAPES_PASSWORD", "secret")
    assert run("--url", f"a.zip={server.add('/mine.zip', CONTENT)}") == 0 and unpacked(tmp_path)
    assert [(method, path) for method, path, _ in server.asked] == [("GET", "/mine.zip")]
    assert "secret" not in str(server.asked)


def test_a_token_of_acdc_counts_once_and_each_attempt_asks_for_a_new_one(server, offer, tmp_path, capsys):
    offer(f"{server.address}/api/packages", account="acdc")
    packages = [{"name": "b.zip", "packageId": "1"}, {"name": "a.zip", "packageId": "2", "md5": MD5}]
    server.answers["/api/packages"] = json.dumps({"packages": packages}).encode()
    server.answers["/api/getPackageUri/2"] = json.dumps({"token": "t/1"}).encode()
    server.add("/api/downloadPackage/t%2F1/a.zip", CONTENT)
    assert run() == 0 and unpacked(tmp_path)
    assert server.paths() == ["/api/packages", "/api/getPackageUri/2", "/api/downloadPackage/t%2F1/a.zip"]
    offer(f"{server.address}/api/packages", file="c.zip", account="acdc")
    assert run() == 2 and "does not list c.zip" in capsys.readouterr().err
    server.answers["/api/packages"] = b"[1, 2]"
    assert run() == 2 and "does not list c.zip" in capsys.readouterr().err
    server.answers["/api/packages"] = b"<html>"
    assert run() == 2 and "does not answer in JSON" in capsys.readouterr().err


def test_a_record_of_zenodo_brings_all_its_files_with_size_and_md5(server, offer, tmp_path, capsys):
    root = tmp_path / "data" / "made_up"
    offer(f"{server.address}/api/records/7", file=ALL)
    content = {"a.zip": CONTENT, "labels.json": b"{}"}
    rows = [
        {
            "key": name,
            "size": len(data),
            "checksum": f"md5:{hashlib.md5(data, usedforsecurity=False).hexdigest()}",
            "links": {"self": server.add(f"/api/records/7/files/{name}/content", data)},
        }
        for name, data in content.items()
    ]
    server.answers["/api/records/7"] = json.dumps({"files": rows}).encode()
    assert run() == 0 and unpacked(tmp_path) and (root / "labels.json").read_bytes() == b"{}"
    asked = len(server.asked)
    assert run() == 0 and len(server.asked) == asked
    (root / "labels.json").unlink()
    assert run() == 0 and len(server.asked) == asked + 2  # the record, and the one file
    rows[1]["key"] = "../../labels.json"
    (root / "labels.json").unlink()
    server.answers["/api/records/7"] = json.dumps({"files": rows}).encode()
    assert run() == 2 and "not to be trusted" in capsys.readouterr().err
    server.answers["/api/records/7"] = b'{"files": 3}'
    assert run() == 2 and "does not answer as a record of Zenodo does" in capsys.readouterr().err


def test_google_drive_is_read_by_gdown_and_without_it_the_command_is_printed(
    server, offer, monkeypatch, tmp_path, capsys
):
    url = "https://drive.google.com/uc?id=1abc"
    root = tmp_path / "data" / "made_up"
    offer(url)
    monkeypatch.setitem(sys.modules, "gdown", None)
    assert run() == 2
    err = capsys.readouterr().err
    assert f"type: gdown '{url}' -O {root / 'a.zip'}" in err and "ood-seg-bench[drive]" in err
    (root / "a.zip").write_bytes(CONTENT)  # as that command leaves it
    assert run() == 0 and unpacked(tmp_path)


@pytest.fixture
def drive(monkeypatch):
    """Gdown with its network taken out: what it is asked for, and how it fails."""
    gdown = pytest.importorskip("gdown")
    asked = []

    def download(url, output, *, quiet, resume, progress, timeout, retries):
        asked.append((url, output))
        if "denied" in url:
            raise gdown.FileURLRetrievalError("Cannot retrieve the public link of the file.\nYou may need ...")
        with open(output, "wb") as file:  # noqa: PTH123 - as gdown does
            file.write(CONTENT)
        progress(len(CONTENT), len(CONTENT))
        return output

    def download_folder(url, output, *, quiet, resume, timeout):
        asked.append((url, output))
        from pathlib import Path

        Path(output).mkdir()
        (Path(output) / "a.png").write_bytes(b"1")
        return [str(Path(output) / "a.png")]

    import inspect

    for ours in (download, download_folder):
        known = inspect.signature(getattr(gdown, ours.__name__)).parameters
        assert set(inspect.signature(ours).parameters) <= set(known)
        monkeypatch.setattr(gdown, ours.__name__, ours)
    return asked


def test_a_file_and_a_folder_of_google_drive(server, offer, drive, tmp_path, capsys):
    root = tmp_path / "data" / "made_up"
    offer("https://drive.google.com/uc?id=denied")
    assert run() == 2
    assert "gdown: Cannot retrieve the public link of the file.)" in capsys.readouterr().err
    offer("https://drive.google.com/uc?id=1abc", md5=MD5)
    assert run() == 0 and unpacked(tmp_path) and not list(root.glob("*.drive"))
    offer("https://drive.google.com/drive/folders/1abc", file="folder")
    assert run() == 0 and (root / "folder" / "a.png").read_bytes() == b"1"
    asked = len(drive)
    assert run() == 0 and len(drive) == asked


def test_hugging_face_comes_by_plain_https_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    url = "https://huggingface.co/datasets/ENSTA-U2IS/MUAD/resolve/main/val.zip"
    assert fetch_sources.offer(url, Archive("val.zip", (url,)), None, Wanted()).address.url == url


def test_hugging_face_tells_size_and_sha256_and_has_its_mirrors(server, offer, monkeypatch, tmp_path, capsys):
    hub = pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants, errors
    from huggingface_hub.file_download import HfFileMetadata

    sha256 = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    about = HfFileMetadata("commit", sha256, "elsewhere", len(CONTENT), None)
    asked = []
    monkeypatch.setattr(hub, "get_hf_file_metadata", lambda url, **_: asked.append(url) or about)
    server.add("/datasets/me/made_up/resolve/main/a.zip", CONTENT)
    offer("https://huggingface.co/datasets/me/made_up/resolve/main/a.zip")
    assert run() == 0 and unpacked(tmp_path)
    assert asked == [f"{server.address}/datasets/me/made_up/resolve/main/a.zip"]
    assert server.asked[0][2]["Authorization"] == "Bearer hf_token"
    (tmp_path / "data" / "made_up" / "README").unlink()
    server.files["/datasets/me/made_up/resolve/main/a.zip"] = CONTENT[:-1] + b"x"
    assert run() == 2 and f"wanted {sha256}" in capsys.readouterr().err

    def gone(url, **_):
        raise errors.EntryNotFoundError("404: no such file\nmore")

    monkeypatch.setattr(hub, "get_hf_file_metadata", gone)
    assert run() == 2 and "the hub says: 404: no such file" in capsys.readouterr().err


def test_credentials_of_the_environment_come_before_those_of_netrc(monkeypatch, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine example.org login other password two words\n")
    with pytest.raises(Exception, match=r"netrc cannot be read"):
        fetch_sources.credentials("cityscapes", "example.org", "register", None)
    (tmp_path / "netrc").write_text("machine example.org login other password two\n")
    (tmp_path / "netrc").chmod(0o600)
    assert fetch_sources.credentials("cityscapes", "example.org", "register", None) == ("other", "two")
    monkeypatch.setenv("CITYSCAPES_USERNAME", "me")
    monkeypatch.setenv("CITYSCAPES_PASSWORD", "one")
    assert fetch_sources.credentials("cityscapes", "example.org", "register", None) == ("me", "one")
    monkeypatch.delenv("CITYSCAPES_PASSWORD")
    with pytest.raises(MissingData, match="register, then set"):
        fetch_sources.credentials("cityscapes", "example.com", "register", None)
    assert commands._options(False, []).wanted.ask is None or sys.stdin.isatty()
