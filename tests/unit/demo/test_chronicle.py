"""What the demonstration says when something else happens than it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from aegis.adapters.server_http import ServerClient
from aegis.demo.chronicle import Chronicle, summary


def record(kind: str, **data: object) -> dict[str, object]:
    return {"seq": 7, "type": kind, "subject": "run/r", "data": data}


def test_a_block_is_told_by_its_gates_and_their_mends() -> None:
    reasons = [
        {"gate": "tests", "outcome": "block", "message": "there is no report", "mend": "look at the job's log"},
        {"gate": "secrets", "outcome": "pass", "message": "nothing found", "mend": ""},
    ]
    said = summary(record("aegis.verdict.given", verdict={"outcome": "block", "reasons": reasons}))
    assert said == (
        "the gate tests blocks: there is no report. look at the job's log (record 7: aegis.verdict.given of run/r)"
    )


def test_what_says_why_is_quoted_and_the_rest_named() -> None:
    refused = record("aegis.run.refused", message="line 3: unknown keyword", hint="did you mean script?")
    assert summary(refused).startswith("line 3: unknown keyword did you mean script? (record 7")
    assert summary(record("aegis.server.stopped")) == "(record 7: aegis.server.stopped of run/r)"


class Streams:
    """A server whose first stream is cut after two records."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def events(self, after: int) -> Iterator[dict[str, Any]]:
        self.asked.append(after)
        for seq in range(after + 1, 3 if after == 0 else 5):
            yield {**record("aegis.server.started"), "seq": seq, "at": f"2026-01-01T00:00:0{seq}+00:00"}


def test_times_are_the_ledgers_and_a_cut_stream_is_resumed() -> None:
    streams = Streams()
    chronicle = Chronicle(cast("ServerClient", streams), lambda _: None, lambda: 0.0)
    assert chronicle.seconds(0) == 0.0
    chronicle.catch_up(4)
    assert streams.asked == [0, 2]
    assert [one["seq"] for one in chronicle.records] == [1, 2, 3, 4]
    assert chronicle.seconds(0) == 3.0
    assert chronicle.seconds(3) == 1.0
