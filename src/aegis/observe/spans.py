"""A run as a trace: its spans, computed from its ledger records and its plan alone, in OpenTelemetry's `cicd.*` words. Pure.

The pipeline's span holds one span for every attempt of a job, from the moment it was ready for a runner; that one holds its
time in the queue and the sections that its runner told apart (`get_sources`, `step_script`, …). All ids are made of the
ledger's (`core.tracing`), so that a trace exported twice is the same trace. It knows no protocol: see `otlp`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Final

from aegis.core import events
from aegis.core.events import Record
from aegis.core.plan import JobSpec, Plan
from aegis.core.tracing import span_id, trace_id
from aegis.core.types import JobRun, Run, State
from aegis.core.values import dataclass
from aegis.observe.course import Course, course
from aegis.observe.results import OTHER, error_type, job_result, run_result

Value = str | bool | int | float
SERVICE: Final = "aegis"
_TYPES: Final = ("build", "test", "deploy")
"""The values that OpenTelemetry knows of `cicd.pipeline.task.type`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Another span that this one has to do with: `parent` (the trigger that started it) or `child`."""

    trace: str
    span: str
    relation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span. `kind` is `server` or `internal`; `parent` is empty for the pipeline's own. `error` marks its status."""

    id: str
    parent: str
    name: str
    kind: str
    begun: datetime
    ended: datetime
    attributes: Mapping[str, Value] = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    error: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTrace:
    """A run's trace: what its spans have in common (`resource`), the spans, the pipeline's first, and its course."""

    run: str
    id: str
    resource: Mapping[str, Value]
    spans: tuple[Span, ...]
    course: Course


@dataclass(slots=True)
class Told:
    """What a run's records say of it."""

    run: Run
    begun: datetime
    ended: datetime | None = None
    state: State | None = None
    attempts: dict[str, JobRun] = field(default_factory=dict)
    last: datetime | None = None

    def latest(self) -> Iterable[JobRun]:
        """The last attempt of each job that ended."""
        return {one.name: one for one in sorted(self.attempts.values(), key=lambda one: one.attempt)}.values()


def told(records: Iterable[Record]) -> Told | None:
    """A run's records, folded; None when they hold no run, or it was erased."""
    found: Told | None = None
    for record in records:
        data = record.data
        if isinstance(data, events.RunCreated):
            begun = data.run.created_at or record.recorded_at
            found = Told(run=data.run, begun=begun, last=begun)
        elif found is None:
            continue
        elif isinstance(data, events.JobFinished):
            found.attempts[data.job.id] = data.job
            found.last = data.job.finished_at or record.recorded_at
            found.ended = None
        elif isinstance(data, events.RunFinished):
            found.state, found.ended = data.state, record.recorded_at
    return found


def attempts(records: Iterable[Record]) -> tuple[JobRun, ...]:
    """Every attempt of a run's jobs that has ended."""
    found = told(records)
    return tuple(found.attempts.values()) if found is not None else ()


def trace_of(records: Sequence[Record], plan: Plan, *, url: str = "", version: str = "") -> RunTrace | None:
    """The trace of a run as far as it has come; None where its records hold no run. `url` is the server's address."""
    found = told(records)
    if found is None:
        return None
    run, ended = found.run, found.ended or found.last or found.begun
    way = course(plan, tuple(found.attempts.values()), found.begun)
    root = _root(found, plan, way, ended, url)
    specs = {spec.name: spec for spec in plan.jobs}
    spans: list[Span] = [root]
    for job in sorted(found.attempts.values(), key=lambda one: (one.queued_at or one.started_at or ended, one.id)):
        spans += _job(run, specs.get(job.name), job, root.id, way, url)
    return RunTrace(
        run=run.id, id=trace_id(run.id), resource=_resource(run, plan, url, version), spans=tuple(spans), course=way
    )


def _resource(run: Run, plan: Plan, url: str, version: str) -> dict[str, Value]:
    kind, _, name = run.ref.removeprefix("refs/").partition("/")
    owner, _, repository = run.project.rpartition("/")
    values: dict[str, Value] = {
        "service.name": SERVICE,
        "service.version": version,
        "cicd.pipeline.name": plan.name or run.project,
        "cicd.pipeline.run.id": run.id,
        "vcs.provider.name": SERVICE,
        "vcs.owner.name": owner,
        "vcs.repository.name": repository,
        "vcs.ref.head.name": name or run.ref,
        "vcs.ref.head.revision": run.commit,
    }
    if kind in {"heads", "tags"}:
        values["vcs.ref.head.type"] = "tag" if kind == "tags" else "branch"
    if run.change.startswith("merge-request:"):
        values["vcs.change.id"] = run.change.rpartition(":")[2]
    if url:
        values["cicd.pipeline.run.url.full"] = f"{url}/runs/{run.id}"
        values["vcs.repository.url.full"] = f"{url}/git/{run.project}.git"
    return {key: value for key, value in values.items() if value != ""}


def _root(found: Told, plan: Plan, way: Course, ended: datetime, url: str) -> Span:
    run = found.run
    latest = tuple(found.latest())
    attributes: dict[str, Value] = {
        "cicd.pipeline.action.name": "RUN",
        "cicd.pipeline.name": plan.name or run.project,
        "cicd.pipeline.run.id": run.id,
        "cicd.pipeline.run.state": "executing" if found.ended is None else "finalizing",
        "aegis.pipeline.source": run.source,
        "aegis.pipeline.jobs": len(plan.jobs),
        "aegis.critical_path.seconds": round(way.run_seconds, 6),
        "aegis.critical_path.wait_seconds": round(way.wait_seconds, 6),
        "aegis.critical_path.queue_seconds": round(way.queue_seconds, 6),
        "aegis.queue.would_save_seconds": round(sum(one.seconds for one in way.savings if one.cause == "queue"), 6),
    }
    if url:
        attributes["cicd.pipeline.run.url.full"] = f"{url}/runs/{run.id}"
    message = ""
    failed = found.state is State.FAILED
    if found.ended is not None and found.state is not None:
        result = run_result(found.state, latest)
        attributes["cicd.pipeline.result"] = result
        if failed:
            blamed = [one for one in latest if one.state is State.FAILED and not one.allow_failure]
            first = next((one for one in blamed if job_result(one) == result), None)
            attributes["error.type"] = error_type(first) if first is not None else OTHER
            message = f"{first.name}: {first.message}" if first is not None else "the run failed"
    return Span(
        id=span_id(run.id),
        parent="",
        name=f"RUN {plan.name or run.project}",
        kind="server",
        begun=found.begun,
        ended=max(ended, found.begun),
        attributes=attributes,
        links=(Link(trace=trace_id(run.parent), span=span_id(run.id, "trigger"), relation="parent"),)
        if run.parent
        else (),
        error=failed,
        message=message,
    )


def _job(run: Run, spec: JobSpec | None, job: JobRun, root: str, way: Course, url: str) -> list[Span]:
    ended = job.finished_at
    begun = job.queued_at or job.started_at or ended
    if begun is None or ended is None:
        return []
    triggers = spec is not None and spec.trigger is not None
    own = span_id(job.id, "trigger") if triggers else span_id(job.id)
    links = (Link(trace=trace_id(job.id), span=span_id(job.id), relation="child"),) if triggers else ()
    spans = [
        Span(
            id=own,
            parent=root,
            name=job.name,
            kind="internal",
            begun=begun,
            ended=max(ended, begun),
            attributes=_job_attributes(run, spec, job, way, url),
            links=links,
            error=job.state is State.FAILED,
            message=job.message if job.state is State.FAILED else "",
        )
    ]
    if job.started_at is not None and job.queued_at is not None and job.started_at > job.queued_at:
        spans.append(_part(job, own, "queue", job.queued_at, job.started_at))
    for number, step in enumerate(job.steps):
        spans.append(
            _part(job, own, step.name, step.started_at, step.started_at + timedelta(seconds=step.seconds), number)
        )
    return spans


def _part(job: JobRun, parent: str, name: str, begun: datetime, ended: datetime, number: int = 0) -> Span:
    attributes: dict[str, Value] = {"aegis.job.phase": phase(name)}
    return Span(
        id=span_id(job.id, name, str(number)), parent=parent, name=name, kind="internal", begun=begun,
        ended=max(ended, begun), attributes=attributes,
    )  # fmt: skip


def phase(section: str) -> str:
    """The phase of a job that a section belongs to: `queue`, `prepare`, `script`, `after_script` or `upload`."""
    if section in {"queue", "after_script"}:
        return section
    if section == "build_script" or section.startswith("step_"):
        return "script"
    return "upload" if section.startswith(("archive_", "upload_")) else "prepare"


def _job_attributes(run: Run, spec: JobSpec | None, job: JobRun, way: Course, url: str) -> dict[str, Value]:
    kind = _kind(spec, job)
    values: dict[str, Value | None] = {
        "cicd.pipeline.task.name": job.name,
        "cicd.pipeline.task.run.id": job.id,
        "cicd.pipeline.task.run.result": job_result(job),
        "cicd.pipeline.task.run.url.full": f"{url}/runs/{run.id}/jobs/{job.id}" if url else None,
        "cicd.pipeline.task.type": kind,
        "cicd.worker.name": job.runner or None,
        "cicd.worker.id": job.runner or None,
        "error.type": error_type(job) or None,
        "process.exit.code": job.exit_code,
        "aegis.job.stage": job.stage,
        "aegis.job.attempt": job.attempt,
        "aegis.job.isolation": job.isolation or None,
        "aegis.job.allow_failure": job.allow_failure or None,
        "aegis.job.critical": any(leg.id == job.id for leg in way.legs),
        "aegis.job.queue_seconds": job.queue_seconds,
        "aegis.job.run_seconds": job.run_seconds,
        "aegis.job.would_save_seconds": next(
            (round(one.seconds, 6) for one in way.savings if one.job == job.name), None
        ),
    }
    if job.usage is not None:
        values |= {
            "aegis.job.cpu_seconds": job.usage.cpu_seconds,
            "aegis.job.peak_memory_bytes": job.usage.peak_memory,
            "aegis.job.read_bytes": job.usage.read_bytes,
            "aegis.job.written_bytes": job.usage.written_bytes,
        }
    return {key: value for key, value in values.items() if value is not None}


def _kind(spec: JobSpec | None, job: JobRun) -> str | None:
    if spec is not None and spec.environment is not None and spec.environment.action == "start":
        return "deploy"
    return job.stage if job.stage in _TYPES else None
