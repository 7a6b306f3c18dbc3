"""One replica: a thread that starts a program, asks whether it is ready, and starts it again when it ends.

Decides: when a replica counts as ready, and how long to wait before another start (0.2 s doubled up to 10 s, forgotten
after 30 s of health). Does not decide how many there are or who gets traffic.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aegis.adapters import supervised
from aegis.adapters.cluster_local.images import CommandLine
from aegis.adapters.cluster_local.model import Probe
from aegis.adapters.loopback import free_port, is_free
from aegis.adapters.supervised import Child, Confinement, Limits
from aegis.adapters.supervised.cgroups import Cgroups
from aegis.core.errors import AegisError
from aegis.core.ports import Clock

EAGER: Final = 0.05
"""Seconds between looks while a replica starts."""
CALM: Final = 0.25
"""Seconds between looks at whether it still runs."""
_FIRST_WAIT, _LONGEST_WAIT, _FORGET_AFTER = 0.2, 10.0, 30.0
_LOG_LIMIT: Final = 4 * 2**20
_LOG_KEPT: Final = 256 * 2**10


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What every replica of a version needs. `prepare` gives the command line; it may fail and is then tried again."""

    prepare: Callable[[], CommandLine]
    probe: Probe | None
    cpu: float
    memory: int
    grace: float
    drain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What all replicas of a cluster share."""

    clock: Clock
    confinement: Confinement
    cgroups: Cgroups
    logs: Path
    show: Path
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    """Names must not return while one that had them is being ended: a control group goes by name."""


class Replica(threading.Thread):
    """`changed` is called, from this thread, whenever `ready`, `crashes` or `address` have changed."""

    def __init__(self, name: str, setting: Setting, ground: Ground, *, port: int, changed: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._setting = setting
        self._ground = ground
        self._changed = changed
        self._stopping = threading.Event()
        self._drained = False
        self._child: Child | None = None
        self.port = port
        self.ready = False
        self.crashes = 0
        self.reason = ""
        self.log = ground.logs / f"{name}.log"

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        child = self._child
        return child.pid if child is not None else None

    def finish(self, *, drain: bool) -> None:
        """Begin to end it: after what it serves is served when `drain`. Returns at once."""
        self._drained = drain
        self._stopping.set()

    def run(self) -> None:
        """Start and start again until finished."""
        wait = _FIRST_WAIT
        while not self._stopping.is_set():
            begun = self._ground.clock.monotonic()
            try:
                self._once()
            except (AegisError, OSError) as error:
                self.reason = getattr(error, "message", str(error))
            finally:
                self._ground.cgroups.remove(self.name)
                self._child = None
            if self._stopping.is_set():
                break
            lasted = self._ground.clock.monotonic() - begun
            self.crashes, wait = (1, _FIRST_WAIT) if lasted > _FORGET_AFTER else (self.crashes + 1, wait)
            self._become(ready=False, told=True)
            self._stopping.wait(wait)
            wait = min(wait * 2, _LONGEST_WAIT)
        self._become(ready=False)

    def _become(self, *, ready: bool, told: bool = False) -> None:
        if ready != self.ready or told:
            self.ready = ready
            self._changed()

    def _once(self) -> None:
        """One life of the program."""
        setting, ground = self._setting, self._ground
        line = setting.prepare()
        if not is_free(self.port):
            self.port = free_port()
        entered = ground.cgroups.create(self.name, cpu=setting.cpu, memory=setting.memory)
        with self.log.open("ab") as output:
            child = supervised.spawn(
                line.argv,
                env={**line.environment, **self._own()},
                cwd=line.directory,
                output=output,
                confinement=ground.confinement,
                limits=Limits(cpu=setting.cpu, memory=setting.memory, cgroups=entered),
                show=[(str(ground.show), False)],
            )
        self._child = child
        try:
            self._watch(child)
        finally:
            if self._stopping.is_set() and self._drained:
                self._leave()
            child.end(grace=setting.grace)

    def _leave(self) -> None:
        """What was routed here a moment ago is still on its way."""
        threading.Event().wait(self._setting.drain)

    def _own(self) -> Mapping[str, str]:
        return {"HOST": "127.0.0.1", "PORT": str(self.port)}

    def _watch(self, child: Child) -> None:
        failures, next_probe = 0, 0.0
        while not self._stopping.wait(CALM if self.ready else EAGER):
            code = child.poll()
            if code is not None:
                self.reason = self._epitaph(code)
                return
            now = self._ground.clock.monotonic()
            if now < next_probe:
                continue
            answer = self._ask()
            failures = 0 if not answer else failures + 1
            if not answer:
                self._become(ready=True)
            elif self.ready and self._setting.probe and failures >= self._setting.probe.failures:
                self._become(ready=False)
            self.reason = answer
            period = self._setting.probe.period if self._setting.probe else 1.0
            next_probe = now + (period if self.ready else 0.0)
            self._trim()

    def _ask(self) -> str:
        """Why it is not ready; empty when it is."""
        probe = self._setting.probe
        if probe is None:
            return "" if not is_free(self.port) else "nothing listens yet"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=probe.timeout)
        try:
            connection.request("GET", probe.path, headers={"User-Agent": "aegis-probe"})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return f"the health check {probe.path} does not answer: {error}"
        finally:
            connection.close()
        return "" if 200 <= status < 400 else f"the health check {probe.path} answers {status}"

    def _epitaph(self, code: int) -> str:
        if self._ground.cgroups.out_of_memory(self.name):
            return f"it was ended for using more than {self._setting.memory // 2**20} MiB of memory"
        return f"it ended with signal {-code}" if code < 0 else f"it ended with exit code {code}"

    def _trim(self) -> None:
        """Keep the log bounded; the program appends, so its next line follows what is kept."""
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > _LOG_LIMIT:
                with self.log.open("r+b") as file:
                    file.seek(-_LOG_KEPT, os.SEEK_END)
                    kept = file.read()
                    file.truncate(0)
                with self.log.open("ab") as file:
                    file.write(kept)
