"""`aegis login --gitlab`: the token is tried, kept for its owner alone, and used for what a pipeline includes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.cli.root import run
from support.gitlab_files import Instance, serving

TOKEN = "a-token-" + "of-nobody"


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Instance]:
    made = Instance(
        projects={"tools/ci": {"main": {"build.yml": b"build: {script: [make]}\n"}}},
        tokens={"tools/ci": TOKEN},
        people={TOKEN: "ana"},
    )
    with serving(made):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("AEGIS_GITLAB_URL", made.address)
        yield made


def call(*argv: str) -> int:
    try:
        run(list(argv))
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def test_a_login_to_an_instance_lets_pipelines_include_its_private_files(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = tmp_path / ".gitlab-ci.yml"
    pipeline.write_text("include: [{project: tools/ci, file: build.yml}]\n")
    assert call("lint", str(pipeline)) == 1
    assert "aegis login" in capsys.readouterr().out
    monkeypatch.setenv("AEGIS_TOKEN", TOKEN)
    assert call("login", "--gitlab", instance.address, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["identity"] == "ana"
    assert Path(said["kept_in"]).stat().st_mode & 0o077 == 0
    monkeypatch.delenv("AEGIS_TOKEN")
    assert call("preview", str(pipeline), "--json") == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["jobs"]] == ["build"]


def test_a_token_that_the_instance_does_not_know_is_not_kept(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AEGIS_TOKEN", "another")
    assert call("login", "--gitlab", instance.address, "--json") == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "token-refused"
    assert not (tmp_path / "config").exists()
