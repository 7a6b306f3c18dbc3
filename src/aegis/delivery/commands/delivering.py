"""Commands about what is deployed where: promotions, deployments, rollouts."""

from __future__ import annotations

from dataclasses import dataclass

from aegis.delivery.commands.verbs import verb

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
