"""A source distribution's own code runs without network, credentials, or anything of the caller; what it leaves is kept."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from aegis.adapters.tool_sandbox import SandboxTool
from aegis.adapters.wheels_store import StoredWheels
from aegis.build.choose import Chosen
from aegis.build.target import Target
from aegis.core.errors import ExternalError

BACKEND = """
import json, os, pathlib, socket, zipfile

PORT = {port}


def build_wheel(directory, config_settings=None, metadata_directory=None):
    try:
        socket.create_connection(("127.0.0.1", PORT), timeout=5).close()
        reached = True
    except OSError:
        reached = False
    seen = {{"reached": reached, "environment": dict(os.environ)}}
    name = "evil-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as wheel:
        wheel.writestr("seen.json", json.dumps(seen))
        wheel.writestr("evil-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: evil\\nVersion: 1.0\\n")
        wheel.writestr("evil-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("evil-1.0.dist-info/RECORD", "")
    return name
"""
PROJECT = '[build-system]\nrequires = {requires}\nbuild-backend = "backend"\nbackend-path = ["."]\n\n[project]\nname = "evil"\nversion = "1.0"\n'
TARGET = Target(f"{sys.version_info[0]}.{sys.version_info[1]}", "amd64")


def sdist(port: int, requires: str = "[]") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        info = "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n"
        files = {
            "pyproject.toml": PROJECT.format(requires=requires),
            "backend.py": BACKEND.format(port=port),
            "PKG-INFO": info,
        }
        for name, text in files.items():
            entry = tarfile.TarInfo(f"evil-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()


def built(path: Path, data: bytes) -> Path:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    one = Chosen(
        name="evil", version="1.0", filename="evil-1.0.tar.gz", url="", digest=digest, size=len(data), source=True
    )
    tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    credentials = {"UV_INDEX": "https://ana:very-" + "secret@packages.example.org/simple/"}
    store = StoredWheels(path, tool=SandboxTool(path=tools), python=sys.executable, environment=credentials)
    kept = store._path(digest, one.filename)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(data)
    return store._built(one, TARGET).path


def test_its_code_reaches_nobody_and_sees_no_credentials(tmp_path: Path) -> None:
    if not SandboxTool(path=os.environ["PATH"]).isolates_network:
        pytest.fail("this machine gives no namespaces: nothing can be said here")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wheel = built(tmp_path, sdist(listener.getsockname()[1]))
    with zipfile.ZipFile(wheel) as archive:
        seen = json.loads(archive.read("seen.json"))
    assert not seen["reached"]
    assert "secret" not in json.dumps(seen["environment"])
    assert seen["environment"]["HOME"] != os.environ["HOME"]


@pytest.mark.parametrize("requires", ['["--index-url=https://elsewhere.example"]', "[1", '["-r evil"]'])
def test_what_it_says_it_is_built_with_is_nothing_but_requirements(tmp_path: Path, requires: str) -> None:
    with pytest.raises(ExternalError) as caught:
        built(tmp_path, sdist(1, requires))
    assert caught.value.code == "sdist-build"
