"""A real server over a large ledger, killed and started again; and how far projections lie behind what is durable."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import bench_ledger
from bench import Figure, figure
from bench_server import started

from aegis.adapters.checkpoints_sqlite import SqliteCheckpoints
from aegis.core.events import Record
from aegis.daemon.loops import Projector
from aegis.delivery.context import Context
from aegis.delivery.queries.world import World
from aegis.ledger.projections import ProjectionRunner
from aegis.notify.inbox import Inbox
from aegis.observe.metrics import Metrics
from support.server import TeamServer

RUNS: Final = 3


def figures(events: int) -> Iterator[Figure]:
    """Ready after `kill -9` with that many events, of which the last 20,000 are in no checkpoint."""
    with tempfile.TemporaryDirectory(prefix="aegis-bench-") as folder:
        server = TeamServer(root=Path(folder))
        server.data.mkdir(mode=0o700)
        bench_ledger.fill(server.data, max(1, events - bench_ledger.TAIL))
        rebuilt = started(server)[0]
        server.stop()  # what was folded is kept
        behind, killed = [], []
        for _ in range(RUNS):
            _append(server.data, bench_ledger.TAIL)
            for found in (behind, killed):
                begun = time.perf_counter()
                server.start()
                found.append(time.perf_counter() - begun)
                server.kill()
    how = "`aegis up`, killed with -9 before each: process start → `ready`"
    yield figure(
        f"ready after kill -9, {events:,} events, 20,000 to fold", "s", behind, f"{how}; 20,000 are in no checkpoint",
        target=5,
    )  # fmt: skip
    yield figure(f"ready after kill -9, {events:,} events", "s", killed, how, target=5)
    yield figure(
        f"ready without any checkpoint, {events:,} events", "s", [rebuilt], "as above; all projections folded anew",
        warm="cold",
    )  # fmt: skip


def _append(folder: Path, records: int) -> None:
    with bench_ledger._ledger(folder) as ledger:  # noqa: SLF001 - its own companion
        for start in range(0, records, 1000):
            ledger.append([bench_ledger._draft(start + number) for number in range(1000)])  # noqa: SLF001 - as above


class _Stamps:
    """Says when a record had been folded: it is the last of the projections, so the others have folded it, too."""

    name: Final = "stamps"
    version: Final = 1

    def __init__(self) -> None:
        self.at: dict[int, float] = {}

    def apply(self, record: Record) -> None:
        self.at[record.seq] = time.perf_counter()

    def dump(self) -> bytes:
        return b""

    def load(self, data: bytes) -> None:
        del data


def lags(rate: int = 200, seconds: float = 5.0) -> list[float]:
    """Milliseconds from each durable append until every projection has the record."""
    durable: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory(prefix="aegis-bench-") as name, bench_ledger._ledger(Path(name)) as ledger:  # noqa: SLF001
        runner = ProjectionRunner(ledger, SqliteCheckpoints(Path(name) / "checkpoints.sqlite"))
        for one in (World(), Inbox(), Metrics()):
            runner.follow(cast("Any", one))
        stamps = runner.follow(_Stamps())
        projector, stop = Projector(cast("Context", SimpleNamespace(ledger=ledger)), runner), threading.Event()
        thread = threading.Thread(target=lambda: _rounds(projector, stop))
        thread.start()
        begun = time.perf_counter()
        for number in range(int(rate * seconds)):
            wait = begun + number / rate - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            (record,) = ledger.append([bench_ledger._draft(number)])  # noqa: SLF001
            durable.append((record.seq, time.perf_counter()))
        projector.caught_up(durable[-1][0], 10.0)
        stop.set()
        thread.join()
    return [max(0.0, (stamps.at[seq] - at) * 1000) for seq, at in durable]


def _rounds(projector: Projector, stop: threading.Event) -> None:
    while not stop.is_set():
        projector.round()


if __name__ == "__main__":
    for found in figures(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000):
        print(found)
    print(sorted(lags())[-10:], os.getloadavg())
