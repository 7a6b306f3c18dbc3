"""The next step of a rollout, from what was measured."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from aegis.core.errors import UserError
from aegis.core.types import DeploymentState, Rollout, RolloutState, VersionSample, Workload
from aegis.rollout.decide import Verb, begin, decide
from aegis.rollout.forecast import forecast
from aegis.rollout.measurements import Measurement, measurement, windows
from aegis.rollout.strategy import OnTimeout, Strategy

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
FAST = Strategy(kind="canary", step_seconds=10, minimum_requests=30, maximum_seconds=120, watch_seconds=30)
ROLLOUT = Rollout(
    id="r1", deployment="d1", service="orders", environment="production", release="orders@2", previous="orders@1",
    steps=FAST.weights,
)  # fmt: skip
HEALTHY = Workload(
    service="orders", environment="production", release="orders@2", digest="", replicas=1, ready=1,
    state=DeploymentState.HEALTHY,
)  # fmt: skip


class Story:
    """Traffic second by second, and a rollout that follows the decisions."""

    def __init__(self, strategy: Strategy, *, per_second: int = 100) -> None:
        self.strategy, self.per_second = strategy, per_second
        self.now = START
        self.rollout = begin(strategy, ROLLOUT, now=START, requests_per_minute=per_second * 60, error_rate=0)
        self.counts = {"orders@1": [0.0, 0.0, 0.0], "orders@2": [0.0, 0.0, 0.0]}
        self.history: list[Measurement] = []
        self.verbs: list[tuple[Verb, int]] = []
        self.reasons: list[str] = []
        self._measure()

    def _measure(self) -> None:
        samples = [
            VersionSample(
                version=name,
                requests=int(n),
                errors=int(e),
                buckets={"0.1": int(n - slow), "1.0": int(n), "+Inf": int(n)},
            )
            for name, (n, e, slow) in self.counts.items()
        ]
        self.history.append(
            measurement(samples, at=self.now, weight=self.rollout.weight, canary="orders@2", baseline="orders@1")
        )

    def run(
        self, seconds: int, *, old: float = 0.0, new: float = 0.0, slow: float = 0.0, workload: Workload = HEALTHY
    ) -> None:
        for _ in range(seconds):
            decision = decide(self.strategy, self.rollout, self.history, self.now, canary=workload)
            self.rollout = decision.rollout
            if decision.changed:
                self.verbs.append((decision.verb, decision.weight))
                self.reasons.append(decision.reason)
            if decision.verb in (Verb.ROLLBACK, Verb.PROMOTED):
                return
            self.now += timedelta(seconds=1)
            share = self.rollout.weight / 100
            for name, part, rate, late in (("orders@1", 1 - share, old, 0.0), ("orders@2", share, new, slow)):
                served = self.per_second * part
                self.counts[name][0] += served
                self.counts[name][1] += served * rate
                self.counts[name][2] += served * late
            self._measure()


def test_a_good_canary_climbs_every_step_is_watched_and_promoted():
    story = Story(FAST)
    story.run(200)
    assert story.verbs == [
        (Verb.ADVANCE, 5), (Verb.ADVANCE, 25), (Verb.ADVANCE, 50), (Verb.WATCH, 100), (Verb.PROMOTED, 100),
    ]  # fmt: skip
    assert story.rollout.state is RolloutState.PROMOTED
    assert 60 <= (story.now - START).total_seconds() <= 70


def test_a_bad_canary_loses_its_traffic_and_the_reason_has_the_numbers():
    story = Story(FAST)
    story.run(200, old=0.002, new=0.2)
    assert story.verbs[-1] == (Verb.ROLLBACK, 0)
    assert story.rollout.state is RolloutState.ROLLED_BACK
    assert "errors" in story.reasons[-1]
    assert "orders@1 beside it" in story.reasons[-1]
    assert (story.now - START).total_seconds() <= 25


def test_no_traffic_holds_and_says_so_and_traffic_lets_it_go_on():
    story = Story(FAST, per_second=0)
    story.run(300)
    assert story.rollout.state is RolloutState.HELD
    assert "no traffic" in story.reasons[-1]
    assert [verb for verb, _ in story.verbs] == [Verb.ADVANCE, Verb.HOLD]
    story.per_second = 200
    story.run(200)
    assert story.rollout.state is RolloutState.PROMOTED


def test_missing_measurements_hold_and_never_roll_back():
    story = Story(FAST)
    story.run(5)
    story.now += timedelta(seconds=60)
    decision = decide(FAST, story.rollout, story.history, story.now, canary=HEALTHY)
    assert decision.verb is Verb.HOLD
    assert "60 s old" in decision.reason
    blind = [replace(one, baseline=None) for one in story.history]
    decision = decide(FAST, story.rollout, blind, story.now, canary=HEALTHY)
    assert decision.verb is Verb.HOLD
    assert "missing" in decision.reason


def test_a_breach_while_held_rolls_back():
    story = Story(FAST, per_second=0)
    story.run(30)
    assert story.rollout.state is RolloutState.HELD
    story.per_second = 100
    story.run(60, old=0.001, new=0.5)
    assert story.rollout.state is RolloutState.ROLLED_BACK


def test_a_person_who_holds_is_obeyed_until_a_breach():
    story = Story(FAST)
    story.run(12)
    held = decide(FAST, story.rollout, story.history, story.now, canary=HEALTHY, paused=True)
    assert held.verb is Verb.HOLD
    assert "by a person" in held.reason
    story.run(8, new=1.0)
    assert story.rollout.state is RolloutState.ROLLED_BACK


def test_a_breach_while_watched_rolls_back_against_the_recorded_baseline():
    strategy = replace(FAST, watch_seconds=600)
    story = Story(strategy)
    while story.rollout.state is not RolloutState.WATCHING:
        story.run(1, old=0.002, new=0.002)
    story.run(10, new=0.002)
    assert story.rollout.state is RolloutState.WATCHING
    story.run(60, new=0.1)
    assert story.verbs[-1] == (Verb.ROLLBACK, 0)
    assert "not measured at the same time" in story.reasons[-1]


def test_an_unhealthy_canary_rolls_back_without_statistics():
    story = Story(FAST)
    story.run(3)
    sick = replace(HEALTHY, state=DeploymentState.DEGRADED, message="crash loop: boom")
    decision = decide(FAST, story.rollout, story.history, story.now, canary=sick)
    assert decision.verb is Verb.ROLLBACK
    assert "crash loop: boom" in decision.reason


def test_nothing_moves_before_the_canary_is_ready():
    story = Story(FAST)
    story.run(20, workload=replace(HEALTHY, state=DeploymentState.PROGRESSING, ready=0))
    assert story.rollout.weight == 0
    assert story.verbs == []


def test_blue_green_prepares_then_switches_at_once():
    story = Story(replace(FAST, kind="blue-green"))
    story.run(5, workload=replace(HEALTHY, state=DeploymentState.PROGRESSING, ready=0))
    assert story.verbs == []
    story.run(100)
    assert story.verbs == [(Verb.WATCH, 100), (Verb.PROMOTED, 100)]


def test_blue_green_is_watched_against_what_blue_served_before():
    story = Story(replace(FAST, kind="blue-green", watch_seconds=300))
    story.run(20, workload=replace(HEALTHY, state=DeploymentState.PROGRESSING, ready=0))
    story.run(100, new=0.2)
    assert story.rollout.state is RolloutState.ROLLED_BACK


def test_a_first_release_has_nothing_to_compare_with():
    story = Story(FAST)
    story.rollout = replace(story.rollout, previous=None)
    story.run(2)
    assert story.verbs == [(Verb.WATCH, 100)]
    assert "no earlier version" in story.reasons[0]


@pytest.mark.parametrize(
    ("choice", "verb"),
    [(OnTimeout.HOLD, Verb.HOLD), (OnTimeout.ROLLBACK, Verb.ROLLBACK), (OnTimeout.PROMOTE_IF_CLEAN, Verb.ADVANCE)],
)
def test_a_step_without_decision_ends_as_declared(choice: OnTimeout, verb: Verb):
    story = Story(replace(FAST, on_timeout=choice, minimum_requests=10_000))
    story.run(125)
    assert story.verbs[1][0] is verb
    assert "requests served" in story.reasons[1]


def test_slow_answers_roll_back_when_latency_is_declared():
    story = Story(replace(FAST, latency_seconds=0.1))
    story.run(100, slow=0.5)
    assert story.rollout.state is RolloutState.ROLLED_BACK
    assert "slow answers" in story.reasons[-1]


def test_a_latency_that_is_declared_and_not_measured_holds():
    story = Story(replace(FAST, latency_seconds=5.0))
    story.run(30)
    assert story.rollout.state is RolloutState.HELD
    assert "not measured" in story.reasons[-1]


def test_a_finished_rollout_stays_finished():
    story = Story(FAST)
    story.run(200)
    decision = decide(
        FAST, story.rollout, story.history, story.now, canary=replace(HEALTHY, state=DeploymentState.DEGRADED)
    )
    assert decision.verb is Verb.WAIT
    assert not decision.changed


def test_a_restarted_counter_is_not_a_negative_number():
    def sample(n: int, e: int) -> VersionSample:
        return VersionSample(version="v", requests=n, errors=e)

    history = [
        Measurement(at=START + timedelta(seconds=at), weight=50, canary=sample(n, 0), baseline=sample(n, e))
        for at, (n, e) in enumerate([(100, 5), (110, 6), (4, 1)])
    ]
    first, second = windows(history)
    assert (first.errors.canary, first.errors.baseline_bad) == (10, 1)
    assert (second.errors.canary, second.errors.baseline_bad) == (4, 1)


def test_the_forecast_is_said_before_it_begins_and_warns_of_little_traffic():
    calm = forecast(Strategy(kind="canary"), requests_per_minute=6000, error_rate=0.002)
    assert calm.promote_minutes is not None
    assert calm.promote_minutes < 60
    assert "100 %" in calm.text
    slow = forecast(Strategy(kind="canary", maximum_seconds=600), requests_per_minute=60, error_rate=0.002)
    assert slow.inconclusive
    assert "will probably not suffice" in slow.text
    nothing = forecast(Strategy(kind="canary"), requests_per_minute=0, error_rate=0)
    assert "no traffic" in nothing.text
    assert begin(FAST, ROLLOUT, now=START, requests_per_minute=6000, error_rate=0).forecast.startswith("about")


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": (5, 25)},
        {"steps": (50, 25, 100)},
        {"alpha": 0.0},
        {"margin": 1.0},
        {"maximum_seconds": 1.0, "step_seconds": 2.0},
    ],
)
def test_a_strategy_that_contradicts_itself_is_refused(wrong: dict[str, object]):
    with pytest.raises(UserError):
        Strategy(**wrong)
