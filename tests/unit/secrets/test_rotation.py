"""Secrets are rotated when they are old, and the former value goes after its grace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from aegis.secrets.ports import SecretInfo
from aegis.secrets.references import Reference
from aegis.secrets.rotation import RotationRule, Step, due

START = datetime(2026, 1, 1, tzinfo=UTC)
RULE = RotationRule(path="shop/*", every=timedelta(days=90), grace=timedelta(hours=24))


def info(path: str, *versions: int) -> SecretInfo:
    return SecretInfo(
        reference=Reference(path), version=versions[-1], versions=versions, created_at=START, rotated_at=START
    )


def test_nothing_is_due_before_its_time_or_without_a_rule() -> None:
    assert not due([info("shop/db", 1), info("other/db", 1)], (RULE,), START + timedelta(days=89))
    assert not due([info("other/db", 1)], (RULE,), START + timedelta(days=900))


def test_an_old_secret_is_rotated_and_a_former_value_retired() -> None:
    found = due([info("shop/db", 1, 2), info("shop/api", 4)], (RULE,), START + timedelta(days=90))
    assert [(one.reference.path, one.step) for one in found] == [
        ("shop/db", Step.RETIRE),
        ("shop/api", Step.ROTATE),
        ("shop/db", Step.ROTATE),
    ]


def test_the_first_rule_that_matches_decides() -> None:
    never = RotationRule(path="shop/db", every=timedelta(days=9000))
    assert not due([info("shop/db", 1)], (never, RULE), START + timedelta(days=100))
