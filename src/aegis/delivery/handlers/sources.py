"""Sources changed through the API: commits and branches, judged by the protections that judge a push.

A ref moves only after it was written down who moves it where; the change that is recorded then is the outcome.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from aegis.core.errors import Conflict, Denied, NotFound, UserError
from aegis.core.ports import Repository
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.handlers.changes import record_changes
from aegis.delivery.handlers.moves import intend
from aegis.delivery.views import Result
from aegis.source.branches import HEADS, TAGS, Protection, RefUpdate, judge_push


@handles(ask.CommitFiles)
def commit(context: Context, command: ask.CommitFiles, asking: Asking) -> Result:
    """Write a commit; a branch that is not there begins at `start` (else at the default branch)."""
    project = context.options.project(command.project)
    ref = HEADS + command.branch
    repository = context.repository(project.name)
    heads = repository.refs(HEADS)
    old = heads.get(ref)
    base = old or heads.get(HEADS + (command.start or project.default_branch))
    if base is None and heads:
        raise NotFound("no-such-branch", f"{project.name} has no branch {command.start or project.default_branch!r}")
    if old is not None and command.start and command.start != command.branch:
        raise Conflict("branch-exists", f"{project.name} has a branch {command.branch!r} already")
    context.authorise(asking.actor, "commit-files", kind="branch", name=command.branch, project=project.name)
    _judge(context, asking, project.name, RefUpdate(ref=ref, old=old, new="1" * 40))
    if not command.message.strip():
        raise UserError("commit-message", "a commit needs a message")
    files = _files(repository, base, command.actions)
    if asking.dry_run:
        return Result(seq=0, message=f"would commit {len(files)} files to {command.branch}", dry_run=True)
    made = repository.committed(files, base=base, message=command.message, author=_author(context, asking))
    seq = _moved(context, project.name, repository, RefUpdate(ref=ref, old=old, new=made), asking)
    return Result(seq=seq, message=f"committed {made[:12]}", subject=f"refs/{project.name}", values={"commit": made})


def _moved(context: Context, project: str, repository: Repository, update: RefUpdate, asking: Asking) -> int:
    intend(context, project, asking.actor.id, (update,))
    if update.new is None:
        repository.delete_ref(update.ref, expect=update.old or "")
    else:
        repository.set_ref(update.ref, update.new, expect=update.old)
    return record_changes(context, project, asking.actor.id, (update,))


def _judge(context: Context, asking: Asking, project: str, update: RefUpdate) -> None:
    """`Denied` for a ref that the protections of pushes keep."""
    if project == context.options.gitops_project:
        raise Denied("gitops-owned", "Aegis alone writes the GitOps repository", hint="aegis promote")
    protections: tuple[Protection, ...] = (*context.options.branches, *context.options.tags)
    found = judge_push((update,), identity=asking.actor.id, groups=asking.actor.groups, protections=protections)
    if found:
        raise Denied(found[0].code, found[0].message, hint=found[0].hint)


def _files(repository: Repository, base: str | None, actions: Sequence[ask.FileAction]) -> dict[str, bytes | None]:
    """What each path becomes; a `UserError` where an action does not fit what is there."""
    if not actions:
        raise UserError("commit-empty", "a commit needs at least one file")
    there = {entry.path for entry in repository.entries(base)} if base else set()
    files: dict[str, bytes | None] = {}
    for one in actions:
        known = files[one.path] is not None if one.path in files else one.path in there
        if one.action == "create":
            if known:
                raise UserError("file-exists", "A file with this name already exists")
            files[one.path] = _content(one)
        elif one.action in ("update", "delete"):
            if not known:
                raise UserError("no-such-file", "A file with this name doesn't exist")
            files[one.path] = _content(one) if one.action == "update" else None
        elif one.action == "move":
            if one.previous not in there or base is None:
                raise UserError("no-such-file", "A file with this name doesn't exist")
            files[one.path] = _content(one) if one.content else repository.read(base, one.previous)
            files[one.previous] = None
        else:
            raise UserError("commit-action", f"{one.action!r} is not an action", hint="create, update, delete or move")
    return files


def _content(action: ask.FileAction) -> bytes:
    if action.encoding != "base64":
        return action.content.encode("utf-8", "surrogateescape")
    try:
        return base64.b64decode(action.content, validate=True)
    except binascii.Error as error:
        raise UserError("commit-base64", f"the content of {action.path} is not base64") from error


def _author(context: Context, asking: Asking) -> str:
    identity = context.adopted.directory.by_id(asking.actor.id)
    mail = identity.emails[0] if identity and identity.emails else f"{asking.actor.id}@aegis.invalid"
    return f"{asking.actor.name} <{mail}>"


@handles(ask.CreateBranch)
def create_branch(context: Context, command: ask.CreateBranch, asking: Asking) -> Result:
    """Make a branch."""
    project = context.options.project(command.project)
    repository = context.repository(project.name)
    ref = HEADS + command.branch
    if ref in repository.refs(HEADS):
        raise UserError("branch-exists", "Branch already exists")
    heads = repository.refs(HEADS)
    start = heads.get(HEADS + command.ref) or repository.resolve(command.ref)
    update = RefUpdate(ref=ref, old=None, new=start)
    context.authorise(asking.actor, "create-branch", kind="branch", name=command.branch, project=project.name)
    _judge(context, asking, project.name, update)
    if asking.dry_run:
        return Result(seq=0, message=f"would make {command.branch} at {start[:12]}", dry_run=True)
    seq = _moved(context, project.name, repository, update, asking)
    return Result(seq=seq, message=f"made {command.branch} at {start[:12]}", values={"commit": start})


@handles(ask.CreateTag)
def create_tag(context: Context, command: ask.CreateTag, asking: Asking) -> Result:
    """Make a tag, as a push of it would."""
    project = context.options.project(command.project)
    context.authorise(asking.actor, "run", project=project.name)
    repository = context.repository(project.name)
    ref = TAGS + command.tag
    if ref in repository.refs(TAGS):
        raise UserError("tag-exists", f"Tag {command.tag} already exists")
    target = repository.refs(HEADS).get(HEADS + command.ref) or repository.resolve(command.ref)
    _judge(context, asking, project.name, RefUpdate(ref=ref, old=None, new=target))
    if asking.dry_run:
        return Result(seq=0, message=f"would tag {target[:12]} as {command.tag}", dry_run=True)
    if command.message:
        target = repository.tagged(command.tag, target, message=command.message, author=_author(context, asking))
    seq = _moved(context, project.name, repository, RefUpdate(ref=ref, old=None, new=target), asking)
    return Result(seq=seq, message=f"tagged {command.tag}", values={"commit": target})


@handles(ask.DeleteTag)
def delete_tag(context: Context, command: ask.DeleteTag, asking: Asking) -> Result:
    """Remove a tag, as a push of its deletion would."""
    project = context.options.project(command.project)
    context.authorise(asking.actor, "run", project=project.name)
    repository = context.repository(project.name)
    old = repository.refs(TAGS).get(TAGS + command.tag)
    if old is None:
        raise NotFound("no-such-tag", f"{project.name} has no tag {command.tag!r}")
    update = RefUpdate(ref=TAGS + command.tag, old=old, new=None)
    _judge(context, asking, project.name, update)
    if asking.dry_run:
        return Result(seq=0, message=f"would remove {command.tag}", dry_run=True)
    return Result(seq=_moved(context, project.name, repository, update, asking), message=f"removed {command.tag}")


@handles(ask.DeleteBranch)
def delete_branch(context: Context, command: ask.DeleteBranch, asking: Asking) -> Result:
    """Remove a branch."""
    project = context.options.project(command.project)
    repository = context.repository(project.name)
    ref = HEADS + command.branch
    old = repository.refs(HEADS).get(ref)
    if old is None:
        raise NotFound("no-such-branch", f"{project.name} has no branch {command.branch!r}")
    if command.branch == project.default_branch:
        raise Denied("default-branch", "the default branch is not removed")
    update = RefUpdate(ref=ref, old=old, new=None)
    context.authorise(asking.actor, "delete-branch", kind="branch", name=command.branch, project=project.name)
    _judge(context, asking, project.name, update)
    if asking.dry_run:
        return Result(seq=0, message=f"would remove {command.branch}", dry_run=True)
    seq = _moved(context, project.name, repository, update, asking)
    return Result(seq=seq, message=f"removed {command.branch}")
