"""Without a kept key: a live server signs with a Sigstore, its own gate lets only that through, and cosign verifies it offline.

Fulcio and Rekor are simulators; the token comes from the server itself, whose keys the Fulcio asks for.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.server import DECLARATION, PIPELINE, TeamServer, aegis, free_port, reports, trouble
from support.sigstore_simulator import PEM, Sigstore, sigstore

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import go_programs

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def log() -> Iterator[Sigstore]:
    with sigstore() as made:
        yield made


@pytest.fixture(scope="module")
def server(log: Sigstore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    port = free_port()
    log.issuer = f"http://127.0.0.1:{port}"
    keys = {"authorities": log.authorities, "log_key": log.log_key, "certificate_log_key": log.certificate_log_key}
    texts = "".join(f"    {name}: |\n{textwrap.indent(text, ' ' * 6)}" for name, text in keys.items())
    places = f"{{fulcio: {log.url}, rekor: {log.url}}}".replace("{", "").replace("}", "").replace(", ", "\n    ")
    signing = (
        f"signing:\n  keyless:\n    {places}\n    private: true\n    identity: {log.issuer}/signer\n"
        f"    issuer: {log.issuer}\n{texts}"
    )
    root = tmp_path_factory.mktemp("keyless") / "server"
    made = TeamServer(root=root, declaration=DECLARATION + signing, port=port)
    log.busy = 2  # the first requests fail: it is tried again, and never signed otherwise
    try:
        made.start()
        made.service()
        made.in_production()
        yield made
        assert "Traceback" not in made.log, made.log[-4000:]
    finally:
        made.stop()


@pytest.fixture(scope="module")
def files(log: Sigstore, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("keys")
    made = {"roots": log.authorities, "log": log.log_key, "certificates": log.certificate_log_key}
    for name, text in made.items():
        (folder / f"{name}.pem").write_text(text)
    return {name: folder / f"{name}.pem" for name in made}


def reference(server: TeamServer) -> str:
    release = server.as_("ana").get("releases", service="web")[-1]
    return f"{server.url.removeprefix('http://')}/{release['project']}@{release['artifacts'][0]['digest']}"


def cosign(server: TeamServer, home: Path, files: dict[str, Path], *arguments: str) -> subprocess.CompletedProcess[str]:
    program = go_programs.program("cosign")
    assert program is not None
    login = base64.b64encode(f"ana:{server.person('ana').token}".encode()).decode()
    (home / "config.json").write_text(json.dumps({"auths": {server.url.removeprefix("http://"): {"auth": login}}}))
    seen = {
        "PATH": os.environ["PATH"], "HOME": str(home), "DOCKER_CONFIG": str(home), "TUF_ROOT": str(home / "tuf"),
        "SIGSTORE_ROOT_FILE": str(files["roots"]), "SIGSTORE_REKOR_PUBLIC_KEY": str(files["log"]),
        "SIGSTORE_CT_LOG_PUBLIC_KEY_FILE": str(files["certificates"]),
    }  # fmt: skip
    return subprocess.run(
        [str(program), *arguments], env=seen, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify",),
        ("verify", "--experimental-oci11"),
        ("verify-attestation", "--type", "slsaprovenance1"),
        ("verify-attestation", "--type", "cyclonedx"),
    ],
    ids=" ".join,
)
def test_cosign_accepts_what_the_identity_signed_with_the_promises_of_both_logs(
    server: TeamServer, files: dict[str, Path], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    whom = ("--certificate-identity", f"{server.url}/signer", "--certificate-oidc-issuer", server.url)
    done = cosign(server, tmp_path, files, *arguments, "--offline", *whom, reference(server))
    assert done.returncode == 0, done.stderr
    other = ("--certificate-identity", f"{server.url}/mallory", "--certificate-oidc-issuer", server.url)
    refused = cosign(server, tmp_path, files, *arguments, "--offline", *other, reference(server))
    assert refused.returncode != 0


def test_the_command_verifies_as_the_gate_does(server: TeamServer, files: dict[str, Path]) -> None:
    whom = (
        "--certificate-identity", f"{server.url}/signer", "--certificate-oidc-issuer", server.url, "--authorities",
        str(files["roots"]), "--log-key", str(files["log"]), "--certificate-log-key", str(files["certificates"]),
    )  # fmt: skip
    login = {"AEGIS_BASE_USER": "ana", "AEGIS_BASE_PASSWORD": server.person("ana").token}
    done = aegis("image", "verify", "--json", *whom, reference(server), **login)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["key"] == f"{server.url}/signer ({server.url})"
    assert len(found["predicates"]) == 2
    mine = {"AEGIS_URL": server.url, "AEGIS_TOKEN": server.person("ana").token}
    policies = json.loads(aegis("image", "policy", "--json", **mine).stdout)["policies"]
    assert [one["kind"] for one in policies] == ["TrustRoot", "ClusterImagePolicy", "ClusterImagePolicy"]


def test_nothing_is_released_unsigned_while_the_sigstore_is_away(server: TeamServer, log: Sigstore) -> None:
    since, taken = server.head(), len(log.entries)
    log.down = True
    try:
        server.push("team/web", "main", {"note.md": "more\n"})
        failed = server.wait(
            "the failure", lambda one: one["type"] == "aegis.action.failed", since=since, seconds=120.0,
            unless=lambda one: one["type"].endswith(".release.created"),
        )  # fmt: skip
        assert failed["data"]["code"] == "sigstore"
        assert len(log.entries) == taken
    finally:
        log.down = False


def test_a_released_wheel_is_attested_by_the_identity_and_verified_from_its_index(
    server: TeamServer, log: Sigstore, files: dict[str, Path], tmp_path: Path
) -> None:
    project = '[build-system]\nrequires = ["setuptools>=70"]\nbuild-backend = "setuptools.build_meta"\n\n'
    project += '[project]\nname = "team-tools"\nversion = "1.0.0"\n\n[tool.aegis]\nversion = "managed"\n'
    job = "\nwheel:\n  stage: build\n  script: [aegis wheel build --publish]\n"
    since = server.head()
    files_of = {
        ".gitlab-ci.yml": PIPELINE + job,
        "job.sh": "true\n",
        "pyproject.toml": project,
        "src/team_tools/__init__.py": "",
    }
    tree = server.tree("team/tools", {**files_of, **reports()})
    taken, said = tree.push("main", server.person("olga"))
    assert taken, said
    made = server.wait(
        "the release", lambda one: one["type"] == "aegis.release.created" and one["project"] == "team/tools", since=since,
        seconds=180.0, unless=trouble,
    )  # fmt: skip
    names = [one["filename"] for one in made["data"]["release"]["artifacts"]]
    name = next(one for one in names if one.endswith(".whl"))
    token = server.person("ana").token
    index = f"{server.url.replace('http://', f'http://ana:{token}@')}/pypi/team/simple/"
    found = httpx.get(f"{server.url}/pypi/team/files/{name}", auth=("ana", token), trust_env=False)
    (tmp_path / name).write_bytes(found.content)
    authorities = tmp_path / "authorities.pem"
    authorities.write_text(log.authorities + log.between[0].public_bytes(PEM).decode())
    whom = (
        "--certificate-identity", f"{server.url}/signer", "--certificate-oidc-issuer", server.url, "--authorities",
        str(authorities), "--log-key", str(files["log"]),
    )  # fmt: skip
    done = aegis("wheel", "verify", str(tmp_path / name), "--index", index, *whom, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads(done.stdout)["by"] == f"{server.url}/signer ({server.url})"
    (tmp_path / name).write_bytes(found.content + b"!")
    assert aegis("wheel", "verify", str(tmp_path / name), "--index", index, *whom).returncode == 3
