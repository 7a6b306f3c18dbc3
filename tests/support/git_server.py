"""A Git door on a free port of the loopback interface, and a Git client with a clean environment, for tests."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from aegis.adapters.git_http_backend import GitHttpBackend
from aegis.adapters.githost_directory import DirectoryGitHost
from aegis.core.errors import AegisError, Denied
from aegis.delivery.git_door import Action, GitGrant, HostedGitDoor, Push
from aegis.source.branches import Protection
from aegis.web.git_door import routes


@dataclass
class GitServer:
    """`tokens` maps an identity to its token; `pushes` and `refused` are what the door told."""

    host: DirectoryGitHost
    port: int = 0
    tokens: dict[str, str] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    readers: set[str] = field(default_factory=set)
    protections: Sequence[Protection] = ()
    pushes: list[Push] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    reply: Sequence[str] = ()
    failure: AegisError | None = None
    hindrance: AegisError | None = None
    """Raised before anything moves."""
    begun: list[Push] = field(default_factory=list)

    def token(self, identity: str, *groups: str) -> str:
        self.tokens[identity] = secrets.token_hex(12)
        self.groups[identity] = groups
        return self.tokens[identity]

    def url(self, project: str, token: str | None) -> str:
        login = "" if token is None else f"git:{token}@"
        return f"http://{login}127.0.0.1:{self.port}/git/{project}.git"

    def identify(self, token: str) -> GitGrant | None:
        for identity, known in self.tokens.items():
            if secrets.compare_digest(known, token):
                return GitGrant(identity=identity, groups=self.groups[identity])
        return None

    def permit(self, grant: GitGrant, project: str, action: Action) -> None:
        if action == "push" and grant.identity in self.readers:
            raise Denied("git-read-only", f"{grant.identity} may read {project} only")

    def on_begin(self, push: Push) -> None:
        self.begun.append(push)
        if self.hindrance is not None:
            raise self.hindrance

    def on_push(self, push: Push) -> Sequence[str]:
        self.pushes.append(push)
        if self.failure is not None:
            raise self.failure
        return self.reply


@contextmanager
def serving(root: Path) -> Iterator[GitServer]:
    """A running server over the repositories in `root`."""
    server = GitServer(host=DirectoryGitHost(root))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server.port = listener.getsockname()[1]
        started, stop = threading.Event(), threading.Event()
        thread = threading.Thread(target=asyncio.run, args=(_serve(server, listener, started, stop),))
        thread.start()
        try:
            assert started.wait(20)
            yield server
        finally:
            stop.set()
            thread.join(20)


async def _serve(server: GitServer, listener: socket.socket, started: threading.Event, stop: threading.Event) -> None:
    door = HostedGitDoor(
        host=server.host,
        backend=GitHttpBackend(server.host),
        identify=server.identify,
        permit=server.permit,
        protections=lambda _project: server.protections,
        on_begin=server.on_begin,
        on_push=server.on_push,
        on_refused=lambda _grant, _project, why: server.refused.extend(why),
    )
    app = uvicorn.Server(
        uvicorn.Config(Starlette(routes=routes(door)), log_level="error", lifespan="off", access_log=False)
    )
    serve = asyncio.create_task(app.serve(sockets=[listener]))
    while not app.started:  # noqa: ASYNC110 - uvicorn tells it by an attribute only
        await asyncio.sleep(0.005)
    started.set()
    await asyncio.to_thread(stop.wait)
    app.should_exit = True
    await serve


def git(*arguments: str, at: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a Git client with nothing of the machine's configuration."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(at),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "false",
        "LC_ALL": "C.UTF-8",
    }
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "Ada", f"GIT_{role}_EMAIL": "ada@example.test"}
    done = subprocess.run(
        ["git", *arguments], cwd=at, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    if check and done.returncode:
        raise AssertionError(f"git {arguments[0]} failed: {done.stderr}")
    return done


def work_tree(path: Path, url: str, *, branch: str = "main") -> Path:
    """A new repository at `path` with one commit, its remote `origin` at `url`."""
    path.mkdir(parents=True)
    git("init", "--quiet", f"--initial-branch={branch}", at=path)
    git("remote", "add", "origin", url, at=path)
    commit(path, {"a.txt": "1\n"}, "feat: begin")
    return path


def commit(path: Path, files: dict[str, str], message: str) -> str:
    """Write files, commit them and answer the commit id."""
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    git("add", "-A", at=path)
    git("commit", "--quiet", "--allow-empty", "-m", message, at=path)
    return git("rev-parse", "HEAD", at=path).stdout.strip()
