"""Who a step is and what it may: its identity, its capabilities, the bounds of its processes."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # `signal` itself would import enum
import errno
import os
import resource
import struct

from aegis.adapters.executor_init.calls import filtered
from aegis.adapters.executor_init.system import (
    CLONE_NEWUSER,
    INNER_ID,
    MACHINE,
    PR_CAPBSET_DROP,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    SYS_CAPSET,
    StageError,
    call,
    libc,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def map_identity(uid: int, gid: int) -> None:
    """Let this process be `INNER_ID` in its user namespace."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{INNER_ID} {uid} 1"), ("gid_map", f"{INNER_ID} {gid} 1")):
        try:
            # Without a codec, which would be looked up in a standard library that is out of sight by now.
            with open(f"/proc/self/{name}", "wb", buffering=0) as file:
                file.write(text.encode())
        except OSError as error:
            raise StageError(
                f"write {name}", os.strerror(error.errno or 0), errno.errorcode.get(error.errno or 0, "")
            ) from error


def powerless() -> None:
    """Give up every capability, now and for every program started from here."""
    call("no_new_privs", libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    header, data = struct.pack("Ii", 0x20080522, 0), struct.pack("IIIIII", 0, 0, 0, 0, 0, 0)
    call("capset", libc.syscall(SYS_CAPSET[MACHINE], header, data))


def become(request: dict[str, Any]) -> None:
    """Take the job's identity."""
    if request["mode"] == "root":
        uid, gid = request["owner"]
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        call("user namespace", libc.unshare(CLONE_NEWUSER))
        map_identity(uid, gid)
    powerless()
    filtered()
    # What the first process holds is not the job's to read, although both are the same user. A program that is started
    # can be read again.
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    # A change of identity forgets who must not be outlived.
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def limit(request: dict[str, Any]) -> None:
    """Bound what one process, or all of this identity's, may use."""
    bounds = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, request["limits"]["files"])]
    for name, constant in (("memory", "RLIMIT_AS"), ("processes", "RLIMIT_NPROC")):
        if request["limits"][name] and hasattr(resource, constant):
            bounds.append((getattr(resource, constant), request["limits"][name]))
    for kind, bound in bounds:
        hard = resource.getrlimit(kind)[1]
        value = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (value, value))


def first_to_go() -> None:
    """Where the machine's memory is used up, rather a job's process than its server's."""
    try:
        handle = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return  # not everywhere is it there
    os.write(handle, b"500")
    os.close(handle)
