"""Which files of jobs are there to be had, and by whom. It deletes nothing.

`artifacts:expire_in` counts from the job's end; those of the newest passed run of a branch or tag stay, as at GitLab.
"""

from __future__ import annotations

from dataclasses import replace

from aegis.core.errors import Denied
from aegis.core.plan import ArtifactSpec
from aegis.core.types import JobRun, Run, State
from aegis.delivery.context import Context
from aegis.delivery.views import Actor

_VERBS = {"developer": "run", "maintainer": "administer"}


def is_newest(context: Context, run: Run) -> bool:
    """Whether no later run of its ref has passed, of those that are at hand."""
    if run.state is not State.SUCCESS:
        return False
    later = context.world.read(
        lambda state: any(
            one.run.project == run.project
            and one.run.ref == run.ref
            and one.run.state is State.SUCCESS
            and one.run.id > run.id
            for one in state.runs.values()
        )
    )
    return not later


def expired(context: Context, run: Run, job: JobRun) -> bool:
    """Whether the time of a job's files is over."""
    return job.files_until is not None and context.clock.now() >= job.files_until and not is_newest(context, run)


def present(context: Context, run: Run, job: JobRun) -> JobRun:
    """The job with the files that are still to be had."""
    return replace(job, files=()) if expired(context, run, job) else job


def must_access(context: Context, actor: Actor, project: str, spec: ArtifactSpec | None) -> None:
    """`Denied` for a person whom `artifacts:access` does not give the files; jobs of the project have them."""
    access = spec.access if spec is not None else "all"
    if actor.kind == "job" or access == "all":
        return
    if access not in _VERBS:
        raise Denied("artifacts-private", "the job gives its artifacts to no person", hint="see its artifacts:access")
    context.authorise(actor, _VERBS[access], project=project)
