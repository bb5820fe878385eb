"""Run ``bench`` in processes that end where a test says: just before a file takes its place, or just after.

Everything that ``bench`` leaves is written as a draft and renamed, so that the renames are the points at which one step
hands over to the next. A hook of the interpreter sees each of them, whatever module does it: nothing here knows one.

As a program this reads one request a line and forks a process for each, with the heavy libraries imported already;
nothing of ``bench`` is, so that each process is as fresh as one of the command line. Processes that ``bench`` starts
itself import this as ``sitecustomize`` would, by the variable ``KILL``.
"""

from __future__ import annotations

import fnmatch
import importlib
import json
import os
import runpy
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

KILLED = 137
LIBRARIES = ("numpy", "torch", "scipy.stats", "numba", "pandas", "pyarrow.parquet", "PIL.Image", "pydantic", "typer")
LIBRARIES += (
    "rich.console",
    "rich.progress",
    "sklearn.linear_model",
    "yaml",
    "jinja2",
    "safetensors.torch",
    "tabulate",
)


def arm(kill: Mapping[str, Any] | None, log: str) -> None:
    """Write down in ``log`` what is renamed to; end this process at the ``number``-th target like ``pattern``.

    ``when`` is before the rename or after it, where the next thing happens that the interpreter tells its hooks.
    ``once`` names a file: where it exists another process has ended here, and this one goes on.
    """
    seen = 0
    passed = busy = False

    def end() -> None:
        once = kill and kill.get("once")
        try:
            if once:
                os.close(os.open(once, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os._exit(KILLED)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen, passed, busy
        if busy:
            return
        busy = True  # what is done here is told to hooks as well
        try:
            if passed:
                passed = False
                end()
            if event != "os.rename":
                return
            target = os.fsdecode(arguments[1])
            with open(log, "a", encoding="utf-8") as file:  # noqa: PTH123 - as little as can be between two events
                file.write(target + "\n")
            if kill and fnmatch.fnmatch(target, kill["pattern"]):
                seen += 1
                if seen == kill["number"] and kill["when"] == "before":
                    end()
                passed = seen == kill["number"] and kill["when"] == "after"
        finally:
            busy = False

    sys.addaudithook(hook)


def bench(request: Mapping[str, Any]) -> NoReturn:
    """Be the process of one command."""
    status = 1
    try:
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ |= request["environment"]
        arm(request["kill"], request["log"])
        sys.argv = ["bench", *request["arguments"]]
        runpy.run_module("bench", run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def serve() -> None:
    """A process for each line of the input; its exit status is a line of the output."""
    os.fsync = lambda file: None  # no process that ends takes from the disk what it wrote
    for library in LIBRARIES:
        importlib.import_module(library)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            bench(json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
elif "KILL" in os.environ and "multiprocessing" in " ".join(sys.orig_argv):
    arm(json.loads(os.environ["KILL"]), str(Path(os.environ["KILL_LOG"])))
