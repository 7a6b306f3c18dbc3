"""Order of jobs and retries, decided from values."""

from __future__ import annotations

import pytest

from aegis.core.plan import JobSpec, Need, Plan, Retry
from aegis.core.types import State
from aegis.execution.schedule import ReadyQueue, Turn, depths, retries, tolerated
from aegis.execution.status import Board
from support.speed import best, processor


def _plan(*jobs: JobSpec, stages: tuple[str, ...] = ("build", "test", "deploy")) -> Plan:
    return Plan(id="p", project="g/p", commit="c" * 40, ref="refs/heads/main", source="push", stages=stages, jobs=jobs)


def _job(name: str, stage: str = "build", needs: tuple[str, ...] | None = None, **more: object) -> JobSpec:
    edges = None if needs is None else tuple(Need(job=one) for one in needs)
    return JobSpec(name=name, stage=stage, script=("true",), needs=edges, **more)  # type: ignore[arg-type]


def test_depth_counts_the_longest_chain_behind_a_job() -> None:
    plan = _plan(_job("a"), _job("b"), _job("c", "test", ("a",)), _job("d", "test"), _job("e", "deploy", ("c",)))
    found = depths(plan)
    assert found["e"] == 0
    assert found["c"] == 1
    assert found["a"] == 2
    assert found["b"] == 1


def test_ten_thousand_jobs_are_planned_and_walked_through_in_two_seconds() -> None:
    assert best(2.0, lambda: processor(lambda: walk(100, 100))) <= 2.0


def walk(width: int, length: int) -> None:
    """Plan and carry out a lattice of so many jobs."""
    jobs = [
        _job(
            f"j{row}-{lane}", f"s{row}", () if row == 0 else (f"j{row - 1}-{lane}", f"j{row - 1}-{(lane + 1) % width}")
        )
        for row in range(length)
        for lane in range(width)
    ]
    plan = _plan(*jobs, stages=tuple(f"s{row}" for row in range(length)))
    order = depths(plan)
    board = Board.of(plan)
    queue = ReadyQueue()
    positions = {spec.name: position for position, spec in enumerate(plan.jobs)}
    steps = list(board.begin())
    done = 0
    while True:
        for step in steps:
            if step.state is State.PENDING:
                queue.add(Turn(0, -order[step.name], positions[step.name], "r", step.name))
        turn = queue.take()
        if turn is None:
            break
        steps = [*board.change(turn.job, State.RUNNING), *board.change(turn.job, State.SUCCESS)]
        done += 1
    assert done == width * length
    assert board.run is State.SUCCESS


def test_stage_order_of_many_jobs_is_walked_through_in_linear_time() -> None:
    assert best(1.0, lambda: processor(lambda: walk_stages(5000))) <= 1.0


def walk_stages(count: int) -> None:
    """Carry out so many jobs in fifty stages."""
    jobs = [_job(f"j{number}", f"s{number % 50}") for number in range(count)]
    board = Board.of(_plan(*jobs, stages=tuple(f"s{number}" for number in range(50))))
    pending = [step.name for step in board.begin()]
    done = 0
    while pending:
        name = pending.pop()
        done += 1
        pending.extend(step.name for step in board.change(name, State.SUCCESS))
    assert done == count


def test_the_queue_serves_older_runs_then_longer_chains_then_the_file_order() -> None:
    queue = ReadyQueue()
    for turn in (
        Turn(2, -9, 0, "r2", "x"),
        Turn(1, 0, 1, "r1", "b"),
        Turn(1, 0, 0, "r1", "a"),
        Turn(1, -3, 7, "r1", "c"),
    ):
        queue.add(turn)
    queue.add(Turn(1, -3, 7, "r1", "c"))
    queue.discard("r1", "b")
    taken = []
    while (turn := queue.take()) is not None:
        taken.append(turn.job)
    assert taken == ["c", "a", "x"]


@pytest.mark.parametrize(
    ("policy", "attempt", "reason", "code", "expected"),
    [
        (Retry(), 1, "script_failure", 1, False),
        (Retry(), 1, "runner_system_failure", None, True),
        (Retry(), 2, "runner_system_failure", None, False),
        (Retry(max=2), 2, "script_failure", 1, True),
        (Retry(max=2), 3, "script_failure", 1, False),
        (Retry(max=1, when=("runner_system_failure",)), 1, "script_failure", 1, False),
        (Retry(max=1, exit_codes=(42,)), 1, "script_failure", 42, True),
        (Retry(max=1, exit_codes=(42,)), 1, "script_failure", 1, False),
        (Retry(max=2), 1, "image_pull_failure", None, False),
    ],
)
def test_a_retry_is_decided_by_cause(
    policy: Retry, attempt: int, reason: str, code: int | None, expected: bool
) -> None:
    assert retries(policy, attempt=attempt, failure_reason=reason, exit_code=code) is expected


def test_exit_codes_can_make_a_failure_tolerated() -> None:
    spec = _job("a", allow_failure_exit_codes=(3,))
    assert tolerated(spec, 3)
    assert not tolerated(spec, 4)
    assert not tolerated(spec, None)
