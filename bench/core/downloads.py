"""Files of a network brought to disk: resumed where they were cut off, and by http, https and file alone.

A download grows in ``NAME.part`` beside its place. What has come stays there on any way out, also a full disk and
Ctrl-C, and the next call goes on from it. A note beside it (``NAME.part.json``) says of which address it is and how the
server names this version, so that halves of two versions are not joined.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

from bench.core.errors import FULL, CannotWrite, UsageError
from bench.core.files import cannot_write

if TYPE_CHECKING:
    import requests

PIECE = 2**20
CONNECT, READ = 20, 60  # seconds
REDIRECTS = 10
WAITS = (1.0, 3.0, 9.0)  # seconds before a broken connection is taken up again
SCHEMES = ("http", "https", "file")
ANSWER = 2**24  # bytes of what an interface says
AGENT = "ood-seg-bench"

Progress = Callable[[int, int | None], None]  # bytes that are there, bytes in all as far as they are known


class Unreachable(Exception):
    """An address that does not give the file, with the reason in words."""


@dataclass(frozen=True)
class Address:
    """One address of a file, and what its host alone is told."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)  # never sent to another host

    def __str__(self) -> str:
        """Return the address as it may be shown and noted: without a user, a password and a token."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def part_of(path: Path) -> Path:
    """The file that a download grows in."""
    return path.with_name(f"{path.name}.part")


def check_address(url: str, where: str) -> None:
    """Raise UsageError, to ``where``, for what is no address of http, https or a file of this machine."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or (parts.scheme == "file" and parts.netloc not in ("", "localhost")):
        raise UsageError(f"{where}: {Address(url)} is no address of http, https or file, such as file:///mnt/a.zip")
    if parts.scheme != "file" and not parts.hostname:
        raise UsageError(f"{where}: {Address(url)} names no host")


def session() -> requests.Session:
    """Return a session for a few downloads; passwords of hosts are those of ~/.netrc, as requests has it."""
    import requests

    made = requests.Session()
    made.headers["User-Agent"] = AGENT
    made.headers["Accept-Encoding"] = "identity"  # bytes of archives are wanted as they lie there
    return made


def fetch(
    address: Address,
    path: Path,
    *,
    over: requests.Session,
    pinned: bool,
    size: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Download to ``part_of(path)``, going on from what is there. The caller verifies it and puts it in its place.

    ``pinned`` says that a checksum of the whole is known: only then is a part of another address, or of a version that
    the server does not name, gone on with. ``size`` is that of the file, if it is known. Raise Unreachable, or
    CannotWrite for a full disk.
    """
    part = part_of(path)
    with _writing(part):
        if urlsplit(address.url).scheme == "file":
            _copy(address, part, progress)
            return
        failures = 0
        while True:
            before = _size(part)
            try:
                _stream(address, part, over, pinned, size, progress)
                return
            except _Broken as error:
                failures = 1 if _size(part) > before else failures + 1  # one that gives something may go on giving
                if failures > len(WAITS):
                    raise Unreachable(f"broke off after {_size(part)} bytes: {error}") from None
                time.sleep(WAITS[failures - 1])


def get_json(url: str, over: requests.Session, headers: Mapping[str, str] | None = None) -> Any:
    """Return what an interface of a server says. Raise Unreachable."""
    try:
        return json.loads(get_text(url, over, headers))
    except ValueError:
        raise Unreachable("does not answer in JSON") from None


def get_text(url: str, over: requests.Session, headers: Mapping[str, str] | None = None) -> str:
    """Return a short answer of a server. Raise Unreachable, also for one that is not short."""
    try:
        if urlsplit(url).scheme == "file":
            return Path(url2pathname(urlsplit(url).path)).read_text(encoding="utf-8")
        with _opened(Address(url, headers or {}), over, {}) as response:
            content = response.raw.read(ANSWER + 1, decode_content=True)
    except (_Broken, OSError, ValueError) as error:
        raise Unreachable(str(error)) from None
    if len(content) > ANSWER:
        raise Unreachable(f"answers with more than {ANSWER} bytes")
    return str(content, "utf-8", "replace")


def digests(path: Path, *algorithms: str) -> Mapping[str, str]:
    """Return hex digits by algorithm, of one pass over a file."""
    sums = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            for digest in sums.values():
                digest.update(piece)
    return {name: digest.hexdigest() for name, digest in sums.items()}


def discard(path: Path) -> None:
    """Remove what has come of a file, and the note on it."""
    for file in (part_of(path), _note_of(part_of(path))):
        file.unlink(missing_ok=True)


def settle(path: Path) -> None:
    """Put a whole download in its place."""
    part_of(path).replace(path)
    _note_of(part_of(path)).unlink(missing_ok=True)


class _Broken(Exception):
    """A connection that ended early: the same address may give the rest."""


def _stream(
    address: Address, part: Path, over: requests.Session, pinned: bool, size: int | None, progress: Progress | None
) -> None:
    import urllib3

    received = _size(part)
    if size is not None and received == size:
        return
    if received and size is not None and received > size:
        received = 0
    validator = _validator(part, address)
    asked = {"Range": f"bytes={received}-"} if received and (pinned or validator) else {}
    if asked and validator:
        asked["If-Range"] = validator
    with _opened(address, over, asked) as response:
        status, headers = response.status_code, response.headers
        if status == 416:  # nothing behind what is there: it is whole, or of another version
            whole = re.fullmatch(r"bytes \*/(\d+)", headers.get("Content-Range", ""))
            if whole and int(whole[1]) == received:
                return
            part.unlink(missing_ok=True)
            raise _Broken("the part that is here belongs to another version")
        begin = re.match(r"bytes (\d+)-", headers.get("Content-Range", "")) if status == 206 else None
        if status == 206 and (not begin or int(begin[1]) != received):
            raise Unreachable("answers with another part than was asked for")
        received = received if status == 206 else 0
        length = int(headers["Content-Length"]) if headers.get("Content-Length", "").isdigit() else None
        total = size if size is not None else None if length is None else received + length
        if length is not None and size is not None and received + length != size:
            raise Unreachable(f"has {received + length} bytes, wanted {size}")
        _make_note(part, address, headers)
        with part.open("ab" if received else "wb") as file:
            _check_room(part, None if total is None else total - received)
            try:
                for piece in response.raw.stream(PIECE, decode_content=False):
                    file.write(piece)
                    received += len(piece)
                    if size is not None and received > size:
                        raise Unreachable(f"gives more than the {size} bytes that were published")
                    if progress:
                        progress(received, total)
            except urllib3.exceptions.HTTPError as error:
                raise _Broken(_in_words(error)) from None
        if total is not None and received < total:
            raise _Broken(f"{received} of {total} bytes came")


@contextlib.contextmanager
def _opened(address: Address, over: requests.Session, headers: Mapping[str, str]) -> Iterator[requests.Response]:
    """Open an address, following redirects by our rules. Raise Unreachable, or _Broken where it may come back."""
    import requests

    url, host = address.url, urlsplit(address.url).hostname
    for _ in range(REDIRECTS + 1):
        own = address.headers if urlsplit(url).hostname == host else {}
        try:
            response = over.get(
                url, headers={**headers, **own}, stream=True, allow_redirects=False, timeout=(CONNECT, READ)
            )
        except requests.exceptions.Timeout:
            raise _Broken(f"no answer within {CONNECT} seconds") from None
        except requests.exceptions.ConnectionError as error:
            raise _Broken(_in_words(error)) from None
        except (requests.exceptions.RequestException, ValueError) as error:
            raise Unreachable(_in_words(error)) from None
        with response:
            if response.is_redirect:
                url = _redirected(url, response.headers["Location"])
                continue
            if response.status_code >= 500 or response.status_code == 429:
                raise _Broken(f"{response.status_code} {response.reason}")
            if response.status_code >= 400 and response.status_code != 416:
                raise Unreachable(f"{response.status_code} {response.reason}")
            yield response
            return
    raise Unreachable(f"redirects more than {REDIRECTS} times")


def _redirected(url: str, location: str) -> str:
    """Return where a redirect leads. Raise Unreachable for one that leaves the network, or the encryption."""
    target = urljoin(url, location)
    scheme = urlsplit(target).scheme
    if scheme not in ("http", "https"):
        raise Unreachable(f"redirects to {scheme}:, which is not followed")
    if scheme == "http" and urlsplit(url).scheme == "https":
        raise Unreachable(f"redirects from https to {Address(target)}, which is not followed")
    return target


def _copy(address: Address, part: Path, progress: Progress | None) -> None:
    source = Path(url2pathname(urlsplit(address.url).path))
    try:
        if not source.is_file():
            raise Unreachable("no such file" if not source.exists() else "no regular file")
        total = source.stat().st_size
        opened = source.open("rb")
    except OSError as error:
        raise Unreachable(error.strerror or str(error)) from None
    _check_room(part, total)
    done = 0
    with opened, part.open("wb") as file:
        while piece := opened.read(PIECE):
            file.write(piece)
            done += len(piece)
            if progress:
                progress(done, total)


def _check_room(part: Path, wanted: int | None) -> None:
    """Raise CannotWrite where the disk has less room than is wanted."""
    import shutil

    if wanted is not None and (free := shutil.disk_usage(part.parent).free) < wanted:
        raise CannotWrite(
            f"{part}: no room left: {wanted} bytes are to come and {free} are free; free some space and run the same"
            f" command again"
        )


@contextlib.contextmanager
def _writing(part: Path) -> Iterator[None]:
    """Turn the errors of a disk into lines; what has come stays."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in FULL | {errno.ENOSPC}:
            raise CannotWrite(
                f"{part}: no room left after {_size(part)} bytes; free some space and run the same command again: it"
                f" goes on from there"
            ) from error
        raise cannot_write(part, error) from error


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _make_note(part: Path, address: Address, headers: Mapping[str, str]) -> None:
    etag = headers.get("ETag", "")
    strong = etag if etag.startswith('"') else ""  # a weak one does not promise equal bytes
    note = {"address": str(address), "validator": strong or headers.get("Last-Modified", "")}
    _note_of(part).write_text(json.dumps(note), encoding="utf-8")


def _validator(part: Path, address: Address) -> str:
    """Return how the server named the version that a part is of; empty where that, or the address, is another's."""
    try:
        note = json.loads(_note_of(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    known = isinstance(note, dict) and note.get("address") == str(address)
    return note["validator"] if known and isinstance(note.get("validator"), str) else ""


def _in_words(error: BaseException) -> str:
    """Return the cause of an error of a connection, without the names of classes around it."""
    inner: BaseException = error
    while inner.args and isinstance(reason := getattr(inner, "reason", None) or inner.args[-1], BaseException):
        inner = reason
    text = str(inner.args[-1]) if inner.args else type(inner).__name__
    return getattr(inner, "strerror", None) or re.sub(r"^<[^>]*>: |\s*\[Errno -?\d+\]\s*", "", text)
