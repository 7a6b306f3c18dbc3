"""Limits of processor time and memory by cgroup, version 1 or 2, where this process may make them.

Decides: which hierarchy is used. A group holds one program and its descendants. What is in a group of ours when a
server begins was left by one that was killed, and is ended: nothing else can be in it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")
_PERIOD: Final = 100_000  # microseconds


class Cgroups:
    """Groups below one named parent. `available` is False where none can be made; then nothing is."""

    def __init__(self, name: str, *, root: Path = _ROOT) -> None:
        self._two = (root / "cgroup.controllers").exists()
        homes = [root / name] if self._two else [root / "memory" / name, root / "cpu" / name]
        self._homes: Sequence[Path] = ()
        self.available = False
        try:
            for home in homes:
                if not home.parent.is_dir():
                    return
                home.mkdir(exist_ok=True)
                if self._two:
                    (home / "cgroup.subtree_control").write_text("+cpu +memory")
        except OSError:
            return
        self._homes = homes
        self.available = True

    def create(self, group: str, *, cpu: float, memory: int) -> tuple[str, ...]:
        """Make a group with limits in cores and bytes (0: none); the files that a process writes its id into."""
        made = []
        for home in self._homes:
            place = home / group
            place.mkdir(parents=True, exist_ok=True)  # whoever tidies up empty groups may have taken the parent
            for name, value in self._limits(home, cpu, memory):
                (place / name).write_text(value)
            made.append(str(place / "cgroup.procs"))
        return tuple(made)

    def _limits(self, home: Path, cpu: float, memory: int) -> list[tuple[str, str]]:
        limits = []
        quota = max(1000, int(cpu * _PERIOD))
        if self._two:
            limits += [("cpu.max", f"{quota} {_PERIOD}")] if cpu else []
            limits += [("memory.max", str(memory))] if memory else []
        elif home.parent.name == "memory":
            limits += [("memory.limit_in_bytes", str(memory))] if memory else []
        elif cpu:
            limits += [("cpu.cfs_period_us", str(_PERIOD)), ("cpu.cfs_quota_us", str(quota))]
        return limits

    def out_of_memory(self, group: str) -> bool:
        """Whether the kernel has ended something in the group for its memory."""
        for home in self._homes:
            for name in ("memory.events", "memory.oom_control"):
                with contextlib.suppress(OSError):
                    for line in (home / group / name).read_text().splitlines():
                        key, _, value = line.partition(" ")
                        if key == "oom_kill" and value.strip() != "0":
                            return True
        return False

    def remove(self, group: str) -> None:
        """End what is left in the group and remove it."""
        for home in self._homes:
            self._end(home / group)

    def clear(self) -> None:
        """Remove every group, and the parent."""
        for home in self._homes:
            with contextlib.suppress(OSError):
                for place in [one for one in home.iterdir() if one.is_dir()]:
                    self._end(place)
            with contextlib.suppress(OSError):
                home.rmdir()

    def _end(self, place: Path) -> None:
        with contextlib.suppress(OSError):
            for text in (place / "cgroup.procs").read_text().split():
                # 0 stands for a process that cannot be seen from here, and to `kill` it would mean this one's own group.
                if int(text) > 0:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(text), signal.SIGKILL)
        # The kernel lets go a moment after the last process; a group that stays is cleared at the next start.
        with contextlib.suppress(OSError):
            place.rmdir()
