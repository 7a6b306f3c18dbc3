"""The ports that two capabilities share. A port's docstring is its specification.

All are synchronous, may be called from any thread, and raise only `NotFound`, `Conflict` and `ExternalError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO, Protocol

from aegis.core.values import dataclass

if TYPE_CHECKING:  # every job's commands load this module and few of them need the events (50 ms)
    from aegis.core.events import Draft, Record


class Clock(Protocol):
    """Time, given from outside so that tests can hold it."""

    def now(self) -> datetime:
        """The wall clock in UTC, aware."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary origin."""
        ...


class Entropy(Protocol):
    """Unpredictable bytes."""

    def take(self, size: int) -> bytes:
        """`size` fresh bytes from a cryptographic source."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which records: every given field must match; `types` and `subjects` match any of theirs. `until` is inclusive."""

    types: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    project: str = ""
    service: str = ""
    environment: str = ""
    since: datetime | None = None
    until: datetime | None = None
    newest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of the chain: sequence number (0: empty) and hash."""

    seq: int
    hash: str


class Ledger(Protocol):
    """The append-only, hash-chained record of everything that happened. One writer; readers never block it.

    `append` is atomic and durable when it returns: all events or none. `expect` maps subjects to the version the
    caller decided on (0: the subject has no events); any difference raises `Conflict` and writes nothing.
    Readers see only durable records, in order, without gaps.
    """

    def append(self, events: Sequence[Draft], *, expect: Mapping[str, int] | None = None) -> tuple[Record, ...]:
        """The records as stored. `Conflict` when an expected subject has moved; `ExternalError` when not durable."""
        ...

    def read(self, *, after: int = 0, limit: int = 1000, query: Query | None = None) -> tuple[Record, ...]:
        """Records with `seq > after` in order (newest first when the query says so: then `seq < after`, 0: from the end)."""
        ...

    def subject(self, subject: str) -> tuple[Record, ...]:
        """All records of one subject, oldest first, from the writer's state."""
        ...

    def head(self) -> Head:
        """The last durable record's number and hash."""
        ...

    def wait(self, after: int, timeout: float) -> bool:
        """Block until the head is beyond `after` (True) or `timeout` seconds have passed (False)."""
        ...


class Blobs(Protocol):
    """Content by digest: sha256, or sha512 where that is expected. A read verifies what it returns.

    Writing what is there already is cheap and succeeds.
    """

    def put(self, data: bytes) -> str:
        """Keep `data`; its sha256 digest. Durable when it returns."""
        ...

    def put_stream(self, source: BinaryIO | Iterable[bytes], *, expected: str | None = None) -> tuple[str, int]:
        """Keep a stream in constant memory; digest and size. `Conflict` when it is not `expected`."""
        ...

    def put_each(self, parts: Iterable[bytes]) -> Iterator[str]:
        """Keep many contents, each while the next is being made; their digests in order, durable when they have ended."""
        ...

    def get(self, digest: str) -> bytes:
        """The bytes; `NotFound`; `ExternalError` when what is stored no longer matches its digest."""
        ...

    def open(self, digest: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes in chunks of at most 1 MiB, in constant memory."""
        ...

    def file(self, digest: str) -> BinaryIO | None:
        """The verified bytes as an open file of the system, where the store has one at hand; None: use `open`."""
        ...

    def check(self, digest: str) -> bool:
        """Read it whole; whether it still has its digest. `NotFound`."""
        ...

    def digests(self, after: str = "") -> Iterator[tuple[str, float]]:
        """What is kept beyond `after`, in the order of digests, each with the Unix time since when it is (at the latest).

        Listed as it is asked for: who takes a few pays for a few, wherever he begins.
        """
        ...

    def size(self, digest: str) -> int | None:
        """Bytes, or None where it is not kept."""
        ...

    def delete(self, digest: str) -> None:
        """Forget it; no error when it is not there."""
        ...

    def hold(self) -> AbstractContextManager[None]:
        """While it is open, `forget` leaves what this store is given, also what it had already.

        For who writes something and refers to it a little later.
        """
        ...

    def forget(self, digest: str) -> bool:
        """Delete it, unless somebody holds it; whether it is gone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """One entry of a commit's tree. `mode` is Git's (`100644`, `100755`, `120000`, `160000`)."""

    path: str
    mode: str
    oid: str


class Repository(Protocol):
    """One Git repository, read and written by object ids; never a work tree of its own.

    Refs are full names (`refs/heads/main`). Missing things raise `NotFound`, a lost race `Conflict`.
    """

    def resolve(self, revision: str) -> str:
        """The full commit id of a ref, tag or abbreviated id."""
        ...

    def read(self, commit: str, path: str) -> bytes:
        """A file's content at a commit."""
        ...

    def entries(self, commit: str, under: str = "") -> tuple[TreeEntry, ...]:
        """All files of a commit, recursively, in Git's order."""
        ...

    def refs(self, prefix: str = "refs/") -> Mapping[str, str]:
        """Ref name to commit id."""
        ...

    def log(self, revision: str, *, since: str | None = None, limit: int = 1000) -> tuple[CommitInfo, ...]:
        """Commits reachable from `revision` and not from `since`, newest first."""
        ...

    def changed(self, base: str | None, head: str) -> tuple[str, ...]:
        """Paths that differ between two commits; with None, all paths of `head`."""
        ...

    def tag_message(self, name: str) -> str:
        """The message of an annotated tag; empty for a plain one and for one that is not there."""
        ...

    def merge_base(self, one: str, other: str) -> str | None:
        """The best common ancestor."""
        ...

    def commit(
        self, ref: str, files: Mapping[str, bytes | None], *, message: str, author: str, expect: str | None
    ) -> str:
        """Write a commit on `ref` whose tip must be `expect` (None: the ref must not exist); None deletes a path.

        `author` is `Name <email>`. Answers the new commit; `Conflict` when the ref has moved.
        """
        ...

    def committed(self, files: Mapping[str, bytes | None], *, base: str | None, message: str, author: str) -> str:
        """As `commit` on top of `base` (None: a first commit), but no ref moves: its id is known before one does."""
        ...

    def merged(self, source: str, into: str, *, message: str, author: str) -> str:
        """Write the merge commit of two commits and answer it; no ref moves. `Conflict` with the paths that clash."""
        ...

    def tagged(self, name: str, commit: str, *, message: str, author: str) -> str:
        """Write an annotated tag of a commit and answer its id; no ref moves."""
        ...

    def set_ref(self, ref: str, commit: str, *, expect: str | None) -> None:
        """Create or move a ref atomically; `Conflict` when it is not at `expect`."""
        ...

    def delete_ref(self, ref: str, *, expect: str) -> None:
        """Remove a ref atomically; `Conflict` when it is not at `expect`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitInfo:
    """A commit's facts. `message` is whole."""

    commit: str
    parents: tuple[str, ...]
    author_name: str
    author_email: str
    authored_at: datetime
    committer_name: str
    committer_email: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLimits:
    """Bounds of one tool run: seconds of wall time, bytes of memory (0: none), whether it may use the network."""

    seconds: float = 600.0
    memory: int = 0
    network: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool left: its exit code, its outputs by relative path (those asked for that exist), its two streams."""

    exit_code: int
    outputs: Mapping[str, bytes] = field(default_factory=dict)
    stdout: bytes = b""
    stderr: bytes = b""


class Tool(Protocol):
    """Programs of others, run in an empty directory with only what they are given."""

    def run(
        self,
        argv: Sequence[str],
        *,
        inputs: Mapping[str, bytes] | None = None,
        outputs: Sequence[str] = (),
        directory: str | None = None,
        environment: Mapping[str, str] | None = None,
        limits: ToolLimits = ToolLimits(),  # noqa: B008 - frozen
    ) -> ToolResult:
        """Run it. `directory` works in place instead of in a fresh one. A missing program is `ExternalError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer from outside, whole: sizes are bounded by the adapter. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """An answer from outside whose body is still arriving. `pieces` may raise `ExternalError`; they are read once."""

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]


class Egress(Protocol):
    """All traffic to hosts outside: allow-listed, pinned, bounded in size and time."""

    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit: int = 64 * 1024 * 1024,
        timeout: float = 30.0,
    ) -> AbstractContextManager[Streamed]:
        """As `request`, with the body in pieces as it arrives, for what is too large to be held."""
        ...

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit: int = 64 * 1024 * 1024,
        timeout: float = 30.0,
    ) -> Response:
        """The answer, whatever its status; `ExternalError` when there is none or the host is not allowed."""
        ...


class Signer(Protocol):
    """A signing key that stays where it is."""

    def sign(self, data: bytes) -> bytes:
        """An ECDSA P-256 SHA-256 signature over `data`, DER encoded."""
        ...

    def public_key(self) -> str:
        """The public key as PEM (SubjectPublicKeyInfo)."""
        ...


class Masker(Protocol):
    """Replaces secrets in a byte stream. State is kept between calls, so that a secret cut in two is found."""

    def feed(self, data: bytes) -> bytes:
        """What may be shown by now."""
        ...

    def finish(self) -> bytes:
        """The rest."""
        ...
