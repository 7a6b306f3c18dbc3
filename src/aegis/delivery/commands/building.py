"""Commands about changes: runs, verdicts, releases, merge requests, and commits made through an API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from aegis.delivery.commands.verbs import verb

# -- runs -------------------------------------------------------------------------------------------------


@verb("start-run", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun:
    """Compile the pipeline of a change and queue its jobs."""

    change: str


@verb("run")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunPipeline:
    """Start a pipeline for a branch or commit of a project."""

    project: str
    ref: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


@verb("run-schedule", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class RunSchedule:
    """Start a declared schedule's pipeline for the moment at which it was due."""

    project: str
    name: str
    due: datetime


@verb("cancel")
@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRun:
    """Stop a run; finished jobs keep their results."""

    run: str
    reason: str = ""


@verb("retry")
@dataclass(frozen=True, slots=True, kw_only=True)
class RetryJob:
    """Run a failed job again (without `job`: all failed ones)."""

    run: str
    job: str = ""


@verb("cancel-job")
@dataclass(frozen=True, slots=True, kw_only=True)
class CancelJob:
    """Stop one job of a run."""

    run: str
    job: str
    reason: str = ""


@verb("keep-artifacts")
@dataclass(frozen=True, slots=True, kw_only=True)
class KeepArtifacts:
    """Let the files of a job stay beyond their time (`artifacts:expire_in`)."""

    run: str
    job: str


@verb("erase-artifacts")
@dataclass(frozen=True, slots=True, kw_only=True)
class EraseArtifacts:
    """Delete the files of a job at once; its log stays."""

    run: str
    job: str


@verb("play")
@dataclass(frozen=True, slots=True, kw_only=True)
class PlayJob:
    """Start a manual job, with variables of its own where wanted."""

    run: str
    job: str
    variables: Mapping[str, str] = field(default_factory=dict)


@verb("start-downstream", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class StartDownstream:
    """Start the pipeline that a trigger job asks for."""

    run: str
    job: str


@verb("publish-pages", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class PublishPages:
    """Serve what a job with `pages` left."""

    run: str
    job: str


@verb("restore-pages")
@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePages:
    """Serve an earlier deployment of a project's pages again, by the id of the job that left it."""

    project: str
    deployment: str


@verb("remove-pages")
@dataclass(frozen=True, slots=True, kw_only=True)
class RemovePages:
    """Serve nothing of a project's pages any more."""

    project: str


@verb("resume-upstream", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeUpstream:
    """Let the trigger job of a run that goes on wait for it again."""

    run: str


@verb("conclude-downstream", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class ConcludeDownstream:
    """Tell the trigger job that waits for a run that it has ended."""

    run: str


@verb("cancel-downstream", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class CancelDownstream:
    """Cancel the runs that a canceled run, or a canceled trigger job, has started."""

    run: str


@verb("supersede", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class SupersedeRuns:
    """Cancel what a newer run makes redundant of older ones of the same branch."""

    run: str


@verb("stop-environment")
@dataclass(frozen=True, slots=True, kw_only=True)
class StopEnvironment:
    """Stop an environment that a job has deployed, by its stop job where it has one."""

    project: str
    environment: str
    reason: str = ""


@verb("stop-abandoned", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class StopAbandoned:
    """Stop the environments of a branch that is gone, or of a merge request that has ended."""

    project: str
    ref: str


@verb("publish-release", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRelease:
    """Make the tag and the release that a job of a run asks for."""

    run: str
    job: str


# -- verdicts and releases --------------------------------------------------------------------------------


@verb("judge-run", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRun:
    """Sign the claims of a finished run and judge them."""

    run: str


@verb("cut-release", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class CutRelease:
    """Release what a passing run of a release-feeding branch has built."""

    run: str


@verb("note-merge-request", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class NoteMergeRequest:
    """Bring the one note of a merge request up to date."""

    run: str


# -- merge requests ---------------------------------------------------------------------------------------


@verb("open-merge-request")
@dataclass(frozen=True, slots=True, kw_only=True)
class OpenMergeRequest:
    """Ask for a branch to be merged into another."""

    project: str
    source: str
    target: str = ""
    title: str = ""
    description: str = ""


@verb("refresh-merge-requests", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshMergeRequests:
    """Take note that a source branch has moved."""

    change: str


@verb("merge")
@dataclass(frozen=True, slots=True, kw_only=True)
class MergeMergeRequest:
    """Merge a merge request whose head has passed."""

    project: str
    number: int


@verb("close")
@dataclass(frozen=True, slots=True, kw_only=True)
class CloseMergeRequest:
    """Close a merge request without merging."""

    project: str
    number: int


# -- sources ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAction:
    """One file of a commit: `create`, `update`, `delete` or `move` (from `previous`). `encoding` is text or base64."""

    action: str
    path: str
    content: str = ""
    previous: str = ""
    encoding: str = "text"


@verb("commit-files")
@dataclass(frozen=True, slots=True, kw_only=True)
class CommitFiles:
    """Write a commit on a branch; `start` is the branch that a new one begins at."""

    project: str
    branch: str
    message: str
    actions: tuple[FileAction, ...]
    start: str = ""


@verb("create-branch")
@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBranch:
    """Make a branch at another one, a tag or a commit."""

    project: str
    branch: str
    ref: str


@verb("delete-branch")
@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteBranch:
    """Remove a branch that is not protected."""

    project: str
    branch: str
