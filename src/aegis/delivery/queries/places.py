"""What runs where, since when and why: now from the projection and the cluster, earlier from the ledger itself."""

from __future__ import annotations

from datetime import datetime

from aegis.core import events
from aegis.core.errors import AegisError
from aegis.core.ports import Query
from aegis.core.types import ArtifactKind, DeploymentState, PromotionState, Rollout, Workload
from aegis.delivery.context import Context
from aegis.delivery.queries.entries import CellEntry
from aegis.delivery.queries.world import WorldState
from aegis.delivery.views import Cell

_LOOK_BACK = 200
"""How many records of a place are read for what it was at a time."""
_TYPES = tuple(events.NAMES[kind][0] for kind in (events.DeploymentObserved, events.ServiceRolledBack))


def cells(context: Context) -> tuple[Cell, ...]:
    """Every declared service in every declared environment."""
    found = []
    rows, pending, rollouts = context.world.read(_gather)
    running = _observed(context)
    for service, spec in context.options.services.items():
        for environment in spec.environments:
            key = f"{service}/{environment.name}"
            row = rows.get(key) or CellEntry(service=service, environment=environment.name)
            found.append(
                _cell(
                    context,
                    row,
                    pending.get(key),
                    rollouts.get(key),
                    tuple(one for one in running.get(environment.name, ()) if one.service == service),
                )
            )
    return tuple(found)


def _gather(state: WorldState) -> tuple[dict[str, CellEntry], dict[str, str], dict[str, Rollout]]:
    rows = {key: _copy(row) for key, row in state.cells.items()}
    pending = {
        f"{entry.promotion.service}/{entry.promotion.environment}": entry.promotion.id
        for entry in state.promotions.values()
        if entry.promotion.state in (PromotionState.PROPOSED, PromotionState.APPROVED, PromotionState.COMMITTED)
    }
    rollouts = {
        f"{entry.rollout.service}/{entry.rollout.environment}": entry.rollout
        for entry in state.rollouts.values()
        if entry.rollout.state not in ("promoted", "rolled_back")
    }
    return rows, pending, rollouts


def _copy(row: CellEntry) -> CellEntry:
    return CellEntry(
        service=row.service, environment=row.environment, release=row.release, previous=row.previous, commit=row.commit,
        state=row.state, since=row.since, why=row.why, promotion=row.promotion, deployment=row.deployment,
    )  # fmt: skip


def _observed(context: Context) -> dict[str, tuple[Workload, ...]]:
    found = {}
    for environment in context.options.environments.values():
        try:
            found[environment.name] = context.cluster.observe(environment.namespace)
        except AegisError:
            # The page shows what the ledger knows; `workloads` stays empty and says so by that.
            found[environment.name] = ()
    return found


def _cell(
    context: Context, row: CellEntry, pending: str | None, rollout: Rollout | None, running: tuple[Workload, ...]
) -> Cell:
    state = row.state
    serving = [one for one in running if one.release == row.release]
    if serving and state is DeploymentState.HEALTHY and serving[-1].state is DeploymentState.DEGRADED:
        state = DeploymentState.DEGRADED
    try:
        url = context.traffic.url(row.service, row.environment)
    except AegisError:
        url = ""
    return Cell(
        service=row.service,
        environment=row.environment,
        release=row.release,
        version=row.release.rpartition("@")[2] if row.release else "",
        commit=source_commit(context, row.release),
        digest=serving[-1].digest if serving else "",
        state=state,
        since=row.since,
        why=row.why,
        promotion=row.promotion,
        rollout=rollout,
        pending=pending,
        url=url,
        previous=row.previous,
        workloads=running,
    )


def source_commit(context: Context, release: str | None) -> str:
    """The commit a release was made from."""
    if release is None:
        return ""
    entry = context.world.read(lambda state: state.releases.get(release))
    return entry.release.commit if entry is not None else ""


def _image(context: Context, release: str | None) -> str:
    """The digest of a release's image."""
    entry = context.world.read(lambda state: state.releases.get(release or ""))
    images = [one.digest for one in entry.release.artifacts if one.kind is ArtifactKind.IMAGE] if entry else []
    return images[0] if images else ""


def at(context: Context, time: datetime) -> tuple[Cell, ...]:
    """What the ledger says ran at a time."""
    found = []
    for service, spec in context.options.services.items():
        for environment in spec.environments:
            row = _row_at(context, service, environment.name, time)
            if row is None:
                found.append(Cell(service=service, environment=environment.name))
                continue
            found.append(
                Cell(
                    service=service,
                    environment=environment.name,
                    release=row.release,
                    version=row.release.rpartition("@")[2] if row.release else "",
                    commit=source_commit(context, row.release),
                    digest=_image(context, row.release),
                    state=row.state,
                    since=row.since,
                    why=row.why,
                    promotion=row.promotion,
                    previous=row.previous,
                )
            )
    return tuple(found)


def _row_at(context: Context, service: str, environment: str, time: datetime) -> CellEntry | None:
    """The row as the world projection had it then, from the latest records until that time."""
    query = Query(types=_TYPES, service=service, environment=environment, until=time, newest_first=True)
    records = context.ledger.read(limit=_LOOK_BACK, query=query)
    row = CellEntry(service=service, environment=environment)
    for record in reversed(records):
        if isinstance(record.data, events.DeploymentObserved):
            row.observe(record.data.deployment, record.recorded_at)
        elif isinstance(record.data, events.ServiceRolledBack):
            row.roll_back(record.data, record.recorded_at)
            row.state = DeploymentState.HEALTHY
    return row if row.release is not None else None
