"""The demonstration as anybody runs it: every step holds, and nothing is left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.server import AEGIS, children, environment, gone, mounts_below, tied

STEPS = 8
"""The chapters of the good change; those of the bad ones come after them."""


def begin(folder: Path) -> subprocess.Popen[str]:
    """Start the demonstration in a process group of its own."""
    return subprocess.Popen(
        [*tied(), *AEGIS, "demo", "--exit", "--json", "--directory", str(folder / "demo")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True,
    )  # fmt: skip


def group(number: int) -> set[int]:
    """The processes of a session, and those that have its directory on their command line."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == number:
                found.add(int(entry.name))
    return found


@pytest.mark.timeout(330)
def test_the_whole_demonstration_holds_and_leaves_nothing_running(tmp_path: Path) -> None:
    with begin(tmp_path) as running:
        try:
            out, err = running.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=40)
            pytest.fail(f"it took more than 300 s; lately:\n{err[-3000:]}")
    assert "Traceback" not in err, err[-4000:]
    told = json.loads(out)
    wrong = [one for one in told["steps"] if not one["ok"]]
    assert not wrong, (wrong, err[-3000:])
    assert running.returncode == 0
    assert set(told) == {"schema", "steps", "push_to_production_seconds", "ledger"}
    assert set(told["ledger"]) == {"events", "verified"}
    assert len(told["steps"]) > STEPS
    assert all(set(one) == {"name", "ok", "seconds", "detail"} for one in told["steps"])
    assert all(one["seconds"] >= 0 and one["detail"] for one in told["steps"])
    assert told["ledger"]["verified"] is True
    assert told["ledger"]["events"] > 100
    assert told["push_to_production_seconds"] > 0
    assert not gone(group(running.pid), 5.0)
    assert not mounts_below(tmp_path)
    log = (tmp_path / "demo" / "server.log").read_text()
    assert "Traceback" not in log, log[-3000:]


def test_ctrl_c_in_the_middle_ends_everything_that_was_started(tmp_path: Path) -> None:
    with begin(tmp_path) as running:
        end = time.monotonic() + 60
        while not (tmp_path / "demo" / "data" / "server.json").exists():
            assert time.monotonic() < end
            assert running.poll() is None
            time.sleep(0.1)
        while len(below := children(running.pid)) < 3:  # the server, its splitter, and what the first pipeline runs
            assert time.monotonic() < end
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in err + out, err[-4000:]
    assert not gone(below, 10.0)
    assert not mounts_below(tmp_path)
    assert not (tmp_path / "demo" / "data" / "server.json").exists()
