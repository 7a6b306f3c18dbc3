"""`aegis trace`: the course of a run as a waterfall, and as a trace in OTLP's form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from aegis.cli.output import document, say
from aegis.cli.remote import client, server_options

if TYPE_CHECKING:
    from aegis.observe.waterfall import Waterfall


@click.command()
@click.argument("run", required=False, default="")
@click.option("--otlp", "file", default="", metavar="FILE", help="Write the trace there, in OTLP's JSON form.")
@server_options
def trace(run: str, file: str, url: str, data: str, *, as_json: bool) -> None:
    """Show where a run's time went: queue, parts of its jobs, critical path; without an argument: the last local run.

    \b
    Examples:
      aegis trace
      aegis trace 01k9x…
      aegis trace 01k9x… --otlp trace.json
    """
    from pathlib import Path

    from aegis.bootstrap.local_traces import is_local, read
    from aegis.core import codec
    from aegis.observe import waterfall

    if not run or is_local(run):
        found = read(run)
    else:
        with client(url, data) as server:
            found = server.get(f"runs/{run}/otlp")
    if file:
        Path(file).write_bytes(codec.written(found))
    drawn = waterfall.read(found)
    if as_json:
        document("aegis.trace/1", {"runs": [_plain(one) for one in drawn], "otlp": file or None})
        return
    for one in drawn:
        _show(one)
    if file:
        say(f"written to {file}; a collector takes it at /v1/traces")


def _plain(found: Waterfall) -> dict[str, Any]:
    from aegis.core import codec

    return {
        **codec.plain(found),
        "critical_path": [row.job for row in found.path],
        "savings": [{"cause": name or "queue", "seconds": seconds} for name, seconds in found.savings],
    }


def _show(found: Waterfall) -> None:
    from aegis.observe import waterfall

    say(f"{found.pipeline} {found.run}  {found.result or 'not ended'}  {found.seconds:.1f} s  trace {found.trace_id}")
    width = max((len(row.job) for row in found.rows), default=0)
    for row in found.rows:
        again = f" ({row.attempt})" if row.attempt > 1 else ""
        waited = f"  waited {row.queue_seconds:.1f} s" if row.queue_seconds >= 0.1 else ""
        say(
            f"{'*' if row.critical else ' '} {(row.job + again):<{width + 4}} {waterfall.bar(row, found.seconds)} "
            f"{row.run_seconds:7.1f} s  {row.result}{waited}"
        )
        if row.critical and row.run_seconds >= 1.0:
            parts = [f"{part.name} {part.seconds:.1f} s" for part in row.parts if part.seconds >= 0.05]
            if parts:
                say(f"  {'':<{width + 4}} {' · '.join(parts)}")
    for line in waterfall.summary(found):
        say(line)
    say("* critical path   · waiting for a runner   █ ▒ running")


def lines_of(found: dict[str, Any]) -> tuple[str, ...]:
    """The course of a trace in sentences."""
    from aegis.observe import waterfall

    return tuple(line for one in waterfall.read(found) for line in waterfall.summary(one))
