"""Signatures that `cosign verify --key` accepts, and attestations as DSSE envelopes: what to push, and whether it holds.

Pure values: a manifest, its blobs and its tag, for somebody else to push; and the way back, from what a registry holds to
`Verified` or a refusal. One manifest serves both ways of finding it: the tag `sha256-<hex>.sig` (or `.att`) that cosign
reads, and the `subject` field of OCI 1.1 by which registries list referrers.

Sources: cosign's `specs/SIGNATURE_SPEC.md` and `SIMPLE_SIGNING_PAYLOAD.md`; DSSE `protocol.md`; OCI image-spec 1.1.
Who vouches for a signature is an `Authority`'s to say: a key (this module), or a certificate and a transparency log (`keyless`). With a
key there is no transparency log: verify with `--insecure-ignore-tlog=true`, the ledger is our log.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from aegis.core import codec
from aegis.core.errors import Denied, UserError
from aegis.core.ids import is_digest, sha256
from aegis.core.ports import Signer
from aegis.core.types import Evidence

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE: Final = "application/vnd.dsse.envelope.v1+json"
IN_TOTO: Final = "application/vnd.in-toto+json"
EVIDENCE: Final = "application/vnd.aegis.evidence.v1+json"
SIGNATURE_ARTIFACT: Final = "application/vnd.dev.cosign.artifact.sig.v1+json"
ATTESTATION_ARTIFACT: Final = "application/vnd.dev.cosign.artifact.att.v1+json"
SIGNATURE_ANNOTATION: Final = "dev.cosignproject.cosign/signature"
PREDICATE_ANNOTATION: Final = "predicateType"
_PAYLOAD_TYPE: Final = "cosign container image signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is signed, as its registry holds it: the descriptor of an image's manifest or index."""

    digest: str
    size: int
    media_type: str = MANIFEST

    def __post_init__(self) -> None:
        if not is_digest(self.digest) or not self.digest.startswith("sha256:"):
            raise UserError("digest", f"{self.digest!r} is no sha256 digest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushable:
    """What to push beside an image: first the blobs by digest, then the manifest under `tag`."""

    tag: str
    digest: str
    manifest: bytes
    blobs: Mapping[str, bytes]
    media_type: str = MANIFEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A digest whose signature holds. `key` is who signed (`Authority.name`), `optional` the signer's claims."""

    digest: str
    key: str
    reference: str = ""
    optional: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One signature (base64) over `data`, as it lies in a layer with `annotations`; `envelope` is the layer, where it is one."""

    data: bytes
    signature: str
    envelope: bytes | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


class Credential(Protocol):
    """What signs one image's signature or attestations."""

    @property
    def name(self) -> str:
        """How the ledger calls who signs."""
        ...

    def sign(self, data: bytes) -> bytes:
        """An ECDSA P-256 SHA-256 signature over `data`, DER encoded."""
        ...

    def marks(self, claim: Claim) -> Mapping[str, str]:
        """What vouches for a signature that it made, as annotations of the layer. `ExternalError` where that is not to be had."""
        ...


class Authority(Protocol):
    """Whose signatures are accepted."""

    @property
    def name(self) -> str:
        """How the ledger calls it."""
        ...

    def refuses(self, claim: Claim) -> str:
        """Why it does not vouch for this signature; empty where it does."""
        ...


class Notary(Protocol):
    """What a server signs images with, and whose signatures it accepts, by the declaration in force. Safe from any thread."""

    def credential(self) -> Credential:
        """A fresh one. `ExternalError` where whoever vouches for it cannot be reached: then nothing is signed."""
        ...

    def trusted(self) -> tuple[Authority, ...]:
        """Never empty."""
        ...


class KeyCredential:
    """A kept key: nothing but itself vouches for it."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self.name = key_fingerprint(signer.public_key())

    def sign(self, data: bytes) -> bytes:
        """See `Credential`."""
        return self._signer.sign(data)

    def marks(self, _claim: Claim) -> Mapping[str, str]:
        """Nothing."""
        return {}


class KeyAuthority:
    """Accepts what one public key (PEM) verifies."""

    def __init__(self, public_key_pem: str) -> None:
        self._key = _public(public_key_pem)
        self.name = key_fingerprint(public_key_pem)

    def refuses(self, claim: Claim) -> str:
        """See `Authority`."""
        return "" if _holds(self._key, claim.signature, claim.data) else "it was made with another key"


class KeyNotary:
    """Signs with one key, and accepts that one's signatures."""

    def __init__(self, signer: Signer) -> None:
        self._credential, self._trusted = KeyCredential(signer), (KeyAuthority(signer.public_key()),)

    def credential(self) -> Credential:
        """See `Notary`."""
        return self._credential

    def trusted(self) -> tuple[Authority, ...]:
        """See `Notary`."""
        return self._trusted


def signature_tag(digest: str) -> str:
    """Where cosign looks for the signatures of a digest."""
    return f"{digest.replace(':', '-', 1)}.sig"


def attestation_tag(digest: str) -> str:
    """Where cosign looks for the attestations of a digest."""
    return f"{digest.replace(':', '-', 1)}.att"


def key_fingerprint(public_key_pem: str) -> str:
    """The sha256 digest of the key's DER form (SubjectPublicKeyInfo), which names it in the ledger."""
    return sha256(
        _public(public_key_pem).public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


# -- signing ----------------------------------------------------------------------------------------------


def sign_image(
    subject: Subject, reference: str, credential: Credential, annotations: Mapping[str, str] | None = None
) -> Pushable:
    """The signature of an image. `reference` is its repository (`host/name`), `annotations` become signed claims."""
    payload = codec.encode(
        {
            "critical": {
                "identity": {"docker-reference": reference},
                "image": {"docker-manifest-digest": subject.digest},
                "type": _PAYLOAD_TYPE,
            },
            "optional": dict(annotations or {}) or None,
        }
    )
    signature = base64.b64encode(credential.sign(payload)).decode()
    marks = {SIGNATURE_ANNOTATION: signature, **credential.marks(Claim(data=payload, signature=signature))}
    layer = _descriptor(SIMPLE_SIGNING, payload) | {"annotations": marks}
    return _pushable(signature_tag(subject.digest), SIGNATURE_ARTIFACT, subject, ((layer, payload),))


def attest_image(subject: Subject, statements: tuple[bytes, ...], credential: Credential) -> Pushable:
    """Attestations of an image: in-toto statements (JSON), each in a signed envelope."""
    layers: list[tuple[dict[str, Any], bytes]] = []
    for statement in statements:
        claim, vouched = sign_statement(statement, credential)
        envelope = claim.envelope or b""
        predicate = str(_json(statement).get("predicateType", ""))
        marks = {SIGNATURE_ANNOTATION: "", PREDICATE_ANNOTATION: predicate, **vouched}
        layers.append((_descriptor(DSSE, envelope) | {"annotations": marks}, envelope))
    return _pushable(attestation_tag(subject.digest), ATTESTATION_ARTIFACT, subject, tuple(layers))


def sign_statement(statement: bytes, credential: Credential) -> tuple[Claim, Mapping[str, str]]:
    """A signed in-toto statement, and what vouches for it."""
    signature = base64.b64encode(credential.sign(pae(IN_TOTO, statement))).decode()
    claim = statement_claim(statement, signature)
    return claim, credential.marks(claim)


def statement_claim(statement: bytes, signature: str) -> Claim:
    """The claim of a signature over an in-toto statement, in an envelope of its own."""
    return Claim(data=pae(IN_TOTO, statement), signature=signature, envelope=_envelope(IN_TOTO, statement, signature))


def _envelope(payload_type: str, payload: bytes, signature: str) -> bytes:
    document = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [{"keyid": "", "sig": signature}],
    }
    return codec.encode(document)


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed, so that type and payload cannot be told apart otherwise."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign_evidence(evidence: Evidence, signer: Signer) -> Evidence:
    """The evidence with the server's signature over all its other fields."""
    signature = signer.sign(pae(EVIDENCE, _evidence_bytes(evidence)))
    return replace(evidence, signature=base64.b64encode(signature).decode())


# -- verifying --------------------------------------------------------------------------------------------


def verify_image(
    trusted: Sequence[Authority], digest: str, manifest: bytes | None, blobs: Mapping[str, bytes]
) -> Verified:
    """`Verified` when one of the authorities vouches for a signature in `manifest` that speaks of `digest`.

    `manifest` is what lies under `signature_tag(digest)` (None: nothing), `blobs` its layers by digest. `Denied` with
    `unsigned` where there is no signature, `bad-signature` where nobody vouches for one, `wrong-digest` where what is
    signed is another image.
    """
    layers = _layers(manifest, SIMPLE_SIGNING)
    if not layers:
        raise _unsigned(digest)
    signed_other, why = "", ""
    for layer in layers:
        payload, marks = _layer_bytes(layer, blobs), _marks(layer)
        if payload is None:
            continue
        claim = Claim(data=payload, signature=marks.get(SIGNATURE_ANNOTATION, ""), annotations=marks)
        by, why = _vouched(trusted, claim)
        if not by:
            continue
        document = _json(payload)
        critical = document.get("critical")
        critical = critical if isinstance(critical, dict) else {}
        signed = str((critical.get("image") or {}).get("docker-manifest-digest", ""))
        if signed == digest and critical.get("type") == _PAYLOAD_TYPE:
            reference = str((critical.get("identity") or {}).get("docker-reference", ""))
            return Verified(digest=digest, key=by, reference=reference, optional=document.get("optional") or {})
        signed_other = signed or "nothing"
    if signed_other:
        raise Denied(
            "wrong-digest",
            f"the signature beside {digest} is for {signed_other}",
            hint="somebody moved a signature; build and sign the image again",
        )
    raise Denied(
        "bad-signature",
        f"no signature of {digest} is trusted{f': {why}' if why else ''}",
        hint="only images that this platform signed are promoted; release the change again",
    )


def verify_attestations(
    trusted: Sequence[Authority], digest: str, manifest: bytes | None, blobs: Mapping[str, bytes]
) -> tuple[dict[str, Any], ...]:
    """The in-toto statements about `digest` whose envelopes one of the authorities vouches for; `Denied` where there is none."""
    layers = _layers(manifest, DSSE)
    if not layers:
        raise _unsigned(digest)
    statements: list[dict[str, Any]] = []
    signed_other, why = False, ""
    for layer in layers:
        envelope = _layer_bytes(layer, blobs)
        if envelope is None:
            continue
        payload, why = _opened(trusted, IN_TOTO, envelope, _marks(layer))
        if payload is None:
            continue
        statement = _json(payload)
        if digest.partition(":")[2] in _subjects(statement):
            statements.append(statement)
        else:
            signed_other = True
    if statements:
        return tuple(statements)
    if signed_other:
        raise Denied("wrong-digest", f"the attestations beside {digest} are about something else")
    raise Denied("bad-signature", f"no attestation of {digest} is trusted{f': {why}' if why else ''}")


def _opened(
    trusted: Sequence[Authority], payload_type: str, envelope: bytes, marks: Mapping[str, str]
) -> tuple[bytes | None, str]:
    """The payload of a DSSE envelope that is vouched for, or None and why not."""
    document = _json(envelope)
    try:
        payload = base64.b64decode(str(document.get("payload", "")), validate=True)
    except (binascii.Error, ValueError):
        payload = b""
    signatures, why = document.get("signatures"), "it is no envelope"
    if document.get("payloadType") == payload_type and isinstance(signatures, list):
        for entry in signatures:
            signature = str(entry.get("sig", "")) if isinstance(entry, dict) else ""
            claim = Claim(data=pae(payload_type, payload), signature=signature, envelope=envelope, annotations=marks)
            by, why = _vouched(trusted, claim)
            if by:
                return payload, ""
    return None, why


def _vouched(trusted: Sequence[Authority], claim: Claim) -> tuple[str, str]:
    """Which of the authorities vouches for it, or why none does."""
    refusals: dict[str, None] = {}
    for authority in trusted:
        refused = authority.refuses(claim)
        if not refused:
            return authority.name, ""
        refusals[refused] = None
    return "", "; ".join(refusals)


def verify_evidence(public_key_pem: str, evidence: Evidence) -> None:
    """Nothing, when the server's signature holds; `Denied` (`unsigned`, `bad-signature`) otherwise."""
    if not evidence.signature:
        raise Denied("unsigned", f"the evidence {evidence.id} about {evidence.kind} is not signed")
    if not _holds(_public(public_key_pem), evidence.signature, pae(EVIDENCE, _evidence_bytes(evidence))):
        raise Denied(
            "bad-signature", f"the evidence {evidence.id} about {evidence.kind} was altered or signed by another"
        )


# -- forms ------------------------------------------------------------------------------------------------


def _pushable(
    tag: str, artifact_type: str, subject: Subject, layers: tuple[tuple[dict[str, Any], bytes], ...]
) -> Pushable:
    config = codec.encode(
        {
            "architecture": "",
            "config": {},
            "created": "0001-01-01T00:00:00Z",
            "history": [{"created": "0001-01-01T00:00:00Z"} for _ in layers],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer, _ in layers]},
        }
    )
    manifest = codec.encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": _descriptor(CONFIG, config),
            "layers": [layer for layer, _ in layers],
            "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size},
        }
    )
    blobs = {sha256(config): config, **{layer["digest"]: data for layer, data in layers}}
    return Pushable(tag=tag, digest=sha256(manifest), manifest=manifest, blobs=blobs)


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}


def _evidence_bytes(evidence: Evidence) -> bytes:
    return codec.encode(replace(evidence, signature=""))


def _layers(manifest: bytes | None, media_type: str) -> list[dict[str, Any]]:
    layers = _json(manifest).get("layers") if manifest else None
    if not isinstance(layers, list):
        return []
    return [layer for layer in layers if isinstance(layer, dict) and layer.get("mediaType") == media_type]


def _marks(layer: Mapping[str, Any]) -> dict[str, str]:
    found = layer.get("annotations")
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _layer_bytes(layer: Mapping[str, Any], blobs: Mapping[str, bytes]) -> bytes | None:
    """A layer's content when it is what its digest says."""
    digest = str(layer.get("digest", ""))
    data = blobs.get(digest)
    return data if data is not None and f"sha256:{hashlib.sha256(data).hexdigest()}" == digest else None


def _subjects(statement: Mapping[str, Any]) -> set[str]:
    subjects = statement.get("subject")
    found = subjects if isinstance(subjects, list) else []
    return {str((one.get("digest") or {}).get("sha256", "")) for one in found if isinstance(one, dict)}


def _json(data: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _holds(key: ec.EllipticCurvePublicKey, signature: str, data: bytes) -> bool:
    try:
        key.verify(base64.b64decode(signature, validate=True), data, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _public(pem: str) -> ec.EllipticCurvePublicKey:
    wrong = UserError("public-key", "expected an ECDSA P-256 public key in PEM form")
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise wrong from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise wrong
    return key


def _unsigned(digest: str) -> Denied:
    return Denied(
        "unsigned",
        f"{digest} is not signed",
        hint="only what passed the gates is signed; look at the verdict of its run",
    )
