"""Signatures have cosign's form, hold for what they name, and for nothing else."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from aegis.core.errors import Denied, UserError
from aegis.core.ids import sha256
from aegis.core.types import Evidence
from aegis.supplychain import signing
from aegis.supplychain.provenance import Build, statement
from aegis.supplychain.signing import (
    KeyAuthority,
    KeyCredential,
    Subject,
    verify_attestations,
    verify_evidence,
    verify_image,
)

IMAGE = b'{"schemaVersion": 2}'
SUBJECT = Subject(digest=sha256(IMAGE), size=len(IMAGE))


class MemorySigner:
    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))

    def public_key(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


OURS, THEIRS = MemorySigner(), MemorySigner()


def build() -> Build:
    return Build(
        project="shop/orders",
        repository="http://host/git/shop/orders.git",
        ref="refs/heads/main",
        commit="a" * 40,
        plan="sha256:" + "b" * 64,
        run="run-1",
        job="image",
        builder="http://host/",
        lock="sha256:" + "c" * 64,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def evidence() -> Evidence:
    return Evidence(
        id="e1", kind="tests", subject="a" * 40, project="shop/orders", digest="sha256:" + "d" * 64,
        media_type="application/xml", run="run-1", uploaded_by="test", summary={"tests": "12"},
    )  # fmt: skip


def test_a_signature_lies_where_cosign_looks_and_says_what_cosign_reads() -> None:
    pushed = signing.sign_image(SUBJECT, "host/shop/orders", KeyCredential(OURS), {"release": "orders@1.0.0"})
    manifest = json.loads(pushed.manifest)
    layer = manifest["layers"][0]
    payload = json.loads(pushed.blobs[layer["digest"]])
    assert pushed.tag == SUBJECT.digest.replace(":", "-") + ".sig"
    assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    assert base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"])
    assert payload["critical"] == {
        "identity": {"docker-reference": "host/shop/orders"},
        "image": {"docker-manifest-digest": SUBJECT.digest},
        "type": "cosign container image signature",
    }
    assert payload["optional"] == {"release": "orders@1.0.0"}
    assert manifest["subject"]["digest"] == SUBJECT.digest
    assert manifest["config"]["digest"] in pushed.blobs
    assert pushed.digest == sha256(pushed.manifest)


def test_a_signature_of_the_trusted_key_holds() -> None:
    pushed = signing.sign_image(SUBJECT, "host/shop/orders", KeyCredential(OURS))
    verified = verify_image((KeyAuthority(OURS.public_key()),), SUBJECT.digest, pushed.manifest, pushed.blobs)
    assert verified.digest == SUBJECT.digest
    assert verified.key == signing.key_fingerprint(OURS.public_key())
    assert verified.reference == "host/shop/orders"


def test_what_is_unsigned_is_denied() -> None:
    for manifest in (None, b"", b"{}", b'{"layers": []}', b"nonsense", b'{"layers": [1]}'):
        with pytest.raises(Denied) as caught:
            verify_image((KeyAuthority(OURS.public_key()),), SUBJECT.digest, manifest, {})
        assert caught.value.code == "unsigned"


def test_a_signature_of_another_key_is_denied() -> None:
    pushed = signing.sign_image(SUBJECT, "host/shop/orders", KeyCredential(THEIRS))
    with pytest.raises(Denied) as caught:
        verify_image((KeyAuthority(OURS.public_key()),), SUBJECT.digest, pushed.manifest, pushed.blobs)
    assert caught.value.code == "bad-signature"


def test_a_payload_that_was_exchanged_is_denied() -> None:
    pushed = signing.sign_image(SUBJECT, "host/shop/orders", KeyCredential(OURS))
    digest = json.loads(pushed.manifest)["layers"][0]["digest"]
    for forged in (b"{}", pushed.blobs[digest].replace(b"orders", b"others")):
        with pytest.raises(Denied) as caught:
            verify_image((KeyAuthority(OURS.public_key()),), SUBJECT.digest, pushed.manifest, {digest: forged})
        assert caught.value.code == "bad-signature"


def test_a_signature_that_was_moved_to_another_image_is_denied() -> None:
    pushed = signing.sign_image(SUBJECT, "host/shop/orders", KeyCredential(OURS))
    with pytest.raises(Denied) as caught:
        verify_image((KeyAuthority(OURS.public_key()),), "sha256:" + "e" * 64, pushed.manifest, pushed.blobs)
    assert caught.value.code == "wrong-digest"


def test_one_good_signature_among_others_is_enough() -> None:
    ours, theirs = (signing.sign_image(SUBJECT, "host/shop/orders", KeyCredential(one)) for one in (OURS, THEIRS))
    manifest = json.loads(ours.manifest)
    manifest["layers"] = json.loads(theirs.manifest)["layers"] + manifest["layers"]
    verify_image(
        (KeyAuthority(OURS.public_key()),),
        SUBJECT.digest,
        json.dumps(manifest).encode(),
        {**ours.blobs, **theirs.blobs},
    )


def test_attestations_are_envelopes_about_the_image() -> None:
    stated = statement(build(), {"shop/orders": SUBJECT.digest})
    pushed = signing.attest_image(SUBJECT, (stated,), KeyCredential(OURS))
    layer = json.loads(pushed.manifest)["layers"][0]
    envelope = json.loads(pushed.blobs[layer["digest"]])
    assert pushed.tag.endswith(".att")
    assert layer["mediaType"] == "application/vnd.dsse.envelope.v1+json"
    assert layer["annotations"]["predicateType"] == "https://slsa.dev/provenance/v1"
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    found = verify_attestations((KeyAuthority(OURS.public_key()),), SUBJECT.digest, pushed.manifest, pushed.blobs)
    assert found[0]["predicate"]["buildDefinition"]["externalParameters"]["project"] == "shop/orders"


@pytest.mark.parametrize(
    ("key", "digest", "code"),
    [(THEIRS, SUBJECT.digest, "bad-signature"), (OURS, "sha256:" + "e" * 64, "wrong-digest")],
)
def test_attestations_of_others_or_about_others_are_denied(key: MemorySigner, digest: str, code: str) -> None:
    pushed = signing.attest_image(SUBJECT, (statement(build(), {"x": SUBJECT.digest}),), KeyCredential(OURS))
    with pytest.raises(Denied) as caught:
        verify_attestations((KeyAuthority(key.public_key()),), digest, pushed.manifest, pushed.blobs)
    assert caught.value.code == code


def test_the_pre_authentication_encoding_is_that_of_the_specification() -> None:
    assert signing.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_evidence_is_signed_as_a_whole() -> None:
    signed = signing.sign_evidence(evidence(), OURS)
    verify_evidence(OURS.public_key(), signed)
    for changed in (
        replace(signed, digest="sha256:" + "0" * 64),
        replace(signed, uploaded_by="another"),
        replace(signed, summary={"tests": "13"}),
        replace(signed, template="aegis/python-service@1"),
        replace(signed, signature="!"),
    ):
        with pytest.raises(Denied) as caught:
            verify_evidence(OURS.public_key(), changed)
        assert caught.value.code == "bad-signature"
    with pytest.raises(Denied) as caught:
        verify_evidence(OURS.public_key(), evidence())
    assert caught.value.code == "unsigned"


def test_only_p256_keys_are_taken() -> None:
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    for pem in ("nonsense", other.public_bytes(serialization.Encoding.PEM, form).decode()):
        with pytest.raises(UserError):
            KeyAuthority(pem)
