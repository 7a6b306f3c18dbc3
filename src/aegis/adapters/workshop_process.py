"""The demo's machine: a server as a child process, Git work trees as people have them, traffic on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import httpx

from aegis.adapters.load_http import Call, HttpLoad
from aegis.adapters.server_http import ServerClient
from aegis.core.errors import ExternalError

READY_SECONDS = 60.0


class Person(Protocol):
    """Somebody who commits and pushes with a token."""

    @property
    def id(self) -> str: ...  # noqa: D102 - as named
    @property
    def name(self) -> str: ...  # noqa: D102 - as named
    @property
    def email(self) -> str: ...  # noqa: D102 - as named
    @property
    def token(self) -> str: ...  # noqa: D102 - as named


class GitTree:
    """See `Tree`."""

    def __init__(self, path: Path, remote: str, index: str, environment: Mapping[str, str]) -> None:
        self.path = path
        self._remote = remote
        self._index = index
        self._environment = dict(environment)

    def read(self, path: str) -> str:
        """See `Tree`."""
        return (self.path / path).read_text(encoding="utf-8")

    def write(self, path: str, text: str) -> None:
        """See `Tree`."""
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def begin(self, message: str, author: Person) -> None:
        """Make it a repository with one commit."""
        self._git("init", "-q", "-b", "main")
        self.commit(message, author)

    def branch(self, name: str, start: str) -> None:
        """See `Tree`. The work tree's own copy of the remote is brought up to date first."""
        self._git("fetch", "-q", self._remote, "+refs/heads/*:refs/remotes/origin/*", token=self._token)
        self._git("checkout", "-q", "-f", "-B", name, f"origin/{start}")
        self._git("clean", "-q", "-fd")

    def commit(self, message: str, author: Person) -> str:
        """See `Tree`."""
        who = {
            "GIT_AUTHOR_NAME": author.name, "GIT_AUTHOR_EMAIL": author.email,
            "GIT_COMMITTER_NAME": author.name, "GIT_COMMITTER_EMAIL": author.email,
        }  # fmt: skip
        self._git("add", "-A")
        self._git("commit", "-q", "-m", message, extra=who)
        return self._git("rev-parse", "HEAD").strip()

    def push(self, target: str, person: Person, options: Sequence[str] = ()) -> tuple[bool, str]:
        """See `Tree`."""
        flags = [part for option in options for part in ("-o", option)]
        done = self._run(
            ["git", "push", "-q", *flags, self._remote, f"HEAD:refs/heads/{target}"], extra=_header(person.token)
        )
        return done.returncode == 0, (done.stdout + done.stderr).strip()

    def lock(self, person: Person) -> None:
        """See `Tree`."""
        scheme, _, rest = self._index.partition("://")
        index = {"AEGIS_INDEX_URL": f"{scheme}://{person.id}:{person.token}@{rest}"}
        done = self._run([sys.executable, "-m", "aegis", "project", "lock"], extra=index)
        if done.returncode:
            raise ExternalError(
                "demo-lock", f"the dependencies of {self.path.name} could not be locked: {done.stderr[-800:]}"
            )

    _token = ""

    def known_as(self, person: Person) -> GitTree:
        """The same tree, fetching with a person's token."""
        self._token = person.token
        return self

    def _git(self, *arguments: str, token: str = "", extra: Mapping[str, str] | None = None) -> str:
        done = self._run(["git", *arguments], extra={**(extra or {}), **(_header(token) if token else {})})
        if done.returncode:
            raise ExternalError(
                "demo-git", f"git {arguments[0]} failed in {self.path.name}: {done.stderr.strip()[-500:]}"
            )
        return done.stdout

    def _run(self, argv: list[str], extra: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**self._environment, **(extra or {})}
        return subprocess.run(
            argv, cwd=self.path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )


def _header(token: str) -> dict[str, str]:
    """Git's configuration by environment: a token must not stand in a command line that others can list."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Bearer {token}",
    }


class ProcessWorkshop:
    """See `Workshop`. `directory` is the demo's own and is emptied first; `example` holds the projects."""

    def __init__(self, directory: Path, example: Path, environment: Mapping[str, str], *, port: int = 0) -> None:
        self._directory = directory
        self._example = example
        self._environment = {
            **environment, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull,
        }  # fmt: skip
        self._port = port
        self._server: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None
        self._loads: list[HttpLoad] = []
        self._clients: list[ServerClient] = []
        self.url = ""

    @property
    def data(self) -> Path:
        """The server's data directory."""
        return self._directory / "data"

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._server.pid if self._server else 0

    def start(self) -> tuple[ServerClient, float]:
        """See `Workshop`."""
        if self._directory.exists():
            shutil.rmtree(self._directory)
        self._directory.mkdir(mode=0o700, parents=True)
        begun = time.monotonic()
        self._log = (self._directory / "server.log").open("w", encoding="utf-8")
        config = self._example / "platform" / "aegis.yaml"
        self._server = subprocess.Popen(
            [
                sys.executable, "-m", "aegis", "up", "--config", str(config), "--data", str(self.data),
                "--port", str(self._port),
            ],
            stdout=subprocess.PIPE, stderr=self._log, text=True, env=self._environment, start_new_session=True,
        )  # fmt: skip
        line = self._server.stdout.readline() if self._server.stdout else ""
        if not line.startswith("ready "):
            self._server.wait(10)
            said = (self._directory / "server.log").read_text(encoding="utf-8")[-2000:]
            raise ExternalError("demo-server", f"the server did not start: {said}", hint="aegis doctor")
        self.url = line.split()[1]
        token = json.loads((self.data / "server.json").read_text())["token"]
        return self._client(token), time.monotonic() - begun

    def client(self, person: Person) -> ServerClient:
        """See `Workshop`."""
        return self._client(person.token)

    def _client(self, token: str) -> ServerClient:
        client = ServerClient(self.url, token, timeout=60.0)
        self._clients.append(client)
        return client

    def tree(self, project: str, person: Person) -> GitTree:
        """See `Workshop`."""
        name = project.rpartition("/")[2]
        path = self._directory / "work" / name
        ignored = shutil.ignore_patterns(
            "__pycache__", ".venv", ".aegis*", ".pytest_cache", ".coverage*", ".ruff_cache"
        )
        shutil.copytree(self._example / name, path, ignore=ignored)
        group = project.partition("/")[0]
        tree = GitTree(
            path, f"{self.url}/git/{project}.git", f"{self.url}/pypi/{group}/simple/", self._environment
        ).known_as(person)
        tree.begin(f"feat: bring {name} in", person)
        return tree

    def fetch(self, url: str) -> Any:
        """See `Workshop`."""
        try:
            answer = httpx.get(url, timeout=10, trust_env=False)
            answer.raise_for_status()
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ExternalError("demo-fetch", f"{url}: {error}") from error

    def load(self, url: str, calls: Sequence[Call], per_second: float) -> HttpLoad:
        """See `Workshop`."""
        load = HttpLoad(url, calls, per_second)
        self._loads.append(load)
        return load

    def entropy(self, size: int) -> bytes:
        """See `Workshop`."""
        return secrets.token_bytes(size)

    def verify_ledger(self) -> Mapping[str, Any]:
        """See `Workshop`."""
        command = [sys.executable, "-m", "aegis", "ledger", "verify", "--data", str(self.data), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env=self._environment, timeout=120, check=False)
        try:
            found = json.loads(done.stdout)
        except ValueError as error:
            raise ExternalError(
                "demo-ledger", f"aegis ledger verify said {done.stdout[-300:]} {done.stderr[-300:]}"
            ) from error
        return found if isinstance(found, dict) else {}

    def close(self) -> None:
        """See `Workshop`: the server is asked to stop, and ended by its process id when it does not."""
        for load in self._loads:
            load.stop()
        for client in self._clients:
            client.close()
        server = self._server
        if server is not None and server.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                server.send_signal(signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(5)
        if server is not None and server.stdout is not None:
            server.stdout.close()
        if self._log is not None:
            self._log.close()
