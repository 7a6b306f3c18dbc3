"""The Git door: who comes in, what a push may move, and who hears of it. HTTP is the web's, processes the adapter's.

`HostedGitDoor` is the door to the own Git host. Every push is judged before a ref moves, and what it moved is told
once, before the client hears that its push is done.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from aegis.core.errors import Denied, ExternalError, UserError
from aegis.source.branches import Protection, RefUpdate, Refusal, fast_forward_only, judge_push
from aegis.source.ports import GitHost
from aegis.source.push_protocol import PushHead, PushReader, refusal_report

Action = Literal["fetch", "push"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GitGrant:
    """An authenticated caller: identity id and its groups. `token` is whatever the token check wants to see again."""

    identity: str
    groups: tuple[str, ...] = ()
    token: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRequest:
    """One request of a Git client, of which the body is apart and already without content encoding.

    `service` is `info/refs`, `git-upload-pack` or `git-receive-pack`; `protocol` the `Git-Protocol` header.
    """

    method: str
    service: str
    query: str = ""
    content_type: str = ""
    protocol: str = ""
    remote: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitAnswer:
    """The answer to a Git client; `body` must be read to its end or closed."""

    status: int
    headers: Mapping[str, str]
    body: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A push that moved refs. `options` are the client's push options, as given."""

    project: str
    identity: str
    updates: tuple[RefUpdate, ...]
    options: tuple[str, ...] = ()
    grant: GitGrant | None = None


class GitHandle(Protocol):
    """One project opened for one action by one caller."""

    async def serve(self, request: GitRequest, body: AsyncIterator[bytes]) -> GitAnswer:
        """The answer, streamed both ways. `UserError` for a request that is none."""
        ...


class GitDoor(Protocol):
    """What the web needs: both calls may block shortly and are made in a thread."""

    def authenticate(self, header: str | None) -> GitGrant:
        """Who sent this `Authorization` header; `Denied` for a missing or wrong one."""
        ...

    def open(self, grant: GitGrant, project: str, action: Action) -> GitHandle:
        """The project for the action; `Denied` when the caller may not, `NotFound` when it may not even know."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What the program behind needs to know of a push: see `GitBackend.serve`."""

    identity: str
    fast_forward_only: tuple[str, ...] = ()
    sideband: bool = False
    begin: Callable[[], None] | None = None
    received: Callable[[tuple[RefUpdate, ...]], Sequence[str]] | None = None


class GitBackend(Protocol):
    """The program that speaks Git's smart protocol about the host's repositories."""

    async def serve(
        self, project: str, request: GitRequest, body: AsyncIterator[bytes], conversation: Conversation
    ) -> GitAnswer:
        """The program's answer, in constant memory. Calls `begin` in a thread, once, before anything can move.

        Refuses to move the refs in `fast_forward_only` to a commit that does not contain their old one. When refs
        have moved, calls `received` in a thread, once, with exactly those, also when the client has gone, and before
        the answer ends; the lines that it gives back are shown to the client where `sideband` allows. `ExternalError`.
        """
        ...


def basic_token(header: str | None) -> str:
    """The token in an `Authorization` header: the password of `Basic`, or what follows `Bearer`. `Denied` else."""
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            password = user = ""
        if password or user:
            return password or user
    raise Denied("unauthenticated", "a token is needed", hint="use a token as the password; `aegis login` makes one")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedGitDoor:
    """The door to repositories that Aegis itself keeps.

    `identify` turns a token into a grant (None: wrong, expired or revoked). `permit` raises `Denied` or `NotFound`.
    `protections` are those of the declaration in force for a project. `on_begin` is told of each push that may move
    something, in a thread, before it does; where it raises, nothing moves. `on_push` is told of each push that moved
    something, in a thread, and may answer lines for the pusher. `on_refused` is told what was refused.
    """

    host: GitHost
    backend: GitBackend
    identify: Callable[[str], GitGrant | None]
    permit: Callable[[GitGrant, str, Action], None]
    protections: Callable[[str], Sequence[Protection]]
    on_push: Callable[[Push], Sequence[str]]
    on_begin: Callable[[Push], None] = field(default=lambda _push: None)
    on_refused: Callable[[GitGrant, str, Sequence[str]], None] = field(default=lambda _grant, _project, _why: None)

    def authenticate(self, header: str | None) -> GitGrant:
        """See `GitDoor`."""
        grant = self.identify(basic_token(header))
        if grant is None:
            raise Denied("unauthenticated", "this token is not valid (any more)", hint="`aegis login` makes a new one")
        return grant

    def open(self, grant: GitGrant, project: str, action: Action) -> GitHandle:
        """See `GitDoor`."""
        self.permit(grant, project, action)
        self.host.repository(project)
        if action == "push":
            return _PushHandle(door=self, grant=grant, project=project)
        return _FetchHandle(door=self, grant=grant, project=project)


@dataclass(frozen=True, slots=True, kw_only=True)
class _FetchHandle:
    door: HostedGitDoor
    grant: GitGrant
    project: str

    async def serve(self, request: GitRequest, body: AsyncIterator[bytes]) -> GitAnswer:
        if request.service == "git-receive-pack" or "git-receive-pack" in request.query:
            raise Denied("git-action", "this was opened for fetching, not for a push")
        return await self.door.backend.serve(self.project, request, body, Conversation(identity=self.grant.identity))


@dataclass(frozen=True, slots=True, kw_only=True)
class _PushHandle:
    door: HostedGitDoor
    grant: GitGrant
    project: str

    async def serve(self, request: GitRequest, body: AsyncIterator[bytes]) -> GitAnswer:
        backend, identity = self.door.backend, self.grant.identity
        if request.service != "git-receive-pack":
            return await backend.serve(self.project, request, body, Conversation(identity=identity))
        head = await _read_head(body)
        if head is None or not head.updates:  # the probe that a client sends before a large push
            whole = _chain(b"" if head is None else head.raw + head.rest, body)
            return await backend.serve(self.project, request, whole, Conversation(identity=identity))
        protections = self.door.protections(self.project)
        refusals = judge_push(head.updates, identity=identity, groups=self.grant.groups, protections=protections)
        if refusals:
            self.door.on_refused(self.grant, self.project, [one.message for one in refusals])
            async for _chunk in body:  # a client that is still sending would not read the answer
                continue
            return _answer(refusal_report(head, refusals))
        conversation = Conversation(
            identity=identity,
            fast_forward_only=fast_forward_only(head.updates, protections),
            sideband=head.sideband,
            begin=lambda: self.door.on_begin(self._push(head, head.updates)),
            received=lambda updates: self.door.on_push(self._push(head, updates)),
        )
        try:
            return await backend.serve(self.project, request, _chain(head.raw + head.rest, body), conversation)
        except (
            ExternalError
        ) as error:  # nothing has moved: Git clients show a refusal, and of an HTTP status only the number
            async for _chunk in body:
                continue
            return _answer(refusal_report(head, [_hindered(one, error) for one in head.updates[:1]]))

    def _push(self, head: PushHead, updates: tuple[RefUpdate, ...]) -> Push:
        return Push(
            project=self.project, identity=self.grant.identity, updates=updates, options=head.options, grant=self.grant
        )


async def _read_head(body: AsyncIterator[bytes]) -> PushHead | None:
    reader = PushReader()
    async for chunk in body:
        head = reader.feed(chunk)
        if head is not None:
            return head
    return reader.finish()


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for chunk in rest:
        yield chunk


def _hindered(update: RefUpdate, error: ExternalError) -> Refusal:
    return Refusal(ref=update.ref, code=error.code, message=error.message, hint=error.hint)


def _answer(data: bytes) -> GitAnswer:
    async def body() -> AsyncIterator[bytes]:
        yield data

    if not data:
        raise UserError("push-refused", "the push was refused, and this client cannot be told why")
    headers = {"content-type": "application/x-git-receive-pack-result", "cache-control": "no-cache"}
    return GitAnswer(status=200, headers=headers, body=body())
