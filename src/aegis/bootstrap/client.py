"""Finds the server a command speaks to: `AEGIS_URL` with `AEGIS_TOKEN`, a login, or the `server.json` of `aegis up`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from aegis.adapters.server_http import ServerClient
from aegis.core.errors import Denied, ExternalError

SERVER_FILE = "server.json"


def credentials_file() -> Path:
    """Where `aegis login` keeps tokens, readable by its owner alone."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "aegis" / "credentials.json"


def stored() -> dict[str, str]:
    """URL to token, as kept by `aegis login`."""
    try:
        return {str(key): str(value) for key, value in json.loads(credentials_file().read_text()).items()}
    except (OSError, ValueError):
        return {}


def keep(url: str, token: str) -> Path:
    """Keep a token for a server."""
    path = credentials_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    body = {**stored(), url.rstrip("/"): token}
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(body, file)
    return path


def person_of(address: str, token: str, *, gitlab: bool = False) -> tuple[str, str]:
    """Whom a token speaks for at a server, or at a GitLab instance: the id and the name; `Denied` where it is not valid."""
    if gitlab:
        from aegis.bootstrap.instance import user_of  # noqa: PLC0415 - most logins are to a server

        return user_of(address, token)
    with ServerClient(address, token) as connection:
        who = connection.get("whoami")
    return str(who["id"]), str(who["name"])


def local_server(data: str = "") -> dict[str, Any]:
    """What `aegis up` wrote into its data directory, or nothing."""
    directory = Path(data or os.environ.get("AEGIS_DATA") or "data")
    try:
        found = json.loads((directory / SERVER_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def connect(url: str = "", token: str = "", data: str = "") -> ServerClient:
    """The client; exit 6 where there is no server, exit 3 where there is no token for it."""
    local = local_server(data)
    chosen = (url or os.environ.get("AEGIS_URL") or local.get("url") or "").rstrip("/")
    if not chosen:
        raise ExternalError(
            "no-server", "no server is known here", hint="start one with `aegis up`, or set AEGIS_URL and AEGIS_TOKEN"
        )
    found = token or os.environ.get("AEGIS_TOKEN") or stored().get(chosen)
    if not found and local.get("url") == chosen:
        found = local.get("token")
    if not found:
        raise Denied("no-token", f"there is no token for {chosen}", hint=f"aegis login {chosen}")
    return ServerClient(chosen, found)
