"""Puts together what `aegis ledger` needs: a data directory's ledger, its blobs, its checkpoints and their key.

Everything here only reads, beside a running server or without one. The names of the files are decided here, so that the
server and the command agree.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aegis.adapters.anchors_file import AnchorFile
from aegis.adapters.ledger_sqlite import SqliteLedgerReader
from aegis.bootstrap.blobs import BLOBS_DIRECTORY, STORE_VARIABLE, blobs_of
from aegis.core.errors import ExternalError, NotFound, UserError
from aegis.core.ports import Head
from aegis.ledger.bundle import Proof, export, verify_export
from aegis.ledger.chain import EMPTY, StoredRow, Verification, Verifier
from aegis.ledger.checkpoints import SignedHead, anchors

LEDGER_FILE: Final = "ledger.sqlite"
CHECKPOINTS_FILE: Final = "ledger-checkpoints.jsonl"
KEY_FILE: Final = "ledger-checkpoints.pem"
"""The public key of the ledger's checkpoints, in PEM form."""
PAGE: Final = 2000

Progress = Callable[[int, int], None]
"""Told how many records are done and how many there are (0: unknown)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What verification showed. `signed_by` is the fingerprint of the key that all checkpoints were checked with."""

    verification: Verification
    signed_by: str = ""
    whole: bool = True


def open_ledger(data: Path) -> SqliteLedgerReader:
    """The ledger of a data directory, to be read; `NotFound` where there is none."""
    # Opening a blob store makes its folders; a reader makes nothing.
    there = STORE_VARIABLE in os.environ or (data / BLOBS_DIRECTORY).is_dir()
    return SqliteLedgerReader(data / LEDGER_FILE, blobs=blobs_of(data, os.environ) if there else None)


def rows_of(ledger: SqliteLedgerReader, *, after: int = 0, until: int | None = None) -> Iterator[StoredRow]:
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
