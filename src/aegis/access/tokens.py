"""Tokens: how they are made, what is kept of them, and whom one speaks for.

Only the SHA-256 of a token is ever kept: tokens are 256 random bits, so a slow hash would protect nothing more. Which
tokens count is folded from the ledger. Job tokens are not kept at all: they are signed, carry their job, and count
only while the caller says that this attempt of this job still runs. Registry tokens are signed likewise: for minutes,
for named repositories, never for more than the credential they were made from. Entropy, time and keys are given.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar

from aegis.core import codec
from aegis.core.errors import AegisError, Conflict, Denied
from aegis.core.events import Draft, Record, SessionOpened, TokenIssued, TokenRevoked

C = TypeVar("C")
PREFIX: Final = "aegis_"
JOB_PREFIX: Final = "aegisjob"
RUNNER_PREFIX: Final = "glrt-"
REGISTRATION_PREFIX: Final = "GR1348941"
"""GitLab's own prefixes, by which `gitlab-runner` knows how to register with a token."""
REGISTRY_PREFIX: Final = "aegisreg"
PAGES_PREFIX: Final = "aegispage"
TOKEN_BYTES: Final = 32
ALL: Final = "*"


class Kind(StrEnum):
    """What a credential is for. `job` tokens are signed; the others are folded from the ledger."""

    USER = "user"
    SESSION = "session"
    DEPLOY = "deploy"
    RUNNER = "runner"
    JOB = "job"
    LOGIN_LINK = "login-link"
    REGISTRATION = "registration"
    """Registers runners (the old way); speaks for nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Whom a credential speaks for, and how far. `identity` is `job/<job id>` for a job.

    `scopes` bound what a person's token may do (`read`, `write`, `approve`, `administer`, `*`); none permit nothing.
    `project` bounds job and deploy tokens (a group bounds the latter to all its projects).
    """

    identity: str
    kind: Kind
    scopes: tuple[str, ...] = ()
    project: str = ""
    run: str = ""
    job: str = ""
    attempt: int = 1
    token: str = ""
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Minted:
    """A fresh token. `plain` is shown once and kept nowhere; `id` names it in the ledger."""

    id: str
    plain: str
    hash: str


def mint(entropy: bytes, *, prefix: str = PREFIX) -> Minted:
    """A token of 32 given random bytes; `ValueError` for fewer or more."""
    if len(entropy) != TOKEN_BYTES:
        msg = f"a token needs {TOKEN_BYTES} random bytes, not {len(entropy)}"
        raise ValueError(msg)
    plain = prefix + _text(entropy)
    digest = token_hash(plain)
    # Named by a hash of its hash: a name that gives nothing away and cannot be looked up as a token.
    return Minted(id=f"token-{hashlib.sha256(digest.encode()).hexdigest()[:16]}", plain=plain, hash=digest)


def token_hash(plain: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(plain.encode()).hexdigest()


def issue(
    minted: Minted,
    *,
    identity: str,
    kind: Kind,
    scopes: Sequence[str],
    expires_at: datetime | None,
    actor: str,
    project: str = "",
    cause: str = "",
) -> Draft:
    """The event that puts a token in force. Job tokens are never issued this way: `ValueError`."""
    if kind is Kind.JOB:
        msg = "job tokens are signed, not issued"
        raise ValueError(msg)
    data = TokenIssued(
        token=minted.id,
        identity=identity,
        scopes=tuple(scopes),
        expires_at=expires_at,
        purpose=kind.value,
        secret_hash=minted.hash,
    )
    return Draft(subject=f"identity/{identity}", data=data, actor=actor, project=project, cause=cause)


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    grants: Mapping[str, Grant]
    revoked: tuple[str, ...]


class Tokens:
    """The projection of tokens in force: hash to grant. Not thread-safe; who applies also resolves, or locks."""

    name: Final = "access-tokens"
    version: Final = 1

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}
        self._hashes: dict[str, str] = {}
        self._revoked: set[str] = set()

    def apply(self, record: Record) -> None:
        """Take a record; those that are not about tokens are ignored."""
        data = record.data
        if isinstance(data, TokenIssued):
            if data.token in self._revoked or data.purpose not in set(Kind) or not data.secret_hash:
                return
            self._hashes[data.token] = data.secret_hash
            self._grants[data.secret_hash] = Grant(
                identity=data.identity,
                kind=Kind(data.purpose),
                scopes=data.scopes,
                project=record.project,
                token=data.token,
                expires_at=data.expires_at,
            )
        elif isinstance(data, TokenRevoked):
            self._revoked.add(data.token)
            digest = self._hashes.pop(data.token, None)
            if digest is not None:
                del self._grants[digest]

    def resolve(self, plain: str, now: datetime) -> Grant | None:
        """The grant of a token, or None where it is unknown, revoked or past its end.

        The token is hashed before it is looked up, so time tells nothing about tokens that exist.
        """
        digest = token_hash(plain)
        grant = self._grants.get(digest)
        known = digest if grant is not None else "0" * len(digest)
        if not hmac.compare_digest(known, digest) or grant is None:
            return None
        return None if grant.expires_at is not None and grant.expires_at <= now else grant

    def named(self, token: str) -> Grant | None:
        """The token of that id while it is in force, or None."""
        digest = self._hashes.get(token)
        return self._grants.get(digest) if digest is not None else None

    def of(self, identity: str) -> tuple[Grant, ...]:
        """The tokens of an identity that are not revoked, for showing; without anything secret."""
        return tuple(grant for grant in self._grants.values() if grant.identity == identity)

    def dump(self) -> bytes:
        """The whole state."""
        return codec.pack(_State(grants=self._grants, revoked=tuple(sorted(self._revoked))))

    def load(self, data: bytes) -> None:
        """Replace the state by a dump's; `ValueError` when it cannot be read."""
        state = codec.unpack(data, _State)
        self._grants = dict(state.grants)
        self._hashes = {grant.token: digest for digest, grant in self._grants.items()}
        self._revoked = set(state.revoked)


# -- login links ------------------------------------------------------------------------------------------


def redeem_link(
    link: Grant, history: Sequence[Record], session: Minted, *, now: datetime, session_hours: float = 12.0
) -> tuple[tuple[Draft, ...], Mapping[str, int]]:
    """What turns a login link into a session, once: the events, and the `expect` to append them with.

    `history` are all records of `identity/<id>` from the writer's state; `expect` makes the second of two simultaneous
    uses a `Conflict`. `Denied` `link-used` or `link-expired`; whoever asks makes a new one.
    """
    hint = "ask for a new one: aegis login"
    if link.kind is not Kind.LOGIN_LINK:
        raise Denied("not-a-login-link", "this token does not log anybody in", hint=hint)
    if any(isinstance(record.data, TokenRevoked) and record.data.token == link.token for record in history):
        raise Denied("link-used", "this login link has been used", hint=hint)
    if link.expires_at is None or link.expires_at <= now:
        raise Denied("link-expired", "this login link is past its time", hint=hint)
    subject = f"identity/{link.identity}"
    if not history:
        raise Conflict("link-unknown", f"the ledger knows nothing of {subject}")
    used = TokenRevoked(token=link.token, reason="used")
    opened = SessionOpened(identity=link.identity, via=Kind.LOGIN_LINK.value)
    ends = now + timedelta(hours=session_hours)
    drafts = (
        Draft(subject=subject, data=used, actor=link.identity),
        issue(
            session,
            identity=link.identity,
            kind=Kind.SESSION,
            scopes=link.scopes,
            expires_at=ends,
            actor=link.identity,
        ),
        Draft(subject=subject, data=opened, actor=link.identity),
    )
    return drafts, {subject: history[-1].subject_version}


# -- job tokens -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class JobClaim:
    """What a job token says."""

    run: str
    job: str
    attempt: int
    project: str
    expires_at: datetime
    version: int = field(default=1)


def mint_job_token(secret: bytes, *, run: str, job: str, attempt: int, project: str, expires_at: datetime) -> str:
    """A token for one attempt of one job: `aegisjob.<payload>.<mac>`. `ValueError` for a secret under 32 bytes."""
    claim = JobClaim(run=run, job=job, attempt=attempt, project=project, expires_at=expires_at)
    return _signed(secret, JOB_PREFIX, codec.encode(claim))


def read_job_token(
    secret: bytes, token: str, now: datetime, *, alive: Callable[[JobClaim], bool] = lambda _: True
) -> Grant | None:
    """The grant of a job token, or None where it is not ours, past its end, or `alive` says the job is over."""
    claim = _verified(secret, JOB_PREFIX, token, JobClaim)
    if claim is None or claim.version != 1 or claim.expires_at <= now or not alive(claim):
        return None
    return Grant(
        identity=f"job/{claim.job}",
        kind=Kind.JOB,
        project=claim.project,
        run=claim.run,
        job=claim.job,
        attempt=claim.attempt,
        expires_at=claim.expires_at,
    )


# -- registry tokens --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryClaim:
    """What a registry token says: for whom it was made, and which actions on which repositories it covers."""

    grant: Grant
    access: Mapping[str, tuple[str, ...]]
    expires_at: datetime
    version: int = field(default=1)


def mint_registry_token(
    secret: bytes, grant: Grant, access: Mapping[str, tuple[str, ...]], *, expires_at: datetime
) -> str:  # fmt: skip
    """A token for `access` alone: `aegisreg.<payload>.<mac>`. `ValueError` for a secret under 32 bytes."""
    return _signed(
        secret, REGISTRY_PREFIX, codec.encode(RegistryClaim(grant=grant, access=access, expires_at=expires_at))
    )


def read_registry_token(secret: bytes, token: str, now: datetime) -> RegistryClaim | None:
    """What a registry token says, or None where it is not ours or past its end.

    Whether the credential behind it still counts (a token not revoked, a job not over) is for the caller to ask.
    """
    claim = _verified(secret, REGISTRY_PREFIX, token, RegistryClaim)
    return None if claim is None or claim.version != 1 or claim.expires_at <= now else claim


# -- signing ----------------------------------------------------------------------------------------------


# -- visits of pages --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PagesClaim:
    """What the address of a visit says: whose pages it shows, who opened it, and until when. It is good for nothing else."""

    project: str
    identity: str
    expires_at: datetime
    version: int = field(default=1)


def mint_pages_token(secret: bytes, project: str, identity: str, expires_at: datetime) -> str:
    """A token that shows a project's pages: `aegispage.<payload>.<mac>`. `ValueError` for a secret under 32 bytes."""
    claim = PagesClaim(project=project, identity=identity, expires_at=expires_at)
    return _signed(secret, PAGES_PREFIX, codec.encode(claim))


def read_pages_token(secret: bytes, token: str, now: datetime) -> PagesClaim | None:
    """What a visit's token says, or None where it is not ours or past its end."""
    claim = _verified(secret, PAGES_PREFIX, token, PagesClaim)
    return claim if claim is not None and claim.version == 1 and claim.expires_at > now else None


def _signed(secret: bytes, prefix: str, claim: bytes) -> str:
    _check_secret(secret)
    payload = _text(claim)
    return f"{prefix}.{payload}.{_mac(secret, prefix, payload)}"


def _verified(secret: bytes, prefix: str, token: str, kind: type[C]) -> C | None:
    _check_secret(secret)
    said, _, rest = token.partition(".")
    payload, _, mac = rest.partition(".")
    if said != prefix or not token.isascii() or not hmac.compare_digest(mac, _mac(secret, prefix, payload)):
        return None
    try:
        return codec.decode(_bytes(payload), kind)
    except (AegisError, binascii.Error):
        return None


def _check_secret(secret: bytes) -> None:
    if len(secret) < TOKEN_BYTES:
        msg = f"the secret of signed tokens needs at least {TOKEN_BYTES} bytes"
        raise ValueError(msg)


def _mac(secret: bytes, prefix: str, payload: str) -> str:
    return _text(hmac.new(secret, f"{prefix}.{payload}".encode(), hashlib.sha256).digest())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
