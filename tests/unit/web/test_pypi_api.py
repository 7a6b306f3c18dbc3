"""`/pypi/` as its real clients use it (pip, uv, twine), and what the page specifications ask for."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from aegis.core.errors import Conflict, Denied
from aegis.web import pypi_api
from support.clients import run
from support.live_server import serving
from support.registry_doors import READER, WRITER, DoorsHolder, TokenDoors
from support.tiny_packages import sdist, wheel

JSON = "application/vnd.pypi.simple.v1+json"


@pytest.fixture(scope="module")
def address(holder: DoorsHolder) -> Iterator[str]:
    with serving(Starlette(routes=list(pypi_api.routes(holder)))) as made:
        yield made


@pytest.fixture
def client(doors: TokenDoors, address: str) -> Iterator[httpx.Client]:  # noqa: ARG001 - opens them
    with httpx.Client(base_url=f"http://{address}", auth=("job", WRITER), trust_env=False) as made:
        yield made


def upload(client: httpx.Client, file: tuple[str, bytes], index: str = "shop", **fields: Any) -> httpx.Response:
    form = {":action": "file_upload", "protocol_version": "1", **fields}
    return client.post(f"/pypi/{index}/legacy/", data=form, files={"content": file})


@pytest.mark.usefixtures("doors")
def test_twine_uploads_what_pip_and_uv_install(address: str, tmp_path: Path) -> None:
    for name, data in (wheel(), sdist()):
        (tmp_path / name).write_bytes(data)
    files = [str(tmp_path / wheel()[0]), str(tmp_path / sdist()[0])]
    where = f"http://{address}/pypi/shop/legacy/"
    run(
        sys.executable, "-m", "twine", "upload", "--non-interactive", "--disable-progress-bar",
        "--repository-url", where, "-u", "job", "-p", WRITER, *files, cwd=tmp_path,
    )  # fmt: skip
    index = f"http://job:{READER}@{address}/pypi/shop/simple/"
    digest = hashlib.sha256(wheel()[1]).hexdigest()
    (tmp_path / "requirements.lock").write_text(f"tiny==1.0 --hash=sha256:{digest}\n")
    run(
        sys.executable, "-m", "pip", "install", "--no-deps", "--require-hashes", "--index-url", index,
        "--target", "by-pip", "-r", "requirements.lock", cwd=tmp_path,
    )  # fmt: skip
    run(
        sys.executable, "-m", "uv", "pip", "install", "--no-deps", "--require-hashes", "--default-index", index,
        "--target", "by-uv", "-r", "requirements.lock", cwd=tmp_path,
    )  # fmt: skip
    for folder in ("by-pip", "by-uv"):
        assert (tmp_path / folder / "tiny.py").read_text() == 'VERSION = "1.0"\n'


def test_uv_publishes_too(address: str, client: httpx.Client, tmp_path: Path) -> None:
    name, data = wheel()
    (tmp_path / name).write_bytes(data)
    where = f"http://{address}/pypi/shop/legacy/"
    run(
        sys.executable, "-m", "uv", "publish", "--publish-url", where, "--trusted-publishing", "never",
        "-u", "job", "-p", WRITER, name, cwd=tmp_path,
    )  # fmt: skip
    assert client.get(f"/pypi/shop/files/{name}").content == data


def test_the_page_of_a_project_comes_as_html_or_json_as_is_asked(client: httpx.Client) -> None:
    name, data = wheel()
    assert upload(client, (name, data)).status_code == 200
    page = client.get("/pypi/shop/simple/tiny/")
    assert page.headers["Content-Type"] == "text/html"
    assert f"../../files/{name}#sha256={hashlib.sha256(data).hexdigest()}" in page.text
    assert 'data-requires-python="&gt;=3.8"' in page.text
    assert 'name="pypi:repository-version" content="1.1"' in page.text
    asked = client.get("/pypi/shop/simple/tiny/", headers={"Accept": f"text/html;q=0.1, {JSON}"})
    assert asked.headers["Content-Type"] == JSON
    found = asked.json()
    (file,) = found["files"]
    assert (found["meta"], found["name"], found["versions"]) == ({"api-version": "1.1"}, "tiny", ["1.0"])
    assert file["hashes"] == {"sha256": hashlib.sha256(data).hexdigest()}
    assert (file["size"], file["yanked"], file["requires-python"]) == (len(data), False, ">=3.8")
    metadata = client.get(f"/pypi/shop/files/{name}.metadata").content
    assert file["core-metadata"] == {"sha256": hashlib.sha256(metadata).hexdigest()}
    assert b"Name: tiny" in metadata


def test_the_list_of_projects_comes_in_both_forms(client: httpx.Client) -> None:
    assert upload(client, wheel()).status_code == 200
    assert '<a href="tiny/">tiny</a>' in client.get("/pypi/shop/simple/").text
    found = client.get("/pypi/shop/simple/", headers={"Accept": JSON}).json()
    assert found["projects"] == [{"name": "tiny"}]


def test_a_name_that_is_not_normal_leads_to_the_one_that_is(client: httpx.Client) -> None:
    assert upload(client, wheel("tiny_thing")).status_code == 200
    for asked in ("Tiny.Thing/", "tiny-thing"):
        answer = client.get(f"/pypi/shop/simple/{asked}", follow_redirects=True)
        assert answer.status_code == 200
        assert answer.url.path == "/pypi/shop/simple/tiny-thing/"


def test_a_file_name_is_given_once(client: httpx.Client, doors: TokenDoors) -> None:
    name, data = wheel()
    assert upload(client, (name, data)).status_code == 200
    assert upload(client, (name, data)).status_code == 200
    other = upload(client, (name, wheel(requires_python=">=3.9")[1]))
    assert other.status_code == 409
    doors.store.remove("shop", name)
    assert client.get("/pypi/shop/simple/tiny/").status_code == 404
    assert upload(client, (name, wheel(requires_python=">=3.9")[1])).status_code == 409


@pytest.mark.parametrize(
    ("file", "fields"),
    [
        (("tiny-2.0-py3-none-any.whl", wheel()[1]), {}),
        (("other-1.0-py3-none-any.whl", wheel()[1]), {}),
        (("tiny-1.0-py3-none-any.whl", b"no archive"), {}),
        (("tiny-1.0.tar.gz", b"no archive"), {}),
        (("../tiny-1.0.tar.gz", sdist()[1]), {}),
        (("tiny.txt", b""), {}),
        (wheel(), {"sha256_digest": "0" * 64}),
        (wheel(), {"name": "other"}),
        (wheel(), {"version": "1.1"}),
        (wheel(), {":action": "submit"}),
    ],
)
def test_an_upload_that_contradicts_itself_is_refused(
    client: httpx.Client, file: tuple[str, bytes], fields: dict[str, str]
) -> None:
    answer = upload(client, file, **fields)
    assert answer.status_code == 400, answer.text
    assert client.get("/pypi/shop/simple/").text.count("<a ") == 0


def test_a_yanked_file_says_so_with_its_reason(client: httpx.Client, doors: TokenDoors) -> None:
    name, _ = wheel()
    upload(client, wheel())
    index = doors.indexes.index("shop", actor="server")
    index.yank(name, "broken <here>")
    assert 'data-yanked="broken &lt;here&gt;"' in client.get("/pypi/shop/simple/tiny/").text
    found = client.get("/pypi/shop/simple/tiny/", headers={"Accept": JSON}).json()
    assert found["files"][0]["yanked"] == "broken <here>"
    index.yank(name, None)
    assert "data-yanked" not in client.get("/pypi/shop/simple/tiny/").text


def test_indexes_are_apart_and_a_release_copies_a_file(client: httpx.Client, doors: TokenDoors) -> None:
    name, data = wheel()
    upload(client, (name, data), index="quarantine")
    assert client.get("/pypi/shop/simple/tiny/").status_code == 404
    doors.indexes.release("quarantine", "shop", name, actor="server")
    doors.indexes.release("quarantine", "shop", name, actor="server")
    assert client.get(f"/pypi/shop/files/{name}", headers={"Range": "bytes=0-3"}).content == data[:4]
    upload(client, (name, wheel(requires_python=">=3.9")[1]), index="other")
    with pytest.raises(Conflict):
        doors.indexes.release("other", "shop", name, actor="server")


def test_without_a_token_nothing_is_shown_and_a_reader_may_not_upload(client: httpx.Client, doors: TokenDoors) -> None:
    client.auth = None
    answer = client.get("/pypi/shop/simple/")
    assert (answer.status_code, answer.headers["WWW-Authenticate"][:5]) == (401, "Basic")
    client.auth = ("any", READER)  # type: ignore[assignment]
    assert upload(client, wheel()).status_code == 403
    with pytest.raises(Denied):
        doors.indexes.index("shop", actor="x", actions=frozenset()).project_list("")
