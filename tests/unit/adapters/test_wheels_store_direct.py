"""Files that a lock names by address or path: fetched through the egress, verified by hash, taken from nowhere else."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from aegis.adapters.tool_sandbox import SandboxTool
from aegis.adapters.wheels_store import StoredWheels
from aegis.build.locks import Locked
from aegis.build.target import Target
from aegis.core.errors import ExternalError
from support.live_server import serving
from support.tiny_packages import wheel

NAME, DATA = wheel()
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
TARGET = Target("3.11", "amd64")
TINY = Locked(name="tiny", version="1.0", hashes=(DIGEST,))


def store(folder: Path, host: str = "") -> StoredWheels:
    """A store in a project's folder, whose index is on `host`, if any."""
    seen = {"UV_DEFAULT_INDEX": f"http://{host}/simple/"} if host else {}
    return StoredWheels(
        folder / "kept", tool=SandboxTool(path=os.environ["PATH"]), python=sys.executable, environment=seen, project=folder
    )  # fmt: skip


@pytest.fixture
def host() -> Iterator[str]:
    routes = [
        Route(f"/files/{NAME}", lambda _: Response(DATA)),
        Route(f"/moved/{NAME}", lambda _: RedirectResponse(f"/files/{NAME}")),
    ]
    with serving(Starlette(routes=routes)) as address:
        yield address


def fetched(kept: StoredWheels, one: Locked) -> bytes:
    (found,) = kept.fetch((one,), TARGET, from_source=())
    assert (found.name, found.version, found.filename, found.locked) == ("tiny", "1.0", NAME, DIGEST)
    return found.path.read_bytes()


@pytest.mark.parametrize("place", ["files", "moved"])
def test_a_file_at_an_address_is_fetched_and_verified(tmp_path: Path, host: str, place: str) -> None:
    assert fetched(store(tmp_path, host), replace(TINY, address=f"http://{host}/{place}/{NAME}")) == DATA


def test_a_file_beside_the_lock_is_taken(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / NAME).write_bytes(DATA)
    assert fetched(store(tmp_path), replace(TINY, address=f"dist/{NAME}")) == DATA


def test_another_file_than_the_locked_one_is_refused_and_not_kept(tmp_path: Path, host: str) -> None:
    kept = store(tmp_path, host)
    other = replace(TINY, hashes=(f"sha256:{'0' * 64}",), address=f"http://{host}/files/{NAME}")
    with pytest.raises(ExternalError, match="is not what the lock says"):
        kept.fetch((other,), TARGET, from_source=())
    assert not list((tmp_path / "kept").rglob("*.whl"))


@pytest.mark.parametrize(
    ("address", "code"), [("http://{}/gone/" + NAME, "wheels-unreachable"), ("dist/" + NAME, "wheels")]
)
def test_what_is_not_there_is_told_with_its_place(tmp_path: Path, host: str, address: str, code: str) -> None:
    with pytest.raises(ExternalError) as caught:
        store(tmp_path, host).fetch((replace(TINY, address=address.format(host)),), TARGET, from_source=())
    assert caught.value.code == code
    assert "the lock" in f"{caught.value.message} {caught.value.hint}"


def test_a_lock_leads_to_no_private_host_but_an_indexs(tmp_path: Path, host: str) -> None:
    with pytest.raises(ExternalError) as caught:
        store(tmp_path).fetch((replace(TINY, address=f"http://{host}/files/{NAME}"),), TARGET, from_source=())
    assert caught.value.code == "egress-private"
