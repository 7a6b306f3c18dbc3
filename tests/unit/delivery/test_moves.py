"""Who moved a ref that moved without a record: the one who had said so before, or nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from aegis.core import events
from aegis.core.events import Record
from aegis.delivery.handlers.moves import Move, told

MAIN = "refs/heads/main"
ONE, TWO = "1" * 40, "2" * 40
INTENT = events.ActionIntended(key="k", port="git", action="push", detail={MAIN: ONE})


def by(actor: str, intent: object) -> Record:
    return Record(
        seq=1, id="1", recorded_at=datetime(2026, 1, 1, tzinfo=UTC), recorded_by="server", actor=actor, project="team/web",
        service="", environment="", type="", version=1, subject="refs/team/web", subject_version=1, cause="",
        data_digest="", prev="", hash="", data=intent,
    )  # fmt: skip


def test_whoever_said_so_before_has_moved_it() -> None:
    assert told([by("ana", INTENT)], MAIN, ONE) == Move(identity="ana")
    assert told([by("ana", INTENT), by("ana", INTENT)], MAIN, ONE) == Move(identity="ana"), "she tried again"


def test_options_and_the_merge_request_are_kept() -> None:
    merge = replace(INTENT, detail={MAIN: ONE, "-o": '["ci.skip"]', "!": "7"})
    assert told([by("ana", merge)], MAIN, ONE) == Move(identity="ana", options=("ci.skip",), number=7)


def test_without_an_intent_for_exactly_this_nobody_has() -> None:
    assert told([by("ana", INTENT)], MAIN, TWO) is None
    assert told([by("ana", INTENT)], "refs/heads/develop", ONE) is None
    assert told([by("ana", replace(INTENT, port="registry"))], MAIN, ONE) is None
    assert told([by("ana", None)], MAIN, ONE) is None, "erased"


def test_of_two_who_had_the_same_in_mind_nobody_is_named() -> None:
    assert told([by("ben", INTENT), by("ana", INTENT)], MAIN, ONE) is None
