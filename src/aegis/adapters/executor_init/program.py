"""The first process of a step: makes the step's world, starts its shell, and takes everything down with it.

Run as a program of its own (`python -I -S`), with nothing but the standard library. With the number of a socket as its
argument it is the keeper: for each message with three descriptors (request, output, report) it forks a step and answers its
process id; the message may describe the ground that the step stands on (see `ground`). With `terminal` and a descriptor it is a shell for a person, whose request is read there. Without, it is one
step, with the request on standard input. The request is one marshalled mapping (the same
interpreter wrote it); what happened is told on the report: `used <seconds> <memory> <read> <written>`
(bytes) and `exit <code>`, or `error <stage>: <text>` when the step could not be started.

Modes. `root`: started by the machine's root; the mounts belong to the machine, the job gets an unprivileged identity
of its own and then a user namespace without rights over them. `user`: an ordinary user's namespaces. `process`: no
namespaces; as a subreaper it still finds descendants that made sessions of their own.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # `signal` itself would import enum
import _socket
import marshal
import os
import resource
import struct
import sys

from aegis.adapters.executor_init.ground import Grounds, step_onto
from aegis.adapters.executor_init.network import accepts, connected, joined
from aegis.adapters.executor_init.rights import become, first_to_go, limit, map_identity
from aegis.adapters.executor_init.root import world
from aegis.adapters.executor_init.system import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    LINUX,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    StageError,
    call,
    libc,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

TIOCSCTTY = 0x540E
REPORT = 99
"""The descriptor of a kept step's report."""


def on_path(program: str, environment: dict[str, str]) -> str:
    """A program by its name, as an image may name what starts the shell. The standard library is out of sight by now."""
    if "/" in program:
        return program
    found = [f"{folder}/{program}" for folder in environment.get("PATH", "").split(":") if folder.startswith("/")]
    return next((one for one in found if os.access(one, os.X_OK)), program)


def spawn_shell(request: dict[str, Any]) -> int:
    """Start the step's shell in a session of its own; its process id. Process 1 takes its bounds on as well.

    Without a copy of this process, which is most of what starting a shell costs.
    """
    defaults = (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ)
    argv, environment = request["argv"], request["environment"]
    limit(request)
    os.chdir(request["directory"])
    return os.posix_spawn(
        on_path(argv[0], environment), argv, environment, setsid=True, setsigmask=(), setsigdef=defaults
    )


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
        os.execve(on_path(request["argv"][0], request["environment"]), request["argv"], request["environment"])  # noqa: S606
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


def die_with(life: int) -> None:
    """End when the starter does; now, if it has ended already and nobody holds the other end of `life` any more."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.set_blocking(life, False)
    try:
        if os.read(life, 1) == b"":
            os._exit(1)
    except BlockingIOError:
        return


def grouped(request: dict[str, Any]) -> None:
    """Enter the job's control groups."""
    for path in request.get("groups", ()):
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.write(handle, b"0")
        os.close(handle)


def apart(request: dict[str, Any]) -> None:
    """Leave the machine's namespaces, all but those of mounts and processes, which the ground and the keeper give."""
    flags, within = CLONE_NEWIPC | CLONE_NEWUTS, request.get("within")
    grouped(request)
    if within:
        joined(within, user=False)
    elif request.get("network") is not None:
        flags |= CLONE_NEWNET
    call("namespaces", libc.unshare(flags))


def first_process(request: dict[str, Any], ground: int = -1) -> NoReturn:
    """Process 1 of the namespace."""
    try:
        if ground >= 0:
            apart(request)
        if request.get("network") is not None and not request.get("within"):
            connected(request["network"])
        if ground >= 0:
            step_onto(ground, request)
        else:
            world(request)
        first_to_go()
        become(request)
    except StageError as error:
        report(request, f"error {error.args[0]}: {error.args[1]} ({error.args[2]})")
        os._exit(1)
    except OSError as error:
        report(request, f"error {error.filename or 'set-up'}: {error.strerror}")
        os._exit(1)
    if request.get("terminal"):
        shell = start_shell(request)
    else:
        try:
            shell = spawn_shell(request)
        except OSError as error:
            os.write(2, f"cannot start {request['argv'][0]}: {error.strerror}\n".encode())
            ended(request, 127)
            os._exit(0)
    ended(request, watch(shell, request["grace"]))
    os._exit(0)


def holding(request: dict[str, Any]) -> NoReturn:
    """Keep a network for a job and its services, until somebody ends this process."""
    try:
        if request["mode"] == "user":
            uid, gid = os.geteuid(), os.getegid()
            call("user namespace", libc.unshare(CLONE_NEWUSER | CLONE_NEWNET))
            map_identity(uid, gid)
        else:
            call("network namespace", libc.unshare(CLONE_NEWNET))
        connected(request["network"])
    except StageError as error:
        report(request, f"error {error.args[0]}: {error.args[1]} ({error.args[2]})")
        os._exit(1)
    report(request, f"holds {os.getpid()}")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    while True:
        signal.pause()


def probing(request: dict[str, Any]) -> NoReturn:
    """Say whether a port of the job's network accepts."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    try:
        joined(request["within"], user=request["mode"] == "user")
        report(request, f"exit {0 if accepts(*request['probe']) else 1}")
    except (StageError, OSError) as error:
        report(request, f"error {error}")
    os._exit(0)


def isolated(request: dict[str, Any]) -> NoReturn:
    """Start process 1 in new namespaces and wait for it."""
    flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS
    within = request.get("within")
    if request.get("network") is not None and not within:
        flags |= CLONE_NEWNET
    try:
        grouped(request)
        if within:
            joined(within, user=request["mode"] == "user")
        if request["mode"] == "user" and not within:
            uid, gid = os.geteuid(), os.getegid()
            call("user namespace", libc.unshare(CLONE_NEWUSER | flags))
            map_identity(uid, gid)
        else:
            call("namespaces", libc.unshare(flags))
    except StageError as error:
        report(request, f"error {error.args[0]}: {error.args[1]} ({error.args[2]})")
        os._exit(1)
    except OSError as error:
        report(request, f"error {error.filename or 'control group'}: {error.strerror}")
        os._exit(1)
    life, held = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(held)
        die_with(life)
        first_process(request)
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


def asked(given: int) -> dict[str, Any]:
    """The request, with nothing to read as standard input unless somebody sits there."""
    parts = []
    while part := os.read(given, 1 << 20):
        parts.append(part)
    if not parts:
        os._exit(0)  # started ahead and not needed
    request: dict[str, Any] = marshal.loads(b"".join(parts))  # noqa: S302 - written by the runner that started this
    if not request.get("terminal"):
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
    return request


def step(given: int) -> NoReturn:
    """Read one request and carry it out."""
    request = asked(given)
    if LINUX:
        # Without namespaces there is work to do at the end, so the signal has to be one that can be handled.
        death = signal.SIGTERM if request["mode"] == "process" else signal.SIGKILL
        libc.prctl(PR_SET_PDEATHSIG, death, 0, 0, 0)
        if os.getppid() != request["parent"]:
            os._exit(1)
    if request.get("hold"):
        holding(request)
    if request.get("probe"):
        probing(request)
    if request["mode"] == "process":
        plain(request)
    isolated(request)


class Keeper:
    """Forks a step for each message until the runner is gone. What is loaded here need not be loaded for every step."""

    def __init__(self, door: int) -> None:
        self._door = door
        self._grounds = Grounds()
        self._life, self._held = os.pipe()
        self._home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC) if LINUX else -1

    def start(self, wish: bytes, given: list[int]) -> int:
        """Fork a step with its request, output and report; its process id."""
        ground = self._grounds.get(wish)
        if ground >= 0 and libc.unshare(CLONE_NEWPID) != 0:
            ground = -1  # the step that tries it by itself says why
        try:
            child = os.fork()
        finally:
            if ground >= 0:
                libc.setns(self._home, CLONE_NEWPID)
        if child:
            return child
        for descriptor in (self._held, self._door, *([self._home] if LINUX else [])):
            os.close(descriptor)
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(given[1], 1)
        os.dup2(given[1], 2)
        os.close(given[1])
        # The number that the request names, whatever it is here.
        os.dup2(given[2], REPORT, inheritable=False)
        if ground < 0:
            step(given[0])
        die_with(self._life)
        first_process(asked(given[0]), ground)


def reap(_signal: int, _frame: object) -> None:
    """The runner sees the ends of steps through descriptors of its own; here they are only counted."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def received(door: _socket.socket) -> tuple[bytes, list[int]]:
    """The head of a message and the descriptors that came with it."""
    size = struct.calcsize("i")
    message, given, _, _ = door.recvmsg(4, _socket.CMSG_LEN(3 * size))
    numbers = [
        number
        for level, kind, data in given
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)
        for (number,) in struct.iter_unpack("i", data[: len(data) - len(data) % size])
    ]
    return message, numbers


def keep(number: int) -> NoReturn:
    """Be the keeper, with this socket as its door."""
    import gc  # noqa: PLC0415 - a step that is a program of its own does without

    if LINUX:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGCHLD, reap)
    # `socket` itself would load enum, selectors and collections, whose memory every fork has to take along.
    door = _socket.socket(fileno=number)
    keeper = Keeper(number)
    # A collection would write to every page that a step shares with this process.
    gc.disable()
    while True:
        message, given = received(door)
        if len(message) != 4 or len(given) != 3:
            os._exit(0)
        wish = b""
        while missing := int.from_bytes(message) - len(wish):
            wish += door.recv(missing) or os._exit(0)
        child = keeper.start(wish, given)
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
