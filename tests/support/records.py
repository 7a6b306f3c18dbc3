"""Records for projections, written as a story: who, what, when; numbers and hashes fill themselves in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aegis.core.events import NAMES, Record

START = datetime(2026, 5, 4, 14, 0, tzinfo=UTC)


@dataclass
class Story:
    """Tells records one after another; `minutes` and `seconds` move the clock before the next."""

    at: datetime = START
    records: list[Record] = field(default_factory=list)

    def wait(self, **span: float) -> Story:
        """Let time pass."""
        self.at += timedelta(**span)
        return self

    def tell(
        self,
        subject: str,
        data: object,
        *,
        actor: str = "mina",
        project: str = "",
        service: str = "",
        environment: str = "",
    ) -> Record:
        """The next record."""
        seq = len(self.records) + 1
        kind, version = NAMES[type(data)]
        record = Record(
            seq=seq,
            id=f"event-{seq}",
            recorded_at=self.at,
            recorded_by="server",
            actor=actor,
            project=project,
            service=service,
            environment=environment,
            type=kind,
            version=version,
            subject=subject,
            subject_version=1,
            cause="",
            data_digest="",
            prev="",
            hash=f"hash-{seq}",
            data=data,
        )
        self.records.append(record)
        return record

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)
