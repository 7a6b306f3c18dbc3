"""`aegis dev` with a real container engine and a real package index: everything made, reached, and taken away."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.engines import podman
from support.images import layout, perl_layer, shell_layer

pytestmark = pytest.mark.real

_LISTENS = (
    "use Socket; $ENV{PASSWORD} or die qq(PASSWORD is not set\\n); my $s; socket($s, PF_INET, SOCK_STREAM, 0); "
    "bind($s, sockaddr_in(5432, INADDR_ANY)); listen($s, 5); "
    "while (accept(my $c, $s)) { print $c $ENV{PASSWORD}; close $c; }"
)
_PIPELINE = """
unit:
  services: [{name: 'localhost/db:1', alias: db}]
  variables: {PASSWORD: word-of-a-test, URL: 'x://db:5432'}
  script: ['true']
"""
_PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "tiny"
version = "1.0"
[tool.aegis.dev]
seeds = ["python -c 'import os, tiny; open(os.environ[\\"SOWN\\"], \\"w\\").write(os.environ[\\"URL\\"])'"]
"""


def _all(root: Path) -> Mapping[str, str]:
    return {
        str(path.relative_to(root)): f"{path.lstat().st_mode:o} "
        + hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()
        for path in sorted(root.rglob("*"))
    }


def test_a_developers_environment_with_everything_leaves_nothing(tmp_path: Path) -> None:
    tree = tmp_path / "tiny"
    (tree / "src" / "tiny").mkdir(parents=True)
    (tree / "src" / "tiny" / "__init__.py").write_text("")
    (tree / "pyproject.toml").write_text(_PROJECT)
    (tree / ".gitlab-ci.yml").write_text(_PIPELINE)
    subprocess.run(["git", "init", "-q", "-b", "main", str(tree)], check=True)
    before = _all(tree)
    layout(
        tmp_path / "db", shell_layer(), perl_layer(),
        config={"Cmd": ["/usr/bin/perl", "-e", _LISTENS], "ExposedPorts": {"5432/tcp": {}}},
    )  # fmt: skip
    with podman(tmp_path / "podman") as found:
        only = tmp_path / "bin"
        only.mkdir()
        (only / "docker").write_text("#!/bin/sh\necho no daemon >&2\nexit 1\n")
        (only / "docker").chmod(0o755)
        environment = {**os.environ, **found, "PATH": f"{only}{os.pathsep}{os.environ['PATH']}"}
        environment["SOWN"] = str(tmp_path / "sown")
        pulled = subprocess.run(
            ["podman", "pull", "--quiet", f"oci:{tmp_path / 'db'}:1"], env=environment, capture_output=True, check=True
        )
        image = pulled.stdout.decode().strip()
        subprocess.run(["podman", "tag", image, "localhost/db:1"], env=environment, check=True)

        def dev(*words: str) -> dict[str, Any]:
            command = [sys.executable, "-m", "aegis", "dev", *words, "--json"]
            done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            answer: dict[str, Any] = json.loads(done.stdout)
            return answer

        values = dev("up")["variables"]
        with socket.create_connection((values["DB_HOST"], int(values["DB_PORT"])), timeout=10) as door:
            assert door.makefile().read() == "word-of-a-test"
        assert (tmp_path / "sown").read_text() == values["URL"] == f"x://127.0.0.1:{values['DB_PORT']}"
        assert {one["state"] for one in dev("status")["parts"]} == {"success", "running"}
        dev("down")
        left = subprocess.run(["podman", "ps", "--all", "--quiet"], env=environment, capture_output=True, check=True)
        assert left.stdout == b""
    assert _all(tree) == before
