"""Composes what a server signs images with: its own key, or a Sigstore where the declaration names one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aegis.access.id_tokens import Key, token
from aegis.core.errors import UserError
from aegis.core.ports import Clock, Signer
from aegis.supplychain.signing import Authority, Credential, KeyNotary

if TYPE_CHECKING:
    from aegis.adapters.sigstore_http import Sigstore
    from aegis.supplychain.options import KeylessRule

TOKEN_FILE: Final = "AEGIS_SIGSTORE_TOKEN_FILE"  # noqa: S105 - a name
_AUDIENCE: Final = "sigstore"
_LIFETIME: Final = 300


class ServerNotary:
    """Asks for the rule each time, so that an adopted declaration counts at once.

    The server's own key stays accepted where a Sigstore is declared: what it signed before goes on running. It does not sign then.
    """

    def __init__(
        self, signer: Signer, rule: Callable[[], KeylessRule | None], identify: Callable[[KeylessRule], str]
    ) -> None:
        self._own = KeyNotary(signer)
        self._rule, self._identify = rule, identify
        self._made: tuple[KeylessRule, Sigstore] | None = None

    def credential(self) -> Credential:
        """See `Notary`."""
        made = self._sigstore()
        return self._own.credential() if made is None else made.credential()

    def trusted(self) -> tuple[Authority, ...]:
        """See `Notary`."""
        made = self._sigstore()
        return self._own.trusted() if made is None else (made.authority, *self._own.trusted())

    def _sigstore(self) -> Sigstore | None:
        rule = self._rule()
        if rule is None:
            return None
        made = self._made
        if made is None or made[0] != rule:
            made = self._made = (rule, self._connected(rule))
        return made[1]

    def _connected(self, rule: KeylessRule) -> Sigstore:
        from aegis.adapters.egress_http import EgressRules, HttpEgress  # noqa: PLC0415 - few servers need it
        from aegis.adapters.sigstore_http import Sigstore  # noqa: PLC0415 - as above

        egress = HttpEgress(EgressRules(allowed=rule.hosts, private=frozenset(rule.private)))
        return Sigstore(egress, rule, lambda: self._identify(rule))


def identity_token(environ: Mapping[str, str], key: Key, url: str, clock: Clock) -> Callable[[KeylessRule], str]:
    """The token that tells a Fulcio who signs: of a file that somebody keeps fresh, or this server's own.

    `UserError` where the declared issuer is another one than this server and no file is named.
    """

    def identify(rule: KeylessRule) -> str:
        file = environ.get(TOKEN_FILE)
        if file:
            try:
                return Path(file).read_text(encoding="ascii").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(
                    "sigstore-token", f"{TOKEN_FILE}: {error}", hint="name a file that holds a token"
                ) from error
        if rule.issuer != url:
            raise UserError(
                "sigstore-token",
                f"`signing.keyless.issuer` is {rule.issuer}, and this server's tokens are {url}'s",
                hint=f"set {TOKEN_FILE} to a file with that issuer's token, or declare this server as the issuer",
            )
        at = int(clock.now().timestamp())
        times = {"iat": at, "nbf": at - 5, "exp": at + _LIFETIME}
        return token(key, {"iss": url, "sub": rule.identity, "aud": _AUDIENCE, **times})

    return identify
