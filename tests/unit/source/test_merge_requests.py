from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aegis.core.errors import Conflict, NotFound, UserError
from aegis.core.events import (
    MergeRequestClosed,
    MergeRequestMerged,
    MergeRequestNoted,
    MergeRequestUpdated,
)
from aegis.core.types import Outcome, Reason, Verdict
from aegis.source.branches import ProtectedBranch
from aegis.source.merge_requests import (
    MergeRequest,
    MergeRequestState,
    apply,
    merge_message,
    note_body,
    obstacles,
    open_request,
    wishes,
)

HEAD = "1" * 40
REFS = {"refs/heads/topic": HEAD, "refs/heads/main": "2" * 40}


def opened() -> MergeRequest:
    event = open_request(
        number=3, source_branch="topic", target_branch="main", refs=REFS, existing=(), opened_by="ada", title="Add x"
    )
    state = apply(None, event, project="shop/orders")
    assert state is not None
    return state


def verdict(outcome: Outcome = Outcome.PASS, *reasons: Reason, commit: str = HEAD) -> Verdict:
    return Verdict(
        id="v", project="shop/orders", commit=commit, run="r", outcome=outcome, reasons=reasons, policy_digest="sha256:abc",
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def test_its_events_make_its_state() -> None:
    state: MergeRequest | None = opened()
    for event in (
        MergeRequestUpdated(number=3, head="3" * 40, by="bob"),
        MergeRequestNoted(number=3, head="3" * 40, body="one"),
        MergeRequestNoted(number=3, head="3" * 40, body="two"),
    ):
        state = apply(state, event, project="shop/orders")
    assert state is not None
    assert (state.head, state.note, state.pushed_by) == ("3" * 40, "two", ("ada", "bob"))
    merged = apply(state, MergeRequestMerged(number=3, commit="4" * 40, merged_by="rita"), project="shop/orders")
    assert merged is not None
    assert (merged.state, merged.commit, merged.ended_by) == (MergeRequestState.MERGED, "4" * 40, "rita")
    closed = apply(state, MergeRequestClosed(number=3, by="ada"), project="shop/orders")
    assert closed is not None
    assert closed.state is MergeRequestState.CLOSED
    assert closed.subject == "merge-request/shop/orders/3"


def test_push_options_are_gitlabs() -> None:
    found = wishes(
        ["merge_request.create", "merge_request.target=main", "merge_request.title=A  title", "ci.skip", "ci.variable=A=b=c",
         "merge_request.description=one\\ntwo", "what=ever"]
    )  # fmt: skip
    assert (found.create, found.target, found.title, found.skip_pipeline) == (True, "main", "A title", True)
    assert found.description == "one\ntwo"
    assert found.variables == (("A", "b=c"),)
    assert found.unknown == ("what=ever",)


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [("main", "main", UserError), ("none", "main", NotFound), ("topic", "none", NotFound)],
)
def test_branches_that_do_not_fit_open_nothing(source: str, target: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        open_request(
            number=1, source_branch=source, target_branch=target, refs=REFS, existing=(), opened_by="ada", title=""
        )


def test_a_second_one_for_the_same_branches_is_a_conflict() -> None:
    with pytest.raises(Conflict) as caught:
        open_request(
            number=4,
            source_branch="topic",
            target_branch="main",
            refs=REFS,
            existing=[opened()],
            opened_by="ada",
            title="",
        )
    assert "!3" in caught.value.message


def codes(found: Verdict | None, *, head: str | None = HEAD, groups: tuple[str, ...] = ("developers",)) -> list[str]:
    rules = (ProtectedBranch(pattern="main", merge=("developers",)),)
    return [
        one.code
        for one in obstacles(opened(), head=head, verdict=found, identity="ada", groups=groups, protections=rules)
    ]


def test_a_judged_current_request_of_who_may_merge_has_no_obstacle() -> None:
    assert codes(verdict()) == []
    assert codes(verdict(Outcome.WARN)) == []


def test_everything_that_is_missing_stands_against_it() -> None:
    assert codes(None) == ["no-verdict"]
    assert codes(verdict(commit="9" * 40)) == ["no-verdict"]
    assert codes(verdict(), head="9" * 40) == ["head-moved"]
    assert codes(verdict(), head=None) == ["head-moved"]
    assert codes(verdict(), groups=("guests",)) == ["branch-protected"]
    assert codes(verdict(Outcome.BLOCK)) == ["gate-blocked"]
    merged = apply(opened(), MergeRequestMerged(number=3, commit="4" * 40, merged_by="x"), project="p/q")
    assert merged is not None
    ended = obstacles(merged, head=HEAD, verdict=verdict(), identity="ada", groups=(), protections=())
    assert [one.code for one in ended] == ["merge-request-ended"]


def test_the_note_says_what_blocks_first_and_how_to_mend_it_literally() -> None:
    body = note_body(
        verdict(
            Outcome.BLOCK,
            Reason(gate="lint", outcome=Outcome.PASS, message="fine", mend="never shown"),
            Reason(
                gate="coverage", outcome=Outcome.BLOCK, message="71 % < 80 % <img src=x>", mend="test `orders/app.py`"
            ),
        ),
        run_url="https://aegis.test/runs/1",
    )
    assert body.index("coverage") < body.index("lint")
    assert "mend: test \\`orders/app.py\\`" in body
    assert "<img" not in body.replace("\\<img", "")
    assert "never shown" not in body
    assert "[run](https://aegis.test/runs/1)" in body
    assert "javascript" not in note_body(verdict(), run_url="javascript:alert(1)")


def test_the_merge_message_names_the_request() -> None:
    assert merge_message(opened()).splitlines() == [
        "Merge branch 'topic' into 'main'", "", "Add x", "", "See merge request shop/orders!3",
    ]  # fmt: skip
