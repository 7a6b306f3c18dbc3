"""Looks at a project's files and says what it is. Pure: nothing of the project is imported or carried out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from aegis.projects.frameworks import application
from aegis.projects.model import Application, Build, Files, LockFile, Needs, Package, Project, Remark, Suite
from aegis.projects.packaging import Metadata, compiled, metadata, packages, text
from aegis.projects.suites import needs, suite
from aegis.projects.workflows import commands

LOCKS: Final = (
    ("uv.lock", "uv"), ("poetry.lock", "poetry"), ("pdm.lock", "pdm"), ("pylock.toml", "pylock"),
    ("requirements.lock", "requirements"), ("requirements.txt", "requirements"),
)  # fmt: skip
TEST_LOCK: Final = "requirements-test.lock"
_PINNED: Final = re.compile(r"^[A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?==", re.MULTILINE)


def detect(files: Files) -> Project:
    """Everything that can be known of a project without running it."""
    meta = metadata(files)
    layout, found = packages(files, meta)
    app = application(files, meta, found)
    tests, wanted, locks = suite(files, meta), needs(files, meta), _locks(files)
    native = compiled(files)
    remarks = (
        *meta.remarks,
        *_about_build(meta.build, found, native=native),
        *_about_tests(tests, wanted),
        *_about_locks(locks),
        *_about_kind(app, found),
        *_about_python(meta),
        *_about_pipelines(files),
    )
    return Project(
        name=meta.name,
        version=meta.version,
        requires_python=meta.requires_python,
        build=meta.build,
        layout=layout,
        packages=found,
        dependencies=meta.dependencies,
        application=app,
        suite=tests,
        needs=wanted,
        locks=locks,
        commands=commands(files),
        remarks=remarks,
        compiled=native,
    )


def _locks(files: Files) -> tuple[LockFile, ...]:
    found = []
    for path, kind in LOCKS:
        if path not in files:
            continue
        content = text(files, path)
        if kind == "requirements":
            pinned = len(_PINNED.findall(content))
            if path == "requirements.txt" and not pinned:
                continue
            hashed = pinned <= content.count("--hash=") and (pinned > 0 or path == "requirements.lock")
            found.append(LockFile(kind=kind, path=path, hashed=hashed))
        else:
            found.append(LockFile(kind=kind, path=path, hashed="sha256:" in content or "sha256 = " in content))
    return tuple(found)


def _about_build(build: Build, found: Sequence[Package], *, native: bool) -> list[Remark]:
    if build.system == "none":
        mend = 'write a pyproject.toml with [build-system] requires = ["hatchling"], build-backend = "hatchling.build"'
        remarks = [Remark(level="warn", topic="build", message=f"no wheel can be built: {build.why}", mend=mend)]
    else:
        remarks = [Remark(level="ok", topic="build", message=f"{build.system}: {build.why}")]
    if found:
        names = ", ".join(f"{one.name} ({one.path})" for one in found[:5])
        remarks.append(Remark(level="ok", topic="packages", message=names))
    else:
        mend = "put the package into src/<name>/ or beside pyproject.toml"
        remarks.append(Remark(level="fail", topic="packages", message="no import package was found", mend=mend))
    if native:
        message = "there are sources that need a compiler: the wheel is built for this machine's platform only"
        remarks.append(
            Remark(level="warn", topic="build", message=message, mend="let a job with the compiler build it")
        )
    return remarks


def _about_tests(tests: Suite, wanted: Needs) -> list[Remark]:
    if tests.runner == "none":
        mend = "write tests/test_<package>.py; the gates ask for tests and coverage"
        return [Remark(level="fail", topic="tests", message=tests.why, mend=mend)]
    remarks = [Remark(level="ok", topic="tests", message=f"{tests.runner}: {tests.why}")]
    level: str = "warn" if wanted.empty else "ok"
    mend = 'declare [dependency-groups] test = ["pytest", "coverage"]' if wanted.empty else ""
    remarks.append(Remark(level=level, topic="test-needs", message=wanted.why, mend=mend))  # type: ignore[arg-type]  # a literal
    return remarks


def _about_locks(locks: Sequence[LockFile]) -> list[Remark]:
    if not locks:
        message = "no lock: what is installed today may differ tomorrow"
        return [Remark(level="warn", topic="lock", message=message, mend="aegis project lock")]
    first = locks[0]
    if not first.hashed:
        message = f"{first.path} has no hashes: what is downloaded cannot be verified"
        return [Remark(level="warn", topic="lock", message=message, mend="aegis project lock")]
    return [Remark(level="ok", topic="lock", message=f"{first.path} ({first.kind}), with hashes")]


def _about_kind(app: Application | None, found: Sequence[Package]) -> list[Remark]:
    if app is None:
        return (
            [Remark(level="ok", topic="kind", message="a library: no web application is made in its packages")]
            if found
            else []
        )
    message = f"a service: {app.why}; starts as {' '.join(app.start)}, health at {app.health}"
    return [Remark(level="ok", topic="kind", message=message)]


def _about_python(meta: Metadata) -> list[Remark]:
    upper = re.search(r"<\s*(?:=\s*)?3\.(\d+)", meta.requires_python)
    if upper and int(upper[1]) <= 11:
        message = f"it asks for Python {meta.requires_python}"
        return [Remark(level="warn", topic="python", message=message, mend="run it with an image of that Python")]
    return []


def _about_pipelines(files: Files) -> list[Remark]:
    if ".gitlab-ci.yml" not in files:
        return []
    message = "there is a .gitlab-ci.yml already: it is kept, and what adopt would write is shown beside it"
    return [
        Remark(
            level="warn", topic="pipeline", message=message, mend="aegis lint, then compare; --replace overwrites it"
        )
    ]
