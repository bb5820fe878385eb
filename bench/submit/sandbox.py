"""A program run as the server of Fishyscapes runs it: no network, no root, nothing to write but /output and /tmp.

Namespaces of the kernel do this, entered without any right of an administrator where the system lets its users do so.
Where it does not, the program runs as it is and the outcome says so.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import BadPlugin

CONFINED = Path(__file__).with_name("confined.py").resolve()
LAST = 5  # lines of a program's output that are repeated
ISOLATION = (
    "no network: a network namespace of its own without any interface",
    "an unprivileged user: number 65534 without any capability",
    "a read-only file system but /output and /tmp, which is empty",
    "processes of its own",
)


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
            return [f"NOT kept in: this system gives no namespaces ({self.why}); it ran as you, with your network"]
        return [f"kept in: {measure}" for measure in self.isolation]

    def summary(self, images: int) -> str:
        """The time that it took, and what it said last."""
        return (
            f"{images} images in {self.seconds:.1f} seconds, {self.seconds / images:.3f} each, the start included; it"
            f" said last: {self.last_lines or 'nothing'}"
        )


def run(words: Sequence[str], images: Path, out: Path, see: Sequence[Path], timeout: float) -> Outcome:
    """Run a program with ``images`` as /input and ``out`` as /output. ``see`` are paths below /tmp that it may read.

    ``words`` get the two folders as their last arguments.
    """
    why = unavailable()
    with tempfile.TemporaryDirectory(prefix="bench-dry-run-") as folder:
        log = Path(folder, "log")
        if why:
            whole = [*words, str(images), str(out)]
        else:
            root = Path(folder, "root")
            root.mkdir()
            arguments = [str(root), str(images), str(out), os.pathsep.join(map(str, see))]
            whole = [sys.executable, "-I", "-S", str(CONFINED), *arguments, *words]
            whole += ["/input", "/output"]
        began = time.perf_counter()
        status = _call(whole, log, timeout)
        spent = time.perf_counter() - began
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return Outcome(status, spent, " | ".join(lines[-LAST:]), () if why else ISOLATION, why)


def unavailable() -> str:
    """The reason why this system does not let its users have namespaces; empty where it does."""
    if sys.platform != "linux":
        return f"{sys.platform} has no namespaces"
    with tempfile.TemporaryDirectory(prefix="bench-probe-") as folder:
        probe = subprocess.run(  # noqa: S603 - a script of ours
            [sys.executable, "-I", "-S", str(CONFINED), "--probe", folder],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    lines = probe.stderr.strip().splitlines() or [f"status {probe.returncode}"]
    return "" if probe.returncode == 0 else lines[-1]


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
