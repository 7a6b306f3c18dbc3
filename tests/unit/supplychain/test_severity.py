"""Scores as the CVSS 3.1 specification and the public database compute them."""

from __future__ import annotations

import pytest

from aegis.core.types import Severity
from aegis.supplychain.severity import cvss3_base, level, rate


@pytest.mark.parametrize(
    ("vector", "score"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:N/A:N", 8.6),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", 7.5),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:L", 5.3),
        ("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H", 8.8),
        ("CVSS:3.1/AV:A/AC:H/PR:H/UI:N/S:U/C:H/I:N/A:N", 4.2),
        ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:N", 8.1),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
        ("CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:N/I:N/A:N", 0.0),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:N/E:P/RL:O", 9.1),
    ],
)
def test_the_base_score_is_computed(vector: str, score: float) -> None:
    assert cvss3_base(vector) == score


@pytest.mark.parametrize("vector", ["", "CVSS:3.1", "CVSS:2.0/AV:N", "CVSS:3.1/AV:N/AC:L", "CVSS:3.1/AV:X/AC:L/PR:N"])
def test_a_vector_that_is_not_whole_has_no_score(vector: str) -> None:
    assert cvss3_base(vector) is None


def test_levels_begin_where_the_specification_says() -> None:
    assert [level(score) for score in (10.0, 9.0, 8.9, 7.0, 6.9, 4.0, 3.9, 0.1, 0.0)] == [
        Severity.CRITICAL, Severity.CRITICAL, Severity.HIGH, Severity.HIGH, Severity.MEDIUM, Severity.MEDIUM,
        Severity.LOW, Severity.LOW, Severity.INFO,
    ]  # fmt: skip


def test_a_vector_counts_before_words_and_a_version_4_vector_alone_is_high() -> None:
    vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
    assert rate((vector,), ("LOW",))[0] is Severity.CRITICAL
    assert rate(("CVSS:4.0/AV:N",), ("MODERATE",))[0] is Severity.MEDIUM
    severity, note = rate(("CVSS:4.0/AV:N",), ())
    assert severity is Severity.HIGH
    assert "counts as high" in note
    assert rate((), ())[0] is Severity.UNKNOWN
