"""A registry that mirrors another: fetched once, asked anew when stale, served when the source has vanished."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from aegis.adapters.egress_http import EgressRules, HttpEgress
from aegis.core.ports import Response
from aegis.registry.options import ImageMirrorRule
from aegis.web import oci_api
from support.live_server import serving
from support.registry_doors import READER, WRITER, DoorsHolder, TestIssued, TokenDoors

IMAGE = "application/vnd.oci.image.manifest.v1+json"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class PublicDoors(TokenDoors):
    """A source that gives everybody a token to read, as public registries do."""

    def registry_token(self, authorization: str | None, wanted: Any) -> Any:
        if authorization is None:
            self.asked.append([(name, sorted(actions)) for name, actions in wanted])
            return TestIssued(READER, 300, self.clock.now())
        return super().registry_token(authorization, wanted)


class World:
    def __init__(self, path: Path, addresses: tuple[str, str], holders: tuple[DoorsHolder, DoorsHolder]) -> None:
        self.source, self.ours = PublicDoors(path / "source"), TokenDoors(path / "ours")
        holders[0].doors, holders[1].doors = self.source, self.ours
        self.there, here = addresses
        self.up()
        self.fresh(60)
        self.outside = httpx.Client(base_url=f"http://{self.there}/v2/", auth=("x", WRITER), trust_env=False)
        self.client = httpx.Client(base_url=f"http://{here}/v2/", auth=("x", READER), trust_env=False)

    def up(self) -> None:
        self.ours.egress = HttpEgress(EgressRules(private=frozenset({self.there})))

    def down(self) -> None:
        self.ours.egress = HttpEgress(EgressRules())

    def fresh(self, seconds: float) -> None:
        self.ours.mirrors["hub"] = ImageMirrorRule(url=f"http://{self.there}", fresh=seconds)

    def push(self, tag: str, layer: bytes) -> bytes:
        described = []
        for data in (b"{}", layer):
            assert self.outside.post(f"base/app/blobs/uploads/?digest={digest_of(data)}", content=data).is_success
            described.append({"mediaType": "application/octet-stream", "digest": digest_of(data), "size": len(data)})
        body = json.dumps(
            {"schemaVersion": 2, "mediaType": IMAGE, "config": described[0], "layers": described[1:]}
        ).encode()
        assert self.outside.put(
            f"base/app/manifests/{tag}", content=body, headers={"Content-Type": IMAGE}
        ).is_success  # fmt: skip
        return body

    def pull(self, path: str) -> httpx.Response:
        return self.client.get(f"mirror/hub/base/app/{path}")

    def close(self) -> None:
        for one in (self.outside, self.client, self.source, self.ours):
            one.close()


@pytest.fixture(scope="module")
def places() -> Iterator[Any]:
    holders = DoorsHolder(), DoorsHolder()
    with (
        serving(Starlette(routes=list(oci_api.routes(holders[0])))) as there,
        serving(Starlette(routes=list(oci_api.routes(holders[1])))) as here,
    ):
        yield (there, here), holders


@pytest.fixture
def world(tmp_path: Path, places: Any) -> Iterator[World]:
    made = World(tmp_path, *places)
    yield made
    made.close()


def test_an_image_is_fetched_with_the_token_that_its_source_gives_to_everybody(world: World) -> None:
    body = world.push("1.0", b"layer")
    assert world.pull("manifests/1.0").content == body
    assert world.pull(f"blobs/{digest_of(b'layer')}").content == b"layer"
    assert world.pull("tags/list").json()["tags"] == ["1.0"]
    assert world.source.asked[0] == [("base/app", ["pull"])]


def test_what_was_fetched_outlives_its_source(world: World) -> None:
    body = world.push("1.0", b"layer")
    world.pull("manifests/1.0")
    world.pull(f"blobs/{digest_of(b'layer')}")
    world.down()
    world.fresh(-1)
    assert world.pull("manifests/1.0").content == body
    assert world.pull(f"manifests/{digest_of(body)}").content == body
    assert world.pull(f"blobs/{digest_of(b'layer')}").content == b"layer"
    answer = world.pull("manifests/2.0")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, "UNAVAILABLE")
    assert "mirrored here" in answer.text


def test_a_tag_that_moved_is_seen_once_it_is_no_longer_fresh(world: World) -> None:
    first = world.push("latest", b"one")
    assert world.pull("manifests/latest").content == first
    second = world.push("latest", b"two")
    assert world.pull("manifests/latest").content == first
    world.fresh(-1)
    assert world.pull("manifests/latest").content == second
    assert world.pull("manifests/latest").content == second


def test_what_the_source_lacks_is_not_found(world: World) -> None:
    world.push("1.0", b"layer")
    assert world.pull("manifests/9.9").status_code == 404
    assert world.pull(f"blobs/{digest_of(b'nothing')}").status_code == 404
    assert world.client.get("mirror/other/base/app/manifests/1.0").status_code == 404


def test_a_blob_that_is_not_what_was_asked_for_is_not_kept(world: World) -> None:
    world.push("1.0", b"layer")
    digest = digest_of(b"layer")
    name = digest.removeprefix("sha256:")
    (world.source.blobs._root / "sha256" / name[:2] / name).write_bytes(b"liar!")
    assert world.pull(f"blobs/{digest}").status_code == 503
    assert world.ours.blobs.size(digest) is None


def test_nobody_pushes_to_a_mirror(world: World) -> None:
    answer = world.client.post("mirror/hub/base/app/blobs/uploads/", auth=("x", WRITER))
    assert answer.status_code == 403


def test_a_source_that_gives_nothing_to_strangers_is_logged_in_to_with_the_declared_login(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PublicDoors, "registry_token", TokenDoors.registry_token)
    body = world.push("1.0", b"layer")
    assert world.pull("manifests/1.0").status_code == 503
    address = f"http://{world.there}"
    world.ours.mirrors["hub"] = ImageMirrorRule(url=address, user="reader", password="$AEGIS_REGISTRY_OTHER")
    assert world.pull("manifests/1.0").status_code == 503
    world.ours.mirrors["hub"] = ImageMirrorRule(url=address, user="reader", password="$AEGIS_REGISTRY_HUB")
    assert world.pull("manifests/1.0").content == body
    assert world.pull(f"blobs/{digest_of(b'layer')}").content == b"layer"


def test_a_basic_challenge_is_answered_with_the_declared_login(world: World) -> None:
    mirror = world.ours.registry.mirror
    assert mirror is not None
    rule = ImageMirrorRule(url="https://registry.example.org", user="reader", password="$AEGIS_REGISTRY_HUB")
    world.ours.mirrors["hub"] = rule
    source = mirror._source("mirror/hub/base/app")
    assert mirror._log_in(source, 'Basic realm="x"')
    assert mirror._authorization(source)["Authorization"].startswith("Basic ")
    elsewhere = 'Bearer realm="http://registry.example.org.elsewhere.example/token"'
    assert not mirror._log_in(source, elsewhere), "a login is not sent in the open, or to another that begins alike"


def refer(world: World, subject: bytes, kind: str, *, tag: str = "") -> str:
    """Push an artifact that refers to a manifest, to the source."""
    about = {"mediaType": IMAGE, "digest": digest_of(subject), "size": len(subject)}
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}"), "size": 2}
    made = {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "artifactType": kind,
        "config": config,
        "layers": [],
        "subject": about,
    }
    body = json.dumps(made).encode()
    at = f"base/app/manifests/{tag or digest_of(body)}"
    assert world.outside.put(at, content=body, headers={"Content-Type": IMAGE}).is_success
    return digest_of(body)


def listed(world: World, body: bytes) -> set[str]:
    answer = world.pull(f"referrers/{digest_of(body)}")
    assert answer.status_code == 200, answer.text
    return {one["digest"] for one in answer.json()["manifests"]}


def test_what_refers_to_an_image_at_its_source_is_brought_with_it(world: World) -> None:
    body = world.push("1.0", b"layer")
    signature = refer(world, body, "application/x-signature", tag=digest_of(body).replace(":", "-") + ".sig")
    world.pull("manifests/1.0")
    assert listed(world, body) == {signature}
    assert world.pull(f"manifests/{digest_of(body).replace(':', '-')}.sig").status_code == 200
    bill = refer(world, body, "application/x-sbom")
    assert listed(world, body) == {signature}, "it is fresh"
    world.fresh(-1)
    assert listed(world, body) == {signature, bill}
    only = world.pull(f"referrers/{digest_of(body)}?artifactType=application/x-sbom").json()["manifests"]
    assert [one["digest"] for one in only] == [bill]
    world.down()
    assert listed(world, body) == {signature, bill}, "what was fetched outlives its source"


def test_a_source_that_cannot_be_asked_for_referrers_is_not_said_to_have_none(world: World) -> None:
    body = world.push("1.0", b"layer")
    world.pull("manifests/1.0")
    world.down()
    assert world.pull(f"referrers/{digest_of(body)}").status_code == 503


def test_referrers_of_a_source_without_that_api_are_found_under_its_tag(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = world.push("1.0", b"layer")
    bill = refer(world, body, "application/x-sbom")
    mirror = world.ours.registry.mirror
    assert mirror is not None
    asked = mirror._ask

    def older(method: str, source: Any, path: str, headers: Any) -> Any:
        return asked(method, source, path.replace("referrers/", "nothing/"), headers)

    monkeypatch.setattr(mirror, "_ask", older)
    assert listed(world, body) == {bill}
    tagged = world.pull(f"manifests/{digest_of(body).replace(':', '-')}")
    assert [one["digest"] for one in tagged.json()["manifests"]] == [bill]


def test_referrers_come_in_pages_and_only_from_the_source(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    body = world.push("1.0", b"layer")
    first, second = (refer(world, body, f"application/x-{number}") for number in (1, 2))
    mirror = world.ours.registry.mirror
    assert mirror is not None
    asked = mirror._ask

    def paged(method: str, source: Any, path: str, headers: Any) -> Any:
        if not path.startswith("referrers/"):
            return asked(method, source, path, headers)
        name, further = (first, "?last=1") if "?" not in path else (second, "")
        link = f"/v2/base/app/referrers/{digest_of(body)}{further}" if further else "https://elsewhere.example/v2/x"
        index = {"schemaVersion": 2, "manifests": [{"digest": name}]}
        return Response(status=200, headers={"link": f'<{link}>; rel="next"'}, body=json.dumps(index).encode())

    monkeypatch.setattr(mirror, "_ask", paged)
    assert listed(world, body) == {first, second}


@pytest.mark.parametrize("sent", [0, 1, 70_000, 149_999])
def test_a_source_whose_connection_is_cut_leaves_nothing_behind(world: World, sent: int) -> None:
    data = b"x" * 150_000
    with socket.create_server(("127.0.0.1", 0)) as listener:
        there = f"127.0.0.1:{listener.getsockname()[1]}"

        def cut() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data[:sent])

        thread = threading.Thread(target=cut)
        thread.start()
        world.ours.egress = HttpEgress(EgressRules(private=frozenset({there})))
        world.ours.mirrors["hub"] = ImageMirrorRule(url=f"http://{there}")
        assert world.pull(f"blobs/{digest_of(data)}").status_code == 503
        thread.join()
    assert world.ours.blobs.size(digest_of(data)) is None
