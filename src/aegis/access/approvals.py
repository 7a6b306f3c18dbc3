"""Whether a yes counts: four eyes, roles, expiry, and that the plan is still the one that was looked at.

The only module that makes an `ApprovedPromotion`. It takes values and answers; who asks must have read promotion and
release from the writer's state and append the answer with `expect`, so that two approvals at once cannot both be last.
An approval given earlier counts only as long as it would be given again: its giver still has the role and is not
involved, and the plan is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from aegis.access.identities import Directory, Identity
from aegis.core.errors import Conflict, Denied
from aegis.core.types import Approval, ApprovedPromotion, Promotion, PromotionState, Release


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPolicy:
    """Who must say yes for an environment. Groups may also be ids. `automatic` environments need no person.

    The emergency path has its own groups (none: the ordinary ones), count and shorter time; it still needs another
    person than the author, and a review within `review_within_seconds`.
    """

    environment: str
    required: int = 1
    groups: tuple[str, ...] = ()
    expires_seconds: float = 86400.0
    emergency_required: int = 1
    emergency_groups: tuple[str, ...] = ()
    emergency_expires_seconds: float = 3600.0
    review_within_seconds: float = 86400.0
    automatic: bool = False

    def groups_for(self, promotion: Promotion) -> tuple[str, ...]:
        """Those of whom somebody must say yes."""
        return (self.emergency_groups or self.groups) if promotion.emergency else self.groups

    def required_for(self, promotion: Promotion) -> int:
        """How many different people must say yes: at least one, whatever was declared."""
        return max(1, self.emergency_required if promotion.emergency else self.required)

    def expiry(self, promotion: Promotion) -> datetime | None:
        """When a promotion can no longer be approved: the earlier of what it and the policy say; None: unknown."""
        ends = [promotion.expires_at] if promotion.expires_at is not None else []
        if promotion.requested_at is not None:
            seconds = self.emergency_expires_seconds if promotion.emergency else self.expires_seconds
            ends.append(promotion.requested_at + timedelta(seconds=seconds))
        return min(ends, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A yes that counts. `approved` is there when nothing more is needed; `missing` is how many are else."""

    approval: Approval
    approved: ApprovedPromotion | None
    missing: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing more is needed."""
        return self.approved is not None


def decide(
    promotion: Promotion,
    release: Release,
    approver: str,
    *,
    directory: Directory,
    policy: ApprovalPolicy,
    current_plan_hash: str,
    now: datetime,
    comment: str = "",
) -> Granted:
    """What `approver`'s yes to `promotion` comes to; `current_plan_hash` is that of the plan as it would be made now.

    Raises, in this order: `Conflict` `already-decided`, `approval-expired`, `plan-stale`; `Denied` `wrong-policy`,
    `unmapped-author`, `not-an-approver`, `self-approval`; `Conflict` `twice`.
    """
    _check_open(promotion, policy, current_plan_hash, now)
    _check_authors(promotion, release)
    person = _approver(approver, promotion, directory, policy)
    _check_eyes(person.id, promotion, release)
    counting = _counting(promotion, release, directory, policy)
    if any(one.by == person.id for one in counting):
        raise Conflict("twice", f"{person.id} has approved this already", hint="another person has to say yes as well")
    role = next((name for name in policy.groups_for(promotion) if person.within((name,))), person.id)
    approval = Approval(by=person.id, role=role, granted=True, plan_hash=promotion.plan_hash, at=now, comment=comment)
    counting = (*counting, approval)
    missing = policy.required_for(promotion) - len(counting)
    if missing > 0:
        return Granted(approval=approval, approved=None, missing=missing)
    approved = replace(promotion, state=PromotionState.APPROVED, approvals=(*promotion.approvals, approval))
    return Granted(approval=approval, approved=_approved(approved, counting))


def reject(
    promotion: Promotion,
    release: Release,
    person: str,
    *,
    directory: Directory,
    policy: ApprovalPolicy,
    now: datetime,
    comment: str = "",
) -> Approval:
    """A no. Approvers may say it, and whoever asked for it or is involved may withdraw.

    `Conflict` `already-decided` when it is committed or over; an approved one can still be stopped.
    """
    if promotion.state not in (PromotionState.PROPOSED, PromotionState.APPROVED):
        raise _decided(promotion)
    found = directory.by_id(person)
    named = found is not None and not found.robot and found.within((*policy.groups, *policy.emergency_groups))
    if found is None or not (named or found.id == promotion.requested_by or found.id in release.involved):
        raise Denied(
            "not-an-approver",
            f"{person} can neither approve {promotion.environment} nor withdraw what others asked for",
            hint=f"ask one of: {_people(directory, policy.groups)}",
        )
    role = next((name for name in policy.groups_for(promotion) if found.within((name,))), "requester")
    return Approval(by=person, role=role, granted=False, plan_hash=promotion.plan_hash, at=now, comment=comment)


def automatic(promotion: Promotion, policy: ApprovalPolicy) -> ApprovedPromotion:
    """The yes of a policy that needs no person, given as `policy:<environment>` when the promotion was asked for.

    It is the last of `promotion.approvals`.
    `Conflict` `already-decided`; `Denied` `needs-approval` where a person has to say yes.
    """
    if promotion.state is not PromotionState.PROPOSED:
        raise _decided(promotion)
    _check_policy(promotion, policy)
    if not policy.automatic:
        raise Denied(
            "needs-approval",
            f"{promotion.environment} needs the approval of a person",
            hint=f"one of {', '.join(policy.groups) or 'nobody: declare approval groups'} has to approve {promotion.id}",
        )
    if promotion.requested_at is None:
        raise Conflict(
            "approval-expired", f"it is not known when {promotion.id} was asked for", hint="ask for it again"
        )
    approval = Approval(
        by=f"policy:{policy.environment}",
        role="policy",
        granted=True,
        plan_hash=promotion.plan_hash,
        at=promotion.requested_at,
    )
    approved = replace(promotion, state=PromotionState.APPROVED, approvals=(*promotion.approvals, approval))
    return _approved(approved, (approval,))


def reaffirm(
    promotion: Promotion,
    release: Release,
    *,
    directory: Directory,
    policy: ApprovalPolicy,
    current_plan_hash: str,
    now: datetime,
) -> ApprovedPromotion:
    """The approved promotion of one that the ledger says was approved, judged again before it is carried out.

    Time may have passed since: `Conflict` `plan-stale` or `approval-expired`, and `Denied` as `decide` says; `Denied`
    `needs-approval` where those that still count are not enough.
    """
    if promotion.state is not PromotionState.APPROVED:
        raise _decided(promotion)
    _check_open(replace(promotion, state=PromotionState.PROPOSED), policy, current_plan_hash, now)
    if policy.automatic:
        by_policy = tuple(
            one for one in promotion.approvals if one.by == f"policy:{policy.environment}" and one.granted
        )
        if any(one.plan_hash == promotion.plan_hash for one in by_policy):
            return _approved(promotion, by_policy)
    _check_authors(promotion, release)
    counting = _counting(promotion, release, directory, policy)
    missing = policy.required_for(promotion) - len(counting)
    if missing > 0:
        raise Denied(
            "needs-approval",
            f"{missing} of the approvals of {promotion.id} no longer count: role, plan or involvement has changed",
            hint="ask for it again",
        )
    return _approved(promotion, counting)


def review_due(approved_at: datetime, policy: ApprovalPolicy) -> datetime:
    """By when an emergency promotion must have been reviewed."""
    return approved_at + timedelta(seconds=policy.review_within_seconds)


def check_review(
    promotion: Promotion, release: Release, reviewer: str, *, directory: Directory, policy: ApprovalPolicy
) -> None:
    """`Denied` unless `reviewer` may review an emergency: an ordinary approver who had no part in it."""
    person = directory.by_id(reviewer)
    if person is None or person.robot or not person.within(policy.groups):
        raise Denied("not-an-approver", f"{reviewer} is not among those who review {promotion.environment}")
    if any(one.by == reviewer and one.granted for one in promotion.approvals):
        raise Denied("self-approval", f"{reviewer} approved it; another person reviews it")
    _check_eyes(reviewer, promotion, release)


# -- the parts --------------------------------------------------------------------------------------------


def _approved(promotion: Promotion, counting: tuple[Approval, ...]) -> ApprovedPromotion:
    return ApprovedPromotion(
        promotion=promotion,
        approved_by=tuple(one.by for one in counting),
        review_required=promotion.emergency and not counting[0].by.startswith("policy:"),
    )


def _check_open(promotion: Promotion, policy: ApprovalPolicy, current_plan_hash: str, now: datetime) -> None:
    if promotion.state is not PromotionState.PROPOSED:
        raise _decided(promotion)
    again = f"aegis promote {promotion.service} {promotion.environment}"
    ends = policy.expiry(promotion)
    if ends is None or ends <= now:
        since = f"since {ends.isoformat(timespec='seconds')}" if ends else "because nobody knows when it was asked for"
        raise Conflict(
            "approval-expired", f"{promotion.id} can no longer be approved {since}", hint=f"ask for it again: {again}"
        )
    if promotion.plan_hash != current_plan_hash:
        raise Conflict(
            "plan-stale",
            f"what {promotion.id} would change is no longer what was shown: {_short(promotion.plan_hash)} was planned, "
            f"now it would be {_short(current_plan_hash)}",
            hint=f"look at the new difference: {again}",
        )
    _check_policy(promotion, policy)


def _check_policy(promotion: Promotion, policy: ApprovalPolicy) -> None:
    if policy.environment != promotion.environment:
        raise Denied(
            "wrong-policy", f"the policy of {policy.environment} does not decide about {promotion.environment}"
        )


def _check_authors(promotion: Promotion, release: Release) -> None:
    if release.id != promotion.release:
        raise Denied("wrong-release", f"{promotion.id} is about {promotion.release}, not about {release.id}")
    if release.unmapped:
        raise Denied(
            "unmapped-author",
            f"{release.id} holds commits of {', '.join(release.unmapped)}, whom the declaration maps to nobody",
            hint="add the address to the e-mails of the identity whose it is, then ask for the release again",
        )


def _approver(name: str, promotion: Promotion, directory: Directory, policy: ApprovalPolicy) -> Identity:
    groups = policy.groups_for(promotion)
    person = directory.by_id(name)
    if person is None or person.robot or not person.within(groups):
        why = "a robot" if person is not None and person.robot else "not in " + (", ".join(groups) or "any group")
        raise Denied(
            "not-an-approver",
            f"{name} cannot approve {promotion.environment}: {why}",
            hint=f"ask one of: {_people(directory, groups)}",
        )
    return person


def _check_eyes(name: str, promotion: Promotion, release: Release) -> None:
    if name in release.involved:
        raise Denied(
            "self-approval",
            f"{name} pushed or merged something in {release.id} and cannot approve it",
            hint="another person has to look at it",
        )
    if name == promotion.requested_by:
        raise Denied(
            "self-approval",
            f"{name} asked for {promotion.id} and cannot approve it",
            hint="another person has to look at it",
        )


def _counting(
    promotion: Promotion, release: Release, directory: Directory, policy: ApprovalPolicy
) -> tuple[Approval, ...]:
    """The approvals already given that would be given again, one per person."""
    found: dict[str, Approval] = {}
    for one in promotion.approvals:
        person = directory.by_id(one.by)
        stands = one.granted and one.plan_hash == promotion.plan_hash and person is not None and not person.robot
        named = stands and person is not None and person.within(policy.groups_for(promotion))
        if named and one.by not in release.involved and one.by != promotion.requested_by:
            found.setdefault(one.by, one)
    return tuple(found.values())


def _decided(promotion: Promotion) -> Conflict:
    return Conflict(
        "already-decided",
        f"{promotion.id} is {promotion.state.value} already",
        hint=f"look at it: aegis status {promotion.service}",
    )


def _people(directory: Directory, groups: tuple[str, ...]) -> str:
    return ", ".join(one.id for one in directory.members(groups) if not one.robot) or "nobody is declared"


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
