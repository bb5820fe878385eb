"""A program run as the server of Fishyscapes runs it: no network, no root, nothing to write but /output and /tmp.

bubblewrap does this, without any right of an administrator, where it is installed and the system lets its users have
namespaces. Elsewhere the program runs as it is, and the outcome says so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import BadPlugin

TOOL = "bwrap"
LAST = 5  # lines of a program's output that are repeated
ISOLATION = (
    "no network and no socket of this machine",
    "an unprivileged user: number 65534 without any capability",
    "a file system of its own: system, Python and package to read, /output and an empty /tmp to write",
    "devices and processes of its own, which all end with it",
)
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")  # programs and libraries
SETTINGS = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")  # that they look at
NOBODY = "65534"
INSIDE = {"HOME": "/tmp", "TMPDIR": "/tmp"}  # noqa: S108 - of the program alone


@dataclass(frozen=True)
class Outcome:
    """The end of a program."""

    status: int
    seconds: float
    last_lines: str
    isolation: tuple[str, ...]  # what kept it in; empty where nothing did
    why: str = ""  # nothing did

    def lines(self) -> list[str]:
        """For people: the measures that kept the program in."""
        if self.why:
            return [
                f"NOT kept in: {self.why}; it ran as you, with your network, files, devices and processes, and what it"
                " started in a session of its own may still run"
            ]
        return [f"kept in: {measure}" for measure in self.isolation]

    def summary(self, images: int) -> str:
        """The time that it took, and what it said last."""
        return (
            f"{images} images in {self.seconds:.1f} seconds, {self.seconds / images:.3f} each, the start included; it"
            f" said last: {self.last_lines or 'nothing'}"
        )


def run(words: Sequence[str], images: Path, out: Path, see: Sequence[Path], timeout: float) -> Outcome:
    """Run a program with ``images`` as /input and ``out`` as /output; ``see`` are paths that it may read.

    ``words`` get the two folders as their last arguments.
    """
    why = unavailable()
    with tempfile.TemporaryDirectory(prefix="bench-dry-run-") as folder:
        log = Path(folder, "log")
        whole = [*words, str(images), str(out)] if why else [*_kept_in(images, out, see), *words, "/input", "/output"]
        began = time.perf_counter()
        status = _call(whole, log, timeout)
        spent = time.perf_counter() - began
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return Outcome(status, spent, " | ".join(lines[-LAST:]), () if why else ISOLATION, why)


def unavailable() -> str:
    """The reason why a program cannot be kept in here; empty where it can."""
    if shutil.which(TOOL) is None:
        return f"{TOOL} is not installed (the package bubblewrap)"
    probe = subprocess.run(  # noqa: S603 - a tool of the system
        [*_walls(), "true"], capture_output=True, text=True, check=False, timeout=60
    )
    lines = probe.stderr.strip().splitlines() or [f"{TOOL} ended with status {probe.returncode}"]
    return "" if probe.returncode == 0 else lines[-1]


def _walls() -> list[str]:
    """The call of bubblewrap without what the program is about."""
    words = [TOOL, "--unshare-all", "--die-with-parent", "--new-session", "--uid", NOBODY, "--gid", NOBODY]
    words += ["--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 - inside
    for path in map(Path, SYSTEM):
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        else:
            words += ["--ro-bind-try", str(path), str(path)]
    for name in SETTINGS:
        words += ["--ro-bind-try", name, name]
    return words


def _kept_in(images: Path, out: Path, see: Sequence[Path]) -> list[str]:
    words = _walls()
    for path in see:
        words += ["--ro-bind", str(path), str(path)]
    words += ["--ro-bind", str(images), "/input", "--bind", str(out), "/output", "--chdir", "/", "--remount-ro", "/"]
    for name, value in INSIDE.items():
        words += ["--setenv", name, value]
    return words


def _call(words: Sequence[str], log: Path, timeout: float) -> int:
    environment = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "LC_ALL", "PYTHON")}
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603 - a dry run runs what the user packaged
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment | {"PYTHON": sys.executable},
        )
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise BadPlugin(f"the program was ended after {timeout:g} seconds; raise --timeout if it needs more") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
