"""A small team and a promotion to production, for tests that read as the specification."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from aegis.access.approvals import ApprovalPolicy, Granted, decide
from aegis.access.identities import Directory, Identity
from aegis.access.policy import Access, AccessOptions, BranchRule
from aegis.core.types import Promotion, Release

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
PLAN = "sha256:" + "1" * 64


@dataclass(frozen=True, kw_only=True)
class Team:
    """Ana wrote it, Ben merged it, Rita manages releases, Gus is on call, Olga owns the platform."""

    directory: Directory = field(
        default_factory=lambda: Directory(
            [
                Identity(id="ana", name="Ana", emails=("ana@shop.example",)),
                Identity(id="ben", name="Ben", emails=("ben@shop.example",)),
                Identity(id="rita", name="Rita", emails=("rita@shop.example",)),
                Identity(id="gus", name="Gus"),
                Identity(id="olga", name="Olga"),
                Identity(id="robot", name="Updates", robot=True),
            ],
            {
                "developers": ["ana", "ben", "robot"],
                "release-managers": ["rita", "ben"],
                "on-call": ["gus", "ana"],
                "owners": ["olga"],
            },
        )
    )
    production: ApprovalPolicy = field(
        default_factory=lambda: ApprovalPolicy(
            environment="production",
            groups=("release-managers",),
            expires_seconds=24 * 3600,
            emergency_groups=("on-call", "release-managers"),
            emergency_expires_seconds=1800,
        )
    )
    release: Release = field(
        default_factory=lambda: Release(
            id="orders@1.2.0",
            project="shop/orders",
            service="orders",
            version="1.2.0",
            commit="c" * 40,
            ref="main",
            run="r1",
            verdict="v1",
            artifacts=(),
            evidence=(),
            involved=("ana", "ben"),
        )
    )
    promotion: Promotion = field(
        default_factory=lambda: Promotion(
            id="p1",
            service="orders",
            environment="production",
            release="orders@1.2.0",
            previous="orders@1.1.0",
            plan_hash=PLAN,
            base="d" * 40,
            diff="",
            requested_by="aegis",
            requested_at=NOON,
        )
    )

    def access(self) -> Access:
        """The rules in force for this team."""
        return Access(
            self.directory,
            AccessOptions(
                administrators=("owners",),
                developers=("developers",),
                branches=(BranchRule(branch="main", merge=("developers",)),),
                deployers={"*": ("developers",)},
                approvers={"production": ("release-managers",)},
                emergency_approvers={"production": ("on-call",)},
            ),
        )

    def says_yes(self, who: str, *, minutes: float = 5, plan: str = PLAN, emergency: bool = False) -> Granted:
        """What comes of somebody's approval, so long after the request."""
        return decide(
            replace(self.promotion, emergency=emergency),
            self.release,
            who,
            directory=self.directory,
            policy=self.production,
            current_plan_hash=plan,
            now=NOON + timedelta(minutes=minutes),
        )
