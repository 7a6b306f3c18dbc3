"""`aegis ledger`: show, verify and export what happened, from a data directory, also while a server runs."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from aegis.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.bootstrap.ledger import Verified
    from aegis.core.events import Record
    from aegis.core.ports import Query

_DATA: Final = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data"),
    show_default=True,
    metavar="DIR",
    help="The server's data directory.",
)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="One JSON document.")
_AGO: Final = re.compile(r"(\d+)([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """ISO 8601 (without an offset: this machine's zone), or how long ago: `90s`, `15m`, `2h`, `7d`, `1w`."""
    if value is None:
        return None
    if found := _AGO.fullmatch(value):
        return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except ValueError:
        message = f"{value!r} is no time; write 2026-01-31, 2026-01-31T09:00+09:00 or 2h"
        raise click.BadParameter(message, ctx, param) from None


@click.group()
def ledger() -> None:
    """Show, verify and export the ledger.

    \b
    Examples:
      aegis ledger show --service orders --since 2h
      aegis ledger verify
    """


@ledger.command()
@_DATA
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only events of this type; may be repeated.")
@click.option("--subject", "subjects", multiple=True, metavar="SUBJECT", help="Only what happened to this; repeatable.")
@click.option("--project", default="", metavar="GROUP/NAME", help="Only of this project.")
@click.option("--service", default="", metavar="NAME", help="Only of this service.")
@click.option("--environment", default="", metavar="NAME", help="Only of this environment.")
@click.option("--since", callback=_moment, metavar="TIME", help="Not before: an ISO time, or how long ago (2h, 7d).")
@click.option("--until", callback=_moment, metavar="TIME", help="Not after.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="At most so many, newest."
)
@click.option("--json-lines", "as_lines", is_flag=True, help="One JSON document per record, as they were found.")
@_JSON
def show(data: Path, *, limit: int, as_lines: bool, as_json: bool, **filters: Any) -> None:
    """Show what happened: the newest records that match, oldest of them first.

    \b
    Examples:
      aegis ledger show --service orders --environment production --since 7d
      aegis ledger show --subject promotion/01j9 --json
    """
    from aegis.bootstrap.ledger import open_ledger
    from aegis.core import codec
    from aegis.core.ports import Query

    query = Query(newest_first=True, **filters)
    with contextlib.closing(open_ledger(data)) as opened:
        records = tuple(reversed(opened.read(limit=limit, query=query)))
        total = opened.head().seq
    if as_json:
        output.document("aegis.ledger.show/1", {"records": [codec.plain(one) for one in records], "head": total})
    elif as_lines:
        for one in records:
            output.document("aegis.ledger.record/1", one)
    else:
        _show(records, total, query, limit)


@ledger.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@_DATA
@click.option(
    "--checkpoints",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Signed checkpoints kept elsewhere; the chain must pass through each of them.",
)
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The public key (PEM) that checkpoints must be signed with.",
)
@_JSON
def verify(file: Path | None, data: Path, *, checkpoints: Path | None, key: Path | None, as_json: bool) -> None:
    """Verify that nothing recorded was changed, left out or put in; leave with 1 where something was.

    \b
    Examples:
      aegis ledger verify
      aegis ledger verify export.jsonl --key ledger-checkpoints.pem

    FILE is an export; without it the ledger of the data directory is verified, also while a server runs. A chain
    cannot show that its newest records were cut off: compare it with checkpoints that were kept elsewhere.
    """
    from aegis.bootstrap.ledger import verify_directory, verify_file

    progress = _Progress("verified", quiet=as_json)
    if file is not None:
        result = verify_file(file, checkpoints=checkpoints, key=key, progress=progress)
    else:
        result = verify_directory(data, checkpoints=checkpoints, key=key, progress=progress)
    found = result.verification
    if as_json:
        output.document(
            "aegis.ledger.verify/1",
            {
                "valid": found.ok,
                "records": found.records,
                "erased": found.erased,
                "first": found.first,
                "head": found.head,
                "checkpoints": found.anchors,
                "signed_by": result.signed_by or None,
                "fault": found.fault,
            },
        )
    else:
        _tell(result, progress.seconds)
    if not found.ok:
        sys.exit(1)


@ledger.command("export")
@_DATA
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write here instead of to the screen.",
)
@click.option("--after", type=click.IntRange(0), default=0, metavar="SEQ", help="Only records after this one.")
@_JSON
def export_(data: Path, *, out: Path | None, after: int, as_json: bool) -> None:
    """Write the ledger as JSON lines that can be verified anywhere, with the checkpoints it has.

    \b
    Examples:
      aegis ledger export --out ledger-2026.jsonl
      aegis ledger export --after 12000 > rest.jsonl
    """
    from aegis.bootstrap.ledger import export_directory, write_export
    from aegis.core.errors import UserError

    if out is None:
        if as_json:
            raise UserError(
                "usage",
                "--json says what was written: it needs --out FILE",
                hint="aegis ledger export --json --out FILE",
            )
        for line in export_directory(data, after=after):
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        return
    size = write_export(data, out, after=after, progress=_Progress("exported", quiet=as_json))
    if as_json:
        output.document("aegis.ledger.export/1", {"file": str(out), "bytes": size, "after": after})
    else:
        output.say(f"{out}: {size:,} bytes")
        output.say(f"  verify it anywhere: aegis ledger verify {out}")


@ledger.command()
@_DATA
@click.option("--to", required=True, metavar="postgres://…|file", help="The database, or `file` for the way back.")
@_JSON
def copy(data: Path, *, to: str, as_json: bool) -> None:
    """Move the ledger to PostgreSQL or back into its file, the chain verified; the server has to be stopped.

    \b
    Examples:
      aegis ledger copy --to postgres://aegis@db.example.com/aegis
      aegis ledger copy --to file

    An interrupted copy goes on where it was. The old store is left as it was; `aegis up` takes the new one from then on.
    """
    from aegis.bootstrap.ledger_copy import copy as carry

    progress = _Progress("copied", quiet=as_json)
    done = carry(data, to, progress=progress)
    seconds = progress.seconds
    if as_json:
        found = done.verification
        values = {"source": done.source, "target": done.target, "copied": done.records, "records": found.records}
        output.document("aegis.ledger.copy/1", {**values, "head": found.head, "valid": found.ok})
        return
    output.say(
        f"{output.state('pass')}  {done.records:,} records from {done.source} to {done.target} in {seconds:.1f} s"
    )
    output.say(f"    {done.verification.records:,} records hold together there; head {done.verification.head.seq}")


# -- for people -------------------------------------------------------------------------------------------


class _Progress:
    """A count on standard error: after 2 s, then in place on a terminal and every 10 s elsewhere."""

    def __init__(self, verb: str, *, quiet: bool) -> None:
        self._verb = verb
        self._quiet = quiet
        self._begun = time.monotonic()
        self._live = sys.stderr.isatty()
        self._next = self._begun + (2.0 if self._live else 10.0)
        self._drawn = False

    @property
    def seconds(self) -> float:
        """Since the beginning. Ends a line that is being redrawn."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            self._drawn = False
        return time.monotonic() - self._begun

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._quiet or now < self._next:
            return
        text = f"{self._verb} {done:,}{f' of {total:,}' if total else ''} records"
        if total and done:
            text += f", about {(now - self._begun) / done * (total - done):.0f} s to go"
        if self._live:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
        else:
            output.note(text)
        self._drawn = self._live
        self._next = now + (0.2 if self._live else 10.0)


def _show(records: Sequence[Record], total: int, query: Query, limit: int) -> None:
    if not records:
        if total == 0:
            output.say("nothing has happened yet: push a commit, and it is recorded here")
        else:
            output.say(f"none of the {total:,} records match; leave out a filter or look further back with --since")
        return
    for one in records:
        when = one.recorded_at.astimezone().isoformat(sep=" ", timespec="seconds")
        place = "/".join(part for part in (one.service, one.environment) if part) or one.project
        output.say(f"{one.seq:>7}  {when}  {_short(one.type):<28} {one.subject}{f'  ({place})' if place else ''}")
        output.say(f"         by {one.actor}: {_summary(one.data)}")
    if len(records) == limit:
        output.say(f"the newest {limit} of those that match; more with --limit")
    if not (query.types or query.subjects):
        output.say(f"{total:,} records in all; one thing's story: aegis ledger show --subject {records[-1].subject}")


def _tell(result: Verified, seconds: float) -> None:
    found = result.verification
    if found.fault is not None:
        output.say(f"{output.state('failed')}  {found.fault.message} [{found.fault.code}]")
        output.say(f"    {found.records:,} records before it hold; restore the ledger from a backup made before that")
        return
    erased = f", the data of {found.erased:,} erased as recorded" if found.erased else ""
    rate = f" in {seconds:.1f} s" if seconds >= 1 else ""
    output.say(f"{output.state('pass')}  {found.records:,} records hold together{erased}{rate}; head {found.head.seq}")
    output.say(f"    {found.head.hash}")
    if not result.whole:
        output.say(f"    this export begins at record {found.first}: what came before is not proven by it")
    if found.anchors and result.signed_by:
        output.say(f"    {found.anchors} signed checkpoints agree, key {result.signed_by}")
    elif found.anchors:
        output.say(f"    {found.anchors} checkpoints agree, their signatures were not checked: name their --key")
    else:
        output.say("    no checkpoint to compare with: a cut tail would not show (--checkpoints FILE)")


def _short(name: str) -> str:
    return name.removeprefix("aegis.").removeprefix("dev.cdevents.")


def _summary(data: object, width: int = 100) -> str:
    """The event's own plain fields in one line."""
    from aegis.core import codec

    if data is None:
        return "(erased)"
    parts: list[str] = []
    plain: Any = codec.plain(data)
    if len(plain) == 1 and isinstance(next(iter(plain.values())), dict):
        plain = next(iter(plain.values()))
    for name, value in plain.items():
        if isinstance(value, str | int | float) and value != "":
            parts.append(f"{name} {str(value).splitlines()[0][:60]}")
    text = ", ".join(parts) or "–"
    return text if len(text) <= width else text[: width - 1] + "…"
