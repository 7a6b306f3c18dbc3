"""Pipelines that pipelines start: children of the same commit, and pipelines of other projects of this server.

A started run has the id of the trigger job's attempt that asked for it, so the same wish never makes a second run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aegis.access.policy import Resource
from aegis.core.errors import AegisError, Conflict, Denied, NotFound
from aegis.core.plan import JobSpec, Trigger
from aegis.core.types import JobRun, Run, State
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.handlers.runs import Wish, branch_head, launch, merge_request_for, run_of
from aegis.delivery.queries.entries import RunEntry
from aegis.delivery.views import Result
from aegis.execution import downstream
from aegis.execution.runners import JobResult
from aegis.pipeline.child import CHILD, DOWNSTREAM, forwarded

MAX_CHILDREN: Final = 2
"""How deep children of children may lie, as in GitLab."""
MAX_CHAIN: Final = 10
"""How many pipelines may stand in one chain of triggers, whichever projects they belong to."""


@handles(ask.StartDownstream)
def start(context: Context, command: ask.StartDownstream, asking: Asking) -> Result:
    """Compile and queue the pipeline of a running trigger job; what keeps it from being made fails that job."""
    run = context.engine.run(command.run)
    job = next((one for one in run.jobs if one.name == command.job), None)
    if job is None or job.state is not State.RUNNING:
        return Result(seq=context.ledger.head().seq, message="no longer asked for")
    spec = context.engine.plan(command.run).job(command.job)
    if spec.trigger is None:
        return Result(seq=context.ledger.head().seq, message="not a trigger")
    trigger = _equipped(context, run, spec, spec.trigger)
    reason, message = _forbidden(context, run, trigger)
    if not reason:
        try:
            made = launch(context, _wish(context, run, job, trigger), asking)
        except AegisError as error:
            if error.retryable:
                raise
            reason, message = "downstream_pipeline_creation_failed", error.message
        else:
            began = RunEntry.fold(context.subject(f"run/{job.id}")) is not None
            reason = "" if began else "downstream_pipeline_creation_failed"
            message = made.message
    if reason:
        _finish(context, job, downstream.refused(reason, message))
    elif not trigger.strategy:
        _finish(context, job, downstream.started(job.id))
    return Result(seq=context.ledger.head().seq, message=message, subject=f"run/{job.id}")


def _finish(context: Context, job: JobRun, result: JobResult) -> None:
    try:
        context.engine.finish(job.id, result)
    except (Conflict, NotFound):
        # It was canceled meanwhile: its end is written already.
        return


def _equipped(context: Context, run: Run, spec: JobSpec, trigger: Trigger) -> Trigger:
    known = [("CI_PIPELINE_ID", run.id), ("CI_PROJECT_PATH", run.project), ("CI_COMMIT_SHA", run.commit)]
    return downstream.equipped(trigger, context.engine.feeders(run.id, spec.name), context.blobs, known)


def _forbidden(context: Context, run: Run, trigger: Trigger) -> tuple[str, str]:
    """Why this pipeline may not be started: GitLab's reason and a sentence; empty where it may."""
    chain, children = _ancestry(context, run)
    if chain >= MAX_CHAIN or (trigger.include and children >= MAX_CHILDREN):
        return "reached_max_descendant_pipelines_depth", f"triggers are nested deeper than {MAX_CHILDREN} children"
    if trigger.include:
        return "", ""
    if trigger.project not in context.options.projects:
        return "downstream_bridge_project_not_found", f"there is no project {trigger.project!r} on this server"
    identity = context.adopted.directory.by_id(run.started_by)
    if identity is None:
        return "insufficient_bridge_permissions", f"{run.started_by!r} is nobody who could start {trigger.project}"
    try:
        resource = Resource(kind="project", project=trigger.project)
        context.adopted.access.require(identity, "run", resource, {"emergency": False})
    except Denied as denied:
        return "insufficient_bridge_permissions", denied.message
    return "", ""


def _ancestry(context: Context, run: Run) -> tuple[int, int]:
    """How many runs stand above this one, and how many of the last of them are children of one commit."""
    chain = children = 0
    unbroken = True
    while run.parent and chain < MAX_CHAIN:
        chain += 1
        unbroken = unbroken and run.source == CHILD
        children += unbroken
        run = run_of(context, run.parent).run
    return chain, children


def _wish(context: Context, run: Run, job: JobRun, trigger: Trigger) -> Wish:
    given = context.engine.plan(run.id).given
    wish = Wish(
        run=job.id, project=run.project, ref=run.ref, commit=run.commit, source=CHILD, started_by=run.started_by,
        change=run.change, variables=forwarded(trigger, given), parent=run.id, trigger=trigger,
        merge_request=merge_request_for(context, run), environment=run.environment, release=run.release,
    )  # fmt: skip
    if trigger.include:
        return wish
    project = context.options.project(trigger.project)
    branch = trigger.branch or project.default_branch
    commit = branch_head(context, project.name, branch)
    return replace(
        wish, project=project.name, ref=f"refs/heads/{branch}", commit=commit, source=DOWNSTREAM, change="", merge_request=None,
        environment=None, release=None,
    )  # fmt: skip


@handles(ask.ConcludeDownstream)
def conclude(context: Context, command: ask.ConcludeDownstream, _asking: Asking) -> Result:
    """End the trigger job that waits for this run, as the run ended."""
    run = run_of(context, command.run).run
    seq = context.ledger.head().seq
    if not run.parent:
        return Result(seq=seq, message="nobody waits for it")
    job = next((one for one in context.engine.run(run.parent).jobs if one.id == run.id), None)
    if job is None or job.state.finished:
        return Result(seq=seq, message="nobody waits for it any more")
    _finish(context, job, downstream.mirrored(run.id, run.state))
    return Result(
        seq=context.ledger.head().seq, message=f"{job.name} ended as {run.state}", subject=f"run/{run.parent}"
    )


@handles(ask.ResumeUpstream)
def resume(context: Context, command: ask.ResumeUpstream, asking: Asking) -> Result:
    """A job of an ended pipeline runs again: the trigger that stands for it runs with it. Its end follows as any end does."""
    seq = context.ledger.head().seq
    run = run_of(context, command.run).run
    job = next((one for one in context.engine.run(run.parent).jobs if one.id == run.id), None) if run.parent else None
    if job is None or not job.state.finished:
        return Result(seq=seq, message="nobody waits for it")
    trigger = context.engine.plan(run.parent).job(job.name).trigger
    if trigger is None or not trigger.strategy:
        return Result(seq=seq, message="its trigger does not wait for it")
    if run.state.finished and downstream.mirrored(run.id, run.state).state is job.state:
        return Result(seq=seq, message="it has ended again, and its trigger with it")
    context.engine.resume(run.parent, job.name, actor=asking.actor.id)
    return Result(seq=context.ledger.head().seq, message=f"{job.name} waits for it again", subject=f"run/{run.parent}")


@handles(ask.CancelDownstream)
def cancel(context: Context, command: ask.CancelDownstream, asking: Asking) -> Result:
    """Cancel the run itself where it was started by a trigger, and the open children it has."""
    open_runs = context.engine.open_runs()
    own = [one for one in open_runs if one.id == command.run and one.parent]
    children = [one for one in open_runs if one.parent == command.run and one.source == CHILD]
    for one in (*own, *children):
        if one.state is not State.CANCELING:
            context.engine.cancel(one.id, actor=asking.actor.id, reason="the pipeline that started it was canceled")
    return Result(seq=context.ledger.head().seq, message=f"canceled {len(own) + len(children)} runs")
