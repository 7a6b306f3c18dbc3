"""What a runner is given with a job: variables in order, secrets resolved, the files of earlier jobs.

It reads blobs (dotenv reports) and asks for credentials and secrets; whatever of that fails becomes a sentence in the
assignment, so that the job fails with it and nothing is run half-equipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from aegis.core.errors import AegisError, UserError
from aegis.core.plan import JobSpec, Variable
from aegis.core.ports import Blobs
from aegis.core.tracing import traceparent
from aegis.core.types import JobRun, Run
from aegis.execution.environment import dotenv
from aegis.execution.runners import Assignment, Dependency, ForeignJob, JobCredentials

Foreign = Callable[[Run, JobSpec], tuple[ForeignJob, ...]]
"""The jobs of other pipelines whose files a job gets; `AegisError` where one that it needs is not there."""


def build(
    run: Run,
    spec: JobSpec,
    job: JobRun,
    feeders: Sequence[JobRun],
    *,
    blobs: Blobs,
    credentials: Callable[[Run, JobSpec, JobRun], JobCredentials],
    resolve_secret: Callable[[Run, JobSpec, str], str] | None,
    extra: Sequence[Variable] = (),
    foreign: Foreign | None = None,
) -> Assignment:
    """The assignment of an attempt. Order of variables, last wins: the trace's, the job's, dotenv reports, `extra`, credentials."""
    trouble = ""
    given = JobCredentials(token="")
    variables: tuple[Variable, ...] = ()
    others: tuple[ForeignJob, ...] = ()
    try:
        others = _others(run, spec, foreign)
        own = tuple(_resolved(run, spec, one, resolve_secret) for one in spec.variables)
        joins = Variable(key="TRACEPARENT", value=traceparent(run.id, job.id), raw=True)
        variables = (joins, *own, *from_reports([*feeders, *(one.job for one in others)], blobs), *extra)
        given = credentials(run, spec, job)
    except AegisError as error:
        trouble = str(error)
    return Assignment(
        run=run,
        spec=spec,
        job=job,
        token=given.token,
        variables=(*variables, *given.variables),
        dependencies=(*_archives(feeders), *(each for one in others for each in _archives([one.job], one.run))),
        trusted=given.trusted,
        resolve_failure=trouble,
    )


def _resolved(
    run: Run, spec: JobSpec, variable: Variable, resolve: Callable[[Run, JobSpec, str], str] | None
) -> Variable:
    if variable.secret is None:
        return variable
    if resolve is None:
        raise UserError(
            "no-secret-store",
            f"variable {variable.key} refers to the secret {variable.secret!r}, and there is no secret store here",
            hint=f"give it with --secrets-file, as a line {variable.key}=…",
        )
    return replace(variable, value=resolve(run, spec, variable.secret), masked=True, raw=True)


def _others(run: Run, spec: JobSpec, foreign: Foreign | None) -> tuple[ForeignJob, ...]:
    if foreign is not None:
        return foreign(run, spec)
    for need in spec.foreign_needs:
        if need.artifacts and not need.optional:
            raise UserError(
                "missing-dependency",
                f"job {spec.name!r} needs the files of {need.job!r} of another pipeline, and there is none here",
                hint="a server has other pipelines; say `optional: true` where they are not needed",
            )
    return ()


def _archives(feeders: Sequence[JobRun], run: str = "") -> Iterator[Dependency]:
    for feeder in feeders:
        for file in feeder.files:
            if file.kind == "archive":
                yield Dependency(job=feeder.name, archive=file, id=feeder.id, attempt=feeder.attempt, run=run)


def reported(jobs: Sequence[JobRun], blobs: Blobs) -> dict[str, str]:
    """The variables of dotenv reports by name; nothing of a report that cannot be read."""
    try:
        return {one.key: one.value for one in from_reports(jobs, blobs)}
    except AegisError:
        return {}


def named_by_address(spec: JobSpec, jobs: Sequence[JobRun], blobs: Blobs) -> dict[str, str]:
    """What the jobs reported (the earlier ones that it got, then it itself), where its environment's address may name it."""
    wanted = spec.environment is not None and "$" in (spec.environment.url or "")
    return reported(jobs, blobs) if wanted else {}


def from_reports(feeders: Sequence[JobRun], blobs: Blobs) -> Iterator[Variable]:
    """The variables of the jobs' dotenv reports, in order."""
    for feeder in feeders:
        for file in feeder.files:
            if file.kind == "dotenv":
                yield from dotenv(blobs.get(file.digest))
