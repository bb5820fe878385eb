"""Whatever code of others raises, it ends what it was called for and no more, and is told in one line."""

from __future__ import annotations

import dis
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from bench.core.errors import BadPlugin, UserError

MODULES: set[str] = set()  # of others, by name: those that were imported as plug-ins
STANDARD = sysconfig.get_path("stdlib")


def is_theirs(error: BaseException) -> bool:
    """True for what code of others raised, ``sys.exit`` included; False where somebody pressed Ctrl-C.

    Python itself raises KeyboardInterrupt between any two instructions, a plug-in by a ``raise``.
    """
    if isinstance(error, KeyboardInterrupt):
        last = _last(error.__traceback__)
        if last is None or last.tb_frame.f_globals.get("__name__") not in MODULES:
            return False
        return dis.opname[last.tb_frame.f_code.co_code[last.tb_lasti]] == "RAISE_VARARGS"
    return isinstance(error, Exception | SystemExit)


def told(error: BaseException) -> str:
    """Return what was raised, and where, in one line."""
    frames = list(traceback.extract_tb(error.__traceback__))
    if isinstance(error, SystemExit):  # raised by argparse on behalf of who called it
        frames = [frame for frame in frames if not frame.filename.startswith(STANDARD)] or frames
        what = f"it called sys.exit({'' if error.code is None else repr(error.code)})"
    else:
        what = f"{type(error).__name__}: {error}"
    return f"{what} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else what


@contextmanager
def named(who: str) -> Iterator[None]:
    """Raise BadPlugin with ``who`` for what is raised inside, unless that is an error which a user can mend."""
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        if not is_theirs(error):
            raise
        raise BadPlugin(f"{who}: {told(error)}") from error


def _last(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace
