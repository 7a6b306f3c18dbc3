"""Merge requests: opened by a push option or a verb, noted once, merged by a real Git merge."""

from __future__ import annotations

from collections.abc import Iterable

from aegis.core import events
from aegis.core.errors import Conflict, Denied, NotFound
from aegis.core.events import Draft
from aegis.core.ports import Query
from aegis.core.types import Verdict
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.handlers.changes import record_changes
from aegis.delivery.handlers.moves import intend
from aegis.delivery.handlers.runs import change_of, merge_request_of, of_project, run_of
from aegis.delivery.handlers.verdicts import merge_request_number
from aegis.delivery.views import Result
from aegis.source import merge_requests as rules
from aegis.source.branches import RefUpdate

HEADS = "refs/heads/"


@handles(ask.OpenMergeRequest)
def open_request(context: Context, command: ask.OpenMergeRequest, asking: Asking) -> Result:
    """Ask for a branch to be merged."""
    project = context.options.project(command.project)
    context.authorise(asking.actor, "open-merge-request", project=project.name)
    repository = context.repository(project.name)
    refs = repository.refs(HEADS)
    target = command.target or project.default_branch
    existing = of_project(context, project.name)
    number = max((one.number for one in existing), default=0) + 1
    head, tip = refs.get(HEADS + command.source), refs.get(HEADS + target)
    contained = head is not None and tip is not None and repository.merge_base(head, tip) == head
    title = command.title or (repository.log(head, limit=1)[0].message.splitlines()[0] if head else command.source)
    opened = rules.open_request(
        number=number,
        source_branch=command.source,
        target_branch=target,
        refs=refs,
        existing=existing,
        opened_by=asking.actor.id,
        title=title,
        description=command.description,
        contained=contained,
    )
    subject = rules.subject_of(project.name, number)
    if asking.dry_run:
        return Result(seq=0, message=f"would open !{number}", dry_run=True)
    draft = Draft(subject=subject, data=opened, actor=asking.actor.id, project=project.name, cause=asking.cause)
    seq = context.append(draft, expect={subject: 0})
    return Result(seq=seq, message=f"opened !{number}", subject=subject, values={"number": number})


@handles(ask.RefreshMergeRequests)
def refresh(context: Context, command: ask.RefreshMergeRequests, asking: Asking) -> Result:
    """Take note that a source branch has moved."""
    change = change_of(context, command.change)
    drafts = []
    if change.ref.startswith(HEADS):
        branch = change.ref.removeprefix(HEADS)
        for request in of_project(context, change.project):
            if request.state == "opened" and request.source_branch == branch and request.head != change.commit:
                updated = events.MergeRequestUpdated(number=request.number, head=change.commit, by=change.pushed_by)
                drafts.append(
                    Draft(
                        subject=request.subject,
                        data=updated,
                        actor=asking.actor.id,
                        project=change.project,
                        cause=asking.cause,
                    )
                )
    seq = context.append(*drafts) if drafts else context.ledger.head().seq
    return Result(seq=seq, message=f"{len(drafts)} merge requests moved")


@handles(ask.NoteMergeRequest)
def note(context: Context, command: ask.NoteMergeRequest, asking: Asking) -> Result:
    """Write the verdict of a run into the one note of its merge request."""
    entry = run_of(context, command.run)
    number = merge_request_number(entry)
    if number is None or entry.verdict is None:
        return Result(seq=context.ledger.head().seq, message="belongs to no merge request")
    request = merge_request_of(context, entry.run.project, number)
    body = rules.note_body(entry.verdict, run_url=f"{context.url}/runs/{entry.run.id}")
    if request.note == body or request.head != entry.run.commit:
        return Result(seq=context.ledger.head().seq, message="the note stands", subject=request.subject)
    noted = events.MergeRequestNoted(number=number, head=entry.run.commit, body=body)
    draft = Draft(
        subject=request.subject, data=noted, actor=asking.actor.id, project=entry.run.project, cause=asking.cause
    )
    return Result(seq=context.append(draft), message="noted", subject=request.subject)


def latest_verdict(context: Context, project: str, commit: str) -> Verdict | None:
    """The newest verdict about a commit."""
    query = Query(types=(events.NAMES[events.VerdictGiven][0],), project=project, newest_first=True)
    for record in context.ledger.read(limit=200, query=query):
        if isinstance(record.data, events.VerdictGiven) and record.data.verdict.commit == commit:
            return record.data.verdict
    return None


def obstacles(
    context: Context, request: rules.MergeRequest, identity: str, groups: Iterable[str]
) -> tuple[rules.Obstacle, ...]:
    """What keeps `identity` from merging now."""
    head = context.repository(request.project).refs(HEADS).get(HEADS + request.source_branch)
    return rules.obstacles(
        request,
        head=head,
        verdict=latest_verdict(context, request.project, request.head),
        identity=identity,
        groups=groups,
        protections=context.options.branches,
    )


@handles(ask.MergeMergeRequest)
def merge(context: Context, command: ask.MergeMergeRequest, asking: Asking) -> Result:
    """Merge what has passed."""
    request = merge_request_of(context, command.project, command.number)
    context.authorise(asking.actor, "merge", kind="branch", project=command.project, name=request.target_branch)
    found = obstacles(context, request, asking.actor.id, asking.actor.groups)
    if found:
        first = found[0]
        family = Denied if first.code == "branch-protected" else Conflict
        raise family(first.code, f"!{request.number} cannot be merged: {first.message}", hint=first.hint)
    if asking.dry_run:
        return Result(seq=0, message=f"would merge !{request.number} into {request.target_branch}", dry_run=True)
    repository = context.repository(request.project)
    ref = HEADS + request.target_branch
    tip = repository.refs(HEADS).get(ref)
    if tip is None:
        raise NotFound("no-branch", f"there is no branch {request.target_branch!r}")
    identity = context.adopted.directory.by_id(asking.actor.id)
    mail = identity.emails[0] if identity and identity.emails else f"{asking.actor.id}@aegis.invalid"
    author = f"{asking.actor.name} <{mail}>"
    commit = repository.merged(request.head, tip, message=rules.merge_message(request), author=author)
    update = RefUpdate(ref=ref, old=tip, new=commit)
    intend(context, request.project, asking.actor.id, (update,), number=request.number)
    repository.set_ref(ref, commit, expect=tip)
    seq = record_merge(context, request, asking.actor.id, update, cause=asking.cause)
    return Result(
        seq=seq,
        message=f"merged !{request.number} as {commit[:12]}",
        subject=request.subject,
        values={"commit": commit},
    )


def record_merge(
    context: Context, request: rules.MergeRequest, identity: str, update: RefUpdate, *, cause: str = ""
) -> int:
    """Write down that a merge has moved its target branch; the last sequence number."""
    merged = events.MergeRequestMerged(number=request.number, commit=update.new or "", merged_by=identity)
    ended = Draft(subject=request.subject, data=merged, actor=identity, project=request.project, cause=cause)
    return record_changes(context, request.project, identity, (update,), cause=cause, before=(ended,))


@handles(ask.CloseMergeRequest)
def close(context: Context, command: ask.CloseMergeRequest, asking: Asking) -> Result:
    """Close without merging."""
    request = merge_request_of(context, command.project, command.number)
    context.authorise(asking.actor, "close", project=command.project)
    if request.state != "opened":
        raise Conflict("merge-request-ended", f"!{request.number} is {request.state}")
    if asking.dry_run:
        return Result(seq=0, message=f"would close !{request.number}", dry_run=True)
    closed = events.MergeRequestClosed(number=request.number, by=asking.actor.id)
    draft = Draft(subject=request.subject, data=closed, actor=asking.actor.id, project=request.project)
    return Result(seq=context.append(draft), message=f"closed !{request.number}", subject=request.subject)
