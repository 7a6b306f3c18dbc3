"""Packages after their release: yanked and taken back, and let from one index into another."""

from __future__ import annotations

from aegis.core import events
from aegis.core.errors import Denied, NotFound
from aegis.core.events import Draft
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.handlers.releases import QUARANTINE
from aegis.delivery.views import Result


@handles(ask.YankPackage)
def yank(context: Context, command: ask.YankPackage, asking: Asking) -> Result:
    """Yank a file, or take that back. Asked twice, the second time finds it so and says it again."""
    context.authorise(asking.actor, "yank-package", kind="server")
    if context.packages.store.file(command.index, command.filename) is None:
        raise NotFound("file-unknown", f"{command.index} has no file {command.filename[:120]}")
    subject = f"package/{command.index}/{command.filename}"
    done = "is chosen by installers again" if command.back else "is not chosen by installers any more"
    if asking.dry_run:
        return Result(seq=0, message=f"then {command.filename} {done}", subject=subject, dry_run=True)
    context.packages.store.yank(command.index, command.filename, None if command.back else command.reason)
    yanked = events.PackageYanked(
        index=command.index, filename=command.filename, reason=command.reason[:500], back=command.back
    )
    seq = context.append(Draft(subject=subject, data=yanked, actor=asking.actor.id, cause=asking.cause))
    return Result(seq=seq, message=f"{command.filename} {done}", subject=subject)


@handles(ask.PromotePackage)
def promote(context: Context, command: ask.PromotePackage, asking: Asking) -> Result:
    """Let a file into another index; what is under test leaves the quarantine by its verdict alone."""
    context.authorise(asking.actor, "promote-package", kind="server")
    if QUARANTINE in (command.source, command.target):
        raise Denied(
            "quarantined", f"{command.filename} is under test: its verdict lets it out, not a person",
            hint="merge the change; its release publishes the file",
        )  # fmt: skip
    found = context.packages.store.file(command.source, command.filename)
    if found is None:
        raise NotFound("file-unknown", f"{command.source} has no file {command.filename[:120]}")
    subject = f"package/{command.target}/{command.filename}"
    if asking.dry_run:
        message = f"would let {command.filename} from {command.source} into {command.target}"
        return Result(seq=0, message=message, subject=subject, dry_run=True)
    context.packages.release(command.source, command.target, command.filename, actor=asking.actor.id)
    promoted = events.PackagePromoted(
        source=command.source, target=command.target, filename=command.filename, digest=found.digest
    )
    seq = context.append(Draft(subject=subject, data=promoted, actor=asking.actor.id, cause=asking.cause))
    return Result(seq=seq, message=f"{command.filename} is in {command.target}", subject=subject)
