"""The tokens in force, as the ledger's last record has them: revoking works at once, on every door."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Final

from aegis.access.tokens import Grant, Tokens
from aegis.core import events
from aegis.core.ports import Ledger, Query

_TYPES: Final = tuple(events.NAMES[kind][0] for kind in (events.TokenIssued, events.TokenRevoked))
_PAGE: Final = 1000


class TokenBook:
    """Tokens folded up to the ledger's head before each answer. Safe from any thread."""

    def __init__(self, ledger: Ledger, lock: contextlib.AbstractContextManager[object]) -> None:
        self._ledger = ledger
        self._lock = lock
        self._tokens = Tokens()
        self._seen = 0

    def resolve(self, plain: str, now: datetime) -> Grant | None:
        """The grant of a token, or None."""
        with self._lock:
            self._catch_up()
            return self._tokens.resolve(plain, now)

    def named(self, token: str) -> Grant | None:
        """The token of that id while it is in force."""
        with self._lock:
            self._catch_up()
            return self._tokens.named(token)

    def of(self, identity: str) -> tuple[Grant, ...]:
        """The tokens of an identity that are in force."""
        with self._lock:
            self._catch_up()
            return self._tokens.of(identity)

    def _catch_up(self) -> None:
        head = self._ledger.head().seq
        while self._seen < head:
            records = self._ledger.read(after=self._seen, limit=_PAGE, query=Query(types=_TYPES))
            for record in records:
                self._tokens.apply(record)
            if len(records) < _PAGE:
                self._seen = head
            else:
                self._seen = records[-1].seq
