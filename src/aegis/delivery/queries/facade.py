"""The queries as doors get them: who may see what, and views made of rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Final

from aegis.core import codec, events
from aegis.core.errors import Denied, NotFound
from aegis.core.plan import Plan
from aegis.core.ports import Query
from aegis.core.types import DeploymentState, Evidence, PromotionState, Release, Verdict
from aegis.delivery import dossiers, views
from aegis.delivery.context import Context
from aegis.delivery.handlers.merge_requests import obstacles
from aegis.delivery.handlers.promotions import promotion_of, release_of
from aegis.delivery.queries import dossier, fleet, insight, places, runs, waits
from aegis.delivery.queries.entries import MergeRequestEntry, PromotionEntry, ReleaseEntry, RolloutEntry, RunEntry
from aegis.delivery.queries.explanations import Explanations
from aegis.delivery.queries.lines import line
from aegis.delivery.queries.world import WorldState
from aegis.delivery.runner_views import RunnerView
from aegis.delivery.views import Actor
from aegis.delivery.why_views import WhyView
from aegis.execution.ports import TraceStore
from aegis.observe.spans import RunTrace
from aegis.supplychain.compare import Difference

WAIT_SECONDS: Final = 2.0
PROBLEMS: Final = frozenset({DeploymentState.DEGRADED})


class Facade:
    """See `views.Queries`. `caught_up` blocks until the projections have a sequence number, or two seconds."""

    def __init__(
        self,
        context: Context,
        traces: TraceStore,
        inbox: Callable[[Actor], tuple[views.InboxEntry, ...]],
        caught_up: Callable[[int, float], None],
        warnings: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._context = context
        self._traces = traces
        self._inbox = inbox
        self._caught_up = caught_up
        self._warnings = warnings
        self._explanations = Explanations(context)

    def _enter(self, actor: Actor, min_seq: int = 0, *, project: str = "") -> None:
        self._context.authorise(actor, "read", project=project)
        if min_seq:
            self._caught_up(min_seq, WAIT_SECONDS)

    def _seq(self) -> int:
        return self._context.world.read(lambda state: state.seq)

    # -- home ---------------------------------------------------------------------------------------------

    def home(self, actor: Actor, *, min_seq: int = 0) -> views.HomeView:
        """See `Queries`."""
        self._enter(actor, min_seq)
        context = self._context
        open_rollouts = context.world.read(
            lambda state: tuple(
                one.rollout for one in state.rollouts.values() if one.rollout.state not in ("promoted", "rolled_back")
            )
        )
        return views.HomeView(
            services=tuple(context.options.services),
            environments=tuple(context.options.environments),
            cells=places.cells(context),
            runs=self._runs("", 12, ""),
            waiting=self._promotions(actor, waiting=True, limit=20),
            merge_requests=self._merge_requests(actor, "", "opened"),
            rollouts=open_rollouts,
            inbox=tuple(one for one in self._inbox(actor) if one.resolved_at is None)[:20],
            libraries=self._libraries(),
            warnings=self._warnings(),
            name=context.options.name,
            seq=self._seq(),
        )

    def _libraries(self) -> tuple[Release, ...]:
        latest: dict[str, Release] = {}
        for release in self._context.world.read(lambda state: [one.release for one in state.releases.values()]):
            if release.image is None:
                latest[release.project] = release
        return tuple(latest.values())

    # -- runs ---------------------------------------------------------------------------------------------

    def runs(
        self, actor: Actor, *, project: str = "", limit: int = 30, before: str = ""
    ) -> tuple[views.RunSummary, ...]:
        """See `Queries`."""
        self._enter(actor, project=project)
        return self._runs(project, limit, before)

    def _runs(self, project: str, limit: int, before: str) -> tuple[views.RunSummary, ...]:
        def pick(state: WorldState) -> list[views.RunSummary]:
            found = []
            for entry in reversed(state.runs.values()):
                if (project and entry.run.project != project) or (before and entry.run.id >= before):
                    continue
                found.append(self._summary(state, entry))
                if len(found) == limit:
                    break
            return found

        return tuple(self._context.world.read(pick))

    def _summary(self, state: WorldState, entry: RunEntry) -> views.RunSummary:
        run = entry.run
        change = state.changes.get(run.change)
        number = int(run.change.rsplit(":", 1)[1]) if run.change.startswith("merge-request:") else None
        if run.environment:
            title = f"end-to-end tests of {run.release} in {run.environment}"
        elif number is not None:
            merge_request = state.merge_requests.get(f"{run.project}/{number}")
            title = f"!{number} {merge_request.request.title}" if merge_request else f"!{number}"
        else:
            title = change.message.splitlines()[0] if change and change.message else run.commit[:8]
        return views.RunSummary(
            id=run.id,
            project=run.project,
            ref=run.ref,
            commit=run.commit,
            title=title,
            source=run.source,
            started_by=run.started_by,
            state=run.state,
            created_at=run.created_at,
            started_at=run.started_at,
            finished_at=run.finished_at,
            jobs=tuple(entry.jobs.values()),
            job_count=entry.job_count,
            verdict=entry.verdict.outcome.value if entry.verdict else "",
            merge_request=number,
        )

    def _run_entry(self, run: str) -> RunEntry:
        return runs.entry(self._context, run)

    def run(self, actor: Actor, run: str, *, min_seq: int = 0) -> views.RunView:
        """See `Queries`."""
        self._enter(actor, min_seq)
        context = self._context
        entry = self._run_entry(run)
        plan = self._plan(entry)
        live = {job.name: job for job in context.engine.run(run).jobs} if not entry.run.state.finished else {}
        durations = context.world.read(lambda state: dict(state.durations))
        jobs = []
        for spec in plan.jobs:
            job = live.get(spec.name) or entry.jobs.get(spec.name)
            if job is None:
                continue
            jobs.append(
                views.JobView(
                    job=job,
                    needs=tuple(need.job for need in spec.needs or ()),
                    reason=spec.reason,
                    usual_seconds=durations.get(f"{entry.run.project}/{spec.name}"),
                )
            )
        return views.RunView(
            summary=context.world.read(lambda state: self._summary(state, entry)),
            stages=plan.stages,
            jobs=tuple(jobs),
            excluded=tuple((one.name, one.reason) for one in plan.excluded),
            verdict=entry.verdict,
            evidence=tuple(entry.evidence),
            artifacts=tuple(entry.artifacts),
            causes=self._explanations.causes(entry, plan),
            release=entry.run.release,
            isolation=next((job.isolation for job in entry.jobs.values() if job.isolation), ""),
            course=insight.course_of(context, entry, plan),
            seq=self._seq(),
        )

    def run_inputs(self, actor: Actor, run: str) -> views.RunInputs:
        """See `Queries`."""
        entry = self._run_entry(run)
        self._enter(actor, project=entry.run.project)
        return self._explanations.inputs(entry, self._plan(entry))

    def environments(self, actor: Actor, *, project: str = "") -> tuple[views.JobEnvironment, ...]:
        """See `Queries`."""
        self._enter(actor, project=project)
        return runs.environments(self._context, project)

    def why(self, actor: Actor, run: str, job: str) -> WhyView:
        """See `Queries`."""
        entry = self._run_entry(run)
        self._enter(actor, project=entry.run.project)
        return waits.view(self._context, entry, self._plan(entry), job)

    def spans(self, actor: Actor, run: str) -> RunTrace:
        """See `Queries`."""
        entry = self._run_entry(run)
        self._enter(actor, project=entry.run.project)
        return insight.trace(self._context, run, self._plan(entry))

    def _plan(self, entry: RunEntry) -> Plan:
        return codec.decode(self._context.blobs.get(entry.run.plan), Plan)

    # -- traces -------------------------------------------------------------------------------------------

    def trace(self, actor: Actor, run: str, job: str, *, offset: int = 0, limit: int = 1 << 20) -> views.TraceChunk:
        """See `Queries`."""
        self._enter(actor)
        job_id, digest, size, ended = runs.job(self._context, run, job)
        if digest and self._context.blobs.size(digest) is None:
            raise NotFound("log-expired", f"the log of {job} is past its time and was deleted", hint="see `retention:`")
        if digest:
            data = b"".join(self._context.blobs.open(digest, offset=offset, length=limit)) if offset < size else b""
            end = offset + len(data)
            return views.TraceChunk(data=data, offset=offset, next_offset=end, complete=end >= size)
        data = self._traces.read(job_id, offset, limit)
        return views.TraceChunk(data=data, offset=offset, next_offset=offset + len(data), complete=ended and not data)

    def trace_wait(self, actor: Actor, run: str, job: str, *, offset: int, timeout: float) -> bool:
        """See `Queries`."""
        self._enter(actor)
        job_id, digest, _, ended = runs.job(self._context, run, job)
        return True if digest or ended else self._traces.wait(job_id, offset, timeout)

    # -- promotions and rollouts --------------------------------------------------------------------------

    def promotions(self, actor: Actor, *, waiting: bool = False, limit: int = 50) -> tuple[views.PromotionView, ...]:
        """See `Queries`."""
        self._enter(actor)
        return self._promotions(actor, waiting=waiting, limit=limit)

    def _promotions(self, actor: Actor, *, waiting: bool, limit: int) -> tuple[views.PromotionView, ...]:
        entries = self._context.world.read(lambda state: list(state.promotions.values()))
        chosen = [one for one in reversed(entries) if not waiting or one.promotion.state is PromotionState.PROPOSED]
        return tuple(self._promotion(actor, entry) for entry in chosen[:limit])

    def promotion(self, actor: Actor, promotion: str, *, min_seq: int = 0) -> views.PromotionView:
        """See `Queries`."""
        self._enter(actor, min_seq)
        history = tuple(line(record) for record in self._context.subject(f"promotion/{promotion}"))
        return self._promotion(actor, promotion_of(self._context, promotion), history)

    def _promotion(
        self, actor: Actor, entry: PromotionEntry, history: tuple[views.HistoryLine, ...] = ()
    ) -> views.PromotionView:
        context, promotion = self._context, entry.promotion
        release = self._release_entry(promotion.release)
        verdict, evidence = self._proof(release)
        may, why_not = self._may_approve(actor, entry, release)
        rollout = context.world.read(lambda state: state.rollouts.get(promotion.id))
        environment = context.options.environments.get(promotion.environment)
        return views.PromotionView(
            promotion=promotion,
            release=release.release if release else None,
            verdict=verdict,
            evidence=evidence,
            requested_by=promotion.requested_by,
            required=environment.approval.required_for(promotion) if environment else 1,
            may_approve=may,
            why_not=why_not,
            stale=promotion.state is PromotionState.STALE,
            rollout=rollout.rollout if rollout else None,
            review_required=entry.review_required,
            forecast=rollout.rollout.forecast if rollout else "",
            history=history,
            seq=self._seq(),
        )

    def _may_approve(self, actor: Actor, entry: PromotionEntry, release: ReleaseEntry | None) -> tuple[bool, str]:
        promotion = entry.promotion
        if promotion.state is not PromotionState.PROPOSED:
            return False, f"it is {promotion.state}"
        try:
            self._context.authorise(
                actor, "approve", kind="environment", service=promotion.service, environment=promotion.environment,
                emergency=promotion.emergency,
            )  # fmt: skip
        except Denied as denied:
            return False, denied.message
        if release is None:
            return False, "its release is not known here"
        if release.release.unmapped:
            return False, f"nobody is declared for {', '.join(release.release.unmapped)}"
        if actor.id in release.release.involved or actor.id == promotion.requested_by:
            return False, "you had a part in it: another person has to look at it"
        return True, ""

    def _proof(self, release: ReleaseEntry | None) -> tuple[Verdict | None, tuple[Evidence, ...]]:
        if release is None:
            return None, ()
        run = self._context.world.read(lambda state: state.runs.get(release.release.run))
        run = run or RunEntry.fold(self._context.subject(f"run/{release.release.run}"))
        return (run.verdict if run else None), (*(run.evidence if run else ()), *release.evidence)

    def rollout(self, actor: Actor, rollout: str, *, min_seq: int = 0) -> views.RolloutView:
        """See `Queries`."""
        self._enter(actor, min_seq)
        entry = self._context.world.read(lambda state: state.rollouts.get(rollout)) or self._old_rollout(rollout)
        found = entry.rollout
        strategy = self._context.options.strategy(found.service, found.environment)
        points = tuple(
            views.RolloutPoint(
                seconds=seconds, weight=weight, evidence=evidence, canary_requests=requests, canary_errors=errors,
                baseline_requests=base_requests, baseline_errors=base_errors,
            )
            for seconds, weight, evidence, requests, errors, base_requests, base_errors in list(entry.points)
        )  # fmt: skip
        cells = [
            one
            for one in places.cells(self._context)
            if (one.service, one.environment) == (found.service, found.environment)
        ]
        return views.RolloutView(
            rollout=found,
            points=points,
            upper=math.log(1 / strategy.alpha),
            lower=-math.log(1 / strategy.beta),
            promotion=found.deployment,
            commit=places.source_commit(self._context, found.release),
            previous_commit=places.source_commit(self._context, found.previous),
            url=cells[0].url if cells else "",
            seq=self._seq(),
        )

    def _old_rollout(self, rollout: str) -> RolloutEntry:
        entry: RolloutEntry | None = None
        for record in self._context.subject(f"rollout/{rollout}"):
            if isinstance(record.data, events.RolloutStarted):
                entry = RolloutEntry(rollout=record.data.rollout)
            elif entry is not None and isinstance(record.data, events.RolloutStepped | events.RolloutFinished):
                entry.look(record.data.rollout, dict(record.data.counts), record.recorded_at)
        if entry is None:
            raise NotFound("no-such-rollout", f"there is no rollout {rollout!r}")
        return entry

    # -- releases and merge requests ----------------------------------------------------------------------

    def releases(self, actor: Actor, *, service: str = "", limit: int = 50) -> tuple[Release, ...]:
        """See `Queries`."""
        self._enter(actor)
        entries = self._context.world.read(lambda state: [one.release for one in state.releases.values()])
        return tuple(one for one in reversed(entries) if not service or service in (one.service, one.project))[:limit]

    def _release_entry(self, release: str) -> ReleaseEntry | None:
        entry = self._context.world.read(lambda state: state.releases.get(release))
        if entry is not None:
            return entry
        try:
            return ReleaseEntry(release=release_of(self._context, release))
        except NotFound:
            return None

    def release(self, actor: Actor, release: str, *, min_seq: int = 0) -> views.ReleaseView:
        """See `Queries`."""
        self._enter(actor, min_seq)
        entry = self._release_entry(release)
        if entry is None:
            raise NotFound("no-such-release", f"there is no release {release!r}", hint="aegis release list")
        verdict, evidence = self._proof(entry)
        where = tuple(cell for cell in places.cells(self._context) if cell.release == entry.release.id)
        return views.ReleaseView(
            release=entry.release,
            verdict=verdict,
            evidence=evidence,
            running_in=where,
            quarantined=entry.quarantined,
            signature=entry.signature,
            approvals=tuple(entry.approvals),
            history=tuple(line(record) for record in self._context.subject(f"release/{release}")),
            seq=self._seq(),
        )

    def dossier(self, actor: Actor, release: str) -> dossiers.Dossier:
        """See `Queries`."""
        self._enter(actor)
        return dossier.dossier(self._context, release)

    def comparison(self, actor: Actor, before: str, after: str) -> Difference:
        """See `Queries`."""
        self._enter(actor)
        return dossier.comparison(self._context, before, after)

    def signing_key(self, actor: Actor) -> dossiers.SigningKeyView:
        """See `Queries`."""
        self._enter(actor)
        return dossier.signing_key(self._context)

    def merge_requests(
        self, actor: Actor, *, project: str = "", state: str = "opened"
    ) -> tuple[views.MergeRequestView, ...]:
        """See `Queries`."""
        self._enter(actor, project=project)
        return self._merge_requests(actor, project, state)

    def _merge_requests(self, actor: Actor, project: str, state: str) -> tuple[views.MergeRequestView, ...]:
        entries = self._context.world.read(lambda world: list(world.merge_requests.values()))
        chosen = [
            one
            for one in reversed(entries)
            if (not project or one.request.project == project) and (not state or one.request.state == state)
        ]
        return tuple(self._merge_request(actor, entry) for entry in chosen[:50])

    def merge_request(self, actor: Actor, project: str, number: int, *, min_seq: int = 0) -> views.MergeRequestView:
        """See `Queries`."""
        self._enter(actor, min_seq, project=project)
        entry = self._context.world.read(lambda state: state.merge_requests.get(f"{project}/{number}"))
        if entry is None:
            raise NotFound("no-such-merge-request", f"{project} has no merge request {number}")
        return self._merge_request(actor, entry)

    def _merge_request(self, actor: Actor, entry: MergeRequestEntry) -> views.MergeRequestView:
        request = entry.request
        runs = self._context.world.read(
            lambda state: tuple(self._summary(state, state.runs[run]) for run in entry.runs if run in state.runs)
        )
        found = obstacles(self._context, request, actor.id, actor.groups)
        latest = [one.verdict for one in runs if one.commit == request.head and one.verdict]
        merged = request.state == "merged"
        return views.MergeRequestView(
            project=request.project,
            number=request.number,
            title=request.title,
            description=request.description,
            state=request.state.value,
            source_branch=request.source_branch,
            target_branch=request.target_branch,
            head=request.head,
            opened_by=request.opened_by,
            note=request.note,
            verdict=latest[-1] if latest else "",
            runs=runs,
            merged_by=(request.ended_by or "") if merged else "",
            merge_commit=(request.commit or "") if merged else "",
            may_merge=not found,
            why_not=found[0].message if found else "",
            seq=self._seq(),
        )

    # -- time, inbox, status ------------------------------------------------------------------------------

    def at(self, actor: Actor, time: datetime | None, *, min_seq: int = 0) -> views.AtView:
        """See `Queries`."""
        self._enter(actor, min_seq)
        context = self._context
        return views.AtView(
            at=time or context.clock.now(),
            cells=places.cells(context) if time is None else places.at(context, time),
            services=tuple(context.options.services),
            environments=tuple(context.options.environments),
            seq=self._seq(),
        )

    def inbox(self, actor: Actor, *, include_resolved: bool = False) -> tuple[views.InboxEntry, ...]:
        """See `Queries`."""
        self._enter(actor)
        return tuple(one for one in self._inbox(actor) if include_resolved or one.resolved_at is None)

    def status_page(self) -> views.StatusView:
        """See `Queries`: only the last environment of the declaration, production, is public."""
        context = self._context
        public = list(context.options.environments)[-1:]
        lines = []
        for cell in places.cells(context):
            if cell.environment not in public:
                continue
            state = "unknown" if cell.release is None else "operational"
            if cell.state in PROBLEMS:
                state = "degraded"
            elif cell.rollout is not None:
                state = "deploying"
            lines.append(views.StatusLine(service=cell.service, state=state, since=cell.since))
        query = Query(types=(events.NAMES[events.ServiceRolledBack][0],), newest_first=True)
        recent = context.ledger.read(limit=20, query=query)
        incidents = tuple(
            views.HistoryLine(
                seq=one.seq, at=one.recorded_at, actor="", type=one.type,
                text=f"{one.service}: an update was withdrawn", subject=one.service,
            )
            for one in recent
            if one.environment in public
        )  # fmt: skip
        return views.StatusView(
            name=context.options.name, lines=tuple(lines), incidents=incidents, at=context.clock.now()
        )

    def runners(self, actor: Actor) -> tuple[RunnerView, ...]:
        """See `Queries`."""
        self._enter(actor)
        return fleet.runners(self._context)
