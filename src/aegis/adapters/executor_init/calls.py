"""Which system calls a step has not: those that are for whoever runs the machine. A filter for the kernel, made once.

What is denied is what containers deny as well: the kernel's keys, programs and modules, mounts, clocks, performance counters,
handles of files, entering namespaces of others, asynchronous rings, and sockets of kinds that no namespace parts (virtual
machines' own, the kernel's ciphers). Calls that are newer than this list are answered as an older kernel would, and so are those of
another machine's kind (32 bits). New namespaces stay allowed: browsers shut themselves in with them; mounting in them does not.
"""

from __future__ import annotations

import ctypes
import errno
import struct
import sys

from aegis.adapters.executor_init.system import MACHINE, call, libc

PR_SET_SECCOMP, FILTER = 22, 2
ALLOW, DENY = 0x7FFF0000, 0x00050000
NEWEST = 462
"""The last call that this list knows; `mseal`, of Linux 6.10."""
X32 = 0x40000000
LOAD, EQUAL, BEYOND, AT_LEAST, MASK, GIVE = 0x20, 0x15, 0x25, 0x35, 0x54, 0x06
NUMBER, ARCHITECTURE = 0, 4
FIRST, SECOND = (16, 24) if sys.byteorder == "little" else (20, 28)
"""Where the lower halves of the first two arguments lie."""
FAMILIES = (1, 2, 10, 16)
"""Sockets of the file system, of both internet protocols, and of the kernel's tables of the network."""
TERMINAL = (0x5412, 0x541C)
"""Typing into a terminal in the place of its person."""

SAME = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430,
    "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438, "mount_setattr": 442, "quotactl_fd": 443,
    "statmount": 457, "listmount": 458,
}  # fmt: skip
INTEL = {
    "syslog": 103, "uselib": 134, "ustat": 136, "sysfs": 139, "vhangup": 153, "pivot_root": 155, "_sysctl": 156, "acct": 163,
    "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169, "iopl": 172, "ioperm": 173,
    "create_module": 174, "init_module": 175, "delete_module": 176, "get_kernel_syms": 177, "query_module": 178, "quotactl": 179,
    "nfsservctl": 180, "lookup_dcookie": 212, "clock_settime": 227, "kexec_load": 246, "add_key": 248, "request_key": 249,
    "keyctl": 250, "migrate_pages": 256, "move_pages": 279, "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303,
    "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320,
    "bpf": 321, "userfaultfd": 323,
}  # fmt: skip
GENERIC = {
    "lookup_dcookie": 18, "umount2": 39, "mount": 40, "pivot_root": 41, "nfsservctl": 42, "vhangup": 58, "quotactl": 60, "acct": 89,
    "kexec_load": 104, "init_module": 105, "delete_module": 106, "clock_settime": 112, "syslog": 116, "reboot": 142,
    "settimeofday": 170, "add_key": 217, "request_key": 218, "keyctl": 219, "swapon": 224, "swapoff": 225, "migrate_pages": 238,
    "move_pages": 239, "perf_event_open": 241, "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265,
    "clock_adjtime": 266, "setns": 268, "kcmp": 272, "finit_module": 273, "bpf": 280, "userfaultfd": 282, "kexec_file_load": 294,
}  # fmt: skip
KINDS = {
    "x86_64": (0xC000003E, INTEL, 41, 16), "aarch64": (0xC00000B7, GENERIC, 198, 29), "riscv64": (0xC00000F3, GENERIC, 198, 29),
}  # fmt: skip
"""For each kind of machine its number in the kernel, its table, and the calls `socket` and `ioctl`."""
LATER = ("io_uring_setup", "io_uring_enter", "io_uring_register")
"""Programs that find these missing do without."""


def denied(machine: str) -> dict[str, int]:
    """The calls that a step has not, by name."""
    return {**KINDS[machine][1], **SAME}


def program(machine: str) -> bytes:
    """The filter for a kind of machine, as the kernel reads it."""
    kind, table, socket, control = KINDS[machine]
    lines: list[tuple[int, int, int, int]] = []

    def deny(number: int) -> tuple[int, int, int, int]:
        return (GIVE, 0, 0, DENY | number)

    lines += [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, kind), deny(errno.ENOSYS)]
    lines += [(LOAD, 0, 0, NUMBER), (AT_LEAST, 0, 1, NEWEST + 1), deny(errno.ENOSYS)]
    lines += [(EQUAL, 0, 3 + len(FAMILIES), socket), (LOAD, 0, 0, FIRST)]
    lines += [(EQUAL, len(FAMILIES) - place, 0, family) for place, family in enumerate(FAMILIES)]
    lines += [deny(errno.EAFNOSUPPORT), (GIVE, 0, 0, ALLOW)]
    lines += [(EQUAL, 0, 5, control), (LOAD, 0, 0, SECOND)]
    lines += [(EQUAL, 1, 0, TERMINAL[0]), (EQUAL, 0, 1, TERMINAL[1]), deny(errno.EPERM), (GIVE, 0, 0, ALLOW)]
    for name, number in sorted({**table, **SAME}.items(), key=lambda one: one[1]):
        lines += [(EQUAL, 0, 1, number), deny(errno.ENOSYS if name in LATER else errno.EPERM)]
    lines.append((GIVE, 0, 0, ALLOW))
    return b"".join(struct.pack("HBBI", *line) for line in lines)


_PROGRAM = ctypes.create_string_buffer(program(MACHINE)) if MACHINE in KINDS else None


def filtered() -> None:
    """Deny them from here on, to this process and everything it starts. Needs `no_new_privs`."""
    if _PROGRAM is None:
        return
    size = len(_PROGRAM) - 1
    # A count, room until a pointer's boundary, and where the lines are.
    wanted = struct.pack("HxxxxxxQ", size // 8, ctypes.addressof(_PROGRAM))
    call("filter of system calls", libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.c_char_p(wanted), 0, 0))
