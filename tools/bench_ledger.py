"""Figures of the ledger on this machine: durable appends, group commit, readiness with many events, verification.

    python tools/bench.py --only ledger

The large ledger is written straight into the file with a valid chain, which takes about 15 s per million; readiness is measured in a fresh process that was killed before it could close anything.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from figures import Figure, figure

from aegis.adapters.checkpoints_sqlite import SqliteCheckpoints
from aegis.adapters.clock_system import SystemClock, SystemEntropy
from aegis.adapters.ledger_sqlite import SqliteLedger, SqliteLedgerReader
from aegis.adapters.ledger_sqlite import writer as _writer
from aegis.core.events import Draft, RunStarted
from aegis.core.ports import Head
from aegis.ledger.chain import GENESIS, StoredRow, Verifier
from aegis.ledger.projections import Checkpoint
from aegis.ledger.store import prepare, to_row

TAIL = 20_000

_READY = """
import sys, time
begun = time.perf_counter()
from pathlib import Path
from aegis.adapters.checkpoints_sqlite import SqliteCheckpoints
from aegis.adapters.clock_system import SystemClock, SystemEntropy
from aegis.adapters.ledger_sqlite import SqliteLedger
from aegis.core import codec
from aegis.ledger.projections import ProjectionRunner
class Counts:
    name, version = "counts", 1
    def __init__(self): self.counts = {}
    def apply(self, record): self.counts[record.type] = self.counts.get(record.type, 0) + 1
    def dump(self): return codec.pack(self.counts)
    def load(self, data): self.counts = codec.unpack(data, dict[str, int])
folder = Path(sys.argv[1])
ledger = SqliteLedger(folder / "ledger.sqlite", clock=SystemClock(), entropy=SystemEntropy(), blobs=None, recorded_by="b")
runner = ProjectionRunner(ledger, SqliteCheckpoints(folder / "checkpoints.sqlite"))
runner.follow(Counts())
folded = runner.catch_up()
print(time.perf_counter() - begun, folded, flush=True)
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""


def _draft(number: int) -> Draft:
    return Draft(
        subject=f"run/{number % 50_000}",
        actor="bench",
        project=f"shop/service-{number % 15}",
        service=f"service-{number % 15}",
        environment=("development", "staging", "production")[number % 3],
        data=RunStarted(run=f"01j9zzzzzzzzzzzzzzzzz{number:09}"),
    )


def _ledger(folder: Path) -> SqliteLedger:
    return SqliteLedger(
        folder / "ledger.sqlite", clock=SystemClock(), entropy=SystemEntropy(), blobs=None, recorded_by="bench"
    )


def generated(events: int) -> Iterator[StoredRow]:
    """A valid chain of that many records, two seconds apart."""
    begun, entropy, prev = SystemClock().now(), SystemEntropy(), GENESIS
    for number in range(events):
        row = to_row(
            prepare(_draft(number), entropy.take(16)),
            seq=number + 1,
            prev=prev,
            subject_version=number // 50_000 + 1,
            at=begun + timedelta(seconds=2 * (number - events)),
            recorded_by="bench",
            entropy=entropy.take(10),
        )
        prev = row.hash
        yield row


def fill(folder: Path, events: int) -> None:
    """A ledger file of that many records, in one transaction, its indexes made afterwards."""
    _ledger(folder).close()
    database = _writer._open(folder / "ledger.sqlite")  # noqa: SLF001 - the one place that writes around the writer
    indexes = database.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    database.execute("BEGIN IMMEDIATE")
    for name, _ in indexes:
        database.execute(f"DROP INDEX {name}")
    database.executemany(_writer._INSERT, generated(events))  # noqa: SLF001 - as above
    for _, sql in indexes:
        database.execute(sql)
    database.execute("COMMIT")
    database.close()


def bench_single(folder: Path, seconds: float = 2.0) -> Figure:
    """Durable appends one after the other."""
    with _ledger(folder) as ledger:
        ledger.append([_draft(0)])
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            ledger.append([_draft(count)])
            count += 1
        rate = count / (time.perf_counter() - begun)
    how = "durable, one after the other; peers 217–937"
    return figure("ledger: single durable appends", "1/s", [rate], how, target=217, at_least=True)


def bench_group(folder: Path, submitters: int = 64, seconds: float = 3.0) -> Figure:
    """Durable appends by many threads at once."""
    counts = [0] * submitters
    with _ledger(folder) as ledger:
        stop = threading.Event()

        def submit(mine: int) -> None:
            while not stop.is_set():
                ledger.append([_draft(mine)])
                counts[mine] += 1

        threads = [threading.Thread(target=submit, args=(mine,)) for mine in range(submitters)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        stop.set()
        for thread in threads:
            thread.join()
        rate = sum(counts) / (time.perf_counter() - begun)
    name, how = f"ledger: group commit, {submitters} submitters", "durable, by threads at once; peers 5,300–13,200"
    return figure(name, "1/s", [rate], how, target=5300, at_least=True)


def bench_ready(folder: Path, events: int) -> Figure:
    """Seconds from a process' first line until its projection is at the head, twice: after a clean end and a kill."""
    reader = SqliteLedgerReader(folder / "ledger.sqlite")
    cursor = max(1, events - TAIL)
    at = reader.rows(cursor - 1, 1)[0]
    reader.close()
    store = SqliteCheckpoints(folder / "checkpoints.sqlite")
    store.save(Checkpoint(name="counts", version=1, cursor=cursor, hash=at.hash, dump=b"\x80"))
    store.close()
    took = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", _READY, str(folder)], capture_output=True, text=True, check=False)
        took.append(float(done.stdout.split()[0]))
    name = f"ledger: ready after kill -9, {events:,} events, {min(events, TAIL):,} to fold"
    return figure(name, "s", took, "a fresh process: opened, one projection folded to the head", target=5)


def bench_verify(folder: Path, events: int) -> Figure:
    """Verification of the whole chain, data included."""
    reader = SqliteLedgerReader(folder / "ledger.sqlite")
    verifier, after, begun = Verifier(), 0, time.perf_counter()
    while page := reader.rows(after, 2000):
        verifier.feed(page)
        after = page[-1].seq
    seconds = time.perf_counter() - begun
    reader.close()
    found = verifier.finish()
    assert found.ok  # noqa: S101 - a figure of a broken chain would be worthless
    assert found.head == Head(seq=events, hash=found.head.hash)  # noqa: S101 - as above
    name, how = f"ledger: verify {events:,} records", "chain and data; a peer: 1 M in 5.5 s"
    return figure(name, "1/s", [events / seconds], how, target=180_000, at_least=True)


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """Every figure of the ledger alone, against its peers."""
    events = min(options.events, 200_000)
    with tempfile.TemporaryDirectory(prefix="aegis-bench-") as folder:
        root = Path(folder)
        yield bench_single(root / "single")
        yield bench_group(root / "group")
        large = root / "large"
        large.mkdir()
        fill(large, events)
        yield bench_verify(large, events)
        yield bench_ready(large, events)
