# Importing pathlib, json, enum or typing would cost each step more than all its mounts: hence plain `os`, and marshal.
# ruff: noqa: PTH101, PTH102, PTH103, PTH106, PTH110, PTH112, PTH114, PTH115, PTH120, PTH123, PTH208, PTH211
"""The first process of a step: makes the step's world, starts its shell, and takes everything down with it.

Run as a program of its own (`python -I -S`), with nothing but the standard library. With the number of a socket as its
argument it is the keeper: for each message with three descriptors (request, output, report) it forks a step and answers its
process id. With `terminal` and a descriptor it is a shell for a person, whose request is read there. Without, it is one
step, with the request on standard input. The request is one marshalled mapping (the same
interpreter wrote it); what happened is told on the report: `used <seconds> <memory> <read>
<written>` (bytes) and `exit <code>`, or `error <stage>: <text>` when the step
could not be started.

Modes. `root`: started by the machine's root; the mounts belong to the machine, the job gets an unprivileged identity
of its own and then a user namespace without rights over them. `user`: an ordinary user's namespaces. `process`: no
namespaces; as a subreaper it still finds descendants that made sessions of their own.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # `signal` itself would import enum
import ctypes
import errno
import marshal
import os
import resource
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}
SYS_CAPSET = {"x86_64": 126, "aarch64": 91, "riscv64": 91}
SYS_MOUNT_SETATTR = 442
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 36, 38
TIOCSCTTY = 0x540E
INNER_ID = 1000
REPORT = 99
"""The descriptor of a kept step's report."""
LINUX = sys.platform == "linux"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt")
HIDDEN = ("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

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


def bind(source: str, root: str, target: str, *, writable: bool = False) -> None:
    """Show `source` at `target` below the new root."""
    place = root + target
    if os.path.isdir(source):
        os.makedirs(place, 0o755, exist_ok=True)
    elif not os.path.lexists(place):
        os.makedirs(os.path.dirname(place), 0o755, exist_ok=True)
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    mount(source, place, "", MS_BIND | MS_REC)
    restrict(place, writable=writable)


def system_directories(root: str) -> list[str]:
    """Show the machine's programs, read-only; the directories that are shown."""
    shown = []
    for path in SYSTEM:
        if os.path.islink(path):
            os.symlink(os.readlink(path), root + path)
        elif os.path.isdir(path):
            bind(path, root, path)
            shown.append(path)
    return shown


def covered(path: str, shown: list[str]) -> bool:
    """Whether `path` lies in what is shown already."""
    return any(path == one or path.startswith(one + "/") for one in shown)


def devices(root: str) -> None:
    """A small /dev."""
    mount("tmpfs", root + "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k")
    for name in DEVICES:
        if os.path.exists(f"/dev/{name}"):
            os.close(os.open(f"{root}/dev/{name}", os.O_CREAT | os.O_WRONLY, 0o666))
            mount(f"/dev/{name}", f"{root}/dev/{name}", "", MS_BIND)
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(f"/proc/self/{target}", f"{root}/dev/{name}")
    os.mkdir(root + "/dev/shm")  # noqa: S108 - the job's own
    mount("tmpfs", root + "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=256m")  # noqa: S108 - the job's own
    os.mkdir(root + "/dev/pts")
    try:
        mount("devpts", root + "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
        os.symlink("pts/ptmx", root + "/dev/ptmx")
    except StageError:
        # Some containers forbid it; a job without terminals is complete enough.
        os.rmdir(root + "/dev/pts")


def identity_files(root: str) -> None:
    """Names for the job's ids, and nothing of the machine's accounts."""
    files = {
        "passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\njob:x:{INNER_ID}:{INNER_ID}:job:/home/job:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
        "group": f"root:x:0:\njob:x:{INNER_ID}:\nnogroup:x:65534:\n",
    }
    os.makedirs(root + "/run/identity", 0o755)
    for name, text in files.items():
        path = f"{root}/run/identity/{name}"
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, 0o644)
        if os.path.exists(f"{root}/etc/{name}"):
            mount(path, f"{root}/etc/{name}", "", MS_BIND)
            restrict(f"{root}/etc/{name}")
    for path in HIDDEN:
        if os.path.lexists(root + path) and not os.path.islink(root + path):
            mount("/dev/null", root + path, "", MS_BIND)


def world(request: dict[str, Any]) -> None:
    """Build the new root and move into it. Everything that is not named stays outside."""
    root = request["root"]
    mount("", "/", "", MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=4m")
    for name in ("dev", "proc", "tmp", "run", "var/tmp", "home", "builds"):
        os.makedirs(f"{root}/{name}", 0o755)
    shown = system_directories(root)
    identity_files(root)
    resolver = os.path.realpath("/etc/resolv.conf")
    wanted = [(path, path, False) for path in {*request["read_only"], resolver} if os.path.exists(path)]
    wanted += [(target, source, True) for target, source in request["writable"]]
    # Outer directories before what lies in them, whichever kind they are.
    for target, source, writable in sorted(wanted, key=lambda one: (one[0].count("/"), one[0])):
        if writable or not covered(target, shown):
            bind(source, root, target, writable=writable)
            if not writable:
                shown.append(target)
    devices(root)
    mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    os.chdir(root)
    here = ctypes.c_char_p(b".")
    call("pivot_root", libc.syscall(SYS_PIVOT_ROOT[os.uname().machine], here, here))
    call("leave the old root", libc.umount2(b".", MNT_DETACH))
    os.chdir("/")
    mount("", "/", "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    libc.sethostname(b"job", 3)


def map_identity(uid: int, gid: int) -> None:
    """Let this process be `INNER_ID` in its user namespace."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{INNER_ID} {uid} 1"), ("gid_map", f"{INNER_ID} {gid} 1")):
        try:
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
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
    call("capset", libc.syscall(SYS_CAPSET[os.uname().machine], header, data))


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


def start_shell(request: dict[str, Any]) -> int:
    """Fork the step's shell in a session of its own; its process id."""
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        if request.get("terminal"):
            libc.ioctl(0, TIOCSCTTY, 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        limit(request)
        os.chdir(request["directory"])
        os.execve(request["argv"][0], request["argv"], request["environment"])  # noqa: S606 - it is the shell
    except OSError as error:
        os.write(2, f"cannot start {request['argv'][0]}: {error.strerror}\n".encode())
    os._exit(127)


def watch(shell: int, grace: float) -> int:
    """Reap until the shell has ended; its code, 128+n for a signal n. SIGTERM ends it, by force after `grace` seconds."""

    def end(number: int) -> None:
        try:
            os.killpg(shell, number)
        except ProcessLookupError:
            return

    def ask(_signal: int, _frame: object) -> None:
        end(signal.SIGTERM)
        signal.setitimer(signal.ITIMER_REAL, max(grace, 0.01))

    signal.signal(signal.SIGALRM, lambda *_: end(signal.SIGKILL))
    signal.signal(signal.SIGTERM, ask)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == shell:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def report(request: dict[str, Any], what: str) -> None:
    """Tell the runner."""
    os.write(request["report"], f"{what}\n".encode())


def ended(request: dict[str, Any], code: int) -> None:
    """Tell how the step ended, and what those of its processes used that somebody waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    unit = 1024 if LINUX else 1
    numbers = f"{used.ru_maxrss * unit} {used.ru_inblock * 512} {used.ru_oublock * 512}"
    report(request, f"used {used.ru_utime + used.ru_stime:.6f} {numbers}\nexit {code}")


def first_process(request: dict[str, Any], life: int) -> NoReturn:
    """Process 1 of the namespace."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.set_blocking(life, False)
    try:
        if os.read(life, 1) == b"":
            os._exit(1)
    except BlockingIOError:
        pass  # the starter lives
    try:
        world(request)
        become(request)
    except StageError as error:
        report(request, f"error {error.args[0]}: {error.args[1]} ({error.args[2]})")
        os._exit(1)
    except OSError as error:
        report(request, f"error {error.filename or 'set-up'}: {error.strerror}")
        os._exit(1)
    ended(request, watch(start_shell(request), request["grace"]))
    os._exit(0)


def isolated(request: dict[str, Any]) -> NoReturn:
    """Start process 1 in new namespaces and wait for it."""
    flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS
    try:
        if request["mode"] == "user":
            uid, gid = os.geteuid(), os.getegid()
            call("user namespace", libc.unshare(CLONE_NEWUSER | flags))
            map_identity(uid, gid)
        else:
            call("namespaces", libc.unshare(flags))
    except StageError as error:
        report(request, f"error {error.args[0]}: {error.args[1]} ({error.args[2]})")
        os._exit(1)
    life, held = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(held)
        first_process(request, life)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for descriptor in (0, 1, 2, request["report"]):
        os.close(descriptor)
    os.waitpid(child, 0)
    os._exit(0)


def children() -> list[int]:
    """The processes that belong to this one, orphans included, since it is their subreaper."""
    found: list[int] = []
    try:
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
                found.extend(int(one) for one in file.read().split())
    except OSError:
        return []
    return found


def plain(request: dict[str, Any]) -> NoReturn:
    """No namespaces: run the shell, then end whatever it left."""
    if LINUX:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    shell = start_shell(request)
    code = watch(shell, request["grace"])
    try:
        os.killpg(shell, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        code += 0  # nobody is left in the group
    while left := children():
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        for pid in left:
            os.waitpid(pid, 0)
    ended(request, code)
    os._exit(0)


def step(given: int) -> NoReturn:
    """Read one request and carry it out."""
    parts = []
    while part := os.read(given, 1 << 20):
        parts.append(part)
    if not parts:
        os._exit(0)  # started ahead and not needed
    request = marshal.loads(b"".join(parts))  # noqa: S302 - written by the runner that started this
    if not request.get("terminal"):
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
    if LINUX:
        # Without namespaces there is work to do at the end, so the signal has to be one that can be handled.
        death = signal.SIGTERM if request["mode"] == "process" else signal.SIGKILL
        libc.prctl(PR_SET_PDEATHSIG, death, 0, 0, 0)
        if os.getppid() != request["parent"]:
            os._exit(1)
    if request["mode"] == "process":
        plain(request)
    isolated(request)


def keep(number: int) -> NoReturn:
    """Fork a step for each message until the runner is gone. What is loaded here need not be loaded for every step."""
    import socket  # noqa: PLC0415 - a step that is a program of its own does without

    if LINUX:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def reap(_signal: int, _frame: object) -> None:
        # The runner sees the ends through descriptors of its own; here they are only counted.
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return

    signal.signal(signal.SIGCHLD, reap)
    door = socket.socket(fileno=number)
    while True:
        message, given, _, _ = socket.recv_fds(door, 1, 3)
        if not message or len(given) != 3:
            os._exit(0)
        child = os.fork()
        if child == 0:
            door.close()
            os.setsid()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(given[1], 1)
            os.dup2(given[1], 2)
            os.close(given[1])
            # The number that the request names, whatever it is here.
            os.dup2(given[2], REPORT, inheritable=False)
            step(given[0])
        for descriptor in given:
            os.close(descriptor)
        door.send(b"%10d" % child)


def main() -> NoReturn:
    """Keep, or carry out one step."""
    # Until somebody can act on it, the wish to stop waits: a shell without its keeper would be left over.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    if len(sys.argv) > 2:
        step(int(sys.argv[2]))
    if len(sys.argv) > 1:
        keep(int(sys.argv[1]))
    step(0)


if __name__ == "__main__":
    main()
