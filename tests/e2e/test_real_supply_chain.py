"""With the programs that others use: cosign verifies what a live server signed, syft finds what the builder says."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.adapters.layout_directory import OciLayout
from aegis.bootstrap.image import Wanted, build_image
from aegis.bootstrap.image_base import From, build_base, lock_base
from aegis.bootstrap.image_reading import sbom_of
from support.server import DECLARATION, TeamServer, aegis, team

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import go_programs
import wheel_programs

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    with team(tmp_path_factory.mktemp("cosign") / "server") as made:
        made.service()
        made.in_production()
        yield made


@pytest.fixture(scope="module")
def key(server: TeamServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("key") / "aegis.pub"
    done = aegis("image", "key", "--output", str(file), AEGIS_URL=server.url, AEGIS_TOKEN=server.person("ana").token)
    assert done.returncode == 0, done.stderr
    return file


def cosign(server: TeamServer, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = go_programs.program("cosign")
    assert program is not None
    login = base64.b64encode(f"ana:{server.person('ana').token}".encode()).decode()
    host = server.url.removeprefix("http://")
    (home / "config.json").write_text(json.dumps({"auths": {host: {"auth": login}}}))
    seen = {"PATH": os.environ["PATH"], "HOME": str(home), "DOCKER_CONFIG": str(home), "TUF_ROOT": str(home / "tuf")}
    return subprocess.run(
        [str(program), *arguments], env=seen, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def mirror(server: TeamServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    """Another server, which has nothing but a mirror of the first."""
    login = "user: ana, password: $AEGIS_REGISTRY_SOURCE, private: true"
    declaration = f'{DECLARATION}  mirrors:\n    source: {{url: "{server.url}", {login}}}\n'
    variables = {"AEGIS_REGISTRY_SOURCE": server.person("ana").token}
    with team(tmp_path_factory.mktemp("mirror") / "server", declaration, variables=variables) as made:
        yield made


QUESTIONS = pytest.mark.parametrize(
    "arguments",
    [
        ("verify",),
        ("verify", "--experimental-oci11"),
        ("verify-attestation", "--type", "slsaprovenance1"),
        ("verify-attestation", "--type", "cyclonedx"),
        ("verify-attestation", "--type", "cyclonedx", "--experimental-oci11"),
    ],
    ids=" ".join,
)
"""By the tags `sha256-….sig` and `….att`, and by the API of referrers."""


@QUESTIONS
def test_cosign_accepts_through_a_mirror_what_the_source_signed(
    server: TeamServer, mirror: TeamServer, key: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    release = server.as_("ana").get("releases", service="web")[-1]
    image = release["artifacts"][0]
    host = mirror.url.removeprefix("http://")
    reference = f"{host}/mirror/source/{release['project']}@{image['digest']}"
    offline = ("--key", str(key), "--insecure-ignore-tlog=true")
    done = cosign(mirror, tmp_path, *arguments, *offline, reference)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])


@QUESTIONS
def test_cosign_accepts_what_the_server_signed(
    server: TeamServer, key: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    release = server.as_("ana").get("releases", service="web")[-1]
    image = release["artifacts"][0]
    reference = f"{server.url.removeprefix('http://')}/{release['project']}@{image['digest']}"
    offline = ("--key", str(key), "--insecure-ignore-tlog=true")
    done = cosign(server, tmp_path, *arguments, *offline, reference)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    if arguments[0] == "verify":
        assert answer[0]["critical"]["image"]["docker-manifest-digest"] == image["digest"]
        return
    statement = json.loads(base64.b64decode(answer["payload"]))
    assert statement["subject"][0]["digest"]["sha256"] == image["digest"].removeprefix("sha256:")


def test_cosign_refuses_another_key(server: TeamServer, tmp_path: Path) -> None:
    made = cosign(server, tmp_path, "generate-key-pair", "--output-key-prefix", str(tmp_path / "other"))
    if made.returncode != 0:  # it asks for a password where it has no terminal
        (tmp_path / "other.pub").write_text(subprocess.run(
            ["openssl", "ec", "-pubout"], text=True, capture_output=True, check=True,
            input=subprocess.run(
                ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"], capture_output=True, text=True, check=True
            ).stdout,
        ).stdout)  # fmt: skip
    release = server.as_("ana").get("releases", service="web")[-1]
    reference = f"{server.url.removeprefix('http://')}/{release['project']}@{release['artifacts'][0]['digest']}"
    done = cosign(
        server, tmp_path, "verify", "--key", str(tmp_path / "other.pub"), "--insecure-ignore-tlog=true", reference
    )
    assert done.returncode != 0
    assert "no matching signatures" in done.stderr


LOCK = ["fastapi==0.115.6", "uvicorn==0.34.0", "sqlalchemy==2.0.36", "httpx==0.28.1", "jinja2==3.1.5"]


def test_syft_finds_what_the_builder_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "svc"
    (folder / "src" / "svc").mkdir(parents=True)
    (folder / "src" / "svc" / "__init__.py").write_text("")
    (folder / "src" / "svc" / "app.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "svc"\nversion = "1.0.0"\ndependencies = {json.dumps(LOCK)}\n'
    )
    uv = Path(sys.executable).with_name("uv")
    subprocess.run(
        [uv, "pip", "compile", "--quiet", "--generate-hashes", "pyproject.toml", "-o", "requirements.lock"],
        cwd=folder, check=True, timeout=120,
    )  # fmt: skip
    monkeypatch.setenv("AEGIS_CACHE_DIR", str(tmp_path / "cache"))
    report = build_image(Wanted(path=folder, sbom=tmp_path / "sbom.json"))
    syft = wheel_programs.program("syft")
    assert syft is not None
    done = subprocess.run(
        [str(syft), "scan", f"oci-dir:{report.path}", "-o", "cyclonedx-json"], capture_output=True, check=True, timeout=300,
        env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"},
    )  # fmt: skip
    found = packages(json.loads(done.stdout))
    assert (
        found
        == packages(json.loads((tmp_path / "sbom.json").read_text()))
        == packages(json.loads(sbom_of(report.path)))
    )
    assert len(found) > len(LOCK)


def packages(document: dict[str, list[dict[str, str]]]) -> set[tuple[str, str]]:
    return {
        (one["name"].lower().replace("_", "-").replace(".", "-"), one["version"])
        for one in document["components"]
        if one["type"] == "library"
    }


def test_a_base_of_this_machines_debian_runs_python_and_syft_finds_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Solved by apt's own lists and mirrors, unpacked without a script being run; only `chroot` here needs root."""
    monkeypatch.setenv("AEGIS_CACHE_DIR", str(tmp_path / "cache"))
    lock_base((), source=From(), with_=(), without=(), architecture="", file=tmp_path / "base.lock")
    report = build_base(tmp_path / "base.lock", source=From(), output=tmp_path / "base")
    again = build_base(tmp_path / "base.lock", source=From(), output=tmp_path / "again")
    assert again.digest == report.digest
    syft = wheel_programs.program("syft")
    assert syft is not None
    done = subprocess.run(
        [str(syft), "scan", f"oci-dir:{tmp_path / 'base'}", "-o", "cyclonedx-json"], capture_output=True, check=True,
        timeout=300, env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"},
    )  # fmt: skip
    ours = {one["purl"].partition("?")[0] for one in json.loads(sbom_of(str(tmp_path / "base")))["components"]}
    theirs = {one.get("purl", "").partition("?")[0] for one in json.loads(done.stdout)["components"]}
    debian = {one for one in theirs if one.startswith("pkg:deb/")}
    assert {one for one in ours if one.startswith("pkg:deb/")} == debian
    assert len(debian) == report.packages
    root = tmp_path / "root"
    for layer in json.loads(OciLayout(tmp_path / "base").manifest("").body)["layers"]:
        with tarfile.open(OciLayout(tmp_path / "base").blob_path(layer["digest"])) as archive:
            archive.extractall(root, filter="tar")
    code = "import ssl, sqlite3, zoneinfo; zoneinfo.ZoneInfo('Asia/Seoul'); print(ssl.create_default_context().cert_store_stats()['x509'])"
    ran = subprocess.run(
        ["chroot", "--userspec=65532:65532", str(root), "python", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(ran.stdout) > 50
