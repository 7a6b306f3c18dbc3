"""Retention of logs and files: what runs left goes once its declared time is over, and the ledger says so.

Of runs that became a release they stay for longer. The records themselves stay: who did what is never forgotten here. A file
that another record speaks of (a later run that reused it, a release's evidence) stays with that.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from aegis.core import events
from aegis.core.events import Draft
from aegis.core.ports import Query
from aegis.core.types import JobRun
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.handlers.artifacts import needed, sweep
from aegis.delivery.views import Result
from aegis.execution.parcel_garbage import release

PAGE = 1000
FINISHED = events.NAMES[events.RunFinished][0]
RELEASED = events.NAMES[events.ReleaseCreated][0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Past:
    """Runs past their time, and up to which record was looked."""

    kind: str
    until: int
    runs: tuple[str, ...]


@handles(ask.ApplyRetention)
def apply(context: Context, command: ask.ApplyRetention, asking: Asking) -> Result:
    """Delete what is past its time, for runs that became a release and for the others."""
    _ = command
    context.authorise(asking.actor, "apply-retention", kind="server")
    released = _released(context)
    kept = context.options.retention
    messages, seq = [], 0
    for kind, seconds in (("logs", kept.logs), ("release-logs", kept.release_logs)):
        past = _past(context, kind, seconds, released)
        jobs = [job for run in past.runs for job in _jobs(context, run)]
        files, freed = _delete(context, jobs, dry_run=asking.dry_run)
        if past.until and not asking.dry_run:
            done = events.RetentionCarriedOut(
                kind=kind, until=past.until, runs=len(past.runs), files=files, freed=freed
            )  # fmt: skip
            seq = context.append(Draft(subject=f"retention/{kind}", data=done, actor=asking.actor.id))
        messages.append(f"{kind}: {files} files of {len(past.runs)} runs, {freed} bytes")
    swept = sweep(context, dry_run=asking.dry_run)
    messages.append(
        f"artifacts: of {swept.jobs} jobs past their time, {swept.notes} old caches, {swept.released.freed} bytes"
    )
    would = "would delete " if asking.dry_run else "deleted "
    return Result(seq=seq, message=would + "; ".join(messages), subject="retention", dry_run=asking.dry_run)


def _released(context: Context) -> frozenset[str]:
    found: set[str] = set()
    after = 0
    while True:
        records = context.ledger.read(after=after, limit=PAGE, query=Query(types=(RELEASED,)))
        found |= {one.data.release.run for one in records if isinstance(one.data, events.ReleaseCreated)}
        if len(records) < PAGE:
            return frozenset(found)
        after = records[-1].seq


def _past(context: Context, kind: str, seconds: float, released: frozenset[str]) -> _Past:
    done = [one.data for one in context.subject(f"retention/{kind}")]
    after = max((one.until for one in done if isinstance(one, events.RetentionCarriedOut)), default=0)
    query = Query(types=(FINISHED,), until=context.clock.now() - timedelta(seconds=seconds))
    runs: list[str] = []
    until = 0
    while True:
        records = context.ledger.read(after=after, limit=PAGE, query=query)
        ended = [one.data.run for one in records if isinstance(one.data, events.RunFinished)]
        runs += [run for run in ended if (run in released) == (kind != "logs")]
        if records:
            after = until = records[-1].seq
        if len(records) < PAGE:
            return _Past(kind=kind, until=until, runs=tuple(dict.fromkeys(runs)))


def _jobs(context: Context, run: str) -> list[JobRun]:
    return [one.data.job for one in context.subject(f"run/{run}") if isinstance(one.data, events.JobFinished)]


def _delete(context: Context, jobs: list[JobRun], *, dry_run: bool) -> tuple[int, int]:
    """Files and bytes deleted."""
    files = {file.digest for job in jobs for file in (*job.files, *((job.trace,) if job.trace else ()))}
    done = release(context.blobs, files, needed(context, {job.id for job in jobs}), dry_run=dry_run)
    if not dry_run:
        for job in jobs:
            context.traces.delete(job.id)
    return done.blobs, done.freed
