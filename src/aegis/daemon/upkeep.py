"""What is done by the calendar: registries are cleaned, content is read and releases looked up again, old logs go.

Every step is a verb. Each runs in turns with long pauses, and after a restart no earlier than a while after it: nothing here is urgent.
"""

from __future__ import annotations

import time
from typing import Final

from aegis.core.errors import AegisError
from aegis.daemon.loops import Reporter
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import SYSTEM, Asking, Dispatcher

_ASKING: Final = Asking(actor=SYSTEM)
_FIRST: Final = 300.0
_PAUSE: Final = 30.0
_DAY: Final = 86400.0
_SLICE: Final = 0.5
"""Seconds of reading at a time: scrubbing never takes more than a sixtieth of one processor."""


class Upkeep:
    """Asks for what is due. Times count from the start of the server, which makes them late after a restart, never early."""

    def __init__(self, context: Context, dispatcher: Dispatcher, reporter: Reporter) -> None:
        self._context = context
        self._dispatcher = dispatcher
        self._reporter = reporter
        now = time.monotonic()
        self._due = {
            "cleanup": now + _FIRST,
            "gitlab": now + _FIRST,
            "retention": now + 2 * _FIRST,
            "rescan": now + 2 * _FIRST,
            "scrub": now + 3 * _FIRST,
        }
        self._scrubbed = ""

    def round(self) -> float:
        """Do what is due, one thing at a time."""
        options = self._context.options.registries
        self._do("cleanup", ask.CleanUpRegistry(), options.every)
        if options.gitlab:
            self._do("gitlab", ask.CleanUpGitLabRegistry(), options.every)
        self._do("retention", ask.ApplyRetention(), _DAY)
        self._do("rescan", ask.RescanReleases(), _DAY)
        self._scrub(options.scrub)
        self._context.images.uploads.sweep()
        self._context.host.sweep()
        return _PAUSE

    def _do(self, name: str, command: object, every: float) -> None:
        now = time.monotonic()
        if now < self._due[name]:
            return
        self._due[name] = now + every
        try:
            self._dispatcher.run(command, _ASKING)
        except AegisError as error:
            self._reporter.say(name, error)

    def _scrub(self, every: float) -> None:
        now = time.monotonic()
        if now < self._due["scrub"]:
            return
        try:
            done = self._dispatcher.run(ask.ScrubRegistry(after=self._scrubbed, seconds=_SLICE), _ASKING)
        except AegisError as error:
            self._reporter.say("scrub", error)
            self._due["scrub"] = now + every
            return
        self._scrubbed = str(done.values["next"])
        if not self._scrubbed:
            self._due["scrub"] = now + every
        if done.values["damaged"]:
            self._reporter.say("scrub", AegisError("blob-damaged", done.message, hint="push it again, or restore it"))
