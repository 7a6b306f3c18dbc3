"""The course and the trace of a run, as doors get them. Decides nothing: see `observe.course` and `observe.spans`."""

from __future__ import annotations

from aegis import __version__
from aegis.core.errors import NotFound
from aegis.core.plan import Plan
from aegis.delivery.context import Context
from aegis.delivery.queries.entries import RunEntry
from aegis.observe.course import Course, course
from aegis.observe.spans import RunTrace, attempts, trace_of


def course_of(context: Context, entry: RunEntry, plan: Plan) -> Course:
    """The critical path of a run so far. Its records are read only where a job has more than one attempt."""
    run, jobs = entry.run, tuple(entry.jobs.values())
    if run.created_at is None:
        return Course()
    if any(job.attempt > 1 for job in jobs):
        jobs = attempts(context.subject(f"run/{run.id}"))
    return course(plan, jobs, run.created_at)


def trace(context: Context, run: str, plan: Plan) -> RunTrace:
    """The trace of a run as far as it has come; `NotFound`."""
    found = trace_of(context.subject(f"run/{run}"), plan, url=context.url, version=__version__)
    if found is None:
        raise NotFound("no-such-run", f"there is no run {run!r}", hint="`aegis status` lists the latest")
    return found
