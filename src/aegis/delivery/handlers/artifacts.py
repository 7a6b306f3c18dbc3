"""Files of jobs: kept beyond their time, erased at once, swept away when their time is over.

A blob is deleted when nothing refers to it any more: neither another job, nor evidence, nor a cache, nor an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from aegis.core import events
from aegis.core.errors import NotFound
from aegis.core.events import Record
from aegis.core.ports import Query
from aegis.core.types import JobRun
from aegis.delivery import commands as ask
from aegis.delivery.artifacts import expired
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.handlers.runs import run_of
from aegis.delivery.protection import mentioned
from aegis.delivery.views import Result
from aegis.execution.parcel_garbage import Released, manifests, release

_PAGE: Final = 1000
_DAY: Final = 86400.0
_TOLD: Final = tuple(
    events.NAMES[kind][0] for kind in (events.JobFinished, events.ArtifactsKept, events.ArtifactsErased)
)


@handles(ask.KeepArtifacts)
def keep(context: Context, command: ask.KeepArtifacts, asking: Asking) -> Result:
    """Let a job's files stay beyond their time."""
    job = _job(context, command.run, command.job, asking)
    if job.files_until is None:
        return Result(
            seq=context.ledger.head().seq,
            message=f"{command.job} keeps its files already",
            subject=f"run/{command.run}",
        )
    if asking.dry_run:
        return Result(seq=0, message=f"would keep the files of {command.job}", dry_run=True)
    context.engine.amend(command.run, events.ArtifactsKept(job=job.id, by=asking.actor.id), asking.actor.id)
    return Result(seq=context.ledger.head().seq, message=f"{command.job} keeps its files", subject=f"run/{command.run}")


@handles(ask.EraseArtifacts)
def erase(context: Context, command: ask.EraseArtifacts, asking: Asking) -> Result:
    """Delete what a job has left; its log stays."""
    job = _job(context, command.run, command.job, asking)
    if asking.dry_run:
        return Result(seq=0, message=f"would erase {len(job.files)} files of {command.job}", dry_run=True)
    context.engine.amend(command.run, events.ArtifactsErased(jobs=(job.id,), by=asking.actor.id), asking.actor.id)
    done = release(context.blobs, {one.digest for one in job.files}, needed(context, {job.id}))
    return Result(
        seq=context.ledger.head().seq, message=f"erased {len(job.files)} files of {command.job}, {done.freed} bytes",
        subject=f"run/{command.run}",
    )  # fmt: skip


def _job(context: Context, run: str, name: str, asking: Asking) -> JobRun:
    entry = run_of(context, run)
    context.authorise(asking.actor, "erase-artifacts", project=entry.run.project)
    found = next((one for one in context.engine.run(run).jobs if one.name == name), None)
    if found is None or not found.files:
        raise NotFound("no-artifacts", f"job {name!r} of run {run} has no files")
    return found


def needed(context: Context, gone: set[str]) -> Callable[[frozenset[str]], frozenset[str]]:
    """What must stay of digests, whatever the jobs `gone` (ids) have left."""

    def beside(record: Record) -> bool:
        if isinstance(record.data, events.PagesPublished):
            return not context.pages.keeps(record.data.deployment.archive)
        return isinstance(record.data, events.JobFinished) and record.data.job.id in gone

    def kept(some: frozenset[str]) -> frozenset[str]:
        images, packages = context.images.images, context.packages.store
        used = {one for one in some if images.in_use(one) or packages.in_use(one)}
        used |= some & {one.digest for one in context.caches.values()}
        return mentioned(context, some - used, beside=beside) | used

    return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep did: jobs whose time was over, notes about caches that went, and what was deleted."""

    jobs: int
    notes: int
    released: Released


def sweep(context: Context, *, dry_run: bool) -> Swept:
    """Delete the files of jobs past their time, caches that are old, and parcels that nothing refers to."""
    gone: set[str] = set()
    over: dict[str, list[JobRun]] = {}
    for run, job in _finished(context, gone):
        if expired(context, context.engine.run(run), job):
            over.setdefault(run, []).append(job)
    now = context.clock.now().timestamp()
    notes = 0 if dry_run else context.caches.expire(now - context.options.retention.caches)
    dead = {file.digest for jobs in over.values() for job in jobs for file in job.files}
    for run, jobs in over.items():
        gone |= {job.id for job in jobs}
        if not dry_run:
            context.engine.amend(
                run, events.ArtifactsErased(jobs=tuple(job.id for job in jobs), by="aegis", expired=True), "aegis"
            )
    keep = needed(context, gone)
    lost = frozenset(manifests(context.blobs, now - _DAY))
    dead |= lost - keep(lost) if lost else lost
    return Swept(
        jobs=sum(map(len, over.values())), notes=notes, released=release(context.blobs, dead, keep, dry_run=dry_run)
    )


def _finished(context: Context, gone: set[str]) -> Iterator[tuple[str, JobRun]]:
    """Each ended job that has files with a time, with its run; `gone` gets the ids of those whose files are gone already."""
    waiting: dict[str, tuple[str, JobRun]] = {}
    for record in _records(context):
        match record.data:
            case events.JobFinished(job=job):
                if job.files_until is not None:
                    waiting[job.id] = (record.subject.partition("/")[2], job)
            case events.ArtifactsKept(job=job_id):
                waiting.pop(job_id, None)
            case events.ArtifactsErased(jobs=ids):
                gone.update(ids)
                for one in ids:
                    waiting.pop(one, None)
            case _:
                pass
    yield from waiting.values()


def _records(context: Context) -> Iterable[Record]:
    after = 0
    while True:
        records = context.ledger.read(after=after, limit=_PAGE, query=Query(types=_TOLD))
        yield from records
        if len(records) < _PAGE:
            return
        after = records[-1].seq
