"""The runs in memory and how they get into the ledger: open ones, lately closed ones, and the bookmark of recovery.

It writes what the coordinator decided and reads a run back when it is asked for one that is not here. Owned by the coordinator,
which serialises the calls.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from aegis.core import events
from aegis.core.errors import Conflict, NotFound
from aegis.core.events import Draft, Record
from aegis.core.ports import Blobs, Ledger
from aegis.execution import recovery
from aegis.execution.leases import LossyQueue
from aegis.execution.ports import QueueStore
from aegis.execution.progress import Progress
from aegis.execution.resources import Claim
from aegis.execution.runners import JobResult


class Register:
    """All runs that are known here. `keep` closed ones stay in memory; `actor` writes what nobody asked for."""

    def __init__(self, ledger: Ledger, blobs: Blobs, queue: QueueStore, *, actor: str, keep: int) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._queue = LossyQueue(queue)
        self._actor = actor
        self._most = keep
        self._open: dict[str, Progress] = {}
        self._closed: OrderedDict[str, Progress] = OrderedDict()

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._open

    def __iter__(self) -> Iterator[Progress]:
        """Open runs, oldest first."""
        return iter(sorted(self._open.values(), key=lambda one: one.order))

    def open(self, run_id: str) -> Progress:
        """An open run; `KeyError`."""
        return self._open[run_id]

    def progress(self, run_id: str) -> Progress:
        """Any run, read back from the ledger where that is needed; `NotFound`."""
        progress = self._open.get(run_id) or self._closed.get(run_id)
        if progress is None:
            progress = self.load(run_id)
            self._keep(progress)
        return progress

    def load(self, run_id: str) -> Progress:
        """A run as its records tell it; `NotFound`."""
        return recovery.load(self._ledger, self._blobs, run_id)

    def reopen(self) -> None:
        """Read every open run back, after a start."""
        for run_id in recovery.open_runs(self._ledger, self._queue):
            self._open[run_id] = self.load(run_id)

    def replace(self, progress: Progress) -> None:
        """A run as it was read back takes the place of what memory held."""
        self._closed.pop(progress.id, None)
        self._open[progress.id] = progress

    def draft(self, progress: Progress, data: object, actor: str, cause: str = "", project: str = "") -> Draft:
        """An event about a run."""
        return Draft(
            subject=f"run/{progress.id}",
            data=data,
            actor=actor or self._actor,
            project=project or progress.head.project,
            environment=progress.head.environment or "",
            cause=cause,
        )

    @staticmethod
    def ending(progress: Progress) -> list[object]:
        """The end of a run that has come to it and does not say so yet."""
        if not progress.finished or progress.head.finished_at is not None:
            return []
        return [events.RunFinished(run=progress.id, state=progress.board.run)]

    def append(self, progress: Progress, data: Sequence[object], actor: str) -> None:
        """Write events of one run in one append; what the ledger raises goes to the caller, and nothing is changed."""
        self.settle(progress, self._ledger.append([self.draft(progress, one, actor) for one in data]))

    def settle(self, progress: Progress, records: Sequence[Record]) -> None:
        """A run's records are durable: it is among the open runs or the closed ones, and the bookmark moves."""
        for record in records:
            if isinstance(record.data, events.RunFinished):
                progress.close(record.recorded_at)
        if progress.finished:
            self._open.pop(progress.id, None)
            self._keep(progress)
        else:
            self.replace(progress)
        if any(isinstance(one.data, events.RunCreated | events.RunFinished | events.JobChanged) for one in records):
            self._queue.mark(records[-1].seq, tuple(self._open))

    def check_repeated(self, job_id: str, result: JobResult) -> None:
        """A result of a job that nobody holds: no error where it was reported before, `Conflict` or `NotFound` else."""
        for progress in (*self._open.values(), *self._closed.values()):
            for spec in progress.plan.jobs:
                for job in progress.attempts(spec.name):
                    if job.id == job_id:
                        if job.state is result.state and job.exit_code == result.exit_code:
                            return
                        raise Conflict("job-not-yours", f"job {job_id} is {job.state}; this result came too late")
        raise NotFound("no-such-job", f"no job {job_id} is running")

    def claims(self, project: str, group: str) -> list[Claim]:
        """Who wants a resource group of a project, or will want it."""
        return [
            Claim(
                order=progress.order,
                position=progress.positions[name],
                run=progress.id,
                job=name,
                state=progress.board.state(name),
            )
            for progress in self
            if progress.head.project == project
            for name in progress.groups.get(group, ())
        ]

    def _keep(self, progress: Progress) -> None:
        self._closed[progress.id] = progress
        self._closed.move_to_end(progress.id)
        while len(self._closed) > self._most:
            self._closed.popitem(last=False)
