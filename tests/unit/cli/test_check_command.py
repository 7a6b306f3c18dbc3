"""`aegis check` on projects that bring a pipeline: read-only, every job told, exit code and JSON as promised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aegis.cli.root import run

WORKFLOW = """\
on: push
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: pip install -e .[test]
      - run: pytest
      - run: ./notify-somebody
"""


def call(*argv: str) -> int:
    with pytest.raises(SystemExit) as left:
        run(list(argv))
    return int(left.value.code or 0)


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_project_of_another_language_is_judged_by_its_pipeline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / ".gitlab-ci.yml").write_text("build: {script: [npm ci]}\n")
    before = contents(tmp_path)
    assert call("check", str(tmp_path), "--json") == 0
    body = shown(capsys)
    assert body["works"] is True
    assert [(job["name"], job["runs"]) for job in body["pipeline"]["jobs"]] == [("build", "as written")]
    assert call("check", str(tmp_path)) == 0
    assert "1 jobs run as written" in capsys.readouterr().out
    assert contents(tmp_path) == before


def test_what_would_not_work_is_told_with_its_place_and_mend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".gitlab-ci.yml").write_text("include: [{local: none.yml}]\nbuild: {script: [make], image: 'gcc:14'}\n")
    assert call("check", str(tmp_path)) == 1
    out = capsys.readouterr().out
    assert ".gitlab-ci.yml:1:19: there is no file `none.yml`" in out
    assert "`image` (gcc:14) needs a registry that serves it here" in out
    assert out.count("mend: ") >= 2


def test_workflows_are_told_as_adopt_would_carry_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    (tmp_path / ".github" / "workflows" / "ci.yml").write_text(WORKFLOW)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "thing"\nversion = "1"\n[dependency-groups]\ntest = ["pytest"]\n'
    )
    (tmp_path / "thing.py").write_text("x = 1\n")
    (tmp_path / "test_thing.py").write_text("def test_it():\n    assert True\n")
    before = contents(tmp_path)
    assert call("check", str(tmp_path), "--json") == 0
    body = shown(capsys)
    assert body["pipeline"] is None
    assert "aegis/python-library@1" in body["adoption"]["pipeline"]
    assert {one["text"] for one in body["adoption"]["dropped"]} == {"./notify-somebody"}
    assert call("check", str(tmp_path)) == 0
    assert "`aegis adopt` would write this .gitlab-ci.yml:" in capsys.readouterr().out
    assert contents(tmp_path) == before
