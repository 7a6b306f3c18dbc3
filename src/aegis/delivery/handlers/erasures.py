"""What an ended job left is deleted at somebody's wish: log and files. The record that it ran stays, and one that it was erased comes.

A file that another record speaks of (evidence, a release, pages, a later run that reused it) stays with that.
"""

from __future__ import annotations

from aegis.core import events
from aegis.core.errors import Conflict, NotFound
from aegis.core.events import Draft
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.handlers.artifacts import needed
from aegis.delivery.views import Result
from aegis.execution.parcel_garbage import release


@handles(ask.EraseJob)
def erase(context: Context, command: ask.EraseJob, asking: Asking) -> Result:
    """Delete the log and files of a job's last attempt."""
    run = context.engine.run(command.run)
    context.authorise(asking.actor, "erase-job", project=run.project)
    job = next((one for one in run.jobs if command.job in (one.name, one.id)), None)
    if job is None:
        raise NotFound("no-such-job", f"run {run.id} has no job {command.job!r}")
    if not job.state.finished:
        raise Conflict("job-not-finished", f"job {job.name!r} is {job.state}; only what has ended is erased")
    files = {file.digest for file in (*job.files, *((job.trace,) if job.trace else ()))}
    if asking.dry_run:
        return Result(seq=0, message=f"would delete {len(files)} files of {job.name}", dry_run=True)
    if job.files:
        context.engine.amend(run.id, events.ArtifactsErased(jobs=(job.id,), by=asking.actor.id), asking.actor.id)
    told = events.JobErased(job=job.name, id=job.id)
    seq = context.append(Draft(subject=f"run/{run.id}", data=told, actor=asking.actor.id, project=run.project))
    done = release(context.blobs, files, needed(context, {job.id}))
    context.traces.delete(job.id)
    return Result(
        seq=seq, message=f"erased {job.name}: {done.blobs} files, {done.freed} bytes", subject=f"run/{run.id}"
    )
