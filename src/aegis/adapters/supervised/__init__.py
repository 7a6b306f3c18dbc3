"""Starts programs that must not outlive this process, must not see its files, and are ended by us alone.

Decides: how a child is confined. As root on Linux: a user of its own (where that user can run the
program), no capabilities, a mount namespace in which the concealed directories are empty, cgroup limits. Otherwise: a process group, a clean environment, RLIMIT_DATA and niceness;
`Confinement.words` says which it is. Dies with the thread that started it (PR_SET_PDEATHSIG): that thread must live as
long as the child. On other systems than Linux a child survives a `kill -9` of this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from aegis.core.errors import ExternalError

_LAUNCHER: Final = str(Path(__file__).with_name("launcher.py"))
_NICE: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What keeps a child in. `conceal` are directories it must not see, `user` a numeric id (0: keep ours).

    `mounts`: the directories are really concealed, and capabilities given up; else only the environment is clean.
    """

    conceal: tuple[str, ...] = ()
    mounts: bool = False
    user: int = 0

    @property
    def words(self) -> str:
        """As it is recorded: `user+mounts`, `mounts` or `process`."""
        return "user+mounts" if self.user else "mounts" if self.mounts else "process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Cores and bytes (0: none); `cgroups` are the files to enter, else the nearest the system offers is used."""

    cpu: float = 0.0
    memory: int = 0
    cgroups: tuple[str, ...] = ()


class Child:
    """A started program. Only the thread that started it should end, for it dies with that thread."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid
        self._seen = False

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._noted(self._process.poll())

    def wait(self, seconds: float) -> int | None:
        """As `poll`, but waits."""
        try:
            return self._noted(self._process.wait(seconds))
        except subprocess.TimeoutExpired:
            return None

    def end(self, *, grace: float) -> None:
        """Ask the process group to end, and end it after `grace` seconds; returns when it has."""
        if self.poll() is None:
            self._signal(signal.SIGTERM)
            if self.wait(grace) is None:
                self._signal(signal.SIGKILL)
                self.wait(5.0)

    def _noted(self, code: int | None) -> int | None:
        """Once the leader has gone, what it left in its group goes with it: at once, for later its id is another's."""
        if code is not None and not self._seen:
            self._seen = True
            self._signal(signal.SIGKILL)
        return code

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str,
    output: IO[bytes] | int,
    confinement: Confinement | None = None,
    limits: Limits | None = None,
    show: Sequence[tuple[str, bool]] = (),
) -> Child:
    """Start `argv` (an absolute program) in its own process group; both its streams go to `output`.

    `show` are directories below concealed ones that it may see, with whether it may write there.
    """
    confined, bounds = confinement or Confinement(), limits or Limits()
    by_group = bool(bounds.cgroups)
    spec = {
        "argv": list(argv),
        "env": dict(env),
        "cwd": cwd,
        "parent": os.getpid(),
        "cgroups": list(bounds.cgroups),
        "hide": [one for one in confined.conceal if Path(one).is_dir()] if confined.mounts else [],
        "powerless": confined.mounts,
        "show": [list(one) for one in show],
        "user": confined.user,
        "memory": 0 if by_group else bounds.memory,
        "nice": 0 if by_group or not bounds.cpu else _NICE,
    }
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", _LAUNCHER, json.dumps(spec)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise ExternalError("process-start", f"cannot start {argv[0]}: {error}") from error
    return Child(process)


def confinement(*, conceal: Sequence[str], user: int, trial: Sequence[str], visible: str) -> Confinement:
    """The strongest confinement in which the command `trial` still succeeds and sees the directory `visible`.

    Tried once, really: an interpreter in a home directory, for instance, cannot be run by another user.
    """
    hidden = tuple(conceal)
    if sys.platform == "linux" and os.getuid() == 0:
        for strong in (
            Confinement(conceal=hidden, mounts=True, user=user),
            Confinement(conceal=hidden, mounts=True),
        ):
            child = spawn(
                trial,
                env={},
                cwd=visible,
                output=subprocess.DEVNULL,
                confinement=strong,
                show=[(visible, False)],
            )
            code = child.wait(10.0)
            child.end(grace=0)
            if code == 0:
                return strong
    return Confinement(conceal=hidden)


def started_at(pid: int) -> str:
    """A mark that no later process with the same id has; empty where there is none or it cannot be read."""
    try:
        # Field 22 of proc(5) stat, counted after the name, which may hold spaces and parentheses.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def tail(log: Path, lines: int) -> tuple[str, ...]:
    """The last lines of a log, at most 64 KiB of it; bytes that are no UTF-8 are replaced."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 65536))
            return tuple(file.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ()
