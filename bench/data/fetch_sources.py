"""Addresses of a file as downloads: mirrors first, and what single hosts want or tell besides.

Hugging Face, Google Drive, Zenodo, Cityscapes and ACDC are known by their hosts. Each has its own way to a checksum, to
a log-in or to the address itself; the rest is plain http, https or file.
"""

from __future__ import annotations

import netrc
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from bench.core import downloads
from bench.core.downloads import Address, Progress, Unreachable
from bench.core.errors import MissingData, UserError
from bench.datasets.archives import ALL, Archive, Source

if TYPE_CHECKING:
    import requests

MIRROR = "BENCH_MIRROR"
RECORD = "record.json"  # what a mirror calls the answer of Zenodo's interface
HUGGING_FACE, DRIVE = "huggingface.co", "drive.google.com"

Ask = Callable[[str, bool], str]  # of a question, and whether the answer is to be hidden


@dataclass(frozen=True)
class Offer:
    """One way to a file: where it is, and what its server says of it."""

    address: Address
    sums: Mapping[str, str] = field(default_factory=dict)  # by algorithm
    size: int | None = None
    session: requests.Session | None = None  # that is logged in


@dataclass(frozen=True)
class Wanted:
    """The way to a file: addresses of the user's own, and how to ask for a name and a password."""

    urls: Mapping[str, str] = field(default_factory=dict)  # by file name
    ask: Ask | None = None  # None where nobody can answer


def addresses(source: Source, archive: Archive, wanted: Wanted) -> list[str]:
    """Return the addresses to try, in their order: the user's own alone, or else mirrors and the published ones."""
    if archive.file in wanted.urls:
        return [wanted.urls[archive.file]]
    name = RECORD if archive.file == ALL else archive.file
    mirrors = os.environ.get(MIRROR, "").split()
    for mirror in mirrors:
        downloads.check_address(mirror, f"${MIRROR}")
    return [*(f"{mirror.rstrip('/')}/{quote(source.name)}/{quote(name)}" for mirror in mirrors), *archive.url]


def offer(url: str, archive: Archive, over: requests.Session, wanted: Wanted) -> Offer:
    """Return the way to a file at one address. Raise Unreachable, or a UserError for what only the user can mend."""
    if url in archive.url and archive.account == "cityscapes":
        return _cityscapes(url, archive, wanted)
    if url in archive.url and archive.account == "acdc":
        return _acdc(url, archive, over)
    return _hugging_face(url) if urlsplit(url).hostname == HUGGING_FACE else Offer(Address(url))


def members(url: str, over: requests.Session) -> list[Archive]:
    """Return the files of a record of Zenodo, with size and md5. Raise Unreachable."""
    answer = downloads.get_json(url, over)
    try:
        return [
            Archive(
                str(row["key"]),
                (str(row["links"]["self"]),),
                int(row["size"]),
                md5=str(row["checksum"]).removeprefix("md5:"),
            )
            for row in answer["files"]
        ]
    except (KeyError, TypeError, ValueError):
        raise Unreachable("does not answer as a record of Zenodo does") from None


def is_drive(url: str) -> bool:
    """True for an address of Google Drive, which plain downloads do not get."""
    return urlsplit(url).hostname == DRIVE


def is_drive_folder(url: str) -> bool:
    """True for a folder of Google Drive."""
    return is_drive(url) and "/folders/" in urlsplit(url).path


def from_drive(url: str, path: Path, progress: Progress | None) -> None:
    """Download a file of Google Drive to ``part_of(path)``, or a folder of it to ``path``. Raise Unreachable."""
    import requests

    folder, whole = is_drive_folder(url), path.with_name(f"{path.name}.drive")
    try:
        import gdown
    except ImportError:
        typed = f"gdown {'--folder ' if folder else ''}'{url}' -O {path}"
        raise Unreachable(
            f"Google Drive is read by gdown: pip install 'ood-seg-bench[drive]', or type: {typed}, and run the same"
            f" command again"
        ) from None
    try:
        if folder:
            timeout = (downloads.CONNECT, downloads.READ)
            if not gdown.download_folder(url, output=str(whole), quiet=True, resume=True, timeout=timeout):
                raise Unreachable("the folder is empty, or not open to everybody")
            whole.rename(path)
        else:
            gdown.download(
                url,
                output=str(whole),
                quiet=True,
                resume=True,
                progress=progress,
                timeout=(downloads.CONNECT, downloads.READ),
                retries=len(downloads.WAITS),
            )
            whole.rename(downloads.part_of(path))
    except requests.exceptions.RequestException as error:
        raise Unreachable(f"gdown: {error}") from None
    except (OSError, Unreachable):
        raise
    except Exception as error:  # gdown's own, and what parsing a page of Google may raise
        raise Unreachable(f"gdown: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    """Return what another library says, which may take pages."""
    text = str(error.args[0] if error.args else error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _hugging_face(url: str) -> Offer:
    """Ask the hub for size and sha256, and send the user's token, where huggingface_hub is installed."""
    try:
        import huggingface_hub
        from huggingface_hub import constants
    except ImportError:
        return Offer(Address(url))
    url = url.replace(f"https://{HUGGING_FACE}", constants.ENDPOINT.rstrip("/"), 1)
    try:
        about = huggingface_hub.get_hf_file_metadata(url)
    except Exception as error:  # httpx's errors and the hub's own, which change from release to release
        raise Unreachable(f"the hub says: {_first_line(error)}") from None
    sums = {"sha256": about.etag} if about.etag and re.fullmatch("[0-9a-f]{64}", about.etag) else {}
    token = huggingface_hub.get_token()
    return Offer(Address(url, {"Authorization": f"Bearer {token}"} if token else {}), sums, about.size)


def _cityscapes(url: str, archive: Archive, wanted: Wanted) -> Offer:
    """Log in as csDownload does (cityscapesscripts 2.3.0, download/downloader.py); the server tells the md5."""
    host, base = urlsplit(url).hostname or "", url.partition("/file-handling/")[0].partition("/downloads/")[0]
    user, password = credentials("cityscapes", host, f"register on {base}/register/", wanted.ask)
    session = downloads.session()
    try:
        answer = session.post(
            f"{base}/login",
            data={"username": user, "password": password, "submit": "Login"},
            allow_redirects=False,
            timeout=(downloads.CONNECT, downloads.READ),
        )
    except OSError as error:
        raise Unreachable(f"log-in failed: {error}") from None
    if answer.status_code != 302:  # who is logged in is sent on
        raise MissingData(
            f"{host} does not know this user name and password; correct $CITYSCAPES_USERNAME and"
            f" $CITYSCAPES_PASSWORD, or the line of ~/.netrc"
        )
    number = parse_qs(urlsplit(url).query).get("packageID", [""])[0] or _package(session, base, archive)
    md5 = downloads.get_text(f"{base}/md5-sum/?packageID={number}", session).split()
    if not md5 or not re.fullmatch("[0-9a-f]{32}", md5[0]):
        raise Unreachable("does not tell the md5 of the package; has your account the permission for it?")
    return Offer(Address(f"{base}/file-handling/?packageID={number}"), {"md5": md5[0]}, session=session)


def _package(session: requests.Session, base: str, archive: Archive) -> str:
    """Return the number of a package of Cityscapes, which the server lists for those who may have it."""
    listed = downloads.get_json(f"{base}/downloads/?list", session)
    for package in listed if isinstance(listed, list) else ():
        if isinstance(package, dict) and package.get("name") == archive.file:
            return str(package.get("packageID", ""))
    raise Unreachable(f"does not list {archive.file}; has your account the permission for it?")


def _acdc(url: str, archive: Archive, over: requests.Session) -> Offer:
    """Ask for the number of a package and for a token, which counts once: each time that a download goes on, a new one.

    What its interface answers: ``packages`` with ``name`` and ``packageId``; ``token``.
    """
    base = url.removesuffix("/packages")
    listed = downloads.get_json(url, over)
    packages = listed.get("packages", []) if isinstance(listed, dict) else []
    about: dict[str, Any] | None = next(
        (package for package in packages if isinstance(package, dict) and package.get("name") == archive.file), None
    )
    if about is None:
        raise Unreachable(f"does not list {archive.file}")
    answer = downloads.get_json(f"{base}/getPackageUri/{about.get('packageId')}", over)
    token = answer.get("token") if isinstance(answer, dict) else None
    if not token:
        raise Unreachable("gives no token for a download; register on its page")
    md5 = str(about.get("md5", ""))
    sums = {"md5": md5} if re.fullmatch("[0-9a-f]{32}", md5) else {}
    return Offer(Address(f"{base}/downloadPackage/{quote(str(token), safe='')}/{quote(archive.file)}"), sums)


def credentials(name: str, host: str, register: str, ask: Ask | None) -> tuple[str, str]:
    """Return user name and password: of the environment, of ~/.netrc, or asked for. They are stored nowhere."""
    variables = [f"{name.upper()}_{word}" for word in ("USERNAME", "PASSWORD")]
    user, password = (os.environ.get(variable, "") for variable in variables)
    if user and password:
        return user, password
    try:
        if known := netrc.netrc(os.environ.get("NETRC")).authenticators(host):
            return known[0], known[2] or ""
    except FileNotFoundError:
        pass
    except (OSError, netrc.NetrcParseError) as error:
        raise UserError(f"~/.netrc cannot be read: {error}") from None
    if ask is None:
        raise MissingData(
            f"{host} wants a user name and a password: {register}, then set ${variables[0]} and ${variables[1]}, write"
            f" a line of ~/.netrc, or run this in a terminal and type them"
        )
    return ask(f"user name for {host}", False), ask(f"password for {host}", True)
