"""With the real buildah: a Dockerfile of two stages on a base that was solved here, with its steps cached in a registry."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from starlette.applications import Starlette

from aegis.bootstrap.image import Wanted, build_image
from aegis.bootstrap.image_base import From, build_base, lock_base
from aegis.bootstrap.image_reading import inspect_image
from aegis.web import oci_api
from support.live_server import serving
from support.registry_doors import WRITER, DoorsHolder, TokenDoors

pytestmark = pytest.mark.real

DOCKERFILE = """FROM localhost/aegis-test-base:1 AS build
USER 0
RUN python3 -c "print('made in the first stage')" > /made.txt
FROM localhost/aegis-test-base:1
COPY --from=build /made.txt /made.txt
ENTRYPOINT ["python3", "-c", "print(open('/made.txt').read())"]
"""


def test_buildah_builds_two_stages_and_takes_the_second_time_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = tmp_path / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path / "graph"}"\nrunroot = "{tmp_path / "run"}"\n'
    )
    login = tmp_path / "auth.json"
    login.write_text("{}")
    policy = tmp_path / ".config" / "containers" / "policy.json"
    policy.parent.mkdir(parents=True)
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(storage))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(login))
    monkeypatch.setenv("AEGIS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    lock_base(
        ("base-files", "dash", "python3"), source=From(), with_=(), without=(), architecture="", file=tmp_path / "lock"
    )
    build_base(tmp_path / "lock", source=From(), output=tmp_path / "base")

    def buildah(*argv: str) -> str:
        return subprocess.run(["buildah", *argv], capture_output=True, text=True, check=True, timeout=300).stdout

    buildah("pull", f"oci:{tmp_path / 'base'}:base")
    buildah("tag", buildah("images", "-q").split()[0], "localhost/aegis-test-base:1")
    service = tmp_path / "svc"
    service.mkdir()
    (service / "Dockerfile").write_text(DOCKERFILE)
    (service / "main.py").write_text("")
    holder = DoorsHolder()
    holder.doors = doors = TokenDoors(tmp_path / "server")
    with serving(Starlette(routes=[*oci_api.routes(holder)])) as address:
        known = subprocess.run(
            ["buildah", "login", "--tls-verify=false", "-u", "any", "-p", WRITER, address], capture_output=True, check=False,
            env={**os.environ, "REGISTRY_AUTH_FILE": str(login)},
        )  # fmt: skip
        assert known.returncode == 0, known.stderr
        (service / "pyproject.toml").write_text(
            '[project]\nname = "svc"\nversion = "1.0.0"\n'
            f'[tool.aegis]\nbuilder = "dockerfile"\ncache = "{address}/quarantine/shop/cache"\n'
        )
        first = build_image(Wanted(path=service))
        cached = doors.registry.repositories()
        again = build_image(Wanted(path=service))
    doors.close()
    assert "quarantine/shop/cache" in json.dumps(cached)
    assert again.digest == first.digest
    found = inspect_image(first.path)
    assert found.entrypoint[0] == "python3"
    assert found.labels["org.opencontainers.image.version"] == "1.0.0"
