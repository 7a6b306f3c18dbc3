"""Projects that nobody here wrote: adopted, installed, tested with coverage, built."""

from __future__ import annotations

import json
import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from support.git_server import git
from support.sdists import unpacked
from unit.projects.test_verbs import aegis, plain_counts

PROJECTS = [
    ("cachetools==6.2.1", "3f391e4bd8f8bf0931169baf7456cc822705f4e2a31f840d218f445b9a854201", "setuptools", 220),
]
MORE = [  # with SOAK set; the first goes the whole way in test_real_projects_server.py each time
    ("itsdangerous==2.2.0", "e0050c0b7da1eea53ffaf149c0cfbb5c6e2e2b69c4bef22c81fa6eb73e5f6173", "flit", 297),
    ("starlette==0.50.0", "a2a17b22203254bcbc2e1f926d2d55f3f9497f769416b3190768befe598fa3ca", "hatchling", 900),
]


LARGE = 500


def collected(folder: Path) -> int:
    """How many tests plain pytest finds."""
    argv = [folder / ".venv/bin/python", "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    return int(re.findall(r"(\d+) tests? collected", done.stdout)[-1])


@pytest.mark.parametrize(
    ("requirement", "digest", "backend", "tests"),
    [*PROJECTS, *(MORE if "SOAK" in os.environ else ())],
    ids=lambda one: str(one).split("=")[0],
)
def test_a_real_project_is_adopted_tested_and_built(
    tmp_path: Path, requirement: str, digest: str, backend: str, tests: int
) -> None:
    folder = unpacked(requirement, digest, tmp_path / "sdist")
    checked = json.loads(aegis("check", ".", "--json", at=folder).stdout)
    assert checked["works"], checked
    assert checked["project"]["build"]["system"] == backend

    done = aegis("adopt", ".", "--config", str(tmp_path / "aegis.yaml"), "--json", at=folder)
    assert done.returncode == 0, done.stderr
    assert aegis("lint", at=folder).returncode == 0

    done = aegis("project", "install", at=folder)
    assert done.returncode == 0, done.stderr
    done = aegis("project", "test", "--kind", "unit", "--json", at=folder)
    body = json.loads(done.stdout)
    found = body["counts"]
    if tests < LARGE:
        plain = plain_counts(folder)
        assert found["tests"] == sum(plain.values()) >= tests
        assert (found["failures"], found["errors"]) == (plain.get("failed", 0), plain.get("error", 0))
    else:  # twice would take long: what was collected is compared
        assert found["tests"] == collected(folder) >= tests
        assert found["failures"] + found["errors"] <= 3, done.stderr[-2000:]  # some expect not to be run as root
    assert done.returncode == (1 if found["failures"] or found["errors"] else 0)
    percent = re.fullmatch(r"TOTAL \d+ \d+ ([\d.]+)%", body["coverage"])
    assert percent
    assert float(percent[1]) >= 80
    for name in re.findall(r'filename="([^"]+)"', (folder / "coverage.xml").read_text())[:20]:
        assert (folder / name).is_file()

    (folder / "PKG-INFO").unlink()  # belongs to the archive, not to a repository
    git("init", "--quiet", "--initial-branch=main", at=folder)
    git("add", "-A", at=folder)
    git("commit", "--quiet", "-m", "feat: adopt", at=folder)
    done = aegis("wheel", "build", at=folder)
    assert done.returncode == 0, done.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert any(name.endswith("/METADATA") for name in archive.namelist())


def test_a_project_without_its_tests_is_explained(tmp_path: Path) -> None:
    folder = unpacked(
        "python-slugify==8.0.4", "59202371d1d05b54a9e7720c5e038f928f45daaffe41dd10822f3907b937c856", tmp_path / "sdist"
    )
    done = aegis("check", ".", "--json", at=folder)
    assert done.returncode == 1
    (remark,) = (one for one in json.loads(done.stdout)["project"]["remarks"] if one["level"] == "fail")
    assert remark["topic"] == "tests"
    assert remark["mend"]
    assert aegis("project", "test", at=folder).returncode == 1
