"""Access: tokens and login links are made, used and revoked; sessions are opened."""

from __future__ import annotations

from datetime import timedelta

from aegis.access import tokens
from aegis.access.tokens import Grant, Kind
from aegis.core import events
from aegis.core.errors import Conflict, Denied, NotFound, UserError
from aegis.core.events import Draft
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.views import Result

SCOPES = ("read", "write", "approve")
LINK_SECONDS = 600.0
SESSION_HOURS = 12.0


@handles(ask.IssueToken)
def issue(context: Context, command: ask.IssueToken, asking: Asking) -> Result:
    """Make a token; it is shown once."""
    identity = command.identity or asking.actor.id
    context.authorise(asking.actor, "issue-token", kind="identity", name=identity)
    _known(context, identity)
    if command.kind not in (Kind.USER, Kind.DEPLOY):
        raise UserError("token-kind", f"{command.kind!r} tokens cannot be asked for", hint="user or deploy")
    if not 0 < command.expires_seconds <= 366 * 86400:
        raise UserError("token-expiry", "a token lives at least a moment and at most a year")
    if asking.dry_run:
        return Result(seq=0, message=f"would make a token for {identity}", dry_run=True)
    plain, token, seq = make(context, identity, Kind(command.kind), command.expires_seconds, asking)
    return Result(
        seq=seq, message=f"token for {identity}", subject=f"identity/{identity}", values={"token": plain, "id": token}
    )


def make(context: Context, identity: str, kind: Kind, seconds: float, asking: Asking) -> tuple[str, str, int]:
    """A fresh token: its plain text, its id, and the sequence number that put it in force."""
    minted = tokens.mint(context.entropy.take(tokens.TOKEN_BYTES))
    identity_options = context.adopted.access.options.administrators
    person = context.adopted.directory.by_id(identity)
    scopes = SCOPES if kind is not Kind.DEPLOY else ("read",)
    if person is not None and person.within(identity_options):
        scopes = (tokens.ALL,)
    draft = tokens.issue(
        minted,
        identity=identity,
        kind=kind,
        scopes=scopes,
        expires_at=context.clock.now() + timedelta(seconds=seconds),
        actor=asking.actor.id,
        cause=asking.cause,
    )
    return minted.plain, minted.id, context.append(draft)


@handles(ask.RevokeToken)
def revoke(context: Context, command: ask.RevokeToken, asking: Asking) -> Result:
    """Make a token worthless."""
    grant = context.tokens.named(command.token)
    if grant is None:
        raise NotFound("no-such-token", f"there is no token {command.token!r} in force")
    context.authorise(asking.actor, "revoke-token", kind="identity", name=grant.identity)
    if asking.dry_run:
        return Result(seq=0, message=f"would revoke {command.token}", dry_run=True)
    revoked = events.TokenRevoked(token=command.token, reason=command.reason)
    draft = Draft(subject=f"identity/{grant.identity}", data=revoked, actor=asking.actor.id)
    return Result(seq=context.append(draft), message=f"revoked {command.token}", subject=draft.subject)


@handles(ask.MakeLoginLink)
def login_link(context: Context, command: ask.MakeLoginLink, asking: Asking) -> Result:
    """Make a link that logs one identity in, once."""
    identity = command.identity or asking.actor.id
    context.authorise(asking.actor, "login-link", kind="identity", name=identity)
    _known(context, identity)
    if asking.dry_run:
        return Result(seq=0, message=f"would make a login link for {identity}", dry_run=True)
    plain, _, seq = make(context, identity, Kind.LOGIN_LINK, LINK_SECONDS, asking)
    link = f"{context.url}/login?code={plain}"
    return Result(seq=seq, message=link, subject=f"identity/{identity}", values={"link": link, "code": plain})


def open_session(context: Context, credential: str) -> str:
    """A session for a login link's code or a person's token: its own token, to be kept in a cookie."""
    grant = context.tokens.resolve(credential, context.clock.now())
    if grant is None or grant.kind not in (Kind.LOGIN_LINK, Kind.USER):
        raise Denied("unauthenticated", "this code or token is not valid", hint="make a new one: aegis login --link")
    minted = tokens.mint(context.entropy.take(tokens.TOKEN_BYTES))
    if grant.kind is Kind.LOGIN_LINK:
        history = context.subject(f"identity/{grant.identity}")
        drafts, expect = tokens.redeem_link(
            grant, history, minted, now=context.clock.now(), session_hours=SESSION_HOURS
        )
        try:
            context.append(*drafts, expect=expect)
        except Conflict as error:
            raise Denied("link-used", "this login link was used just now", hint="ask for a new one") from error
    else:
        context.append(*_session_of(context, grant, minted))
    return minted.plain


def _session_of(context: Context, grant: Grant, minted: tokens.Minted) -> tuple[Draft, ...]:
    issued = tokens.issue(
        minted,
        identity=grant.identity,
        kind=Kind.SESSION,
        scopes=grant.scopes,
        expires_at=context.clock.now() + timedelta(hours=SESSION_HOURS),
        actor=grant.identity,
    )
    opened = events.SessionOpened(identity=grant.identity, via="token")
    return issued, Draft(subject=f"identity/{grant.identity}", data=opened, actor=grant.identity)


def close_session(context: Context, cookie: str) -> None:
    """End a session."""
    grant = context.tokens.resolve(cookie, context.clock.now())
    if grant is not None and grant.kind is Kind.SESSION:
        revoked = events.TokenRevoked(token=grant.token, reason="logged out")
        context.append(Draft(subject=f"identity/{grant.identity}", data=revoked, actor=grant.identity))


def _known(context: Context, identity: str) -> None:
    if context.adopted.directory.by_id(identity) is None:
        raise NotFound(
            "no-such-identity",
            f"{identity!r} is not declared",
            hint=f"declared: {', '.join(one.id for one in context.adopted.directory.members(('everyone',)))}",
        )
