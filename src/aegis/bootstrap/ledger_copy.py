"""Moves a ledger between its file and a database, record by record as they are kept, the chain verified on both sides.

Both sides are held as a writer holds them, so nothing is appended meanwhile. What was copied before an interruption is
recognised by its hash, and the copy goes on after it. The old store is left as it was; where the ledger is now is written
down only after the copy has been verified.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aegis.adapters.clock_system import SystemEntropy
from aegis.adapters.ledger_postgres import CopyTarget, PostgresLedgerReader
from aegis.adapters.ledger_sqlite import SqliteLedgerReader
from aegis.adapters.ledger_sqlite.writer import SqliteRows
from aegis.adapters.postgres_address import is_address, shown
from aegis.bootstrap.ledger import (
    ADDRESS_FILE,
    LEDGER_FILE,
    PAGE,
    Progress,
    address_of,
    keep_address,
    kept_blobs,
)
from aegis.core.errors import Conflict, ExternalError, UserError
from aegis.core.ports import Blobs, Head
from aegis.ledger.chain import StoredRow, Verification, Verifier

if TYPE_CHECKING:
    from aegis.bootstrap.ledger import Reader

FILE: Final = "file"
"""What `--to` calls the ledger's own file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What was copied: how many records now, and what verification of the target showed."""

    source: str
    target: str
    records: int
    verification: Verification


def copy(data: Path, to: str, *, progress: Progress = lambda _done, _all: None) -> Copied:
    """Move the ledger of a data directory to a database, or back into its file (`file`)."""
    if to != FILE and not is_address(to):
        raise UserError("ledger-address", f"{to} names no ledger", hint="postgres://USER@HOST/DATABASE, or file")
    blobs = kept_blobs(data)
    here = address_of(data)
    if (to == FILE) == (not here):
        raise UserError("ledger-there", f"the ledger of {data} is there already", hint="aegis ledger verify")
    return _to_file(data, here, blobs, progress) if to == FILE else _to_database(data, to, blobs, progress)


def _to_database(data: Path, to: str, blobs: Blobs | None, progress: Progress) -> Copied:
    with contextlib.ExitStack() as opened:
        # The lock keeps a server from writing meanwhile.
        opened.callback(SqliteRows(data / LEDGER_FILE).close)
        source = opened.enter_context(contextlib.closing(SqliteLedgerReader(data / LEDGER_FILE, blobs=blobs)))
        target = opened.enter_context(CopyTarget(to))
        records = _carry(source, target.head, target.take, progress)
        reader = opened.enter_context(contextlib.closing(PostgresLedgerReader(to, blobs=blobs)))
        found = _verified(source, reader)
        keep_address(data, to, SystemEntropy())
        return Copied(source=LEDGER_FILE, target=shown(to), records=records, verification=found)


def _to_file(data: Path, here: str, blobs: Blobs | None, progress: Progress) -> Copied:
    file = data / LEDGER_FILE
    with contextlib.ExitStack() as opened:
        opened.enter_context(CopyTarget(here))
        source = opened.enter_context(contextlib.closing(PostgresLedgerReader(here, blobs=blobs)))
        target = SqliteRows(file)
        opened.callback(target.close)

        def take(rows: Sequence[StoredRow]) -> None:
            target.begin()
            target.insert(rows)
            target.commit()

        records = _carry(source, target.head, take, progress)
        reader = opened.enter_context(contextlib.closing(SqliteLedgerReader(file, blobs=blobs)))
        found = _verified(source, reader)
        (data / ADDRESS_FILE).unlink()
        return Copied(source=shown(here), target=LEDGER_FILE, records=records, verification=found)


def _carry(source: Reader, there: Head, take: Callable[[Sequence[StoredRow]], None], progress: Progress) -> int:
    """Copy what the target does not have yet; how many records."""
    total = source.head().seq
    if there.seq:
        same = source.rows(there.seq - 1, 1)
        if not same or (same[0].seq, same[0].hash) != (there.seq, there.hash):
            raise Conflict(
                "ledger-other", "the target holds another ledger, or one that has gone on since",
                hint="name an empty database; for a file: move the old one away",
            )  # fmt: skip
    after, count = there.seq, 0
    while page := source.rows(after, PAGE):
        take(page)
        after, count = page[-1].seq, count + len(page)
        progress(after, total)
    return count


def _verified(source: Reader, target: Reader) -> Verification:
    """The target's whole chain, whose head has to be the source's."""
    verifier = Verifier(anchors=(source.head(),) if source.head().seq else (), content=target.content)
    after = 0
    while page := target.rows(after, PAGE):
        after = page[-1].seq
        if not verifier.feed(page):
            break
    found = verifier.finish()
    if not found.ok:
        told = found.fault.message if found.fault else "its end is not the source's"
        raise ExternalError("copy-unverified", f"the copy does not verify: {told}", hint="the old ledger is as it was")
    return found
