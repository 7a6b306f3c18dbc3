"""Signatures over images and claims: what is signed, in which form it lies beside an image, and how it is checked.

Images are signed in cosign's "simple signing" form (github.com/sigstore/cosign, specs/SIGNATURE_SPEC.md): an OCI manifest
under the tag `sha256-<hex>.sig` whose layer is the payload and whose annotation is the signature. Attestations are
DSSE envelopes (secure-systems-lab/dsse, protocol.md) under `sha256-<hex>.att`. Keys are the port's; nothing is stored
here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from aegis.core import codec
from aegis.core.errors import Denied
from aegis.core.ids import sha256
from aegis.core.ports import Signer
from aegis.core.types import Evidence

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE: Final = "application/vnd.dsse.envelope.v1+json"
IN_TOTO: Final = "application/vnd.in-toto+json"
SIGNATURE: Final = "dev.cosignproject.cosign/signature"
_CREATOR: Final = "aegis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """What is put beside an image: the blobs, then the manifest under `tag`. `signature` is base64."""

    tag: str
    media_type: str
    manifest: bytes
    blobs: tuple[bytes, ...]
    signature: str = ""


def signature_tag(digest: str) -> str:
    """Where cosign looks for the signatures of an image."""
    return f"{digest.replace(':', '-')}.sig"


def attestation_tag(digest: str) -> str:
    """Where cosign looks for the attestations of an image."""
    return f"{digest.replace(':', '-')}.att"


def fingerprint(public_key: str) -> str:
    """A public key's SHA-256 over its DER form, in hex."""
    return hashlib.sha256(_der(public_key)).hexdigest()


def payload(repository: str, digest: str) -> bytes:
    """What is signed for an image: cosign's simple signing document."""
    document = {
        "critical": {
            "identity": {"docker-reference": repository},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": {"creator": _CREATOR},
    }
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def sign_image(signer: Signer, *, repository: str, digest: str) -> Attached:
    """The signature of an image, as it lies beside it."""
    body = payload(repository, digest)
    signature = base64.b64encode(signer.sign(body)).decode()
    return _beside(signature_tag(digest), ((body, SIMPLE_SIGNING, {SIGNATURE: signature}),), signature)


def attest(signer: Signer, *, digest: str, statements: tuple[Mapping[str, Any], ...]) -> Attached:
    """In-toto statements about an image as signed envelopes beside it, one layer each."""
    layers = []
    for statement in statements:
        envelope = json.dumps(seal(signer, statement), separators=(",", ":"), sort_keys=True).encode()
        layers.append((envelope, DSSE, {SIGNATURE: "", "predicateType": str(statement["predicateType"])}))
    return _beside(attestation_tag(digest), tuple(layers))


def seal(signer: Signer, statement: Mapping[str, Any]) -> dict[str, Any]:
    """A DSSE envelope around an in-toto statement."""
    body = json.dumps(statement, separators=(",", ":"), sort_keys=True).encode()
    signature = base64.b64encode(signer.sign(authenticated(IN_TOTO, body))).decode()
    return {
        "payloadType": IN_TOTO,
        "payload": base64.b64encode(body).decode(),
        "signatures": [{"keyid": fingerprint(signer.public_key()), "sig": signature}],
    }


def authenticated(kind: str, body: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is really signed."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(body), body)


def open_envelope(public_key: str, envelope: bytes) -> dict[str, Any]:
    """The statement in a DSSE envelope; `Denied` unless the key signed it."""
    try:
        document = json.loads(envelope)
        body = base64.b64decode(document["payload"], validate=True)
        signatures = [base64.b64decode(one["sig"], validate=True) for one in document["signatures"]]
        kind = str(document["payloadType"])
        statement = json.loads(body)
    except (ValueError, KeyError, TypeError) as error:
        raise Denied("bad-signature", f"not a DSSE envelope: {error}") from error
    if not any(verified(public_key, one, authenticated(kind, body)) for one in signatures):
        raise Denied("bad-signature", "no signature of the envelope is by this key")
    return statement if isinstance(statement, dict) else {}


def verify_image(public_key: str, *, digest: str, manifest: bytes, blob: Callable[[str], bytes]) -> None:
    """Raise `Denied` unless the signature manifest holds a payload about `digest` that `public_key` signed.

    Codes: `unsigned`, `bad-signature`, `wrong-digest`. `blob` reads a blob by digest.
    """
    try:
        layers = json.loads(manifest)["layers"]
        found = [(one["digest"], one["annotations"][SIGNATURE]) for one in layers if one["mediaType"] == SIMPLE_SIGNING]
    except (ValueError, KeyError, TypeError) as error:
        raise Denied("bad-signature", f"the signature of {digest[:19]} cannot be read: {error}") from error
    if not found:
        raise Denied("unsigned", f"{digest[:19]} is not signed")
    about_others = False
    for layer, signature in found:
        body = blob(layer)
        if sha256(body) != layer or not verified(public_key, base64.b64decode(signature), body):
            continue
        if json.loads(body)["critical"]["image"]["docker-manifest-digest"] == digest:
            return
        about_others = True
    if about_others:
        raise Denied("wrong-digest", f"what was signed is another image than {digest[:19]}")
    raise Denied("bad-signature", f"no signature of {digest[:19]} is by this server's key")


def sign_evidence(evidence: Evidence, signer: Signer) -> Evidence:
    """The claim with the server's signature over all of it but the signature."""
    body = codec.encode(replace(evidence, signature=""))
    return replace(evidence, signature=base64.b64encode(signer.sign(body)).decode())


def verify_evidence(evidence: Evidence, public_key: str) -> None:
    """Raise `Denied` (`bad-signature`) unless the claim is as the server signed it."""
    body = codec.encode(replace(evidence, signature=""))
    if not verified(public_key, base64.b64decode(evidence.signature), body):
        raise Denied("bad-signature", f"the {evidence.kind} claim {evidence.id} is not as it was signed")


def verified(public_key: str, signature: bytes, body: bytes) -> bool:
    """Whether an ECDSA P-256 SHA-256 signature over `body` is by the key (PEM)."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - a native library, loaded where it is used
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - as above

    key = serialization.load_pem_public_key(public_key.encode())
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(signature, body, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _beside(tag: str, layers: tuple[tuple[bytes, str, dict[str, str]], ...], signature: str = "") -> Attached:
    diff_ids = [sha256(body) for body, _, _ in layers]
    config = json.dumps(
        {"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": []},
        separators=(",", ":"),
    ).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "size": len(config), "digest": sha256(config)},
        "layers": [
            {"mediaType": kind, "size": len(body), "digest": sha256(body), "annotations": notes}
            for body, kind, notes in layers
        ],
    }
    return Attached(
        tag=tag,
        media_type=OCI_MANIFEST,
        manifest=json.dumps(manifest, separators=(",", ":")).encode(),
        blobs=(config, *(body for body, _, _ in layers)),
        signature=signature,
    )


def _der(public_key: str) -> bytes:
    lines = [line for line in public_key.splitlines() if line and not line.startswith("-----")]
    return base64.b64decode("".join(lines))
