"""An image for linux/arm64, base and wheels, built on whatever this machine is: its own processor's emulator runs it and it answers."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from aegis.adapters.layout_directory import OciLayout
from aegis.bootstrap.image import Wanted, build_image
from aegis.bootstrap.image_base import From, build_base, lock_base
from support.server import free_port

pytestmark = pytest.mark.real

EMULATOR = "qemu-aarch64-static"
SOURCE = """
import platform

import orjson
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def root():
    return {"machine": platform.machine(), "native": orjson.dumps([1]).decode()}
"""


def debian() -> From:
    """The mirror and suite that this machine's apt has, whose lists are of its own architecture only."""
    files = (Path("/etc/apt/sources.list.d").glob("*.sources"), Path("/etc/apt").glob("sources.list"))
    text = "\n\n".join(one.read_text() for some in files for one in some)
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    for part in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in part.splitlines() if ": " in line)
        lines = [[word for word in line.split() if not word.startswith("[")] for line in part.splitlines()]
        found = [(line[1], line[2]) for line in lines if line[:1] == ["deb"]]
        if fields.get("URIs"):
            found = [(fields["URIs"].split()[0], fields.get("Suites", "").split()[0])]
        for mirror, suite in found:
            if "security" not in suite:
                return From(mirror=mirror, suites=(suite,), keyring=Path(fields.get("Signed-By", keys)))
    raise AssertionError("this machine's apt names no mirror")


def service(folder: Path) -> Path:
    (folder / "src" / "svc").mkdir(parents=True)
    (folder / "src" / "svc" / "__init__.py").write_text("")
    (folder / "src" / "svc" / "app.py").write_text(SOURCE)
    needs = ["fastapi==0.115.6", "uvicorn==0.34.0", "orjson==3.10.13"]
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "svc"\nversion = "1.0.0"\ndependencies = {json.dumps(needs)}\n'
    )
    compile_ = [
        Path(sys.executable).with_name("uv"),
        "pip",
        "compile",
        "-q",
        "--generate-hashes",
        "--python-version",
        "3.11",
    ]
    subprocess.run([*compile_, "pyproject.toml", "-o", "requirements.lock"], cwd=folder, check=True, timeout=120)
    return folder


def unpacked(layout: OciLayout, root: Path) -> dict[str, object]:
    """The image's layers as a tree; its configuration."""
    manifest = json.loads(layout.manifest(layout.tags()[0]).body)
    for layer in manifest["layers"]:
        with tarfile.open(layout.blob_path(layer["digest"])) as archive:
            archive.extractall(root, filter="tar")
    found: dict[str, object] = json.loads(layout.blob_path(manifest["config"]["digest"]).read_bytes())
    return found


def test_an_image_for_arm64_runs_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_CACHE_DIR", str(tmp_path / "cache"))
    source = debian()
    lock_base((), source=source, with_=(), without=(), architecture="arm64", file=tmp_path / "base.lock")
    build_base(tmp_path / "base.lock", source=source, output=tmp_path / "base")
    wanted = Wanted(
        path=service(tmp_path / "svc"), base=f"oci:{tmp_path / 'base'}", architecture="arm64", python="3.11"
    )
    report = build_image(wanted)
    root = tmp_path / "root"
    config = unpacked(OciLayout(Path(report.path)), root)
    assert config["architecture"] == "arm64"
    settings = config["config"]
    assert isinstance(settings, dict)
    emulator = shutil.which(EMULATOR)
    assert emulator is not None
    shutil.copy(emulator, root / "usr" / "bin" / EMULATOR)
    program = (root / "usr" / "bin" / "python3").resolve().read_bytes()
    assert int.from_bytes(program[18:20], "little") == 183, "the interpreter is not for AArch64"
    port = free_port()
    variables = dict(one.split("=", 1) for one in settings["Env"])
    entry = [f"/usr/bin/{EMULATOR}", "/usr/bin/python3", *settings["Entrypoint"][1:]]
    process = subprocess.Popen(
        ["chroot", "--userspec=65532:65532", str(root), *entry],
        env={**variables, "HOST": "127.0.0.1", "PORT": str(port)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert answer(port, process) == {"machine": "aarch64", "native": "[1]"}
    finally:
        process.terminate()
        process.communicate(timeout=60)


def answer(port: int, process: subprocess.Popen[str]) -> object:
    """What it says, as soon as it listens."""
    ends = time.monotonic() + 120
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", "/")
            return json.load(connection.getresponse())
        except ConnectionRefusedError:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < ends
            process.poll()
            time.sleep(0.2)
        finally:
            connection.close()
