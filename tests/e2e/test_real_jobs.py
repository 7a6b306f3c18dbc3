"""Real tools in a job that reaches package registries alone, and real services beside a job, all without a container engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from aegis.adapters.executor_namespace import isolation_available
from aegis.adapters.machine_registries import addresses
from aegis.bootstrap.image_base import From, build_base, lock_base

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not isolation_available().ok, reason=isolation_available().detail),
]
POSTGRES = "15"
INDEX = next(one for one in addresses(os.environ) if one.rstrip("/").endswith("/simple")).rstrip("/")
"""Where this machine's pip looks."""

TOOLS: dict[str, list[str]] = {
    "pip": [
        "python3 -m venv v", "env -u PIP_FIND_LINKS v/bin/pip download --no-deps -q six==1.16.0", "ls six-1.16.0-py2.py3-none-any.whl",
        "! v/bin/pip download -q --retries 0 --index-url https://not-declared.example/simple six",
    ],
    "uv": [
        "uv venv -q u", "env -u UV_FIND_LINKS uv pip install -q --no-cache --python u/bin/python idna==3.7",
        "u/bin/python -c 'import idna; print(idna.__version__)'",
    ],
    "npm": ["npm install --silent --no-audit --no-fund is-odd@3.0.1", "node -e 'console.log(require(\"is-odd\")(3))'"],
    "curl": [
        f"curl -fsS -o /dev/null {INDEX}/six/", "! curl -fsS -m 5 https://not-declared.example/",
        f"! curl -fsS -m 5 --noproxy '*' {INDEX}/six/", "! git ls-remote https://not-declared.example/a/b.git",
        f"! getent hosts {urlsplit(INDEX).hostname}",
    ],
    "chromium": ["chromium --headless --disable-gpu --no-first-run --dump-dom 'data:text/html,<p>drawn</p>' 2>/dev/null | grep drawn"],
    "gcc": ["printf 'int main(){return 0;}' > a.c", "gcc a.c -o a && ./a"],
}  # fmt: skip
NEEDED = {"pip": "python3", "uv": "uv", "npm": "npm", "curl": "curl", "chromium": "chromium", "gcc": "gcc"}


def ran(folder: Path, jobs: dict[str, Any], *options: str) -> dict[str, Any]:
    """A local run of these jobs; what it says as JSON."""
    (folder / ".gitlab-ci.yml").write_text(yaml.safe_dump(jobs))
    for argv in (
        ["init", "-q"],
        ["add", ".gitlab-ci.yml"],
        ["-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *argv], cwd=folder, check=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    said = subprocess.run(
        [sys.executable, "-m", "aegis", "run", "--json", *options], cwd=folder, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PATH": path}, check=False,
    )  # fmt: skip
    return json.loads(said.stdout)  # type: ignore[no-any-return]


def logs(told: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: Path(one["log"]).read_text(errors="replace") for one in told["jobs"]}


def test_tools_find_their_registries_and_nothing_else(tmp_path: Path) -> None:
    jobs = {name: {"script": script} for name, script in TOOLS.items() if shutil.which(NEEDED[name])}
    assert {"pip", "curl"} <= set(jobs)
    told = ran(tmp_path, jobs, "--network", "registries")
    said = logs(told)
    assert told["status"] == "success", {
        one["name"]: said[one["name"]][-2000:] for one in told["jobs"] if one["status"] != "success"
    }
    assert "network: not-declared.example:443 is not among the hosts that this job may reach" in said["curl"]


def base(folder: Path, name: str, *packages: str) -> None:
    lock_base(
        ("base-files", "bash", "dash", "coreutils", *packages), source=From(), with_=(), without=(), architecture="",
        file=folder / f"{name}.lock",
    )  # fmt: skip
    build_base(folder / f"{name}.lock", source=From(), output=folder / name)


def test_two_databases_on_one_port_and_a_cache_serve_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    base(tmp_path, "database", f"postgresql-{POSTGRES}")
    base(tmp_path, "cache", "redis-server")
    programs = f"/usr/lib/postgresql/{POSTGRES}/bin"
    start = (
        f"{programs}/initdb -D /tmp/pg -A trust -E UTF8 --no-locale >/dev/null && echo host all all 127.0.0.0/8 trust >> /tmp/pg/pg_hba.conf"
        f" && exec {programs}/postgres -D /tmp/pg -c listen_addresses=$AEGIS_SERVICE_ADDRESS -k /tmp"
    )
    database = {
        "name": "./database", "entrypoint": ["/bin/sh", "-c"], "command": [start], "variables": {"HEALTHCHECK_TCP_PORT": "5432"},
    }  # fmt: skip
    cache = {
        "name": "./cache", "alias": "cache", "command": ["redis-server", "--bind", "*", "--protected-mode", "no"],
        "variables": {"HEALTHCHECK_TCP_PORT": "6379"},
    }  # fmt: skip
    ask = f"{programs}/psql -U job -d postgres -th"
    asked = (
        ("db", "create table a as select 41 as x"), ("db", "update a set x = x + 1 returning 1000 + x"),
        ("other", "select 2000 + inet_server_port()"),
    )  # fmt: skip
    job = {
        "services": [{**database, "alias": "db"}, {**database, "alias": "other"}, cache],
        "image": "./database",
        "script": [
            *(f'{ask} {host} -c "{words}"' for host, words in asked),
            f"! {ask} other -c 'table a'",
            "exec 3<>/dev/tcp/cache/6379; printf 'PING\\r\\n' >&3; head -1 <&3",
        ],
    }  # fmt: skip
    told = ran(tmp_path, {"db": job}, "--network", "none")
    text = logs(told)["db"]
    assert told["status"] == "success", text
    assert " 1042\n" in text
    assert " 7432\n" in text
    assert "+PONG" in text
