"""Pages: a passed job's directory becomes what is served of its project, in one step; an earlier one can be put back.

The files stay where the job left them: a deployment is a record that names an archive and a directory of it.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace
from datetime import timedelta
from typing import Final

from aegis.core import events
from aegis.core.errors import NotFound, UserError
from aegis.core.events import Draft
from aegis.core.pages import PagesDeployment
from aegis.core.types import State
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.views import Result
from aegis.execution import stored

_SLUG: Final = re.compile(r"[^a-z0-9]+")


@handles(ask.PublishPages)
def publish(context: Context, command: ask.PublishPages, asking: Asking) -> Result:
    """Serve what a job left from now on."""
    run = context.engine.run(command.run)
    spec = context.engine.plan(run.id).job(command.job)
    job = next(one for one in run.jobs if one.name == command.job)
    subject = _subject(run.project)
    known = {one.id for one in context.pages.history(run.project)}
    if spec.pages is None or job.state is not State.SUCCESS or job.id in known:
        return Result(seq=context.ledger.head().seq, message="nothing is to be published", subject=subject)
    archive = next((one.digest for one in job.files if one.kind == "archive"), "")
    root = posixpath.normpath(spec.pages.publish).strip("/")
    names = stored.names(context.blobs, archive) if archive else ()
    files = [name for name in names if root == "." or name.startswith(f"{root}/")]
    if not files:
        raise UserError(
            "pages-empty", f"{spec.name} left nothing in {root}/, so there are no pages",
            hint="let its script fill that directory, or name another one with `pages: publish`",
        )  # fmt: skip
    now = context.clock.now()
    made = PagesDeployment(
        id=job.id,
        project=run.project,
        prefix=slug(spec.pages.path_prefix),
        archive=archive,
        root="" if root == "." else root,
        files=len(files),
        run=run.id,
        job=job.name,
        ref=run.ref,
        commit=run.commit,
        created_at=now,
        expires_at=now + timedelta(seconds=spec.pages.expire_in) if spec.pages.expire_in is not None else None,
    )
    told = events.PagesPublished(deployment=made)
    seq = context.append(
        Draft(subject=subject, data=told, actor=run.started_by, project=run.project, cause=asking.cause)
    )
    return Result(seq=seq, message=f"published {address(context.url, made)}", subject=subject)


@handles(ask.RestorePages)
def restore(context: Context, command: ask.RestorePages, asking: Asking) -> Result:
    """Serve an earlier deployment again."""
    project = context.options.project(command.project)
    context.authorise(asking.actor, "manage-pages", project=project.name)
    found = next((one for one in context.pages.history(project.name) if one.id == command.deployment), None)
    if found is None or not stored.is_whole(context.blobs, found.archive):
        raise NotFound(
            "no-such-pages", f"{project.name} has no deployment {command.deployment!r} whose files are still there"
        )
    if asking.dry_run:
        return Result(seq=0, message=f"would serve what {found.job} left at {found.commit[:8]}", dry_run=True)
    again = events.PagesPublished(deployment=replace(found, created_at=context.clock.now(), expires_at=None))
    draft = Draft(
        subject=_subject(project.name), data=again, actor=asking.actor.id, project=project.name, cause=asking.cause
    )
    return Result(
        seq=context.append(draft), message=f"serving {found.commit[:8]} again", subject=_subject(project.name)
    )


@handles(ask.RemovePages)
def remove(context: Context, command: ask.RemovePages, asking: Asking) -> Result:
    """Serve nothing of a project any more."""
    project = context.options.project(command.project)
    context.authorise(asking.actor, "manage-pages", project=project.name)
    if not context.pages.of(project.name, context.clock.now()):
        raise NotFound("no-such-pages", f"{project.name} has no pages", hint="a job with `pages: true` makes them")
    if asking.dry_run:
        return Result(seq=0, message=f"would remove the pages of {project.name}", dry_run=True)
    removed = events.PagesRemoved(project=project.name)
    draft = Draft(
        subject=_subject(project.name), data=removed, actor=asking.actor.id, project=project.name, cause=asking.cause
    )
    return Result(
        seq=context.append(draft), message=f"removed the pages of {project.name}", subject=_subject(project.name)
    )


def slug(prefix: str) -> str:
    """A prefix as it stands in an address, as GitLab makes it."""
    return _SLUG.sub("-", prefix.lower()).strip("-")[:63].strip("-")


def address(url: str, one: PagesDeployment) -> str:
    """Where a deployment is served."""
    return f"{url}/pages/{one.project}/{f'{one.prefix}/' if one.prefix else ''}"


def _subject(project: str) -> str:
    return f"pages/{project}"
