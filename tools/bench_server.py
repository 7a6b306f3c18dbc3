"""Figures of a real server: its start, its memory, what a trigger and a job cost, how fast a commit is applied.

Everything goes through the doors that people have (`tests/support/server.py`), and durations are read from the ledger.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from figures import Figure, figure

from aegis.core import events
from support.server import SERVER, TeamServer, children, is_type, service_files

JOBS: Final = 24
RUNS: Final = 3
PUSHED, STARTED, BEGAN, ENDED, COMMITTED, OBSERVED = (
    events.NAMES[kind][0]
    for kind in (
        events.ChangePushed, events.JobStarted, events.RunStarted, events.RunFinished, events.PromotionCommitted,
        events.DeploymentObserved,
    )
)  # fmt: skip
NOT_OURS: Final = ("traefik", "-m web")
"""What the splitter and the workloads have on their command lines."""


def figures(_: argparse.Namespace | None = None) -> Iterator[Figure]:
    """All of them; about a minute."""
    with tempfile.TemporaryDirectory(prefix="aegis-bench-") as folder:
        server = TeamServer(root=Path(folder) / "two")
        try:
            yield from _starts(server)
            yield from _pipelines(server, 2)
            yield from _deployments(server)
            yield from _memory(server)
        finally:
            _end(server)
        declared = server.declaration.replace("concurrency: 2", "concurrency: 1")
        alone = TeamServer(root=Path(folder) / "one", declaration=declared)
        try:
            alone.start()
            yield from _pipelines(alone, 1)
        finally:
            _end(alone)


def _end(server: TeamServer) -> None:
    if server.process is not None and server.process.poll() is None:
        server.stop()


def started(server: TeamServer) -> tuple[float, float]:
    """Seconds from the process' start until `ready`, and until /healthz and /login have answered 200."""
    begun = time.perf_counter()
    server.start()
    ready = time.perf_counter() - begun
    for path in ("/healthz", "/login"):
        with urllib.request.urlopen(server.url + path, timeout=30) as answer:  # noqa: S310 - this server's own address
            if answer.status != 200:
                raise RuntimeError(f"{path} answered {answer.status}")
    return ready, time.perf_counter() - begun


def _starts(server: TeamServer) -> Iterator[Figure]:
    first = started(server)
    again = []
    for _ in range(RUNS):
        server.stop()
        again.append(started(server))
    how = "process start → `ready`, /healthz and /login 200"
    yield figure(
        "portal answers, first start", "s", [first[1]], f"{how}; new data directory", target=15, warm="cold data"
    )
    yield figure("portal answers, started again", "s", [one[1] for one in again], how, target=15)


def _pipelines(server: TeamServer, concurrency: int) -> Iterator[Figure]:
    """Pushes of a pipeline of trivial jobs."""
    jobs = "".join(f"job-{number}:\n  script: ['true']\n" for number in range(JOBS))
    files = {".gitlab-ci.yml": jobs, "README.md": "jobs\n"}
    tree = server.tree("team/tools", files, by="ana")
    waits, costs = [], []
    for number in range(RUNS):
        since = server.head()
        if number:
            server.commit("team/tools", files, by="ana", message=f"feat: number {number}")
        taken, said = tree.push(f"try-{number}", server.person("ana"))
        if not taken:
            raise RuntimeError(said)
        ended = server.wait(
            "the run's end", is_type(ENDED), since=since, seconds=120, unless=is_type("aegis.run.refused")
        )
        if ended["data"]["state"] != "success":
            raise RuntimeError(f"the run ended as {ended['data']['state']}")
        records = _since(server, since)
        push, began, first = (_first(records, kind) for kind in (PUSHED, BEGAN, STARTED))
        waits.append((_when(first) - _when(push)).total_seconds() * 1000)
        costs.append((_when(ended) - _when(began)).total_seconds() * 1000 / JOBS)
    if concurrency == 2:
        yield figure(
            "trigger → first job running", "ms", waits, "ledger: change.created → the first taskrun.started", target=300
        )
    yield figure(
        f"per trivial job, concurrency {concurrency}", "ms", costs,
        f"ledger: (run finished − run started) / {JOBS} jobs of `true`, work tree and isolation as declared", target=60,
    )  # fmt: skip


def _since(server: TeamServer, seq: int) -> list[dict[str, Any]]:
    return sorted((one for one in server.ledger() if one["seq"] > seq), key=lambda one: one["seq"])


def _when(record: dict[str, Any]) -> datetime:
    """When it was written, in the form of the stream or of `ledger show`."""
    return datetime.fromisoformat(record.get("at") or record["recorded_at"])


def _first(records: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    found = next((one for one in records if one["type"] == kind), None)
    if found is None:
        raise RuntimeError(f"the ledger has no {kind}")
    return found


def _deployments(server: TeamServer) -> Iterator[Figure]:
    """Pushes to the branch of development; what the ledger says of commit and cluster."""
    tree = server.tree("team/web", service_files())
    since = server.head()
    for branch in ("main", "develop"):
        taken, said = tree.push(branch, server.person("olga"))
        if not taken:
            raise RuntimeError(said)
    for environment in ("staging", "development"):
        done = is_type("aegis.promotion.finished", environment=environment)
        server.wait(environment, done, since=since, seconds=120)
    applied, whole = [], []
    for number in range(RUNS):
        since = server.head()
        code = SERVER.replace("VERSION = 1", f"VERSION = {number + 2}")
        server.push("team/web", "develop", {"src/web/__main__.py": code}, by="ana")
        done = server.wait(
            "development", is_type("aegis.promotion.finished", environment="development"), since=since, seconds=120
        )
        records = [one for one in _since(server, since) if one["environment"] == "development"]
        committed = _first(records, COMMITTED)
        seen = next(
            one
            for one in records
            if one["type"] == OBSERVED and one["data"]["deployment"]["state"] not in ("committed", "reverted")
        )
        applied.append((_when(seen) - _when(committed)).total_seconds())
        whole.append((_when(done) - _when(committed)).total_seconds())
    how = "ledger: promotion.committed → the first deployment.observed that is synced or progressing"
    yield figure("GitOps commit → applied", "s", applied, how, target=1)
    yield figure("GitOps commit → healthy", "s", whole, "ledger: promotion.committed → promotion.finished")


def _memory(server: TeamServer) -> Iterator[Figure]:
    """Resident memory of the server and its helpers, after all of the above."""
    assert server.process is not None  # noqa: S101 - it runs
    own, helpers = _resident(server.process.pid), []
    for pid in children(server.process.pid):
        line = _command(pid)
        if line and not any(word in line for word in NOT_OURS):
            helpers.append(_resident(pid))
    total = (own + sum(helpers)) / 1024
    how = f"/proc: VmRSS of the server ({own // 1024} MiB) and {len(helpers)} helpers, after the runs above"
    yield figure("memory of the platform", "MiB", [total], how, target=300, scaled=False)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _resident(pid: int) -> int:
    """KiB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "default")
    for one in figures():
        print(one)
