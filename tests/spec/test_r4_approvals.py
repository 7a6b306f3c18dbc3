"""R4.4 and R4.5: a named approver approves production; an emergency has a shorter approval."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aegis.core.errors import Conflict, Denied
from support.approvals import Team

TEAM = Team()


def test_r4_4_a_named_approver_approves_production() -> None:
    granted = TEAM.says_yes("rita")
    assert granted.complete
    assert (granted.approval.by, granted.approval.role) == ("rita", "release-managers")


@pytest.mark.parametrize("who", ["gus", "olga", "robot", "somebody"])
def test_r4_4_nobody_else_does(who: str) -> None:
    with pytest.raises(Denied) as caught:
        TEAM.says_yes(who)
    assert caught.value.code == "not-an-approver"
    assert "rita" in caught.value.hint


def test_r4_4_who_pushed_or_merged_anything_in_the_release_cannot_approve_it() -> None:
    with pytest.raises(Denied) as caught:
        TEAM.says_yes("ben")
    assert caught.value.code == "self-approval"


def test_r4_4_a_commit_of_somebody_unknown_blocks_until_it_is_known_whose_it_is() -> None:
    unknown = replace(TEAM, release=replace(TEAM.release, unmapped=("stranger@elsewhere.example",)))
    with pytest.raises(Denied) as caught:
        unknown.says_yes("rita")
    assert caught.value.code == "unmapped-author"
    assert "stranger@elsewhere.example" in caught.value.message


def test_r4_5_an_emergency_needs_one_person_on_call_for_a_shorter_time() -> None:
    granted = TEAM.says_yes("gus", emergency=True)
    assert granted.complete
    with pytest.raises(Conflict) as caught:
        TEAM.says_yes("gus", emergency=True, minutes=30)
    assert caught.value.code == "approval-expired"
    assert TEAM.says_yes("rita", minutes=30).complete  # the ordinary way takes longer


def test_r4_5_an_emergency_is_marked_for_review_and_never_self_approved() -> None:
    granted = TEAM.says_yes("gus", emergency=True)
    assert granted.approved is not None
    assert granted.approved.review_required
    with pytest.raises(Denied) as caught:
        TEAM.says_yes("ana", emergency=True)
    assert caught.value.code == "self-approval"
