"""Puts together what `aegis ledger` needs: a data directory's ledger, its blobs, its checkpoints and their key.

Everything here only reads, beside a running server or without one. The names of the files are decided here, so that the
server and the command agree.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aegis.adapters.anchors_file import AnchorFile
from aegis.adapters.ledger_sqlite import SqliteLedger, SqliteLedgerReader
from aegis.adapters.postgres_address import is_address, shown
from aegis.adapters.queue_sqlite import SqliteQueue
from aegis.bootstrap.blobs import BLOBS_DIRECTORY, STORE_VARIABLE, blobs_of
from aegis.core import codec
from aegis.core.errors import ExternalError, NotFound, UserError
from aegis.core.ports import Blobs, Clock, Entropy, Head
from aegis.ledger.bundle import Proof, export, verify_export
from aegis.ledger.chain import EMPTY, StoredRow, Verification, Verifier
from aegis.ledger.checkpoints import SignedHead, anchors

LEDGER_FILE: Final = "ledger.sqlite"
CHECKPOINTS_FILE: Final = "ledger-checkpoints.jsonl"
KEY_FILE: Final = "ledger-checkpoints.pem"
"""The public key of the ledger's checkpoints, in PEM form."""
ADDRESS_FILE: Final = "ledger.json"
"""Where the ledger is when it is not in the file, and the name of the other stores beside it."""
PAGE: Final = 2000

Progress = Callable[[int, int], None]
"""Told how many records are done and how many there are (0: unknown)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What verification showed. `signed_by` is the fingerprint of the key that all checkpoints were checked with."""

    verification: Verification
    signed_by: str = ""
    whole: bool = True


if TYPE_CHECKING:
    from aegis.adapters.ledger_postgres import PostgresLedger, PostgresLedgerReader
    from aegis.adapters.queue_postgres import PostgresQueue

    Reader = SqliteLedgerReader | PostgresLedgerReader


def address_of(data: Path) -> str:
    """The database that keeps a data directory's ledger, without a password; empty where the ledger is a file."""
    return str(_kept(data).get("postgres", ""))


def _kept(data: Path) -> dict[str, str]:
    file = data / ADDRESS_FILE
    return codec.decode(file.read_bytes(), dict[str, str]) if file.is_file() else {}


def _replace(path: Path, content: bytes) -> None:
    """Put a file in place as a whole: half an address would keep every server out."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def keep_address(data: Path, address: str, entropy: Entropy) -> str:
    """Write down where the ledger is; the name of this data directory's other stores, which the ledger remembers."""
    kept = _kept(data)
    made = {"postgres": shown(address), "stores": kept.get("stores") or entropy.take(8).hex()}
    if made != kept:
        _replace(data / ADDRESS_FILE, codec.encode(made))
    return made["stores"]


def open_writer(
    data: Path, address: str, *, clock: Clock, entropy: Entropy, blobs: Blobs, waiting: Callable[[str], bool]
) -> SqliteLedger | PostgresLedger:
    """The ledger of a server, to be written: in the database that is named, else where it was, else in a file.

    In a database a second server waits as a standby until the first has ended (`waiting` is told who that is).
    """
    address = address or address_of(data)
    if not address:
        return SqliteLedger(data / LEDGER_FILE, clock=clock, entropy=entropy, blobs=blobs, recorded_by="server")
    if not is_address(address):
        raise UserError("ledger-address", f"{address} names no PostgreSQL", hint="postgres://USER@HOST/DATABASE")
    if (data / LEDGER_FILE).is_file() and not address_of(data):
        raise UserError(
            "ledger-elsewhere",
            f"{data} holds a ledger in a file already",
            hint=f"aegis ledger copy --data {data} --to {shown(address)}",
        )
    _needs_psycopg()
    from aegis.adapters.ledger_postgres import PostgresLedger  # noqa: PLC0415 - most ledgers are files

    return PostgresLedger(
        address, clock=clock, entropy=entropy, blobs=blobs, recorded_by="server",
        stores=keep_address(data, address, entropy), writer=f"process {os.getpid()} of {socket_name()}", waiting=waiting,
    )  # fmt: skip


def _needs_psycopg() -> None:
    if find_spec("psycopg") is None:
        raise UserError(
            "postgres-missing",
            "the library for PostgreSQL is not installed",
            hint="pip install 'aegis-delivery[postgres]'",
        )


def open_queue(ledger: SqliteLedger | PostgresLedger, data: Path) -> SqliteQueue | PostgresQueue:
    """The job queue's store, beside the ledger."""
    if isinstance(ledger, SqliteLedger):
        return SqliteQueue(data / "queue.sqlite")
    from aegis.adapters.queue_postgres import PostgresQueue  # noqa: PLC0415 - most ledgers are files

    return PostgresQueue(ledger.address)


def socket_name() -> str:
    """This machine's name."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "this machine")


def kept_blobs(data: Path) -> Blobs | None:
    """The blobs beside a ledger, if there are any: opening a store makes its folders, and a reader makes nothing."""
    there = STORE_VARIABLE in os.environ or (data / BLOBS_DIRECTORY).is_dir()
    return blobs_of(data, os.environ) if there else None


def open_ledger(data: Path) -> Reader:
    """The ledger of a data directory, to be read; `NotFound` where there is none."""
    blobs = kept_blobs(data)
    if address := address_of(data):
        _needs_psycopg()
        from aegis.adapters.ledger_postgres import PostgresLedgerReader  # noqa: PLC0415 - most ledgers are files

        return PostgresLedgerReader(address, blobs=blobs)
    return SqliteLedgerReader(data / LEDGER_FILE, blobs=blobs)


def rows_of(ledger: Reader, *, after: int = 0, until: int | None = None) -> Iterator[StoredRow]:
    """Stored rows page by page, up to record `until`: what is appended meanwhile is left for the next time."""
    while True:
        page = ledger.rows(after, PAGE)
        if not page:
            return
        for row in page:
            if until is not None and row.seq > until:
                return
            yield row
        after = page[-1].seq


def verify_directory(
    data: Path, *, checkpoints: Path | None, key: Path | None, progress: Progress = lambda _done, _all: None
) -> Verified:
    """Verify a data directory's ledger against its own checkpoints and those kept elsewhere (`checkpoints`).

    `key` is the public key they must be signed with; the data directory's own where none is named.
    """
    signed = [*AnchorFile(data / CHECKPOINTS_FILE).read(), *_kept_elsewhere(checkpoints)]
    own = data / KEY_FILE
    known, fingerprint = _heads(signed, key if key is not None or not own.is_file() else own)
    with contextlib.closing(open_ledger(data)) as ledger:
        total = ledger.head().seq
        verifier = Verifier(anchors=known, content=ledger.content)
        after = 0
        while page := ledger.rows(after, PAGE):
            going = verifier.feed(page)
            after = page[-1].seq
            progress(after, max(total, after))
            if not going:
                break
    return Verified(verification=verifier.finish(), signed_by=fingerprint)


def verify_file(
    path: Path, *, checkpoints: Path | None, key: Path | None, progress: Progress = lambda _done, _all: None
) -> Verified:
    """Verify an export offline."""
    known, fingerprint = _heads(_kept_elsewhere(checkpoints), key)
    public_key = _read(key).decode("ascii", "replace") if key is not None else None
    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(path.open("rb"))
        except OSError as error:
            raise _unreadable(path, error) from error
        proof: Proof = verify_export(_told(file, progress), public_key=public_key, known=known, file=str(path))
    if public_key is not None and not fingerprint:
        fingerprint = proof.checkpoints[0].key if proof.checkpoints else ""
    return Verified(
        verification=proof.verification, signed_by=fingerprint if proof.verification.ok else "", whole=proof.whole
    )


def export_directory(data: Path, *, after: int = 0, until: int | None = None) -> Iterator[bytes]:
    """The lines of an export of a data directory's ledger, with the checkpoints it has."""
    signed = AnchorFile(data / CHECKPOINTS_FILE).read()
    with contextlib.closing(open_ledger(data)) as ledger:
        start = EMPTY
        if after:
            before = ledger.rows(after - 1, 1)
            if not before or before[0].seq != after:
                raise NotFound(
                    "no-record", f"the ledger has no record {after}", hint="see: aegis ledger show --limit 1"
                )
            start = Head(seq=after, hash=before[0].hash)
        end = ledger.head().seq if until is None else until
        fitting = [one for one in signed if start.seq < one.seq <= end]
        yield from export(rows_of(ledger, after=after, until=end), ledger.content, after=start, checkpoints=fitting)


def write_export(data: Path, out: Path, *, after: int = 0, progress: Progress = lambda _done, _all: None) -> int:
    """Write an export to `out`, whole or not at all; how many bytes."""
    aside = out.with_name(f"{out.name}.part")
    size = 0
    try:
        with aside.open("wb") as file:
            for number, line in enumerate(export_directory(data, after=after)):
                file.write(line)
                size += len(line)
                progress(number, 0)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(out)
    except OSError as error:
        raise ExternalError(
            "export-unwritten", f"{out} cannot be written: {error}", hint="name another --out"
        ) from error
    finally:
        aside.unlink(missing_ok=True)
    return size


def _told(lines: Iterator[bytes], progress: Progress) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        if number % PAGE == 0:
            progress(number, 0)
        yield line


def _heads(signed: Sequence[SignedHead], key: Path | None) -> tuple[tuple[Head, ...], str]:
    """The heads vouched for and the key's fingerprint; unsigned comparison where no key is known."""
    if key is None or not signed:
        return tuple(one.head for one in signed), ""
    return anchors(signed, _read(key).decode("ascii", "replace")), signed[0].key


def _kept_elsewhere(path: Path | None) -> Sequence[SignedHead]:
    if path is None:
        return ()
    if not path.is_file():
        raise UserError(
            "no-checkpoints", f"there are no checkpoints at {path}", hint="name a file of signed checkpoints"
        )
    found = AnchorFile(path).read()
    if not found:
        raise UserError("no-checkpoints", f"{path} holds no checkpoint", hint="name a file of signed checkpoints")
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError("unreadable", f"{path} cannot be read: {error.strerror}", hint="name a file that is there")
