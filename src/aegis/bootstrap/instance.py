"""The instance that a work tree's pipeline includes from: where it is, who asks, and which hosts may be reached.

The instance is `AEGIS_GITLAB_URL`, else that of the job or of the Git remote. The token is `AEGIS_GITLAB_TOKEN`, the job's own, or
the one that `aegis login` keeps for that address; it never comes from the pipeline file. Besides the instance only the hosts
of `AEGIS_INCLUDE_HOSTS` are reached (names with wildcards, or `host:port` for one with a private address).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aegis.core.errors import ExternalError, UserError
from aegis.pipeline.ports import Files

if TYPE_CHECKING:
    from aegis.adapters.elsewhere_gitlab import GitLabElsewhere
    from aegis.adapters.files_worktree import WorkTree

_PORTS: Final = {"http": 80, "https": 443}


class Instance:
    """`Elsewhere` for a command: nothing is loaded or asked before an include needs it."""

    def __init__(self, tree: WorkTree | None) -> None:
        self._tree = tree
        self._address: str | None = None
        self._made: GitLabElsewhere | None = None

    @property
    def host(self) -> str:
        """See `Elsewhere`."""
        return urlsplit(self._where()).netloc

    def commit(self, project: str, ref: str) -> str:
        """See `Elsewhere`."""
        return self._asked().commit(project, ref)

    def files(self, project: str, commit: str) -> Files:
        """See `Elsewhere`."""
        return self._asked().files(project, commit)

    def releases(self, project: str) -> tuple[str, ...]:
        """See `Elsewhere`."""
        return self._asked().releases(project)

    def fetch(self, address: str, keep: int) -> bytes:
        """See `Elsewhere`."""
        return self._reached().fetch(address, keep)

    def template(self, name: str) -> bytes | None:
        """See `Elsewhere`."""
        return self._asked().template(name)

    def other(self, host: str) -> GitLabElsewhere | None:
        """See `Elsewhere`: what is asked has one address."""
        return self._asked().other(host)

    def _where(self) -> str:
        if self._address is None:
            self._address = os.environ.get("AEGIS_GITLAB_URL") or os.environ.get("CI_SERVER_URL") or self._remote()
        return self._address

    def _remote(self) -> str:
        """The address of the instance behind the Git remote; empty where there is none."""
        from aegis.adapters import files_worktree  # noqa: PLC0415 - only an include needs it

        tree = self._tree
        remote = files_worktree.remote(tree) if tree is not None else ""
        parts = urlsplit(remote)
        if parts.scheme in _PORTS and parts.hostname:
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        host = remote.partition(":")[0].rpartition("@")[2] if "@" in remote and "://" not in remote else parts.hostname
        return f"https://{host}" if host else ""

    def _asked(self) -> GitLabElsewhere:
        if not self._where():
            raise ExternalError(
                "include-not-available",
                "files of other projects need an instance, and none is known here",
                hint="set AEGIS_GITLAB_URL, or add a Git remote",
            )
        return self._reached()

    def _reached(self) -> GitLabElsewhere:
        if self._made is None:
            self._made = self._connected()
        return self._made

    def _connected(self) -> GitLabElsewhere:
        from aegis.bootstrap.client import stored  # noqa: PLC0415 - only an include needs it

        address = self._where()
        hosts = [one.strip() for one in os.environ.get("AEGIS_INCLUDE_HOSTS", "").split(",") if one.strip()]
        private = {one for one in hosts if ":" in one}
        parts = urlsplit(address)
        if parts.hostname:
            hosts.append(parts.hostname)
            if os.environ.get("AEGIS_GITLAB_URL"):
                private.add(f"{parts.hostname}:{parts.port or _PORTS.get(parts.scheme, 443)}")
        token, header = os.environ.get("AEGIS_GITLAB_TOKEN", ""), "PRIVATE-TOKEN"
        if not token and os.environ.get("CI_SERVER_URL") == address:
            token, header = os.environ.get("CI_JOB_TOKEN", ""), "JOB-TOKEN"
        if not token:
            token, header = stored().get(address.rstrip("/"), ""), "PRIVATE-TOKEN"
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aegis" / "includes"
        return _instance(address, hosts, private, token=token, header=header, kept=cache)


def user_of(address: str, token: str) -> tuple[str, str]:
    """The user name and the name of whom a token speaks for at a GitLab instance that the caller named."""
    parts = urlsplit(address)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise UserError("address", f"{address} is no address", hint="aegis login --gitlab https://gitlab.example.com")
    place = f"{parts.hostname}:{parts.port or _PORTS[parts.scheme]}"
    return _instance(address, [parts.hostname], {place}, token=token).user()


def _instance(
    address: str,
    hosts: Sequence[str],
    private: AbstractSet[str],
    *,
    token: str,
    header: str = "PRIVATE-TOKEN",
    kept: Path | None = None,
) -> GitLabElsewhere:
    """The instance through an egress that reaches these hosts alone, and those of `private` (with a port) also at home."""
    try:
        from aegis.adapters.egress_http import EgressRules, HttpEgress  # noqa: PLC0415 - only an include needs it
        from aegis.adapters.elsewhere_gitlab import GitLabElsewhere  # noqa: PLC0415 - as above
    except ImportError as error:
        raise ExternalError(
            "include-not-available",
            "files from elsewhere are fetched by a part of Aegis that is not installed here",
            hint="pip install 'aegis-delivery[up]'",
        ) from error

    rules = EgressRules(
        allowed=tuple(one for one in hosts if ":" not in one),
        private=frozenset(private),
        proxy=os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"),
        ca_file=os.environ.get("SSL_CERT_FILE"),
    )
    return GitLabElsewhere(HttpEgress(rules), address, token=token, header=header, kept=kept)
