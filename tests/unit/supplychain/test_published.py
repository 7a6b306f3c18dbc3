"""Published provenance of locked files: whose it is, and what does not hold; asked of a live index."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette

from aegis.bootstrap.scan import ProvenanceRules, dependencies
from aegis.core.errors import ExternalError, UserError
from aegis.core.ids import sha256
from aegis.supplychain.packages import Package
from aegis.supplychain.published import authorities, check, findings
from aegis.supplychain.signing import pae
from aegis.web import pypi_api
from support.live_server import serving
from support.registry_doors import READER, TokenDoors
from support.tiny_packages import wheel

NAME, DATA = wheel()
DIGEST = sha256(DATA)
PACKAGE = Package(name="tiny", version="1.0", hashes=(DIGEST,), file="requirements.lock")
GITHUB = {"kind": "GitHub", "repository": "shop/tiny", "workflow": "release.yml"}
GITLAB = {"kind": "GitLab", "repository": "shop/tiny", "workflow_filepath": "release.yml"}
WORKFLOW = "https://github.com/shop/tiny/.github/workflows/release.yml@refs/tags/v1.0"
ISSUER = "https://token.actions.githubusercontent.com"
ROOT, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
KEY = ec.generate_private_key(ec.SECP256R1())
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def certificate(
    signer: ec.EllipticCurvePrivateKey = ROOT, *, name: str = WORKFLOW, issuer: str = ISSUER
) -> x509.Certificate:
    """As an authority gives it to a workflow: for minutes, for an address, on the word of an issuer."""
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    text = issuer.encode()
    said = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8"), bytes([12, len(text)]) + text
    )  # fmt: skip
    made = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(who).public_key(KEY.public_key())
    made = made.serial_number(1).not_valid_before(BEGUN).not_valid_after(BEGUN + timedelta(minutes=10))
    made = made.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name)]), critical=True)
    return made.add_extension(said, critical=False).sign(signer, hashes.SHA256())


def authority(key: ec.EllipticCurvePrivateKey) -> bytes:
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    made = x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key()).serial_number(2)
    made = made.not_valid_before(BEGUN).not_valid_after(BEGUN + timedelta(days=3650))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def provenance(
    *, digest: str = DIGEST, signed: bytes = b"", by: x509.Certificate | None = None, publisher: Any = None
) -> bytes:
    subject = [{"name": NAME, "digest": {"sha256": digest.removeprefix("sha256:")}}]
    statement = json.dumps({"_type": "https://in-toto.io/Statement/v1", "subject": subject, "predicate": None}).encode()
    payload = pae("application/vnd.in-toto+json", signed or statement)
    leaf = (by or certificate()).public_bytes(serialization.Encoding.DER)
    one = {
        "version": 1,
        "verification_material": {"certificate": base64.b64encode(leaf).decode(), "transparency_entries": [{}]},
        "envelope": {
            "statement": base64.b64encode(statement).decode(),
            "signature": base64.b64encode(KEY.sign(payload, ec.ECDSA(hashes.SHA256()))).decode(),
        },
    }
    bundle = {"publisher": publisher or GITHUB, "attestations": [one]}
    return json.dumps({"version": 1, "attestation_bundles": [bundle]}).encode()


def problem(data: bytes, *trusted: ec.EllipticCurvePrivateKey) -> str:
    return check(PACKAGE, NAME, DIGEST, data, authorities(b"".join(map(authority, trusted))) if trusted else ()).problem


def test_a_publisher_is_known_by_its_certificate() -> None:
    found = check(PACKAGE, NAME, DIGEST, provenance(), authorities(authority(ROOT)))
    assert (found.publisher, found.identified, found.problem) == ("GitHub shop/tiny", True, "")
    name, issuer = "https://gitlab.com/shop/tiny//release.yml@refs/tags/v1.0", "https://gitlab.com"
    assert check(
        PACKAGE, NAME, DIGEST, provenance(by=certificate(name=name, issuer=issuer), publisher=GITLAB)
    ).identified
    mine = {"kind": "Aegis", "claims": {"uploaded_by": "job/1/2"}}
    found = check(PACKAGE, NAME, DIGEST, provenance(publisher=mine))
    assert (found.publisher, found.identified, found.problem) == ("Aegis job/1/2", False, "")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (provenance(digest=sha256(b"another")), "another file"),
        (provenance(signed=b"another statement"), "not that of the certificate's key"),
        (provenance(publisher={**GITHUB, "repository": "evil/tiny"}), "not for GitHub evil/tiny"),
        (provenance(publisher={**GITHUB, "workflow": "other.yml"}), "not for GitHub shop/tiny"),
        (provenance(publisher=GITLAB), "not for GitLab shop/tiny"),
        (provenance(by=certificate(issuer="https://evil.example")), "on the word of https://evil.example"),
        (b"{}", "attestation_bundles"),
        (b"[]", "indices"),
        (b"nothing", "Expecting value"),
        (b'{"attestation_bundles": []}', "no attestation"),
        (provenance().replace(b'"statement": "', b'"statement": "%'), "base64"),
    ],
)
def test_what_does_not_hold_is_said(data: bytes, why: str) -> None:
    assert why in problem(data)


def test_given_authorities_must_have_issued_the_certificate() -> None:
    assert problem(provenance(), ROOT) == problem(provenance(), OTHER, ROOT) == ""
    assert "none of the given authorities" in problem(provenance(), OTHER)
    assert "none of the given authorities" in problem(provenance(by=certificate(OTHER)), ROOT)


def test_the_policy_says_how_grave_it_is() -> None:
    wrong = check(PACKAGE, NAME, DIGEST, b"{}")
    assert [one.finding.severity.value for one in findings([wrong], "block")] == ["critical"]
    assert [one.finding.severity.value for one in findings([wrong], "warn")] == ["low"]
    assert findings([wrong], "off") == findings([check(PACKAGE, NAME, DIGEST, provenance())], "block") == ()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[TokenDoors, str]]:
    doors = TokenDoors(tmp_path / "server")
    doors.indexes.index("shop", actor="test").upload({}, NAME, io.BytesIO(DATA))
    with serving(Starlette(routes=pypi_api.routes(lambda: doors))) as address:
        yield doors, f"http://job:{READER}@{address}/pypi/shop/simple/"
    doors.close()


def serve(doors: TokenDoors, index: str, data: bytes) -> None:
    """Let another index serve the file with this provenance."""
    file = doors.store.file("shop", NAME)
    assert file is not None
    doors.store.add(index, replace(file, provenance_digest=doors.blobs.put(data)))


def test_a_scan_asks_the_index_about_the_locked_files(index: tuple[TokenDoors, str], tmp_path: Path) -> None:
    doors, url = index
    project, advisories = tmp_path / "project", tmp_path / "advisories"
    project.mkdir()
    advisories.mkdir()
    (project / "requirements.lock").write_text(f"tiny==1.0 --hash={DIGEST}\nabsent==1.0 --hash=sha256:{'1' * 64}\n")
    advisory = {"id": "X-1", "affected": [{"package": {"ecosystem": "PyPI", "name": "other"}, "versions": ["1"]}]}
    (advisories / "one.json").write_text(json.dumps(advisory))
    (tmp_path / "authorities.pem").write_bytes(authority(ROOT))
    rules = ProvenanceRules(policy="block", index=url, authorities=tmp_path / "authorities.pem")
    assert dependencies(project, str(advisories), rules=rules).published == ()  # nothing is published, nothing is said
    serve(doors, "good", provenance())
    rules = replace(rules, index=url.replace("shop", "good"))
    found = dependencies(project, str(advisories), rules=rules)
    assert [(one.publisher, one.identified, one.problem) for one in found.published] == [("GitHub shop/tiny", True, "")]
    assert found.scan.findings == ()
    serve(doors, "bad", provenance(by=certificate(OTHER)))
    rules = replace(rules, index=url.replace("shop", "bad"))
    (finding,) = dependencies(project, str(advisories), rules=rules).scan.findings
    assert (finding.rule, finding.severity.value, finding.package) == ("provenance-invalid", "critical", "tiny")
    assert b"provenance-invalid" in dependencies(project, str(advisories), rules=rules).report
    assert dependencies(project, str(advisories), rules=replace(rules, policy="off")).published == ()
    (tmp_path / "authorities.pem").write_bytes(b"none")
    with pytest.raises(UserError):
        dependencies(project, str(advisories), rules=rules)
    with pytest.raises(ExternalError):
        dependencies(project, str(advisories), rules=ProvenanceRules(policy="warn", index=url.replace(READER, "wrong")))


def test_an_index_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AEGIS_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "requirements.lock").write_text("")
    (tmp_path / "one.json").write_text(json.dumps({"id": "X-1", "affected": []}))
    with pytest.raises(UserError) as caught:
        dependencies(tmp_path, str(tmp_path), rules=ProvenanceRules(policy="warn"))
    assert caught.value.code == "index-unnamed"
