"""R10 Developers, criterion 4: what is written for a project is valid, and is shown before it is written."""

from __future__ import annotations

import json
from pathlib import Path

from unit.projects.test_verbs import aegis


def project(folder: Path) -> Path:
    (folder / "src" / "thing").mkdir(parents=True)
    (folder / "src" / "thing" / "__init__.py").write_text("")
    (folder / "pyproject.toml").write_text('[project]\nname = "thing"\nversion = "1.0"\n')
    (folder / "tests").mkdir()
    (folder / "tests" / "test_thing.py").write_text("def test_it():\n    assert True\n")
    return folder


def test_r10_4_the_pipeline_of_an_adopted_project_is_shown_first_and_valid_once_written(tmp_path: Path) -> None:
    folder = project(tmp_path / "p")
    shown = json.loads(aegis("adopt", ".", "--dry-run", "--json", at=folder).stdout)
    assert not (folder / ".gitlab-ci.yml").exists()
    assert aegis("adopt", ".", at=folder).returncode == 0
    assert (folder / ".gitlab-ci.yml").read_text() == shown["pipeline"]
    done = aegis("lint", "--json", at=folder)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["valid"] is True


def test_r10_4_the_report_only_reads(tmp_path: Path) -> None:
    folder = project(tmp_path / "p")
    before = sorted(folder.rglob("*"))
    body = json.loads(aegis("check", ".", "--json", at=folder).stdout)
    assert body["works"] is True
    assert sorted(folder.rglob("*")) == before
