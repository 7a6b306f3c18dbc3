"""The environments of jobs in force, as the ledger's last record has them. It stops none."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Final

from aegis.core import events
from aegis.core.errors import NotFound
from aegis.core.ports import Ledger, Query
from aegis.execution.places import Place, Places, PlaceState

_TYPES: Final = tuple(
    events.NAMES[kind][0]
    for kind in (events.EnvironmentUsed, events.EnvironmentStopping, events.EnvironmentMade, events.EnvironmentRemoved)
)
_PAGE: Final = 1000


class PlaceBook:
    """Environments folded up to the ledger's head before each answer. Safe from any thread."""

    def __init__(self, ledger: Ledger, lock: contextlib.AbstractContextManager[object]) -> None:
        self._ledger = ledger
        self._lock = lock
        self._places = Places()
        self._seen = 0

    def get(self, project: str, name: str) -> Place:
        """An environment of a project; `NotFound`."""
        with self._lock:
            self._catch_up()
            found = self._places.get(project, name)
        if found is None:
            raise NotFound("no-such-environment", f"no job of {project} has deployed an environment {name!r}")
        return found

    def of(self, project: str) -> tuple[Place, ...]:
        """The environments of a project, in the order in which they were first used."""
        with self._lock:
            self._catch_up()
            return tuple(one for one in self._places.all() if one.project == project)

    def available(self) -> tuple[Place, ...]:
        """Those of all projects that nobody stops."""
        with self._lock:
            self._catch_up()
            return tuple(one for one in self._places.all() if one.state is PlaceState.AVAILABLE)

    def due(self, now: datetime) -> tuple[Place, ...]:
        """Those whose time is over."""
        with self._lock:
            self._catch_up()
            return self._places.due(now)

    def _catch_up(self) -> None:
        head = self._ledger.head().seq
        while self._seen < head:
            records = self._ledger.read(after=self._seen, limit=_PAGE, query=Query(types=_TYPES))
            for record in records:
                self._places.apply(record)
            self._seen = head if len(records) < _PAGE else records[-1].seq
