"""`aegis status`: what runs where, since when and why."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from aegis.cli.output import document, say, state
from aegis.cli.remote import client, server_options
from aegis.core.errors import NotFound
from aegis.core.ids import is_ulid


@click.command()
@click.argument("service", required=False, default="", metavar="[SERVICE|RUN]")
@click.option("--at", default="", metavar="TIME", help="As it was then: 2026-11-23T14:05:00+09:00.")
@click.option("--why", is_flag=True, help="Trace each running process back to its commit.")
@server_options
def status(service: str, at: str, url: str, data: str, *, why: bool, as_json: bool) -> None:
    """Show what runs where, since when and why, and what waits; of a run its jobs and where its time went.

    \b
    Examples:
      aegis status
      aegis status 01k9x…
      aegis status orders --why
      aegis status --at 2026-11-23T14:05:00+09:00
    """
    if is_ulid(service):
        _run(service, url, data, as_json=as_json)
        return
    with client(url, data) as server:
        view: dict[str, Any] = server.get("at", time=at) if at else server.get("home")
        view["cells"] = [cell for cell in view["cells"] if service in ("", cell["service"])]
        if service and not view["cells"]:
            raise NotFound("no-such-service", f"no service {service!r} is declared", hint="aegis status lists them")
        traces = _traces(server, view["cells"], now=not at) if why else {}
    if as_json:
        document("aegis.status/1", {**view, "why": traces} if why else view)
        return
    _show(view, traces)


def _run(run: str, url: str, data: str, *, as_json: bool) -> None:
    """One run: its jobs, and where its time went."""
    from aegis.cli.trace import lines_of

    with client(url, data) as server:
        view: dict[str, Any] = server.get(f"runs/{run}")
        course = lines_of(server.get(f"runs/{run}/otlp"))
    if as_json:
        document("aegis.status/1", view)
        return
    one = view["summary"]
    say(f"{state(one['state'])}  {one['id']}  {one['project']}  {one['title']}")
    for shown in view["jobs"]:
        job = shown["job"]
        say(f"  {state(job['state'])} {job['name']}  {job['message']}".rstrip())
    for line in course:
        say(line)


def _traces(server: Any, cells: list[dict[str, Any]], *, now: bool) -> dict[str, list[str]]:
    found = {}
    for cell in cells:
        if cell["release"] is None:
            continue
        release = server.get(f"releases/{cell['release']}")["release"]
        processes = [
            process for one in cell["workloads"] for process in one["processes"] if one["release"] == cell["release"]
        ]
        approvals = server.get(f"promotions/{cell['promotion']}")["promotion"]["approvals"] if cell["promotion"] else []
        found[f"{cell['service']}/{cell['environment']}"] = [
            f"process {', '.join(processes) or ('(not on this cluster)' if now else '(known of the present only)')}",
            f"release {release['id']}, image {cell['digest'][:19]}",
            f"approved by {', '.join(one['by'] for one in approvals) or 'nobody (a return to an earlier release)'}",
            f"run {release['run']}, verdict {release['verdict']}",
            f"commit {release['commit']} of {release['project']}",
        ]
    return found


def _show(view: dict[str, Any], traces: dict[str, list[str]]) -> None:
    if not view["cells"]:
        say("no service is declared: add one under `services:`")
    for cell in view["cells"]:
        place = f"{cell['service']:<16} {cell['environment']:<12}"
        if cell["release"] is None:
            say(f"{place} – nothing yet")
            continue
        since = (
            datetime.fromisoformat(cell["since"]).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
            if cell["since"]
            else "?"
        )
        say(f"{place} {state(cell['state'] or 'unknown')}  {cell['version']}  since {since}  {cell['why']}")
        for text in traces.get(f"{cell['service']}/{cell['environment']}", []):
            say(f"{'':<30} ← {text}")
    for warning in view.get("warnings", []):
        say(f"! {warning}")
    for waiting in view.get("waiting", []):
        promotion = waiting["promotion"]
        say(
            f"‖ waits for an approval: {promotion['release']} → {promotion['environment']}  aegis approve {promotion['id']}"
        )
    for run in view.get("runs", [])[:6]:
        say(f"{state(run['state'])}  {run['id']}  {run['project']}  {run['title']}")
    for entry in view.get("inbox", [])[:6]:
        say(f"! {entry['kind']}: {entry['hint'] or entry['link']}")
