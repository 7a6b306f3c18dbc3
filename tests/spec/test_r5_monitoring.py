"""R5 Monitoring: what the inbox, the metrics and the live portal reach of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from aegis.core import events
from aegis.core.types import (
    DeploymentState,
    JobRun,
    Promotion,
    Rollout,
    RolloutState,
    Run,
    State,
    VersionSample,
    Workload,
)
from aegis.notify.inbox import Inbox
from aegis.notify.messages import rendered
from aegis.notify.routing import Routes, inbox_of
from aegis.observe.metrics import Metrics
from aegis.rollout.decide import begin, decide
from aegis.rollout.measurements import Measurement, measurement
from aegis.rollout.strategy import Strategy
from support.chromium import chromium
from support.portal_server import portal
from support.records import Story

READY = Workload(
    service="orders", environment="production", release="new", digest="", replicas=1, ready=1,
    state=DeploymentState.HEALTHY,
)  # fmt: skip


def pipeline(story: Story, state: State) -> None:
    """One run of shop/orders with one job."""
    run = Run(
        id=f"r{len(story.records)}", project="shop/orders", ref="main", commit="c" * 40, plan="", change="",
        source="push", started_by="mina",
    )  # fmt: skip
    subject, where = f"run/{run.id}", {"project": "shop/orders"}
    story.tell(subject, events.RunCreated(run=run, job_count=1), **where)
    story.tell(subject, events.RunStarted(run=run.id), **where)
    story.wait(seconds=40)
    job = JobRun(
        id="j", name="unit-test", stage="test", state=state, message="2 tests failed", finished_at=story.at,
        started_at=story.at - timedelta(seconds=40), queued_at=story.at - timedelta(seconds=40),
    )  # fmt: skip
    story.tell(subject, events.JobFinished(job=job), **where)
    story.tell(subject, events.RunFinished(run=run.id, state=state), **where)


def test_r5_1_progress_is_live_on_a_dashboard() -> None:
    with portal() as served, chromium() as browser:
        page = browser.new_page()
        page.context.add_cookies([{"name": "aegis_session", "value": "cookie-sora", "url": served.url}])
        page.goto(served.url)
        page.get_by_text("5 of 9 jobs").wait_for()
        run = served.world.runs_now[0]
        jobs = tuple(replace(job, state=State.SUCCESS) if job.name == "image" else job for job in run.jobs)
        served.world.runs_now = (replace(run, jobs=jobs), *served.world.runs_now[1:])
        served.stream.send(500)
        page.get_by_text("6 of 9 jobs").wait_for(timeout=10_000)


def test_r5_2_a_failed_build_is_in_the_inbox_at_once_and_once() -> None:
    story, inbox = Story(), Inbox()
    pipeline(story, State.FAILED)
    pipeline(story, State.FAILED)
    for record in story:
        inbox.apply(record)

    (entry,) = inbox_of(inbox.entries(), "mina", ["developers"], Routes())
    assert entry.count == 2
    assert entry.last_at == story.records[-1].recorded_at
    assert rendered(entry, "en").subject == "✗ failed · shop/orders: the pipeline of main failed"
    assert "unit-test: 2 tests failed" in rendered(entry, "ko").text


def test_r5_3_a_finished_deployment_is_shared_with_the_team() -> None:
    story, inbox = Story(), Inbox()
    promotion = Promotion(
        id="p1", service="orders", environment="staging", release="orders@1.2.0", previous="orders@1.1.0",
        plan_hash="h", base="b", diff="", requested_by="mina",
    )  # fmt: skip
    story.tell("promotion/p1", events.PromotionProposed(promotion=promotion))
    story.tell("promotion/p1", events.PromotionCommitted(commit="c", release="orders@1.2.0"))
    story.tell("promotion/p1", events.PromotionFinished(ok=True))
    for record in story:
        inbox.apply(record)

    team = Routes(services={"orders": ("developers",)})
    told = inbox_of(inbox.entries(include_resolved=True), "joon", ["developers"], team, include_resolved=True)
    assert "orders@1.2.0 runs in staging" in [rendered(one, "en").text.splitlines()[0] for one in told]


def test_r5_4_a_version_that_only_answers_slower_is_rolled_back_by_itself() -> None:
    now, asked, slow = datetime(2026, 1, 5, 9, 0, tzinfo=UTC), {"old": 0, "new": 0}, 0
    strategy = Strategy(kind="canary", step_seconds=10, minimum_requests=30, watch_seconds=30, latency_seconds=0.1)
    rollout = Rollout(
        id="r", deployment="d", service="orders", environment="production", release="new", previous="old", steps=()
    )
    rollout = begin(strategy, rollout, now=now, requests_per_minute=6000, error_rate=0.0)
    history: list[Measurement] = []
    for _ in range(120):
        late = {"old": 0, "new": slow}
        samples = [
            VersionSample(version=name, requests=count, errors=0, buckets={"0.1": count - late[name], "+Inf": count})
            for name, count in asked.items()
        ]
        history.append(measurement(samples, at=now, weight=rollout.weight, canary="new", baseline="old"))
        decision = decide(strategy, rollout, history, now, canary=READY)
        rollout = decision.rollout
        if rollout.state is RolloutState.ROLLED_BACK:
            break
        now += timedelta(seconds=1)
        asked["new"] += rollout.weight
        asked["old"] += 100 - rollout.weight
        slow += rollout.weight // 2  # every second answer of the new version is late, none is an error
    assert rollout.state is RolloutState.ROLLED_BACK
    assert "slow answers" in decision.reason


def test_r5_5_build_time_success_rate_and_deployment_frequency_can_be_queried() -> None:
    story, metrics = Story(), Metrics()
    for state in (State.SUCCESS, State.SUCCESS, State.FAILED):
        pipeline(story, state)
    promotion = Promotion(
        id="p1", service="orders", environment="production", release="orders@1.2.0", previous="orders@1.1.0",
        plan_hash="h", base="b", diff="", requested_by="mina",
    )  # fmt: skip
    story.tell("promotion/p1", events.PromotionProposed(promotion=promotion))
    story.tell("promotion/p1", events.PromotionCommitted(commit="c", release="orders@1.2.0"))
    story.wait(minutes=2)
    story.tell("promotion/p1", events.PromotionFinished(ok=True))
    for record in story:
        metrics.apply(record)

    samples = {
        (sample.name, sample.labels.get("cicd_pipeline_result", "")): sample.value
        for family in text_string_to_metric_families(metrics.exposition())
        for sample in family.samples
    }
    assert samples["cicd_pipeline_run_duration_seconds_sum", "success"] == 80
    assert samples["cicd_pipeline_run_duration_seconds_count", "success"] == 2
    assert samples["cicd_pipeline_run_duration_seconds_count", "failure"] == 1
    assert samples["aegis_dora_deployment_frequency_per_day", ""] == 1 / 30
