"""A client of registries that are not well for a moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from aegis.adapters.registry_http import RegistryClient
from aegis.build.ports import RawManifest
from aegis.core.errors import ExternalError
from aegis.core.ids import sha256

_BODY = b'{"schemaVersion":2}'
MANIFEST = RawManifest(media_type="application/vnd.oci.image.manifest.v1+json", body=_BODY, digest=sha256(_BODY))
BLOB = b"one blob"


class Registry(ThreadingHTTPServer):
    """Takes blobs in sessions and manifests; answers `busy` to the requests whose numbers are in `broken`, from 1."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.broken: set[int] = set()
        self.busy = 503
        self.seen: list[str] = []
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Registry

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": "0"} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def do(self) -> None:
        store, body = self.server, self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        store.seen.append(f"{self.command} {path}")
        if len(store.seen) in store.broken:
            self.answer(store.busy)
        elif self.command == "HEAD":
            self.answer(200 if path.rpartition("/")[2] in store.blobs else 404)
        elif self.command == "POST":
            # It never takes a blob in one request, so that there is a session.
            self.answer(202, Location=f"/v2/shop/orders/blobs/uploads/{len(store.seen)}")
        elif "uploads" in path:
            store.blobs[query.removeprefix("digest=")] = body
            self.answer(201)
        else:
            store.manifests[path.rpartition("/")[2]] = body
            self.answer(201)

    do_HEAD = do_POST = do_PUT = do  # noqa: N815 - the names that http.server calls


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry()
    thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def push(registry: Registry) -> list[float]:
    """Push one small artifact; the pauses that were made."""
    pauses: list[float] = []
    with RegistryClient(f"127.0.0.1:{registry.server_port}", "shop/orders", pause=pauses.append) as client:
        client.put({sha256(BLOB): BLOB}, MANIFEST, "1.0")
    return pauses


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize("request_number", [1, 2, 3, 4])
def test_a_push_goes_on_after_a_moment_in_which_the_registry_could_not(
    registry: Registry, request_number: int, status: int
) -> None:
    registry.broken, registry.busy = {request_number}, status
    assert push(registry) == [0.5]
    assert registry.blobs == {sha256(BLOB): BLOB}
    assert registry.manifests == {"1.0": MANIFEST.body}


def test_a_blob_that_broke_off_is_sent_in_a_session_of_its_own(registry: Registry) -> None:
    registry.broken = {3}
    push(registry)
    sessions = [one for one in registry.seen if one.startswith("PUT") and "uploads" in one]
    assert len(sessions) == len(set(sessions)) == 2


def test_after_some_attempts_it_is_given_up_and_said(registry: Registry) -> None:
    registry.broken = set(range(1, 100))
    with pytest.raises(ExternalError, match="answered 503 to HEAD") as caught:
        push(registry)
    assert (caught.value.code, len(registry.seen)) == ("registry-busy", 5)


def test_what_will_not_be_otherwise_in_a_moment_is_not_tried_again(registry: Registry) -> None:
    registry.broken, registry.busy = {4}, 500
    with pytest.raises(ExternalError, match="500"):
        push(registry)
    assert len(registry.seen) == 4
