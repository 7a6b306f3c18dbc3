"""Reading runs back from the ledger: which were open, and what had happened to one."""

from __future__ import annotations

from aegis.core import codec, events
from aegis.core.errors import NotFound
from aegis.core.plan import Plan
from aegis.core.ports import Blobs, Ledger, Query
from aegis.execution.ports import QueueStore
from aegis.execution.progress import Progress

_QUEUED, _FINISHED, _CHANGED = (
    events.NAMES[kind][0] for kind in (events.RunCreated, events.RunFinished, events.JobChanged)
)
_PAGE = 1000


def open_runs(ledger: Ledger, queue: QueueStore) -> tuple[str, ...]:
    """The ids of the runs that have begun (or begun again) and not ended, oldest first.

    Only what was written after the queue's bookmark is read.
    """
    seq, known = queue.bookmark()
    if seq > ledger.head().seq:
        # The bookmark belongs to another ledger (a restored backup): it says nothing about this one.
        seq, known = 0, ()
    runs = dict.fromkeys(known)
    query = Query(types=(_QUEUED, _FINISHED, _CHANGED))
    while records := ledger.read(after=seq, limit=_PAGE, query=query):
        for record in records:
            run_id = record.subject.removeprefix("run/")
            if record.type == _FINISHED:
                runs.pop(run_id, None)
            else:
                runs.setdefault(run_id)
        seq = records[-1].seq
    return tuple(runs)


def load(ledger: Ledger, blobs: Blobs, run_id: str) -> Progress:
    """A run as its records tell it; `NotFound` where there is none, or where its records have been erased."""
    records = ledger.subject(f"run/{run_id}")
    for first in records:
        if isinstance(first.data, events.RunCreated):
            made = first.data.run
            progress = Progress(made, codec.decode(blobs.get(made.plan), Plan), order=first.seq)
            progress.begin(made.created_at or first.recorded_at)
            for record in records:
                if record.seq > first.seq:
                    progress.replay(record)
            return progress
    raise NotFound("no-such-run", f"there is no run {run_id}", hint="aegis status")
