"""`Credential`s of a Sigstore: a key that lives for one signature, a certificate from its Fulcio, an entry in its Rekor.

Sources: Fulcio's `fulcio.proto` (`POST /api/v2/signingCert` with a certificate request, which proves that the key is held), Rekor's
`openapi.yaml` (`POST /api/v1/log/entries`; 409 names the entry that is there already). What they answer is verified by the declared rule
before it is used: a signature that this server would refuse later is never made.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urljoin

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from aegis.core.errors import ExternalError
from aegis.core.ports import Egress, Response
from aegis.supplychain import keyless
from aegis.supplychain.keyless import KeylessAuthority
from aegis.supplychain.options import KeylessRule
from aegis.supplychain.signing import Claim

_LIMIT: Final = 1024 * 1024
_SECONDS: Final = 20.0
_CREATED, _CONFLICT, _TOO_MANY, _BROKEN = 201, 409, 429, 500
_HINT: Final = "nothing was signed; see `signing.keyless` in the declaration"


class SigstoreCredential:
    """One key. Each of its signatures has a log entry; none is kept when it is gone."""

    def __init__(self, egress: Egress, rule: KeylessRule, authority: KeylessAuthority, token: str) -> None:
        self.name = rule.name
        self._egress, self._rule, self._authority = egress, rule, authority
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate, self._chain = self._certified(token)

    def sign(self, data: bytes) -> bytes:
        """See `Credential`."""
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))

    def marks(self, claim: Claim) -> Mapping[str, str]:
        """See `Credential`: the certificate and the log's promise."""
        entry = self._logged(keyless.proposed(claim, self._certificate))
        try:
            found = keyless.marks(entry, self._certificate, self._chain)
        except (KeyError, TypeError) as error:
            raise _refused("Rekor", f"its answer has no {error}") from None
        made = Claim(data=claim.data, signature=claim.signature, envelope=claim.envelope, annotations=found)
        why = self._authority.refuses(made)
        if why:
            raise _refused("Sigstore", f"what it vouches for would not verify: {why}")
        return found

    def _certified(self, token: str) -> tuple[str, str]:
        """The certificate and the chain above it, in PEM form."""
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(self._key, hashes.SHA256())
        pem = request.public_bytes(serialization.Encoding.PEM)
        asked = {
            "credentials": {"oidcIdentityToken": token},
            "certificateSigningRequest": base64.b64encode(pem).decode(),
        }
        answer = self._ask("Fulcio", "POST", f"{self._rule.fulcio.rstrip('/')}/api/v2/signingCert", asked)
        if answer.status >= 300:
            raise _answered("Fulcio", answer)
        given = _read("Fulcio", answer.body)
        found = given.get("signedCertificateEmbeddedSct") or given.get("signedCertificateDetachedSct") or {}
        try:
            texts = [str(one) for one in found["chain"]["certificates"]]
            own, *others = [x509.load_pem_x509_certificate(one.encode()) for one in texts]
        except (KeyError, TypeError, ValueError) as error:
            raise _refused("Fulcio", f"its answer holds no certificate: {error}") from error
        if own.public_key() != self._key.public_key():
            raise _refused("Fulcio", "its certificate is for another key")
        return _pem(own), "".join(_pem(one) for one in others)

    def _logged(self, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        place = f"{self._rule.rekor.rstrip('/')}/api/v1/log/entries"
        answer = self._ask("Rekor", "POST", place, entry)
        if answer.status == _CONFLICT:
            there = urljoin(place, answer.headers.get("location", ""))
            if not there.startswith(place + "/"):
                raise _refused("Rekor", "it says that the entry is there already, and not where")
            answer = self._ask("Rekor", "GET", there, None)
        elif answer.status != _CREATED:
            raise _answered("Rekor", answer)
        found = next(iter(_read("Rekor", answer.body).values()), None)
        if answer.status >= 300 or not isinstance(found, dict):
            raise _answered("Rekor", answer)
        return found

    def _ask(self, who: str, method: str, url: str, document: Mapping[str, Any] | None) -> Response:
        headers = {"accept": "application/json"} | ({"content-type": "application/json"} if document else {})
        body = json.dumps(document).encode() if document is not None else None
        try:
            return self._egress.request(method, url, headers=headers, body=body, limit=_LIMIT, timeout=_SECONDS)
        except ExternalError as error:
            raise ExternalError(
                "sigstore", f"{who} cannot be asked: {error.message}", hint=_HINT, retryable=error.retryable
            ) from error


class Sigstore:
    """Gives credentials. Safe from any thread."""

    def __init__(self, egress: Egress, rule: KeylessRule, token: Callable[[], str]) -> None:
        self._egress, self._rule, self._token = egress, rule, token
        self.authority = KeylessAuthority(rule)

    def credential(self) -> SigstoreCredential:
        """A fresh key with a certificate; `ExternalError` where there is none to be had."""
        return SigstoreCredential(self._egress, self._rule, self.authority, self._token())


def _read(who: str, body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError as error:
        raise _refused(who, "its answer is no JSON") from error
    return found if isinstance(found, dict) else {}


def _answered(who: str, answer: Response) -> ExternalError:
    """What it says against it; busy and broken ones are asked again."""
    again = answer.status == _TOO_MANY or answer.status >= _BROKEN
    try:
        said = json.loads(answer.body)["message"]
    except (ValueError, KeyError, TypeError):
        said = answer.body[:200].decode("utf-8", "replace")
    return ExternalError("sigstore", f"{who} answered {answer.status}: {str(said)[:300]}", hint=_HINT, retryable=again)


def _refused(who: str, why: str) -> ExternalError:
    return ExternalError("sigstore", f"{who}: {why}", hint=_HINT)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
