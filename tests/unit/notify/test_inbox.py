"""Each failure and each request is one entry: opened once, updated, settled."""

import pytest

from aegis.core import events
from aegis.core.types import (
    Approval,
    Deployment,
    DeploymentState,
    JobRun,
    Outcome,
    Promotion,
    Reason,
    Release,
    Rollout,
    RolloutState,
    Run,
    State,
    Verdict,
)
from aegis.notify.inbox import Inbox
from support.records import START, Story


class Told(Story):
    """A story whose records an inbox has read."""

    def __init__(self) -> None:
        super().__init__()
        self.inbox = Inbox()

    def tell(self, subject, data, **where):
        record = super().tell(subject, data, **where)
        self.inbox.apply(record)
        return record

    def run(self, number, state=State.SUCCESS, *, ref="refs/heads/main", blocked_by=(), failing=""):
        self.wait(minutes=1)
        run = Run(
            id=f"run{number}", project="shop/orders", ref=ref, commit="c" * 40, plan="", change="", source="push",
            started_by="mina",
        )  # fmt: skip
        where = {"project": "shop/orders"}
        self.tell(f"run/run{number}", events.RunCreated(run=run, job_count=1), **where)
        if failing:
            job = JobRun(id="j", name=failing, stage="test", state=State.FAILED, failure_reason="script_failure")
            self.tell(f"run/run{number}", events.JobFinished(job=job), **where)
        self.tell(f"run/run{number}", events.RunFinished(run=f"run{number}", state=state), **where)
        reasons = tuple(
            Reason(gate=gate, outcome=Outcome.BLOCK, message=f"{gate} is not enough", mend="add more")
            for gate in blocked_by
        )
        outcome = Outcome.BLOCK if reasons else Outcome.PASS
        verdict = Verdict(
            id=f"v{number}", project="shop/orders", commit="c" * 40, run=f"run{number}", outcome=outcome,
            reasons=reasons, policy_digest="",
        )  # fmt: skip
        self.tell(f"run/run{number}", events.VerdictGiven(verdict=verdict), **where)

    def propose(self, identity="p1", *, release="orders@1.2.0", environment="production", **more):
        promotion = Promotion(
            id=identity, service="orders", environment=environment, release=release, previous="orders@1.1.0",
            plan_hash="h", base="b", diff="", requested_by="mina", **more,
        )  # fmt: skip
        self.tell(f"promotion/{identity}", events.PromotionProposed(promotion=promotion))

    def approve(self, by, *, identity="p1", complete=True, review=False):
        approval = Approval(by=by, role="release-managers", granted=True, plan_hash="h", at=self.at)
        self.tell(
            f"promotion/{identity}",
            events.PromotionApproved(approval=approval, complete=complete, review_required=review),
        )

    def deployment(self, state, *, release="orders@1.2.0"):
        deployment = Deployment(
            id="d1", promotion="p1", service="orders", environment="production", release=release, commit="c",
            state=state, reason="0 of 2 ready",
        )  # fmt: skip
        self.tell("deployment/d1", events.DeploymentObserved(deployment=deployment))

    def titles(self, *, include_resolved=False):
        return [entry.title for entry in self.inbox.entries(include_resolved=include_resolved)]


@pytest.fixture
def told():
    return Told()


def test_nothing_happened_nothing_is_in_the_inbox(told):
    assert told.inbox.entries(include_resolved=True) == ()


def test_a_passing_run_is_no_news(told):
    told.run(1)
    assert told.titles(include_resolved=True) == []


def test_a_failed_run_is_one_entry_that_names_the_job_and_links_to_the_run(told):
    told.run(1, State.FAILED, failing="unit-test")

    (entry,) = told.inbox.entries()
    assert entry.title == "inbox.run-failed"
    assert entry.hint == "unit-test: script_failure"
    assert entry.link == "/runs/run1"
    assert entry.audience == ("identity:mina", "project:shop/orders")
    assert entry.params == {"project": "shop/orders", "ref": "main"}


def test_the_next_failure_of_the_branch_updates_the_entry_instead_of_repeating_it(told):
    told.run(1, State.FAILED, failing="unit-test")
    told.run(2, State.FAILED, failing="lint")

    (entry,) = told.inbox.entries()
    assert (entry.count, entry.hint, entry.link) == (2, "lint: script_failure", "/runs/run2")
    assert entry.first_at < entry.last_at


def test_two_branches_are_two_entries(told):
    told.run(1, State.FAILED, ref="main")
    told.run(2, State.FAILED, ref="develop")
    assert len(told.inbox.entries()) == 2


def test_the_next_passing_run_of_the_branch_settles_it(told):
    told.run(1, State.FAILED)
    told.run(2)

    assert told.titles() == []
    (entry,) = told.inbox.entries(include_resolved=True)
    assert entry.resolved_at == told.at


def test_a_failure_after_it_was_settled_begins_anew(told):
    told.run(1, State.FAILED)
    told.run(2)
    told.run(3, State.FAILED)

    (entry,) = told.inbox.entries()
    assert (entry.count, entry.first_at) == (1, told.at)


def test_a_run_that_fails_and_is_blocked_is_told_once_and_with_the_mend(told):
    told.run(1, State.FAILED, failing="unit-test", blocked_by=("coverage", "tests"))

    (entry,) = told.inbox.entries()
    assert entry.title == "inbox.run-blocked"
    assert entry.count == 1
    assert entry.params["gates"] == "coverage, tests"
    assert entry.hint == "coverage is not enough — add more"


def test_a_run_whose_jobs_pass_but_whose_gates_block_is_told_too(told):
    told.run(1, blocked_by=("secrets",))
    assert told.titles() == ["inbox.run-blocked"]


def test_a_cancelled_run_is_nobodys_failure(told):
    told.run(1, State.CANCELED)
    assert told.titles(include_resolved=True) == []


def test_a_pipeline_that_could_not_be_made_is_told_with_its_mend(told):
    refused = events.RunRefused(change="ch1", commit="c", ref="main", code="x", message="unknown key", hint="remove it")
    told.tell("change/ch1", refused, project="shop/orders")
    (entry,) = told.inbox.entries()
    assert (entry.title, entry.hint) == ("inbox.run-refused", "unknown key — remove it")


def test_a_request_for_approval_is_one_entry_until_it_is_decided(told):
    told.propose()
    (entry,) = told.inbox.entries()
    assert (entry.kind, entry.audience, entry.link) == ("approval", ("approvers:production",), "/promotions/p1")

    told.approve("sora", complete=False)
    assert told.titles() == ["inbox.approval"]
    told.approve("joon")
    assert told.titles() == []


def test_what_policy_approves_by_itself_asks_nobody(told):
    told.propose(environment="development")
    told.approve("policy:development")
    assert told.titles(include_resolved=True) == []


def test_those_who_are_involved_in_a_release_are_not_asked_to_approve_it(told):
    release = Release(
        id="orders@1.2.0", project="shop/orders", service="orders", version="1.2.0", commit="c", ref="main", run="r",
        verdict="v", artifacts=(), evidence=(), involved=("joon", "mina"),
    )  # fmt: skip
    told.tell("release/orders@1.2.0", events.ReleaseCreated(release=release))
    told.propose()
    assert told.inbox.entries()[0].excluded == ("joon", "mina")


@pytest.mark.parametrize("why", ["stale", "expired", "superseded"])
def test_a_void_request_asks_no_longer(told, why):
    told.propose()
    told.tell("promotion/p1", events.PromotionVoided(why=why, message=""))
    assert told.titles() == []


def test_an_emergency_asks_its_own_approvers_and_leaves_a_review_behind(told):
    told.propose(emergency=True, reason="checkout is down")
    assert told.inbox.entries()[0].audience == ("emergency:production",)

    told.approve("sora", review=True)
    (entry,) = told.inbox.entries()
    assert (entry.kind, entry.excluded) == ("review", ("sora", "mina"))

    told.tell("promotion/p1", events.PromotionReviewed(by="dana"))
    assert told.titles() == []


def test_a_rollback_is_one_entry_whatever_number_of_records_tell_it(told):
    told.propose()
    told.approve("sora")
    rollout = Rollout(
        id="ro1", deployment="d1", service="orders", environment="production", release="orders@1.2.0",
        previous="orders@1.1.0", steps=(5, 100), state=RolloutState.ROLLED_BACK, decision="errors are 4 times as many",
    )  # fmt: skip
    told.tell("rollout/ro1", events.RolloutFinished(rollout=rollout))
    back = events.ServiceRolledBack(
        from_release="orders@1.2.0", to_release="orders@1.1.0", commit="c", reason="the rollout failed"
    )
    told.tell("environment/orders/production", back, service="orders", environment="production")
    told.tell("promotion/p1", events.PromotionFinished(ok=False, reason="rolled back"))

    (entry,) = told.inbox.entries()
    assert (entry.title, entry.count, entry.kind) == ("inbox.rolled-back", 1, "rollback")
    assert entry.params["to"] == "orders@1.1.0"


def test_the_promotion_that_goes_back_does_not_settle_the_trouble_and_the_next_good_release_does(told):
    told.propose()
    told.tell("promotion/p1", events.PromotionFinished(ok=False, reason="rolled back"))
    told.propose("p2", release="orders@1.1.0", rollback=True)
    told.approve("policy:rollback", identity="p2")
    told.tell("promotion/p2", events.PromotionFinished(ok=True))
    assert told.titles() == ["inbox.promotion-failed"]

    told.propose("p3", release="orders@1.2.1")
    told.approve("sora", identity="p3")
    told.tell("promotion/p3", events.PromotionFinished(ok=True))
    assert told.titles() == []


def test_a_deployment_that_recovers_by_itself_settles_its_entry(told):
    told.deployment(DeploymentState.DEGRADED)
    told.deployment(DeploymentState.DEGRADED)
    (entry,) = told.inbox.entries()
    assert (entry.title, entry.count, entry.hint) == ("inbox.deployment-failed", 1, "0 of 2 ready")

    told.deployment(DeploymentState.HEALTHY)
    assert told.titles() == []


def test_a_finished_deployment_is_told_and_asks_for_nothing(told):
    told.propose()
    told.approve("sora")
    told.tell("promotion/p1", events.PromotionFinished(ok=True))
    assert told.titles() == []
    assert "inbox.deployed" in told.titles(include_resolved=True)


def test_an_action_that_fails_is_for_the_operators_until_it_is_done(told):
    failed = events.ActionFailed(key="k", code="push-refused", message="no route", hint="check the network")
    told.tell("promotion/p9", failed)
    told.tell("promotion/p9", failed)
    (entry,) = told.inbox.entries()
    assert (entry.count, entry.audience, entry.hint) == (2, ("operators",), "no route — check the network")
    told.tell("promotion/p9", events.ActionCompleted(key="k"))
    assert told.titles() == []


def test_erased_and_unknown_records_mean_nothing(told):
    record = told.tell("server", events.ServerStarted(version="1", epoch=1))
    told.inbox.apply(record)
    assert told.titles(include_resolved=True) == []


def test_a_checkpoint_goes_on_where_the_story_was_left(told):
    told.run(1, State.FAILED, failing="unit-test")
    told.propose()
    again = Inbox()
    again.load(told.inbox.dump())
    assert again.entries() == told.inbox.entries()

    told.inbox = again
    told.run(2)
    assert told.titles() == ["inbox.approval"]


def test_damage_is_told_to_the_one_who_loads():
    with pytest.raises(ValueError, match=r".+"):
        Inbox().load(b"\xc1damage")


def test_the_inbox_stays_small_and_drops_settled_entries_first(told):
    told.run(0, State.FAILED, ref="kept")
    for number in range(600):
        told.propose(f"q{number}")
        told.approve("sora", identity=f"q{number}")
    assert len(told.inbox.entries(include_resolved=True)) <= 500
    assert told.titles() == ["inbox.run-failed"]
    assert told.at > START
