"""Signatures without a kept key hold for one identity, content and time, and for nothing else."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from aegis.access.id_tokens import discovery, key_set, token
from aegis.adapters import signer_rsa
from aegis.adapters.egress_http import EgressRules, HttpEgress
from aegis.adapters.sigstore_http import Sigstore as Client
from aegis.core.errors import Denied, ExternalError
from aegis.core.ids import sha256
from aegis.registry.attestations import read_attestations, with_own
from aegis.supplychain.keyless import BUNDLE, CERTIFICATE, CHAIN, KeylessAuthority, public_key, published
from aegis.supplychain.options import KeylessRule
from aegis.supplychain.packages import Package
from aegis.supplychain.published import check
from aegis.supplychain.published import verified as verified_file
from aegis.supplychain.signing import (
    Pushable,
    Subject,
    attest_image,
    sign_image,
    sign_statement,
    verify_attestations,
    verify_image,
)
from support.sigstore_simulator import PEM, Sigstore, answered, sigstore

IMAGE = b'{"schemaVersion": 2}'
SUBJECT = Subject(digest=sha256(IMAGE), size=len(IMAGE))
STATEMENT = json.dumps(
    {
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1", "predicate": {},
        "subject": [{"name": "host/shop/orders", "digest": {"sha256": SUBJECT.digest.partition(":")[2]}}],
    }
).encode()  # fmt: skip
IDENTITY = "https://aegis.example.org/signer"
KEY = signer_rsa.fleeting()


class World:
    """A Sigstore, an issuer of tokens that it knows, and the client in between."""

    def __init__(self, made: Sigstore, issuer: str) -> None:
        self.sigstore, self.issuer = made, issuer
        made.issuer = issuer
        self.rule = KeylessRule(
            fulcio=made.url, rekor=made.url, identity=IDENTITY, issuer=issuer, authorities=made.authorities,
            log_key=made.log_key, certificate_log_key=made.certificate_log_key,
            private=(made.url.removeprefix("http://"),),
        )  # fmt: skip

    def token(self) -> str:
        at = int(datetime.now(UTC).timestamp())
        times = {"iat": at, "nbf": at - 5, "exp": at + 300}
        return token(KEY, {"iss": self.issuer, "sub": IDENTITY, "aud": "sigstore", **times})

    def client(self, rule: KeylessRule | None = None) -> Client:
        rule = rule or self.rule
        return Client(HttpEgress(EgressRules(private=frozenset(rule.private))), rule, self.token)

    def signed(self) -> Pushable:
        return sign_image(SUBJECT, "host/shop/orders", self.client().credential())


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """Where the discovery document and the keys of the tokens lie."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = f"http://127.0.0.1:{server.server_port}"
            body = json.dumps(discovery(url) if "well-known" in self.path else key_set(KEY)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def world(issuer: str) -> Iterator[World]:
    with sigstore() as made:
        yield World(made, issuer)


def verified(made: Pushable, rule: KeylessRule) -> str:
    return verify_image((KeylessAuthority(rule),), SUBJECT.digest, made.manifest, made.blobs).key


Change = Callable[[dict[str, str]], Any]


def marked(made: Pushable, change: Change) -> Pushable:
    """The same with other annotations on its layer."""
    manifest = json.loads(made.manifest)
    change(manifest["layers"][0]["annotations"])
    return replace(made, manifest=json.dumps(manifest).encode())


def test_an_image_is_signed_by_an_identity_and_its_signature_is_in_the_log(world: World) -> None:
    made = world.signed()
    assert verified(made, world.rule) == f"{IDENTITY} ({world.issuer})"
    marks = json.loads(made.manifest)["layers"][0]["annotations"]
    assert {BUNDLE, CERTIFICATE, CHAIN} <= set(marks)
    (entry,) = world.sigstore.entries
    assert json.loads(marks[BUNDLE])["Payload"]["body"] == next(iter(entry.values()))["body"]


def test_attestations_are_signed_and_logged_each(world: World) -> None:
    made = attest_image(SUBJECT, (STATEMENT, STATEMENT.replace(b"{}", b'{"a": 1}')), world.client().credential())
    trusted = (KeylessAuthority(world.rule),)
    assert len(verify_attestations(trusted, SUBJECT.digest, made.manifest, made.blobs)) == 2
    assert len(world.sigstore.entries) == 2
    other = KeylessAuthority(replace(world.rule, identity="https://elsewhere.example.org/"))
    with pytest.raises(Denied) as caught:
        verify_attestations((other,), SUBJECT.digest, made.manifest, made.blobs)
    assert caught.value.code == "bad-signature"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("identity", "https://aegis.example.org/other", "not for https://aegis.example.org/other"),
        ("issuer", "https://issuer.example.org", "on the word of"),
    ],
)
def test_another_identity_or_issuer_is_refused(world: World, name: str, value: str, why: str) -> None:
    with pytest.raises(Denied, match=why):
        verified(world.signed(), replace(world.rule, **{name: value}))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["authorities", "log_key", "certificate_log_key"])
def test_what_another_sigstore_vouches_for_is_refused(world: World, name: str) -> None:
    made = world.signed()
    with pytest.raises(Denied) as caught:
        verified(made, replace(world.rule, **{name: getattr(Sigstore(), name)}))
    assert caught.value.code == "bad-signature"


def test_the_certificate_log_is_asked_for_only_where_its_key_is_declared(world: World) -> None:
    assert verified(world.signed(), replace(world.rule, certificate_log_key=""))


def swap(name: str, text: str) -> Change:
    return lambda marks: marks.__setitem__(name, text)


def later(marks: dict[str, str]) -> None:
    bundle = json.loads(marks[BUNDLE])
    bundle["Payload"]["integratedTime"] += 1
    marks[BUNDLE] = json.dumps(bundle)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda marks: marks.pop(BUNDLE), id="no bundle"),
        pytest.param(lambda marks: marks.pop(CERTIFICATE), id="no certificate"),
        pytest.param(lambda marks: marks.pop(CHAIN), id="no chain"),
        pytest.param(swap(BUNDLE, "{}"), id="empty bundle"),
        pytest.param(swap(BUNDLE, "[1]"), id="a list"),
        pytest.param(swap(BUNDLE, "x"), id="no JSON"),
        pytest.param(swap(CERTIFICATE, "x"), id="no PEM"),
        pytest.param(swap(CHAIN, "x"), id="no PEM in the chain"),
        pytest.param(later, id="another time"),
        pytest.param(swap("dev.cosignproject.cosign/signature", base64.b64encode(b"x").decode()), id="signature"),
    ],
)
def test_what_was_altered_is_refused(world: World, change: Change) -> None:
    with pytest.raises(Denied) as caught:
        verified(marked(world.signed(), change), world.rule)
    assert caught.value.code == "bad-signature"


def test_the_entry_of_another_signature_does_not_count(world: World) -> None:
    other = sign_image(SUBJECT, "host/shop/other", world.client().credential())
    bundle = json.loads(other.manifest)["layers"][0]["annotations"][BUNDLE]
    with pytest.raises(Denied, match="another signature"):
        verified(marked(world.signed(), swap(BUNDLE, bundle)), world.rule)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_certificate_that_was_not_valid_when_logged_is_refused_before_it_is_used(world: World, hours: int) -> None:
    world.sigstore.shift = timedelta(hours=hours)
    with pytest.raises(ExternalError, match="not valid when it was logged") as caught:
        world.signed()
    assert not caught.value.retryable


def test_a_certificate_for_somebody_else_is_refused_before_it_is_used(world: World) -> None:
    world.sigstore.identity = "mallory@example.org"
    with pytest.raises(ExternalError, match=r"mallory@example\.org"):
        world.signed()


def test_a_leaf_cannot_issue_certificates(world: World) -> None:
    """Whoever got a certificate uses its key as if it were an authority's."""
    sim = world.sigstore
    mine = ec.generate_private_key(ec.SECP256R1())
    own = sim.leaf(mine.public_key(), IDENTITY, world.issuer)
    chain = (own, sim.between[0], sim.root[0])
    sim.between = (own, mine)
    sim.given = lambda *asked: answered(sim.leaf(*asked), *chain)  # type: ignore[method-assign]
    with pytest.raises(ExternalError, match="none of the declared authorities"):
        world.signed()


def test_a_sigstore_that_is_down_is_an_error_that_is_tried_again(world: World) -> None:
    world.sigstore.down = True
    with pytest.raises(ExternalError) as caught:
        world.signed()
    assert (caught.value.code, caught.value.retryable) == ("sigstore", True)
    assert not world.sigstore.entries


def test_a_sigstore_that_is_nowhere_is_an_error_that_is_tried_again(world: World) -> None:
    gone = replace(world.rule, fulcio="http://127.0.0.1:9", private=("127.0.0.1:9",))
    with pytest.raises(ExternalError, match="Fulcio cannot be asked") as caught:
        world.client(gone).credential()
    assert caught.value.retryable


def test_a_token_that_is_not_accepted_is_an_error_that_is_not_tried_again(world: World) -> None:
    world.sigstore.issuer = "http://127.0.0.1:9"
    with pytest.raises(ExternalError, match="answered 400: There was an error processing the identity token") as caught:
        world.signed()
    assert not caught.value.retryable


def test_an_entry_that_is_there_already_is_taken(world: World) -> None:
    """The answer to the first request was lost: the same entry is sent again."""
    credential = world.client().credential()
    taken = world.sigstore.take
    world.sigstore.take = lambda asked: (taken(asked), taken(asked))[1]  # type: ignore[method-assign]
    made = sign_image(SUBJECT, "host/shop/orders", credential)
    assert verified(made, world.rule)
    assert world.sigstore.asked[-1].startswith("/api/v1/log/entries/")


def test_a_certificate_for_another_key_is_refused(world: World) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    given = world.sigstore.given
    world.sigstore.given = lambda _key, *rest: given(other.public_key(), *rest)  # type: ignore[method-assign]
    with pytest.raises(ExternalError, match="for another key"):
        world.client().credential()


def test_a_files_attestation_is_published_logged_and_verified_by_identity(world: World) -> None:
    text = STATEMENT.replace(b"host/shop/orders", b"tiny-1.0.whl")
    made = published(text, *sign_statement(text, world.client().credential()))
    assert read_attestations(json.dumps([made]), "tiny-1.0.whl", SUBJECT.digest)
    served = with_own(None, made, "aegis")
    between = world.sigstore.between[0].public_bytes(PEM).decode()
    rule = replace(world.rule, authorities=world.sigstore.authorities + between)
    assert verified_file(served, SUBJECT.digest, KeylessAuthority(rule)) == ""
    assert len(json.loads(with_own(served, made, "aegis"))["attestation_bundles"]) == 2
    for digest, changed, why in (
        (sha256(b"other"), rule, "another file"),
        (SUBJECT.digest, replace(rule, identity="https://elsewhere.example.org"), "not for https://elsewhere"),
        (SUBJECT.digest, replace(rule, log_key=Sigstore().log_key), "not signed with the declared key"),
        (SUBJECT.digest, world.rule, "none of the declared authorities"),
    ):
        assert why in verified_file(served, digest, KeylessAuthority(changed))
    package = Package(name="tiny", version="1.0", hashes=(SUBJECT.digest,))
    assert check(package, "tiny-1.0.whl", SUBJECT.digest, served, (), public_key(world.sigstore.log_key)).problem == ""
    other = check(package, "tiny-1.0.whl", SUBJECT.digest, served, (), public_key(Sigstore().log_key))
    assert "not signed with the declared key" in other.problem
    unlogged = json.loads(served)
    unlogged["attestation_bundles"][0]["attestations"][0]["verification_material"]["transparency_entries"] = []
    found = check(package, "x", SUBJECT.digest, json.dumps(unlogged).encode(), (), public_key(world.sigstore.log_key))
    assert "no transparency log" in found.problem
