"""What ledgers know of how long jobs took: that of the local runs (`.aegis/`), and that of a server's data directory.

Only reads. Where there is no ledger, or none that can be read, nothing is known, which is no error.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from aegis.core.errors import AegisError

LOCAL: Final = Path(".aegis") / "ledger.db"
SERVER: Final = "ledger.sqlite"
_RECORDS: Final = 2000
"""How far back it is looked."""


def usual_seconds(directory: Path, project: str, data: str | None = None) -> dict[str, float]:
    """The usual seconds of a project's jobs by name. `data` names a server's data directory; else AEGIS_DATA or `data`."""
    from aegis.pipeline.forecast import usual  # noqa: PLC0415 - start-up is a feature

    server = Path(data or os.environ.get("AEGIS_DATA") or directory / "data") / SERVER
    samples = [*_samples(server, project), *_samples(directory / LOCAL, "")]
    return usual(samples)


class Usual:
    """The usual seconds of a project's jobs, looked up beside something else: `found` is empty until that is done."""

    def __init__(self, directory: Path, project: str) -> None:
        self._directory = directory
        self._project = project
        self._asked = False
        self.found: Mapping[str, float] = {}

    def ask(self) -> None:
        """Begin to look, the first time that it is called."""
        if not self._asked:
            self._asked = True
            threading.Thread(target=self._look, name="usual times", daemon=True).start()

    def _look(self) -> None:
        self.found = usual_seconds(self._directory, self._project)


def _samples(file: Path, project: str) -> Iterator[tuple[str, float]]:
    """(job, seconds) of jobs that were worked and succeeded, newest first."""
    if not file.is_file():
        return
    from aegis.adapters.ledger_sqlite import SqliteLedgerReader  # noqa: PLC0415 - only where there is a ledger
    from aegis.core.events import NAMES, JobFinished  # noqa: PLC0415
    from aegis.core.ports import Query  # noqa: PLC0415

    query = Query(types=(NAMES[JobFinished][0],), project=project, newest_first=True)
    try:
        with contextlib.closing(SqliteLedgerReader(file)) as ledger:
            records = ledger.read(limit=_RECORDS, query=query)
    except AegisError:
        return
    for record in records:
        job = record.data.job if isinstance(record.data, JobFinished) else None
        if job is None or job.state != "success" or job.reused_from:
            continue
        if job.started_at and job.finished_at:
            yield job.name, (job.finished_at - job.started_at).total_seconds()
