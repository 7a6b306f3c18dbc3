"""The registries' upkeep: images go by policy, content that nothing needs is deleted, what is kept is read again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import partial
from itertools import islice

from aegis.core import events
from aegis.core.errors import ExternalError
from aegis.core.events import Draft
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.protection import mentioned, protections
from aegis.delivery.views import Result
from aegis.registry import cleanup, garbage
from aegis.registry.cleanup import Decision

SHOWN = 500
UNREFERENCED = timedelta(days=1)


@handles(ask.CleanUpRegistry)
def clean_up(context: Context, command: ask.CleanUpRegistry, asking: Asking) -> Result:
    """Decide about every image, remove those that go, then delete what nothing needs."""
    context.authorise(asking.actor, "clean-up-registry", kind="server")
    decisions = _decisions(context, command.repositories)
    going = tuple(one for one in decisions if one.remove)
    if not asking.dry_run:
        _remove(context, going)
    swept = garbage.sweep(
        context.blobs, (context.images.images, context.packages.store), context.images.pins,
        partial(mentioned, context), context.clock.now(), dry_run=asking.dry_run,
    )  # fmt: skip
    seq = 0
    if (going or swept.deleted) and not asking.dry_run:
        removed = tuple(
            events.RemovedImage(repository=one.repository, digest=one.digest, tags=one.tags, reason=one.reason)
            for one in going
        )
        cleaned = events.RegistryCleaned(images=removed, blobs=len(swept.deleted), freed=swept.freed)
        seq = context.append(Draft(subject="registry", data=cleaned, actor=asking.actor.id, cause=asking.cause))
    would = "would remove" if asking.dry_run else "removed"
    message = (
        f"{would} {len(going)} of {len(decisions)} images, and {len(swept.deleted)} blobs with {swept.freed} bytes that"
        " nothing needs"
    )
    return Result(
        seq=seq, message=message, subject="registry", dry_run=asking.dry_run,
        values=reported(decisions, blobs=len(swept.deleted), freed=swept.freed),
    )  # fmt: skip


def reported(decisions: Sequence[Decision], *, blobs: int, freed: int) -> dict[str, object]:
    """The report of a clean-up: what goes first, then what stays, each with its reason."""
    return {
        "decisions": [_shown(one) for one in islice(sorted(decisions, key=lambda one: not one.remove), SHOWN)],
        "images": len(decisions), "removed": sum(one.remove for one in decisions), "blobs": blobs, "freed": freed,
    }  # fmt: skip


def _decisions(context: Context, pattern: str) -> tuple[Decision, ...]:
    rules = context.options.registries.cleanup
    if not rules:
        return ()
    protected, now = protections(context), context.clock.now()
    found: list[Decision] = []
    for repository in context.images.repositories():
        if fnmatchcase(repository, pattern) and any(fnmatchcase(repository, one.repositories) for one in rules):
            found += cleanup.decide(repository, context.images.images.listing(repository), rules, protected, now)
    return tuple(found)


def _remove(context: Context, going: tuple[Decision, ...]) -> None:
    store = context.images.images
    for one in going:
        store.delete_manifest(one.repository, one.digest)
    before = context.clock.now() - UNREFERENCED
    for repository in {one.repository for one in going} | set(context.images.repositories()):
        store.unlink_unreferenced(repository, before)


def _shown(one: Decision) -> dict[str, object]:
    return {
        "repository": one.repository, "digest": one.digest, "tags": list(one.tags), "pushed_at": one.pushed_at.isoformat(),
        "remove": one.remove, "reason": one.reason,
    }  # fmt: skip


@handles(ask.ScrubRegistry)
def scrub(context: Context, command: ask.ScrubRegistry, asking: Asking) -> Result:
    """Read content again, for at most `seconds`; what is damaged is written down once and refused from then on."""
    context.authorise(asking.actor, "scrub-registry", kind="server")
    ends = context.clock.monotonic() + max(0.0, min(command.seconds, 60.0))
    damaged: list[str] = []
    checked, at = 0, command.after
    for digest, _ in context.blobs.digests(command.after):
        if checked and context.clock.monotonic() > ends:
            break
        checked, at = checked + 1, digest
        if not _is_right(context, digest):
            damaged.append(digest)
    else:
        at = ""
    for digest in damaged if not asking.dry_run else ():
        _note(context, digest, asking)
    found = f"; damaged: {', '.join(damaged)}" if damaged else ""
    return Result(
        seq=0, message=f"{checked} blobs read{found}", subject="registry", dry_run=asking.dry_run,
        values={"checked": checked, "damaged": damaged, "next": at},
    )  # fmt: skip


def _is_right(context: Context, digest: str) -> bool:
    try:
        return context.blobs.check(digest)
    except ExternalError as error:
        if error.code == "blob-unknown":
            return True
        raise


def _note(context: Context, digest: str, asking: Asking) -> None:
    subject = f"blob/{digest}"
    if not context.subject(subject):
        context.append(Draft(subject=subject, data=events.BlobDamaged(digest=digest), actor=asking.actor.id))
