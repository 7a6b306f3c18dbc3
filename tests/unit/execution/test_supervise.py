"""Jobs are worked as GitLab works them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.core.types import State
from support.execution import Engine, by_name, job


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    yield made
    made.close()


def test_a_passing_run_leaves_a_log_and_its_events(engine: Engine) -> None:
    run = engine.run(job("hello", "echo hello from $CI_JOB_NAME", "cat README.md", "git describe --tags"))
    one = by_name(run)["hello"]
    log = engine.log(one)
    assert (run.state, one.state, one.exit_code, one.isolation) == (State.SUCCESS, State.SUCCESS, 0, "process"), log
    assert "$ echo hello from $CI_JOB_NAME" in log
    assert "hello from hello\n" in log
    assert "# orders\n" in log
    assert "v1.0.0\n" in log
    assert log.rstrip().endswith("Job succeeded\x1b[0;m")
    assert one.trace is not None
    assert engine.blobs.get(one.trace.digest).decode() == log
    types = [record.type.rsplit(".", 2)[-2:] for record in engine.ledger.subject(f"run/{run.id}")]
    assert types == [
        ["pipelinerun", "queued"],
        ["pipelinerun", "started"],
        ["taskrun", "started"],
        ["taskrun", "finished"],
        ["pipelinerun", "finished"],
    ]
    assert list((engine.root / "jobs").iterdir()) == []
