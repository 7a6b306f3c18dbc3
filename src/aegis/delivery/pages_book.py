"""The pages in force of every project, as the ledger's last record has them, and what was in force before."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Final

from aegis.core import events
from aegis.core.pages import PagesDeployment
from aegis.core.ports import Ledger, Query

_TYPES: Final = tuple(events.NAMES[kind][0] for kind in (events.PagesPublished, events.PagesRemoved))
_PAGE: Final = 1000
_KEPT: Final = 20
"""Deployments that are remembered of each address, the one in force included."""


class PagesBook:
    """Deployments folded up to the ledger's head before each answer. Safe from any thread."""

    def __init__(self, ledger: Ledger, lock: contextlib.AbstractContextManager[object]) -> None:
        self._ledger = ledger
        self._lock = lock
        self._known: dict[tuple[str, str], list[PagesDeployment]] = {}
        self._removed: set[tuple[str, str]] = set()
        self._seen = 0

    def of(self, project: str, now: datetime) -> dict[str, PagesDeployment]:
        """What is served of a project at `now`, by prefix."""
        with self._lock:
            self._catch_up()
            last = {
                key[1]: found[-1]
                for key, found in self._known.items()
                if key[0] == project and key not in self._removed
            }
        return {prefix: one for prefix, one in last.items() if one.expires_at is None or one.expires_at > now}

    def history(self, project: str) -> tuple[PagesDeployment, ...]:
        """What is and was served of a project, newest first."""
        with self._lock:
            self._catch_up()
            found = [one for key, every in self._known.items() if key[0] == project for one in every]
        return tuple(sorted(found, key=lambda one: one.created_at, reverse=True))

    def keeps(self, archive: str) -> bool:
        """Whether an archive is served, or was until the last change: it can be put back."""
        with self._lock:
            self._catch_up()
            return any(one.archive == archive for found in self._known.values() for one in found[-2:])

    def _catch_up(self) -> None:
        head = self._ledger.head().seq
        while self._seen < head:
            records = self._ledger.read(after=self._seen, limit=_PAGE, query=Query(types=_TYPES))
            for record in records:
                self._apply(record.data)
            self._seen = head if len(records) < _PAGE else records[-1].seq

    def _apply(self, data: object) -> None:
        if isinstance(data, events.PagesPublished):
            key = (data.deployment.project, data.deployment.prefix)
            self._removed.discard(key)
            self._known.setdefault(key, []).append(data.deployment)
            del self._known[key][:-_KEPT]
        elif isinstance(data, events.PagesRemoved):
            self._removed |= {key for key in self._known if key[0] == data.project and data.prefix in (None, key[1])}
