"""Puts together what `aegis project install|lock|lint|test` need: the folder's files, uv, ruff and the project's Python."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aegis.adapters.environments_directory import EnvironmentCache
from aegis.adapters.project_files import DirectoryFiles
from aegis.adapters.project_programs import LocalPrograms
from aegis.core.errors import CheckFailed, ExternalError, UserError
from aegis.projects import environment, quality, testing
from aegis.projects.detect import detect
from aegis.projects.model import Project, TestKind

STAMP: Final = ".aegis-installed"
VENV: Final = ".venv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What `install` did. `fresh` is False when the environment was already what it has to be."""

    python: str
    source: str
    verified: bool
    fresh: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Linted:
    """What ruff found, and where the report lies."""

    report: str
    issues: tuple[quality.Issue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """How the tests ended. `code` is pytest's, `coverage` the TOTAL line; `message` is empty when all held."""

    code: int
    counts: testing.Counts | None
    coverage: str
    reports: tuple[str, ...]
    message: str = ""


@dataclass(slots=True)
class Workshop:
    """A project's folder with everything that its verbs need. `quiet` keeps standard output free of programs' words."""

    root: Path
    files: DirectoryFiles
    project: Project
    programs: LocalPrograms
    surroundings: Mapping[str, str]

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.root / VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def workshop(path: str, *, quiet: bool = False) -> Workshop:
    """The workshop of the project at `path`."""
    root = Path(path).resolve()
    files = DirectoryFiles(root)
    surroundings = _surroundings(root)
    return Workshop(root, files, detect(files), LocalPrograms(root, surroundings, to_errors=quiet), surroundings)


def install(shop: Workshop, *, python: str | None = None, force: bool = False) -> Installed:
    """Make `.venv` what the project's lock or declarations say; nothing is done when it is that already."""
    wanted = python or os.environ.get("AEGIS_PYTHON") or sys.executable
    index, version = shop.surroundings.get("UV_INDEX", ""), shop.surroundings.get("SETUPTOOLS_SCM_PRETEND_VERSION", "")
    stamp = environment.stamp(shop.project, shop.files, python=wanted + sys.version, index=index, version=version)
    plan = environment.plan_install(shop.project, shop.files)
    mark = shop.root / VENV / STAMP
    answer = {"python": str(shop.python), "source": plan.source, "verified": plan.verified, "notes": plan.notes}
    if not force and shop.python.exists() and mark.exists() and mark.read_text() == stamp:
        return Installed(**answer, fresh=False)  # type: ignore[arg-type]  # a mapping of the fields
    mark.unlink(missing_ok=True)
    key = _environment_key(shop, wanted, version)
    if plan.verified and not force and (cache := _environments()) is not None and cache.restore(key, shop.root / VENV):
        mark.write_text(stamp)
        return Installed(**answer, fresh=True)  # type: ignore[arg-type]  # a mapping of the fields
    _uv(shop, "venv", "--quiet", "--allow-existing", "--python", wanted, VENV, why="no environment could be made")
    requirements = plan.requirements
    if plan.export:
        requirements = _uv(shop, *plan.export, why="the lock could not be read", capture=True)
    with tempfile.TemporaryDirectory(prefix="aegis-install-") as scratch:
        listed = Path(scratch, "requirements.txt")
        if requirements is not None:
            listed.write_bytes(requirements)
        for step in plan.steps:
            arguments = [str(listed) if one == environment.REQUIREMENTS else one for one in step]
            _uv(shop, *arguments[:2], "--quiet", "--python", str(shop.python), *arguments[2:], why=_failing(step))
    _ensure_tools(shop)
    mark.write_text(stamp)
    if plan.verified and (cache := _environments()) is not None:
        cache.keep(key, shop.root / VENV, compiled=False)
    return Installed(**answer, fresh=True)  # type: ignore[arg-type]  # a mapping of the fields


def _environment_key(shop: Workshop, python: str, version: str) -> str:
    """What an environment follows from: its lock, the interpreter, and the place, since its scripts name it."""
    place = f"{python}{sys.version}{shop.root}"
    # A version that is written down somewhere is no part of it: it changes with each commit, and the environment not.
    told = version if b"dynamic" in shop.files.get("pyproject.toml", b"dynamic") else ""
    return environment.stamp(shop.project, shop.files, python=place, index="", version=told)


def _environments() -> EnvironmentCache | None:
    """Kept environments: in jobs alone, where the cache belongs to one project."""
    if not os.environ.get("GITLAB_CI"):
        return None
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return EnvironmentCache(Path(base, "aegis", "environments"))


def _keep_bytecode(shop: Workshop) -> None:
    """After the first tests in an environment: keep it again, with the bytecode of all that they imported."""
    cache = _environments()
    if cache is None or not environment.plan_install(shop.project, shop.files).verified:
        return
    wanted = os.environ.get("AEGIS_PYTHON") or sys.executable
    key = _environment_key(shop, wanted, shop.surroundings.get("SETUPTOOLS_SCM_PRETEND_VERSION", ""))
    if not cache.compiled(key):
        cache.keep(key, shop.root / VENV, compiled=True)


def lock(shop: Workshop, *, upgrade: bool = False) -> tuple[str, ...]:
    """Write the locks; the names of the files."""
    with tempfile.TemporaryDirectory(prefix="aegis-lock-") as scratch:
        extra = Path(scratch, "tests.in")
        extra.write_text("".join(f"{one}\n" for one in environment.test_requirements(shop.project, shop.files)))
        plans = environment.plan_lock(shop.project, shop.files, upgrade=upgrade)
        for step in plans:
            arguments = [str(extra) if one == environment.REQUIREMENTS else one for one in step]
            _uv(shop, *arguments, why="the dependencies cannot be solved together")
    return tuple(step[-1] for step in plans)


def lint(shop: Workshop) -> Linted:
    """Run ruff with the project's own settings and write the code-quality report."""
    arguments = [
        _tool("ruff"),
        "check",
        "--output-format=json",
        "--no-fix",
        "--exit-zero",
        "--no-cache",
        "--quiet",
        ".",
    ]
    done = shop.programs.run(arguments, capture=True)
    if done.code:
        raise ExternalError(
            "ruff-failed", "ruff could not check this project", hint="mend what it says above: ruff check"
        )
    found = quality.issues(done.output, shop.root.as_posix())
    (shop.root / quality.REPORT).write_bytes(quality.report(found))
    return Linted(report=quality.REPORT, issues=found)


def test(shop: Workshop, kind: TestKind | None) -> Tested:
    """Run the tests under coverage in `.venv` (made when it is not there) and write the reports."""
    named = re.split(r"[,\s]+", os.environ.get("AEGIS_COVERAGE_PATHS", "").strip())
    plan = testing.plan_tests(shop.project, kind, measured=tuple(one for one in named if one))
    if plan.nothing:
        if kind in {"integration", "e2e"}:
            return Tested(code=0, counts=None, coverage="", reports=(), message=plan.nothing)
        raise CheckFailed("no-tests", plan.nothing, hint="write tests/test_<package>.py")
    if not shop.python.exists():
        install(shop)
    for name in (testing.JUNIT, testing.COVERAGE):
        (shop.root / name).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="aegis-test-") as scratch:
        code = _under_coverage(shop, plan, Path(scratch))
        coverage = _coverage(shop, plan, Path(scratch))
    _keep_bytecode(shop)
    junit = shop.root / testing.JUNIT
    counts = testing.counts(junit.read_text(errors="replace")) if junit.exists() else None
    reports = tuple(name for name in (testing.JUNIT, testing.COVERAGE) if (shop.root / name).exists())
    return Tested(
        code=code, counts=counts, coverage=coverage, reports=reports, message=testing.meaning(code) if code else ""
    )


def _under_coverage(shop: Workshop, plan: testing.TestPlan, scratch: Path) -> int:
    settings = [*_settings(plan, scratch), *([f"--source={','.join(plan.measured)}"] if plan.measured else [])]
    argv = [str(shop.python), "-m", "coverage", "run", *settings, "-m", "pytest", *plan.arguments]
    return shop.programs.run(argv, environment=_run_environment(shop, plan, scratch)).code


def _coverage(shop: Workshop, plan: testing.TestPlan, scratch: Path) -> str:
    surroundings, settings = _run_environment(shop, plan, scratch), _settings(plan, scratch)
    measured = [str(shop.python), "-m", "coverage"]
    if not (scratch / "coverage").exists():
        if not any(scratch.glob("coverage.*")):
            return ""
        shop.programs.run([*measured, "combine", "--quiet", *settings], environment=surroundings)
    path = shop.root / testing.COVERAGE
    written = [*measured, "xml", "--quiet", "--ignore-errors", "--fail-under=0", *settings, "-o", str(path)]
    shop.programs.run(written, environment=surroundings)
    if not path.exists():
        return ""
    root = shop.root.as_posix()
    xml = testing.relative(path.read_text(), root, lambda name: (shop.root / name).is_file())
    path.write_text(xml)
    return testing.total(xml)


def _settings(plan: testing.TestPlan, scratch: Path) -> list[str]:
    if plan.settings is None:
        return []
    file = scratch / "settings.ini"
    file.write_text(plan.settings)
    return [f"--rcfile={file}"]


def _run_environment(shop: Workshop, plan: testing.TestPlan, scratch: Path) -> dict[str, str]:
    found = {
        "COVERAGE_FILE": str(scratch / "coverage"),
        "PATH": f"{shop.python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    if plan.paths:
        earlier = os.environ.get("PYTHONPATH")
        found["PYTHONPATH"] = os.pathsep.join(
            [*(str(shop.root / one) for one in plan.paths), *([earlier] if earlier else [])]
        )
    return found


def _ensure_tools(shop: Workshop) -> None:
    """Pytest and coverage where the project did not bring its own; what is installed already stays as it is."""
    site = next((shop.root / VENV).glob("lib/python*/site-packages"), shop.root / VENV / "Lib" / "site-packages")
    missing = [name for name in environment.TOOLS if not (site / name).is_dir()]
    if missing:
        _uv(
            shop,
            "pip",
            "install",
            "--quiet",
            "--python",
            str(shop.python),
            *missing,
            why="the test tools cannot be had",
        )


def _uv(shop: Workshop, *arguments: str, why: str, capture: bool = False) -> bytes:
    done = shop.programs.run([_tool("uv"), *arguments], capture=capture)
    if done.code:
        hint = "uv says above what it could not find or verify"
        raise (UserError if "lock" in why or "solved" in why else ExternalError)(
            "environment", f"{why} (uv {arguments[0]} ended with {done.code})", hint=hint
        )
    return done.output


def _failing(step: tuple[str, ...]) -> str:
    return (
        "what is installed is not what the lock says"
        if "--require-hashes" in step
        else "the project could not be installed"
    )


def _tool(name: str) -> str:
    suffix = ".exe" if os.name == "nt" else ""
    found = Path(sysconfig.get_path("scripts"), name + suffix)
    if not found.exists():
        raise ExternalError(
            f"{name}-missing", f"{name} is not installed beside aegis", hint="pip install 'aegis-delivery[up]'"
        )
    return str(found)


def _surroundings(root: Path) -> dict[str, str]:
    """This process's environment, without what belongs to another Python environment; the index stays off command lines."""
    found = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "PYTHONHOME", "CONDA_PREFIX"}}
    found |= {"VIRTUAL_ENV": str(root / VENV), "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    index = os.environ.get("AEGIS_INDEX_URL")
    if index:
        found |= {"UV_INDEX": index, "UV_INDEX_STRATEGY": "first-index"}
    version = os.environ.get("AEGIS_VERSION") or (
        "" if (root / ".git").exists() or (root / "PKG-INFO").exists() else "0.0.0"
    )
    if version:
        found.setdefault("SETUPTOOLS_SCM_PRETEND_VERSION", version.replace("-dev.", ".dev"))
        found.setdefault("PDM_BUILD_SCM_VERSION", version.replace("-dev.", ".dev"))
    return found
