"""The remote runners in force, as the ledger's last record has them, and when each was last heard of.

Registered runners are the ledger's; contacts are heartbeats, kept in memory alone and gone with the process.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aegis.core import events
from aegis.core.errors import NotFound
from aegis.core.ports import Ledger, Query
from aegis.execution.runners_roster import RegisteredRunner, Roster

_TYPES: Final = tuple(
    events.NAMES[kind][0] for kind in (events.RunnerRegistered, events.RunnerChanged, events.RunnerRemoved)
)
_PAGE: Final = 1000
_MANAGERS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One machine (`system_id`) that works under a runner's token, as it last told of itself."""

    system_id: str
    at: datetime
    version: str = ""
    revision: str = ""
    platform: str = ""
    architecture: str = ""
    executor: str = ""
    address: str = ""


class RunnerBook:
    """Runners folded up to the ledger's head before each answer. Safe from any thread."""

    def __init__(self, ledger: Ledger, lock: contextlib.AbstractContextManager[object]) -> None:
        self._ledger = ledger
        self._lock = lock
        self._roster = Roster()
        self._seen = 0
        self._contacts: dict[str, dict[str, Contact]] = {}

    def get(self, runner: str) -> RegisteredRunner:
        """The runner of that id or number; `NotFound`."""
        with self._lock:
            self._catch_up()
            found = self._roster.get(runner)
            if found is None and runner.isascii() and runner.isdigit():
                found = next((one for one in self._roster.all().values() if one.number == int(runner)), None)
        if found is None:
            raise NotFound("no-such-runner", f"there is no runner {runner!r}", hint="aegis runner list")
        return found

    def all(self) -> tuple[RegisteredRunner, ...]:
        """Every runner, oldest first."""
        with self._lock:
            self._catch_up()
            return tuple(self._roster.all().values())

    def version(self) -> int:
        """Grows whenever a runner has changed."""
        with self._lock:
            self._catch_up()
            return self._roster.version

    def heard(self, runner: str, contact: Contact) -> None:
        """A runner's machine has called."""
        with self._lock:
            managers = self._contacts.setdefault(runner, {})
            managers.pop(contact.system_id, None)
            managers[contact.system_id] = contact
            while len(managers) > _MANAGERS:
                del managers[next(iter(managers))]

    def forget(self, runner: str, system_id: str) -> bool:
        """A machine works under this token no more; whether it was known."""
        with self._lock:
            return self._contacts.get(runner, {}).pop(system_id, None) is not None

    def contacts(self, runner: str) -> tuple[Contact, ...]:
        """The machines of a runner, those that called last at the end."""
        with self._lock:
            return tuple(self._contacts.get(runner, {}).values())

    def _catch_up(self) -> None:
        head = self._ledger.head().seq
        while self._seen < head:
            records = self._ledger.read(after=self._seen, limit=_PAGE, query=Query(types=_TYPES))
            for record in records:
                self._roster.apply(record)
            self._seen = head if len(records) < _PAGE else records[-1].seq
