"""What every command that speaks to a server shares: its options, and how results are told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aegis.cli.output import document, say

if TYPE_CHECKING:
    from aegis.adapters.server_http import ServerClient

F = TypeVar("F", bound=Callable[..., Any])


def server_options(function: F) -> F:
    """Add `--url`, `--data` and `--json`."""
    as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
    data = click.option("--data", default="", metavar="DIR", help="Data directory of a local server.")
    url = click.option("--url", default="", metavar="URL", help="The server; else AEGIS_URL.")
    return url(data(as_json(function)))


def client(url: str, data: str) -> ServerClient:
    """A connection to the server that was meant."""
    from aegis.bootstrap.client import connect

    return connect(url, data=data)


def told(verb: str, result: dict[str, Any], *, as_json: bool) -> None:
    """Show a verb's result."""
    if as_json:
        document(f"aegis.{verb}/1", result)
    else:
        say(result["message"])


def confirmed(name: str, *, yes: bool, what: str) -> None:
    """Production needs its name typed, or `--yes`; without a terminal only the flag counts."""
    if yes or name != "production":
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{what} touches production; add --yes")
    typed = click.prompt(f"{what} touches production. Type its name to go on", default="", show_default=False)
    if typed != name:
        raise click.UsageError("that is not its name; nothing was done")
