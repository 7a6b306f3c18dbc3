"""What the demonstration says when something else happens than it waits for."""

from __future__ import annotations

from aegis.demo.chronicle import summary


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
