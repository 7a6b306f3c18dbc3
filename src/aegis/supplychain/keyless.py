"""Signatures without a kept key: whether an authority vouches for who signed, and a log for when. Pure.

A Fulcio gives a certificate of minutes for a key that signs once; a Rekor writes the signature down and promises, signed, that it is in
its log since then. What is verified: the certificate leads to a declared authority and names the declared identity and issuer; the log's
promise is signed with its declared key and is about this signature, this content and this certificate; the certificate was valid
when the log took it; where the key of a certificate log is declared, that the certificate was promised to that log.

Sources: cosign's `specs/SIGNATURE_SPEC.md` (annotations), Fulcio's `docs/oid-info.md` and `certificate-specification.md`, Rekor's types
`hashedrekord` and `dsse` 0.0.1 and the signed entry timestamp in its `openapi.yaml`, RFC 8785, RFC 6962 section 3.2.
It deliberately knows no proof of inclusion and no revocation, and asks nobody.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.certificate_transparency import SignedCertificateTimestamp
from cryptography.x509.oid import ExtendedKeyUsageOID

from aegis.core.ids import sha256
from aegis.supplychain.options import KeylessRule
from aegis.supplychain.signing import Claim, statement_claim

BUNDLE: Final = "dev.sigstore.cosign/bundle"
CERTIFICATE: Final = "dev.sigstore.cosign/certificate"
CHAIN: Final = "dev.sigstore.cosign/chain"
_LONGEST: Final = 4
_ISSUER: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")  # a DER UTF8String
_OLD_ISSUER: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")  # the bare text


class KeylessAuthority:
    """Vouches for signatures of one identity, as `signing` asks for it. `ValueError` for what is no certificate or key."""

    def __init__(self, rule: KeylessRule) -> None:
        self.name = rule.name
        self._rule = rule
        self._trusted = tuple(x509.load_pem_x509_certificates(rule.authorities.encode()))
        self._log = public_key(rule.log_key)
        self._certificate_log = public_key(rule.certificate_log_key) if rule.certificate_log_key else None

    def refuses(self, claim: Claim) -> str:
        """Why this is no signature of the identity; empty where it is one."""
        try:
            certificate, chain = _certificates(claim.annotations)
            self._signed(claim, certificate)
            at = logged(claim, certificate, self._log)
            issuer = self._issued(certificate, chain, at)
            self._named(certificate)
            if self._certificate_log is not None:
                promised(certificate, issuer, self._certificate_log)
        except InvalidSignature:
            return "a signature in it does not hold"
        except (
            ValueError,
            KeyError,
            TypeError,
            binascii.Error,
            x509.ExtensionNotFound,
            x509.DuplicateExtension,
        ) as error:
            return str(error)[:300] or type(error).__name__
        return ""

    def _signed(self, claim: Claim, certificate: x509.Certificate) -> None:
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise TypeError("its certificate's key is not of an elliptic curve")
        key.verify(base64.b64decode(claim.signature, validate=True), claim.data, ec.ECDSA(hashes.SHA256()))

    def _issued(
        self, certificate: x509.Certificate, chain: Iterable[x509.Certificate], at: datetime
    ) -> x509.Certificate:
        """The certificate's issuer, when a chain leads to an authority and all of it was valid at that time."""
        valid_at(certificate, at)
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if ExtendedKeyUsageOID.CODE_SIGNING not in usages:
            raise ValueError("its certificate is not for signing code")
        if any(one.critical and isinstance(one.value, x509.UnrecognizedExtension) for one in certificate.extensions):
            raise ValueError("its certificate has a critical extension that is not known here")
        current, between = certificate, list(chain)
        offered: list[x509.Certificate] = []
        for depth in range(_LONGEST):
            found = next((one for one in self._trusted if _may_issue(one, current, depth, at)), None)
            if found is not None:
                return offered[0] if offered else found
            current = next((one for one in between if _may_issue(one, current, depth, at)), current)
            if current not in between:
                break
            between.remove(current)
            offered.append(current)
        raise ValueError("none of the declared authorities issued its certificate")

    def _named(self, certificate: x509.Certificate) -> None:
        issuer, names = issuer_of(certificate), identities_of(certificate)
        if issuer != self._rule.issuer:
            raise ValueError(
                f"its certificate was given on the word of {issuer[:100] or 'nobody'}, not of {self._rule.issuer}"
            )
        if self._rule.identity not in names:
            raise ValueError(
                f"its certificate is for {', '.join(names)[:200] or 'nobody'}, not for {self._rule.identity}"
            )


def logged(claim: Claim, certificate: x509.Certificate, log: ec.EllipticCurvePublicKey) -> datetime:
    """When the log took it; `ValueError` where the log with this key does not vouch for this very signature."""
    bundle = json.loads(claim.annotations.get(BUNDLE) or "null")
    if not isinstance(bundle, dict):
        raise ValueError("no transparency log vouches for it")  # noqa: TRY004 - one way of saying what is wrong
    entry = bundle["Payload"]
    promise = base64.b64decode(bundle["SignedEntryTimestamp"], validate=True)
    try:
        log.verify(promise, canonical(entry), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise ValueError("the promise of the transparency log is not signed with the declared key") from None
    if entry["logID"] != log_id(log):
        raise ValueError("it is in another transparency log")
    _about(json.loads(base64.b64decode(entry["body"], validate=True)), claim, certificate)
    return datetime.fromtimestamp(int(entry["integratedTime"]), UTC)


def valid_at(certificate: x509.Certificate, at: datetime) -> None:
    """`ValueError` unless the certificate was valid then."""
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise ValueError(f"its certificate was not valid when it was logged, at {at:%Y-%m-%d %H:%M:%S} UTC")


# -- what the log is given, and what is kept of its answer -------------------------------------------------


def proposed(claim: Claim, certificate_pem: str) -> dict[str, Any]:
    """The entry that a Rekor is asked to log: of a signature, or of an envelope."""
    verifier = base64.b64encode(certificate_pem.encode()).decode()
    if claim.envelope is not None:
        content = {"proposedContent": {"envelope": claim.envelope.decode(), "verifiers": [verifier]}}
        return {"apiVersion": "0.0.1", "kind": "dsse", "spec": content}
    spec = {
        "data": {"hash": {"algorithm": "sha256", "value": _hex(claim.data)}},
        "signature": {"content": claim.signature, "publicKey": {"content": verifier}},
    }
    return {"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec}


def marks(entry: Mapping[str, Any], certificate_pem: str, chain_pem: str) -> dict[str, str]:
    """A layer's annotations: the certificate, what it leads to, and the log's promise."""
    payload = {name: entry[name] for name in ("body", "integratedTime", "logIndex", "logID")}
    promise = entry["verification"]["signedEntryTimestamp"]
    bundle = json.dumps({"SignedEntryTimestamp": promise, "Payload": payload}, separators=(",", ":"))
    return {BUNDLE: bundle, CERTIFICATE: certificate_pem, CHAIN: chain_pem}


def canonical(entry: Mapping[str, Any]) -> bytes:
    """What a signed entry timestamp signs: the entry in the form of RFC 8785 (of texts and whole numbers only)."""
    kept = {name: entry[name] for name in ("body", "integratedTime", "logIndex", "logID")}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def log_id(key: ec.EllipticCurvePublicKey) -> str:
    """What names a log: the sha256 of its public key."""
    return _hex(_der(key))


def published(statement: bytes, claim: Claim, vouched: Mapping[str, str]) -> dict[str, Any]:
    """The attestation of a file in the form that package indexes serve (PEP 740): one certificate, one entry of the log."""
    bundle = json.loads(vouched[BUNDLE])
    entry, certificate = bundle["Payload"], x509.load_pem_x509_certificate(vouched[CERTIFICATE].encode())
    body = json.loads(base64.b64decode(entry["body"]))
    logged_as = {
        "logIndex": str(entry["logIndex"]),
        "logId": {"keyId": _base64(bytes.fromhex(entry["logID"]))},
        "kindVersion": {"kind": body["kind"], "version": body["apiVersion"]},
        "integratedTime": str(entry["integratedTime"]),
        "inclusionPromise": {"signedEntryTimestamp": bundle["SignedEntryTimestamp"]},
        "canonicalizedBody": entry["body"],
    }
    material = {
        "certificate": _base64(certificate.public_bytes(serialization.Encoding.DER)), "transparency_entries": [logged_as],
    }  # fmt: skip
    envelope = {"statement": _base64(statement), "signature": claim.signature}
    return {"version": 1, "verification_material": material, "envelope": envelope}


def claim_of(attestation: Mapping[str, Any]) -> Claim:
    """The claim of such an attestation; `ValueError`, `KeyError` or `TypeError` where it cannot be read."""
    material, envelope = attestation["verification_material"], attestation["envelope"]
    certificate = x509.load_der_x509_certificate(base64.b64decode(material["certificate"], validate=True))
    marked = {CERTIFICATE: certificate.public_bytes(serialization.Encoding.PEM).decode()}
    for entry in material["transparency_entries"][:1]:
        payload = {
            "body": entry["canonicalizedBody"], "integratedTime": int(entry["integratedTime"]),
            "logIndex": int(entry["logIndex"]), "logID": base64.b64decode(entry["logId"]["keyId"]).hex(),
        }  # fmt: skip
        promise = entry["inclusionPromise"]["signedEntryTimestamp"]
        marked[BUNDLE] = json.dumps({"SignedEntryTimestamp": promise, "Payload": payload})
    statement = base64.b64decode(envelope["statement"], validate=True)
    return replace(statement_claim(statement, str(envelope["signature"])), annotations=marked)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _about(body: Mapping[str, Any], claim: Claim, certificate: x509.Certificate) -> None:
    """`ValueError` when the logged entry is about another signature, content or certificate."""
    spec = body["spec"]
    if claim.envelope is not None:
        # Of the envelope the payload and the signature over its type and itself count; its JSON may be written otherwise.
        payload = base64.b64decode(json.loads(claim.envelope)["payload"], validate=True)
        signed, named = spec["signatures"], {"algorithm": "sha256", "value": _hex(payload)}
        right = body["kind"] == "dsse" and len(signed) == 1 and spec["payloadHash"] == named
        signature, verifier = signed[0]["signature"], signed[0]["verifier"]
    else:
        hashed = spec["data"]["hash"]
        right = body["kind"] == "hashedrekord" and hashed == {"algorithm": "sha256", "value": _hex(claim.data)}
        signature, verifier = spec["signature"]["content"], spec["signature"]["publicKey"]["content"]
    logged = x509.load_pem_x509_certificate(base64.b64decode(verifier, validate=True))
    if not right or signature != claim.signature or logged != certificate:
        raise ValueError("what the transparency log took is another signature")


# -- certificates --------------------------------------------------------------------------------------------


def identities_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Whom a certificate names: addresses and mail addresses of its alternative names."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (*names.get_values_for_type(x509.UniformResourceIdentifier), *names.get_values_for_type(x509.RFC822Name))


def issuer_of(certificate: x509.Certificate) -> str:
    """On whose word a Fulcio gave the certificate."""
    readers: tuple[tuple[x509.ObjectIdentifier, Callable[[bytes], bytes]], ...] = (
        (_ISSUER, _text),
        (_OLD_ISSUER, bytes),
    )
    for oid, read in readers:
        for one in certificate.extensions:
            if one.oid == oid and isinstance(one.value, x509.UnrecognizedExtension):
                return read(one.value.value).decode()
    return ""


def promised(certificate: x509.Certificate, issuer: x509.Certificate, log: ec.EllipticCurvePublicKey) -> None:
    """`ValueError` unless one of the certificate's embedded timestamps is that log's (RFC 6962)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
    except x509.ExtensionNotFound:
        raise ValueError("its certificate was promised to no certificate log") from None
    name = bytes.fromhex(log_id(log))
    if not any(one.log_id == name and _stamped(one, certificate, issuer, log) for one in found):
        raise ValueError("its certificate was not promised to the declared certificate log")


def _stamped(
    stamp: SignedCertificateTimestamp,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    log: ec.EllipticCurvePublicKey,
) -> bool:
    at = stamp.timestamp.replace(tzinfo=UTC)
    milliseconds = int(at.timestamp()) * 1000 + at.microsecond // 1000
    body, extra = certificate.tbs_precertificate_bytes, stamp.extension_bytes
    signed = b"".join(
        (
            b"\x00\x00", milliseconds.to_bytes(8, "big"), b"\x00\x01", bytes.fromhex(_hex(_der(issuer.public_key()))),
            len(body).to_bytes(3, "big"), body, len(extra).to_bytes(2, "big"), extra,
        )
    )  # fmt: skip
    try:
        log.verify(stamp.signature, signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def public_key(pem: str) -> ec.EllipticCurvePublicKey:
    """An ECDSA key; `ValueError` for anything else."""
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("the key of a log is expected to be of an elliptic curve")  # noqa: TRY004 - as for what cannot be read
    return key


def _certificates(annotations: Mapping[str, str]) -> tuple[x509.Certificate, tuple[x509.Certificate, ...]]:
    own, others = annotations.get(CERTIFICATE, ""), annotations.get(CHAIN, "")
    if not own:
        raise ValueError("it has no certificate")
    chain = x509.load_pem_x509_certificates(others.encode()) if others else []
    return x509.load_pem_x509_certificate(own.encode()), tuple(chain[:_LONGEST])


def _may_issue(authority: x509.Certificate, issued: x509.Certificate, below: int, at: datetime) -> bool:
    """Whether `authority` signed `issued`, and was allowed to with so many authorities between it and the leaf."""
    if authority == issued or not authority.not_valid_before_utc <= at <= authority.not_valid_after_utc:
        return False
    try:
        basic = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
        issued.verify_directly_issued_by(authority)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature):
        return False
    return basic.ca and (basic.path_length is None or below <= basic.path_length)


def _der(key: Any) -> bytes:
    form: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return form


def _hex(data: bytes) -> str:
    return sha256(data).partition(":")[2]


def _text(der: bytes) -> bytes:
    """The content of a short DER text."""
    if len(der) < 2 or der[0] not in (0x0C, 0x16) or der[1] != len(der) - 2:
        raise ValueError("its certificate names its issuer in a form that is not known here")
    return der[2:]
