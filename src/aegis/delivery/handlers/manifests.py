"""The GitOps repository as handlers use it: what stands where, what a promotion would change, and writing it."""

from __future__ import annotations

from aegis.core import events
from aegis.core.errors import Conflict, NotFound
from aegis.core.ports import Query, Repository
from aegis.core.types import DeploymentState, Release
from aegis.delivery.context import Context
from aegis.gitops import overlay
from aegis.gitops import promote as gitops
from aegis.gitops.manifest import Manifest
from aegis.gitops.overlay import Placed
from aegis.gitops.render import render

BRANCH = "refs/heads/main"
AUTHOR = "Aegis <aegis@localhost>"


def repository(context: Context) -> Repository:
    """The GitOps repository."""
    return context.repository(context.options.gitops_project)


def files(context: Context, commit: str, service: str) -> dict[str, bytes]:
    """A service's part of the repository at a commit."""
    source = repository(context)
    return {entry.path: source.read(commit, entry.path) for entry in source.entries(commit, f"services/{service}")}


def tip(context: Context) -> str:
    """The branch's present commit."""
    return repository(context).resolve(BRANCH)


def image_name(context: Context, release: Release) -> str:
    """The repository a release's image is pulled from: never quarantine."""
    return f"{context.registry}/{release.project}"


def plan(context: Context, release: Release, environment: str, promotion: str) -> gitops.PromotionPlan:
    """What promoting would change now."""
    base = tip(context)
    return gitops.plan(
        files(context, base, release.service),
        base=base,
        spec=context.options.service(release.service),
        environment=environment,
        placed=gitops.place(release, image_name(context, release), promotion=promotion),
        policy_digest=context.options.policy_digest,
    )


def placed(context: Context, service: str, environment: str) -> Placed | None:
    """What the repository says of a place now."""
    return overlay.released(files(context, tip(context), service), service, environment)


def rendered(context: Context, service: str, environment: str) -> tuple[str, tuple[Manifest, ...]]:
    """The branch's commit and the manifests of a place."""
    base = tip(context)
    return base, render(files(context, base, service), overlay.overlay_path(service, environment))


def write(context: Context, request: gitops.CommitRequest, base: str) -> str:
    """Commit on the branch, whose tip must still be `base`; the new commit."""
    return repository(context).commit(BRANCH, request.files, message=request.message, author=AUTHOR, expect=base)


def find_commit(context: Context, promotion: str) -> str | None:
    """The commit that carries a promotion's trailer: how an intent is resolved after an interruption."""
    for info in repository(context).log(BRANCH, limit=200):
        trailers = gitops.trailers(info.message)
        if trailers.get("Aegis-Promotion") == promotion and "Aegis-Reverts" not in trailers:
            return info.commit
    return None


def promotions_at(context: Context, service: str, environment: str) -> tuple[str, ...]:
    """The latest promotions of a place, oldest first, from the ledger itself."""
    query = Query(
        types=(events.NAMES[events.PromotionProposed][0],),
        service=service,
        environment=environment,
        newest_first=True,
    )
    records = context.ledger.read(limit=40, query=query)
    found = [one.data.promotion.id for one in records if isinstance(one.data, events.PromotionProposed)]
    return tuple(reversed(found))


def history(context: Context, service: str, environment: str) -> tuple[str, ...]:
    """The releases that were healthy in a place, newest first, each once."""
    query = Query(
        types=(events.NAMES[events.DeploymentObserved][0],),
        service=service,
        environment=environment,
        newest_first=True,
    )
    seen: dict[str, None] = {}
    now = placed(context, service, environment)
    if now is not None:
        seen[now.release] = None
    for record in context.ledger.read(limit=400, query=query):
        data = record.data
        if isinstance(data, events.DeploymentObserved) and data.deployment.state is DeploymentState.HEALTHY:
            seen.setdefault(data.deployment.release)
    return tuple(seen)


def bring_about(context: Context) -> str | None:
    """Write the bases and overlays that the declaration asks for; the commit, or None when they stand already."""
    if not context.host.create(context.options.gitops_project):
        base: str | None = _tip_or_none(context)
    else:
        base = None
    current: dict[str, bytes] = {}
    if base is not None:
        source = repository(context)
        current = {entry.path: source.read(base, entry.path) for entry in source.entries(base)}
    wanted: dict[str, bytes | None] = {}
    for spec in context.options.services.values():
        for path, data in overlay.generate(spec).items():
            kept = "/release/" in path and path in current
            if not kept and current.get(path) != data:
                wanted[path] = data
    if not wanted:
        return None
    message = "Bring the manifests to what aegis.yaml declares\n"
    try:
        return repository(context).commit(BRANCH, wanted, message=message, author=AUTHOR, expect=base)
    except Conflict:
        return bring_about(context)


def _tip_or_none(context: Context) -> str | None:
    try:
        return tip(context)
    except NotFound:
        return None
