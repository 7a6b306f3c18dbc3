"""Watchers: what the cluster shows, what the traffic says, and what has run out of time."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Final, NamedTuple

from aegis.core import events
from aegis.core.errors import AegisError, Conflict, NotFound
from aegis.core.types import Deployment, DeploymentState, PromotionState, Rollout
from aegis.daemon.loops import Reporter
from aegis.delivery.context import Context
from aegis.delivery.dispatch import SYSTEM, Asking
from aegis.delivery.handlers.deployments import deployment_of, observed, workloads
from aegis.delivery.handlers.promotions import draft, promotion_of
from aegis.delivery.handlers.rollouts import OVER, measure, rollout_of, step
from aegis.delivery.queries.world import WorldState
from aegis.rollout.measurements import Measurement

ASKING: Final = Asking(actor=SYSTEM)
HISTORY: Final = 4000
TRAFFIC_SECONDS: Final = 5.0
RESTART_SECONDS: Final = 30.0
SETTLED: Final = frozenset({DeploymentState.HEALTHY, DeploymentState.DEGRADED})


class Observer:
    """Writes down what the cluster shows of the deployments on their way, and when a settled one changes."""

    def __init__(self, context: Context, reporter: Reporter, pause: float = 0.15) -> None:
        self._context = context
        self._reporter = reporter
        self._pause = pause
        self._doubted: dict[str, tuple[DeploymentState, float]] = {}

    def round(self) -> float:
        """Look at everything once."""
        for promotion in self._context.world.read(_committed):
            try:
                self._on_the_way(promotion)
            except (Conflict, NotFound):
                # Another writer was there first, or the sync has not begun: the next look will see.
                continue
            except AegisError as error:
                self._reporter.say(f"observing {promotion}", error)
        self._settled()
        return self._pause

    def _on_the_way(self, promotion: str) -> None:
        context = self._context
        deployment, version = deployment_of(context, promotion)
        if deployment.state in SETTLED:
            return
        status = context.sync.status(deployment.service, deployment.environment)
        if status.release != deployment.release or status.state is deployment.state:
            return
        seen = Deployment(
            id=deployment.id,
            promotion=deployment.promotion,
            service=deployment.service,
            environment=deployment.environment,
            release=deployment.release,
            commit=status.commit,
            state=status.state,
            reason=status.reason or status.waiting_for,
        )
        observed(context, seen, ASKING, expect=version)

    def _settled(self) -> None:
        """A running release that becomes unhealthy, or well again, for at least two seconds."""
        context = self._context
        cells = context.world.read(lambda state: list(state.cells.values()))
        for cell in cells:
            if cell.state not in SETTLED or cell.release is None or not cell.deployment:
                continue
            environment = context.options.environments.get(cell.environment)
            if environment is None:
                continue
            running = [
                one
                for one in context.cluster.observe(environment.namespace)
                if one.service == cell.service and one.release == cell.release
            ]
            state = running[-1].state if running else None
            if state not in SETTLED or state is cell.state:
                self._doubted.pop(cell.deployment, None)
                continue
            first, since = self._doubted.setdefault(cell.deployment, (state, time.monotonic()))
            if first is state and time.monotonic() - since >= 2.0:
                del self._doubted[cell.deployment]
                known, version = deployment_of(context, cell.deployment)
                changed = Deployment(
                    id=known.id, promotion=known.promotion, service=known.service, environment=known.environment,
                    release=known.release, commit=known.commit, state=state, reason=running[-1].message,
                )  # fmt: skip
                observed(context, changed, ASKING, expect=version)


def _committed(state: WorldState) -> list[str]:
    return [one.promotion.id for one in state.promotions.values() if one.promotion.state is PromotionState.COMMITTED]


class _Total(NamedTuple):
    requests: int
    errors: int
    at: float


class RolloutDriver:
    """Takes each open rollout one look further. What was measured lives here; after a restart it is measured anew."""

    def __init__(self, context: Context, reporter: Reporter, pause: float = 0.5) -> None:
        self._context = context
        self._reporter = reporter
        self._pause = pause
        self._history: dict[str, list[Measurement]] = {}
        self._totals: dict[tuple[str, str], _Total] = {}
        self._watched_at = 0.0
        self._born = time.monotonic()

    def round(self) -> float:
        """One look at every open rollout; now and then at what is served where one may begin, for its forecast."""
        self._watch_traffic()
        open_ids = self._context.world.read(
            lambda state: [one.rollout.id for one in state.rollouts.values() if one.rollout.state not in OVER]
        )
        for rollout in open_ids:
            try:
                self._look(rollout)
            except Conflict:
                continue
            except AegisError as error:
                self._reporter.say(f"rollout {rollout}", error)
        for gone in set(self._history) - set(open_ids):
            del self._history[gone]
        return self._pause

    def _watch_traffic(self) -> None:
        if time.monotonic() - self._watched_at < TRAFFIC_SECONDS:
            return
        self._watched_at = time.monotonic()
        for (service, environment), strategy in self._context.options.strategies.items():
            if strategy.kind == "canary":
                self._rate(service, environment)

    def _look(self, rollout_id: str) -> None:
        context = self._context
        rollout, _ = rollout_of(context, rollout_id)
        if rollout.state in OVER:
            return
        if rollout_id not in self._history and rollout.started_at is not None and not self._is_up(rollout):
            return
        history = self._history.setdefault(rollout_id, [])
        if rollout.started_at is not None:
            history.append(measure(context, rollout))
            if len(history) > HISTORY:
                # Counters are cumulative: dropping every other look widens intervals and loses no request.
                del history[1:-1:2]
        step(context, rollout_id, history, ASKING, rate=self._rate(rollout.service, rollout.environment))

    def _is_up(self, rollout: Rollout) -> bool:
        """Whether both versions run again after a restart: what visitors met meanwhile says nothing about either."""
        if time.monotonic() - self._born > RESTART_SECONDS:
            return True
        running = {one.release: one for one in workloads(self._context, rollout.service, rollout.environment)}
        needed = [running.get(release) for release in (rollout.release, rollout.previous) if release]
        return all(one is not None and one.state in SETTLED for one in needed)

    def _rate(self, service: str, environment: str) -> tuple[float, float]:
        """Requests per minute and error share of what runs, from its counters since an earlier look."""
        samples = self._context.traffic.samples(service, environment)
        now = _Total(sum(one.requests for one in samples), sum(one.errors for one in samples), time.monotonic())
        before = self._totals.get((service, environment))
        if before is None or now.at - before.at > 60:
            self._totals[service, environment] = now
        if before is None or now.at - before.at < 0.2:
            return 0.0, 0.0
        requests, errors = now.requests - before.requests, now.errors - before.errors
        return requests / (now.at - before.at) * 60, errors / requests if requests > 0 else 0.0


class Expiry:
    """Voids promotions that nobody approved in time."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def round(self) -> float:
        """Look once a second."""
        context = self._context
        waiting = context.world.read(
            lambda state: [
                one.promotion for one in state.promotions.values() if one.promotion.state is PromotionState.PROPOSED
            ]
        )
        now = context.clock.now()
        for promotion in waiting:
            environment = context.options.environments.get(promotion.environment)
            expiry = environment.approval.expiry(promotion) if environment else None
            if expiry is None or now < expiry + timedelta(seconds=1):
                continue
            entry = promotion_of(context, promotion.id)
            if entry.promotion.state is PromotionState.PROPOSED:
                voided = events.PromotionVoided(
                    why="expired", message=f"nobody approved it by {expiry:%Y-%m-%d %H:%M} UTC"
                )
                context.append(draft(promotion, voided, ASKING), expect={f"promotion/{promotion.id}": entry.version})
        return 1.0
