"""PEP 740: attestations of a file, read, checked against it, and put together as its provenance object. Pure.

Checked is what an index can know by itself: the statement is about this very file, of a type that the specification
allows, and signed with the key of the certificate that came with it. Whether that certificate's authority is to be
trusted is the question of who verifies the provenance: it is served whole.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from aegis.core import codec
from aegis.core.errors import UserError

PREDICATES: Final = frozenset(
    {"https://docs.pypi.org/attestations/publish/v1", "https://slsa.dev/provenance/v1"}
)  # fmt: skip
_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_LIMIT: Final = 16


def read_attestations(text: str, filename: str, digest: str) -> tuple[dict[str, Any], ...]:
    """The attestations in an upload's form field; `UserError` (`attestation-invalid`) when one does not hold."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise _invalid(f"the attestations are not JSON: {error}") from error
    if not isinstance(found, list) or not 0 < len(found) <= _LIMIT:
        raise _invalid(f"the attestations are not a list of one to {_LIMIT}")
    kinds = [_checked(one, filename, digest) for one in found]
    if len(set(kinds)) != len(kinds):
        raise _invalid("there are two attestations of one predicate type")
    return tuple(found)


def provenance(attestations: tuple[dict[str, Any], ...], publisher: str) -> bytes:
    """The provenance object of a file: its attestations, and who published it here."""
    bundle = {"publisher": {"kind": "Aegis", "claims": {"uploaded_by": publisher}}, "attestations": list(attestations)}
    return codec.encode({"version": 1, "attestation_bundles": [bundle]})


def with_own(known: bytes | None, attestation: dict[str, Any], publisher: str) -> bytes:
    """A provenance object with one more attestation, made here, beside those that a file came with."""
    own = json.loads(provenance((attestation,), publisher))
    if known is not None:
        own["attestation_bundles"] = [*json.loads(known)["attestation_bundles"], *own["attestation_bundles"]]
    return codec.encode(own)


def _checked(one: Any, filename: str, digest: str) -> str:
    if not isinstance(one, dict) or one.get("version") != 1:
        raise _invalid("an attestation is an object of version 1")
    material, envelope = one.get("verification_material"), one.get("envelope")
    if not isinstance(material, dict) or not isinstance(envelope, dict):
        raise _invalid("an attestation has verification_material and envelope")
    if not isinstance(material.get("transparency_entries"), list):
        raise _invalid("verification_material has a list of transparency_entries")
    payload = _decoded(envelope.get("statement"), "statement")
    try:
        statement = json.loads(payload)
        (subject,) = statement["subject"]
        kind, name, hashes = statement["predicateType"], subject["name"], subject["digest"]
    except (ValueError, KeyError, TypeError) as error:
        raise _invalid(f"the statement cannot be read: {error}") from error
    if statement.get("_type") != _STATEMENT or kind not in PREDICATES:
        raise _invalid(f"the statement is not one of {', '.join(sorted(PREDICATES))}")
    if name != filename or hashes.get("sha256") != digest.removeprefix("sha256:"):
        raise _invalid(f"the statement is about {str(name)[:120]}, and not about this file")
    _verify(
        _decoded(material.get("certificate"), "certificate"), payload, _decoded(envelope.get("signature"), "signature")
    )
    return str(kind)


def _verify(certificate: bytes, payload: bytes, signature: bytes) -> None:
    from cryptography import x509  # noqa: PLC0415 - loads a library that few uploads need
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    encoded = b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise _invalid("the certificate's key is not of an elliptic curve")
        key.verify(signature, encoded, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise _invalid("the signature is not that of the certificate's key") from error
    except ValueError as error:
        raise _invalid(f"the certificate cannot be read: {error}") from error


def _decoded(value: Any, name: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise _invalid(f"`{name}` is not base64") from error


def _invalid(message: str) -> UserError:
    return UserError("attestation-invalid", message, hint="attest the file again, after its last change")
