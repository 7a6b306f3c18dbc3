"""Starts a program that may read what was named, write its own directories, and reach nobody: Landlock, mounts, a filter.

Run as a program of its own (`python -I -S`) with one request as its argument (JSON: `read`, `write`, `network`), then the command
line. Decides how a confined run is shut in; what it may read and whether it is confined at all is said by who starts it.

Three locks, one behind the other. Where mounts are allowed, everything but its own directories is mounted read-only, so that not even
modes and times change. Landlock lets it read and start the machine's programs and what was named, nothing else: no home, no
credentials, no other process's memory. Sockets of the file system (the doors of container engines, of agents) cannot be made.
Inside a job, where nothing may be mounted, the other two hold; where there are no namespaces, sockets of the network cannot be made
either. Where there is no Landlock, nothing is started.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import struct
import sys

from aegis.adapters.executor_init.calls import (
    ALLOW,
    ARCHITECTURE,
    DENY,
    EQUAL,
    FILTER,
    FIRST,
    GIVE,
    KINDS,
    LOAD,
    NUMBER,
    PR_SET_SECCOMP,
    filtered,
)
from aegis.adapters.executor_init.system import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    LINUX,
    MACHINE,
    MS_BIND,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    PR_SET_NO_NEW_PRIVS,
    SYS_MOUNT_SETATTR,
    StageError,
    call,
    libc,
    mount,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL_DEV = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
HANDLED = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights each version of Landlock knows; later ones know no more of files that matters here."""
SCOPED, SCOPED_SINCE = 0b11, 6
"""Neither abstract sockets nor signals go outside, from that version on."""
DOORS, NETWORK = (1,), (2, 10)
"""Families of sockets: those of the file system, and of both internet protocols."""
PROGRAMS = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf",
    "/etc/ld.so.conf.d", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/os-release", "/etc/localtime", "/etc/timezone",
    "/etc/mime.types", "/proc/cpuinfo", "/proc/meminfo", "/proc/filesystems", "/sys/devices/system/cpu",
)  # fmt: skip
"""What every program of the machine needs of it, and nobody's secrets."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def version() -> int:
    """Which Landlock the kernel has; 0 for none."""
    if not LINUX or MACHINE not in KINDS:
        return 0
    return max(0, int(libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))))


def apart(*, network: bool) -> bool:
    """New namespaces of mounts and, unless it may use it, of the network, as the same user. Whether mounts are this process's own."""
    user, group = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWUSER) != 0:
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    if not network:
        call("network", libc.unshare(CLONE_NEWNET))
    return bool(libc.unshare(CLONE_NEWNS) == 0)


def frozen(write: Iterable[str]) -> None:
    """Mount everything read-only but these directories. Where mounts are not allowed, or too old, nothing changes."""
    try:
        mount("", "/", "", MS_REC | MS_PRIVATE)
        for path in write:
            mount(path, path, "", MS_BIND | MS_REC)
    except StageError:
        return
    held = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in write]
    shut, opened = struct.pack("QQQQ", MS_RDONLY, 0, 0, 0), struct.pack("QQQQ", 0, MS_RDONLY, 0, 0)
    if libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, b"/", AT_RECURSIVE, shut, len(shut)) == 0:
        for one in held:
            done = libc.syscall(SYS_MOUNT_SETATTR, one, b"", AT_EMPTY_PATH, opened, len(opened))
            call("own directories", done)
    for one in held:
        os.close(one)
    os.chdir(os.getcwd())  # the directory of before lies beneath what is read-only now


def landlocked(known: int, read: Iterable[str], write: Iterable[str]) -> None:
    """From here on, for this process and all that it starts."""
    handled = (1 << HANDLED[min(known, max(HANDLED))]) - 1
    wanted = struct.pack("Q", handled) + (struct.pack("QQ", 0, SCOPED) if known >= SCOPED_SINCE else b"")
    rules = libc.syscall(CREATE_RULESET, wanted, ctypes.c_size_t(len(wanted)), ctypes.c_uint32(0))
    call("landlock", min(rules, 0))
    seen = EXECUTE | READ_FILE | READ_DIR
    allowed = [(path, seen) for path in (*PROGRAMS, *read)]
    allowed += [(path, (READ_FILE | WRITE_FILE | TRUNCATE) & handled) for path in DEVICES]
    allowed += [(path, handled) for path in write]
    for path, rights in allowed:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # what is not there need not be seen
        given = rights if os.path.isdir(path) else rights & OF_FILES
        rule = struct.pack("=Qi", given, place)
        call(f"landlock {path}", libc.syscall(ADD_RULE, rules, ctypes.c_int(1), rule, ctypes.c_uint32(0)))
        os.close(place)
    call("landlock", libc.syscall(RESTRICT_SELF, rules, ctypes.c_uint32(0)))
    os.close(rules)


def without_sockets(families: tuple[int, ...]) -> None:
    """No socket of these families can be made, of the kinds that lead out whatever the namespaces are."""
    kind, _, socket, _ = KINDS[MACHINE]
    lines = [
        (LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, kind), (GIVE, 0, 0, DENY | errno.ENOSYS), (LOAD, 0, 0, NUMBER),
        (EQUAL, 0, 1 + len(families), socket), (LOAD, 0, 0, FIRST),
        *((EQUAL, len(families) - place, 0, one) for place, one in enumerate(families)), (GIVE, 0, 0, ALLOW),
        (GIVE, 0, 0, DENY | errno.EAFNOSUPPORT),
    ]  # fmt: skip
    program = b"".join(struct.pack("HBBI", *line) for line in lines)
    held = ctypes.create_string_buffer(program)
    wanted = struct.pack("HxxxxxxQ", len(lines), ctypes.addressof(held))
    call("filter of sockets", libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.c_char_p(wanted), 0, 0))


def main() -> NoReturn:
    """Shut this process in and become the program."""
    request, argv = json.loads(sys.argv[1]), sys.argv[2:]
    known = version()
    try:
        if not known:
            raise StageError("landlock", "the kernel has none", "ENOSYS")  # noqa: TRY301 - one way out for all of them
        alone = apart(network=request["network"])
        if alone:
            frozen(request["write"])
        call("no_new_privs", libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        landlocked(known, request["read"], request["write"])
        filtered()
        without_sockets(DOORS if alone or request["network"] else (*DOORS, *NETWORK))
        os.execv(argv[0], argv)  # noqa: S606 - what it is for
    except (StageError, OSError) as error:
        os.write(2, f"the program could not be shut in: {' '.join(str(one) for one in error.args)}\n".encode())
    os._exit(125)
