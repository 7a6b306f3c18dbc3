"""What the doors are given: the queries and commands that they may call, and who may come in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from aegis.core.types import (
    Release,
)
from aegis.delivery.dossiers import DossierQueries
from aegis.delivery.runner_views import RunnerView
from aegis.delivery.views.shown import (
    Actor,
    AtView,
    HomeView,
    InboxEntry,
    JobEnvironment,
    MergeRequestView,
    PromotionView,
    ReleaseView,
    Result,
    RolloutView,
    RunInputs,
    RunSummary,
    RunView,
    StatusView,
    TraceChunk,
)
from aegis.delivery.why_views import WhyView
from aegis.observe.spans import RunTrace


class Queries(DossierQueries, Protocol):
    """What may be read. Every method checks that `actor` may see it (`Denied`, `NotFound`) and never blocks on a writer.

    `min_seq` waits (at most two seconds) until the view reflects that ledger sequence number.
    """

    def home(self, actor: Actor, *, min_seq: int = 0) -> HomeView:
        """The first page."""
        ...

    def runs(self, actor: Actor, *, project: str = "", limit: int = 30, before: str = "") -> tuple[RunSummary, ...]:
        """Runs, newest first; `before` is a run id to page on."""
        ...

    def run(self, actor: Actor, run: str, *, min_seq: int = 0) -> RunView:
        """One run."""
        ...

    def run_inputs(self, actor: Actor, run: str) -> RunInputs:
        """What the jobs of a run were made of; `NotFound`."""
        ...

    def environments(self, actor: Actor, *, project: str = "") -> tuple[JobEnvironment, ...]:
        """The environments that jobs of a project (empty: of every one) have deployed."""
        ...

    def why(self, actor: Actor, run: str, job: str) -> WhyView:
        """Why a job of a run waits or is slow; `NotFound`."""
        ...

    def spans(self, actor: Actor, run: str) -> RunTrace:
        """A run as a trace, as far as it has come; `NotFound`."""
        ...

    def trace(self, actor: Actor, run: str, job: str, *, offset: int = 0, limit: int = 1 << 20) -> TraceChunk:
        """A job's log; `job` is a name or id. Masked already."""
        ...

    def trace_wait(self, actor: Actor, run: str, job: str, *, offset: int, timeout: float) -> bool:
        """Block until there is more beyond `offset`, or the log is complete (True), or time is up (False)."""
        ...

    def promotions(self, actor: Actor, *, waiting: bool = False, limit: int = 50) -> tuple[PromotionView, ...]:
        """Promotions, newest first."""
        ...

    def promotion(self, actor: Actor, promotion: str, *, min_seq: int = 0) -> PromotionView:
        """One promotion."""
        ...

    def rollout(self, actor: Actor, rollout: str, *, min_seq: int = 0) -> RolloutView:
        """One rollout."""
        ...

    def releases(self, actor: Actor, *, service: str = "", limit: int = 50) -> tuple[Release, ...]:
        """Releases, newest first."""
        ...

    def release(self, actor: Actor, release: str, *, min_seq: int = 0) -> ReleaseView:
        """One release."""
        ...

    def merge_requests(self, actor: Actor, *, project: str = "", state: str = "opened") -> tuple[MergeRequestView, ...]:
        """Merge requests, newest first."""
        ...

    def merge_request(self, actor: Actor, project: str, number: int, *, min_seq: int = 0) -> MergeRequestView:
        """One merge request."""
        ...

    def at(self, actor: Actor, time: datetime | None, *, min_seq: int = 0) -> AtView:
        """What ran at a time (None: now), since when and why."""
        ...

    def inbox(self, actor: Actor, *, include_resolved: bool = False) -> tuple[InboxEntry, ...]:
        """What concerns the actor."""
        ...

    def runners(self, actor: Actor) -> tuple[RunnerView, ...]:
        """Remote runners, oldest first."""
        ...

    def status_page(self) -> StatusView:
        """The public page; needs no actor."""
        ...


class Commands(Protocol):
    """What may be asked: one registry of verbs for command line, API, portal and chat."""

    def execute(self, verb: str, fields: Mapping[str, Any], actor: Actor, *, dry_run: bool = False) -> Result:
        """Carry out a verb. Raises the error families; `Denied` is recorded in the ledger.

        Verbs of the portal: `approve` and `reject` {promotion, plan_hash, comment}, `promote` {service, environment,
        release, emergency, reason}, `rollback` {service, environment, release, reason}, `cancel` {run},
        `retry` {run, job}, `play` {run, job}, `merge` {project, number}, `close` {project, number}.
        """
        ...


class Sessions(Protocol):
    """Web sessions: a cookie's value stands for an identity until it expires or is closed."""

    def open(self, credential: str) -> str:
        """A session for a token or a one-time login link's code; `Denied` when it is neither. The cookie's value."""
        ...

    def resolve(self, cookie: str) -> Actor | None:
        """Who that is, or None."""
        ...

    def close(self, cookie: str) -> None:
        """Log out; no error when there is no such session."""
        ...


class Credentials(Protocol):
    """Who speaks, from what a request carries."""

    def actor(self, authorization: str | None, cookie: str | None = None) -> Actor:
        """The actor of `Authorization: Bearer TOKEN` or Basic (password = token), or of a session cookie; else `Denied`."""
        ...


class Stream(Protocol):
    """The ledger as a stream for doors: cheap, bounded, resumable by sequence number."""

    def after(self, seq: int, limit: int = 500) -> tuple[Mapping[str, Any], ...]:
        """Plain records beyond `seq`: seq, id, at, type, subject, actor, project, service, environment, data."""
        ...

    def head(self) -> int:
        """The last durable sequence number."""
        ...

    def wait(self, after: int, timeout: float) -> bool:
        """Block until the head is beyond `after` or time is up."""
        ...
