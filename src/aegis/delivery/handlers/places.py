"""The environments of jobs: stopped by people, by their time, and when nothing is left that they belong to.

Whether a ref is gone is read from the repository and the merge request, not from the event that brought it up: a job that
deploys a branch which was deleted meanwhile is followed by its stop job as well.
"""

from __future__ import annotations

import re
from typing import Final

from aegis.core import events
from aegis.core.errors import Conflict, UserError
from aegis.core.events import Draft
from aegis.core.types import State
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.handlers.runs import merge_request_of
from aegis.delivery.views import Result
from aegis.execution.places import Place, PlaceState

_NAME: Final = re.compile(r"[A-Za-z0-9_/${}. -]{1,255}")
_BY_HAND = frozenset({State.MANUAL, State.SCHEDULED})
_ENDED = frozenset({State.SUCCESS, State.FAILED, State.CANCELED})
_NEVER = frozenset({State.CREATED, State.SKIPPED})


@handles(ask.StopEnvironment)
def stop(context: Context, command: ask.StopEnvironment, asking: Asking) -> Result:
    """Start an environment's stop job; without one it is stopped at once."""
    project = context.options.project(command.project)
    context.authorise(asking.actor, "play", project=project.name)
    place = context.places.get(project.name, command.environment)
    if place.state is PlaceState.STOPPED:
        raise Conflict("environment-stopped", f"{place.name} of {place.project} is stopped already")
    if asking.dry_run:
        return Result(seq=0, message=f"would stop {place.name}", dry_run=True)
    _stop(context, place, command.reason or "asked for", asking)
    return Result(
        seq=context.ledger.head().seq, message=f"stopping {place.name}", subject=_subject(place),
        values={"job": place.on_stop, "run": place.run},
    )  # fmt: skip


@handles(ask.CreateEnvironment)
def create(context: Context, command: ask.CreateEnvironment, asking: Asking) -> Result:
    """Name an environment that no job has deployed yet."""
    project = context.options.project(command.project)
    context.authorise(asking.actor, "play", project=project.name)
    if not _NAME.fullmatch(command.environment):
        raise UserError(
            "environment-name", "name can contain only letters, digits, '-', '_', '/', '$', '{', '}', '.', and spaces"
        )
    if command.url and not command.url.startswith(("https://", "http://")):
        raise UserError("environment-url", "external_url must be a valid URL")
    taken = {one.name for one in context.places.of(project.name)}
    if command.environment in taken | set(context.options.environments if project.service else ()):
        raise UserError("environment-taken", "Name has already been taken")
    if asking.dry_run:
        return Result(seq=0, message=f"would make {command.environment}", dry_run=True)
    made = events.EnvironmentMade(name=command.environment, url=command.url, tier=command.tier)
    subject = f"place/{project.name}/{command.environment}"
    seq = context.append(Draft(subject=subject, data=made, actor=asking.actor.id, project=project.name))
    return Result(seq=seq, message=f"made {command.environment}", subject=subject)


@handles(ask.RemoveEnvironment)
def remove(context: Context, command: ask.RemoveEnvironment, asking: Asking) -> Result:
    """List an environment no longer; what still runs is stopped first."""
    project = context.options.project(command.project)
    context.authorise(asking.actor, "play", project=project.name)
    place = context.places.get(project.name, command.environment)
    if place.state is not PlaceState.STOPPED:
        raise Conflict(
            "environment-not-stopped", f"{place.name} is {place.state}; only a stopped environment is removed"
        )
    if asking.dry_run:
        return Result(seq=0, message=f"would remove {place.name}", dry_run=True)
    removed = events.EnvironmentRemoved(name=place.name)
    draft = Draft(
        subject=_subject(place), data=removed, actor=asking.actor.id, project=place.project, cause=asking.cause
    )
    return Result(seq=context.append(draft), message=f"removed {place.name}", subject=_subject(place))


@handles(ask.StopAbandoned)
def stop_abandoned(context: Context, command: ask.StopAbandoned, asking: Asking) -> Result:
    """Stop the environments of a branch that is gone, or of a merge request that has ended."""
    found = [
        one
        for one in context.places.of(command.project)
        if one.ref == command.ref and one.state is not PlaceState.STOPPED
    ]
    reason = _gone(context, command.project, command.ref) if found else ""
    refused: list[Conflict] = []
    for one in found if reason else ():
        try:
            _stop(context, one, reason, asking)
        except Conflict as error:
            # One that cannot be stopped does not keep the others.
            refused.append(error)
    if refused:
        raise refused[0]
    return Result(seq=context.ledger.head().seq, message=f"stopped {len(found) if reason else 0} environments")


def _gone(context: Context, project: str, ref: str) -> str:
    """Why nothing is left that environments of `ref` belong to; empty where it is there."""
    if ref.startswith("refs/merge-requests/"):
        number = int(ref.split("/")[2])
        state = merge_request_of(context, project, number).state
        return f"!{number} is {state}" if state != "opened" else ""
    if ref.startswith("refs/heads/") and ref not in context.repository(project).refs("refs/heads/"):
        return f"{ref.removeprefix('refs/heads/')} was deleted"
    return ""


def _stop(context: Context, place: Place, reason: str, asking: Asking) -> None:
    jobs = context.engine.run(place.run).jobs if place.on_stop else ()
    job = next((one for one in jobs if one.name == place.on_stop), None)
    if job is not None and job.state in _NEVER:
        raise Conflict(
            "stop-job-not-startable", f"{place.name} is not stopped: its job {job.name!r} is {job.state}",
            hint=f"retry what it waits for in run {place.run}, or stop what runs there by hand",
        )  # fmt: skip
    if place.state is PlaceState.AVAILABLE:
        stopping = events.EnvironmentStopping(
            name=place.name, reason=reason, by=asking.actor.id, run=place.run, job=job.name if job is not None else ""
        )
        context.append(
            Draft(
                subject=_subject(place), data=stopping, actor=asking.actor.id, project=place.project, cause=asking.cause
            )
        )
    if job is not None and job.state in _BY_HAND:
        context.engine.play(place.run, job.name, actor=asking.actor.id)
    elif job is not None and job.state in _ENDED:
        context.engine.retry(place.run, job.name, actor=asking.actor.id)


def _subject(place: Place) -> str:
    return f"place/{place.project}/{place.name}"
