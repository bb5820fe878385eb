"""The real format of a file, by its first bytes: for messages about files that are not what their names say."""

from __future__ import annotations

import re
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path

HEAD = 2**14  # bytes that are looked at
_AGAIN = "download the file again"
_DRIVE = "Google Drive sent this page in place of the file: confirm in a browser, or download the file with gdown"
_LEGACY_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save before 1.6: protocol 2, torch's own number
_MAGIC = (  # the beginning of a file, its kind, in words
    (b"%!PS", "postscript", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "postscript", "PostScript"),  # EPS with a preview
    (b"%PDF", "pdf", "a PDF document"),
    (b"\x89HDF\r\n\x1a\n", "hdf5", "an HDF5 file"),
    (b"\x93NUMPY", "npy", "a NumPy array (.npy)"),
    (_LEGACY_TORCH, "torch", "a file of torch.save"),
    (b"\x1f\x8b", "gzip", "gzip-compressed"),
    (b"BZh", "bzip2", "bzip2-compressed"),
    (b"\xfd7zXZ\0", "xz", "xz-compressed"),
    (b"\x28\xb5\x2f\xfd", "zstandard", "zstandard-compressed"),
    (b"7z\xbc\xaf\x27\x1c", "7z", "a 7z archive"),
    (b"Rar!\x1a\x07", "rar", "a RAR archive"),
    (b"\x89PNG\r\n\x1a\n", "png", "a PNG image"),
    (b"\xff\xd8\xff", "jpeg", "a JPEG image"),
    (b"GIF8", "gif", "a GIF image"),
    (b"II*\0", "tiff", "a TIFF image"),
    (b"MM\0*", "tiff", "a TIFF image"),
)
_PACKED = ("gzip", "bzip2", "xz", "zstandard", "7z", "rar", "tar", "zip")
_IN_PLACE = {  # kinds that stand where another file should be, with what helps
    "empty": _AGAIN,
    "lfs": "type git lfs pull in its repository, or download the file itself",
    "annex": "type git annex get in its repository, or download the file itself",
    "html": f"{_AGAIN}, past the page that asks to log in or to confirm",
    "xml": f"{_AGAIN}: the server answered with this text",
    "json": f"{_AGAIN}: the server answered with this text",
}


@dataclass(frozen=True)
class Content:
    """The content of a file, whatever its name says."""

    kind: str  # such as html, lfs, empty, zip, torch, pickle, safetensors, hdf5, npy, png, postscript
    words: str  # the same for people, with an article: "a Git LFS pointer"
    cure: str = ""  # what gets the wanted file; empty where that depends on what is wanted


def content_of(source: Path | bytes) -> Content | None:
    """The format of a file, or of the beginning of one, by its bytes; None where they say nothing.

    Raises OSError where a file cannot be read. Nothing is decoded or unpacked; of a zip the names of its members count.
    """
    path = source if isinstance(source, Path) else None
    head = _head(source)
    if not head:
        return Content("empty", "an empty file", _AGAIN)
    for magic, kind, words in _MAGIC:
        if head.startswith(magic):
            return Content(kind, words, "unpack it first" if kind in _PACKED else "")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Content("webp", "a WebP image")
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return Content("bmp", "a BMP image")
    if head[257:262] == b"ustar":
        return Content("tar", "a tar archive", "unpack it first")
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _zip(path)
    if re.match(rb"\x80[\x02-\x05].", head, re.DOTALL):
        return Content("pickle", "a Python pickle")
    if re.match(rb'.{8}\{\s*["}]', head, re.DOTALL) and int.from_bytes(head[:8], "little") < 2**27:
        return Content("safetensors", "a safetensors file")
    return _text(head)


def disguise(source: Path | bytes, *expected: str) -> str:
    """Return the kind of a file that is none of ``expected``, with what helps: "it is an empty file; download ...".

    Empty where it is of such a kind, or where its bytes say nothing.
    """
    try:
        content = content_of(source)
    except OSError:  # whoever reads it says so
        return ""
    if content is None or content.kind in expected:
        return ""
    return f"it is {content.words}; {content.cure}" if content.cure else f"it is {content.words}"


def _head(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:HEAD]
    if not stat.S_ISREG(source.stat().st_mode):  # a pipe would keep its reader waiting
        raise OSError(f"{source} is no regular file")
    with source.open("rb") as file:
        return file.read(HEAD)


def _zip(path: Path | None) -> Content:
    packed = Content("zip", "a zip archive", "unpack it first")
    if path is None:
        return packed
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, OverflowError):
        return Content("broken zip", "a zip archive, as torch.save and NumPy write them too, that is cut off", _AGAIN)
    ends = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in ends:
        return Content("torchscript", "a TorchScript program (torch.jit.save)")
    if "archive_format" in ends or "serialized_exported_program.json" in ends:
        return Content("pt2", "an exported program (torch.export.save)")
    if "data.pkl" in ends:
        return Content("torch", "a file of torch.save")
    if names and all(name.endswith(".npy") for name in names):
        return Content("npz", "an archive of NumPy arrays (.npz)")
    return packed


def _text(head: bytes) -> Content | None:
    text = head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    lower = text[:1024].lower()
    if text.startswith("version https://git-lfs.github.com/spec/"):
        return _in_place("lfs", "a Git LFS pointer, not the file that it stands for")
    if re.match(r"(\.\./)*(\.git/annex/|/annex/)objects/", text):
        return _in_place("annex", "a git-annex pointer, not the file that it stands for")
    if lower.startswith(("<!doctype html", "<html")) or ("<html" in lower and lower.startswith("<")):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        named = f" ({_excerpt(title[1])!r})" if title and title[1].strip() else ""
        if "drive.google" in lower or "google drive" in lower or "drive.usercontent" in lower:
            return Content("html", f"an HTML page{named}", _DRIVE)
        return _in_place("html", f"an HTML page{named}")
    if lower.startswith("<?xml") or re.match(r"<[a-z][\w:.-]*[\s>/]", lower):
        return _in_place("xml", f"an XML text ({_excerpt(text)!r})")
    if re.match(r'\{\s*("|\})|\[\s*[\[{"\]]', text) and "\0" not in text:
        return _in_place("json", f"a JSON text ({_excerpt(text)!r})")
    return None


def _in_place(kind: str, words: str) -> Content:
    return Content(kind, words, _IN_PLACE[kind])


def _excerpt(text: str, most: int = 60) -> str:
    """The beginning of a text of somebody's in one line, without what a terminal would obey."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[:500]).split())
    return line if len(line) <= most else line[: most - 3] + "..."
