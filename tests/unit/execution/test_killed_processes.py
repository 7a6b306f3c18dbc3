"""Every process of a job killed in its turn: the job ends, says how, and nothing of it goes on."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from aegis.adapters.executor_namespace import NamespaceExecutor, isolation_available
from aegis.core.types import State
from aegis.execution.schedule import SYSTEM_FAILURE
from support.execution import Engine, Working, job
from support.server import children, gone

pytestmark = pytest.mark.skipif(not isolation_available().ok, reason=isolation_available().detail)
SCRIPT = "echo begun; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; done; echo ended"


def line(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


@pytest.mark.parametrize("which", ["the shell", "the first of them", "the one outside"])
def test_a_job_whose_process_is_killed_ends_and_says_how(tmp_path: Path, which: str) -> None:
    engine = Engine(tmp_path, executor=NamespaceExecutor(grace=0.2))
    before = children(os.getpid())
    run_id = engine.submit(job("one", SCRIPT))
    with Working(engine, concurrency=1):
        first = engine.until(
            lambda: engine.coordinator.run(run_id).jobs[0].runner and engine.coordinator.run(run_id).jobs[0]
        )
        engine.until(lambda: "begun\n" in engine.log(first))
        ours = sorted(children(os.getpid()) - before)
        shells = [pid for pid in ours if ".step-" in line(pid) and "sleep" not in line(pid)]
        assert shells, [line(pid) for pid in ours]
        parent = int(Path(f"/proc/{shells[0]}/stat").read_text().rpartition(")")[2].split()[1])
        outside = int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1])
        victim = {"the shell": shells[0], "the first of them": parent, "the one outside": outside}[which]
        assert victim in ours
        os.kill(victim, signal.SIGKILL)
        run = engine.wait(run_id, 30)
        attempts = engine.coordinator.attempts(run_id, "one")
    assert not gone(set(ours), 10), "nothing of it goes on"
    if which == "the shell":
        assert [(one.state, one.exit_code) for one in attempts] == [(State.FAILED, 128 + signal.SIGKILL)]
    else:
        assert [one.state for one in attempts] == [State.FAILED, State.SUCCESS]
        assert attempts[0].failure_reason == SYSTEM_FAILURE
        assert engine.log(attempts[1]).count("ended\n") == 1
        assert run.state is State.SUCCESS
    assert not list((tmp_path / "jobs").iterdir())
    assert threading.active_count() < 50
    engine.close()
