"""PEP 740: what an index can hold an attestation against, and what it serves of it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from aegis.core.errors import UserError
from aegis.core.ids import sha256
from aegis.registry.attestations import provenance, read_attestations
from support.registry_doors import TokenDoors
from support.tiny_packages import wheel

NAME, DATA = wheel()
PUBLISH = "https://docs.pypi.org/attestations/publish/v1"
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate() -> bytes:
    name = x509.Name([])
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    made = made.serial_number(1).not_valid_before(begun).not_valid_after(begun + timedelta(minutes=10))
    return made.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def attestation(*, name: str = NAME, data: bytes = DATA, kind: str = PUBLISH) -> dict[str, Any]:
    subject = {"name": name, "digest": {"sha256": sha256(data).removeprefix("sha256:")}}
    statement = json.dumps(
        {"_type": "https://in-toto.io/Statement/v1", "subject": [subject], "predicateType": kind, "predicate": {}}
    ).encode()
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(statement), statement)
    signature = KEY.sign(signed, ec.ECDSA(hashes.SHA256()))
    text = {
        key: base64.b64encode(value).decode() for key, value in (("statement", statement), ("signature", signature))
    }
    material = {"certificate": base64.b64encode(certificate()).decode(), "transparency_entries": [{}]}
    return {"version": 1, "verification_material": material, "envelope": text}


def refused(*attestations: Any) -> str:
    with pytest.raises(UserError) as caught:
        read_attestations(json.dumps(attestations), NAME, sha256(DATA))
    return caught.value.message


def test_an_attestation_of_this_very_file_is_taken() -> None:
    kinds = (PUBLISH, "https://slsa.dev/provenance/v1")
    found = read_attestations(json.dumps([attestation(kind=kind) for kind in kinds]), NAME, sha256(DATA))
    assert len(found) == 2
    served = json.loads(provenance(found, "job/1/2"))
    assert served["version"] == 1
    assert served["attestation_bundles"][0]["attestations"] == list(found)


def test_what_does_not_hold_is_refused() -> None:
    other = attestation()
    other["envelope"]["signature"] = base64.b64encode(KEY.sign(b"another", ec.ECDSA(hashes.SHA256()))).decode()
    assert "not that of the certificate" in refused(other)
    assert "not about this file" in refused(attestation(data=b"another"))
    assert "not about this file" in refused(attestation(name="other-1.0.tar.gz"))
    assert "is not one of" in refused(attestation(kind="https://example.org/mine"))
    assert "two attestations" in refused(attestation(), attestation())
    assert "list of one" in refused()
    assert "version 1" in refused({"version": 2})
    assert "base64" in refused({**attestation(), "envelope": {"statement": "!", "signature": ""}})


def test_an_uploaded_attestation_is_served_as_provenance_and_released_with_its_file(tmp_path: Path) -> None:
    doors = TokenDoors(tmp_path)
    index = doors.indexes.index("quarantine", actor="job/1/2")
    (tmp_path / NAME).write_bytes(DATA)
    with (tmp_path / NAME).open("rb") as content:
        index.upload({"attestations": json.dumps([attestation()])}, NAME, content)
    doors.indexes.release("quarantine", "shop", NAME, actor="server")
    released = doors.indexes.index("shop", actor="x")
    page = json.loads(released.project_page("tiny", "application/vnd.pypi.simple.v1+json").body)
    assert page["files"][0]["provenance"] == f"../../files/{NAME}.provenance"
    assert b'data-provenance="' in released.project_page("tiny", "text/html").body
    assert json.loads(released.provenance(NAME))["attestation_bundles"][0]["attestations"] == [attestation_of(released)]
    doors.close()


def attestation_of(index: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(index.provenance(NAME))["attestation_bundles"][0]["attestations"][0]
    assert set(found) == {"version", "verification_material", "envelope"}
    return found
