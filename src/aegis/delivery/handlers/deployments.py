"""Deployments: what the cluster shows of a promotion, and what follows from it."""

from __future__ import annotations

from aegis.core import events
from aegis.core.errors import Conflict, NotFound
from aegis.core.events import Draft, Record
from aegis.core.types import Deployment, DeploymentState, Promotion, PromotionState, Rollout, Workload
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.handlers import manifests, trust
from aegis.delivery.handlers.promotions import draft, promotion_of, release_of
from aegis.delivery.views import Result
from aegis.gitops import overlay
from aegis.gitops import promote as gitops


def deployment_of(context: Context, deployment_id: str) -> tuple[Deployment, int]:
    """The latest observation of a deployment and its subject's version."""
    records = [
        one for one in context.subject(f"deployment/{deployment_id}") if isinstance(one.data, events.DeploymentObserved)
    ]
    if not records:
        raise NotFound("no-such-deployment", f"there is no deployment {deployment_id!r}")
    return _deployment(records[-1]), records[-1].subject_version


def _deployment(record: Record) -> Deployment:
    assert isinstance(record.data, events.DeploymentObserved)  # noqa: S101 - filtered by the caller
    return record.data.deployment


def observed(context: Context, deployment: Deployment, asking: Asking, *, expect: int | None = None) -> int:
    """Write down a new state of a deployment."""
    subject = f"deployment/{deployment.id}"
    record = Draft(
        subject=subject,
        data=events.DeploymentObserved(deployment=deployment),
        actor=asking.actor.id,
        service=deployment.service,
        environment=deployment.environment,
        cause=asking.cause,
    )
    return context.append(record, expect=None if expect is None else {subject: expect})


@handles(ask.SyncEnvironment)
def sync(context: Context, command: ask.SyncEnvironment, asking: Asking) -> Result:
    """Ask for what the branch says; a deployment has its promotion's id."""
    commit, wanted = manifests.rendered(context, command.service, command.environment)
    environment = context.options.environment(command.environment)
    key = f"{command.promotion}:{commit}" if command.promotion else f"{command.service}:{command.environment}:{commit}"
    seq = context.ledger.head().seq
    if command.promotion:
        entry = promotion_of(context, command.promotion)
        if entry.promotion.state is not PromotionState.COMMITTED:
            return Result(seq=seq, message=f"{command.promotion} is {entry.promotion.state}")
        deployment = Deployment(
            id=command.promotion,
            promotion=command.promotion,
            service=command.service,
            environment=command.environment,
            release=entry.promotion.release,
            commit=commit,
            state=DeploymentState.COMMITTED,
            reason=_why(context, entry.promotion),
        )
        if not context.subject(f"deployment/{deployment.id}"):
            seq = observed(context, deployment, asking, expect=0)
    context.sync.request(
        command.service,
        command.environment,
        namespace=environment.namespace,
        commit=commit,
        manifests=wanted,
        key=key,
    )
    return Result(seq=seq, message=f"syncing {commit[:12]}")


def _why(context: Context, promotion: Promotion) -> str:
    """Why a release is where it is, for people: who brought it about, and who let it pass."""
    release = release_of(context, promotion.release)
    branch = release.ref.removeprefix("refs/heads/")
    people = [one.by for one in promotion.approvals if not one.by.startswith("policy:")]
    cause = promotion.reason or f"{', '.join(release.involved) or 'somebody'} changed {branch}"
    return f"{cause}; approved by {', '.join(people)}" if people else cause


@handles(ask.ConcludeDeployment)
def conclude(context: Context, command: ask.ConcludeDeployment, asking: Asking) -> Result:
    """A healthy deployment takes traffic, at once or step by step; a degraded one goes back by a commit."""
    deployment, _ = deployment_of(context, command.deployment)
    entry = promotion_of(context, deployment.promotion)
    promotion = entry.promotion
    if promotion.state is not PromotionState.COMMITTED:
        return Result(seq=context.ledger.head().seq, message=f"promotion is {promotion.state}")
    if deployment.state is DeploymentState.DEGRADED:
        return revert(context, promotion, f"not healthy: {deployment.reason}", asking)
    strategy = context.options.strategy(promotion.service, promotion.environment)
    if strategy.kind != "rolling" and promotion.previous and not promotion.rollback:
        return _begin_rollout(context, promotion, asking)
    settle(context, promotion.service, promotion.environment, promotion.release)
    finished = events.PromotionFinished(ok=True, reason=deployment.reason)
    seq = context.append(draft(promotion, finished, asking), expect={f"promotion/{promotion.id}": entry.version})
    return Result(seq=seq, message=f"{promotion.release} runs in {promotion.environment}")


def _begin_rollout(context: Context, promotion: Promotion, asking: Asking) -> Result:
    subject = f"rollout/{promotion.id}"
    if context.subject(subject):
        return Result(seq=context.ledger.head().seq, message="already rolling out", subject=subject)
    strategy = context.options.strategy(promotion.service, promotion.environment)
    rollout = Rollout(
        id=promotion.id,
        deployment=promotion.id,
        service=promotion.service,
        environment=promotion.environment,
        release=promotion.release,
        previous=promotion.previous,
        steps=strategy.weights,
    )
    started = Draft(
        subject=subject,
        data=events.RolloutStarted(rollout=rollout),
        actor=asking.actor.id,
        service=promotion.service,
        environment=promotion.environment,
        cause=asking.cause,
    )
    return Result(seq=context.append(started, expect={subject: 0}), message="rolling out", subject=subject)


def workloads(context: Context, service: str, environment: str) -> tuple[Workload, ...]:
    """The versions of a service that the cluster runs in an environment."""
    namespace = context.options.environment(environment).namespace
    return tuple(one for one in context.cluster.observe(namespace) if one.service == service)


def settle(context: Context, service: str, environment: str, release: str) -> None:
    """Give one release all traffic and the service's address, and let every other version end.

    A retryable `Conflict` while the release answers nowhere.
    """
    namespace = context.options.environment(environment).namespace
    running = workloads(context, service, environment)
    chosen = next((one for one in running if one.release == release), None)
    if chosen is None or not chosen.addresses:
        # After a restart of this server a version takes a moment to answer again.
        raise Conflict(
            "not-running", f"{release} does not answer in {environment} yet", hint="aegis logs", retryable=True
        )
    context.traffic.set_weights(service, environment, {release: (chosen.addresses, 100)})
    context.cluster.set_active(namespace, service, release)
    for other in running:
        if other.release != release:
            retire(context, service, environment, other.release)


def retire(context: Context, service: str, environment: str, release: str) -> None:
    """End a version; one that has gone or is active by now is left alone."""
    namespace = context.options.environment(environment).namespace
    try:
        context.cluster.retire(namespace, service, release)
    except (NotFound, Conflict):
        return


def revert(context: Context, promotion: Promotion, reason: str, asking: Asking) -> Result:
    """Return a place to its previous release by a new commit, quarantine what failed, end the promotion."""
    commit, to_release = "", promotion.previous or ""
    release = release_of(context, promotion.release)
    now = manifests.placed(context, promotion.service, promotion.environment)
    if promotion.previous and now is not None and now.release == promotion.release:
        commit = _revert_commit(context, promotion, reason)
    drafts = [
        draft(promotion, events.PromotionFinished(ok=False, reason=reason), asking),
        _rolled_back(promotion, commit, to_release, reason, asking),
    ]
    if release.image is not None and not promotion.rollback:
        drafts.append(trust.quarantined(release, reason, asking))
    version = promotion_of(context, promotion.id).version
    seq = context.append(*drafts, expect={f"promotion/{promotion.id}": version})
    if to_release:
        settle_back(context, promotion, to_release)
        request = ask.SyncEnvironment(service=promotion.service, environment=promotion.environment)
        sync(context, request, asking)
    return Result(seq=seq, message=f"{promotion.environment} returned to {to_release or 'nothing'}: {reason}")


def settle_back(context: Context, promotion: Promotion, release: str) -> None:
    """Send all traffic to the earlier release where it still runs; else the sync starts it again."""
    if any(
        one.release == release and one.addresses for one in workloads(context, promotion.service, promotion.environment)
    ):
        settle(context, promotion.service, promotion.environment, release)


def _revert_commit(context: Context, promotion: Promotion, reason: str) -> str:
    previous = release_of(context, promotion.previous or "")
    base = manifests.tip(context)
    current = manifests.files(context, base, promotion.service)
    try:
        _, request = gitops.revert(
            current,
            base=base,
            spec=context.options.service(promotion.service),
            environment=promotion.environment,
            to=gitops.place(previous, manifests.image_name(context, previous), promotion=promotion.id),
            policy_digest=context.options.policy_digest,
            reason=reason,
        )
    except Conflict:
        return base
    return manifests.write(context, request, base)


def _rolled_back(promotion: Promotion, commit: str, to_release: str, reason: str, asking: Asking) -> Draft:
    return Draft(
        subject=f"environment/{promotion.service}/{promotion.environment}",
        data=events.ServiceRolledBack(
            from_release=promotion.release, to_release=to_release, commit=commit, reason=reason
        ),
        actor=asking.actor.id,
        service=promotion.service,
        environment=promotion.environment,
        cause=asking.cause,
    )


def places(context: Context) -> tuple[tuple[str, str], ...]:
    """Every service and environment that the GitOps repository has a release for."""
    return tuple(
        (service, environment.name)
        for service, spec in context.options.services.items()
        for environment in spec.environments
        if manifests.placed(context, service, environment.name) is not None
    )


def overlay_of(service: str, environment: str) -> str:
    """The folder that is rendered for a place."""
    return overlay.overlay_path(service, environment)
