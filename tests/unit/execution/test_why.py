"""Why a job waits or is slow: seeded causes, each named first, with the facts that it rests on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from aegis.core.plan import JobSpec, Need
from aegis.core.types import JobRun, State
from aegis.execution.why import Earlier, Facts, KnownRunner, cache_of, why
from support.clock import FakeClock

NOW = FakeClock().now()
SPEC = JobSpec(name="unit", stage="test", script=("x",))
JOB = JobRun(id="1", name="unit", stage="test", state=State.PENDING, queued_at=NOW)
FREE = KnownRunner(name="built-in", limit=2)
BASE = Facts(spec=SPEC, job=JOB, project="shop/orders", now=NOW, runners=(FREE,))
USUAL = tuple(Earlier(seconds=one, cache="warm") for one in (10.0, 11.0, 9.0, 10.5))


def _job(state: State) -> JobRun:
    return replace(JOB, state=state)


def _ended(seconds: float, queued: float = 0.1) -> JobRun:
    started = NOW + timedelta(seconds=queued)
    return replace(JOB, state=State.SUCCESS, started_at=started, finished_at=started + timedelta(seconds=seconds))


SEEDED = {
    "needs": (
        replace(
            BASE, job=_job(State.CREATED), spec=replace(SPEC, needs=(Need(job="build"), Need(job="lint"))),
            states={"build": State.RUNNING, "lint": State.SUCCESS},
        ),
        "build: running",
    ),
    "stage": (
        replace(BASE, job=_job(State.CREATED), earlier_stages=("build",), states={"build": State.PENDING}),
        "build: pending",
    ),
    "manual": (replace(BASE, job=_job(State.MANUAL), spec=replace(SPEC, when="manual")), "when: manual"),
    "delayed": (
        replace(BASE, job=_job(State.SCHEDULED), spec=replace(SPEC, when="delayed", start_in=600)), "start_in: 600 s",
    ),
    "resource-group": (
        replace(
            BASE, job=_job(State.WAITING_FOR_RESOURCE), spec=replace(SPEC, resource_group="production"),
            group_holder="deploy of run r7",
        ),
        "held by deploy of run r7",
    ),
    "no-matching-runner": (replace(BASE, spec=replace(SPEC, tags=("gpu",)), runners=(replace(FREE, tags=("arm",)),)), "gpu"),
    "no-runner": (replace(BASE, runners=(replace(FREE, projects=("bank",)),)), "none for shop/orders"),
    "protected": (replace(BASE, runners=(replace(FREE, protected=True),)), "the ref is not protected"),
    "runner-paused": (replace(BASE, runners=(replace(FREE, paused=True),)), "paused"),
    "runner-offline": (replace(BASE, runners=(replace(FREE, online=False),)), "offline"),
    "not-isolated": (replace(BASE, runners=(replace(FREE, isolated=False),), require_isolation=True), "required"),
    "busy": (replace(BASE, runners=(replace(FREE, running=2),), ahead=7), "7 jobs are ahead of it"),
    "lost-runner": (
        replace(BASE, lost=(replace(JOB, runner="m3", message="runner 'm3' was silent for 60 s"),),
                job=replace(JOB, attempt=2)),
        "silent for 60 s",
    ),
    "cold-cache": (replace(BASE, job=_ended(30), history=USUAL, log="No cache under pip-3f2.\n$ pytest"), "pip-3f2"),
    "lost-parallelism": (
        replace(BASE, job=_ended(40), history=tuple(replace(one, parallel=4) for one in USUAL)), "parallel: 4 → 1",
    ),
    "slower": (replace(BASE, job=_ended(25), history=USUAL, log="Restored cache pip: 3 files"), "usually 10.2 s"),
    "queue": (replace(BASE, job=_ended(10, queued=60), history=USUAL), "queued 60.0 s"),
    "skipped": (
        replace(BASE, job=_job(State.SKIPPED), earlier_stages=("build",), states={"build": State.FAILED}), "build: failed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("code", SEEDED)
def test_a_seeded_cause_is_named_first_with_its_fact(code: str) -> None:
    facts, fact = SEEDED[code]
    found = why(facts)
    assert [one.code for one in found] == [code]
    assert found[0].message
    assert found[0].hint
    assert fact in " | ".join(found[0].evidence)


def test_the_condition_that_leaves_no_runner_is_named_not_one_that_only_some_fail() -> None:
    runners = (replace(FREE, tags=("gpu",), paused=True), replace(FREE, name="b", running=2), replace(FREE, name="c"))
    assert [one.code for one in why(replace(BASE, runners=runners))] == ["next"]
    gpu = replace(BASE, spec=replace(SPEC, tags=("gpu",)), runners=(runners[0], replace(FREE, name="b", tags=())))
    assert [one.code for one in why(gpu)] == ["runner-paused"]


def test_parts_that_did_not_run_together_are_lost_parallelism_too() -> None:
    split = tuple(replace(one, parallel=4) for one in USUAL)
    facts = replace(BASE, job=_ended(30), spec=replace(SPEC, parallel_total=4), history=split, at_once=2)
    assert "only 2 of its 4 parts" in why(facts)[0].message


def test_a_job_as_quick_as_usual_or_without_a_history_is_not_called_slow() -> None:
    assert why(replace(BASE, job=_ended(11), history=USUAL)) == ()
    assert why(replace(BASE, job=_ended(1000))) == ()


def test_what_a_log_says_of_its_cache() -> None:
    assert [cache_of(one) for one in ("Restored cache a: 1 file", "No cache under a.\n", "$ true")] == [
        "warm",
        "cold",
        "",
    ]
