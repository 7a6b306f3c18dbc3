"""The ledger as the demo follows it: every record kept, waited for by what it says, with a time limit for silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from aegis.adapters.server_http import ServerClient
from aegis.core.errors import CheckFailed, ExternalError

Record = dict[str, Any]
Test = Callable[[Record], bool]


class Chronicle:
    """All records since the server's beginning, in order."""

    def __init__(self, client: ServerClient, seen: Callable[[Record], None], now: Callable[[], float]) -> None:
        self._client = client
        self._seen = seen
        self._now = now
        self._stream: Iterator[Record] | None = None
        self.records: list[Record] = []

    def _next(self) -> Record:
        for attempt in (1, 2, 3):
            try:
                if self._stream is None:
                    self._stream = self._client.events(self.records[-1]["seq"] if self.records else 0)
                return next(self._stream)
            except (StopIteration, ExternalError) as error:
                self._stream = None
                if attempt == 3:
                    raise ExternalError("stream-ended", f"the server's event stream ended: {error}") from error
        raise AssertionError

    def wait(
        self, what: str, test: Test, *, since: int = 0, seconds: float = 60.0, unless: Test | None = None
    ) -> Record:
        """The first record after `since` that fits; `CheckFailed` when `unless` comes first or time runs out."""
        deadline = self._now() + seconds
        position = 0
        while True:
            while position < len(self.records):
                record = self.records[position]
                position += 1
                if record["seq"] <= since:
                    continue
                if test(record):
                    return record
                if unless is not None and unless(record):
                    raise CheckFailed("demo-unexpected", f"while waiting for {what}: {summary(record)}")
            if self._now() > deadline:
                raise CheckFailed("demo-timeout", f"{what} did not happen within {seconds:.0f} s")
            self._read()

    def _read(self) -> None:
        record = self._next()
        if record:
            self.records.append(record)
            self._seen(record)

    def catch_up(self, seq: int) -> None:
        """Read up to a record that the ledger has."""
        while self.last() < seq:
            self._read()

    def seconds(self, since: int) -> float:
        """From the record `since` (0: the first one) to the last one seen, by the times that the ledger gave them."""
        if not self.records:
            return 0.0
        begun = next((record for record in self.records if record["seq"] >= since), self.records[0])
        return round((moment(self.records[-1]) - moment(begun)).total_seconds(), 2)

    def last(self) -> int:
        """The last sequence number seen."""
        return int(self.records[-1]["seq"]) if self.records else 0

    def find(self, test: Test) -> Record | None:
        """The latest record so far that fits."""
        return next((record for record in reversed(self.records) if test(record)), None)


def moment(record: Record) -> datetime:
    """When a record was written."""
    return datetime.fromisoformat(record["at"])


def summary(record: Record) -> str:
    """A record in a sentence: why the gates block, why nothing runs, what failed; else what it is about."""
    data = record["data"] or {}
    said = [data.get("reason"), data.get("message"), data.get("hint")]
    if "verdict" in data:
        blocking = [one for one in data["verdict"]["reasons"] if one["outcome"] == "block"]
        said = [f"the gate {one['gate']} blocks: {one['message']}. {one['mend']}" for one in blocking]
    words = " ".join(str(one) for one in said if one)
    return f"{words} (record {record['seq']}: {record['type']} of {record['subject']})".strip()
