"""The folders of this machine, and files written whole.

A place on a disk is not a parameter: it would enter the keys of cells, and the same number would have another name on
every machine.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from bench.core import packed
from bench.core.errors import FULL, CannotWrite, MissingData

REFUSED = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}


def home() -> Path:
    """The folder of fitted things and settings: $BENCH_HOME, or the platform's place for application data.

    Raises MissingData where there is neither, as for a user without a home in a container.
    """
    if folder := os.environ.get("BENCH_HOME"):
        return expanded(folder, "$BENCH_HOME")
    import platformdirs

    with contextlib.suppress(RuntimeError):  # which newer releases raise for a user without a home
        path = platformdirs.user_data_path("ood-seg-bench")
        if path.is_absolute():
            return path
    raise MissingData(
        "this user has no home folder for settings and fitted things; set $BENCH_HOME to a folder of yours"
    )


def _listing() -> Path | None:
    """The file that says where data sets lie; None where there is none, or no home that this user may look into."""
    try:
        path = home() / "data.yaml"
    except MissingData:
        return None
    return path if os.path.isfile(path) else None  # noqa: PTH113 - Path.is_file raises where the home is closed


_ROOT: ContextVar[Path | None] = ContextVar("root", default=None)


@contextlib.contextmanager
def rooted(folder: Path) -> Iterator[None]:
    """Inside the context, every data set lies below ``folder``, whatever the machine's settings say."""
    token = _ROOT.set(folder)
    try:
        yield
    finally:
        _ROOT.reset(token)


def all_data() -> Path:
    """The folder that holds data sets for which ``data.yaml`` names no other: $BENCH_DATA, or ./data."""
    return _ROOT.get() or Path(os.environ.get("BENCH_DATA", "data"))


def data(folder: str) -> Path:
    """The folder of one data set: as ``data.yaml`` in ``home()`` says, or below ``all_data()``."""
    if _ROOT.get():
        return all_data() / folder
    if listing := _listing():
        from bench.core import yaml_text

        places = yaml_text.read(listing) or {}
        if not isinstance(places, dict) or not all(isinstance(path, str) for path in places.values()):
            raise MissingData(f"{listing}: wanted lines such as 'cityscapes: /where/it/lies'")
        if folder in places:
            return expanded(places[folder], str(listing))
    return all_data() / folder


def expanded(path: str, where: str) -> Path:
    """Return a path with its ``~`` replaced. Raise MissingData, to ``where``, for a user that is not known here."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise MissingData(f"{where}: {path}: the home folder is not known here; write the whole path") from None


def digest(path: Path) -> str:
    """16 hex digits of a file's content."""
    try:
        with packed.opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise MissingData(f"{path} cannot be read: {error.strerror}") from None


@contextlib.contextmanager
def writing(path: Path, mode: str = "wb", *, lasting: bool = True) -> Iterator[IO[Any]]:
    """Open a draft beside ``path`` that takes its place only when it is whole and on disk.

    A full disk or a folder without write permission is a CannotWrite, and the draft is removed. Without ``lasting`` the
    disk is not waited for: for what can be made again, and is looked at before it is used after a loss of power.
    """
    draft = None
    try:
        if path.exists() and not path.is_file():  # a rename would put a file in the place of a device or a folder
            raise CannotWrite(f"{path} is no regular file; choose another place with --out")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        draft = Path(name)
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            if lasting:
                os.fsync(file.fileno())
        draft.chmod(0o666 & ~_umask())
        draft.replace(path)
    except OSError as error:
        if draft:
            draft.unlink(missing_ok=True)
        raise cannot_write(path, error) from error
    except BaseException:
        if draft:
            draft.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a draft beside ``path`` that takes its place, and that of a folder there, when everything is written.

    A full disk or a closed folder is a CannotWrite, and the draft is removed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield draft
        draft.chmod(0o777 & ~_umask())
        aside = draft.with_suffix(".before")
        if path.exists():
            path.rename(aside)
        draft.rename(path)
        shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def cannot_write(path: Path, error: OSError) -> Exception:
    """The UserError for a failed write, or the error itself if it is neither a full disk nor a refusal."""
    # NumPy reports a short write in words and without a number.
    if error.errno in FULL or (error.errno is None and "requested and" in str(error)):
        return CannotWrite(
            f"{path}: no room left ({error.strerror or error}); free some space and run the same command again"
        )
    if error.errno in REFUSED:
        return CannotWrite(f"{path}: cannot be written ({error.strerror}); {_elsewhere(path)}")
    return error


def _elsewhere(path: Path) -> str:
    with contextlib.suppress(MissingData):
        if path.is_relative_to(home()):
            return "set $BENCH_HOME to a folder that this user may write to"
    return "choose another place with --out"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
