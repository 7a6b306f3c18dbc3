"""Commands about the server itself: access, remote runners, upkeep."""

from __future__ import annotations

from dataclasses import dataclass

from aegis.delivery.commands.verbs import verb

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


# -- remote runners ---------------------------------------------------------------------------------------


@verb("create-runner")
@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRunner:
    """Let a remote runner ask for jobs; its token is shown once."""

    description: str = ""
    tags: tuple[str, ...] = ()
    run_untagged: bool = False
    protected: bool = False
    paused: bool = False
    locked: bool = False
    projects: tuple[str, ...] = ()
    maximum_timeout: int | None = None
    isolated: bool = False
    note: str = ""


@verb("change-runner")
@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRunner:
    """Change what a remote runner takes, or pause it; what is not named stays."""

    runner: str
    description: str | None = None
    tags: tuple[str, ...] | None = None
    run_untagged: bool | None = None
    protected: bool | None = None
    paused: bool | None = None
    locked: bool | None = None
    projects: tuple[str, ...] | None = None
    maximum_timeout: int | None = None
    isolated: bool | None = None
    note: str | None = None


@verb("remove-runner")
@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRunner:
    """Give a remote runner no more jobs and make its token worthless."""

    runner: str
    reason: str = ""


@verb("reset-runner-token")
@dataclass(frozen=True, slots=True, kw_only=True)
class ResetRunnerToken:
    """Make a new token for a remote runner; the old one is worthless at once."""

    runner: str


@verb("issue-registration-token")
@dataclass(frozen=True, slots=True, kw_only=True)
class IssueRegistrationToken:
    """Make a token with which runners register themselves, as GitLab's old registration tokens do."""

    project: str = ""
    expires_seconds: float = 7 * 86400.0


# -- upkeep -----------------------------------------------------------------------------------------------


@verb("clean-up-registry")
@dataclass(frozen=True, slots=True, kw_only=True)
class CleanUpRegistry:
    """Remove images by the declared policy, and content that nothing needs; a dry run explains each decision."""

    repositories: str = "*"


@verb("clean-up-gitlab-registry")
@dataclass(frozen=True, slots=True, kw_only=True)
class CleanUpGitLabRegistry:
    """Remove what GitLab hosts by the declared policy: images, and packages where declared; a dry run explains."""

    project: str = "*"


@verb("scrub-registry")
@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubRegistry:
    """Read stored content again and find what no longer has its digest; `after` goes on where an answer ended."""

    after: str = ""
    seconds: float = 20.0


@verb("rescan-releases")
@dataclass(frozen=True, slots=True, kw_only=True)
class RescanReleases:
    """Look up in the declared advisories what runs, waits for a promotion, or is a project's newest release."""


@verb("apply-retention")
@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyRetention:
    """Delete logs and files of runs that are past the declared time."""


@verb("yank-package")
@dataclass(frozen=True, slots=True, kw_only=True)
class YankPackage:
    """Keep installers from choosing a file of an index, with a reason; `back` takes that back."""

    index: str
    filename: str
    reason: str = ""
    back: bool = False


@verb("promote-package")
@dataclass(frozen=True, slots=True, kw_only=True)
class PromotePackage:
    """Let a file of one index into another, the same bytes: from a staging index into the one that others install from."""

    source: str
    target: str
    filename: str
