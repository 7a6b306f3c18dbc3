"""Starts declared schedules when they are due. A moment missed by a restart is made up for, once, if it was lately."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from aegis.core.errors import AegisError
from aegis.daemon.loops import Reporter
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import SYSTEM, Asking, Dispatcher
from aegis.execution import cron

GRACE: Final = timedelta(minutes=15)
"""How long ago a moment may be that passed while no server ran."""


class Schedules:
    """Looks once a second; what it asks for has an id made of the moment, so that nothing starts twice."""

    def __init__(self, context: Context, dispatcher: Dispatcher, reporter: Reporter) -> None:
        self._context = context
        self._dispatcher = dispatcher
        self._reporter = reporter
        self._done: dict[tuple[str, str, str], datetime] = {}
        self._first = True

    def round(self) -> float:
        """Start what is due."""
        now = self._context.clock.now()
        declared: set[tuple[str, str, str]] = set()
        for project in self._context.options.projects.values():
            for name, schedule in project.schedules.items():
                key = (project.name, name, f"{schedule.cron} {schedule.zone}")
                declared.add(key)
                after = self._done.setdefault(key, now - GRACE if self._first else now)
                if after > now:
                    # The clock was set back: what comes again has the id that it had, and what was jumped over comes.
                    after = self._done[key] = now
                due = cron.parse(schedule.cron, schedule.zone).last(now, after=after) if schedule.active else None
                if due is not None:
                    self._start(project.name, name, due)
                    self._done[key] = due
        self._first = False
        for gone in self._done.keys() - declared:
            del self._done[gone]
        return 1.0

    def _start(self, project: str, name: str, due: datetime) -> None:
        try:
            self._dispatcher.run(ask.RunSchedule(project=project, name=name, due=due), Asking(actor=SYSTEM))
        except AegisError as error:
            self._reporter.say(f"schedule {project}: {name}", error)
