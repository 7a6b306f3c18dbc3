"""`/v2/` as a client sees it: the workflows of the distribution specification 1.1, and its refusals."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from aegis.web import oci_api
from support.live_server import serving
from support.registry_doors import READER, WRITER, DoorsHolder, TokenDoors

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(data: bytes, kind: str = "application/octet-stream") -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}


def manifest(config: bytes = CONFIG, layers: tuple[bytes, ...] = (b"layer",), **more: Any) -> bytes:
    described = [descriptor(layer, "application/vnd.oci.image.layer.v1.tar") for layer in layers]
    kind = "application/vnd.oci.image.config.v1+json"
    return json.dumps(
        {"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(config, kind), "layers": described, **more}
    ).encode()


@pytest.fixture(scope="module")
def address(holder: DoorsHolder) -> Iterator[str]:
    with serving(Starlette(routes=list(oci_api.routes(holder)))) as made:
        yield made


@pytest.fixture
def client(doors: TokenDoors, address: str) -> Iterator[httpx.Client]:  # noqa: ARG001 - opens them
    with httpx.Client(base_url=f"http://{address}", auth=("job", WRITER), trust_env=False) as made:
        yield made


def push_blob(client: httpx.Client, repository: str, data: bytes) -> None:
    answer = client.post(f"/v2/{repository}/blobs/uploads/?digest={digest_of(data)}", content=data)
    assert answer.status_code == 201, answer.text


def push_image(client: httpx.Client, repository: str, tag: str, **more: Any) -> str:
    body = manifest(**more)
    push_blob(client, repository, CONFIG)
    push_blob(client, repository, b"layer")
    answer = client.put(f"/v2/{repository}/manifests/{tag}", content=body, headers={"Content-Type": IMAGE})
    assert answer.status_code == 201, answer.text
    return digest_of(body)


def code(answer: Any) -> str:
    found: str = answer.json()["errors"][0]["code"]
    return found


def test_the_version_check_asks_for_credentials_and_accepts_a_token(client: httpx.Client) -> None:
    assert client.get("/v2/").status_code == 200
    client.auth = None
    answer = client.get("/v2/")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="http://127.0.0.1:')
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert code(answer) == "UNAUTHORIZED"
    assert client.get("/v2/", headers={"Authorization": f"Bearer {READER}"}).status_code == 200
    assert client.get("/v2/", auth=("job", "wrong")).status_code == 401


def test_a_reader_may_pull_and_not_push(client: httpx.Client) -> None:
    push_image(client, "shop/orders", "1.0.0")
    client.auth = ("x", READER)
    assert client.get("/v2/shop/orders/manifests/1.0.0").status_code == 200
    answer = client.post("/v2/shop/orders/blobs/uploads/")
    assert (answer.status_code, code(answer)) == (403, "DENIED")


def test_a_blob_is_pushed_in_one_request_and_read_back_whole_or_in_part(client: httpx.Client) -> None:
    data = bytes(range(256)) * 20
    push_blob(client, "shop/orders", data)
    address = f"/v2/shop/orders/blobs/{digest_of(data)}"
    head = client.head(address)
    assert head.headers["Content-Length"] == str(len(data))
    assert head.headers["Docker-Content-Digest"] == digest_of(data)
    assert client.get(address).content == data
    part = client.get(address, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, data[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(data)}"
    assert client.get(address, headers={"Range": "bytes=-5"}).content == data[-5:]
    assert client.get(address, headers={"Range": f"bytes={len(data)}-"}).status_code == 416


def test_an_upload_in_chunks_is_resumed_where_it_stands_and_refused_elsewhere(client: httpx.Client) -> None:
    location = client.post("/v2/shop/orders/blobs/uploads/").headers["Location"]
    first = client.patch(location, content=b"hello ", headers={"Content-Range": "0-5"})
    assert (first.status_code, first.headers["Range"]) == (202, "0-5")
    wrong = client.patch(location, content=b"world", headers={"Content-Range": "7-11"})
    assert (wrong.status_code, code(wrong)) == (416, "BLOB_UPLOAD_INVALID")
    asked = client.get(location)
    assert (asked.status_code, asked.headers["Range"]) == (204, "0-5")
    assert client.patch(location, content=b"wor", headers={"Content-Range": "6-8"}).headers["Range"] == "0-8"
    done = client.put(f"{location}?digest={digest_of(b'hello world')}", content=b"ld")
    assert done.status_code == 201
    assert client.get(done.headers["Location"]).content == b"hello world"
    assert client.get(location).status_code == 404


def test_a_blob_that_is_not_what_its_digest_says_is_refused_and_the_upload_may_be_canceled(
    client: httpx.Client,
) -> None:
    location = client.post("/v2/shop/orders/blobs/uploads/").headers["Location"]
    answer = client.put(f"{location}?digest={digest_of(b'right')}", content=b"wrong")
    assert (answer.status_code, code(answer)) == (400, "DIGEST_INVALID")
    assert client.delete(location).status_code == 204
    assert code(client.get(location)) == "BLOB_UPLOAD_UNKNOWN"


def test_another_repository_sees_neither_the_blob_nor_the_upload(client: httpx.Client) -> None:
    push_blob(client, "shop/orders", b"private")
    assert client.get(f"/v2/shop/other/blobs/{digest_of(b'private')}").status_code == 404
    location = client.post("/v2/shop/orders/blobs/uploads/").headers["Location"]
    assert client.get(location.replace("orders", "other")).status_code == 404


def test_a_blob_is_mounted_from_a_repository_that_has_it(client: httpx.Client) -> None:
    push_blob(client, "shop/orders", b"shared")
    digest = digest_of(b"shared")
    answer = client.post(f"/v2/shop/other/blobs/uploads/?mount={digest}&from=shop/orders")
    assert answer.status_code == 201
    assert client.get(f"/v2/shop/other/blobs/{digest}").content == b"shared"
    absent = client.post(f"/v2/shop/other/blobs/uploads/?mount={digest_of(b'absent')}&from=shop/orders")
    assert absent.status_code == 202


def test_a_manifest_is_kept_byte_by_byte_with_its_media_type(client: httpx.Client, doors: TokenDoors) -> None:
    digest = push_image(client, "shop/orders", "develop")
    for reference in ("develop", digest):
        answer = client.get(f"/v2/shop/orders/manifests/{reference}")
        assert answer.content == manifest()
        assert answer.headers["Content-Type"] == IMAGE
        assert answer.headers["Docker-Content-Digest"] == digest
        head = client.head(f"/v2/shop/orders/manifests/{reference}")
        assert head.headers["Content-Length"] == str(len(manifest()))
    assert doors.pushed == [("shop/orders", digest, "develop", "writer")]


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b"no json", 400, "MANIFEST_INVALID"),
        (b'{"schemaVersion": 1}', 400, "MANIFEST_INVALID"),
        (manifest(layers=(b"not pushed",)), 404, "MANIFEST_BLOB_UNKNOWN"),
        (manifest(mediaType="text/plain"), 400, "MANIFEST_INVALID"),
        (b" " * (4 * 1024 * 1024 + 1), 413, "SIZE_INVALID"),
    ],
)
def test_a_manifest_that_is_broken_or_needs_what_is_not_here_is_refused(
    client: httpx.Client, body: bytes, status: int, expected: str
) -> None:
    push_blob(client, "shop/orders", CONFIG)
    answer = client.put("/v2/shop/orders/manifests/develop", content=body, headers={"Content-Type": IMAGE})
    assert (answer.status_code, code(answer)) == (status, expected)


def test_an_index_needs_its_manifests(client: httpx.Client) -> None:
    child = manifest()
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(child, IMAGE)]}).encode()
    answer = client.put("/v2/shop/orders/manifests/all", content=body, headers={"Content-Type": INDEX})
    assert code(answer) == "MANIFEST_BLOB_UNKNOWN"
    push_image(client, "shop/orders", "one")
    answer = client.put("/v2/shop/orders/manifests/all", content=body, headers={"Content-Type": INDEX})
    assert answer.status_code == 201


def test_a_released_version_is_never_moved_and_a_branch_is(client: httpx.Client) -> None:
    push_image(client, "shop/orders", "1.2.0")
    push_image(client, "shop/orders", "develop")
    other = manifest(annotations={"another": "one"})
    moved = client.put("/v2/shop/orders/manifests/develop", content=other, headers={"Content-Type": IMAGE})
    assert moved.status_code == 201
    fixed = client.put("/v2/shop/orders/manifests/1.2.0", content=other, headers={"Content-Type": IMAGE})
    assert (fixed.status_code, code(fixed)) == (409, "DENIED")
    assert client.delete("/v2/shop/orders/manifests/1.2.0").status_code == 409
    again = client.put("/v2/shop/orders/manifests/1.2.0", content=manifest(), headers={"Content-Type": IMAGE})
    assert again.status_code == 201


def test_tags_are_listed_in_pages(client: httpx.Client) -> None:
    for tag in ("b", "A", "c", "d"):
        push_image(client, "shop/orders", tag)
    assert client.get("/v2/shop/orders/tags/list").json() == {"name": "shop/orders", "tags": ["A", "b", "c", "d"]}
    first = client.get("/v2/shop/orders/tags/list?n=3")
    assert first.json()["tags"] == ["A", "b", "c"]
    second = client.get(first.links["next"]["url"])
    assert second.json()["tags"] == ["d"]
    assert "Link" not in second.headers
    assert client.get("/v2/shop/orders/tags/list?n=0").json()["tags"] == []
    assert code(client.get("/v2/shop/none/tags/list")) == "NAME_UNKNOWN"


def test_what_refers_to_an_image_is_listed_and_filtered(client: httpx.Client) -> None:
    subject = push_image(client, "shop/orders", "develop")
    about = {"mediaType": IMAGE, "digest": subject, "size": len(manifest())}
    body = manifest(subject=about, artifactType="application/vnd.example.sbom", annotations={"made": "today"})
    answer = client.put(f"/v2/shop/orders/manifests/{digest_of(body)}", content=body, headers={"Content-Type": IMAGE})
    assert answer.headers["OCI-Subject"] == subject
    found = client.get(f"/v2/shop/orders/referrers/{subject}")
    assert found.headers["Content-Type"] == INDEX
    (one,) = found.json()["manifests"]
    assert (one["digest"], one["artifactType"]) == (digest_of(body), "application/vnd.example.sbom")
    assert one["annotations"] == {"made": "today"}
    filtered = client.get(f"/v2/shop/orders/referrers/{subject}?artifactType=other")
    assert filtered.json()["manifests"] == []
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert client.get(f"/v2/shop/orders/referrers/{digest_of(b'nothing')}").json()["manifests"] == []


def test_what_is_deleted_is_unknown_afterwards(client: httpx.Client) -> None:
    digest = push_image(client, "shop/orders", "develop")
    push_image(client, "shop/orders", "other")
    assert client.delete("/v2/shop/orders/manifests/develop").status_code == 202
    assert client.get("/v2/shop/orders/manifests/develop").status_code == 404
    assert client.get("/v2/shop/orders/manifests/other").status_code == 200
    assert client.delete(f"/v2/shop/orders/manifests/{digest}").status_code == 202
    assert code(client.get("/v2/shop/orders/manifests/other")) == "MANIFEST_UNKNOWN"
    assert client.delete(f"/v2/shop/orders/blobs/{digest_of(b'layer')}").status_code == 202
    assert code(client.get(f"/v2/shop/orders/blobs/{digest_of(b'layer')}")) == "BLOB_UNKNOWN"


def test_names_that_play_tricks_are_refused(client: httpx.Client) -> None:
    for name in ("Shop/Orders", "shop/..%2Forders", "-shop"):
        answer = client.get(f"/v2/{name}/tags/list")
        assert answer.status_code in {400, 404}
    answer = client.put("/v2/shop/orders/manifests/-bad", content=manifest(), headers={"Content-Type": IMAGE})
    assert code(answer) == "TAG_INVALID"


def test_release_copies_the_image_with_its_referrers_and_signature_tag(client: httpx.Client, doors: TokenDoors) -> None:
    digest = push_image(client, "quarantine/shop/orders", "1.2.0")
    quarantine = doors.registry.repository("quarantine/shop/orders", actor="server")
    attached = quarantine.attach(digest, artifact_type="application/spdx", media_type="text/plain", data=b"sbom")
    push_image(client, "quarantine/shop/orders", f"{digest.replace(':', '-')}.sig", annotations={"a": "signature"})
    doors.registry.copy("quarantine/shop/orders", "shop/orders", digest, tags=("1.2.0", "main"), actor="server")
    assert client.get("/v2/shop/orders/manifests/1.2.0").headers["Docker-Content-Digest"] == digest
    assert client.get(f"/v2/shop/orders/blobs/{digest_of(b'layer')}").content == b"layer"
    (one,) = client.get(f"/v2/shop/orders/referrers/{digest}").json()["manifests"]
    assert one["digest"] == attached
    assert client.get(f"/v2/shop/orders/manifests/{digest.replace(':', '-')}.sig").status_code == 200
    doors.registry.copy("quarantine/shop/orders", "shop/orders", digest, tags=("1.2.0",), actor="server")
