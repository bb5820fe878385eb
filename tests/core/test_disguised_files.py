"""What a file really is, whatever its name says."""

import gzip
import io
import json
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from bench.core.disguised_files import content_of, disguise


def _bytes(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def _tar(buffer):
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())


def _zip(*names):
    def write(buffer):
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in names:
                archive.writestr(name, b"")

    return _bytes(write)


def _hdf5(buffer):
    import h5py

    with h5py.File(buffer, "w") as file:
        file["value"] = np.zeros(3)


TENSORS = {"weight": torch.zeros(2)}
DRIVE = b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head></html>"
FILES = {
    "html": b"\n<html><body>Please log in</body></html>",
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "annex": b"/annex/objects/SHA256E-s31390--f50d.pth\n",
    "xml": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "json": json.dumps({"error": "Repository not found"}).encode(),
    "empty": b"",
    "zip": _zip("weights.pth"),
    "npz": _bytes(lambda buffer: np.savez(buffer, a=np.zeros(2))),
    "torch": _bytes(lambda buffer: torch.save(TENSORS, buffer)),
    "torchscript": _bytes(lambda buffer: torch.jit.save(torch.jit.script(torch.nn.ReLU()), buffer)),
    "pt2": _zip("net/archive_format", "net/data.pkl"),
    "pickle": pickle.dumps({"a": 1}),
    "safetensors": save(TENSORS),
    "hdf5": _bytes(_hdf5),
    "npy": _bytes(lambda buffer: np.save(buffer, np.zeros(2))),
    "tar": _bytes(_tar),
    "gzip": gzip.compress(b"something"),
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "pdf": b"%PDF-1.7\n",
    "png": _bytes(lambda buffer: Image.new("L", (2, 2)).save(buffer, "PNG")),
    "webp": _bytes(lambda buffer: Image.new("RGB", (2, 2)).save(buffer, "WEBP")),
    "broken zip": _bytes(lambda buffer: torch.save(TENSORS, buffer))[:-30],
}


@pytest.mark.parametrize("kind", FILES)
def test_the_format_is_told_by_content_whatever_the_name(kind, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(FILES[kind])
    content = content_of(path)
    assert content is not None
    assert content.kind == kind
    assert disguise(path, kind) == ""
    assert disguise(path, "another") == "it is " + "; ".join(filter(None, [content.words, content.cure]))


def test_files_of_older_torch_are_known(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=False)
    assert content_of(path).kind == "torch"


def test_bytes_that_say_nothing_are_nothing(tmp_path):
    for head in (b"\x00" * 64, b"plain words", b"BA", b"1 2 3"):
        assert content_of(head) is None
    assert disguise(tmp_path / "absent", "torch") == ""


def test_a_page_of_google_drive_comes_with_a_cure():
    assert "'Google Drive - Virus scan warning'" in disguise(DRIVE, "torch")
    assert "gdown" in disguise(DRIVE, "torch")


def test_a_title_says_nothing_to_the_terminal():
    text = disguise(b"<html><title>\x1b[31mred\n\x07</title></html>", "torch")
    assert text.isprintable()
