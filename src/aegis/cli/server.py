"""`aegis up|login|doctor`: the server, a token for it, and what would keep it from working here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from aegis.cli.output import document, note, say, state
from aegis.cli.remote import client, server_options


@click.command()
@click.option("--config", default="aegis.yaml", show_default=True, metavar="FILE", help="The declaration.")
@click.option("--data", default="data", show_default=True, metavar="DIR", help="Where everything is kept (0700).")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, help="The port; 0 takes a free one.")
@click.option("--ledger", default="", metavar="postgres://…", help="Keep the ledger in PostgreSQL; else as declared.")
def up(config: str, data: str, host: str, port: int, ledger: str) -> None:
    """Serve everything on one port: Git, pipelines, registries, deployment, portal.

    \b
    Examples:
      aegis up
      aegis up --config platform/aegis.yaml --data /var/lib/aegis --port 8443
      aegis up --ledger postgres://aegis@db.example.com/aegis
    """
    from dataclasses import replace

    from aegis.bootstrap.declarations import of_file
    from aegis.daemon.serve import Server

    adopted = of_file(Path(config))
    if ledger:
        adopted = replace(adopted, ledger=ledger)
    Server(adopted, Path(data), host, port, os.environ).run()
    note("stopped")


@click.command()
@click.argument("server", required=False, default="")
@click.option("--link", is_flag=True, help="Print a one-time link that logs a browser in.")
@click.option("--identity", default="", help="For whom the link is; else for yourself.")
@click.option("--gitlab", is_flag=True, help="SERVER is a GitLab instance, whose files pipelines include.")
@server_options
def login(server: str, identity: str, url: str, data: str, *, link: bool, gitlab: bool, as_json: bool) -> None:
    """Keep a token for a server or a GitLab instance, or make a one-time login link for a browser.

    \b
    Examples:
      aegis login https://aegis.example.com
      aegis login --gitlab https://gitlab.example.com
      aegis login --link --identity sora
    """
    if link:
        with client(server or url, data) as connection:
            result = connection.execute("login-link", {"identity": identity})
        if as_json:
            document("aegis.login/1", result["values"])
        else:
            say(result["values"]["link"])
        return
    from aegis.bootstrap.client import keep, person_of

    address = server or (os.environ.get("AEGIS_GITLAB_URL", "") if gitlab else url or os.environ.get("AEGIS_URL", ""))
    if not address:
        raise click.UsageError("name the server: aegis login URL")
    token = os.environ.get("AEGIS_TOKEN", "")
    if not token:
        if not sys.stdin.isatty():
            raise click.UsageError("without a terminal the token is read from AEGIS_TOKEN")
        token = click.prompt("Token", hide_input=True)
    who, name = person_of(address, token, gitlab=gitlab)
    path = keep(address, token)
    if as_json:
        document("aegis.login/1", {"identity": who, "kept_in": str(path)})
    else:
        say(f"logged in as {name} ({who}); kept in {path}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def doctor(*, as_json: bool) -> None:
    """Look for what would keep Aegis from working here, with the mend.

    \b
    Examples:
      aegis doctor
      aegis doctor --json
    """
    from aegis.bootstrap.doctor import examine

    findings = examine(os.environ)
    if as_json:
        document("aegis.doctor/1", {"healthy": all(one["ok"] for one in findings), "findings": findings})
    else:
        for one in findings:
            say(f"{state('pass' if one['ok'] else 'failed')} {one['name']}: {one['detail']}")
            if one["mend"]:
                say(f"    mend: {one['mend']}")
    if not all(one["ok"] for one in findings):
        sys.exit(1)
