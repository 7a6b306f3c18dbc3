"""The few steps between fork and exec of a supervised program. Run as a script: `python -I -S launcher.py SPEC`.

In a process of its own, because they must not happen between fork and exec of a process with threads: joins the
cgroups, hides directories behind an empty file system, gives up root, ties its life to its parent's, then becomes
the program. Imports the standard library only. SPEC is JSON, as `aegis.adapters.supervised` writes it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any

# linux/sched.h, linux/mount.h, linux/prctl.h
CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
CAPABILITIES = 64  # the kernel answers EINVAL beyond its last
FAILED = 126  # as a shell says of a program that cannot be started


def main(text: str) -> None:
    """Become the program that the specification names."""
    spec: dict[str, Any] = json.loads(text)
    linux = sys.platform == "linux"
    for path in spec["cgroups"]:
        with open(path, "w", encoding="ascii") as file:  # noqa: PTH123 - nothing but what is needed is imported here
            file.write(str(os.getpid()))
    if linux and spec["hide"]:
        _hide(spec["hide"], spec["show"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if spec["memory"]:
        resource.setrlimit(resource.RLIMIT_DATA, (spec["memory"], spec["memory"]))
    if spec["nice"]:
        os.nice(spec["nice"])
    if linux and spec["powerless"]:
        _drop_capabilities()
    if spec["user"]:
        os.setgroups([])
        os.setresgid(spec["user"], spec["user"], spec["user"])
        os.setresuid(spec["user"], spec["user"], spec["user"])
    if linux:
        _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # After the change of user, which clears it.
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != spec["parent"]:  # the parent died before the line above
            os._exit(FAILED)
    os.chdir(spec["cwd"])
    os.umask(0o022)
    os.execve(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606 - that is the purpose


def _call(name: str, *arguments: Any) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _drop_capabilities() -> None:
    """Root that can do no more than its user id: what is executed next gets no capability, so it cannot unmount."""
    library = ctypes.CDLL(None, use_errno=True)
    for number in range(CAPABILITIES):
        if library.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            return


def _hide(hidden: list[str], shown: list[list[Any]]) -> None:
    """Cover the hidden directories with empty file systems in which only the shown ones appear, at their own paths."""
    _call("unshare", CLONE_NEWNS)
    _call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    held = [(os.open(path, os.O_PATH), path, writable) for path, writable in shown]
    for path in hidden:
        _call("mount", b"aegis", os.fsencode(path), b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=755,size=256k")
    os.umask(0o022)
    for handle, path, writable in held:
        os.makedirs(path, exist_ok=True)  # noqa: PTH103 - as above
        source, target = f"/proc/self/fd/{handle}".encode(), os.fsencode(path)
        _call("mount", source, target, None, MS_BIND, None)
        if not writable:
            _call("mount", b"none", target, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, None)
        os.close(handle)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except OSError as error:
        sys.stderr.write(f"cannot be started: {error}\n")
        sys.exit(FAILED)
