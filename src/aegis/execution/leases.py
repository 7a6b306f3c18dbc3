"""Who holds which job, and for how long they may be silent. Decides nothing about what follows from silence.

Owned by the coordinator, which serialises the calls. A lease of a runner that outlives this process is kept in the queue store
as well; a job that no runner works (a trigger) is held without a lease, until somebody ends it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from aegis.core.errors import ExternalError
from aegis.core.ports import Clock
from aegis.core.types import JobRun
from aegis.execution.ports import Lease, QueueStore
from aegis.execution.runners import Runner


class Silence(Protocol):
    """How long a runner may be silent, in seconds: one that outlives this process may be longer."""

    def __call__(self, *, resumable: bool) -> float:
        """The seconds."""
        ...


class LossyQueue:
    """A queue store whose failures stop nobody: what it holds can be lost without harm, the ledger's records cannot.

    After a start a lease that is missing makes its job a lost one, which is recorded and carried out again.
    """

    def __init__(self, queue: QueueStore) -> None:
        self._queue = queue

    def put(self, lease: Lease) -> None:
        """See `QueueStore`."""
        with contextlib.suppress(ExternalError):
            self._queue.put(lease)

    def remove(self, job_id: str) -> None:
        """See `QueueStore`."""
        with contextlib.suppress(ExternalError):
            self._queue.remove(job_id)

    def mark(self, seq: int, open_runs: Sequence[str]) -> None:
        """See `QueueStore`."""
        with contextlib.suppress(ExternalError):
            self._queue.mark(seq, open_runs)

    def leases(self) -> tuple[Lease, ...]:
        """See `QueueStore`: what cannot be read at a start is an error, as everything then."""
        return self._queue.leases()

    def bookmark(self) -> tuple[int, tuple[str, ...]]:
        """See `QueueStore`."""
        return self._queue.bookmark()


class Leases:
    """The jobs that are held. Not thread-safe."""

    def __init__(self, queue: QueueStore, clock: Clock, silence: Silence) -> None:
        self._queue = LossyQueue(queue)
        self._clock = clock
        self._silence = silence
        self._holders: dict[str, tuple[str, str]] = {}
        self._leases: dict[str, Lease] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def hold(self, run: str, job: JobRun, runner: Runner) -> None:
        """A runner has a job from now on."""
        self._holders[job.id] = (run, job.name)
        lease = Lease(
            job_id=job.id, run=run, runner=runner.name, resumable=runner.resumable, expires=self._end(resumable=runner.resumable)
        )  # fmt: skip
        self._leases[job.id] = lease
        if runner.resumable:
            self._queue.put(lease)

    def hold_without_end(self, run: str, job: JobRun) -> None:
        """A job runs without a runner."""
        self._holders[job.id] = (run, job.name)

    def holder(self, job_id: str) -> tuple[str, str] | None:
        """The run and the name of a job that is held."""
        return self._holders.get(job_id)

    def renew(self, job_id: str) -> None:
        """A runner gave a sign of life."""
        lease = self._leases.get(job_id)
        if lease is not None:
            renewed = replace(lease, expires=self._end(resumable=lease.resumable))
            self._leases[job_id] = renewed
            if renewed.resumable:
                self._queue.put(renewed)

    def drop(self, job_id: str) -> None:
        """A job is held no longer."""
        self._holders.pop(job_id, None)
        self._leases.pop(job_id, None)
        self._queue.remove(job_id)

    def resumable(self, job_id: str) -> bool:
        """Whether a job's runner outlives this process."""
        lease = self._leases.get(job_id)
        return lease is not None and lease.resumable

    def kept(self) -> dict[str, Lease]:
        """The leases of an earlier process whose runners may be alive."""
        return {lease.job_id: lease for lease in self._queue.leases() if lease.resumable}

    def silent(self) -> tuple[Lease, ...]:
        """The leases that have run out."""
        now = self._clock.monotonic()
        return tuple(lease for lease in self._leases.values() if lease.expires <= now)

    def next_end(self) -> float:
        """When the next lease runs out unless it is renewed, by the monotonic clock."""
        return min((lease.expires for lease in self._leases.values()), default=float("inf"))

    def _end(self, *, resumable: bool) -> float:
        return self._clock.monotonic() + self._silence(resumable=resumable)
