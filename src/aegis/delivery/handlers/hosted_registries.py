"""Clean-up of the registries that GitLab hosts, by the declared rules: the same decisions, the same report, the same record.

Every tag is looked at again just before it goes. What GitLab refuses to delete stays and is reported with that reason; when
GitLab fails, what was deleted until then is recorded, and the rest waits for the next time.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from aegis.core import events
from aegis.core.errors import Denied, ExternalError, NotFound
from aegis.core.events import Draft
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.handlers.registries import reported
from aegis.delivery.protection import protections
from aegis.delivery.views import Result
from aegis.registry import hosted
from aegis.registry.cleanup import Decision, Protected, beside
from aegis.registry.hosted import HostedRegistry, HostedTag
from aegis.registry.options import HostedRule


@handles(ask.CleanUpGitLabRegistry)
def clean_up(context: Context, command: ask.CleanUpGitLabRegistry, asking: Asking) -> Result:
    """Decide about every image and package of the declared projects, and delete those that go."""
    context.authorise(asking.actor, "clean-up-registry", kind="server")
    declared = context.options.registries.gitlab
    rules = [one for one in declared if fnmatchcase(one.project, command.project)]
    if not rules and (declared or command.project != "*"):
        raise NotFound(
            "unknown-hosted-registry",
            f"no registry of {command.project!r} is declared",
            hint="registries.gitlab names them",
        )
    done: list[Decision] = []
    failure: ExternalError | None = None
    for rule in rules:
        failure = failure or _project(context, rule, done, dry_run=asking.dry_run)
    gone = tuple(one for one in done if one.remove)
    seq = 0
    if gone and not asking.dry_run:
        removed = tuple(
            events.RemovedImage(repository=one.repository, digest=one.digest, tags=one.tags, reason=one.reason)
            for one in gone
        )
        cleaned = events.RegistryCleaned(images=removed, blobs=0, freed=0)
        seq = context.append(Draft(subject="registry/gitlab", data=cleaned, actor=asking.actor.id, cause=asking.cause))
    if failure is not None:
        raise failure
    would = "would remove" if asking.dry_run else "removed"
    return Result(
        seq=seq, message=f"{would} {len(gone)} of {len(done)} images and packages that GitLab hosts", subject="registry/gitlab",
        dry_run=asking.dry_run, values=reported(done, blobs=0, freed=0),
    )  # fmt: skip


def _project(context: Context, rule: HostedRule, done: list[Decision], *, dry_run: bool) -> ExternalError | None:
    """Add what was decided, and carried out, for one project; the failure that ended it."""
    rules, now = context.options.registries.cleanup, context.clock.now()
    try:
        registry = context.hosted(rule)
        tags = registry.tags(lambda path: hosted.is_spoken_of(path, rules))
        found = dict(hosted.listed(tags))
        if rule.packages:
            found |= hosted.packaged(rule.project, registry.packages())
        decisions = hosted.decide_hosted(found, rules, _protected(protections(context, everywhere=True), registry), now)
        stayed: set[str] = set()
        for one in decisions:
            after = one if dry_run or not one.remove else _carried_out(registry, one, tags, stayed)
            if one.remove and not after.remove:
                stayed.add(one.digest)
            done.append(hosted.named(after, rule))
    except ExternalError as error:
        return error
    return None


def _protected(known: Protected, registry: HostedRegistry) -> Protected:
    """Why an image must stay; a package stays when any of its files must."""

    def protected(repository: str, digest: str) -> str:
        number = hosted.package_number(digest)
        if number is None:
            return known(repository, digest)
        return next(filter(None, (known(repository, one) for one in sorted(registry.contents(number)))), "")

    return protected


def _carried_out(
    registry: HostedRegistry, decision: Decision, tags: tuple[HostedTag, ...], stayed: set[str]
) -> Decision:
    """Delete what one decision is about; the decision as it turned out."""
    owner = beside(decision.tags)
    if owner in stayed:
        return hosted.staying(decision, f"belongs to {owner}, which stays")
    number, gone = hosted.package_number(decision.digest), list[str]()
    try:
        if number is not None:
            registry.remove(number)
            return decision
        ours = [one for one in tags if one.repository == decision.repository and one.digest == decision.digest]
        if any(registry.digest(one) not in {"", one.digest} for one in ours):
            return hosted.staying(decision, "a tag was moved while this was decided")
        for one in ours:
            registry.untag(one)
            gone.append(one.name)
    except Denied as error:
        return hosted.staying(decision, f"{error.message}{'; deleted before: ' if gone else ''}{', '.join(gone)}")
    return decision
