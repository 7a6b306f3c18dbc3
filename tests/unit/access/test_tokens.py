"""Tokens: only hashes are kept, revoked and past ones count no more, and a job's token dies with its job."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aegis.access.tokens import Grant, Kind, Minted, Tokens, issue, mint, mint_job_token, read_job_token, redeem_link
from aegis.adapters.ledger_sqlite import SqliteLedger
from aegis.core.errors import Conflict, Denied
from aegis.core.events import Draft, TokenRevoked
from support.clock import SeededEntropy
from support.ledgers import opened

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ENTROPY = SeededEntropy(7)


def fresh() -> Minted:
    return mint(ENTROPY.take(32))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    with opened(tmp_path) as ledger:
        yield ledger


def user(minted: Minted, **fields: object) -> Draft:
    given: dict[str, object] = {"identity": "ana", "kind": Kind.USER, "scopes": ("read",), "expires_at": NOW + HOUR}
    return issue(minted, actor="ana", **{**given, **fields})  # type: ignore[arg-type]


def folded(ledger: SqliteLedger) -> Tokens:
    tokens = Tokens()
    for record in ledger.read():
        tokens.apply(record)
    return tokens


def test_a_token_speaks_for_whom_it_was_issued_until_its_end(ledger: SqliteLedger) -> None:
    minted = fresh()
    ledger.append([user(minted)])
    tokens = folded(ledger)
    grant = Grant(identity="ana", kind=Kind.USER, scopes=("read",), token=minted.id, expires_at=NOW + HOUR)
    assert tokens.resolve(minted.plain, NOW) == grant
    assert tokens.resolve(minted.plain, NOW + HOUR) is None
    assert tokens.resolve(fresh().plain, NOW) is None
    assert tokens.resolve("", NOW) is None
    assert tokens.of("ana") == (grant,)
    assert tokens.named(minted.id) == grant


def test_nothing_that_is_kept_or_shown_lets_the_token_be_used(ledger: SqliteLedger) -> None:
    minted = fresh()
    ledger.append([user(minted)])
    kept = b"".join(row.data or b"" for row in ledger.rows()) + folded(ledger).dump()
    assert minted.plain.encode() not in kept
    assert minted.plain not in repr(minted)
    assert folded(ledger).resolve(minted.hash, NOW) is None
    assert minted.plain.startswith("aegis_")


def test_a_revoked_token_counts_no_more_whatever_the_order(ledger: SqliteLedger) -> None:
    one, other = fresh(), fresh()
    revoked = Draft(subject="identity/ana", actor="ana", data=TokenRevoked(token=one.id))
    early = Draft(subject="identity/ana", actor="ana", data=TokenRevoked(token=other.id))
    ledger.append([user(one), revoked, early, user(other)])
    tokens = folded(ledger)
    assert tokens.resolve(one.plain, NOW) is None
    assert tokens.resolve(other.plain, NOW) is None


def test_the_projection_survives_its_dump(ledger: SqliteLedger) -> None:
    one, other = fresh(), fresh()
    ledger.append([user(one), user(other, kind=Kind.DEPLOY, project="shop/orders")])
    ledger.append([Draft(subject="identity/ana", actor="ana", data=TokenRevoked(token=one.id))])
    loaded = Tokens()
    loaded.load(folded(ledger).dump())
    assert loaded.resolve(one.plain, NOW) is None
    grant = loaded.resolve(other.plain, NOW)
    assert grant is not None
    assert (grant.kind, grant.project) == (Kind.DEPLOY, "shop/orders")
    with pytest.raises(ValueError, match=r"Input data|malformed|Expected|MessagePack"):
        loaded.load(b"\xc1")


def test_a_login_link_opens_one_session_and_no_second(ledger: SqliteLedger) -> None:
    link, session = fresh(), fresh()
    ledger.append([user(link, kind=Kind.LOGIN_LINK, scopes=("*",))])
    grant = folded(ledger).resolve(link.plain, NOW)
    assert grant is not None
    history = ledger.subject("identity/ana")
    drafts, expect = redeem_link(grant, history, session, now=NOW)
    late_drafts, late_expect = redeem_link(grant, history, fresh(), now=NOW)
    ledger.append(drafts, expect=expect)
    with pytest.raises(Conflict):
        ledger.append(late_drafts, expect=late_expect)
    with pytest.raises(Denied) as caught:
        redeem_link(grant, ledger.subject("identity/ana"), fresh(), now=NOW)
    assert caught.value.code == "link-used"
    tokens = folded(ledger)
    assert tokens.resolve(link.plain, NOW) is None
    opened_session = tokens.resolve(session.plain, NOW)
    assert opened_session is not None
    assert (opened_session.kind, opened_session.identity, opened_session.scopes) == (Kind.SESSION, "ana", ("*",))


def test_a_login_link_past_its_time_and_another_token_open_nothing() -> None:
    link = Grant(identity="ana", kind=Kind.LOGIN_LINK, token="t", expires_at=NOW)
    with pytest.raises(Denied, match="past its time"):
        redeem_link(link, (), fresh(), now=NOW)
    with pytest.raises(Denied, match="does not log"):
        redeem_link(Grant(identity="ana", kind=Kind.USER, token="t"), (), fresh(), now=NOW)


SECRET = ENTROPY.take(32)
JOB = mint_job_token(SECRET, run="r1", job="j1", attempt=2, project="shop/orders", expires_at=NOW + HOUR)


def test_a_job_token_carries_its_job() -> None:
    grant = read_job_token(SECRET, JOB, NOW)
    assert grant == Grant(
        identity="job/j1", kind=Kind.JOB, project="shop/orders", run="r1", job="j1", attempt=2, expires_at=NOW + HOUR
    )


def test_a_job_token_dies_with_its_job_and_at_its_end() -> None:
    assert read_job_token(SECRET, JOB, NOW + HOUR) is None
    assert read_job_token(SECRET, JOB, NOW, alive=lambda claim: claim.attempt == 3) is None
    assert read_job_token(SECRET, JOB, NOW, alive=lambda claim: (claim.run, claim.job) == ("r1", "j1")) is not None


def test_a_forged_job_token_is_none_at_every_character() -> None:
    for position, character in enumerate(JOB):
        forged = JOB[:position] + ("A" if character != "A" else "B") + JOB[position + 1 :]
        grant = read_job_token(SECRET, forged, NOW)
        # The last character of base64 without padding holds bits that mean nothing.
        assert grant is None or position == len(JOB) - 1, position
    payload = base64.urlsafe_b64encode(json.dumps({"run": "r1"}).encode()).rstrip(b"=").decode()
    for odd in ("", "aegisjob", "aegisjob..", f"aegisjob.{payload}.", f"{JOB}.x", "aegisjob.ü.ü", "aegis_x"):
        assert read_job_token(SECRET, odd, NOW) is None
    assert read_job_token(ENTROPY.take(32), JOB, NOW) is None


def test_weak_secrets_and_issued_job_tokens_are_our_mistake() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        mint_job_token(b"short", run="r", job="j", attempt=1, project="a/b", expires_at=NOW)
    with pytest.raises(ValueError, match="32 random bytes"):
        mint(b"short")
    with pytest.raises(ValueError, match="signed"):
        user(fresh(), kind=Kind.JOB)
