"""The system calls that a step's world is made of, by number where the C library has no name for them."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}
SYS_CAPSET = {"x86_64": 126, "aarch64": 91, "riscv64": 91}
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442
AT_FDCWD, AT_RECURSIVE, AT_EMPTY_PATH = -100, 0x8000, 0x1000
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC, MOVE_MOUNT_F_EMPTY_PATH = 1, os.O_CLOEXEC, 4
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 36, 38
INNER_ID = 1000
LINUX = sys.platform == "linux"
MACHINE = os.uname().machine

libc = ctypes.CDLL(None, use_errno=True)


class StageError(Exception):
    """A stage of the set-up failed."""


def call(stage: str, result: int) -> None:
    """Turn a C result into an error that names its stage."""
    if result != 0:
        number = ctypes.get_errno()
        raise StageError(stage, os.strerror(number), errno.errorcode.get(number, str(number)))


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """The system call."""
    made = libc.mount(
        source.encode() or None, target.encode(), kind.encode() or None, ctypes.c_ulong(flags), data.encode() or None
    )
    call(f"mount {kind or source} on {target}", made)


def restrict(target: str, *, writable: bool = False) -> None:
    """Make a mount and all below it nosuid, nodev and, unless writable, read-only."""
    wanted = MS_NOSUID | MS_NODEV | (0 if writable else MS_RDONLY)
    attributes = struct.pack("QQQQ", wanted, 0, 0, 0)
    done = libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, target.encode(), AT_RECURSIVE, attributes, len(attributes))
    if done == 0:
        return
    if ctypes.get_errno() != errno.ENOSYS:
        call(f"restrict {target}", done)
    # Before Linux 5.12: this mount alone, keeping the flags that it has.
    had = os.statvfs(target).f_flag & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("", target, "", MS_REMOUNT | MS_BIND | had | wanted)


def foothold(place: str, *, directory: bool) -> None:
    """Something to mount on at `place`."""
    if directory:
        os.makedirs(place, 0o755, exist_ok=True)
    elif not os.path.lexists(place):
        os.makedirs(os.path.dirname(place), 0o755, exist_ok=True)
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def bind(source: str, root: str, target: str, *, writable: bool = False) -> None:
    """Show `source` at `target` below the new root."""
    place = root + target
    foothold(place, directory=os.path.isdir(source))
    mount(source, place, "", MS_BIND | MS_REC)
    restrict(place, writable=writable)


def lifted(source: str, *, writable: bool = False) -> int:
    """A descriptor of what is mounted at `source`, with all below it, that belongs nowhere yet. From Linux 5.12 on."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE
    tree: int = libc.syscall(SYS_OPEN_TREE, AT_FDCWD, source.encode(), flags)
    call(f"lift {source}", min(tree, 0))
    wanted = MS_NOSUID | MS_NODEV | (0 if writable else MS_RDONLY)
    attributes = struct.pack("QQQQ", wanted, 0, MS_PRIVATE, 0)
    done = libc.syscall(SYS_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH | AT_RECURSIVE, attributes, len(attributes))
    call(f"restrict {source}", done)
    return tree


def settle(tree: int, target: str) -> None:
    """Put down what was lifted; its descriptor is closed."""
    done = libc.syscall(SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, target.encode(), MOVE_MOUNT_F_EMPTY_PATH)
    call(f"mount on {target}", done)
    os.close(tree)
