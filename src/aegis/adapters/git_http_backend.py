"""`git http-backend` as the program behind the Git door: one process per request, streamed both ways.

Two hooks, given by the environment of each push and never stored in a repository, refuse to rewrite what must only move
forward and write down what really moved. Who may push what was decided before (`delivery.git_door`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from aegis.adapters import git_program
from aegis.adapters.githost_directory import DirectoryGitHost
from aegis.core.errors import AegisError, ExternalError
from aegis.delivery.git_door import Conversation, GitAnswer, GitRequest
from aegis.source.branches import RefUpdate
from aegis.source.push_protocol import FLUSH, messages

CHUNK: Final = 64 * 1024
IDLE_SECONDS: Final = 300.0
"""How long a client may send nothing before its request is given up."""

_MAX_HEADERS: Final = 16 * 1024
_LOG: Final = logging.getLogger("aegis.git")

_POST_RECEIVE: Final = """#!/bin/sh
exec cat > "$AEGIS_RECEIVED"
"""
_UPDATE: Final = """#!/bin/sh
case "$2" in *[!0]*) ;; *) exit 0 ;; esac
case "$3" in *[!0]*) ;; *) exit 0 ;; esac
grep -Fxq -e "$1" "$AEGIS_FORWARD" || exit 0
git merge-base --is-ancestor "$2" "$3" && exit 0
echo "${1#refs/heads/} is protected: its history is not rewritten, fetch and merge or rebase onto it" >&2
exit 1
"""


class GitHttpBackend:
    """`delivery.git_door.GitBackend` over the repositories of a `DirectoryGitHost`.

    `max_push` bounds a pushed pack in bytes, `parallel` the processes at one time (more requests wait).
    """

    def __init__(self, host: DirectoryGitHost, *, max_push: int = 2 * 1024**3, parallel: int = 16) -> None:
        self._host = host
        self._max_push = max_push
        self._slots = asyncio.Semaphore(parallel)
        self._git = git_program.program()

    async def serve(
        self, project: str, request: GitRequest, body: AsyncIterator[bytes], conversation: Conversation
    ) -> GitAnswer:
        """See `GitBackend`."""
        await self._slots.acquire()
        stack = contextlib.AsyncExitStack()
        stack.callback(self._slots.release)
        try:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aegis-push-")))
            await asyncio.to_thread(_write_hooks, scratch, conversation)
            if conversation.begin is not None:
                await asyncio.to_thread(conversation.begin)
            process = await asyncio.create_subprocess_exec(
                self._git, "http-backend",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env=self._environment(project, request, conversation, scratch),
                cwd=self._host.path(project), limit=CHUNK, start_new_session=True,
            )  # fmt: skip
            running = _Running(process, conversation, scratch / "received", body)
            stack.push_async_callback(running.close)
            status, headers = await running.headers()
        except OSError as error:
            await stack.aclose()
            raise ExternalError("git-start", f"git could not be started: {error.strerror}") from error
        except BaseException:
            await stack.aclose()
            raise
        return GitAnswer(status=status, headers=headers, body=_closing(stack, running.body()))

    def _environment(
        self, project: str, request: GitRequest, conversation: Conversation, scratch: Path
    ) -> dict[str, str]:
        path = self._host.path(project)
        environment = git_program.environment(path, self._git)
        for name in ("GIT_DIR", "GIT_LITERAL_PATHSPECS", "GIT_OPTIONAL_LOCKS"):
            del environment[name]
        settings = {
            "safe.directory": "*",
            "core.hooksPath": str(scratch / "hooks"),
            "receive.maxInputSize": str(self._max_push),
            "gc.auto": "0",
        }
        for number, (key, value) in enumerate(settings.items()):
            environment[f"GIT_CONFIG_KEY_{number}"] = key
            environment[f"GIT_CONFIG_VALUE_{number}"] = value
        return environment | {
            "GIT_CONFIG_COUNT": str(len(settings)),
            "GIT_PROJECT_ROOT": str(self._host.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{project}.git/{request.service}",
            "REQUEST_METHOD": request.method,
            "QUERY_STRING": request.query,
            "CONTENT_TYPE": request.content_type,
            "REMOTE_USER": conversation.identity,
            "REMOTE_ADDR": request.remote,
            "GIT_PROTOCOL": request.protocol,
            "GIT_COMMITTER_NAME": conversation.identity,
            "GIT_COMMITTER_EMAIL": f"{conversation.identity}@aegis",
            "AEGIS_RECEIVED": str(scratch / "received"),
            "AEGIS_FORWARD": str(scratch / "forward"),
        }


class _Running:
    """One `git http-backend` at work: a task feeds it, `body` reads it, `close` ends it whatever has happened."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        conversation: Conversation,
        received: Path,
        body: AsyncIterator[bytes],
    ) -> None:
        self._process = process
        self._conversation = conversation
        self._received = received
        self._told = False
        self._lines: Sequence[str] = ()
        self._feeder = asyncio.create_task(self._feed(body))
        self._complaints = asyncio.create_task(self._drain())

    async def headers(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the CGI answer."""
        out = self._process.stdout
        assert out is not None  # noqa: S101 - it was asked for
        status, found, size = 200, {}, 0
        while (line := await out.readline()).strip():
            size += len(line)
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or size > _MAX_HEADERS:
                raise ExternalError("git-answer", "git http-backend answered with something else than headers")
            if name.lower() == "status":
                status = int(value.split()[0])
            else:
                found[name.lower()] = value.strip()
        if not line:
            raise ExternalError("git-answer", f"git http-backend ended without an answer: {await self._complaints}")
        return status, found

    async def body(self) -> AsyncIterator[bytes]:
        """The answer's body; what the push set off is told, and shown, before its closing flush."""
        out = self._process.stdout
        assert out is not None  # noqa: S101 - it was asked for
        kept = b""
        while chunk := await out.read(CHUNK):
            if not self._conversation.sideband:
                yield chunk
                continue
            kept += chunk
            if len(kept) > len(FLUSH):
                yield kept[: -len(FLUSH)]
                kept = kept[-len(FLUSH) :]
        await self._finish()
        if self._lines and kept == FLUSH:
            yield messages(self._lines)
        if kept:
            yield kept

    async def close(self) -> None:
        """End the process if it still runs; refs that had moved by then are told all the same."""
        self._feeder.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await self._feeder
        if self._process.returncode is None and self._process.stdin is not None:
            self._process.stdin.close()  # a push that is not whole ends by itself, one that is whole completes
            if self._conversation.received is None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
            await self._swallow()
        await self._finish()

    async def _swallow(self) -> None:
        out = self._process.stdout
        while out is not None and await out.read(CHUNK):
            continue

    async def _feed(self, body: AsyncIterator[bytes]) -> None:
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - it was asked for
        try:
            iterator = aiter(body)
            while True:
                async with asyncio.timeout(IDLE_SECONDS):
                    chunk = await anext(iterator, None)
                    if chunk is None:
                        break
                    stdin.write(chunk)
                    await stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            async for _rest in body:  # git has seen enough; the client must be able to send on to read the answer
                continue
        finally:
            stdin.close()

    async def _drain(self) -> str:
        errors = self._process.stderr
        assert errors is not None  # noqa: S101 - it was asked for
        tail = b""
        while chunk := await errors.read(CHUNK):
            tail = (tail + chunk)[-2000:]
        return tail.decode("utf-8", "replace").strip()

    async def _finish(self) -> None:
        if self._told:
            return
        self._told = True
        await self._process.wait()
        complaint = await self._complaints
        if complaint:
            _LOG.info("git http-backend: %s", complaint)
        updates = await asyncio.to_thread(_read_received, self._received)
        if updates and self._conversation.received is not None:
            try:
                self._lines = await asyncio.to_thread(self._conversation.received, updates)
            except AegisError as error:
                _LOG.exception("a push was stored but what follows from it failed")
                self._lines = (f"stored, but what follows from it failed: {error}",)


async def _closing(stack: contextlib.AsyncExitStack, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with stack:
        async for chunk in body:
            yield chunk


def _write_hooks(scratch: Path, conversation: Conversation) -> None:
    hooks = scratch / "hooks"
    hooks.mkdir()
    if conversation.received is None:
        return
    scripts = {"post-receive": _POST_RECEIVE}
    if conversation.fast_forward_only:
        scripts["update"] = _UPDATE
        forward = "".join(f"{ref}\n" for ref in conversation.fast_forward_only)
        (scratch / "forward").write_bytes(forward.encode("utf-8", "surrogateescape"))
    for name, script in scripts.items():
        (hooks / name).write_text(script)
        (hooks / name).chmod(0o700)


def _read_received(path: Path) -> tuple[RefUpdate, ...]:
    if not path.exists():
        return ()
    found = []
    for line in path.read_bytes().decode("utf-8", "surrogateescape").split("\n"):
        if not line:
            continue
        old, new, ref = line.split(" ", 2)
        found.append(RefUpdate(ref=ref, old=old if old.strip("0") else None, new=new if new.strip("0") else None))
    return tuple(found)
