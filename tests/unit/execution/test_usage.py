"""What a job used is kept with its end; waiting is told from running, and errors from failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aegis.core.spent import JobUsage
from aegis.core.types import JobRun, State
from support.execution import Engine, by_name, job

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def test_the_steps_of_a_job_are_added_up_and_kept_over_a_restart(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    work = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"
    run = engine.run(job("busy", work, after_script=(work,)), job("idle", "true"))
    used = {name: one.usage for name, one in by_name(run).items()}
    busy, idle = used["busy"], used["idle"]
    assert busy is not None
    assert idle is not None
    assert busy.cpu_seconds > idle.cpu_seconds > 0
    assert busy.peak_memory > 1_000_000
    engine.restart()
    assert by_name(engine.coordinator.run(run.id))["busy"].usage == busy
    engine.close()


def test_usages_add_up_and_of_memory_the_largest_counts() -> None:
    one = JobUsage(cpu_seconds=1.5, peak_memory=10, read_bytes=1, written_bytes=2)
    other = JobUsage(cpu_seconds=0.5, peak_memory=7, read_bytes=3, written_bytes=4)
    assert one + other == JobUsage(cpu_seconds=2.0, peak_memory=10, read_bytes=4, written_bytes=6)


def test_waiting_is_told_from_running() -> None:
    made = JobRun(id="1", name="a", stage="test", queued_at=AT)
    assert (made.queue_seconds, made.run_seconds) == (None, None)
    begun = JobRun(id="1", name="a", stage="test", queued_at=AT, started_at=AT + timedelta(seconds=3))
    assert (begun.queue_seconds, begun.run_seconds) == (3.0, None)


@pytest.mark.parametrize(
    ("state", "reason", "fault"),
    [
        (State.FAILED, "script_failure", "failure"),
        (State.FAILED, "job_execution_timeout", "failure"),
        (State.FAILED, "runner_system_failure", "error"),
        (State.FAILED, "image_pull_failure", "error"),
        (State.SUCCESS, None, ""),
        (State.CANCELED, None, ""),
    ],
)
def test_an_error_of_the_surroundings_is_no_failure_of_the_code(state: State, reason: str | None, fault: str) -> None:
    assert JobRun(id="1", name="a", stage="test", state=state, failure_reason=reason).fault == fault
