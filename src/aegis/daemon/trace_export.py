"""Tells the declared collector of every run that has ended, by cursor over the ledger, at least once.

The cursor is behind the last run that the collector took, so a restart sends the next one, and an interrupted send comes
again (with the same ids: it is the same trace). A collector that cannot take anything is asked again after growing pauses, at
most five minutes; what it refuses for good is said and passed over, since no later try would be otherwise. Runs that ended
before a collector was first declared are not sent.
"""

from __future__ import annotations

from typing import Final, Protocol

from aegis import __version__
from aegis.core import codec, events
from aegis.core.errors import AegisError, ExternalError
from aegis.core.events import NAMES, Record
from aegis.core.plan import Plan
from aegis.core.ports import Query
from aegis.daemon.loops import Reporter
from aegis.delivery.context import Context
from aegis.ledger.projections import Checkpoint, CheckpointStore
from aegis.observe import otlp, spans

NAME: Final = "traces"
LONGEST: Final = 300.0
_FIRST: Final = 1.0
_IDLE: Final = 0.5
_UNDECLARED: Final = 2.0
_ENDED: Final = Query(types=(NAMES[events.RunFinished][0],))


class Sender(Protocol):
    """The way to the collector."""

    @property
    def declared(self) -> bool:
        """Whether there is one."""
        ...

    def send(self, body: bytes) -> otlp.Answer:
        """Post one request; never raises for what may be otherwise later."""
        ...


class TraceExport:
    """The loop's rounds. One thread."""

    def __init__(self, context: Context, store: CheckpointStore, sender: Sender, reporter: Reporter) -> None:
        self._context = context
        self._store = store
        self._sender = sender
        self._reporter = reporter
        self._pause = _FIRST
        self._cursor: int | None = None
        self._looked = 0
        """No run ended up to there after the cursor."""

    def round(self) -> float:
        """Send the next run that has ended; seconds to wait before the next round."""
        if not self._sender.declared:
            return _UNDECLARED
        cursor = self._begin() if self._cursor is None else self._cursor
        head = self._context.ledger.head().seq
        found = self._context.ledger.read(after=max(cursor, self._looked), limit=1, query=_ENDED)
        if not found:
            self._looked = head
            self._context.ledger.wait(max(cursor, head), _IDLE)
            return 0.0
        answer = self._send(found[0])
        if not answer.taken and answer.again:
            self._reporter.say("traces", ExternalError("collector", f"the collector of traces: {answer.message}"))
            pause, self._pause = self._pause, min(self._pause * 2, LONGEST)
            return min(max(pause, answer.after or 0.0), LONGEST)
        if answer.rejected or not answer.taken:
            lost = f"{answer.rejected} spans were refused" if answer.taken else "it is left out"
            run = found[0].subject.removeprefix("run/")
            message = f"the trace of run {run}: {lost}; {answer.message}"
            self._reporter.say("traces", ExternalError("collector-refused", message))
        self._pause = _FIRST
        self._passed(found[0])
        return 0.0

    def _begin(self) -> int:
        """Where it goes on; at the ledger's end when there never was a collector."""
        kept = self._store.load(NAME)
        head = self._context.ledger.head()
        if kept is not None and kept.cursor <= head.seq:
            self._cursor = kept.cursor
            return kept.cursor
        self._cursor = head.seq
        self._store.save(Checkpoint(name=NAME, version=1, cursor=head.seq, hash=head.hash, dump=b""))
        return head.seq

    def _passed(self, record: Record) -> None:
        self._cursor = record.seq
        self._store.save(Checkpoint(name=NAME, version=1, cursor=record.seq, hash=record.hash, dump=b""))

    def _send(self, record: Record) -> otlp.Answer:
        """All requests of one run; the first that is not taken ends it."""
        try:
            trace = self._trace(record.subject)
        except AegisError as error:
            return otlp.Answer(taken=False, message=error.message)
        if trace is None:
            return otlp.Answer(taken=True)
        rejected, message = 0, ""
        for request in otlp.documents([trace]):
            answer = self._sender.send(otlp.encode(request))
            if not answer.taken:
                return answer
            rejected, message = rejected + answer.rejected, answer.message or message
        return otlp.Answer(taken=True, rejected=rejected, message=message)

    def _trace(self, subject: str) -> spans.RunTrace | None:
        records = self._context.ledger.subject(subject)
        told = spans.told(records)
        if told is None:
            return None
        plan = codec.decode(self._context.blobs.get(told.run.plan), Plan)
        return spans.trace_of(records, plan, url=self._context.url, version=__version__)
