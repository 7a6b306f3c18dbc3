"""The loops of a server: each is one thread that looks, hands a command to the dispatcher, and says when it failed.

They decide nothing. A loop that meets an error goes on with the next round and reports the error once per kind, so a
broken outside is visible and not a flood.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from aegis.core import events
from aegis.core.errors import AegisError, Conflict
from aegis.core.events import Draft, Record
from aegis.delivery.context import Context
from aegis.delivery.dispatch import SYSTEM, Asking, Dispatcher
from aegis.delivery.flow import follow
from aegis.ledger.projections import Checkpoint, CheckpointStore, ProjectionRunner

RETRY_SECONDS: Final = (0.3, 1.0, 3.0)
"""The pauses after which a conflict is decided again."""
MORE_RETRY_SECONDS: Final = (6.0, 10.0, 20.0)
"""And those after which something outside is tried again that said it may work later."""


class Reporter:
    """Says on standard error what went wrong in the background, each kind once a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._said: dict[str, float] = {}
        self._clock = clock
        self._lock = threading.Lock()

    def say(self, where: str, error: BaseException) -> None:
        """Report an error of a loop."""
        code = error.code if isinstance(error, AegisError) else type(error).__name__
        key = f"{where}:{code}"
        with self._lock:
            last = self._said.get(key)
            if last is not None and self._clock() - last < 60:
                return
            self._said[key] = self._clock()
        sys.stderr.write(f"aegis: {where}: {error}\n")
        if not isinstance(error, AegisError):
            sys.stderr.write("".join(traceback.format_exception(error)))
        sys.stderr.flush()


class Loop:
    """A thread that calls `round` until it is stopped; `round` answers how many seconds to wait for the next."""

    def __init__(self, name: str, round_: Callable[[], float], reporter: Reporter) -> None:
        self._round = round_
        self._reporter = reporter
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"aegis-{name}", daemon=True)
        self.name = name

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End after the present round."""
        self._stop.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                pause = self._round()
            except Exception as error:  # noqa: BLE001 - a loop outlives whatever one round meets, and says it
                self._reporter.say(self.name, error)
                pause = 1.0
            if pause > 0:
                self._stop.wait(pause)


class Projector:
    """Keeps the projections at the ledger's head, and lets readers wait for a sequence number."""

    def __init__(self, context: Context, runner: ProjectionRunner) -> None:
        self._ledger = context.ledger
        self._runner = runner
        self._moved = threading.Condition()
        self._saved_at = time.monotonic()

    def round(self) -> float:
        """Fold what is new."""
        position = self._runner.position()
        if self._ledger.head().seq <= position and not self._ledger.wait(position, 0.5):
            if time.monotonic() - self._saved_at > 30:
                self._runner.save()
                self._saved_at = time.monotonic()
            return 0.0
        self._runner.catch_up(5000)
        with self._moved:
            self._moved.notify_all()
        return 0.0

    def caught_up(self, seq: int, timeout: float) -> None:
        """Block until the projections have `seq`, or time is up."""
        with self._moved:
            self._moved.wait_for(lambda: self._runner.position() >= seq, timeout)

    def lag(self) -> int:
        """Durable records that the projections have not seen."""
        return self._runner.lag()


class Flow:
    """Reads the ledger by cursor and carries out what follows; one lane per project or service keeps the order.

    The cursor is saved behind the oldest event whose commands are not done: after an interruption they come again.
    """

    NAME: Final = "flow"

    def __init__(self, context: Context, dispatcher: Dispatcher, store: CheckpointStore, reporter: Reporter) -> None:
        self._context = context
        self._dispatcher = dispatcher
        self._store = store
        self._reporter = reporter
        self._pool = ThreadPoolExecutor(6, thread_name_prefix="aegis-flow")
        self._lanes: dict[str, queue.SimpleQueue[tuple[Record, object]]] = {}
        self._lock = threading.Lock()
        self._open: dict[int, int] = {}
        kept = store.load(self.NAME)
        self._cursor = kept.cursor if kept is not None and kept.cursor <= context.ledger.head().seq else 0
        self._saved = self._cursor
        self._saved_at = time.monotonic()

    def round(self) -> float:
        """Hand what is new to its lanes."""
        self._save()
        if not self._context.ledger.wait(self._cursor, 0.25):
            return 0.0
        for record in self._context.ledger.read(after=self._cursor, limit=500):
            commands = follow(record)
            with self._lock:
                if commands:
                    self._open[record.seq] = len(commands)
                self._cursor = record.seq
            for command in commands:
                self._put(record, command)
        return 0.0

    def idle(self) -> bool:
        """Whether everything that follows from the ledger so far is done."""
        with self._lock:
            return not self._open and self._cursor >= self._context.ledger.head().seq

    def stop(self) -> None:
        """Finish the lanes' present commands and save the cursor."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._save(force=True)

    def _put(self, record: Record, command: object) -> None:
        # A promotion's lane is its service's: runs of a project must not wait for deployments.
        lane = record.service or record.project or "other"
        if record.service and record.project:
            lane = record.project
        with self._lock:
            waiting = self._lanes.get(lane)
            fresh = waiting is None
            if waiting is None:
                waiting = self._lanes[lane] = queue.SimpleQueue()
            waiting.put((record, command))
        if fresh:
            self._pool.submit(self._drain, lane, waiting).add_done_callback(self._failed)

    def _failed(self, done: Future[None]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            self._reporter.say("flow", error)

    def _drain(self, lane: str, waiting: queue.SimpleQueue[tuple[Record, object]]) -> None:
        while True:
            with self._lock:
                if waiting.empty():
                    del self._lanes[lane]
                    return
                record, command = waiting.get_nowait()
            self._carry_out(record, command)
            with self._lock:
                self._open[record.seq] -= 1
                if not self._open[record.seq]:
                    del self._open[record.seq]

    def _carry_out(self, record: Record, command: object) -> None:
        asking = Asking(actor=SYSTEM, cause=record.id)
        for number, pause in enumerate((*RETRY_SECONDS, *MORE_RETRY_SECONDS, None)):
            try:
                self._dispatcher.run(command, asking)
            except AegisError as error:
                # A conflict means that the subject moved meanwhile: decide again on what it is now.
                again = error.retryable or (isinstance(error, Conflict) and number < len(RETRY_SECONDS))
                if pause is not None and again:
                    time.sleep(pause)
                    continue
                self._write_failure(record, command, error.code, str(error), error.hint)
            except Exception as error:  # noqa: BLE001 - our bug must not stop the flow, and must be seen
                self._reporter.say("flow", error)
                self._write_failure(record, command, "bug", f"{type(error).__name__}: {error}", "see the server's log")
            return

    def _write_failure(self, record: Record, command: object, code: str, message: str, hint: str) -> None:
        failed = events.ActionFailed(
            key=f"{record.id}:{type(command).__name__}", code=code, message=message[:2000], hint=hint[:500]
        )
        draft = Draft(
            subject=record.subject,
            data=failed,
            actor=SYSTEM.id,
            project=record.project,
            service=record.service,
            environment=record.environment,
            cause=record.id,
        )
        try:
            self._context.ledger.append([draft])
        except AegisError as error:
            self._reporter.say("flow", error)

    def _save(self, *, force: bool = False) -> None:
        with self._lock:
            done = min(self._open, default=self._cursor + 1) - 1
        if done == self._saved or (not force and time.monotonic() - self._saved_at < 0.5):
            return
        found = self._context.ledger.read(after=done - 1, limit=1) if done else ()
        digest = found[0].hash if found else ""
        self._store.save(Checkpoint(name=self.NAME, version=1, cursor=done, hash=digest, dump=b""))
        self._saved, self._saved_at = done, time.monotonic()
