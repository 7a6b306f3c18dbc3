"""The ledger as a stream of plain records, for `/events`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aegis.core import codec
from aegis.core.ports import Ledger


class LedgerStream:
    """See `views.Stream`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def after(self, seq: int, limit: int = 500) -> tuple[Mapping[str, Any], ...]:
        """See `views.Stream`."""
        return tuple(
            {
                "seq": one.seq,
                "id": one.id,
                "at": one.recorded_at.isoformat(),
                "type": one.type,
                "subject": one.subject,
                "actor": one.actor,
                "project": one.project,
                "service": one.service,
                "environment": one.environment,
                "data": codec.plain(one.data) if one.data is not None else None,
            }
            for one in self._ledger.read(after=seq, limit=limit)
        )

    def head(self) -> int:
        """See `views.Stream`."""
        return self._ledger.head().seq

    def wait(self, after: int, timeout: float) -> bool:
        """See `views.Stream`."""
        return self._ledger.wait(after, timeout)
