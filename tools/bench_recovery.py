"""A real server over a large ledger, killed with -9 and started again."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import bench_ledger
from bench_server import started
from figures import Figure, figure

from support.server import TeamServer

RUNS: Final = 3


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """Ready after `kill -9` with that many events, of which the last 20,000 are in no checkpoint."""
    events: int = options.events
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
