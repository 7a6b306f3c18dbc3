"""Promotions: planned, approved by policy or people, committed to the GitOps repository. Decided on the writer's state."""

from __future__ import annotations

from dataclasses import replace

from aegis.access import approvals
from aegis.core import events
from aegis.core.errors import AegisError, Conflict, Denied, NotFound, UserError
from aegis.core.events import Draft
from aegis.core.types import Promotion, PromotionState, Release
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import SYSTEM, Asking, handles
from aegis.delivery.handlers import manifests, rescans, trust
from aegis.delivery.options import EnvironmentOptions
from aegis.delivery.queries.entries import PromotionEntry
from aegis.delivery.views import Result
from aegis.gitops import promote as gitops


def promotion_of(context: Context, promotion_id: str) -> PromotionEntry:
    """A promotion from the writer's state."""
    entry = PromotionEntry.fold(context.subject(f"promotion/{promotion_id}"))
    if entry is None:
        raise NotFound("no-such-promotion", f"there is no promotion {promotion_id!r}", hint="`aegis status` lists them")
    return entry


def release_of(context: Context, release_id: str) -> Release:
    """A release from the writer's state."""
    for record in context.subject(f"release/{release_id}"):
        if isinstance(record.data, events.ReleaseCreated):
            return replace(record.data.release, at=record.recorded_at)
    raise NotFound("no-such-release", f"there is no release {release_id!r}", hint="aegis release list")


def draft(promotion: Promotion, data: object, asking: Asking) -> Draft:
    """An event on a promotion's subject."""
    return Draft(
        subject=f"promotion/{promotion.id}",
        data=data,
        actor=asking.actor.id,
        service=promotion.service,
        environment=promotion.environment,
        cause=asking.cause,
    )


# -- proposing --------------------------------------------------------------------------------------------


@handles(ask.ProposePromotion)
def propose_due(context: Context, command: ask.ProposePromotion, asking: Asking) -> Result:
    """Propose a release wherever the declaration lets it go by itself."""
    release = release_of(context, command.release)
    if release.image is None:
        return Result(seq=context.ledger.head().seq, message="a library is published, not deployed")
    seq = context.ledger.head().seq
    places: list[str] = []
    for environment in context.options.environments.values():
        if not _due(context, release, environment):
            continue
        result = propose(context, release, environment, asking, promotion_id=f"{release.id}-{environment.name}")
        seq, places = max(seq, result.seq), [*places, environment.name]
    return Result(seq=seq, message=f"proposed for {', '.join(places)}" if places else "nothing is due")


def _due(context: Context, release: Release, environment: EnvironmentOptions) -> bool:
    branch = release.ref.removeprefix("refs/heads/")
    if environment.branch is not None:
        return environment.branch == branch
    if not environment.propose or environment.source is None:
        return False
    there = manifests.placed(context, release.service, environment.source)
    if there is None or there.release != release.id:
        return False
    return all(kind in verified_kinds(context, release.id, environment.source) for kind in environment.requires)


def verified_kinds(context: Context, release: str, environment: str) -> frozenset[str]:
    """The kinds of verification that a release has passed in an environment; the latest result of each counts."""
    results: dict[str, bool] = {}
    for record in context.subject(f"release/{release}"):
        if isinstance(record.data, events.EvidenceRecorded):
            claim = record.data.evidence
            if claim.summary.get("environment") == environment:
                results[claim.kind] = claim.summary.get("result") == "pass"
    return frozenset(kind for kind, passed in results.items() if passed)


def propose(
    context: Context,
    release: Release,
    environment: EnvironmentOptions,
    asking: Asking,
    *,
    promotion_id: str,
    emergency: bool = False,
    rollback: bool = False,
    reason: str = "",
) -> Result:
    """Plan and propose; the same id proposes once. Older waiting proposals of the same place are superseded."""
    subject = f"promotion/{promotion_id}"
    if context.subject(subject):
        return Result(seq=context.ledger.head().seq, message="already proposed", subject=subject)
    trust.deployable(context, release)
    if not rollback:  # what was there before may be worse than what is left, and only a person can weigh that
        rescans.permitted(context, release)
    planned = manifests.plan(context, release, environment.name, promotion_id)
    if planned.previous == release.id:
        return Result(seq=context.ledger.head().seq, message=f"{release.id} is there already", subject=subject)
    promotion = Promotion(
        id=promotion_id,
        service=release.service,
        environment=environment.name,
        release=release.id,
        previous=planned.previous,
        plan_hash=planned.plan_hash,
        base=planned.base,
        diff=planned.diff,
        requested_by=asking.actor.id,
        emergency=emergency,
        rollback=rollback,
        reason=reason,
    )
    if asking.dry_run:
        return Result(
            seq=0, message=planned.diff, subject=subject, values={"plan_hash": planned.plan_hash}, dry_run=True
        )
    drafts = [draft(promotion, events.PromotionProposed(promotion=promotion), asking)]
    expect = {subject: 0}
    for older in _waiting(context, promotion):
        message = f"{release.id} was proposed after it"
        drafts.append(draft(older.promotion, events.PromotionVoided(why="superseded", message=message), asking))
        expect[f"promotion/{older.promotion.id}"] = older.version
    seq = context.append(*drafts, expect=expect)
    return Result(
        seq=seq,
        message=f"{release.id} is proposed for {environment.name}",
        subject=subject,
        values={"promotion": promotion_id, "plan_hash": planned.plan_hash, "diff": planned.diff},
    )


def _waiting(context: Context, new: Promotion) -> list[PromotionEntry]:
    found = []
    for promotion_id in manifests.promotions_at(context, new.service, new.environment):
        entry = promotion_of(context, promotion_id)
        if entry.promotion.state is PromotionState.PROPOSED and promotion_id != new.id and not new.rollback:
            found.append(entry)
    return found


@handles(ask.Promote)
def promote(context: Context, command: ask.Promote, asking: Asking) -> Result:
    """Ask for a release in an environment; without one, what its source environment runs."""
    context.options.service(command.service)
    environment = context.options.environment(command.environment)
    context.authorise(
        asking.actor, "promote", kind="environment", service=command.service, environment=environment.name
    )
    release_id = command.release
    if not release_id:
        there = manifests.placed(context, command.service, environment.source) if environment.source else None
        if there is None:
            raise UserError("release-needed", "say which release", hint=f"aegis release list {command.service}")
        release_id = there.release
    elif "@" not in release_id:
        release_id = f"{command.service}@{release_id}"
    release = release_of(context, release_id)
    if command.emergency and not command.reason:
        raise UserError("reason-needed", "an emergency needs a reason", hint="--reason 'what is broken'")
    return propose(
        context, release, environment, asking,
        promotion_id=context.new_id(), emergency=command.emergency, reason=command.reason,
    )  # fmt: skip


@handles(ask.RollBack)
def roll_back(context: Context, command: ask.RollBack, asking: Asking) -> Result:
    """Return an environment to an earlier release. A release that ran there before needs no new approval."""
    context.options.service(command.service)
    environment = context.options.environment(command.environment)
    context.authorise(
        asking.actor, "rollback", kind="environment", service=command.service, environment=environment.name
    )
    earlier = manifests.history(context, command.service, environment.name)
    wanted = (
        command.release if "@" in command.release or not command.release else f"{command.service}@{command.release}"
    )
    release_id = wanted or (earlier[1] if len(earlier) > 1 else "")
    if release_id not in earlier:
        raise UserError(
            "never-ran-here",
            f"{release_id or 'nothing'} never ran in {environment.name}",
            hint=f"earlier there: {', '.join(earlier[1:]) or 'nothing'}",
        )
    return propose(
        context, release_of(context, release_id), environment, asking,
        promotion_id=context.new_id(), rollback=True, reason=command.reason or f"rollback asked for by {asking.actor.id}",
    )  # fmt: skip


# -- deciding ---------------------------------------------------------------------------------------------


@handles(ask.DecideAutomatically)
def decide_automatically(context: Context, command: ask.DecideAutomatically, asking: Asking) -> Result:
    """Approve by policy where no person is needed: automatic environments, and returns to what ran there."""
    entry = promotion_of(context, command.promotion)
    promotion = entry.promotion
    policy = policy_for(context, promotion)
    if promotion.state is not PromotionState.PROPOSED or not policy.automatic:
        return Result(seq=context.ledger.head().seq, message="a person decides")
    approved = approvals.automatic(promotion, policy)
    approval = approved.promotion.approvals[-1]
    decided = draft(promotion, events.PromotionApproved(approval=approval, complete=True), asking)
    seq = context.append(decided, expect={f"promotion/{promotion.id}": entry.version})
    return Result(seq=seq, message=f"approved by {approval.by}", subject=decided.subject)


def policy_for(context: Context, promotion: Promotion) -> approvals.ApprovalPolicy:
    """Who decides. A return to what ran there before was approved when it went there first, so policy decides."""
    policy = context.options.environment(promotion.environment).approval
    return replace(policy, automatic=policy.automatic or promotion.rollback)


@handles(ask.ApprovePromotion)
def approve(context: Context, command: ask.ApprovePromotion, asking: Asking) -> Result:
    """A person's yes to one plan. A yes that does not count is written down with its reason."""
    entry = promotion_of(context, command.promotion)
    promotion = entry.promotion
    _authorise(context, "approve", promotion, asking)
    release = release_of(context, promotion.release)
    planned = manifests.plan(context, release, promotion.environment, promotion.id)
    current = planned.plan_hash
    if command.plan_hash and command.plan_hash != promotion.plan_hash:
        current = "another"
    try:
        granted = approvals.decide(
            promotion,
            release,
            asking.actor.id,
            directory=context.adopted.directory,
            policy=policy_for(context, promotion),
            current_plan_hash=current,
            now=context.clock.now(),
            comment=command.comment,
        )
    except (Denied, Conflict) as refused:
        if not asking.dry_run:
            refusal = events.ApprovalRefused(by=asking.actor.id, code=refused.code, message=refused.message)
            drafts = [draft(promotion, refusal, asking)]
            if refused.code == "plan-stale" and planned.plan_hash != promotion.plan_hash:
                drafts.append(draft(promotion, events.PromotionVoided(why="stale", message=refused.message), asking))
            context.append(*drafts)
        raise
    if asking.dry_run:
        return Result(seq=0, message="this approval would count", subject=f"promotion/{promotion.id}", dry_run=True)
    complete = granted.approved is not None
    event = events.PromotionApproved(
        approval=granted.approval,
        complete=complete,
        review_required=granted.approved is not None and granted.approved.review_required,
    )
    seq = context.append(draft(promotion, event, asking), expect={f"promotion/{promotion.id}": entry.version})
    missing = "" if complete else "; more approvals are needed"
    return Result(seq=seq, message=f"approved by {asking.actor.id}{missing}", subject=f"promotion/{promotion.id}")


@handles(ask.RejectPromotion)
def reject(context: Context, command: ask.RejectPromotion, asking: Asking) -> Result:
    """A person's no."""
    entry = promotion_of(context, command.promotion)
    promotion = entry.promotion
    _authorise(context, "reject", promotion, asking)
    approval = approvals.reject(
        promotion,
        release_of(context, promotion.release),
        asking.actor.id,
        directory=context.adopted.directory,
        policy=policy_for(context, promotion),
        now=context.clock.now(),
        comment=command.comment,
    )
    if asking.dry_run:
        return Result(seq=0, message="would reject", dry_run=True)
    event = events.PromotionRejected(approval=approval)
    seq = context.append(draft(promotion, event, asking), expect={f"promotion/{promotion.id}": entry.version})
    return Result(seq=seq, message=f"rejected by {asking.actor.id}", subject=f"promotion/{promotion.id}")


@handles(ask.ReviewPromotion)
def review(context: Context, command: ask.ReviewPromotion, asking: Asking) -> Result:
    """Somebody without a part in it looks at an emergency afterwards."""
    entry = promotion_of(context, command.promotion)
    promotion = entry.promotion
    context.authorise(
        asking.actor, "review", kind="environment", service=promotion.service, environment=promotion.environment
    )
    if not entry.review_required:
        raise Conflict("no-review-due", f"promotion {promotion.id} waits for no review")
    approvals.check_review(
        promotion,
        release_of(context, promotion.release),
        asking.actor.id,
        directory=context.adopted.directory,
        policy=context.options.environment(promotion.environment).approval,
    )
    if asking.dry_run:
        return Result(seq=0, message="this review would count", dry_run=True)
    event = events.PromotionReviewed(by=asking.actor.id, comment=command.comment)
    seq = context.append(draft(promotion, event, asking), expect={f"promotion/{promotion.id}": entry.version})
    return Result(seq=seq, message=f"reviewed by {asking.actor.id}", subject=f"promotion/{promotion.id}")


def _authorise(context: Context, verb: str, promotion: Promotion, asking: Asking) -> None:
    context.authorise(
        asking.actor, verb, kind="environment", service=promotion.service, environment=promotion.environment,
        emergency=promotion.emergency,
    )  # fmt: skip


# -- carrying out -----------------------------------------------------------------------------------------


@handles(ask.CommitPromotion)
def commit(context: Context, command: ask.CommitPromotion, asking: Asking) -> Result:
    """Write the approved difference to Git; a plan that no longer holds is voided, a busy place waits."""
    entry = promotion_of(context, command.promotion)
    promotion = entry.promotion
    subject = f"promotion/{promotion.id}"
    if promotion.state is not PromotionState.APPROVED or not entry.complete:
        return Result(seq=context.ledger.head().seq, message=f"is {promotion.state}", subject=subject)
    if any(isinstance(one.data, events.ActionIntended) for one in context.subject(subject)):
        # Interrupted between Git and the ledger: what was committed is not planned again, it would look stale.
        done = manifests.find_commit(context, promotion.id)
        if done is not None:
            return committed(context, promotion, done, asking, found=True)
    busy = [
        one for one in manifests.promotions_at(context, promotion.service, promotion.environment) if one != promotion.id
    ]
    for other in busy:
        if promotion_of(context, other).promotion.state is PromotionState.COMMITTED:
            return Result(seq=context.ledger.head().seq, message=f"waits for {other}", subject=subject)
    release = release_of(context, promotion.release)
    try:
        trust.deployable(context, release)
        if not promotion.rollback:
            rescans.permitted(context, release)
        planned = manifests.plan(context, release, promotion.environment, promotion.id)
        approved = approvals.reaffirm(
            promotion,
            release,
            directory=context.adopted.directory,
            policy=policy_for(context, promotion),
            current_plan_hash=planned.plan_hash,
            now=context.clock.now(),
        )
        request = gitops.carry_out(approved, planned)
    except (Conflict, Denied) as stale:
        voided = events.PromotionVoided(why="stale", message=stale.message)
        seq = context.append(draft(promotion, voided, asking), expect={subject: entry.version})
        return Result(seq=seq, message=stale.message, subject=subject)
    return _write(context, entry, planned.base, request, asking)


def _write(context: Context, entry: PromotionEntry, base: str, request: gitops.CommitRequest, asking: Asking) -> Result:
    promotion = entry.promotion
    subject = f"promotion/{promotion.id}"
    intent = events.ActionIntended(
        key=promotion.id, port="gitops", action="commit", detail={"base": base, "release": promotion.release}
    )
    context.append(draft(promotion, intent, asking), expect={subject: entry.version})
    try:
        done = manifests.write(context, request, base)
    except AegisError as error:
        failed = events.ActionFailed(key=promotion.id, code=error.code, message=error.message, hint=error.hint)
        context.append(draft(promotion, failed, asking))
        raise
    return committed(context, promotion, done, asking, found=False)


def committed(context: Context, promotion: Promotion, done: str, asking: Asking, *, found: bool) -> Result:
    """Write down that the difference is on the branch."""
    seq = context.append(
        draft(promotion, events.ActionCompleted(key=promotion.id, result=done, found=found), asking),
        draft(promotion, events.PromotionCommitted(commit=done, release=promotion.release), asking),
    )
    return Result(seq=seq, message=f"committed {done[:12]}", subject=f"promotion/{promotion.id}")


@handles(ask.ResumePromotions)
def resume(context: Context, command: ask.ResumePromotions, asking: Asking) -> Result:
    """Take up what was approved while its place was busy."""
    seq = context.ledger.head().seq
    for promotion_id in manifests.promotions_at(context, command.service, command.environment):
        entry = promotion_of(context, promotion_id)
        if entry.promotion.state is PromotionState.APPROVED and entry.complete:
            seq = commit(
                context, ask.CommitPromotion(promotion=promotion_id), Asking(actor=SYSTEM, cause=asking.cause)
            ).seq
    return Result(seq=seq, message="resumed")
