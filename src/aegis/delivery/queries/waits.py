"""Gathers what is known of a job for `execution.why`: its run, the runners, its history. Decides nothing."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Final

from aegis.core import codec
from aegis.core.errors import AegisError, NotFound
from aegis.core.plan import JobSpec, Plan
from aegis.core.types import JobRun, Run, State
from aegis.delivery.context import Context
from aegis.delivery.queries import fleet
from aegis.delivery.queries.entries import RunEntry
from aegis.delivery.runner_views import RunnerView
from aegis.delivery.why_views import WhyReason, WhyView
from aegis.execution.why import Earlier, Facts, KnownRunner, cache_of, why

_HEAD: Final = 32 * 1024
"""Bytes of a log's beginning: caches are restored there."""
_HISTORY: Final = 10
_PART: Final = re.compile(r" \d+/\d+$|: \[.*\]$")
_LOST: Final = frozenset({"runner_system_failure", "stuck_or_timeout_failure"})


def view(context: Context, entry: RunEntry, plan: Plan, name: str) -> WhyView:
    """Why a job waits or is slow."""
    known = facts(context, entry, plan, name)
    durations = context.world.read(lambda state: state.durations.get(f"{entry.run.project}/{name}"))
    return WhyView(
        job=name,
        state=known.job.state.value,
        rule=known.spec.reason,
        reasons=tuple(
            WhyReason(code=one.code, message=one.message, hint=one.hint, evidence=one.evidence) for one in why(known)
        ),
        usual_seconds=durations,
        queued_at=known.job.queued_at,
        queue_seconds=known.job.queue_seconds,
        run_seconds=known.job.run_seconds,
        fault=known.job.fault,
        usage=known.job.usage,
        reused=known.job.reused_from,
    )


def facts(context: Context, entry: RunEntry, plan: Plan, name: str) -> Facts:
    """What is known of a job; `NotFound` for one that the run does not have."""
    spec = next((one for one in plan.jobs if one.name == name), None)
    live = _live(context, entry.run.id)
    jobs = {**entry.jobs, **({one.name: one for one in live.jobs} if live else {})}
    if spec is None or name not in jobs:
        known = ", ".join(one.name for one in plan.jobs)
        raise NotFound("no-such-job", f"run {entry.run.id} has no job {name!r}; it has: {known}")
    job = jobs[name]
    stage = plan.stages.index(spec.stage)
    earlier = tuple(one.name for one in plan.jobs if plan.stages.index(one.stage) < stage)
    attempts = context.engine.attempts(entry.run.id, name) if live else ()
    return Facts(
        spec=spec,
        job=job,
        project=entry.run.project,
        now=context.clock.now(),
        states={one.name: one.state for one in jobs.values()},
        earlier_stages=earlier,
        group_holder=_holder(context, entry.run, spec, job) if job.state is State.WAITING_FOR_RESOURCE else "",
        runners=runners(context),
        protected_ref=_protected(context, entry.run.ref),
        require_isolation=context.adopted.runner.isolation_required,
        ahead=max(0, context.engine.depth()[0] - 1),
        lost=tuple(one for one in attempts if one.failure_reason in _LOST),
        log=_head(context, job),
        history=_history(context, entry, name),
        at_once=_at_once([one for one in entry.jobs.values() if _base(one.name) == _base(name)]),
    )


def _live(context: Context, run: str) -> Run | None:
    """The run as the engine has it; None for one that it has put away."""
    try:
        return context.engine.run(run)
    except NotFound:
        return None


def runners(context: Context) -> tuple[KnownRunner, ...]:
    """The runners there are: the built-in one, and those that registered."""
    declared = context.adopted.runner
    built_in = KnownRunner(name="built-in", running=context.engine.depth()[1], limit=declared.concurrency)
    return (built_in, *(_remote(one) for one in fleet.runners(context)))


def _remote(one: RunnerView) -> KnownRunner:
    return KnownRunner(
        name=one.description or one.id,
        tags=one.tags,
        untagged=one.run_untagged,
        paused=one.paused,
        online=one.status == "online",
        protected=one.protected,
        projects=one.projects,
        isolated=one.isolated or any(machine.executor != "shell" for machine in one.machines),
    )


def _holder(context: Context, run: Run, spec: JobSpec, job: JobRun) -> str:
    """The job that has the resource group."""
    for other in context.engine.open_runs():
        if other.project != run.project:
            continue
        groups = {one.name: one.resource_group for one in context.engine.plan(other.id).jobs}
        for one in other.jobs:
            busy = one.state in {State.RUNNING, State.CANCELING}
            if busy and groups.get(one.name) == spec.resource_group and one.id != job.id:
                return f"{one.name} of run {other.id}"
    return ""


def _protected(context: Context, ref: str) -> bool:
    name = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    options = context.options
    return any(
        fnmatchcase(name, pattern)
        for pattern in (*(one.pattern for one in options.branches), *(one.pattern for one in options.tags))
    )


def _history(context: Context, entry: RunEntry, name: str) -> tuple[Earlier, ...]:
    """Earlier successes of the job, however it was split then."""
    base = _base(name)
    runs = context.world.read(lambda state: list(state.runs.values()))
    found: list[Earlier] = []
    for one in reversed(runs):
        if one.run.project != entry.run.project or one.run.id >= entry.run.id or len(found) >= _HISTORY:
            continue
        same = [job for job in one.jobs.values() if _base(job.name) == base and job.state is State.SUCCESS]
        times = [(job.started_at, job.finished_at) for job in same if job.started_at and job.finished_at]
        if times:
            total = _parallel(context, one, same[0].name)
            seconds = max((end - start).total_seconds() for start, end in times)
            found.append(Earlier(seconds=seconds, parallel=total, cache=cache_of(_head(context, same[0]))))
    return tuple(found)


def _parallel(context: Context, entry: RunEntry, name: str) -> int:
    try:
        return codec.decode(context.blobs.get(entry.run.plan), Plan).job(name).parallel_total or 1
    except (AegisError, KeyError):
        return 1


def _at_once(jobs: list[JobRun]) -> int:
    """How many of these ran at the same time at most."""
    edges = [(job.started_at, 1) for job in jobs if job.started_at] + [
        (job.finished_at, -1) for job in jobs if job.started_at and job.finished_at
    ]
    running = most = 0
    for _, step in sorted(edges):
        running += step
        most = max(most, running)
    return most


def _base(name: str) -> str:
    return _PART.sub("", name)


def _head(context: Context, job: JobRun) -> str:
    if job.trace is None or not job.trace.size:
        return ""
    try:
        found = b""
        for chunk in context.blobs.open(job.trace.digest):
            found += chunk
            if len(found) >= _HEAD:
                break
    except AegisError:
        return ""
    return found[:_HEAD].decode("utf-8", "replace")
