"""Wheels and sdists: the server's version written in, the same bytes twice, accepted by twine and our index."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from starlette.applications import Starlette

from aegis.bootstrap.wheel import build_wheel, publish_files
from aegis.build.wheel import problems, repack_sdist, with_version
from aegis.cli.wheel import wheel as wheel_command
from aegis.core.errors import CheckFailed, Conflict, Denied, UserError
from aegis.web import pypi_api
from support.live_server import serving
from support.registry_doors import READER, WRITER, TokenDoors
from support.tiny_packages import wheel

BACKENDS = {
    "hatchling": (
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n',
        '[tool.hatch.version]\npath = "src/small/__init__.py"\n',
    ),
}


@pytest.fixture(autouse=True)
def job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in os.environ if one.startswith(("CI_", "AEGIS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setenv("CI_COMMIT_SHA", "0" * 40)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def library(folder: Path, *, managed: bool = True) -> Path:
    (folder / "src" / "small").mkdir(parents=True)
    (folder / "src" / "small" / "__init__.py").write_text('__version__ = "0.0.1"\n')
    (folder / "README.md").write_text("# Small\n")
    system, dynamic = BACKENDS["hatchling"]
    option = '[tool.aegis]\nversion = "managed"\n' if managed else ""
    (folder / "pyproject.toml").write_text(
        f'{system}\n[project]\nname = "small"\nversion = "0.0.1" # decided later\n'
        f'description = "Small."\nreadme = "README.md"\nrequires-python = ">=3.11"\n\n{option}\n{dynamic}'
    )
    return folder


def build(folder: Path, **more: str) -> tuple[dict[str, bytes], str]:
    wanted = {"version": "", "repository_url": "", **more}
    report = build_wheel(folder, output=None, publish=bool(wanted["repository_url"]), **wanted)  # type: ignore[arg-type]
    return {file.filename: (folder / "dist" / file.filename).read_bytes() for file in report.files}, report.version


def test_the_same_commit_gives_the_same_wheel_and_sdist_and_twine_is_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEGIS_VERSION", "1.3.0-dev.5")
    first, version = build(library(tmp_path / "one"))
    second, _ = build(library(tmp_path / "two"))
    assert first == second
    assert version == "1.3.0.dev5"
    assert sorted(first) == ["small-1.3.0.dev5-py3-none-any.whl", "small-1.3.0.dev5.tar.gz"]
    files = [str(tmp_path / "one" / "dist" / name) for name in first]
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True, capture_output=True)


def test_a_version_that_the_project_keeps_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_VERSION", "9.9.9")
    assert build(library(tmp_path / "one", managed=False))[1] == "0.0.1"


def test_a_project_that_does_not_build_fails_with_the_last_words_of_its_backend(tmp_path: Path) -> None:
    folder = library(tmp_path / "one")
    (folder / "README.md").unlink()
    with pytest.raises(CheckFailed, match=r"README\.md"):
        build(folder)
    with pytest.raises(UserError, match="neither"):
        build_wheel(tmp_path, output=None, version="", publish=False, repository_url="")


OWN = """
import pathlib, socket, zipfile

INFO = "Metadata-Version: 2.1\\nName: own\\nVersion: 1.0\\nSummary: x\\n"


def build_sdist(directory, config_settings=None):
    import io, tarfile
    socket.create_connection(("127.0.0.1", {port}), timeout=5).close()
    with tarfile.open(pathlib.Path(directory, "own-1.0.tar.gz"), "w:gz") as archive:
        for name, text in (("PKG-INFO", INFO), *((one, pathlib.Path(one).read_text()) for one in ("own.py", "pyproject.toml"))):
            entry = tarfile.TarInfo("own-1.0/" + name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return "own-1.0.tar.gz"


def build_wheel(directory, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(pathlib.Path(directory, "own-1.0-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("own-1.0.dist-info/METADATA", INFO)
        wheel.writestr("own-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("own-1.0.dist-info/RECORD", "")
    return "own-1.0-py3-none-any.whl"
"""


def test_a_projects_own_build_reaches_nobody_unless_that_is_allowed_and_said(tmp_path: Path) -> None:
    system = '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n[project]\nname = "own"\nversion = "1.0"\n'
    (tmp_path / "pyproject.toml").write_text(system)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (tmp_path / "own.py").write_text(OWN.format(port=listener.getsockname()[1]))
        with pytest.raises(CheckFailed, match=r"own\.py") as caught:
            build(tmp_path)
        assert "--allow-network" in caught.value.hint
        done = CliRunner().invoke(wheel_command, ["build", str(tmp_path), "--allow-network"])
    assert done.exit_code == 0, done.output
    assert "its build code could reach the network (--allow-network)" in done.output


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[TokenDoors]:
    made = TokenDoors(tmp_path / "server")
    yield made
    made.close()


@pytest.fixture
def upload_url(doors: TokenDoors) -> Iterator[str]:
    with serving(Starlette(routes=list(pypi_api.routes(lambda: doors)))) as address:
        yield f"http://{address}/pypi/quarantine/legacy/"


def test_publishing_reaches_the_index_with_the_jobs_token_and_may_be_repeated(
    upload_url: str, doors: TokenDoors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEGIS_UPLOAD_URL", upload_url)
    monkeypatch.setenv("CI_JOB_TOKEN", WRITER)
    folder = library(tmp_path / "one")
    files, _ = build(folder, repository_url=upload_url, version="1.0.0")
    paths = tuple(folder / "dist" / name for name in files)
    assert publish_files(paths, repository_url="") == upload_url
    found = doors.indexes.store.files("quarantine", "small")
    assert sorted(one.filename for one in found) == sorted(files)
    (folder / "src" / "small" / "__init__.py").write_text("changed = True\n")
    with pytest.raises(Conflict):
        build(folder, repository_url=upload_url, version="1.0.0")
    monkeypatch.setenv("CI_JOB_TOKEN", READER)
    with pytest.raises(Denied):
        publish_files(paths, repository_url="")


def test_the_jobs_token_goes_to_the_jobs_index_only(
    upload_url: str, doors: TokenDoors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEGIS_UPLOAD_URL", "http://127.0.0.1:1/other/")
    monkeypatch.setenv("CI_JOB_TOKEN", WRITER)
    with pytest.raises(Denied):
        build(library(tmp_path / "one"), repository_url=upload_url, version="1.0.0")
    with_credentials = upload_url.replace("//", f"//job:{WRITER}@")
    report = build_wheel(
        tmp_path / "one", output=None, version="1.0.0", publish=True, repository_url=with_credentials
    )  # fmt: skip
    assert report.published == upload_url
    assert doors.indexes.store.projects("quarantine") == ("small",)
    assert httpx.get(upload_url.replace("legacy", "simple"), trust_env=False).status_code == 401


@pytest.mark.parametrize(
    "text",
    [
        '[project]\nname = "x"\nversion = "1"\n[tool.x]\nversion = "keep"\n',
        '[project]\nname = "x"\ndynamic = ["version"]\n',
        '[project]\nname = "x"\ndynamic = [\n  "readme",\n  "version",\n]\n[tool.setuptools]\nx = 1\n',
        'x = 1\n[ project ] # here\nversion = "1"\n',
        '[tool.poetry]\nname = "x"\nversion = "1"\n',
        "[project]",
    ],
)
def test_the_version_is_written_into_pyproject_and_nothing_else_changes(text: str) -> None:
    after = tomllib.loads(with_version(text.encode(), "2.0").decode())
    before = tomllib.loads(text)
    table, old = (one.get("project") or one.get("tool", {}).get("poetry") or {} for one in (after, before))
    assert table["version"] == "2.0"
    assert "version" not in table.get("dynamic", ())
    for key in set(old) - {"version", "dynamic"}:
        assert table[key] == old[key]
    assert after.get("tool", {}).get("x") == before.get("tool", {}).get("x")


@pytest.mark.parametrize(
    "text", ['project = { name = "x", version = "1" }\n', '[project]\nx = """\nversion = "1"\n"""\n', "[[["]
)
def test_a_pyproject_that_cannot_be_changed_safely_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        with_version(text.encode(), "2.0")


def test_a_repacked_sdist_has_one_time_no_owner_and_keeps_what_is_executable() -> None:
    packed = []
    for mtime in (1, 2):
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w:gz") as archive:
            for name in ("b", "a")[:: 1 if mtime == 1 else -1]:
                member = tarfile.TarInfo(f"x-1/{name}")
                member.mtime, member.uname, member.size = mtime, "me", 1
                member.mode = 0o700 if name == "a" else 0o600
                archive.addfile(member, io.BytesIO(name.encode()))
        packed.append(repack_sdist(held.getvalue(), 1_700_000_000))
    assert packed[0] == packed[1]
    with tarfile.open(fileobj=io.BytesIO(packed[0]), mode="r:gz") as archive:
        assert [(one.name, one.mtime, one.uname, oct(one.mode)) for one in archive.getmembers()] == [
            ("x-1/a", 1_700_000_000, "", "0o755"),
            ("x-1/b", 1_700_000_000, "", "0o644"),
        ]


def test_what_an_index_would_refuse_is_found_before_it_is_published() -> None:
    name, data = wheel("tiny", "1.0")
    assert problems(name, data) == ("it has no summary (`description` in pyproject.toml)",)
    assert any("tiny 1.0" in one for one in problems("tiny-2.0-py3-none-any.whl", data))
    assert any("not installed" in one or "cannot be read" in one for one in problems(name, data[:-40]))
    assert problems("no-name.whl", data)
