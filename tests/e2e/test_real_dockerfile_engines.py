"""A Dockerfile by the real BuildKit (buildctl, buildx) and by docker's own engine, with its steps cached in Aegis's registry."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette

from aegis.adapters.layout_directory import OciLayout
from aegis.bootstrap.image import Wanted, build_image
from aegis.web import oci_api
from support.engines import bridge, buildkitd, dockerd
from support.images import layout, shell_layer
from support.live_server import serving
from support.registry_doors import WRITER, DoorsHolder, TokenDoors

pytestmark = pytest.mark.real

# What a step makes is never the same twice, unless it came from the cache.
_DOCKERFILE = """FROM {base} AS build
RUN head -c 16 /dev/urandom | tr -dc a-z0-9 > /made.txt; echo made >> /made.txt
FROM {base}
COPY --from=build /made.txt /made.txt
RUN head -c 64 /dev/urandom | tr -dc a-z0-9 > /last.txt
"""


def program(name: str) -> Path:
    sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
    import go_programs

    found = go_programs.program(name)
    assert found is not None
    return found


@contextlib.contextmanager
def builder(kind: str, folder: Path, config: Path, patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The environment of one kind of builder; the command that forgets everything it keeps."""
    tools = folder / "bin"
    tools.mkdir()
    patch.setenv("PATH", f"{tools}:/usr/bin:/bin:/usr/sbin:/sbin")
    if kind == "engine":
        with bridge() as name, dockerd(folder / "docker", bridge=name) as environ:
            patch.setenv("DOCKER_HOST", environ["DOCKER_HOST"])
            yield ["/usr/bin/docker", "system", "prune", "--all", "--force"]
        return
    with buildkitd(folder / "buildkit", program("buildkitd")) as address:
        (tools / "buildctl").symlink_to(program("buildctl"))
        patch.setenv("BUILDKIT_HOST", address)
        if kind == "buildx":
            plugins = config / "cli-plugins"
            plugins.mkdir()
            (plugins / "docker-buildx").symlink_to(program("docker-buildx"))
            asked = ["docker", "buildx", "create", "--name", "ours", "--driver", "remote", address]
            subprocess.run(asked, check=True, capture_output=True)
            patch.setenv("BUILDX_BUILDER", "ours")
        yield [str(tools / "buildctl"), "prune", "--all"]


@pytest.mark.parametrize("kind", ["buildctl", "buildx", "engine"])
def test_two_stages_whose_steps_come_from_the_cache_of_another_machine(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AEGIS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    holder = DoorsHolder()
    holder.doors = doors = TokenDoors(tmp_path / "server")
    with serving(Starlette(routes=[*oci_api.routes(holder)])) as address:
        auth = base64.b64encode(f"any:{WRITER}".encode()).decode()
        (config / "config.json").write_text(json.dumps({"auths": {address: {"auth": auth}}}))
        layout(tmp_path / "base", shell_layer(), config={"Env": ["PATH=/usr/bin:/bin"]})
        base = f"{address}/quarantine/shop/base:1"
        asked = [
            "skopeo",
            "copy",
            "--dest-tls-verify=false",
            f"--dest-creds=any:{WRITER}",
            f"oci:{tmp_path}/base:1",
            f"docker://{base}",
        ]
        subprocess.run(asked, check=True, capture_output=True, env={**os.environ, "PATH": os.defpath + ":/usr/bin"})
        service = tmp_path / "svc"
        service.mkdir()
        (service / "Dockerfile").write_text(_DOCKERFILE.format(base=base))
        (service / "main.py").write_text("")
        (service / "pyproject.toml").write_text(
            '[project]\nname = "svc"\nversion = "1.0.0"\n'
            f'[tool.aegis]\nbuilder = "{"buildctl" if kind == "buildctl" else "docker"}"\n'
            f'cache = "{address}/quarantine/shop/cache"\n'
        )
        with builder(kind, tmp_path, config, monkeypatch) as forget:
            first = build_image(Wanted(path=service))
            made = layers(Path(first.path))
            subprocess.run(forget, check=True, capture_output=True)
            again = layers(Path(build_image(Wanted(path=service)).path))
        assert "quarantine/shop/cache" in json.dumps(doors.registry.repositories())
    doors.close()
    assert len(made) == 3
    assert again == made


def layers(path: Path) -> list[str]:
    """What the layers of an image unpack to, lowest first."""
    found = OciLayout(path)
    manifest = json.loads(found.manifest(found.tags()[0]).body)
    config = json.loads(b"".join(found.blob(manifest["config"]["digest"])))
    assert config["config"]["Labels"]["org.opencontainers.image.version"] == "1.0.0"
    return list(config["rootfs"]["diff_ids"])
