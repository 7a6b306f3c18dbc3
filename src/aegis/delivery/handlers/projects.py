"""Projects: repositories are made as declared, and a merged declaration is put in force."""

from __future__ import annotations

from aegis.core import events
from aegis.core.errors import AegisError
from aegis.core.events import Draft
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.files import CommitFiles
from aegis.delivery.handlers import manifests
from aegis.delivery.handlers.runs import change_of
from aegis.delivery.views import Result


@handles(ask.CreateProject)
def create(context: Context, command: ask.CreateProject, asking: Asking) -> Result:
    """Make an empty repository for a declared project."""
    project = context.options.project(command.project)
    context.authorise(asking.actor, "create-project", project=project.name)
    if asking.dry_run:
        return Result(seq=0, message=f"would create {project.name}", dry_run=True)
    made = context.host.create(project.name, default_branch=project.default_branch)
    return Result(
        seq=context.ledger.head().seq,
        message=f"{'created' if made else 'there already:'} {project.name}",
        values={"url": f"{context.url}/git/{project.name}.git"},
    )


@handles(ask.AdoptPolicy)
def adopt(context: Context, command: ask.AdoptPolicy, asking: Asking) -> Result:
    """Put the declaration that was merged in force; one that cannot be read changes nothing and says why."""
    change = change_of(context, command.change)
    files = CommitFiles(context.repository(change.project), change.commit)
    try:
        adopted = context.declarations.read(files.read, files.paths())
    except AegisError as error:
        failed = events.ActionFailed(
            key=f"policy:{change.commit}", code=error.code, message=str(error), hint=error.hint
        )
        draft = Draft(subject="policy", data=failed, actor=asking.actor.id, project=change.project, cause=asking.cause)
        return Result(seq=context.append(draft), message=f"the declaration in force stays: {error}", subject="policy")
    if adopted.options.policy_digest == context.options.policy_digest:
        return Result(seq=context.ledger.head().seq, message="nothing has changed", subject="policy")
    # Before the record: what follows from that reads the declaration at once.
    before, context.adopted = context.adopted, adopted
    try:
        seq = put_in_force(context, adopted.options.policy_digest, f"{change.project}@{change.commit}", asking)
    except AegisError:
        context.adopted = before
        raise
    provide(context)
    return Result(seq=seq, message=f"policy {adopted.options.policy_digest[:19]} is in force", subject="policy")


def put_in_force(context: Context, digest: str, source: str, asking: Asking) -> int:
    """Write down which declaration counts from now on."""
    event = events.PolicyAdopted(digest=digest, source=source)
    return context.append(Draft(subject="policy", data=event, actor=asking.actor.id, cause=asking.cause))


def provide(context: Context) -> None:
    """Make what the declaration names: repositories and manifests."""
    for project in context.options.projects.values():
        context.host.create(project.name, default_branch=project.default_branch)
    manifests.bring_about(context)
