"""The remote runners as they are shown: what each takes, and which machines work under it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from aegis.delivery.context import Context
from aegis.delivery.runner_book import Contact
from aegis.delivery.runner_views import MachineView, RunnerView
from aegis.execution.runners_roster import RegisteredRunner

ONLINE: Final = timedelta(hours=2)
STALE: Final = timedelta(days=7)
"""GitLab's bounds: heard of within two hours is online, not for a week is stale."""


def runners(context: Context) -> tuple[RunnerView, ...]:
    """Every remote runner, oldest first."""
    now = context.clock.now()
    return tuple(shown(one, context.runners.contacts(one.id), now) for one in context.runners.all())


def shown(runner: RegisteredRunner, contacts: tuple[Contact, ...], now: datetime) -> RunnerView:
    """One runner."""
    settings = runner.settings
    last = max((one.at for one in contacts), default=None)
    return RunnerView(
        id=runner.id,
        number=runner.number,
        description=settings.description,
        tags=settings.tags,
        run_untagged=settings.run_untagged,
        protected=settings.protected,
        paused=settings.paused,
        locked=settings.locked,
        projects=settings.projects,
        maximum_timeout=settings.maximum_timeout,
        isolated=settings.isolated,
        note=settings.note,
        registered_by=runner.registered_by,
        status=status(last, now),
        contacted_at=last,
        machines=tuple(
            MachineView(
                system_id=one.system_id,
                contacted_at=one.at,
                version=one.version,
                platform=one.platform,
                architecture=one.architecture,
                executor=one.executor,
                address=one.address,
            )
            for one in contacts
        ),
    )


def status(last: datetime | None, now: datetime) -> str:
    """`online`, `offline`, `stale` or `never_contacted`."""
    if last is None:
        return "never_contacted"
    if now - last <= ONLINE:
        return "online"
    return "offline" if now - last <= STALE else "stale"
