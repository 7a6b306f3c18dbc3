"""R3.3: a production deployment goes through approval."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aegis.access.approvals import ApprovalPolicy, automatic
from aegis.core.errors import Conflict, Denied
from support.approvals import PLAN, Team

TEAM = Team()


def test_r3_3_production_is_not_approved_by_policy_alone() -> None:
    with pytest.raises(Denied) as caught:
        automatic(TEAM.promotion, TEAM.production)
    assert caught.value.code == "needs-approval"


def test_r3_3_the_other_environments_are_approved_by_their_policy() -> None:
    for name in ("development", "staging"):
        promotion = replace(TEAM.promotion, environment=name)
        approved = automatic(promotion, ApprovalPolicy(environment=name, automatic=True))
        assert approved.approved_by == (f"policy:{name}",)


def test_r3_3_an_approval_lets_exactly_one_plan_through() -> None:
    granted = TEAM.says_yes("rita")
    assert granted.approved is not None
    assert granted.approved.promotion.plan_hash == PLAN
    with pytest.raises(Conflict) as caught:
        TEAM.says_yes("rita", plan="sha256:" + "2" * 64)
    assert caught.value.code == "plan-stale"


def test_r3_3_an_approval_past_its_time_is_refused() -> None:
    with pytest.raises(Conflict) as caught:
        TEAM.says_yes("rita", minutes=24 * 60)
    assert caught.value.code == "approval-expired"
    assert "aegis promote orders production" in caught.value.hint
