"""Releases that jobs ask for (`release:`): the tag, made with the rights of who started the run, and the record of it.

They stand beside the releases that the gates let pass and are never promoted. A tag that exists is released as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from aegis.core import events
from aegis.core.errors import Conflict, Denied, NotFound, UserError
from aegis.core.events import Draft
from aegis.core.plan import JobSpec, ReleaseSpec
from aegis.core.ports import Repository
from aegis.core.types import PublishedRelease, Run
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.handlers.changes import record_changes
from aegis.delivery.handlers.moves import intend
from aegis.delivery.views import Result
from aegis.execution.assignment import from_reports
from aegis.execution.environment import expand
from aegis.source.branches import TAGS, RefUpdate, judge_push


@handles(ask.PublishRelease)
def publish(context: Context, command: ask.PublishRelease, asking: Asking) -> Result:
    """Make the tag where it is not there yet, and write the release down."""
    run = context.engine.run(command.run)
    spec = context.engine.plan(run.id).job(command.job)
    if spec.release is None:
        return Result(seq=context.ledger.head().seq, message="no release is asked for")
    repository = context.repository(run.project)
    wish = expanded(spec.release, _values(context, run, spec))
    if not wish.tag_name or "$" in wish.tag_name:
        raise UserError(
            "release-tag", f"`release: tag_name` of {spec.name} is {wish.tag_name!r}, which names no tag",
            hint="let a dotenv report of an earlier job bring the variable",
        )  # fmt: skip
    subject = f"published-release/{run.project}/{wish.tag_name}"
    for record in context.subject(subject):
        if isinstance(record.data, events.ReleasePublished):
            return _again(context, record.data.release, run, spec, subject)
    ref = TAGS + wish.tag_name
    there = repository.refs(TAGS).get(ref)
    commit = repository.resolve(there or wish.ref or run.commit)
    made = _made(context, repository, run, spec, wish, commit)
    draft = Draft(
        subject=subject, data=events.ReleasePublished(release=made), actor=run.started_by, project=run.project,
        cause=asking.cause,
    )  # fmt: skip
    if there is not None:
        return Result(seq=context.append(draft, expect={subject: 0}), message=f"released {made.tag}", subject=subject)
    update = _tag(context, repository, run, wish, RefUpdate(ref=ref, old=None, new=commit))
    seq = record_changes(context, run.project, run.started_by, (update,), cause=asking.cause, before=(draft,))
    return Result(seq=seq, message=f"tagged and released {made.tag}", subject=subject)


def expanded(spec: ReleaseSpec, values: Mapping[str, str]) -> ReleaseSpec:
    """The wish with variables put in; a name that nobody knows stays as it is written."""
    return replace(
        spec,
        tag_name=expand(spec.tag_name, values),
        description=expand(spec.description, values),
        name=expand(spec.name, values),
        tag_message=expand(spec.tag_message, values),
        ref=expand(spec.ref, values),
        milestones=tuple(expand(one, values) for one in spec.milestones),
        released_at=expand(spec.released_at, values),
        links=tuple({key: expand(value, values) for key, value in one.items()} for one in spec.links),
    )


def _values(context: Context, run: Run, spec: JobSpec) -> dict[str, str]:
    """What the texts may name: the job's variables without secrets, then what earlier jobs and the job itself reported."""
    own = {one.key: one.value for one in spec.variables if one.secret is None and not one.masked}
    job = next(one for one in run.jobs if one.name == spec.name)
    reports = from_reports((*context.engine.feeders(run.id, spec.name), job), context.blobs)
    return {**own, **{one.key: one.value for one in reports}}


def _again(context: Context, known: PublishedRelease, run: Run, spec: JobSpec, subject: str) -> Result:
    if (known.run, known.job) != (run.id, spec.name):
        raise Conflict(
            "release-exists", f"{run.project} has a release {known.tag} already, made by run {known.run}",
            hint="let `tag_name` name another tag",
        )  # fmt: skip
    return Result(seq=context.ledger.head().seq, message="released already", subject=subject)


def _tag(context: Context, repository: Repository, run: Run, wish: ReleaseSpec, update: RefUpdate) -> RefUpdate:
    """Make the tag as a push of whoever started the run would, if they may."""
    who = context.adopted.directory.by_id(run.started_by)
    developers = set(context.adopted.access.options.developers)
    if who is None or not developers & {*who.groups, who.id}:
        raise Denied("not-permitted", f"{run.started_by} started run {run.id} and may not push to {run.project}")
    refused = judge_push(
        (update,), identity=who.id, groups=tuple(sorted(who.groups)),
        protections=(*context.options.branches, *context.options.tags),
    )  # fmt: skip
    if refused:
        raise Denied(refused[0].code, refused[0].message, hint=refused[0].hint)
    if wish.tag_message:
        mail = who.emails[0] if who.emails else f"{who.id}@aegis.invalid"
        note = repository.tagged(
            wish.tag_name, update.new or "", message=wish.tag_message, author=f"{who.name} <{mail}>"
        )
        update = replace(update, new=note)
    intend(context, run.project, who.id, (update,))
    repository.set_ref(update.ref, update.new or "", expect=None)
    return update


def _made(
    context: Context, repository: Repository, run: Run, spec: JobSpec, wish: ReleaseSpec, commit: str
) -> PublishedRelease:
    return PublishedRelease(
        project=run.project, tag=wish.tag_name, name=wish.name or wish.tag_name,
        description=_description(repository, run.commit, wish.description), commit=commit, run=run.id, job=spec.name,
        by=run.started_by, milestones=wish.milestones, links=wish.links, released_at=wish.released_at,
        at=context.clock.now(),
    )  # fmt: skip


def _description(repository: Repository, commit: str, text: str) -> str:
    """The text itself, or the file of the commit that it names, as release-cli reads it."""
    if not text or "\n" in text or len(text) > 300:
        return text
    try:
        return repository.read(commit, text.removeprefix("./")).decode("utf-8", "replace")
    except NotFound:
        return text
