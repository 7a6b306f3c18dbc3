"""What Prometheus is told, from a story of records."""

from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aegis.core import events
from aegis.core.types import (
    Change,
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
from aegis.observe.metrics import Metrics
from aegis.observe.results import job_result
from support.records import Story

PROJECT = "shop/orders"


class Observed(Story):
    """A story whose records the metrics have read."""

    def __init__(self):
        super().__init__()
        self.metrics = Metrics()

    def tell(self, subject, data, **where):
        record = super().tell(subject, data, **where)
        self.metrics.apply(record)
        return record

    def push(self, commit, *, ref="main", before="b" * 40):
        change = Change(
            id=f"ch-{commit}", project=PROJECT, ref=ref, commit=commit, before=before, author_name="", author_email="",
            pushed_by="mina", message="", changed=(), at=self.at,
        )  # fmt: skip
        self.tell(f"change/{change.id}", events.ChangePushed(change=change), project=PROJECT)

    def run(self, identity="r1", state=State.SUCCESS, *, reason=None, seconds=60.0):
        run = Run(
            id=identity, project=PROJECT, ref="main", commit="c", plan="", change="", source="push", started_by="mina"
        )
        self.tell(f"run/{identity}", events.RunCreated(run=run, job_count=1), project=PROJECT)
        self.wait(seconds=0.2).tell(f"run/{identity}", events.RunStarted(run=identity), project=PROJECT)
        self.wait(seconds=seconds)
        job = JobRun(
            id="j1", name="unit-test 1/2", stage="test", state=state, failure_reason=reason,
            queued_at=self.at - timedelta(seconds=seconds + 0.1), started_at=self.at - timedelta(seconds=seconds),
            finished_at=self.at,
        )  # fmt: skip
        self.tell(f"run/{identity}", events.JobFinished(job=job), project=PROJECT)
        self.tell(f"run/{identity}", events.RunFinished(run=identity, state=state), project=PROJECT)

    def release(self, version, commit):
        release = Release(
            id=f"orders@{version}", project=PROJECT, service="orders", version=version, commit=commit, ref="main",
            run="r1", verdict="v1", artifacts=(), evidence=(),
        )  # fmt: skip
        self.tell(f"release/{release.id}", events.ReleaseCreated(release=release), project=PROJECT)

    def promote(self, identity, version, *, ok=True, previous="orders@0.9.0", committed=True, minutes=5, **more):
        promotion = Promotion(
            id=identity, service="orders", environment=more.pop("environment", "production"),
            release=f"orders@{version}", previous=previous, plan_hash="h", base="b", diff="", requested_by="mina", **more,
        )  # fmt: skip
        self.tell(f"promotion/{identity}", events.PromotionProposed(promotion=promotion))
        if committed:
            self.tell(f"promotion/{identity}", events.PromotionCommitted(commit="c", release=promotion.release))
        self.wait(minutes=minutes)
        self.tell(f"promotion/{identity}", events.PromotionFinished(ok=ok))

    def back(self, version, to):
        data = events.ServiceRolledBack(
            from_release=f"orders@{version}", to_release=f"orders@{to}", commit="c", reason=""
        )
        self.tell("environment/orders/production", data, service="orders", environment="production")

    def value(self, name, **labels):
        """The sample of that name and labels, as Prometheus' own parser reads it."""
        for family in text_string_to_metric_families(self.metrics.exposition()):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        return None


@pytest.fixture
def seen():
    return Observed()


def test_an_empty_ledger_is_told_in_valid_form(seen):
    assert list(text_string_to_metric_families(seen.metrics.exposition()))


def test_a_finished_run_is_counted_with_its_duration_and_the_time_until_its_first_job(seen):
    seen.run()
    assert seen.value("cicd_pipeline_run_duration_seconds_sum", cicd_pipeline_result="success") == 60
    assert seen.value("cicd_pipeline_run_duration_seconds_bucket", le="60") == 1
    assert seen.value("cicd_pipeline_run_duration_seconds_bucket", le="30") == 0
    assert seen.value("cicd_pipeline_run_queue_seconds_bucket", le="0.3") == 1


def test_a_run_that_goes_on_is_active(seen):
    run = Run(id="r9", project=PROJECT, ref="main", commit="c", plan="", change="", source="push", started_by="mina")
    seen.tell("run/r9", events.RunCreated(run=run, job_count=1))
    assert seen.value("cicd_pipeline_run_active", cicd_pipeline_name=PROJECT) == 1


def test_the_shards_of_a_job_are_one_job(seen):
    seen.run()
    assert seen.value("cicd_pipeline_task_run_duration_seconds_count", cicd_pipeline_task_name="unit-test") == 1


@pytest.mark.parametrize(
    ("reason", "result"),
    [("script_failure", "failure"), ("runner_system_failure", "error"), ("job_execution_timeout", "timeout")],
)
def test_whose_fault_a_failure_is_is_told_apart(seen, reason, result):
    seen.run(state=State.FAILED, reason=reason)
    whose = "error" if result == "error" else "failure"
    assert seen.value("cicd_pipeline_run_duration_seconds_count", cicd_pipeline_result=whose) == 1
    assert seen.value("cicd_pipeline_task_run_duration_seconds_count", cicd_pipeline_task_run_result=result) == 1


def test_a_cancelled_job_is_nobodys_failure():
    assert job_result(JobRun(id="j", name="j", stage="s", state=State.CANCELED)) == "cancellation"
    assert job_result(JobRun(id="j", name="j", stage="s", state=State.SKIPPED)) == "skip"


def test_what_the_gates_block_is_counted_by_gate(seen):
    reasons = (
        Reason(gate="coverage", outcome=Outcome.BLOCK, message=""),
        Reason(gate="coverage", outcome=Outcome.BLOCK, message=""),
    )
    verdict = Verdict(
        id="v", project=PROJECT, commit="c", run="r", outcome=Outcome.BLOCK, reasons=reasons, policy_digest=""
    )
    seen.tell("run/r", events.VerdictGiven(verdict=verdict))
    assert seen.value("aegis_gate_blocks_total", gate="coverage") == 1
    assert seen.value("aegis_verdicts_total", outcome="block") == 1


def test_rollouts_are_counted_by_their_end(seen):
    rollout = Rollout(
        id="ro", deployment="d", service="orders", environment="production", release="orders@1", previous=None,
        steps=(100,), state=RolloutState.ROLLED_BACK,
    )  # fmt: skip
    seen.tell("rollout/ro", events.RolloutFinished(rollout=rollout))
    assert seen.value("aegis_rollouts_total", result="rolled_back") == 1


def test_a_promotion_that_never_reached_its_environment_is_no_deployment(seen):
    seen.promote("p1", "1.0.0", ok=False, committed=False)
    assert seen.metrics.delivered() == ()


def test_lead_time_is_from_the_first_push_of_the_merge_requests_branch_to_production(seen):
    seen.push("f" * 40, ref="feature/x", before=None)
    opened = events.MergeRequestOpened(
        number=7, title="", source_branch="feature/x", target_branch="main", head="f" * 40, opened_by="mina"
    )
    seen.tell(f"merge-request/{PROJECT}/7", opened, project=PROJECT)
    seen.wait(hours=3)
    seen.tell(
        f"merge-request/{PROJECT}/7",
        events.MergeRequestMerged(number=7, commit="a" * 40, merged_by="joon"),
        project=PROJECT,
    )
    seen.push("a" * 40)
    seen.wait(minutes=55)
    seen.release("1.0.0", "a" * 40)
    seen.promote("p1", "1.0.0")
    (delivered,) = seen.metrics.delivered()
    assert delivered.lead_seconds == (4 * 3600,)
    assert seen.value("aegis_dora_lead_time_seconds", service="orders") == 4 * 3600


def test_a_change_belongs_to_the_first_good_production_deployment_that_has_it_and_to_no_other(seen):
    seen.push("1" * 40)
    seen.release("1.0.0", "1" * 40)
    seen.promote("s1", "1.0.0", environment="staging")
    seen.promote("p1", "1.0.0", ok=False)
    seen.push("2" * 40)
    seen.release("1.0.1", "2" * 40)
    seen.promote("p2", "1.0.1")
    seen.promote("p3", "1.0.1")
    staging, failed, good, again = seen.metrics.delivered()
    assert (len(staging.lead_seconds), len(failed.lead_seconds)) == (0, 0)
    assert len(good.lead_seconds) == 2
    assert again.lead_seconds == ()


def test_what_lay_there_before_the_first_deployment_is_not_attributed_to_it(seen):
    for number in range(5):
        seen.push(str(number) * 40)
        seen.wait(days=70)
    seen.push("a" * 40)
    seen.release("1.0.0", "a" * 40)
    seen.promote("p1", "1.0.0", previous=None)
    (first,) = seen.metrics.delivered()
    assert first.lead_seconds == (300.0,)


def test_a_rollout_that_returns_is_one_failed_deployment_with_its_recovery(seen):
    seen.promote("p0", "0.9.0")
    promotion = Promotion(
        id="p1", service="orders", environment="production", release="orders@1.0.0", previous="orders@0.9.0",
        plan_hash="h", base="b", diff="", requested_by="mina",
    )  # fmt: skip
    seen.tell("promotion/p1", events.PromotionProposed(promotion=promotion))
    seen.tell("promotion/p1", events.PromotionCommitted(commit="c", release="orders@1.0.0"))
    seen.wait(minutes=4)
    seen.back("1.0.0", "0.9.0")
    seen.tell("promotion/p1", events.PromotionFinished(ok=False, reason="rolled back"))
    assert [one.failed for one in seen.metrics.delivered()] == [False, True]
    assert seen.value("aegis_dora_change_failure_ratio", service="orders") == 0.5
    assert seen.value("aegis_dora_recovery_seconds", service="orders") == 240
    assert seen.value("aegis_deployments_total", result="failure") == 1


def test_a_good_deployment_that_is_taken_back_later_has_failed_after_all(seen):
    seen.promote("p1", "1.0.0")
    seen.wait(minutes=30)
    seen.back("1.0.0", "0.9.0")
    (delivered,) = seen.metrics.delivered()
    assert delivered.failed
    assert delivered.recovered_at == seen.at


def test_the_next_good_deployment_is_the_recovery_where_nothing_went_back(seen):
    seen.promote("p1", "1.0.0", ok=False)
    seen.wait(minutes=10)
    seen.promote("p2", "1.0.1")
    assert seen.metrics.delivered()[0].recovered_at == seen.at


def test_a_checkpoint_goes_on_where_the_story_was_left(seen):
    seen.run()
    seen.push("1" * 40)
    seen.release("1.0.0", "1" * 40)
    again = Metrics()
    again.load(seen.metrics.dump())
    assert again.exposition() == seen.metrics.exposition()
    seen.metrics = again
    seen.promote("p1", "1.0.0")
    assert len(seen.metrics.delivered()[0].lead_seconds) == 1


def test_damage_is_told_to_the_one_who_loads():
    with pytest.raises(ValueError, match=r".+"):
        Metrics().load(b"\xc1damage")


def test_names_with_quotes_and_line_breaks_stay_one_label(seen):
    seen.tell(
        "run/r",
        events.VerdictGiven(
            verdict=Verdict(
                id="v", project='a"b\nc\\d', commit="c", run="r", outcome=Outcome.PASS, reasons=(), policy_digest=""
            )
        ),
    )
    assert seen.value("aegis_verdicts_total", project='a"b\nc\\d') == 1
