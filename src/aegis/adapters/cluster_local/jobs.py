"""A Job: a thread that runs a program to completion, again after a failure as often as declared."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from aegis.adapters import supervised
from aegis.adapters.cluster_local.images import CommandLine
from aegis.adapters.cluster_local.model import WantedJob
from aegis.adapters.cluster_local.replica import EAGER, Ground
from aegis.adapters.supervised import Limits, tail
from aegis.core.errors import AegisError
from aegis.gitops.ports import JobState, JobStatus


class JobRun(threading.Thread):
    """`changed` is called once, from this thread, when the state is final."""

    def __init__(
        self, wanted: WantedJob, prepare: Callable[[], CommandLine], ground: Ground, *, changed: Callable[[], None]
    ) -> None:
        super().__init__(name=f"{wanted.namespace}.{wanted.name}", daemon=True)
        self.wanted = wanted
        self.state = JobState.RUNNING
        self.message = ""
        self.since: datetime = ground.clock.now()
        self.log = ground.logs / f"{self.name}.log"
        self._prepare = prepare
        self._ground = ground
        self._changed = changed
        self._stopping = threading.Event()

    def finish(self) -> None:
        """End it without a result: it will run again at the next start."""
        self._stopping.set()

    @property
    def status(self) -> JobStatus:
        """As the port shows it."""
        return JobStatus(
            namespace=self.wanted.namespace,
            name=self.wanted.name,
            state=self.state,
            message=self.message,
            since=self.since,
        )

    def run(self) -> None:
        """Try as often as declared within the deadline."""
        until = self._ground.clock.monotonic() + self.wanted.deadline
        for attempt in range(self.wanted.attempts):
            try:
                reason = self._once(until)
            except (AegisError, OSError) as error:
                reason = getattr(error, "message", str(error))
            if self._stopping.is_set():
                return
            if not reason:
                self.state, self.message = JobState.SUCCEEDED, ""
                break
            self.message = " | ".join((reason, *tail(self.log, 5)))
            if attempt + 1 < self.wanted.attempts:
                self._stopping.wait(0.5 * 2**attempt)
        else:
            self.state = JobState.FAILED
        self._changed()

    def _once(self, until: float) -> str:
        line = self._prepare()
        program = self.wanted.program
        entered = self._ground.cgroups.create(self.name, cpu=program.cpu, memory=program.memory)
        with self.log.open("ab") as output:
            child = supervised.spawn(
                line.argv,
                env=line.environment,
                cwd=line.directory,
                output=output,
                confinement=self._ground.confinement,
                limits=Limits(cpu=program.cpu, memory=program.memory, cgroups=entered),
                show=[(str(self._ground.show), False)],
            )
        try:
            while not self._stopping.is_set():
                code = child.wait(EAGER)
                if code is not None:
                    return "" if code == 0 else f"it ended with exit code {code}"
                if self._ground.clock.monotonic() > until:
                    return f"it did not end within {self.wanted.deadline:.0f} s"
            return "it was stopped"
        finally:
            child.end(grace=2.0)
            self._ground.cgroups.remove(self.name)
