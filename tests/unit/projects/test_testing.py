from __future__ import annotations

import json

import pytest

from aegis.core.errors import ExternalError, UserError
from aegis.projects.detect import detect
from aegis.projects.environment import locked_requirements, plan_install, plan_lock, stamp
from aegis.projects.model import Project
from aegis.projects.quality import issues, report
from aegis.projects.testing import counts, plan_tests, relative, total

TEST = b"def test_it():\n    assert True\n"
BASE = {
    "src/thing/__init__.py": b"",
    "pyproject.toml": b'[build-system]\nbuild-backend="hatchling.build"\n[project]\nname="thing"\n',
}


def of(files: dict[str, bytes]) -> Project:
    return detect({**BASE, **files})


def test_without_settings_the_packages_are_measured_and_paths_are_relative() -> None:
    plan = plan_tests(of({"tests/test_a.py": TEST}), None)
    assert plan.arguments == ("--junitxml=junit.xml", "tests")
    assert plan.settings == "[run]\nrelative_files = true\nsource =\n    src/thing\n"


def test_a_projects_own_settings_stay() -> None:
    plan = plan_tests(
        of({"tests/test_a.py": TEST, ".coveragerc": b"[run]\n", "pytest.ini": b"[pytest]\ntestpaths = tests\n"}), None
    )
    assert plan.arguments == ("--junitxml=junit.xml",)
    assert plan.settings is None


def test_options_that_would_measure_twice_are_taken_back() -> None:
    plan = plan_tests(of({"tests/test_a.py": TEST, "pytest.ini": b"[pytest]\naddopts = --cov=thing -n auto\n"}), None)
    assert {"--no-cov", "-n0"} <= set(plan.arguments)


def test_files_that_pytest_passes_over_are_named_beside_their_folder_and_not_dropped_as_repeated() -> None:
    case = b"import unittest\n\nclass Case(unittest.TestCase):\n    def test_it(self):\n        pass\n"
    plan = plan_tests(of({"tests/tests.py": case, "tests/test_a.py": case}), None)
    assert plan.arguments == ("--junitxml=junit.xml", "-o", "python_files=test_*.py *_test.py tests.py", "tests")


def test_kinds_choose_their_folders() -> None:
    project = of({"tests/unit/test_a.py": TEST, "tests/e2e/test_b.py": TEST})
    assert plan_tests(project, "unit").arguments[1:] == ("tests/unit",)
    assert plan_tests(project, "e2e").arguments[1:] == ("tests/e2e",)
    assert plan_tests(project, "integration").nothing
    loose = of({"tests/test_a.py": TEST, "tests/integration/test_b.py": TEST})
    assert plan_tests(loose, "unit").arguments[1:] == ("tests", "--ignore=tests/integration")
    assert plan_tests(of({}), None).nothing
    assert plan_tests(project, None, measured=("src/thing",)).settings is None


def test_packages_that_are_not_built_are_imported_in_place() -> None:
    project = detect({"src/thing/__init__.py": b"", "tests/test_a.py": TEST})
    assert plan_tests(project, None).paths == ("src",)


XML = """<coverage lines-valid="10" lines-covered="8"><sources>\n<source>/w/p/src/thing</source>\n</sources>
<class name="a" filename="a.py"/><class filename="/w/p/src/thing/b.py"/><class filename="../x.py"/></coverage>"""


def test_paths_in_a_report_become_relative_to_the_project() -> None:
    text = relative(XML, "/w/p", {"src/thing/a.py", "src/thing/b.py"}.__contains__)
    assert 'filename="src/thing/a.py"' in text
    assert 'filename="src/thing/b.py"' in text
    assert "<source>.</source>" in text
    assert "/w/p" not in text


def test_the_total_is_never_rounded_up() -> None:
    assert total(XML) == "TOTAL 10 2 80%"
    assert total('lines-valid="3000" lines-covered="2399"') == "TOTAL 3000 601 79.9%"
    assert total("") == "TOTAL 0 0 0%"


def test_counts_are_those_of_the_report() -> None:
    found = counts('<testsuites><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10" time="1">')
    assert found is not None
    assert (found.tests, found.passed, found.failures, found.errors, found.skipped) == (10, 4, 2, 1, 3)
    assert counts("<nothing/>") is None


def test_from_a_hashed_lock_everything_is_verified() -> None:
    plan = plan_install(
        of({"requirements-test.lock": b"a==1 --hash=sha256:00"}), {**BASE, "requirements-test.lock": b""}
    )
    assert plan.verified
    assert plan.steps == (
        ("pip", "sync", "--require-hashes", "requirements-test.lock"),
        ("pip", "install", "--no-deps", "-e", "."),
    )
    files = {
        **BASE,
        "uv.lock": b'hash = "sha256:0"',
        "pyproject.toml": BASE["pyproject.toml"] + b'[dependency-groups]\ntest=["pytest"]\n',
    }
    plan = plan_install(detect(files), files)
    assert plan.export[-2:] == ("--group", "test")
    assert plan.steps[0] == ("pip", "sync", "--require-hashes", "{requirements}")


def test_without_a_lock_what_is_declared_is_resolved_and_said_so() -> None:
    files = {**BASE, "requirements-dev.txt": b"pytest\n", "tests/test_a.py": TEST}
    plan = plan_install(detect(files), files)
    assert not plan.verified
    assert plan.steps == (("pip", "install", "-e", ".", "-r", "requirements-dev.txt", "pytest", "coverage"),)
    assert plan.notes


def test_only_known_names_are_installed_for_tests_that_declare_nothing() -> None:
    code = b"import json, thing, yaml, evil_typo\nfrom freezegun import freeze_time\nfrom .local import x\n"
    files = {**BASE, "tests/test_a.py": code}
    (step,) = plan_install(detect(files), files).steps
    assert step[4:] == ("freezegun", "PyYAML", "pytest", "coverage")


LOCK = b"""
[[package]]
name = "a"
version = "1.0"
groups = ["main"]
markers = "python_version < \\"4\\""
files = [{file = "a.whl", hash = "sha256:11"}, {file = "a.tar.gz", hash = "sha256:00"}]
"""


def test_poetry_and_pdm_locks_become_hashed_requirements() -> None:
    text = locked_requirements(LOCK, "poetry.lock").decode()
    assert text == 'a==1.0 ; python_version < "4" \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n'
    with pytest.raises(UserError, match="without a hash"):
        locked_requirements(b'[[package]]\nname="a"\nversion="1"\nfiles=[]\n', "pdm.lock")
    with pytest.raises(UserError):
        locked_requirements(b"[", "pdm.lock")


def test_a_lock_holds_hashes_and_no_address() -> None:
    files = {**BASE, "tests/test_a.py": TEST, "constraints.txt": b""}
    runtime, tests = plan_lock(detect(files), files)
    for step in (runtime, tests):
        assert {"--generate-hashes", "--no-emit-index-url", "--no-header"} <= set(step)
    assert runtime[-1] == "requirements.lock"
    assert tests[tests.index("-c") + 1] == "requirements.lock"


def test_the_stamp_changes_with_everything_that_counts() -> None:
    files = {**BASE, "requirements.lock": b"a==1 --hash=sha256:00"}
    first = stamp(detect(files), files, python="3.11", index="", version="")
    assert first == stamp(detect(files), files, python="3.11", index="", version="")
    other = {**files, "requirements.lock": b"a==2 --hash=sha256:00"}
    assert len({first, stamp(detect(other), other, python="3.11", index="", version=""),
                stamp(detect(files), files, python="3.12", index="", version=""),
                stamp(detect(files), files, python="3.11", index="x", version="")}) == 4  # fmt: skip


RUFF = [
    {
        "code": "F821",
        "filename": "/w/p/src/a.py",
        "location": {"row": 3, "column": 5},
        "message": "Undefined name `x`",
        "url": "u",
    },
    {
        "code": "E501",
        "filename": "/w/p/src/a.py",
        "location": {"row": 9, "column": 1},
        "message": "Line too long",
        "url": None,
    },
    {
        "code": "S105",
        "filename": "/w/p/src/a.py",
        "location": {"row": 1, "column": 1},
        "message": "Password",
        "url": None,
    },
    {
        "code": "SIM1",
        "filename": "/w/p/src/a.py",
        "location": {"row": 2, "column": 1},
        "message": "Simpler",
        "url": None,
    },
    {
        "code": None,
        "filename": "/w/p/src/b.py",
        "location": {"row": 1, "column": 1},
        "message": "SyntaxError",
        "url": None,
    },
]


def test_findings_become_a_report_with_steady_fingerprints() -> None:
    found = issues(json.dumps(RUFF).encode(), "/w/p")
    assert [(one.path, one.line, one.severity) for one in found] == [
        ("src/a.py", 1, "major"), ("src/a.py", 2, "minor"), ("src/a.py", 3, "critical"), ("src/a.py", 9, "info"), ("src/b.py", 1, "critical"),
    ]  # fmt: skip
    moved = [{**one, "location": {"row": 50, "column": 1}} for one in RUFF]
    prints = {one["fingerprint"] for one in json.loads(report(found))}
    assert prints == {one["fingerprint"] for one in json.loads(report(issues(json.dumps(moved).encode(), "/w/p")))}
    assert len(prints) == 5
    twice = issues(json.dumps([RUFF[0], RUFF[0]]).encode(), "/w/p")
    assert len({one["fingerprint"] for one in json.loads(report(twice))}) == 2
    with pytest.raises(ExternalError):
        issues(b"no", "/w/p")
