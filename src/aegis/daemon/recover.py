"""After a start: what the ledger says is compared with Git and the cluster, and what was interrupted goes on."""

from __future__ import annotations

from aegis.core import events
from aegis.core.errors import AegisError, NotFound
from aegis.core.ports import Query
from aegis.core.types import DeploymentState, PromotionState
from aegis.daemon.loops import Reporter
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import SYSTEM, Asking, Dispatcher
from aegis.delivery.handlers.changes import record_changes
from aegis.delivery.handlers.merge_requests import record_merge
from aegis.delivery.handlers.moves import Move, mover
from aegis.delivery.handlers.releases import UNRECORDED
from aegis.delivery.handlers.runs import merge_request_of
from aegis.source.branches import RefUpdate
from aegis.source.merge_requests import wishes

ASKING = Asking(actor=SYSTEM)


def resume(context: Context, dispatcher: Dispatcher, reporter: Reporter) -> None:
    """Bring the outside and the ledger together again. Idempotent."""
    for project in context.options.projects:
        try:
            _missed_pushes(context, project)
        except AegisError as error:
            reporter.say(f"comparing {project}", error)
    wanted: list[object] = []
    for entry in context.world.read(lambda state: list(state.promotions.values())):
        promotion = entry.promotion
        if promotion.state is PromotionState.APPROVED and entry.complete:
            wanted.append(ask.CommitPromotion(promotion=promotion.id))
        elif promotion.state is PromotionState.COMMITTED:
            wanted.append(
                ask.SyncEnvironment(
                    service=promotion.service, environment=promotion.environment, promotion=promotion.id
                )
            )
    busy = {(one.service, one.environment) for one in wanted if isinstance(one, ask.SyncEnvironment)}
    wanted += [
        ask.SyncEnvironment(service=cell.service, environment=cell.environment)
        for cell in context.world.read(lambda state: list(state.cells.values()))
        if (cell.service, cell.environment) not in busy and cell.service in context.options.services
    ]
    for command in wanted:
        try:
            dispatcher.run(command, ASKING)
        except AegisError as error:
            reporter.say("resuming", error)


def answers(context: Context) -> bool:
    """Whether everything that owned an address before the start answers there again, or has shown that it cannot."""
    for environment in context.options.environments.values():
        for one in context.cluster.observe(environment.namespace):
            active = context.cluster.active(environment.namespace, one.service) == one.release
            if active and one.state is DeploymentState.PROGRESSING:
                return False
    return True


def _missed_pushes(context: Context, project: str) -> None:
    """Refs that moved without a record: the server was killed between Git and the ledger.

    Who moved them is known from the intent, which was written before; without one nobody knows, and the release blocks.
    """
    try:
        refs = context.repository(project).refs("refs/heads/")
    except NotFound:
        return
    query = Query(types=(events.NAMES[events.ChangePushed][0],), project=project, newest_first=True)
    known: dict[str, str] = {}
    for record in context.ledger.read(limit=1000, query=query):
        if isinstance(record.data, events.ChangePushed):
            known.setdefault(record.data.change.ref, record.data.change.commit)
    for ref, commit in refs.items():
        last = known.get(ref)
        if last == commit or (last is not None and _only_own(context, project, last, commit)):
            continue
        _record(context, project, RefUpdate(ref=ref, old=last, new=commit), mover(context, project, ref, commit))


def _record(context: Context, project: str, update: RefUpdate, move: Move | None) -> None:
    if move is None:
        record_changes(context, project, UNRECORDED, (update,))
        return
    if move.number:
        request = merge_request_of(context, project, move.number)
        if request.state == "opened":
            record_merge(context, request, move.identity, update)
            return
    record_changes(context, project, move.identity, (update,), skip=wishes(move.options).skip_pipeline)


def _only_own(context: Context, project: str, last: str, commit: str) -> bool:
    """Whether everything since the last record is this server's own (changelog commits start no pipeline)."""
    infos = context.repository(project).log(commit, since=last, limit=200)
    return all(info.author_email == "aegis@localhost" for info in infos)
