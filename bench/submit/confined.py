"""Enter namespaces, build a read-only file system, become nobody, run a program: ``sandbox`` calls this as a script.

Nothing of this project and nothing outside the standard library is imported: it runs before either can be seen.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

NOBODY = 65534

# sys/mount.h and linux/sched.h
_NEW = 0x10000000 | 0x00020000 | 0x40000000 | 0x20000000 | 0x08000000  # user, mount, network, processes, messages
_BIND, _RECURSIVE, _PRIVATE = 4096, 16384, 1 << 18
_NOSUID_NODEV = 2 | 4
_MOUNT_SETATTR, _AT_RECURSIVE, _RDONLY = 442, 0x8000, 1
_AT_FDCWD = -100
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_NEW_USER, _DETACH = 0x10000000, 2
_PR_SET_NO_NEW_PRIVS = 38


def _kernel(name: str, returned: int) -> None:
    if returned < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(libc: ctypes.CDLL, source: str, target: Path, kind: str | None, flags: int, data: str | None = None) -> None:
    arguments = [None if part is None else os.fsencode(part) for part in (source, str(target), kind)]
    returned = libc.mount(*arguments, ctypes.c_ulong(flags), None if data is None else data.encode())
    _kernel(f"mount {target}", returned)


def _enter(libc: ctypes.CDLL) -> None:
    """New namespaces, in which this process is root over nothing but them."""
    user, group = os.getuid(), os.getgid()
    _kernel("unshare", libc.unshare(_NEW))
    with contextlib.suppress(OSError):  # there are kernels without it
        Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _build(libc: ctypes.CDLL, root: Path, images: Path, out: Path, see: Sequence[Path]) -> None:
    """The file system that the program will see, below ``root``."""
    _mount(libc, "none", Path("/"), None, _RECURSIVE | _PRIVATE)
    _mount(libc, "none", root, "tmpfs", _NOSUID_NODEV, "mode=755")
    for name in ("input", "output", "tmp"):
        (root / name).mkdir()
    for top in sorted(Path("/").iterdir()):
        if top.name in ("input", "output", "tmp") or (not top.is_dir() and not top.is_symlink()):
            continue
        if top.is_symlink():
            (root / top.name).symlink_to(top.readlink())
            continue
        (root / top.name).mkdir()
        _mount(libc, str(top), root / top.name, None, _BIND | _RECURSIVE)
    _mount(libc, "none", root / "tmp", "tmpfs", _NOSUID_NODEV, "mode=1777")
    for path in see:  # what lies below the real /tmp
        if path.is_relative_to("/tmp"):  # noqa: S108 - the folder that is hidden
            goal = root / path.relative_to("/")
            goal.mkdir(parents=True, exist_ok=True)
            _mount(libc, str(path), goal, None, _BIND | _RECURSIVE)
    _mount(libc, str(images), root / "input", None, _BIND)
    attributes = (ctypes.c_uint64 * 4)(_RDONLY, 0, 0, 0)
    for path in (root, *(root / below.relative_to("/") for below in see if below.is_relative_to("/tmp"))):  # noqa: S108
        returned = libc.syscall(
            _MOUNT_SETATTR, _AT_FDCWD, os.fsencode(path), _AT_RECURSIVE, attributes, ctypes.c_size_t(32)
        )
        _kernel("mount_setattr", returned)
    writable = (ctypes.c_uint64 * 4)(0, _RDONLY, 0, 0)
    returned = libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(root / "tmp"), 0, writable, ctypes.c_size_t(32))
    _kernel("mount_setattr", returned)
    _mount(libc, str(out), root / "output", None, _BIND)


def _leave(libc: ctypes.CDLL, root: Path) -> None:
    """Make ``root`` the whole file system; the one before is gone then."""
    os.chdir(root)
    _kernel("pivot_root", libc.syscall(_PIVOT_ROOT[platform.machine()], b".", b"."))
    _kernel("umount2", libc.umount2(b".", _DETACH))
    os.chdir("/")


def _become_nobody(libc: ctypes.CDLL, proc: int) -> None:
    """Another user namespace, in which this process is nobody. ``proc`` is /proc as it was, where this can be said."""
    _kernel("unshare", libc.unshare(_NEW_USER))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} 0 1"), ("gid_map", f"{NOBODY} 0 1")):
        descriptor = os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc)
        os.write(descriptor, text.encode())
        os.close(descriptor)
    _kernel("prctl", libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _inside(arguments: Sequence[str]) -> int:
    """The part that runs in a process of its own: enter, build, and hand over to the program."""
    libc = ctypes.CDLL(None, use_errno=True)
    probing = arguments[0] == "--probe"
    _enter(libc)
    child = os.fork()  # the first of the new processes
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) % 256
    try:
        proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        if probing:
            folder = Path(arguments[1])
            root, images, out = (folder / name for name in ("root", "input", "output"))
            for path in (root, images, out):
                path.mkdir()
            _build(libc, root, images, out, [])
            _leave(libc, root)
            _become_nobody(libc, proc)
            os._exit(0)
        root, images, out = (Path(argument) for argument in arguments[:3])
        see = [Path(path) for path in arguments[3].split(os.pathsep) if path]
        _build(libc, root, images, out, see)
        _leave(libc, root)
        _become_nobody(libc, proc)
        os.execvpe(arguments[4], list(arguments[4:]), dict(os.environ) | {"HOME": "/tmp", "TMPDIR": "/tmp"})  # noqa: S108, S606
    except OSError as error:
        sys.stderr.write(f"{error.strerror or error}\n")
        os._exit(125)


if __name__ == "__main__":
    sys.exit(_inside(sys.argv[1:]))
