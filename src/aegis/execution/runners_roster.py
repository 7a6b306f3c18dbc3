"""Which remote runners there are and what each may take, folded from the ledger. Pure; no tokens, no clock.

A runner's number is that of the record that registered it. Who may register one is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from aegis.core.errors import UserError
from aegis.core.events import Record, RunnerChanged, RunnerRegistered, RunnerRemoved
from aegis.core.plan import JobSpec
from aegis.core.types import Run, RunnerSettings

_CONTAINERS: Final = frozenset({"docker", "docker-windows", "docker+machine", "docker-autoscaler", "kubernetes"})
_MACHINES: Final = frozenset({"virtualbox", "parallels", "instance"})
TAGS_LIMIT: Final = 50
TIMEOUT_MINIMUM: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredRunner:
    """A remote runner. `subject_version` is what a change of it is decided on."""

    id: str
    number: int
    settings: RunnerSettings
    registered_by: str
    subject_version: int = 1


class Roster:
    """The remote runners. Not thread-safe; `version` grows with every change."""

    def __init__(self) -> None:
        self._runners: dict[str, RegisteredRunner] = {}
        self.version = 0

    def apply(self, record: Record) -> None:
        """Take in a record; those that are not about runners are ignored."""
        data = record.data
        if isinstance(data, RunnerRegistered):
            self._runners[data.runner] = RegisteredRunner(
                id=data.runner, number=record.seq, settings=data.settings, registered_by=data.by,
                subject_version=record.subject_version,
            )  # fmt: skip
        elif isinstance(data, RunnerChanged) and data.runner in self._runners:
            self._runners[data.runner] = replace(
                self._runners[data.runner], settings=data.settings, subject_version=record.subject_version
            )
        elif isinstance(data, RunnerRemoved):
            self._runners.pop(data.runner, None)
        else:
            return
        self.version = record.seq

    def get(self, runner: str) -> RegisteredRunner | None:
        """The runner of that id, or None."""
        return self._runners.get(runner)

    def all(self) -> Mapping[str, RegisteredRunner]:
        """Every runner by id, oldest first."""
        return dict(self._runners)


def checked(settings: RunnerSettings) -> RunnerSettings:
    """`settings` when a runner can have them, else a `UserError`: one that could never take a job is a mistake."""
    if not settings.tags and not settings.run_untagged:
        raise UserError(
            "runner-takes-nothing",
            "a runner without tags that does not run untagged jobs would never get a job",
            hint="give it tags, or let it run untagged jobs",
        )
    if len(settings.tags) > TAGS_LIMIT or any(not tag.strip() or len(tag) > 255 for tag in settings.tags):
        raise UserError("runner-tags", f"a runner has at most {TAGS_LIMIT} tags of 1 to 255 characters")
    if settings.maximum_timeout is not None and settings.maximum_timeout < TIMEOUT_MINIMUM:
        raise UserError("runner-timeout", f"the maximum timeout is at least {TIMEOUT_MINIMUM} seconds")
    return settings


def admits(settings: RunnerSettings, run: Run, spec: JobSpec, *, protected: bool) -> bool:  # noqa: ARG001 - one shape
    """Whether a runner serves that project and ref. `protected` says whether the run's ref is."""
    if settings.protected and not protected:
        return False
    return not settings.projects or any(
        run.project == one or run.project.startswith(f"{one}/") for one in settings.projects
    )


def isolation(executor: str, settings: RunnerSettings) -> str:
    """What separates jobs of a remote runner, by the executor that it names; `process` where nothing does."""
    if executor in _CONTAINERS:
        return "container"
    return "machine" if executor in _MACHINES or settings.isolated else "process"
