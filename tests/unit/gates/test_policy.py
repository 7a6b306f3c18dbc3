"""A policy is read strictly, and a service may only make it stricter."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from aegis.core.errors import UserError
from aegis.core.types import Outcome, Severity
from aegis.gates.policy import GatePolicy, digest, from_document, merge_tighter, read_fields
from aegis.gates.reports import KINDS


def test_the_defaults_require_everything_and_eighty_percent() -> None:
    policy = GatePolicy()
    assert policy.requires("main") == KINDS
    assert policy.coverage_minimum == 80.0
    assert policy.not_found is Outcome.BLOCK


def test_a_declaration_is_read() -> None:
    policy = from_document(
        {
            "required": {"*": ["tests"], "main": ["secrets"]},
            "coverage": {"minimum": 90, "changed_lines": 75},
            "dependencies": {"block": ["critical"], "warn": ["high"], "not_found": "warn", "max_age_days": 30},
            "isolation": "optional",
            "templates": "block",
            "reused": "never",
            "exemptions": [{"rule": "CVE-1", "until": "2026-03-31", "reason": "not reachable"}],
        },
        "aegis.yaml",
    )
    assert policy.requires("feature") == ("tests",)
    assert policy.requires("main") == ("secrets", "tests")
    assert (policy.coverage_minimum, policy.changed_lines_minimum) == (90.0, 75.0)
    assert policy.dependencies.outcome(Severity.HIGH) is Outcome.WARN
    assert policy.exemptions[0].until == date(2026, 3, 31)
    assert policy.foreign_jobs is Outcome.BLOCK


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"covrage": {}}, "gates.covrage"),
        ({"coverage": {"minimum": 101}}, "gates.coverage.minimum"),
        ({"coverage": {"minimum": True}}, "gates.coverage.minimum"),
        ({"secrets": {"block": ["worst"]}}, "gates.secrets.block"),
        ({"quality": {"not_found": "warn"}}, "gates.quality"),
        ({"required": ["everything"]}, "gates.required.*"),
        ({"tests": "perhaps"}, "gates.tests"),
        ({"templates": "no"}, "gates.templates"),
        ({"exemptions": [{"rule": "x", "until": "soon", "reason": "r"}]}, "gates.exemptions[0].until"),
        ({"exemptions": [{"rule": "x"}]}, "gates.exemptions[0]"),
        ({"reused": "sometimes"}, "gates.reused"),
    ],
)
def test_what_is_wrong_is_named(document: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError) as caught:
        from_document(document, "aegis.yaml")
    assert named in caught.value.message


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ({"coverage": {"minimum": 70}}, "gates.coverage.minimum"),
        ({"required": ["tests"]}, "gates.required.*"),
        ({"tests": "optional"}, "gates.required.*"),
        ({"secrets": {"block": [], "warn": ["critical"]}}, "gates.secrets.block"),
        ({"dependencies": {"not_found": "pass"}}, "gates.dependencies.not_found"),
        ({"isolation": "optional"}, "gates.isolation"),
        ({"templates": "pass"}, "gates.templates"),
        ({"reused": "any"}, "gates.reused"),
        ({"exemptions": [{"rule": "CVE-1", "until": "2030-01-01", "reason": "mine"}]}, "gates.exemptions"),
    ],
)
def test_a_service_cannot_loosen(override: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError) as caught:
        merge_tighter(GatePolicy(), read_fields(override, "service.yaml"), "service.yaml")
    assert caught.value.code == "policy-loosened"
    assert named in caught.value.message
    assert "service.yaml" in caught.value.hint


def test_a_service_can_tighten() -> None:
    fields = read_fields(
        {
            "coverage": {"minimum": 95, "changed_lines": 100},
            "templates": "block",
            "dependencies": {"block": ["critical", "high", "medium"], "warn": ["low", "unknown"], "max_age_days": 7},
            "required": {"release/*": ["tests"]},
        },
        "service.yaml",
    )
    policy = merge_tighter(GatePolicy(), fields)
    assert policy.coverage_minimum == 95.0
    assert policy.changed_lines_minimum == 100.0
    assert policy.dependencies.outcome(Severity.MEDIUM) is Outcome.BLOCK
    assert policy.requires("release/1") == KINDS
    assert policy.advisories_max_age_days == 7
    assert digest(policy) != digest(GatePolicy())
