"""`aegis project` on small projects, with the real uv, ruff and pytest. The package index is reached through uv's cache."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

AEGIS = str(Path(sysconfig.get_path("scripts"), "aegis"))

PROJECT = {
    "pyproject.toml": '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n[project]\nname = "thing"\nversion = "1.0"\n'
    'requires-python = ">=3.11"\n[dependency-groups]\ntest = ["pytest", "coverage"]\n',
    "src/thing/__init__.py": "def add(a, b):\n    return a + b\n\n\ndef never():\n    return undefined\n",
    "tests/test_a.py": "import pytest, thing\n\ndef test_adds():\n    assert thing.add(1, 2) == 3\n\ndef test_fails():\n    assert thing.add(1, 2) == 4\n\n"
    "@pytest.mark.skip\ndef test_skipped():\n    pass\n\n@pytest.fixture\ndef broken():\n    raise RuntimeError\n\ndef test_error(broken):\n    pass\n",
    "tests/test_b.py": "import unittest, thing\n\nclass Case(unittest.TestCase):\n    def test_one(self):\n        self.assertEqual(thing.add(0, 0), 0)\n\n"
    "    def test_two(self):\n        self.fail('told so')\n",
}  # fmt: skip


def aegis(*arguments: str, at: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("AEGIS_", "PYTEST_", "COV_", "COVERAGE_"))
    } | variables
    return subprocess.run(
        [AEGIS, *arguments], cwd=at, env=environment, capture_output=True, text=True, timeout=180, check=False
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project") / "thing"
    for name, content in PROJECT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    done = aegis("project", "install", at=folder)
    assert done.returncode == 0, done.stderr
    return folder


def plain_counts(folder: Path) -> dict[str, int]:
    """What pytest alone says of the same tests."""
    done = subprocess.run(
        [folder / ".venv/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        word.rstrip("s"): int(number)
        for number, word in re.findall(r"(\d+) (passed|failed|errors?|skipped|xfailed)", done.stdout.splitlines()[-1])
    }


def test_failing_tests_fail_with_the_same_counts_as_plain_pytest(project: Path) -> None:
    done = aegis("project", "test", "--json", at=project)
    assert done.returncode == 1
    body = json.loads(done.stdout)
    plain = plain_counts(project)
    assert plain == {"passed": 2, "failed": 2, "skipped": 1, "error": 1}
    found = body["counts"]
    assert (found["tests"], found["failures"], found["errors"], found["skipped"]) == (6, 2, 1, 1)
    assert body["message"] == "tests failed"
    assert "told so" in done.stderr


def test_coverage_is_of_the_packages_with_paths_that_can_be_opened(project: Path) -> None:
    done = aegis("project", "test", at=project)
    assert re.search(r"^TOTAL 4 1 75%$", done.stdout, re.MULTILINE)
    xml = (project / "coverage.xml").read_text()
    assert re.findall(r'filename="([^"]+)"', xml) == ["src/thing/__init__.py"]
    assert str(project) not in xml
    assert not list(project.glob(".coverage*"))


def test_a_kind_that_is_not_there_is_said_and_does_not_fail(project: Path) -> None:
    done = aegis("project", "test", "--kind", "integration", at=project)
    assert done.returncode == 0
    assert "tests/integration" in done.stderr


def test_the_second_install_does_nothing(project: Path) -> None:
    done = aegis("project", "install", "--json", at=project)
    assert json.loads(done.stdout)["fresh"] is False


def test_findings_are_reported_and_fail_only_when_asked(project: Path) -> None:
    done = aegis("project", "lint", at=project)
    assert done.returncode == 0
    assert "src/thing/__init__.py:6:12: critical: Undefined name `undefined` [F821]" in done.stdout
    report = json.loads((project / "gl-code-quality-report.json").read_text())
    assert {one["severity"] for one in report if one["check_name"] == "F821"} == {"critical"}
    assert aegis("project", "lint", "--strict", at=project).returncode == 1


def test_settings_that_ruff_cannot_read_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("")
    (tmp_path / "ruff.toml").write_text("line-length = 'long'\n")
    done = aegis("project", "lint", "--json", at=tmp_path)
    assert done.returncode == 6
    assert json.loads(done.stdout)["error"]["code"] == "ruff-failed"


def test_a_lock_is_written_and_what_differs_from_it_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    for name, content in PROJECT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content.replace('"coverage"]', '"coverage"]\n'))
    assert aegis("project", "lock", at=folder).returncode == 0
    text = (folder / "requirements-test.lock").read_text()
    assert "http" not in text
    assert "pytest==" in text
    assert (folder / "requirements.lock").read_text() == ""
    done = aegis("project", "install", "--json", at=folder)
    assert json.loads(done.stdout)["verified"] is True
    (folder / "requirements-test.lock").write_text(re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, text))
    (folder / ".venv").rename(folder / ".venv-old")
    done = aegis("project", "install", "--json", at=folder)
    assert done.returncode in {2, 6}
    assert "not what the lock says" in json.loads(done.stdout)["error"]["message"]


def test_the_interpreter_is_that_of_aegis_unless_one_is_named(project: Path) -> None:
    done = subprocess.run([project / ".venv/bin/python", "-V"], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == ".".join(map(str, sys.version_info[:3]))
    done = aegis("project", "install", at=project, AEGIS_PYTHON="2.7")
    assert done.returncode == 6
