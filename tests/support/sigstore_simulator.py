"""A Fulcio and a Rekor on loopback, for tests. It imports nothing of the project, and checks what it is given as the real ones do.

Sources: Fulcio `fulcio.proto` (`POST /api/v2/signingCert`), `docs/how-certificate-issuing-works.md` (the token's issuer is asked for
its keys, the request's own signature is the proof that the key is held), `docs/oid-info.md` (1.3.6.1.4.1.57264.1.1 and .1.8),
`docs/certificate-specification.md` (code signing, ten minutes); RFC 6962 section 3.2 (the promise of the certificate log, over the
certificate without it); Rekor `openapi.yaml` (`POST /api/v1/log/entries`: 201, 400, 409 with `Location`), its types
`hashedrekord` and `dsse` 0.0.1 (what is checked, and which form is kept), and its signed entry timestamp: RFC 8785 over body,
integratedTime, logID and logIndex.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SHA256 = ec.ECDSA(hashes.SHA256())
STAMPS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
PEM = serialization.Encoding.PEM


class Refused(Exception):
    """A request that the real one refuses with 400."""


def spki(key: Any) -> bytes:
    form: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return form


def pem(key: Any) -> str:
    form: bytes = key.public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return form.decode()


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def authority(name: str, above: Authority | None, now: datetime) -> Authority:
    """A root, or an authority below one."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer, by = (above[0].subject, above[1]) if above else (named(name), key)
    made = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0 if above else 1), critical=True)
        .add_extension(usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(by, hashes.SHA256())
    )
    return made, key


def usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=sign_certificates, crl_sign=sign_certificates, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip


@dataclass
class Sigstore:
    """Both services, with the faults that a test asks for."""

    issuer: str = ""
    """Whose tokens are taken; its keys are asked for there."""
    down: bool = False
    busy: int = 0
    """So many requests are answered 503."""
    identity: str = ""
    """Put into certificates instead of the token's subject."""
    shift: timedelta = timedelta()
    """By how much the log's clock is ahead."""
    entries: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        now = datetime.now(UTC)
        self.root = authority("root of the simulator", None, now)
        self.between = authority("authority of the simulator", self.root, now)
        self.log = ec.generate_private_key(ec.SECP256R1())
        self.certificates = ec.generate_private_key(ec.SECP256R1())

    @property
    def authorities(self) -> str:
        """What signatures are verified by: the root."""
        return self.root[0].public_bytes(PEM).decode()

    @property
    def log_key(self) -> str:
        return pem(self.log.public_key())

    @property
    def certificate_log_key(self) -> str:
        return pem(self.certificates.public_key())

    # -- Fulcio -------------------------------------------------------------------------------------------

    def certify(self, asked: dict[str, Any]) -> dict[str, Any]:
        claims = self.claims(asked["credentials"]["oidcIdentityToken"])
        request = x509.load_pem_x509_csr(base64.b64decode(asked["certificateSigningRequest"]))
        if not request.is_signature_valid:
            raise Refused("The certificate signing request could not be verified")
        return self.given(request.public_key(), self.identity or claims["sub"], claims["iss"])

    def given(self, key: Any, subject: str, issuer: str) -> dict[str, Any]:
        """The answer with a certificate for that key, subject and issuer."""
        return answered(self.leaf(key, subject, issuer), self.between[0], self.root[0])

    def claims(self, token: str) -> dict[str, Any]:
        """A token's claims, after its signature, issuer, audience and times were checked."""
        head, body, signature = token.split(".")
        claims: dict[str, Any] = json.loads(unpadded(body))
        if claims["iss"] != self.issuer or claims["aud"] != "sigstore":
            raise Refused("There was an error processing the identity token")
        with urllib.request.urlopen(f"{self.issuer}/.well-known/openid-configuration", timeout=10) as answer:
            place = json.load(answer)["jwks_uri"]
        with urllib.request.urlopen(place, timeout=10) as answer:
            keys = json.load(answer)["keys"]
        known = next(one for one in keys if one["kid"] == json.loads(unpadded(head))["kid"])
        exponent, modulus = (int.from_bytes(unpadded(known[name]), "big") for name in ("e", "n"))
        key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
        try:
            key.verify(unpadded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise Refused("There was an error processing the identity token") from None
        if not claims["nbf"] <= datetime.now(UTC).timestamp() < claims["exp"]:
            raise Refused("There was an error processing the identity token")
        return claims

    def leaf(self, key: Any, subject: str, issuer: str) -> x509.Certificate:
        """A certificate with the certificate log's promise in it: made twice, since the promise is about what has none."""
        now = datetime.now(UTC).replace(microsecond=0)
        mail = "://" not in subject
        name: x509.GeneralName = x509.RFC822Name(subject) if mail else x509.UniformResourceIdentifier(subject)
        text = issuer.encode()
        extensions = (
            (usage(sign_certificates=False), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self.between[1].public_key()), False),
            (x509.SubjectAlternativeName([name]), True),
            (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), text), False),
            (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8"), der(0x0C, text)), False),
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.between[0].subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + timedelta(minutes=10))
        )
        for value, critical in extensions:
            builder = builder.add_extension(value, critical=critical)
        first = builder.add_extension(x509.UnrecognizedExtension(STAMPS, self.stamps(b"", now)), critical=False)
        body = first.sign(self.between[1], hashes.SHA256()).tbs_precertificate_bytes
        whole = builder.add_extension(x509.UnrecognizedExtension(STAMPS, self.stamps(body, now)), critical=False)
        return whole.sign(self.between[1], hashes.SHA256())

    def stamps(self, body: bytes, now: datetime) -> bytes:
        """The list of one timestamp, in the form of the extension."""
        at = (int(now.timestamp()) * 1000).to_bytes(8, "big")
        issuer = hashlib.sha256(spki(self.between[1].public_key())).digest()
        signed = b"\x00\x00" + at + b"\x00\x01" + issuer + len(body).to_bytes(3, "big") + body + b"\x00\x00"
        signature = self.certificates.sign(signed, SHA256)
        name = hashlib.sha256(spki(self.certificates.public_key())).digest()
        one = b"\x00" + name + at + b"\x00\x00" + b"\x04\x03" + len(signature).to_bytes(2, "big") + signature
        return der(0x04, (len(one) + 2).to_bytes(2, "big") + len(one).to_bytes(2, "big") + one)

    # -- Rekor --------------------------------------------------------------------------------------------

    def take(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any], str]:
        """Status, answer and place of a new entry."""
        body = json.dumps(kept(asked), sort_keys=True, separators=(",", ":")).encode()
        name = hashlib.sha256(b"\x00" + body).hexdigest()
        if any(name in one for one in self.entries):
            return 409, {"code": 409, "message": "an equivalent entry already exists"}, f"/api/v1/log/entries/{name}"
        entry = {
            "body": base64.b64encode(body).decode(),
            "integratedTime": int((datetime.now(UTC) + self.shift).timestamp()),
            "logID": hashlib.sha256(spki(self.log.public_key())).hexdigest(),
            "logIndex": len(self.entries),
        }
        form = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
        promise = base64.b64encode(self.log.sign(form, SHA256)).decode()
        self.entries.append({name: {**entry, "verification": {"signedEntryTimestamp": promise}}})
        return 201, self.entries[-1], f"/api/v1/log/entries/{name}"


def answered(*chain: x509.Certificate) -> dict[str, Any]:
    """Fulcio's answer with these certificates, the new one first."""
    return {
        "signedCertificateEmbeddedSct": {"chain": {"certificates": [one.public_bytes(PEM).decode() for one in chain]}}
    }


def der(kind: int, content: bytes) -> bytes:
    """A value of DER with less than 256 bytes."""
    size = bytes((len(content),)) if len(content) < 128 else bytes((0x81, len(content)))
    return bytes((kind,)) + size + content


def kept(asked: dict[str, Any]) -> dict[str, Any]:
    """The form that the log keeps, after the signature was verified."""
    if asked["apiVersion"] != "0.0.1":
        raise Refused("unknown version")
    spec = asked["spec"]
    if asked["kind"] == "hashedrekord":
        key = certificate_of(spec["signature"]["publicKey"]["content"])
        digest = bytes.fromhex(spec["data"]["hash"]["value"])
        verified(key, base64.b64decode(spec["signature"]["content"]), digest)
        return asked
    if asked["kind"] != "dsse":
        raise Refused("unknown kind")
    text, (verifier,) = spec["proposedContent"]["envelope"], spec["proposedContent"]["verifiers"]
    envelope = json.loads(text)
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    (signed,) = envelope["signatures"]
    form = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    verified(certificate_of(verifier), base64.b64decode(signed["sig"]), hashlib.sha256(form).digest())
    made = {
        "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(text.encode()).hexdigest()},
        "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
        "signatures": [{"signature": signed["sig"], "verifier": verifier}],
    }
    return {"apiVersion": "0.0.1", "kind": "dsse", "spec": made}


def certificate_of(content: str) -> Any:
    return x509.load_pem_x509_certificate(base64.b64decode(content)).public_key()


def verified(key: Any, signature: bytes, digest: bytes) -> None:
    try:
        key.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except InvalidSignature:
        raise Refused("verifying signature: invalid signature when validating ASN.1 encoded signature") from None


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@contextmanager
def sigstore(issuer: str = "") -> Iterator[Sigstore]:
    """Both, served on one port of loopback."""
    made = Sigstore(issuer=issuer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            made.asked.append(self.path)
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if made.down or made.busy > 0:
                made.busy -= 1
                self.say(503, {"code": 14, "message": "unavailable"})
                return
            try:
                if self.path == "/api/v2/signingCert":
                    self.say(200, made.certify(asked))
                else:
                    self.say(*made.take(asked))
            except Refused as error:
                self.say(400, {"code": 3, "message": str(error)})

        def do_GET(self) -> None:
            made.asked.append(self.path)
            name = self.path.rpartition("/")[2]
            found = next((one for one in made.entries if name in one), None)
            self.say(200 if found else 404, found or {"code": 404, "message": "not found"})

        def say(self, status: int, answer: dict[str, Any], place: str = "") -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if place:
                self.send_header("Location", place)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
