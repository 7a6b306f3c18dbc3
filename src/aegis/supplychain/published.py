"""Who published a file, by the attestations that its index serves beside it (PEP 740). Pure.

Checked: the statement names this file's digest; its signature is that of the certificate's key; the certificate is that of the
publisher whom the index names, where that is GitHub's or GitLab's; where authorities are given, that one of them issued
it; and, where the key of a transparency log is given, that this log promised to hold the signature, and that the certificate was valid
then (it lives for minutes). Not checked: revocation. Without authorities, whoever runs the index could have made all of it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from aegis.core.types import Finding, Severity
from aegis.supplychain import keyless
from aegis.supplychain.packages import Package
from aegis.supplychain.scan import TOOL, Vulnerability
from aegis.supplychain.signing import Authority, pae

INVALID: Final = "provenance-invalid"
Policy = Literal["off", "warn", "block"]
_PAYLOAD: Final = "application/vnd.in-toto+json"
_ISSUER: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")  # Fulcio's extensions: the issuer, a DER UTF8String
_ISSUERS: Final = {"GitHub": "https://token.actions.githubusercontent.com", "GitLab": "https://gitlab.com"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A locked file whose provenance is published: by whom the index says, and what speaks against it (empty: nothing)."""

    package: Package
    filename: str
    publisher: str
    identified: bool
    """Whether the certificate is that publisher's, and not only the index says so."""
    problem: str = ""


def authorities(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of authorities; `ValueError` where there is none."""
    return tuple(x509.load_pem_x509_certificates(pem))


def check(
    package: Package, filename: str, digest: str, provenance: bytes, trusted: tuple[x509.Certificate, ...] = (),
    log: ec.EllipticCurvePublicKey | None = None,
) -> Published:  # fmt: skip
    """What the provenance object says of the file with this digest. Never an exception: what cannot be read is a problem."""
    publisher, identified = "", True
    try:
        bundles = json.loads(provenance)["attestation_bundles"]
        if not bundles:
            raise ValueError("it holds no attestation")  # noqa: TRY301 - one way of saying what is wrong
        for bundle in bundles:
            said = bundle["publisher"]
            publisher = _named(said)
            if not bundle["attestations"]:
                raise ValueError("it holds no attestation")  # noqa: TRY301 - as above
            for one in bundle["attestations"]:
                identified &= _attestation(one, digest, said, trusted)
                if log is not None:
                    _logged(one, log)
    except (ValueError, KeyError, TypeError, AttributeError, InvalidSignature, binascii.Error) as error:
        why = (
            "the signature is not that of the certificate's key" if isinstance(error, InvalidSignature) else str(error)
        )
        return Published(package=package, filename=filename, publisher=publisher, identified=False, problem=why[:300])
    return Published(package=package, filename=filename, publisher=publisher, identified=identified)


def findings(published: Iterable[Published], policy: Policy) -> tuple[Vulnerability, ...]:
    """What does not hold, as findings: critical ones where it is to block, low ones where it is only told."""
    severity = Severity.CRITICAL if policy == "block" else Severity.LOW
    return tuple(
        Vulnerability(
            finding=Finding(
                tool=TOOL, rule=INVALID, severity=severity, package=one.package.name,
                installed=one.package.version or "",
                message=f"the provenance of {one.filename} does not hold: {one.problem}",
                mend="do not install it before its publisher has said why; lock the version before it",
                fingerprint=f"{INVALID}:{one.filename}",
            ),
            package=one.package, names=(INVALID,),
        )
        for one in published if one.problem and policy != "off"
    )  # fmt: skip


def _attestation(one: Any, digest: str, publisher: Any, trusted: tuple[x509.Certificate, ...]) -> bool:
    """Raise what is wrong with it; whether its certificate is the publisher's, where that can be told."""
    envelope = one["envelope"]
    payload = base64.b64decode(envelope["statement"], validate=True)
    subjects = json.loads(payload)["subject"]
    if not any(f"sha256:{subject['digest'].get('sha256')}" == digest for subject in subjects):
        raise ValueError("its statement is about another file")
    certificate = x509.load_der_x509_certificate(
        base64.b64decode(one["verification_material"]["certificate"], validate=True)
    )
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("its certificate's key is not of an elliptic curve")
    key.verify(
        base64.b64decode(envelope["signature"], validate=True), pae(_PAYLOAD, payload), ec.ECDSA(hashes.SHA256())
    )
    if trusted and not any(_issued(certificate, authority) for authority in trusted):
        raise ValueError("none of the given authorities issued its certificate")
    return _identified(certificate, publisher)


def _logged(one: Any, log: ec.EllipticCurvePublicKey) -> None:
    claim = keyless.claim_of(one)
    certificate = x509.load_pem_x509_certificate(claim.annotations[keyless.CERTIFICATE].encode())
    keyless.valid_at(certificate, keyless.logged(claim, certificate, log))


def verified(provenance: bytes, digest: str, authority: Authority) -> str:
    """Why no attestation in a provenance object is about this digest and vouched for by `authority`; empty where one is."""
    why = "it has no attestation"
    try:
        for bundle in json.loads(provenance)["attestation_bundles"]:
            for one in bundle["attestations"]:
                claim = keyless.claim_of(one)
                subjects = json.loads(base64.b64decode(one["envelope"]["statement"]))["subject"]
                about = any(f"sha256:{each['digest'].get('sha256')}" == digest for each in subjects)
                why = authority.refuses(claim) if about else "its statement is about another file"
                if not why:
                    return ""
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        return str(error)[:300] or type(error).__name__
    return why


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _identified(certificate: x509.Certificate, publisher: Any) -> bool:
    """Whether the certificate is for the publisher's workflow; False for a kind whose certificates are not known here."""
    kind = publisher["kind"]
    if kind == "GitHub":
        begin = f"https://github.com/{publisher['repository']}/.github/workflows/{publisher['workflow']}@"
    elif kind == "GitLab":
        begin = f"https://gitlab.com/{publisher['repository']}//{publisher['workflow_filepath']}@"
    else:
        return False
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if not any(name.startswith(begin) for name in names.get_values_for_type(x509.UniformResourceIdentifier)):
        raise ValueError(f"its certificate is not for {_named(publisher)}, whom the index names")
    issuer = certificate.extensions.get_extension_for_oid(_ISSUER).value
    said = issuer.value[2:].decode() if isinstance(issuer, x509.UnrecognizedExtension) else ""
    if said != _ISSUERS[kind]:
        raise ValueError(f"its certificate was given on the word of {said[:100]}, not of {kind}")
    return True


def _named(publisher: Any) -> str:
    where = publisher.get("repository") or (publisher.get("claims") or {}).get("uploaded_by") or ""
    return f"{publisher['kind']} {where}".strip()
