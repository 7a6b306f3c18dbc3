"""`aegis dev`: the environment of a developer, made, used, and taken away without a trace."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aegis.core.errors import UserError
from aegis.projects import development
from aegis.projects.ports import RunningService
from support import fake_engine, terminal

_PIPELINE = """
unit:
  services: [{name: 'registry.example/pg:15', alias: postgres}, 'cache:7']
  variables: {POSTGRES_PASSWORD: %s, DATABASE_URL: 'postgresql://u:p@postgres:5432/db', CACHE: 'cache', OTHER: x}
  script: ['true']
quick: {script: [test -f ok]}
"""
_DECLARED = """
[tool.aegis.dev]
seeds = ["%s -c 'import os; open(\\"../sown\\", \\"a\\").write(os.environ[\\"DATABASE_URL\\"])'"]
pre-push = ["quick"]
variables = {DEBUG = "1"}
"""
_IMAGES = {"registry.example/pg:15": [5432], "cache:7": [6379, 16379], "broken:1": [1]}


def _git(tree: Path, *arguments: str, code: int = 0, **environment: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=tree, capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working tree without a Python package, an engine on PATH, hooks of before and a configuration written by hand."""
    root = tmp_path / "shop"
    root.mkdir()
    (root / ".gitlab-ci.yml").write_text(_PIPELINE % "secret-of-a-test")
    (root / "aegis-dev.toml").write_text("")
    (root / "ok").write_text("")
    _git(root, "init", "-q", "-b", "main")
    config = root / ".git" / "config"
    config.write_text(config.read_text() + "\n# by hand\n[alias]\n        x = status # odd\n")
    for name in ("pre-commit", "pre-push", "commit-msg"):
        hook = root / ".git" / "hooks" / name
        hook.write_text(f'#!/bin/sh\necho "$(cat)" "$@" >> {tmp_path}/earlier-{name}\n')
        hook.chmod(0o755)
    _git(root, "add", "-A")
    _git(root, "commit", "-q", "-m", "first")
    fake_engine.install(tmp_path / "bin", _IMAGES)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return root


def _declare(tree: Path) -> None:
    """The developer's declaration, without anything to install."""
    (tree / "pyproject.toml").write_text(_DECLARED % sys.executable)


def _dev(tree: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "aegis", "dev", *arguments, "--json"],
        cwd=tree, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout), done.stderr


def _all(root: Path) -> Mapping[str, str]:
    """Every path of a tree, its Git directory included, with mode and content."""
    found = {}
    for path in sorted(root.rglob("*")):
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(root))] = f"{path.lstat().st_mode:o} {hashlib.sha256(data).hexdigest()}"
    return found


def test_what_up_makes_down_takes_away_to_the_last_byte(tree: Path) -> None:
    _declare(tree)
    before = _all(tree)
    code, found, _ = _dev(tree, "up", "--dry-run")
    assert (code, found["dry_run"], _all(tree)) == (0, True, before)
    assert _dev(tree, "status")[1]["up"] is False
    code, found, said = _dev(tree, "up", "--without", "environment")
    assert code == 0, said
    assert {one["name"]: one["state"] for one in found["parts"]} == dict.fromkeys(
        ("hooks", "services", "seeds"), "success"
    )
    values = found["variables"]
    state = json.loads((tree.parent / "bin" / "state.json").read_text())["containers"].values()
    ports = {key: places[0]["HostPort"] for one in state for key, places in one["NetworkSettings"]["Ports"].items()}
    assert values["POSTGRES_PORT"] == ports["5432/tcp"]
    assert values["DATABASE_URL"] == f"postgresql://u:p@127.0.0.1:{ports['5432/tcp']}/db"
    assert (values["CACHE"], values["CACHE_PORT"], values["CACHE_PORT_16379"], values["DEBUG"]) == (
        "127.0.0.1", ports["6379/tcp"], ports["16379/tcp"], "1",
    )  # fmt: skip
    assert "OTHER" not in values
    assert (tree.parent / "sown").read_text() == values["DATABASE_URL"]
    assert {one["Values"].get("POSTGRES_PASSWORD") for one in state} == {"secret-of-a-test"}
    assert _git(tree, "status", "--short") == "?? pyproject.toml\n"

    again = _dev(tree, "up", "--without", "environment")[1]
    assert again["variables"] == values, "what runs already goes on"
    assert (tree.parent / "sown").read_text() == values["DATABASE_URL"], "and is not sown twice"
    code, found, _ = _dev(tree, "status")
    assert (code, [one["state"] for one in found["parts"] if "service" in one["name"]]) == (1, ["running", "running"])

    code, found, _ = _dev(tree, "down")
    assert code == 0
    assert _all(tree) == before
    engine = json.loads((tree.parent / "bin" / "state.json").read_text())
    assert engine == {"containers": {}, "images": []}, "neither services nor what was fetched for them"
    assert _dev(tree, "down")[1]["parts"] == []


def test_a_service_whose_variables_changed_is_started_anew_and_one_that_fails_says_why(tree: Path) -> None:
    first = _dev(tree, "up", "--without", "environment")[1]["variables"]
    (tree / ".gitlab-ci.yml").write_text(_PIPELINE % "another")
    second = _dev(tree, "up", "--without", "environment")[1]["variables"]
    assert first["POSTGRES_PORT"] != second["POSTGRES_PORT"]
    (tree / ".gitlab-ci.yml").write_text("a: {services: ['broken:1'], variables: {BROKEN: 'yes'}, script: ['true']}\n")
    code, found, _ = _dev(tree, "up", "--without", "environment")
    assert (code, found["error"]["code"]) == (6, "service-failed")
    assert "it says why" in found["error"]["message"]
    (tree / ".gitlab-ci.yml").write_text("a: {services: ['not-there:1'], script: ['true']}\n")
    assert _dev(tree, "up", "--without", "environment")[1]["error"]["code"] == "image-pull"
    assert _dev(tree, "down")[0] == 0
    assert not (tree / ".aegis").exists()


def test_without_an_engine_it_is_said_what_is_missing(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree.parent / "bin" / "docker").unlink()
    (tree.parent / "bin" / "git").symlink_to("/usr/bin/git")
    monkeypatch.setenv("PATH", str(tree.parent / "bin"))
    code, found, _ = _dev(tree, "up", "--without", "environment")
    assert (code, found["error"]["code"]) == (6, "no-engine")
    assert "docker is not installed; podman is not installed" in found["error"]["message"]
    assert "--without services" in found["error"]["hint"]
    assert _dev(tree, "up", "--without", "environment", "--without", "services")[0] == 0
    assert _dev(tree, "down")[0] == 0


def test_hooks_keep_bad_commits_and_pushes_out_and_those_of_before_still_run(tree: Path) -> None:
    _declare(tree)
    assert _dev(tree, "up", "--without", "environment", "--without", "services", "--without", "seeds")[0] == 0
    earlier = {name: tree.parent / f"earlier-{name}" for name in ("pre-commit", "pre-push", "commit-msg")}
    for one in earlier.values():
        one.unlink(missing_ok=True)
    (tree / "leak.txt").write_text(f"key = '{'AKIA' + 'QX7ZJ2LMNP4RSTUV'}'\n")
    _git(tree, "add", "-A")
    assert "a secret would be committed" in _git(tree, "commit", "-m", "leak", code=1)
    (tree / "leak.txt").write_text("clean\n")
    assert "a secret would be committed" in _git(tree, "commit", "-m", "leak", code=1), "what is staged counts"
    _git(tree, "add", "-A")
    (tree / ".gitlab-ci.yml").write_text("a: {skript: [x]}\n")
    _git(tree, "commit", "-m", "clean")
    assert earlier["pre-commit"].exists()
    assert earlier["commit-msg"].read_text().strip() == ".git/COMMIT_EDITMSG", "hooks that are not ours run too"
    assert "the pipeline is not valid" in _git(tree, "commit", "-a", "-m", "pipeline", code=1)
    _git(tree, "checkout", "-q", ".gitlab-ci.yml")

    _git(tree.parent, "init", "-q", "--bare", "-b", "main", "there.git")
    (tree / "ok").unlink()
    assert "before a push quick must pass" in _git(tree, "push", "../there.git", "main", code=1)
    assert "refs/heads/main" in earlier["pre-push"].read_text(), "the earlier hook got what Git told"
    (tree / "ok").write_text("")
    _git(tree, "push", "../there.git", "main")
    _git(tree, "push", "../there.git", "main:other", "--no-verify")
    (tree / "ok").unlink()
    _git(tree, "push", "../there.git", ":other")


def test_somebody_elses_configuration_of_meanwhile_stays(tree: Path) -> None:
    before = (tree / ".git" / "config").read_text()
    flags = ("--without", "environment", "--without", "services")
    assert _dev(tree, "up", *flags)[0] == 0
    _git(tree, "config", "user.name", "new")
    assert _dev(tree, "down")[0] == 0
    after = (tree / ".git" / "config").read_text()
    assert after.startswith(before)
    assert "name = new" in after
    assert "hooksPath" not in after
    assert _dev(tree, "up", *flags)[0] == 0
    _git(tree, "config", "core.hooksPath", "elsewhere")
    assert [one["state"] for one in _dev(tree, "status")[1]["parts"] if one["name"] == "hooks"] == ["warn"]
    assert _dev(tree, "down")[1]["parts"][1]["state"] == "warn"
    assert _git(tree, "config", "core.hooksPath") == "elsewhere\n"


def test_the_declaration_is_read_strictly() -> None:
    assert development.declared({}) == development.Declared()
    for table in ({"seed": []}, {"seeds": "x"}, {"seeds": ["a 'b"]}, {"variables": {"A": 1}}, {"pre-push": [""]}):
        with pytest.raises(UserError) as caught:
            development.declared({"aegis": {"dev": table}})
        assert caught.value.code == "dev-key"


def test_addresses_of_services_take_the_place_of_their_aliases() -> None:
    running = [
        RunningService(alias="db-1", id="x", image="", specification="", running=True, ports={5432: 49001}),
        RunningService(alias="none", id="y", image="", specification="", running=True),
    ]
    assert development.addresses(running) == {"DB_1_HOST": "127.0.0.1", "DB_1_PORT": "49001"}
    values = {"A": "x://db-1:5432/y", "B": "db-1", "C": "xdb-1:5432", "D": "db-1:54321", "E": "my.db-1:5432"}
    assert development.reached(values, running) == {"A": "x://127.0.0.1:49001/y", "B": "127.0.0.1"}
    names = ("registry.example:5000/group/pg:15", "redis", "a/b@sha256:12", "x:1")
    assert [development.alias_of(one) for one in names] == ["pg", "redis", "b", "x"]


def test_an_interrupted_up_says_what_is_there_and_down_takes_it_away(tree: Path) -> None:
    (tree / "pyproject.toml").write_text('[tool.aegis.dev]\nseeds = ["sleep 616"]\n')
    before = _all(tree)
    command = [sys.executable, "-m", "aegis", "dev", "up", "--without", "environment"]
    session = terminal.run(command, [(b"sowing: sleep 616", b"\x03")], cwd=tree)
    assert session.code == 130
    assert (
        b"interrupted; there is hooks, services by now. `aegis dev up` goes on, `aegis dev down` takes it"
        in session.out
    )
    assert _dev(tree, "down")[0] == 0
    assert _all(tree) == before
