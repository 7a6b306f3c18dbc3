"""Commands that start pipelines otherwise than by a push, and those that take back what jobs and people left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aegis.delivery.commands.verbs import verb


@verb("trigger")
@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerPipeline:
    """Start a pipeline for a branch from outside: its source is `trigger`."""

    project: str
    ref: str
    variables: Mapping[str, str] = field(default_factory=dict)


@verb("play-schedule")
@dataclass(frozen=True, slots=True, kw_only=True)
class PlaySchedule:
    """Start a declared schedule's pipeline now, whenever it is due."""

    project: str
    schedule: str


@verb("create-environment")
@dataclass(frozen=True, slots=True, kw_only=True)
class CreateEnvironment:
    """Name an environment before any job deploys it."""

    project: str
    environment: str
    url: str = ""
    tier: str = ""


@verb("remove-environment")
@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveEnvironment:
    """List a stopped environment no longer."""

    project: str
    environment: str


@verb("create-tag")
@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTag:
    """Tag a commit, a branch or a tag; with a message the tag is annotated."""

    project: str
    tag: str
    ref: str
    message: str = ""


@verb("delete-tag")
@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTag:
    """Remove a tag that is not protected."""

    project: str
    tag: str


@verb("erase-job")
@dataclass(frozen=True, slots=True, kw_only=True)
class EraseJob:
    """Delete what an ended job left: its log and its files. That it ran, and how it ended, stays."""

    run: str
    job: str
