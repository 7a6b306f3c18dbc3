"""What is known about a project after looking at its files. Plain values; nothing here looks at anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Files = Mapping[str, bytes]
"""A project's files: path with `/` relative to its root, to content. Read lazily; never the outside of the project."""

Level = Literal["ok", "warn", "fail"]
TestKind = Literal["unit", "integration", "e2e"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """How distributions of it are built. `system` is `none` where nothing says so; `module` the PEP 517 backend."""

    system: str = "none"
    module: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An import package or module: its dotted name and where it lies (`src/orders`, `slugify`, `six.py`)."""

    name: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A web application: framework, `module:object`, how it starts, and where it answers for its health."""

    framework: str
    target: str
    start: tuple[str, ...]
    health: str = "/healthz"
    factory: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Its tests. `paths` are what pytest is to be given where the project does not configure that itself.

    `kinds` are the folders by kind. `config` is the file that configures pytest, `options` its `addopts`.
    """

    runner: Literal["pytest", "unittest", "none"] = "none"
    paths: tuple[str, ...] = ()
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    config: str = ""
    options: str = ""
    coverage_config: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What its tests need beside the project: extras, PEP 735 groups, requirement files, single requirements."""

    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    why: str = ""

    @property
    def empty(self) -> bool:
        """Whether nothing was found."""
        return not (self.extras or self.groups or self.files or self.requirements)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFile:
    """A lock: `kind` is `requirements`, `uv`, `poetry`, `pdm` or `pylock`. `hashed` when every entry has hashes."""

    kind: str
    path: str
    hashed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of an earlier pipeline: `carried` says what takes its place, or is empty and `why` says why nothing."""

    where: str
    text: str
    carried: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something to tell: what was looked at, what was seen, and (where it is not well) what to do."""

    level: Level
    topic: str
    message: str
    mend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Everything found. `version` is None where the build decides it; `dependencies` are as declared."""

    name: str
    version: str | None
    requires_python: str
    build: Build
    layout: Literal["src", "flat", "none"]
    packages: tuple[Package, ...]
    dependencies: tuple[str, ...]
    application: Application | None
    suite: Suite
    needs: Needs
    locks: tuple[LockFile, ...] = ()
    commands: tuple[Command, ...] = ()
    remarks: tuple[Remark, ...] = ()
    compiled: bool = False

    @property
    def kind(self) -> Literal["library", "service"]:
        """A service has an application that can be started; everything else is a library."""
        return "service" if self.application is not None else "library"
