"""Remote runners: registered, changed, removed; their tokens made and renewed."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

from aegis.access import tokens
from aegis.access.tokens import Grant, Kind
from aegis.core import events
from aegis.core.errors import UserError
from aegis.core.events import Draft
from aegis.core.types import RunnerSettings
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.views import Result
from aegis.execution.runners_roster import RegisteredRunner, checked

_NAMES = tuple(field.name for field in fields(RunnerSettings))


def identity_of(runner: str) -> str:
    """The identity that a runner's token speaks for."""
    return f"runner/{runner}"


@handles(ask.CreateRunner)
def create(context: Context, command: ask.CreateRunner, asking: Asking) -> Result:
    """Register a runner as an administrator asks."""
    context.authorise(asking.actor, "create-runner", kind="server")
    settings = checked(RunnerSettings(**{name: getattr(command, name) for name in _NAMES}))
    if asking.dry_run:
        return Result(seq=0, message="would create a runner", dry_run=True)
    return register(context, settings, asking.actor.id)


def register(context: Context, settings: RunnerSettings, by: str) -> Result:
    """A new runner with a token of its own: in one append, so that there is never one without the other."""
    runner = context.new_id()
    minted = tokens.mint(context.entropy.take(tokens.TOKEN_BYTES), prefix=tokens.RUNNER_PREFIX)
    subject = identity_of(runner)
    registered = Draft(subject=subject, data=events.RunnerRegistered(runner=runner, settings=settings, by=by), actor=by)
    seq = context.append(registered, _token(minted, runner, by), expect={subject: 0})
    number = context.runners.get(runner).number
    return Result(
        seq=seq,
        message=f"runner {number} may ask for jobs",
        subject=subject,
        values={"runner": runner, "id": number, "token": minted.plain},
    )


def _token(minted: tokens.Minted, runner: str, by: str) -> Draft:
    issued = tokens.issue(minted, identity=identity_of(runner), kind=Kind.RUNNER, scopes=(), expires_at=None, actor=by)
    return replace(issued, subject=identity_of(runner))


@handles(ask.ChangeRunner)
def change(context: Context, command: ask.ChangeRunner, asking: Asking) -> Result:
    """Change what a runner takes."""
    context.authorise(asking.actor, "change-runner", kind="server")
    runner = context.runners.get(command.runner)
    wanted: dict[str, Any] = {
        name: value for name in _NAMES if (value := getattr(command, name)) is not None and name != "maximum_timeout"
    }
    if command.maximum_timeout is not None:
        wanted["maximum_timeout"] = command.maximum_timeout or None
    settings = checked(replace(runner.settings, **wanted))
    if settings == runner.settings:
        return Result(seq=context.ledger.head().seq, message=f"runner {runner.number} is so already")
    if asking.dry_run:
        return Result(seq=0, message=f"would change runner {runner.number}: {', '.join(wanted)}", dry_run=True)
    changed = events.RunnerChanged(runner=runner.id, settings=settings, by=asking.actor.id)
    subject = identity_of(runner.id)
    draft = Draft(subject=subject, data=changed, actor=asking.actor.id)
    seq = context.append(draft)
    context.engine.wake()
    return Result(seq=seq, message=f"changed runner {runner.number}", subject=subject)


@handles(ask.RemoveRunner)
def remove(context: Context, command: ask.RemoveRunner, asking: Asking) -> Result:
    """Remove a runner; jobs that it has go on until they end or fall silent."""
    context.authorise(asking.actor, "remove-runner", kind="server")
    runner = context.runners.get(command.runner)
    if asking.dry_run:
        return Result(seq=0, message=f"would remove runner {runner.number}", dry_run=True)
    return dismiss(context, runner, asking.actor.id, command.reason)


def dismiss(context: Context, runner: RegisteredRunner, by: str, reason: str = "") -> Result:
    """End a runner and every token of it."""
    subject = identity_of(runner.id)
    removed = Draft(subject=subject, data=events.RunnerRemoved(runner=runner.id, by=by, reason=reason), actor=by)
    seq = context.append(removed, *_revocations(context, runner.id, by, "runner removed"))
    return Result(seq=seq, message=f"removed runner {runner.number}", subject=subject)


def _revocations(context: Context, runner: str, by: str, reason: str) -> list[Draft]:
    return [
        Draft(subject=identity_of(runner), data=events.TokenRevoked(token=one.token, reason=reason), actor=by)
        for one in context.tokens.of(identity_of(runner))
    ]


@handles(ask.ResetRunnerToken)
def reset(context: Context, command: ask.ResetRunnerToken, asking: Asking) -> Result:
    """Renew a runner's token as an administrator asks."""
    context.authorise(asking.actor, "reset-runner-token", kind="server")
    runner = context.runners.get(command.runner)
    if asking.dry_run:
        return Result(seq=0, message=f"would renew the token of runner {runner.number}", dry_run=True)
    return renew(context, runner, asking.actor.id)


def renew(context: Context, runner: RegisteredRunner, by: str) -> Result:
    """A new token in the old one's place, in one append."""
    minted = tokens.mint(context.entropy.take(tokens.TOKEN_BYTES), prefix=tokens.RUNNER_PREFIX)
    seq = context.append(*_revocations(context, runner.id, by, "token renewed"), _token(minted, runner.id, by))
    return Result(
        seq=seq,
        message=f"runner {runner.number} has a new token",
        subject=identity_of(runner.id),
        values={"runner": runner.id, "id": runner.number, "token": minted.plain},
    )


@handles(ask.IssueRegistrationToken)
def registration(context: Context, command: ask.IssueRegistrationToken, asking: Asking) -> Result:
    """A token that registers runners, for all projects or for one."""
    context.authorise(asking.actor, "issue-registration-token", kind="server")
    if command.project:
        context.options.project(command.project)
    if not 0 < command.expires_seconds <= 366 * 86400:
        raise UserError("token-expiry", "a token lives at least a moment and at most a year")
    if asking.dry_run:
        return Result(seq=0, message="would make a registration token", dry_run=True)
    minted = tokens.mint(context.entropy.take(tokens.TOKEN_BYTES), prefix=tokens.REGISTRATION_PREFIX)
    draft = tokens.issue(
        minted,
        identity=asking.actor.id,
        kind=Kind.REGISTRATION,
        scopes=(),
        expires_at=context.clock.now() + timedelta(seconds=command.expires_seconds),
        actor=asking.actor.id,
        project=command.project,
    )
    return Result(
        seq=context.append(draft),
        message="runners can register with this token",
        subject=draft.subject,
        values={"token": minted.plain, "id": minted.id},
    )


def settings_of(body: dict[str, Any], grant: Grant) -> RunnerSettings:
    """What a runner that registers itself asks for; a token of a project serves that project alone.

    `UserError` where a value is not of its type. A runner that names no tags runs untagged jobs, as in GitLab.
    """
    tags = body.get("tag_list") or ()
    if isinstance(tags, str):
        tags = [tag.strip() for tag in tags.split(",")]
    timeout = body.get("maximum_timeout") or None
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) for tag in tags):
        raise UserError("runner-tags", "tag_list is a list of words")
    if timeout is not None and not isinstance(timeout, int):
        raise UserError("runner-timeout", "maximum_timeout is a number of seconds")
    named = tuple(dict.fromkeys(tag for tag in tags if tag))
    untagged = body.get("run_untagged")
    return checked(
        RunnerSettings(
            description=str(body.get("description") or "")[:1024],
            tags=named,
            run_untagged=bool(untagged) if untagged is not None else not named,
            protected=body.get("access_level") == "ref_protected",
            paused=bool(body.get("paused")) or body.get("active") is False,
            locked=bool(body.get("locked")),
            projects=(grant.project,) if grant.project else (),
            maximum_timeout=timeout,
            note=str(body.get("maintenance_note") or "")[:1024],
        )
    )
