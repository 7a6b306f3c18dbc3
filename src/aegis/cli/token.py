"""`aegis token issue|revoke`: credentials for people and machines."""

from __future__ import annotations

import click

from aegis.cli.output import document, say
from aegis.cli.remote import client, server_options, told


@click.group()
def token() -> None:
    """Issue and revoke tokens. Only a token's hash is kept: it is shown once.

    \b
    Examples:
      aegis token issue mina --days 30
      aegis token revoke token-0123456789abcdef --reason "laptop lost"
    """


@token.command()
@click.argument("identity", required=False, default="")
@click.option("--days", default=30.0, show_default=True, help="How long it counts.")
@click.option(
    "--kind", type=click.Choice(("user", "deploy")), default="user", show_default=True, help="What it is for."
)
@click.option("--purpose", default="", help="A word for the ledger.")
@click.option("--dry-run", is_flag=True, help="Only say whether you may.")
@server_options
def issue(
    identity: str, days: float, kind: str, purpose: str, url: str, data: str, *, dry_run: bool, as_json: bool
) -> None:
    """Make a token for an identity: an administrator for others, everybody for themselves.

    \b
    Examples:
      aegis token issue mina
      aegis token issue mina --days 1 --json
    """
    fields = {"identity": identity, "expires_seconds": days * 86400, "kind": kind, "purpose": purpose}
    with client(url, data) as server:
        result = server.execute("issue-token", fields, dry_run=dry_run)
    if as_json:
        document("aegis.token/1", result)
        return
    say(result["message"])
    if not dry_run:
        say(result["values"]["token"])
        say(f"it is shown this once; `aegis token revoke {result['values']['id']}` makes it worthless")


@token.command()
@click.argument("token_id", metavar="TOKEN")
@click.option("--reason", default="", help="Why.")
@click.option("--dry-run", is_flag=True, help="Only say whether you may.")
@server_options
def revoke(token_id: str, reason: str, url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    """Make a token worthless at once, by its id.

    \b
    Examples:
      aegis token revoke token-0123456789abcdef
      aegis token revoke token-0123456789abcdef --reason "laptop lost"
    """
    with client(url, data) as server:
        result = server.execute("revoke-token", {"token": token_id, "reason": reason}, dry_run=dry_run)
    told("token", result, as_json=as_json)
