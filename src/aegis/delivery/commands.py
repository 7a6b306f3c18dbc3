"""What may be asked: one registry of verbs for the command line, the API, the portal, chat and the flow.

A command is imperative and frozen. `internal` verbs belong to the flow: no credential from outside carries them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

C = TypeVar("C", bound=type)


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: its command type, one line of help, and whether only the flow may use it."""

    name: str
    command: type
    help: str
    internal: bool = False


VERBS: Final[dict[str, Verb]] = {}
NAMES: Final[dict[type, str]] = {}


def verb(name: str, *, internal: bool = False) -> Callable[[C], C]:
    """Register the decorated command under `name`; its docstring is the help."""

    def register(kind: C) -> C:
        if name in VERBS:
            raise ValueError(f"verb {name} is registered twice")
        VERBS[name] = Verb(name, kind, (kind.__doc__ or "").strip().splitlines()[0], internal)
        NAMES[kind] = name
        return kind

    return register


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


# -- promotions -------------------------------------------------------------------------------------------


@verb("propose-promotion", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class ProposePromotion:
    """Plan a release's way into every environment that is due to get it by itself."""

    release: str


@verb("promote")
@dataclass(frozen=True, slots=True, kw_only=True)
class Promote:
    """Ask for a release in an environment."""

    service: str
    environment: str
    release: str = ""
    emergency: bool = False
    reason: str = ""


@verb("rollback")
@dataclass(frozen=True, slots=True, kw_only=True)
class RollBack:
    """Return an environment to its previous (or a named earlier) release."""

    service: str
    environment: str
    release: str = ""
    reason: str = ""


@verb("approve")
@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovePromotion:
    """Approve exactly the difference that `plan_hash` names (empty: the promotion's present one)."""

    promotion: str
    plan_hash: str = ""
    comment: str = ""


@verb("reject")
@dataclass(frozen=True, slots=True, kw_only=True)
class RejectPromotion:
    """Say no to a promotion."""

    promotion: str
    comment: str = ""


@verb("review")
@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPromotion:
    """Review an emergency after the fact, as somebody who had no part in it."""

    promotion: str
    comment: str = ""


@verb("decide-automatically", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class DecideAutomatically:
    """Let policy approve a promotion into an environment that needs no person."""

    promotion: str


@verb("commit-promotion", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class CommitPromotion:
    """Write an approved promotion's difference to the GitOps repository."""

    promotion: str


@verb("resume-promotions", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePromotions:
    """Take up approved promotions that waited for a service's earlier one to end."""

    service: str
    environment: str


# -- deployments and rollouts -----------------------------------------------------------------------------


@verb("sync", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class SyncEnvironment:
    """Bring an environment's cluster to what the GitOps repository says."""

    service: str
    environment: str
    promotion: str = ""


@verb("observe-deployment", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class ConcludeDeployment:
    """Go on from what the cluster showed: roll out, verify, or revert."""

    deployment: str


@verb("conclude-rollout", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class ConcludeRollout:
    """Finish what a rollout decided: keep the release, or revert and quarantine it."""

    rollout: str


@verb("verify-environment", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyEnvironment:
    """Run a release's end-to-end tests against an environment."""

    promotion: str


# -- access -----------------------------------------------------------------------------------------------


@verb("issue-token")
@dataclass(frozen=True, slots=True, kw_only=True)
class IssueToken:
    """Make a token for an identity (an administrator for others, everybody for themselves)."""

    identity: str = ""
    purpose: str = ""
    expires_seconds: float = 30 * 86400.0
    kind: str = "user"


@verb("revoke-token")
@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeToken:
    """Make a token worthless at once."""

    token: str
    reason: str = ""


@verb("login-link")
@dataclass(frozen=True, slots=True, kw_only=True)
class MakeLoginLink:
    """Make a link that logs one identity in, once, within ten minutes."""

    identity: str = ""


@verb("create-project")
@dataclass(frozen=True, slots=True, kw_only=True)
class CreateProject:
    """Make an empty repository that the declaration names."""

    project: str


@verb("adopt-policy", internal=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptPolicy:
    """Put the declaration of the platform repository's protected branch in force."""

    change: str
