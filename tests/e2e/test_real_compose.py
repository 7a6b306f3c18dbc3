"""Tests with the real Docker Compose, in jobs of `aegis run`: docker within docker, and the engine's own socket."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.engines import dockerd
from support.images import Entry, layer, layout, perl_layer, program_layer, shell_layer

pytestmark = pytest.mark.real

_PLUGIN = "usr/lib/docker/cli-plugins/docker-compose"
_COMPOSE = """services:
  db:
    build: .
    command: ["/usr/bin/perl", "/serve.pl"]
  tests:
    build: .
    depends_on: [db]
    command: ["/bin/bash", "/ask.sh"]
"""
_SERVE = """use Socket; my $s; socket($s, PF_INET, SOCK_STREAM, 0); bind($s, sockaddr_in(8000, INADDR_ANY)); listen($s, 5);
while (accept(my $c, $s)) { print $c "the composed database\\n"; close $c; }
"""
_ASK = """for i in 1 2 3 4 5 6 7 8 9 10; do (exec 3<>/dev/tcp/db/8000) 2>/dev/null && break; sleep 0.5; done
exec 3<>/dev/tcp/db/8000; answer=$(cat <&3); echo "asked: $answer"
echo '<testsuite tests="1"><testcase classname="shop" name="asks the database"/></testsuite>' > /junit.xml
test "$answer" = "the composed database"
"""


@pytest.fixture(scope="module")
def folder(compose_program: Path) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="aegis-compose-"))
    programs = {f"usr/bin/{name}": shutil.which(name) or "" for name in ("docker", "date", "sed")}
    client = program_layer({**programs, _PLUGIN: str(compose_program)})
    layout(made / "client", shell_layer(), client)
    names = (
        "dockerd",
        "containerd",
        "containerd-shim-runc-v2",
        "runc",
        "iptables",
        "docker-proxy",
        "docker-init",
        "ps",
    )
    extensions = {str(one).lstrip("/"): str(one) for one in Path("/usr/lib").glob("*-linux-gnu/xtables/*.so")}
    found = {f"usr/bin/{name}": path for name in names if (path := shutil.which(name))}
    engine = program_layer({**found, **extensions})
    script = (
        "#!/bin/sh\nmkdir -p /run /var/run\n"
        "exec dockerd --host tcp://0.0.0.0:2375 --bridge none --iptables=false --ip-masq=false --tls=false\n"
    )
    layout(
        made / "engine", shell_layer(), engine, layer([Entry(name="start", data=script.encode())]),
        config={
            "Cmd": ["/bin/sh", "/start"], "ExposedPorts": {"2375/tcp": {}}, "Volumes": {"/var/lib/docker": {}},
            "Env": ["PATH=/usr/bin:/bin"],
        },
    )  # fmt: skip
    project = made / "project"
    project.mkdir()
    for name, layered in (("shell.tar", shell_layer()), ("perl.tar", perl_layer())):
        (project / name).write_bytes(gzip.decompress(layered))
    (project / "Dockerfile").write_text("FROM scratch\nADD shell.tar /\nADD perl.tar /\nCOPY serve.pl ask.sh /\n")
    (project / "compose.yaml").write_text(_COMPOSE)
    (project / "serve.pl").write_text(_SERVE)
    (project / "ask.sh").write_text(_ASK)
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def compose_program() -> Path:
    sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
    import go_programs

    found = go_programs.program("docker-compose")
    assert found is not None
    return found


def ran(folder: Path, environ: Mapping[str, str], inputs: str, *argv: str) -> str:
    """The log of the template's job, which has to succeed and to leave its report."""
    project = folder / "project"
    (project / ".gitlab-ci.yml").write_text(
        f"include:\n  - component: aegis/compose@1\n    inputs: {{image: ../client, report: /junit.xml, {inputs}}}\n"
    )
    subprocess.run(["git", "-C", str(project), "add", "-A"], check=True)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("aegis")), "run", *argv, "--json"], cwd=project, capture_output=True, text=True,
        env={**environ, "DOCKER_BUILDKIT": "1"}, timeout=400, check=False,
    )  # fmt: skip
    shown = json.loads(done.stdout)
    [job] = shown["jobs"]
    text = Path(job["log"]).read_text()
    assert done.returncode == 0, text
    assert "asked: the composed database" in text
    assert any("compose-junit.xml" in one.name for one in Path(job["artifacts"]).rglob("*")), text
    return text


def test_docker_within_docker(folder: Path) -> None:
    with dockerd(folder / "docker-dind", privileged=True) as environ:
        inputs = "engine: [{name: ../engine, alias: docker}]"
        text = ran(folder, environ, inputs, "--executor", "docker", "--privileged", "../engine")
        assert "Starting the service ../engine (docker)" in text
        assert containers(environ) == ""


def test_the_engines_own_socket(folder: Path) -> None:
    inputs = "engine: [], host: unix:///var/run/docker.sock"
    with dockerd(folder / "docker-socket") as environ:
        ran(folder, environ, inputs, "--executor", "docker", "--engine-socket")
        assert containers(environ) == ""


def containers(environ: Mapping[str, str]) -> str:
    """What containers there are, with the ended ones."""
    asked = ["docker", "ps", "--all", "--format", "{{.Names}}"]
    return subprocess.run(asked, env={**os.environ, **environ}, capture_output=True, text=True, check=True).stdout
