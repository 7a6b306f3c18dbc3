"""How far what is shown lies behind what is durable: 200 appends a second against the server's projections."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import bench_ledger
from figures import Figure, figure

from aegis.adapters.checkpoints_sqlite import SqliteCheckpoints
from aegis.core.events import Record
from aegis.daemon.loops import Projector
from aegis.delivery.context import Context
from aegis.delivery.queries.world import World
from aegis.ledger.projections import ProjectionRunner
from aegis.notify.inbox import Inbox
from aegis.observe.metrics import Metrics


def figures(_: argparse.Namespace) -> Iterator[Figure]:
    """The lag's median and its 99th percentile."""
    values = lags()
    how = "durable append → folded by every projection of the server, 200 appends/s for 5 s, one process"
    p99 = statistics.quantiles(values, n=100)[98]
    yield figure("projection lag, p99", "ms", [p99], f"{how}; {len(values)} records", target=200, scaled=False)
    yield figure("projection lag, median", "ms", [statistics.median(values)], how, scaled=False)


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
