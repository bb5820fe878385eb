"""The import of numba, after its cache has a folder. A module that compiles imports it from here."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from bench.core.cpu_time import spent

F = TypeVar("F", bound=Callable[..., Any])


def _cache_folder() -> Path | None:
    """The folder of compiled code if numba's own cannot be written; None if one of them can.

    ``cache=True`` raises at import in a read-only installation without a writable home, which is what the containers of
    leaderboards are.
    """
    user = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111 - raises for no home
    for folder in (Path(__file__).parent, user):
        if not folder.is_absolute():  # of a user without a home
            continue
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if os.access(existing, os.W_OK | os.X_OK):
            return None
    folder = Path(tempfile.gettempdir(), f"ood-seg-bench-numba-{os.getuid() if hasattr(os, 'getuid') else 0}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():  # somebody else's code is not ours to run
        return Path(tempfile.mkdtemp(prefix="ood-seg-bench-numba-"))
    return folder


if "NUMBA_CACHE_DIR" not in os.environ and "numba" not in sys.modules and (_folder := _cache_folder()) is not None:
    os.environ["NUMBA_CACHE_DIR"] = str(_folder)

import numba  # noqa: E402 - it reads the variable when it is imported
from numba.core import event  # noqa: E402


class _Compiling(event.Listener):
    """Accounts the time in which functions are compiled, or read from disk, and spares it the collector of garbage.

    A compiler makes many objects that live long: to look through all of them again and again takes a tenth of its time.
    """

    def __init__(self) -> None:
        self._collected: list[bool] = []  # for each function that is being compiled, one inside the other

    def on_start(self, event: event.Event) -> None:
        spent.begin("compile")
        self._collected.append(gc.isenabled())
        gc.disable()

    def on_end(self, event: event.Event) -> None:
        if self._collected.pop():
            gc.enable()
        spent.end()


event.register("numba:compiler_lock", _Compiling())  # type: ignore[no-untyped-call]


# Evaluated as written, NaN included: no fast-math. A division by zero gives what IEEE 754 says, without a branch that
# raises. What no kernel needs, a second entry for C and the search for array expressions, is not compiled.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, "no_rewrites": True}


def compiled(function: F) -> F:
    """Return the function as machine code, kept on disk."""
    return cast(F, numba.njit(**OPTIONS | {"cache": True})(function))


def inner(function: F) -> F:
    """Return a function that compiled ones alone call, a part of their machine code."""
    return cast(F, numba.njit(**OPTIONS | {"no_cpython_wrapper": True})(function))
