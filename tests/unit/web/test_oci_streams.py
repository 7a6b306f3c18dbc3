"""`/v2/` under trouble and for large content: scoped tokens, both digests, resumed and broken uploads, damaged blobs."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from aegis.core.errors import ExternalError
from aegis.web import oci_api
from support.live_server import serving
from support.registry_doors import READER, WRITER, DoorsHolder, TokenDoors

IMAGE = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@pytest.fixture(scope="module")
def address(holder: DoorsHolder) -> Iterator[str]:
    with serving(Starlette(routes=list(oci_api.routes(holder)))) as made:
        yield made


@pytest.fixture
def client(doors: TokenDoors, address: str) -> Iterator[httpx.Client]:  # noqa: ARG001 - opens them
    with httpx.Client(base_url=f"http://{address}", auth=("job", WRITER), trust_env=False) as made:
        yield made


def push(client: httpx.Client, data: bytes, repository: str = "shop/orders", algorithm: str = "sha256") -> str:
    digest = digest_of(data, algorithm)
    answer = client.post(f"/v2/{repository}/blobs/uploads/?digest={digest}", content=data)
    assert answer.status_code == 201, answer.text
    return digest


def manifest(config: str, subject: dict[str, Any] | None = None) -> dict[str, Any]:
    described = {"mediaType": CONFIG, "digest": config, "size": 2}
    more = {"subject": subject} if subject else {}
    return {"schemaVersion": 2, "mediaType": IMAGE, "config": described, "layers": [], **more}


def code(answer: Any) -> str:
    found: str = answer.json()["errors"][0]["code"]
    return found


# -- tokens -----------------------------------------------------------------------------------------------


def test_the_challenge_names_where_a_token_for_this_repository_is_to_be_had(client: httpx.Client) -> None:
    client.auth = None
    answer = client.post("/v2/shop/orders/blobs/uploads/")
    assert answer.status_code == 401
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith("Bearer ")
    assert f'realm="{str(client.base_url).rstrip("/")}/v2/token"' in challenge
    assert 'scope="repository:shop/orders:pull,push"' in challenge


def test_a_token_is_given_for_credentials_by_either_form(client: httpx.Client, doors: TokenDoors) -> None:
    query = "/v2/token?service=x&scope=repository:shop/orders:pull,push&scope=repository:other:pull"
    answer = client.get(query)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    token = answer.json()["token"]
    assert doors.asked[-1] == [("shop/orders", ["pull", "push"]), ("other", ["pull"])]
    form = {"grant_type": "password", "username": "x", "password": READER, "scope": "repository:a:* registry:catalog:*"}
    client.auth = None
    again = client.post("/v2/token", data=form)
    assert again.json()["access_token"]
    assert doors.asked[-1] == [("a", ["delete", "pull", "push"])]
    assert client.get("/v2/", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_without_credentials_the_token_door_asks_for_some(client: httpx.Client) -> None:
    client.auth = None
    for answer in (client.get("/v2/token"), client.post("/v2/token", data={"grant_type": "refresh_token"})):
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")


# -- content ----------------------------------------------------------------------------------------------


def test_content_is_kept_by_sha512_where_it_was_pushed_so(client: httpx.Client) -> None:
    data = os.urandom(3000)
    digest = push(client, data, algorithm="sha512")
    assert client.get(f"/v2/shop/orders/blobs/{digest}").content == data
    body = httpx.Response(200, json=manifest(push(client, b"{}"))).content
    named = digest_of(body, "sha512")
    address = f"/v2/shop/orders/manifests/{named}?tag=one&tag=two"
    answer = client.put(address, content=body, headers={"Content-Type": IMAGE})
    assert answer.status_code == 201
    assert answer.headers.get_list("OCI-Tag") == ["one", "two"]
    assert client.get("/v2/shop/orders/manifests/two").headers["Docker-Content-Digest"] == named


def test_a_large_blob_is_read_whole_and_in_part(client: httpx.Client) -> None:
    data = os.urandom(9 * 1024 * 1024 + 3)
    digest = push(client, data)
    address = f"/v2/shop/orders/blobs/{digest}"
    for _ in range(2):
        assert client.get(address).content == data
    part = client.get(address, headers={"Range": "bytes=1000000-9000000"})
    assert (part.status_code, part.content) == (206, data[1_000_000:9_000_001])
    assert client.get("/v2/").status_code == 200  # the connection goes on


def test_a_client_that_goes_away_in_the_middle_of_a_pull_breaks_nothing(client: httpx.Client) -> None:
    digest = push(client, os.urandom(30 * 1024 * 1024))
    for _ in range(3):
        with client.stream("GET", f"/v2/shop/orders/blobs/{digest}") as answer:
            next(answer.iter_raw(1000))
    assert client.get("/v2/").status_code == 200


def test_a_blob_that_was_flipped_on_the_disk_is_never_pulled_whole(client: httpx.Client, doors: TokenDoors) -> None:
    data = os.urandom(3 * 1024 * 1024)
    digest = push(client, data)
    assert client.get(f"/v2/shop/orders/blobs/{digest}").content == data
    name = digest.removeprefix("sha256:")
    with (doors.blobs._root / "sha256" / name[:2] / name).open("r+b") as file:
        file.seek(1_000_000)
        file.write(bytes([data[1_000_000] ^ 1]))
    os.utime(file.name, (1, 1))  # the clock of a file system may be coarser than this test is quick
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"/v2/shop/orders/blobs/{digest}")
    assert not doors.blobs.check(digest)
    refused = client.get(f"/v2/shop/orders/blobs/{digest}")
    assert (refused.status_code, code(refused)) == (503, "UNAVAILABLE")
    push(client, data)
    assert client.get(f"/v2/shop/orders/blobs/{digest}").content == data


def test_a_hundred_clients_pull_at_once(client: httpx.Client, address: str) -> None:
    data = os.urandom(512 * 1024)
    digest = push(client, data)
    right: list[bool] = []

    def pull() -> None:
        headers = {"Authorization": f"Bearer {READER}"}
        with httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=100) as mine:
            right.append(mine.get(f"/v2/shop/orders/blobs/{digest}", headers=headers).content == data)

    threads = [threading.Thread(target=pull) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 100


# -- trouble ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [0, 1, 65_536, 3 * 1024 * 1024 + 777, 5 * 1024 * 1024 - 1])
def test_a_chunk_whose_connection_is_cut_is_resumed_where_it_stands(
    client: httpx.Client, address: str, sent: int
) -> None:
    data = os.urandom(5 * 1024 * 1024)
    location = client.post("/v2/shop/orders/blobs/uploads/").headers["Location"]
    host, port = address.split(":")
    with socket.create_connection((host, int(port))) as raw:
        head = f"PATCH {location} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {WRITER}\r\n"
        raw.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data[:sent])
    standing = client.get(location)  # waits for nothing: what is not there yet is sent again
    while True:
        at = int(standing.headers["Range"].partition("-")[2]) + 1
        at = 0 if at == 1 else at
        answer = client.patch(location, content=data[at:], headers={"Content-Range": f"{at}-{len(data) - 1}"})
        if answer.status_code == 202:
            break
        assert answer.status_code in (409, 416)  # the cut connection was still writing
        standing = client.get(location)
    digest = digest_of(data)
    assert client.put(f"{location}?digest={digest}").status_code == 201
    assert client.get(f"/v2/shop/orders/blobs/{digest}").content == data


def test_a_wrong_digest_leaves_the_upload_or_nothing(client: httpx.Client, doors: TokenDoors) -> None:
    wrong = digest_of(b"another")
    answer = client.post(f"/v2/shop/orders/blobs/uploads/?digest={wrong}", content=b"these")
    assert (answer.status_code, code(answer)) == (400, "DIGEST_INVALID")
    assert list(doors.registry.uploads._root.iterdir()) == []  # type: ignore[attr-defined]
    location = client.post("/v2/shop/orders/blobs/uploads/").headers["Location"]
    client.patch(location, content=b"these")
    assert client.put(f"{location}?digest={wrong}").status_code == 400
    assert client.put(f"{location}?digest={digest_of(b'these')}").status_code == 201


def test_a_full_disk_is_said_and_the_upload_stays_what_it_was(
    client: httpx.Client, doors: TokenDoors, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = client.post("/v2/shop/orders/blobs/uploads/").headers["Location"]
    client.patch(location, content=b"half")

    def full(*_: Any, **__: Any) -> int:
        raise ExternalError("upload-store", "No space left on device", retryable=True)

    with monkeypatch.context() as patched:
        patched.setattr(doors.registry.uploads, "append", full)
        answer = client.patch(location, content=b"more")
        assert (answer.status_code, code(answer)) == (503, "UNAVAILABLE")
    assert client.patch(location, content=b" and half", headers={"Content-Range": "4-12"}).status_code == 202
    assert client.put(f"{location}?digest={digest_of(b'half and half')}").status_code == 201


def test_two_pushes_of_one_tag_leave_one_of_them_whole(client: httpx.Client, address: str) -> None:
    config = push(client, b"{}")
    bodies = [httpx.Response(200, json={**manifest(config), "annotations": {"n": str(n)}}).content for n in range(8)]

    def put(body: bytes) -> None:
        with httpx.Client(base_url=f"http://{address}", auth=("job", WRITER), trust_env=False, timeout=60) as mine:
            statuses.append(
                mine.put("/v2/shop/orders/manifests/1.0.0", content=body, headers={"Content-Type": IMAGE}).status_code
            )

    statuses: list[int] = []
    threads = [threading.Thread(target=put, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] + [409] * 7
    assert client.get("/v2/shop/orders/manifests/1.0.0").content in bodies


def test_clients_older_than_referrers_find_them_under_the_fallback_tag(client: httpx.Client) -> None:
    config = push(client, b"{}")
    subject = httpx.Response(200, json=manifest(config)).content
    about = {"mediaType": IMAGE, "digest": digest_of(subject), "size": len(subject)}
    signature = httpx.Response(200, json=manifest(config, about)).content
    tag = digest_of(subject).replace(":", "-")
    assert client.get(f"/v2/shop/orders/manifests/{tag}").status_code == 404
    for body in (subject, signature):
        address = f"/v2/shop/orders/manifests/{digest_of(body)}"
        assert client.put(address, content=body, headers={"Content-Type": IMAGE}).status_code == 201
    found = client.get(f"/v2/shop/orders/manifests/{tag}")
    assert [one["digest"] for one in found.json()["manifests"]] == [digest_of(signature)]
    assert client.head(f"/v2/shop/orders/manifests/{tag}").headers["Docker-Content-Digest"] == digest_of(found.content)
