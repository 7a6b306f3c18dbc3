"""A source distribution's own code reaches nobody and sees nothing of the caller; what it is built with is what the lock has."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aegis.adapters.tool_sandbox import SandboxTool
from aegis.adapters.wheels_store import StoredWheels
from aegis.bootstrap import build_facts
from aegis.build.choose import Chosen
from aegis.build.locks import Locked
from aegis.build.target import Target
from aegis.core.errors import ExternalError
from support.tiny_packages import wheel

BACKEND = """
import json, os, pathlib, socket, zipfile
{hostile}

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "evil-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as wheel:
        wheel.writestr("seen.json", json.dumps(attempts()))
        wheel.writestr("evil-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: evil\\nVersion: 1.0\\n")
        wheel.writestr("evil-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("evil-1.0.dist-info/RECORD", "")
    return name
"""
HOSTILE = """
import os, socket

PORT, DOOR, HOME = {port}, {door!r}, {home!r}


def attempts():
    seen = {{"environment": dict(os.environ)}}

    def attempt(name, what):
        try:
            what()
            seen[name] = True
        except OSError:
            seen[name] = False

    def door():
        one = socket.socket(socket.AF_UNIX)
        one.connect(DOOR)

    attempt("network", lambda: socket.create_connection(("127.0.0.1", PORT), timeout=5).close())
    attempt("door", door)
    attempt("home", lambda: open(os.path.join(HOME, "credentials")).read())
    attempt("listed", lambda: os.listdir(HOME))
    attempt("written", lambda: open(os.path.join(HOME, "left"), "w").close())
    attempt("changed", lambda: os.chmod(os.path.join(HOME, "credentials"), 0o777))
    attempt("parent", lambda: open("/proc/%d/environ" % os.getppid()).read())
    attempt("killed", lambda: os.kill({process}, 0))
    attempt("own", lambda: open(os.path.join(os.environ["HOME"], "mine"), "w").close())
    return seen
"""
PROJECT = '[build-system]\nrequires = {requires}\nbuild-backend = "{backend}"\nbackend-path = ["."]\n\n[project]\nname = "evil"\nversion = "1.0"\n'
TARGET = Target(f"{sys.version_info[0]}.{sys.version_info[1]}", "amd64")
REFUSED = ("network", "door", "home", "listed", "written", "changed", "parent", "killed")


def sdist(hostile: str = "attempts = dict", requires: str = "[]", **more: str) -> bytes:
    files = {
        "pyproject.toml": PROJECT.format(requires=requires, backend="backend"), "backend.py": BACKEND.format(hostile=hostile),
        "PKG-INFO": "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n", **more,
    }  # fmt: skip
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"evil-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()


@dataclass
class Shelf:
    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    def built(self, data: bytes, *locked: Locked) -> Path:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        one = Chosen(
            name="evil", version="1.0", filename="evil-1.0.tar.gz", url="", digest=digest, size=len(data), source=True
        )
        tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        seen = {"UV_CACHE_DIR": str(self.path / "uv"), **self.environment}
        store = StoredWheels(self.path, tool=SandboxTool(path=tools), python=sys.executable, environment=seen)
        kept = store._path(digest, one.filename)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(data)
        return store._built(one, TARGET, locked).path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    (made / "credentials").write_text("ana:very-" + "secret")
    (made / "credentials").chmod(0o600)
    return made


@pytest.fixture
def hostile(tmp_path: Path, home: Path) -> Iterator[str]:
    tool = SandboxTool(path=os.environ["PATH"])
    if not (tool.isolates_network and tool.isolates_files):
        pytest.fail("this machine gives no namespaces, or no Landlock: nothing can be said here")
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "door"))
        door.listen()
        yield HOSTILE.format(
            port=listener.getsockname()[1], door=str(tmp_path / "door"), home=str(home), process=os.getpid()
        )  # fmt: skip


def test_its_code_reaches_nobody_sees_no_home_and_writes_nothing_outside(
    tmp_path: Path, home: Path, hostile: str
) -> None:
    shelf = Shelf(tmp_path / "shelf", {"UV_INDEX": "https://ana:very-" + "secret@packages.example.org/simple/"})
    with zipfile.ZipFile(shelf.built(sdist(hostile))) as archive:
        seen = json.loads(archive.read("seen.json"))
    assert {name: seen[name] for name in REFUSED} == dict.fromkeys(REFUSED, False)
    assert seen["own"]
    assert "secret" not in json.dumps(seen["environment"])
    assert seen["environment"]["HOME"] != os.environ["HOME"]
    assert [one.name for one in home.iterdir()] == ["credentials"]
    assert (home / "credentials").stat().st_mode & 0o777 == 0o600


def test_a_hostile_setup_py_is_shut_in_as_well(tmp_path: Path, home: Path, hostile: str) -> None:
    setup = f"{hostile}\nimport json, pathlib, setuptools\npathlib.Path('seen.py').write_text('SEEN = ' + repr(attempts()))\n"
    setup += "setuptools.setup(name='evil', version='1.0', py_modules=['seen'])\n"
    project = '[build-system]\nrequires = ["setuptools"]\n'
    kept = os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))
    shelf = Shelf(tmp_path / "shelf", {**build_facts.installer_environment(), "UV_CACHE_DIR": kept})
    wheel = shelf.built(sdist(**{"pyproject.toml": project, "setup.py": setup}))
    found: dict[str, dict[str, object]] = {}
    with zipfile.ZipFile(wheel) as archive:
        exec(archive.read("seen.py"), found)  # noqa: S102 - what the test itself wrote
    assert {name: found["SEEN"][name] for name in REFUSED} == dict.fromkeys(REFUSED, False)
    assert [one.name for one in home.iterdir()] == ["credentials"]


def index(folder: Path) -> dict[str, Locked]:
    (folder / "maker").mkdir(parents=True)
    made, page = {}, ""
    for version in ("1.0", "2.0"):
        name, data = wheel("maker", version)
        (folder / "maker" / name).write_bytes(data)
        page += f'<a href="{name}">{name}</a>'
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        made[version] = Locked(name="maker", version=version, hashes=(digest,))
    (folder / "maker" / "index.html").write_text(f"<!DOCTYPE html><html><body>{page}</body></html>")
    return made


def test_what_it_is_built_with_is_what_the_lock_has_and_the_newest_where_it_has_nothing(tmp_path: Path) -> None:
    known = index(tmp_path / "index")
    shelf = Shelf(tmp_path / "shelf", {"UV_DEFAULT_INDEX": (tmp_path / "index").as_uri()})
    data = sdist(requires='["maker"]')
    note = shelf.built(data).parent / "made-with.json"
    assert json.loads(note.read_bytes()) == {"maker": "2.0"}
    shelf.built(data, known["1.0"])
    assert json.loads(note.read_bytes()) == {"maker": "1.0"}
    made = note.stat().st_mtime_ns
    shelf.built(data, known["1.0"], Locked(name="other", version="1", hashes=known["2.0"].hashes))
    assert note.stat().st_mtime_ns == made


def test_what_it_is_built_with_has_the_locks_hash_or_nothing_is_built(tmp_path: Path) -> None:
    known = index(tmp_path / "index")
    shelf = Shelf(tmp_path / "shelf", {"UV_DEFAULT_INDEX": (tmp_path / "index").as_uri()})
    with pytest.raises(ExternalError) as caught:
        shelf.built(
            sdist(requires='["maker"]'), Locked(name="maker", version="1.0", hashes=known["2.0"].hashes)
        )  # fmt: skip
    assert caught.value.code == "build-requires"


@pytest.mark.parametrize(
    "requires",
    ['["--index-url=https://elsewhere.example"]', '["-r evil"]', '["x @ https://elsewhere.example/x.whl"]', "7"],
)
def test_what_it_says_it_is_built_with_is_nothing_but_requirements(tmp_path: Path, requires: str) -> None:
    with pytest.raises(ExternalError) as caught:
        Shelf(tmp_path).built(sdist(requires=requires))
    assert caught.value.code == "build-requires"


def test_what_is_no_source_distribution_is_told_as_that(tmp_path: Path) -> None:
    for data in (sdist(requires="[1"), b"no archive"):
        with pytest.raises(ExternalError) as caught:
            Shelf(tmp_path).built(data)
        assert caught.value.code == "sdist-build"
