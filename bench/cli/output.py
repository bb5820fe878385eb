"""The one way by which commands print: words of others are made harmless, and an output that takes no more ends it."""

from __future__ import annotations

import contextlib
import errno
import os
import sys

from bench.core.errors import CannotWrite, OutputClosed
from bench.core.printable import printable


def echo(text: object = "", *, err: bool = False, nl: bool = True, styled: bool = False) -> None:
    """Print to standard output, or to standard error if that takes it; a ``styled`` text keeps its codes of a terminal.

    Raise OutputClosed where nobody reads on, as after ``| head``, and CannotWrite for a full disk.
    """
    stream = sys.stderr if err else sys.stdout
    if stream is None:  # the descriptor was closed before this process began
        return
    try:
        stream.write((str(text) if styled else printable(str(text), keep="\n\t")) + "\n" * nl)
        stream.flush()
    except OSError as error:
        if not err:  # what nobody can be told ends nothing
            raise unwritten(error) from None


def number(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 model``, ``2 models``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def unwritten(error: OSError) -> OutputClosed | CannotWrite:
    """Return what an error of writing to standard output means, after which nothing more is written there."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        # What is still buffered would fail again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return OutputClosed()
    return CannotWrite(f"standard output cannot be written: {error.strerror}")


def encodable() -> None:
    """Let characters that an output has no code for, such as a dash in ASCII, come as their numbers."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
