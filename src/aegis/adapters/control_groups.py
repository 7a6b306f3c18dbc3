"""Control groups for jobs: bounds of a job as a whole, and what it used, both kinds of the kernel's interface.

Groups are made below the one that this process is in, where the system lets it; else there are none, and only what a single
process may use can be bounded. With the unified kind a group that has processes cannot bound others below it, so this process
first moves into a group of its own, which is done only when nobody else is in its group.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from aegis.core.spent import JobUsage
from aegis.core.values import dataclass
from aegis.execution.ports import JobLimits

_PERIOD: Final = 100_000
"""Microseconds over which a share of processors is counted, the kernel's own default."""
_OLD: Final = ("memory", "pids", "cpu", "cpuacct", "blkio")
_NEW: Final = ("memory", "pids", "cpu", "io")
_PREFIX: Final = "aegis-jobs-"
"""Of our own groups alone: others of Aegis lie beside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a group has counted so far."""

    usage: JobUsage
    killed: int = 0
    """Processes that were ended because the group's memory was used up."""


class Group:
    """One job's group: a directory for each controller, the same one for all with the unified kind."""

    def __init__(self, places: Mapping[str, Path], *, unified: bool) -> None:
        self._places = places
        self._unified = unified
        self._before = Seen(usage=JobUsage())
        self._paths = tuple(dict.fromkeys(places.values()))

    @property
    def entrances(self) -> list[str]:
        """The files into which a process writes `0` to enter."""
        return [str(path / "cgroup.procs") for path in self._paths]

    @property
    def bounds_memory(self) -> bool:
        """Whether the whole job's memory can be bounded."""
        return "memory" in self._places

    def limit(self, limits: JobLimits) -> None:
        """Bound the job; what a controller does not know stays unbounded."""
        new = self._unified
        if limits.total_memory:
            self._write("memory", "memory.max" if new else "memory.limit_in_bytes", str(limits.total_memory))
            # Swap would only draw the end out.
            self._write("memory", "memory.swap.max" if new else "memory.memsw.limit_in_bytes",
                        "0" if new else str(limits.total_memory))  # fmt: skip
        if limits.processes:
            self._write("pids", "pids.max", str(limits.processes))
        if limits.cpus:
            quota = int(limits.cpus * _PERIOD)
            self._write("cpu", "cpu.max" if new else "cpu.cfs_quota_us", f"{quota} {_PERIOD}" if new else str(quota))

    def _write(self, controller: str, name: str, value: str) -> None:
        if controller in self._places:
            with contextlib.suppress(FileNotFoundError, PermissionError):
                (self._places[controller] / name).write_text(value, encoding="ascii")

    def _read(self, controller: str, name: str) -> str:
        try:
            return (self._places[controller] / name).read_text(encoding="ascii")
        except (KeyError, OSError):
            return ""

    def seen(self) -> Seen:
        """What was counted since it was made."""
        if self._unified:
            seconds = _field(self._read("cpu", "cpu.stat"), "usage_usec") / 1e6
            peak = _number(self._read("memory", "memory.peak"))
            killed = _field(self._read("memory", "memory.events"), "oom_kill")
            moved = [line.split() for line in self._read("io", "io.stat").splitlines()]
            read, written = (sum(_pair(words, name) for words in moved) for name in ("rbytes", "wbytes"))
        else:
            seconds = _number(self._read("cpuacct", "cpuacct.usage")) / 1e9
            peak = _number(self._read("memory", "memory.max_usage_in_bytes"))
            killed = _field(self._read("memory", "memory.oom_control"), "oom_kill")
            text = self._read("blkio", "blkio.throttle.io_service_bytes_recursive")
            rows = [line.split() for line in text.splitlines()]
            read, written = (sum(int(row[2]) for row in rows if row[1:2] == [name]) for name in ("Read", "Write"))
        usage = JobUsage(cpu_seconds=seconds, peak_memory=peak, read_bytes=read, written_bytes=written)
        return Seen(usage=usage, killed=killed)

    def since(self, own: JobUsage | None) -> tuple[JobUsage | None, int]:
        """What a step used since the last call, and how many of its processes were ended for want of memory.

        `own` is what the step's processes say of themselves: it counts for what no controller has counted.
        """
        seen, before = self.seen(), self._before
        self._before = seen
        said = own or JobUsage()
        counted = seen.usage
        moved = "io" in self._places or "blkio" in self._places
        return JobUsage(
            cpu_seconds=(counted.cpu_seconds - before.usage.cpu_seconds) or said.cpu_seconds,
            peak_memory=counted.peak_memory or said.peak_memory,
            read_bytes=counted.read_bytes - before.usage.read_bytes if moved else said.read_bytes,
            written_bytes=counted.written_bytes - before.usage.written_bytes if moved else said.written_bytes,
        ), seen.killed - before.killed

    def remove(self) -> bool:
        """Whether it is gone; False while a process of it is still being taken away."""
        gone = True
        for path in self._paths:
            try:
                path.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                gone = False
        return gone


class ControlGroups:
    """Makes groups below `places` (by controller)."""

    def __init__(self, places: Mapping[str, Path], *, unified: bool) -> None:
        self._unified = unified
        self._places = {name: path / f"{_PREFIX}{os.getpid()}" for name, path in places.items()}
        self._count = 0
        self._left: list[Group] = []
        for path in dict.fromkeys(places.values()):
            _sweep(path)
        for path in dict.fromkeys(self._places.values()):
            path.mkdir(exist_ok=True)
            if unified:
                _enable(path, places)

    @property
    def controllers(self) -> tuple[str, ...]:
        """Those that there are."""
        return tuple(self._places)

    def make(self, limits: JobLimits) -> Group | None:
        """A group for one job; None where the system gives none any more."""
        self._left = [one for one in self._left if not one.remove()]
        self._count += 1
        places = {name: path / str(self._count) for name, path in self._places.items()}
        group = Group(places, unified=self._unified)
        try:
            for path in dict.fromkeys(places.values()):
                path.mkdir()
            group.limit(limits)
        except OSError:
            self.give_back(group)
            return None
        return group

    def give_back(self, group: Group) -> None:
        """The job has ended. What cannot be removed at once is removed later."""
        if not group.remove():
            self._left.append(group)

    def close(self) -> None:
        """Remove what is left."""
        self._left = [one for one in self._left if not one.remove()]
        for path in dict.fromkeys(self._places.values()):
            with contextlib.suppress(OSError):
                path.rmdir()


def control_groups() -> ControlGroups | None:
    """The groups that this process may make; None where it may make none that bound anything."""
    try:
        own = Path("/proc/self/cgroup").read_text(encoding="utf-8")
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
        places, unified = found(own, mounts)
        if unified:
            places = _unified(next(iter(places.values()))) if places else {}
        usable = {name: path for name, path in places.items() if os.access(path, os.W_OK)}
        return ControlGroups(usable, unified=unified) if {"memory", "pids"} & set(usable) else None
    except OSError:
        return None


def found(own: str, mounts: str) -> tuple[dict[str, Path], bool]:
    """Where this process's groups lie, by controller, and whether they are of the unified kind.

    `own` is `/proc/self/cgroup`, `mounts` `/proc/self/mountinfo`. Where both kinds are mounted, that which bounds memory counts.
    """
    paths: dict[str, str] = {}
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        paths |= dict.fromkeys(names.split(","), path)
    old: dict[str, Path] = {}
    new: dict[str, Path] = {}
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        words, kind = fields.split(), rest.split()
        if not kind or not kind[0].startswith("cgroup"):
            continue
        named = [""] if kind[0] == "cgroup2" else [one for one in kind[-1].split(",") if one in _OLD]
        for name in named:
            if name in paths:
                (new if kind[0] == "cgroup2" else old)[name] = _below(words[3], words[4], paths[name])
    return (old, False) if "memory" in old or not new else (new, True)


def _below(root: str, mountpoint: str, path: str) -> Path:
    """Where a group lies below a mount that shows only the groups below `root`."""
    inner = path.removeprefix(root) if root != "/" else path
    return Path(mountpoint) / inner.strip("/")


def _unified(own: Path) -> dict[str, Path]:
    """The controllers that groups below ours can have, once nothing runs in ours itself."""
    offered = (own / "cgroup.controllers").read_text(encoding="ascii").split()
    wanted = [name for name in _NEW if name in offered]
    if not wanted or not os.access(own / "cgroup.subtree_control", os.W_OK):
        return {}
    if (own / "cgroup.type").exists():  # all but the uppermost
        inside = [int(one) for one in (own / "cgroup.procs").read_text(encoding="ascii").split()]
        if not all(_ours(pid) for pid in inside):
            return {}
        leaf = own / f"{_PREFIX}self"
        leaf.mkdir(exist_ok=True)
        for pid in inside:
            with contextlib.suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(str(pid), encoding="ascii")
    _enable(own, wanted)
    return dict.fromkeys(wanted, own)


def _enable(place: Path, names: Iterable[str]) -> None:
    (place / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in names), encoding="ascii")


def _ours(pid: int) -> bool:
    """Whether a process is this one or descends from it."""
    for _ in range(64):
        if pid == os.getpid():
            return True
        if pid <= 1:
            return False
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return True  # it has ended meanwhile
        pid = int(stat.rpartition(")")[2].split()[1])
    return False


def _sweep(place: Path) -> None:
    """Take away what killed processes of ours left."""
    for path in place.glob(f"{_PREFIX}*"):
        owner = path.name.removeprefix(_PREFIX)
        if owner.isdecimal() and not Path("/proc", owner).exists():
            for one in (*_inner(path), path):
                with contextlib.suppress(OSError):
                    one.rmdir()


def _inner(path: Path) -> Iterator[Path]:
    try:
        yield from [one for one in path.iterdir() if one.is_dir()]
    except OSError:
        return


def _number(text: str) -> int:
    return int(text) if text.strip().isdigit() else 0


def _field(text: str, name: str) -> int:
    """The number behind a name, in lines of pairs."""
    return next((int(line.split()[1]) for line in text.splitlines() if line.split()[:1] == [name]), 0)


def _pair(words: list[str], name: str) -> int:
    """The number in `name=…` among the words of a line."""
    return next((int(one.partition("=")[2]) for one in words if one.startswith(f"{name}=")), 0)
