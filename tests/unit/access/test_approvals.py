"""Approvals: every way in which a yes does not count has its own code."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from aegis.access.approvals import ApprovalPolicy, automatic, check_review, decide, reaffirm, reject, review_due
from aegis.access.identities import Directory, Identity
from aegis.core.errors import AegisError, Conflict, Denied
from aegis.core.types import Approval, Promotion, PromotionState, Release

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
PLAN = "sha256:" + "a" * 64
OTHER_PLAN = "sha256:" + "b" * 64
DIRECTORY = Directory(
    [
        *(Identity(id=name, name=name.title()) for name in ("ana", "rita", "raul", "gus", "olga")),
        Identity(id="robot", name="Robot", robot=True),
    ],
    {"release-managers": ["rita", "raul", "ana", "robot"], "on-call": ["gus", "ana"]},
)
POLICY = ApprovalPolicy(
    environment="production", groups=("release-managers",), emergency_groups=("on-call",), expires_seconds=86400
)
TWO = replace(POLICY, required=2)
RELEASE = Release(
    id="orders@1.2.0", project="shop/orders", service="orders", version="1.2.0", commit="c" * 40, ref="main", run="r1",
    verdict="v1", artifacts=(), evidence=(), involved=("ana",),
)  # fmt: skip
PROMOTION = Promotion(
    id="p1", service="orders", environment="production", release="orders@1.2.0", previous="orders@1.1.0",
    plan_hash=PLAN, base="d" * 40, diff="", requested_by="olga", requested_at=NOW,
)  # fmt: skip
LATER = NOW + timedelta(minutes=5)


def approve(
    who: str,
    promotion: Promotion = PROMOTION,
    release: Release = RELEASE,
    policy: ApprovalPolicy = POLICY,
    plan: str = PLAN,
    now: datetime = LATER,
) -> object:
    return decide(
        promotion, release, who, directory=DIRECTORY, policy=policy, current_plan_hash=plan, now=now, comment="fine"
    )


def yes(who: str, plan: str = PLAN) -> Approval:
    return Approval(by=who, role="release-managers", granted=True, plan_hash=plan, at=NOW)


def test_a_named_person_who_had_no_part_in_it_approves() -> None:
    granted = decide(
        PROMOTION, RELEASE, "rita", directory=DIRECTORY, policy=POLICY, current_plan_hash=PLAN, now=LATER, comment="ok"
    )
    assert granted.complete
    assert granted.approval == Approval(
        by="rita", role="release-managers", granted=True, plan_hash=PLAN, at=LATER, comment="ok"
    )
    assert granted.approved is not None
    assert granted.approved.approved_by == ("rita",)
    assert granted.approved.promotion.state is PromotionState.APPROVED
    assert granted.approved.promotion.approvals == (granted.approval,)
    assert not granted.approved.review_required


@pytest.mark.parametrize(
    ("code", "family", "who", "changes"),
    [
        ("self-approval", Denied, "ana", {}),
        ("self-approval", Denied, "rita", {"promotion": replace(PROMOTION, requested_by="rita")}),
        ("unmapped-author", Denied, "rita", {"release": replace(RELEASE, unmapped=("ghost@x.example",))}),
        ("not-an-approver", Denied, "olga", {}),
        ("not-an-approver", Denied, "gus", {}),
        ("not-an-approver", Denied, "robot", {}),
        ("not-an-approver", Denied, "stranger", {}),
        ("not-an-approver", Denied, "rita", {"policy": replace(POLICY, groups=())}),
        ("approval-expired", Conflict, "rita", {"now": NOW + timedelta(days=1)}),
        ("approval-expired", Conflict, "rita", {"promotion": replace(PROMOTION, expires_at=LATER)}),
        ("approval-expired", Conflict, "rita", {"promotion": replace(PROMOTION, requested_at=None)}),
        ("plan-stale", Conflict, "rita", {"plan": OTHER_PLAN}),
        ("already-decided", Conflict, "rita", {"promotion": replace(PROMOTION, state=PromotionState.REJECTED)}),
        ("already-decided", Conflict, "rita", {"promotion": replace(PROMOTION, state=PromotionState.COMMITTED)}),
        ("twice", Conflict, "rita", {"promotion": replace(PROMOTION, approvals=(yes("rita"),)), "policy": TWO}),
        ("wrong-policy", Denied, "rita", {"policy": replace(POLICY, environment="staging")}),
        ("wrong-release", Denied, "rita", {"release": replace(RELEASE, id="orders@9.9.9")}),
    ],
)
def test_a_yes_that_does_not_count_has_its_code(
    code: str, family: type[AegisError], who: str, changes: dict[str, object]
) -> None:
    with pytest.raises(family) as caught:
        approve(who, **changes)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert caught.value.message


def test_two_people_are_two_different_people() -> None:
    first = decide(PROMOTION, RELEASE, "rita", directory=DIRECTORY, policy=TWO, current_plan_hash=PLAN, now=LATER)
    assert (first.complete, first.missing) == (False, 1)
    waiting = replace(PROMOTION, approvals=(first.approval,))
    second = decide(waiting, RELEASE, "raul", directory=DIRECTORY, policy=TWO, current_plan_hash=PLAN, now=LATER)
    assert second.approved is not None
    assert second.approved.approved_by == ("rita", "raul")


@pytest.mark.parametrize("earlier", [yes("rita", OTHER_PLAN), yes("olga"), yes("ana"), yes("robot"), yes("gone")])
def test_an_earlier_yes_that_would_not_be_given_again_is_not_counted(earlier: Approval) -> None:
    waiting = replace(PROMOTION, approvals=(earlier,))
    granted = decide(waiting, RELEASE, "raul", directory=DIRECTORY, policy=TWO, current_plan_hash=PLAN, now=LATER)
    assert granted.missing == 1


def test_required_zero_still_needs_one_person() -> None:
    policy = replace(POLICY, required=0, emergency_required=0)
    assert policy.required_for(PROMOTION) == 1
    assert policy.required_for(replace(PROMOTION, emergency=True)) == 1


URGENT = replace(PROMOTION, emergency=True)


def test_an_emergency_has_its_own_group_a_shorter_time_and_a_review() -> None:
    granted = decide(URGENT, RELEASE, "gus", directory=DIRECTORY, policy=POLICY, current_plan_hash=PLAN, now=LATER)
    assert granted.approved is not None
    assert granted.approved.review_required
    with pytest.raises(Conflict) as caught:
        approve("gus", URGENT, now=NOW + timedelta(hours=1))
    assert caught.value.code == "approval-expired"
    assert review_due(LATER, POLICY) == LATER + timedelta(days=1)


def test_an_emergency_still_needs_another_person_than_the_author() -> None:
    with pytest.raises(Denied) as caught:
        approve("ana", URGENT)
    assert caught.value.code == "self-approval"


def test_an_emergency_is_reviewed_by_somebody_without_a_part_in_it() -> None:
    done = replace(URGENT, approvals=(yes("gus"),))
    check_review(done, RELEASE, "rita", directory=DIRECTORY, policy=POLICY)
    for who in ("gus", "ana", "olga", "robot"):
        with pytest.raises(Denied):
            check_review(done, RELEASE, who, directory=DIRECTORY, policy=POLICY)
    approved_by_rita = replace(URGENT, approvals=(yes("rita"),))
    with pytest.raises(Denied, match="another person"):
        check_review(approved_by_rita, RELEASE, "rita", directory=DIRECTORY, policy=POLICY)


def test_policy_approves_where_no_person_is_needed_and_only_there() -> None:
    staging = replace(PROMOTION, environment="staging")
    policy = ApprovalPolicy(environment="staging", automatic=True)
    approved = automatic(staging, policy)
    assert approved.approved_by == ("policy:staging",)
    assert approved.promotion.state is PromotionState.APPROVED
    assert not automatic(replace(staging, emergency=True), policy).review_required
    for promotion, given, code in (
        (PROMOTION, POLICY, "needs-approval"),
        (PROMOTION, policy, "wrong-policy"),
        (replace(staging, state=PromotionState.APPROVED), policy, "already-decided"),
    ):
        with pytest.raises(AegisError) as caught:
            automatic(promotion, given)
        assert caught.value.code == code


def test_an_approved_promotion_is_judged_again_before_it_is_carried_out() -> None:
    approved = replace(PROMOTION, state=PromotionState.APPROVED, approvals=(yes("rita"),))

    def again(promotion: Promotion, plan: str = PLAN, now: datetime = LATER) -> object:
        return reaffirm(promotion, RELEASE, directory=DIRECTORY, policy=POLICY, current_plan_hash=plan, now=now)

    found = reaffirm(approved, RELEASE, directory=DIRECTORY, policy=POLICY, current_plan_hash=PLAN, now=LATER)
    assert (found.promotion, found.approved_by) == (approved, ("rita",))
    for code, call in {
        "plan-stale": lambda: again(approved, plan=OTHER_PLAN),
        "approval-expired": lambda: again(approved, now=NOW + timedelta(days=2)),
        "needs-approval": lambda: again(replace(approved, approvals=(yes("ana"),))),
        "already-decided": lambda: again(PROMOTION),
    }.items():
        with pytest.raises(AegisError) as caught:
            call()
        assert caught.value.code == code


def test_what_policy_approved_is_reaffirmed_by_policy_only() -> None:
    policy = ApprovalPolicy(environment="staging", automatic=True)
    approved = automatic(replace(PROMOTION, environment="staging"), policy).promotion
    found = reaffirm(approved, RELEASE, directory=DIRECTORY, policy=policy, current_plan_hash=PLAN, now=LATER)
    assert found.approved_by == ("policy:staging",)
    tightened = replace(policy, automatic=False, groups=("release-managers",))
    with pytest.raises(Denied):
        reaffirm(approved, RELEASE, directory=DIRECTORY, policy=tightened, current_plan_hash=PLAN, now=LATER)


def test_a_no_comes_from_approvers_and_from_those_who_asked_or_wrote_it() -> None:
    for who, role in (("rita", "release-managers"), ("olga", "requester"), ("ana", "release-managers")):
        refusal = reject(PROMOTION, RELEASE, who, directory=DIRECTORY, policy=POLICY, now=LATER, comment="not today")
        assert (refusal.granted, refusal.role, refusal.comment) == (False, role, "not today")
    stranger = Directory([Identity(id="zoe", name="Zoe")], {})
    for who in ("zoe", "nobody", "robot"):
        with pytest.raises(Denied):
            reject(PROMOTION, RELEASE, who, directory=stranger, policy=POLICY, now=LATER)
    committed = replace(PROMOTION, state=PromotionState.COMMITTED)
    with pytest.raises(Conflict):
        reject(committed, RELEASE, "rita", directory=DIRECTORY, policy=POLICY, now=LATER)


def test_no_other_module_makes_an_approved_promotion() -> None:
    from pathlib import Path

    import aegis

    makers = [
        file.name
        for file in Path(aegis.__file__).parent.rglob("*.py")
        if "ApprovedPromotion(" in file.read_text(encoding="utf-8") and file.name != "types.py"
    ]
    assert makers == ["approvals.py"]
