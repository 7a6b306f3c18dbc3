"""`aegis release list|show`: what was released, from what, and where it runs."""

from __future__ import annotations

from typing import Any

import click

from aegis.cli.output import document, say, state
from aegis.cli.remote import client, server_options


@click.group()
def release() -> None:
    """Show releases.

    \b
    Examples:
      aegis release list orders
      aegis release show orders@1.4.0
    """


@release.command("list")
@click.argument("service", required=False, default="")
@server_options
def list_releases(service: str, url: str, data: str, *, as_json: bool) -> None:
    """List releases, newest first.

    \b
    Examples:
      aegis release list
      aegis release list orders --json
    """
    with client(url, data) as server:
        found: list[dict[str, Any]] = server.get("releases", service=service)
    if as_json:
        document("aegis.releases/1", found)
        return
    for one in found:
        say(f"{one['id']:<28} {one['commit'][:8]}  {one['ref'].removeprefix('refs/heads/')}  {one['at']}")
    if not found:
        say("nothing was released yet: push a feat: or fix: commit to a branch that an environment follows")


@release.command()
@click.argument("name")
@server_options
def show(name: str, url: str, data: str, *, as_json: bool) -> None:
    """Tell everything about a release: where from, what is in it, what was proven, where it runs.

    \b
    Examples:
      aegis release show orders@1.4.0
      aegis release show orders@1.4.0 --json
    """
    with client(url, data) as server:
        view: dict[str, Any] = server.get(f"releases/{name}")
    if as_json:
        document("aegis.release/1", view)
        return
    found = view["release"]
    say(f"{found['id']}  commit {found['commit']}  run {found['run']}")
    say(f"signed by key {view['signature'][:24]}" if view["signature"] else "not signed")
    if view["quarantined"]:
        say(f"⊘ quarantined: {view['quarantined']}")
    for artifact in found["artifacts"]:
        say(f"  {artifact['kind']} {artifact['name']} {artifact['digest'][:19]} {artifact['size']} bytes")
    if view["verdict"]:
        for reason in view["verdict"]["reasons"]:
            say(f"  {state(reason['outcome'])} {reason['gate']}: {reason['message']}")
    for cell in view["running_in"]:
        say(f"  runs in {cell['environment']} since {cell['since']}")
    for line in view["history"]:
        say(f"  {line['at']}  {line['actor']}: {line['text']}")
    if found["changelog"]:
        say("\n" + found["changelog"])
