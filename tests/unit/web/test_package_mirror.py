"""Several indexes and mirrors: which one answers, what a vanished source leaves, and that no name can be slipped in."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from aegis.adapters.egress_http import EgressRules, HttpEgress
from aegis.registry.options import IndexRule, RegistryOptions
from aegis.web import pypi_api
from support.clients import run
from support.live_server import serving
from support.registry_doors import READER, WRITER, DoorsHolder, TokenDoors
from support.tiny_packages import sdist, wheel

JSON = "application/vnd.pypi.simple.v1+json"


class World:
    """An index outside and ours, which mirrors it as `outside`; `shop` falls through to `libs` and then to the mirror."""

    def __init__(self, path: Path, addresses: tuple[str, str], holders: tuple[DoorsHolder, DoorsHolder]) -> None:
        self.source, self.ours = TokenDoors(path / "outside"), TokenDoors(path / "ours")
        holders[0].doors, holders[1].doors = self.source, self.ours
        self.addresses = addresses
        there = addresses[0]
        self.source_up()
        self.declare(
            shop=IndexRule(then=("libs", "outside")), libs=IndexRule(own=("lib-*",)),
            outside=IndexRule(mirror=f"http://{there}/pypi/public/simple/", fresh=60),
        )  # fmt: skip
        self.outside = httpx.Client(base_url=f"http://{there}/pypi/", auth=("x", WRITER), trust_env=False)
        self.client = httpx.Client(base_url=f"http://{addresses[1]}/pypi/", auth=("x", WRITER), trust_env=False)

    def declare(self, **rules: IndexRule) -> None:
        self.ours.options = RegistryOptions(indexes=rules)

    def source_up(self) -> None:
        """Our way out: the source only, with a token of its own added (sources ask for none)."""
        inner = HttpEgress(EgressRules(private=frozenset({self.addresses[0]})))
        self.ours.egress = WithToken(inner)

    def source_down(self) -> None:
        self.ours.egress = HttpEgress(EgressRules())

    def upload(self, client: httpx.Client, index: str, file: tuple[str, bytes]) -> None:
        form = {":action": "file_upload", "protocol_version": "1"}
        answer = client.post(f"{index}/legacy/", data=form, files={"content": file})
        assert answer.status_code == 200, answer.text

    def page(self, index: str, project: str) -> httpx.Response:
        return self.client.get(f"{index}/simple/{project}/", headers={"Accept": JSON})

    def names(self, index: str, project: str) -> list[str]:
        answer = self.page(index, project)
        return [one["filename"] for one in answer.json()["files"]] if answer.status_code == 200 else []

    def close(self) -> None:
        for one in (self.outside, self.client, self.source, self.ours):
            one.close()


class WithToken:
    def __init__(self, inner: HttpEgress) -> None:
        self._inner = inner

    def _headers(self, options: dict[str, Any]) -> dict[str, Any]:
        return {**options, "headers": {**options.get("headers", {}), "Authorization": f"Bearer {READER}"}}

    def request(self, *what: Any, **options: Any) -> Any:
        return self._inner.request(*what, **self._headers(options))

    def stream(self, *what: Any, **options: Any) -> Any:
        return self._inner.stream(*what, **self._headers(options))


@pytest.fixture(scope="module")
def places() -> Iterator[tuple[tuple[str, str], tuple[DoorsHolder, DoorsHolder]]]:
    holders = DoorsHolder(), DoorsHolder()
    with (
        serving(Starlette(routes=list(pypi_api.routes(holders[0])))) as there,
        serving(Starlette(routes=list(pypi_api.routes(holders[1])))) as here,
    ):
        yield (there, here), holders


@pytest.fixture
def world(tmp_path: Path, places: Any) -> Iterator[World]:
    made = World(tmp_path, *places)
    yield made
    made.close()


def test_a_project_of_the_mirror_is_fetched_and_installed_by_pip_and_uv(world: World, tmp_path: Path) -> None:
    for file in (wheel("public"), sdist("public")):
        world.upload(world.outside, "public", file)
    assert world.names("shop", "public") == ["public-1.0-py3-none-any.whl", "public-1.0.tar.gz"]
    index = f"http://x:{READER}@{world.addresses[1]}/pypi/shop/simple/"
    run(
        sys.executable, "-m", "pip", "install", "--target", str(tmp_path / "pip"), "--index-url", index, "public",
        cwd=tmp_path,
    )  # fmt: skip
    uv = str(Path(sys.executable).with_name("uv"))
    run(uv, "pip", "install", "--target", str(tmp_path / "uv-lib"), "--index-url", index, "public", cwd=tmp_path)
    assert (tmp_path / "pip" / "public.py").exists()
    assert (tmp_path / "uv-lib" / "public.py").exists()


def test_html_pages_of_a_source_are_read_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.upload(world.outside, "public", wheel("public"))
    monkeypatch.setattr("aegis.registry.package_mirror._ACCEPT", "text/html")
    (entry,) = world.page("outside", "public").json()["files"]
    assert entry["hashes"] == {"sha256": hashlib.sha256(wheel("public")[1]).hexdigest()}
    assert entry["core-metadata"]
    address = f"outside/files/{entry['filename']}"
    assert world.client.get(f"{address}.metadata").text.startswith("Metadata-Version")
    assert world.client.get(address).content == wheel("public")[1]


def test_a_name_that_an_index_here_has_is_never_answered_from_outside(world: World) -> None:
    world.upload(world.client, "libs", wheel("shared", "1.0"))
    world.upload(world.outside, "public", wheel("shared", "9.0"))
    assert world.names("shop", "shared") == ["shared-1.0-py3-none-any.whl"]
    assert world.page("outside", "shared").status_code == 404
    assert world.client.get("shop/files/shared-9.0-py3-none-any.whl").status_code == 404
    assert world.client.get("shop/files/shared-1.0-py3-none-any.whl").content == wheel("shared", "1.0")[1]


def test_a_name_stays_ours_after_its_last_file_was_removed(world: World) -> None:
    world.upload(world.client, "shop", wheel("shared", "1.0"))
    world.upload(world.outside, "public", wheel("shared", "9.0"))
    world.ours.store.remove("shop", "shared-1.0-py3-none-any.whl")
    assert world.page("shop", "shared").status_code == 404


def test_a_name_in_quarantine_is_ours_already(world: World) -> None:
    world.upload(world.client, "quarantine", wheel("shared", "1.0"))
    world.upload(world.outside, "public", wheel("shared", "9.0"))
    assert world.page("shop", "shared").status_code == 404


def test_a_declared_name_is_ours_before_anything_was_uploaded(world: World) -> None:
    world.upload(world.outside, "public", wheel("lib_shared", "9.0"))
    assert world.page("shop", "lib-shared").status_code == 404
    assert world.page("outside", "lib-shared").status_code == 404


def test_two_indexes_are_never_mixed_for_one_project(world: World) -> None:
    world.upload(world.client, "libs", wheel("shared", "9.0"))
    world.upload(world.client, "shop", wheel("shared", "1.0"))
    assert world.names("shop", "shared") == ["shared-1.0-py3-none-any.whl"]
    assert world.names("libs", "shared") == ["shared-9.0-py3-none-any.whl"]


def test_what_was_fetched_outlives_its_source(world: World, forward: Callable[[World], None]) -> None:
    world.upload(world.outside, "public", wheel("public"))
    name, data = wheel("public")
    assert world.client.get(f"shop/files/{name}").content == data
    world.source_down()
    forward(world)
    assert world.names("shop", "public") == [name]
    assert world.client.get(f"shop/files/{name}").content == data
    answer = world.page("shop", "another")
    assert answer.status_code == 503
    assert "mirrors" in answer.text


def test_a_page_is_asked_for_anew_when_it_is_no_longer_fresh(world: World, forward: Callable[[World], None]) -> None:
    world.upload(world.outside, "public", wheel("public", "1.0"))
    assert len(world.names("shop", "public")) == 1
    world.upload(world.outside, "public", wheel("public", "2.0"))
    assert len(world.names("shop", "public")) == 1
    forward(world)
    assert len(world.names("shop", "public")) == 2


@pytest.fixture
def forward() -> Callable[[World], None]:
    def later(world: World) -> None:
        rules = dict(world.ours.options.indexes)
        rules["outside"] = IndexRule(mirror=rules["outside"].mirror, fresh=-1)
        world.declare(**rules)

    return later


def test_a_source_that_sends_something_else_than_its_page_says_is_refused(world: World) -> None:
    world.upload(world.outside, "public", wheel("public"))
    name, data = wheel("public")
    world.page("shop", "public")
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    hexadecimal = digest.removeprefix("sha256:")
    path = world.source.blobs._root / "sha256" / hexadecimal[:2] / hexadecimal
    path.write_bytes(data[:-1] + b"!")
    answer = world.client.get(f"shop/files/{name}")
    assert answer.status_code == 503
    assert world.ours.blobs.size(digest) is None


def test_nobody_uploads_to_a_mirror(world: World) -> None:
    form = {":action": "file_upload", "protocol_version": "1"}
    answer = world.client.post("outside/legacy/", data=form, files={"content": wheel()})
    assert (answer.status_code, "mirrors another" in answer.text) == (403, True)


def test_a_source_that_wants_a_login_gets_the_declared_one_and_no_other_host_does(world: World) -> None:
    world.upload(world.outside, "public", wheel("public"))
    world.ours.egress = HttpEgress(EgressRules(private=frozenset({world.addresses[0]})))
    assert world.page("shop", "public").status_code == 503, "nobody logs in without a declaration"
    there = f"http://{world.addresses[0]}/pypi/public/simple/"
    rule = IndexRule(mirror=there, user="reader", password="$AEGIS_REGISTRY_HUB")
    world.declare(shop=IndexRule(then=("outside",)), outside=rule)
    name, data = wheel("public")
    assert world.names("shop", "public") == [name]
    assert world.client.get(f"shop/files/{name}").content == data
    assert world.client.get(f"shop/files/{name}.metadata").status_code == 200
    mirror = world.ours.indexes.mirror
    assert mirror is not None
    assert mirror._login(rule, f"{there}public/")
    for elsewhere in (
        "https://files.example.org/public.whl",
        there.replace("http://", "https://"),
        f"http://x.{there[7:]}",
    ):
        assert not mirror._login(rule, elsewhere)
