"""`/charts/`: the charts that were pushed as OCI artifacts, as a Helm repository."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from starlette.applications import Starlette

from aegis.registry.charts import CONFIG, CONTENT
from aegis.registry.manifest import IMAGE
from aegis.web import charts_api
from support.live_server import serving
from support.registry_doors import READER, WRITER, DoorsHolder, TokenDoors


@pytest.fixture(scope="module")
def address(holder: DoorsHolder) -> Iterator[str]:
    with serving(Starlette(routes=list(charts_api.routes(holder)))) as made:
        yield made


@pytest.fixture
def client(doors: TokenDoors, address: str) -> Iterator[httpx.Client]:  # noqa: ARG001 - opens them
    with httpx.Client(base_url=f"http://{address}/charts/", auth=("job", READER), trust_env=False) as made:
        yield made


def push(doors: TokenDoors, repository: str, name: str, version: str) -> bytes:
    handle, package = doors.registry.repository(repository, actor="x"), f"{name} {version}".encode()
    about = json.dumps({"apiVersion": "v2", "name": name, "version": version, "description": "a chart"}).encode()
    parts = [
        {"mediaType": kind, "digest": handle.put_blob(data), "size": len(data)}
        for kind, data in ((CONFIG, about), (CONTENT, package))
    ]
    created = {"org.opencontainers.image.created": "2026-01-05T09:00:00Z"}
    body = {"schemaVersion": 2, "mediaType": IMAGE, "config": parts[0], "layers": parts[1:], "annotations": created}
    handle.put_manifest(version.replace("+", "_"), IMAGE, json.dumps(body).encode())
    return package


def entries(client: httpx.Client, path: str = "index.yaml") -> dict[str, list[dict[str, Any]]]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, list[dict[str, Any]]] = yaml.safe_load(answer.text)["entries"]
    return found


def test_the_index_lists_every_chart_newest_first_with_what_helm_needs(client: httpx.Client, doors: TokenDoors) -> None:
    for version in ("1.9.0", "1.10.0", "1.10.0-rc.1"):
        package = push(doors, "shop/orders/orders", "orders", version)
    found = entries(client)["orders"]
    assert [one["version"] for one in found] == ["1.10.0", "1.10.0-rc.1", "1.9.0"]
    assert found[1]["digest"] == hashlib.sha256(package).hexdigest()
    assert found[1]["urls"] == ["shop/orders/orders/orders-1.10.0-rc.1.tgz"]
    assert (found[0]["created"], found[0]["description"]) == ("2026-01-05T09:00:00Z", "a chart")


def test_an_index_below_a_path_has_addresses_that_fit_it(client: httpx.Client, doors: TokenDoors) -> None:
    package = push(doors, "shop/orders/orders", "orders", "1.0.0")
    push(doors, "other/chart", "chart", "1.0.0")
    for path in ("shop", "shop/orders", "shop/orders/orders"):
        found = entries(client, f"{path}/index.yaml")
        assert set(found) == {"orders"}
        answer = client.get(f"{path}/{found['orders'][0]['urls'][0]}")
        assert answer.content == package
        assert answer.headers["Content-Type"] == "application/gzip"
    assert entries(client, "sho/index.yaml") == {}


def test_only_who_may_pull_sees_a_chart(client: httpx.Client, doors: TokenDoors) -> None:
    push(doors, "secret/chart", "chart", "1.0.0")
    push(doors, "shop/chart", "other", "1.0.0")
    assert set(entries(client)) == {"other"}
    assert client.get("secret/chart/chart-1.0.0.tgz").status_code == 403
    client.auth = ("x", WRITER)
    assert set(entries(client)) == {"chart", "other"}
    assert client.get("secret/chart/chart-1.0.0.tgz").status_code == 200
    client.auth = None
    answer = client.get("index.yaml")
    assert (answer.status_code, answer.headers["WWW-Authenticate"].startswith("Basic")) == (401, True)


def test_what_is_no_chart_is_left_out_and_what_was_deleted_goes(client: httpx.Client, doors: TokenDoors) -> None:
    handle = doors.registry.repository("shop/broken", actor="x")
    config = {"mediaType": CONFIG, "digest": handle.put_blob(b"[]"), "size": 2}
    body = {"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": []}
    handle.put_manifest("1.0.0", IMAGE, json.dumps(body).encode())
    push(doors, "shop/chart", "chart", "1.0.0")
    assert set(entries(client)) == {"chart"}
    listed = doors.images.listing("shop/chart")
    doors.images.delete_manifest("shop/chart", listed[0].record.digest)
    assert entries(client) == {}
    assert client.get("shop/chart/chart-1.0.0.tgz").status_code == 404
