"""Stops the environments of jobs whose time is over, and at the start those whose branch is gone. It decides nothing."""

from __future__ import annotations

from datetime import datetime

from aegis.core.errors import AegisError
from aegis.daemon.loops import Reporter
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import SYSTEM, Asking, Dispatcher


class AutoStop:
    """Looks once a second; an environment that cannot be stopped is tried once per time that it was given."""

    def __init__(self, context: Context, dispatcher: Dispatcher, reporter: Reporter) -> None:
        self._context = context
        self._dispatcher = dispatcher
        self._reporter = reporter
        self._tried: dict[tuple[str, str], datetime | None] = {}
        self._first = True

    def round(self) -> float:
        """Stop what is due; at the start also what lost its branch while no server looked."""
        if self._first:
            self._first = False
            for project, ref in dict.fromkeys((one.project, one.ref) for one in self._context.places.available()):
                self._ask(ask.StopAbandoned(project=project, ref=ref), f"environments of {project}")
        due = {(one.project, one.name): one for one in self._context.places.due(self._context.clock.now())}
        for key, place in due.items():
            if self._tried.get(key) == place.stops_at:
                continue
            self._tried[key] = place.stops_at
            command = ask.StopEnvironment(project=place.project, environment=place.name, reason="its time is over")
            self._ask(command, f"environment {place.project}: {place.name}")
        for gone in self._tried.keys() - due.keys():
            del self._tried[gone]
        return 1.0

    def _ask(self, command: object, where: str) -> None:
        try:
            self._dispatcher.run(command, Asking(actor=SYSTEM))
        except AegisError as error:
            self._reporter.say(where, error)
