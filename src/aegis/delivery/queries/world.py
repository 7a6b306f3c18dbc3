"""The world projection: what is going on and what runs where, folded from the ledger, bounded in memory.

It decides nothing. Commands decide against the ledger's own subjects, never against this.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from aegis.core import codec, events
from aegis.core.events import Record
from aegis.core.types import Change, RolloutState
from aegis.delivery.queries.entries import (
    CellEntry,
    MergeRequestEntry,
    PromotionEntry,
    ReleaseEntry,
    RolloutEntry,
    RunEntry,
)
from aegis.source import merge_requests

KEPT: Final = {"runs": 400, "changes": 400, "promotions": 300, "releases": 500, "rollouts": 100, "merge_requests": 300}
V = TypeVar("V")


@dataclass(slots=True)
class WorldState:
    """Everything that a checkpoint holds. Dictionaries keep the order of insertion: oldest first."""

    seq: int = 0
    changes: dict[str, Change] = field(default_factory=dict)
    runs: dict[str, RunEntry] = field(default_factory=dict)
    promotions: dict[str, PromotionEntry] = field(default_factory=dict)
    releases: dict[str, ReleaseEntry] = field(default_factory=dict)
    rollouts: dict[str, RolloutEntry] = field(default_factory=dict)
    cells: dict[str, CellEntry] = field(default_factory=dict)
    merge_requests: dict[str, MergeRequestEntry] = field(default_factory=dict)
    signatures: dict[str, str] = field(default_factory=dict)
    """Digest to the fingerprint of the key that signed it: images are signed before their release is cut."""
    durations: dict[str, float] = field(default_factory=dict)
    """`project/job` to the usual seconds: an exponential mean of successful attempts."""


def trimmed(rows: dict[str, V], kept: int, is_open: Callable[[V], bool]) -> None:
    """Drop the oldest rows beyond `kept` that nothing more happens to."""
    if len(rows) <= kept + kept // 4:
        return
    for key in [key for key, row in rows.items() if not is_open(row)][: len(rows) - kept]:
        del rows[key]


class World:
    """The projection; `read()` hands the state under its lock."""

    name: Final = "world"
    version: Final = 2

    def __init__(self) -> None:
        self._state = WorldState()
        self._lock = threading.RLock()
        self._table: dict[type, Callable[[Record, Any], None]] = {
            events.ChangePushed: self._pushed,
            events.RunCreated: self._run_created,
            events.ArtifactPublished: self._published,
            events.ArtifactSigned: self._signed,
            events.ArtifactQuarantined: self._quarantined,
            events.ReleaseCreated: self._released,
            events.PromotionProposed: self._proposed,
            events.DeploymentObserved: self._observed,
            events.RolloutStarted: self._rollout_started,
            events.RolloutStepped: self._rollout_looked,
            events.RolloutFinished: self._rollout_looked,
            events.ServiceRolledBack: self._rolled_back,
            events.MergeRequestOpened: self._opened,
        }

    # -- the projection's own protocol --------------------------------------------------------------------

    def apply(self, record: Record) -> None:
        """Take in one record, in order."""
        with self._lock:
            state = self._state
            state.seq = record.seq
            handler = self._table.get(type(record.data))
            if handler is not None:
                handler(record, record.data)
            elif record.data is not None:
                self._by_subject(record)

    def dump(self) -> bytes:
        """The state as a checkpoint."""
        with self._lock:
            return codec.pack(self._state)

    def load(self, data: bytes) -> None:
        """Take up a checkpoint; `ValueError` when it does not fit."""
        state = codec.unpack(data, WorldState)
        with self._lock:
            self._state = state

    def reset(self) -> None:
        """Forget everything, to be folded anew."""
        with self._lock:
            self._state = WorldState()

    def read(self, reader: Callable[[WorldState], V]) -> V:
        """`reader`'s answer from one consistent state. It must not keep references to rows that change."""
        with self._lock:
            return reader(self._state)

    # -- one method per event -----------------------------------------------------------------------------

    def _by_subject(self, record: Record) -> None:
        kind, _, name = record.subject.partition("/")
        state = self._state
        if kind == "run" and name in state.runs:
            state.runs[name].apply(record)
            self._measured(record)
        elif kind == "promotion" and name in state.promotions:
            self._promotion(state.promotions[name], record)
        elif kind == "merge-request" and name in state.merge_requests:
            entry = state.merge_requests[name]
            entry.request = merge_requests.apply(entry.request, record.data, project=record.project) or entry.request
        elif kind == "release" and name in state.releases and isinstance(record.data, events.EvidenceRecorded):
            state.releases[name].evidence.append(record.data.evidence)

    def _measured(self, record: Record) -> None:
        data = record.data
        if not isinstance(data, events.JobFinished) or data.job.state != "success" or data.job.reused_from:
            return
        job = data.job
        if job.started_at and job.finished_at:
            key, took = f"{record.project}/{job.name}", (job.finished_at - job.started_at).total_seconds()
            known = self._state.durations.get(key)
            self._state.durations[key] = took if known is None else known * 0.7 + took * 0.3

    def _pushed(self, record: Record, data: events.ChangePushed) -> None:
        self._state.changes[data.change.id] = replace(data.change, at=record.recorded_at)
        trimmed(self._state.changes, KEPT["changes"], lambda _: False)

    def _run_created(self, record: Record, data: events.RunCreated) -> None:
        state = self._state
        run = replace(data.run, created_at=record.recorded_at)
        state.runs[run.id] = RunEntry(run=run, job_count=data.job_count)
        if run.change.startswith("merge-request:"):
            _, project, number = run.change.split(":")
            entry = state.merge_requests.get(f"{project}/{number}")
            if entry is not None:
                entry.runs.append(run.id)
        trimmed(state.runs, KEPT["runs"], lambda row: not row.run.state.finished)

    def _published(self, _record: Record, data: events.ArtifactPublished) -> None:
        run = self._state.runs.get(data.artifact.run)
        if run is not None:
            run.artifacts.append(data.artifact)

    def _signed(self, _record: Record, data: events.ArtifactSigned) -> None:
        self._state.signatures[data.digest] = data.key
        trimmed(self._state.signatures, KEPT["releases"], lambda _: False)

    def _quarantined(self, _record: Record, data: events.ArtifactQuarantined) -> None:
        for release in self._state.releases.values():
            if any(artifact.digest == data.digest for artifact in release.release.artifacts):
                release.quarantined = data.reason

    def _released(self, record: Record, data: events.ReleaseCreated) -> None:
        release = replace(data.release, at=record.recorded_at)
        keys = [key for one in release.artifacts if (key := self._state.signatures.get(one.digest))]
        self._state.releases[release.id] = ReleaseEntry(release=release, signature=keys[0] if keys else "")
        running = {cell.release for cell in self._state.cells.values()}
        trimmed(self._state.releases, KEPT["releases"], lambda row: row.release.id in running)

    def _proposed(self, record: Record, data: events.PromotionProposed) -> None:
        promotion = replace(data.promotion, requested_at=record.recorded_at)
        self._state.promotions[promotion.id] = PromotionEntry(promotion=promotion)
        trimmed(self._state.promotions, KEPT["promotions"], lambda row: row.open)

    def _promotion(self, entry: PromotionEntry, record: Record) -> None:
        entry.apply(record)
        release = self._state.releases.get(entry.promotion.release)
        if release is not None and isinstance(record.data, events.PromotionApproved):
            release.approvals.append(record.data.approval)

    def _observed(self, record: Record, data: events.DeploymentObserved) -> None:
        deployment = data.deployment
        key = f"{deployment.service}/{deployment.environment}"
        cell = self._state.cells.setdefault(
            key, CellEntry(service=deployment.service, environment=deployment.environment)
        )
        cell.observe(deployment, record.recorded_at)

    def _rollout_started(self, record: Record, data: events.RolloutStarted) -> None:
        rollout = replace(data.rollout, started_at=record.recorded_at)
        self._state.rollouts[rollout.id] = RolloutEntry(rollout=rollout)
        trimmed(
            self._state.rollouts,
            KEPT["rollouts"],
            lambda row: row.rollout.state not in (RolloutState.PROMOTED, RolloutState.ROLLED_BACK),
        )

    def _rollout_looked(self, record: Record, data: events.RolloutStepped | events.RolloutFinished) -> None:
        entry = self._state.rollouts.get(data.rollout.id)
        if entry is not None:
            entry.look(data.rollout, dict(data.counts), record.recorded_at)

    def _rolled_back(self, record: Record, data: events.ServiceRolledBack) -> None:
        cell = self._state.cells.get(f"{record.service}/{record.environment}")
        if cell is not None:
            cell.roll_back(data, record.recorded_at)

    def _opened(self, record: Record, data: events.MergeRequestOpened) -> None:
        request = merge_requests.apply(None, data, project=record.project)
        if request is not None:
            self._state.merge_requests[f"{request.project}/{request.number}"] = MergeRequestEntry(request=request)
        trimmed(self._state.merge_requests, KEPT["merge_requests"], lambda row: row.request.state == "opened")
