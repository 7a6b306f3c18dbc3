"""The inbox: each failure and each request once, folded from the ledger.

Decides what is worth an entry, which records belong to the same one, and when it is settled. It does not decide whom
an entry concerns today (`routing`) nor in which words (`messages`). The state follows from the records alone.

| entry | opened by | settled by |
| --- | --- | --- |
| a branch's pipeline | a failed, refused or blocked run | a run of the same branch that passes |
| a request for approval | a proposed promotion that policy alone did not approve | its approval, refusal or end |
| an emergency's review | an approval that needs one | the review |
| a service in an environment | a degraded deployment, a failed or rolled back promotion | the next good promotion |
| an action outside | a port that failed | the same action completed |
| a release that runs and does not verify | the first look that finds it so | the first that finds it well, or running nowhere |
| a release with a new vulnerability | the rescan that finds one that blocks | the first that finds none |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from aegis.core import codec, events
from aegis.core.events import Record
from aegis.core.types import DeploymentState, Outcome, Promotion, RolloutState, State
from aegis.notify.entries import Entry, News, noted, resolved

KEPT: Final = 400
_REMEMBERED: Final = 1000
_ABOUT_RELEASES: Final = {"verification": ("inbox.distrusted", "critical"), "rescan": ("inbox.vulnerable", "high")}


@dataclass(slots=True)
class RunNote:
    """What has to be known of a run when it ends."""

    project: str
    ref: str
    by: str
    commit: str
    hint: str = ""
    blocked: bool = False


@dataclass(slots=True)
class PromotionNote:
    """What has to be known of a promotion when something happens to it."""

    service: str
    environment: str
    release: str
    by: str
    rollback: bool = False


@dataclass(slots=True)
class InboxState:
    """Everything a checkpoint holds; dictionaries oldest first."""

    entries: dict[str, Entry] = field(default_factory=dict)
    runs: dict[str, RunNote] = field(default_factory=dict)
    promotions: dict[str, PromotionNote] = field(default_factory=dict)
    involved: dict[str, tuple[str, ...]] = field(default_factory=dict)


class Inbox:
    """The projection. One thread applies; others may read meanwhile: they are given a copy made in one step."""

    name: Final = "inbox"
    version: Final = 1

    def __init__(self) -> None:
        self._state = InboxState()
        self._table: Mapping[type, Callable[[Record, Any], None]] = {
            events.RunCreated: self._run_created,
            events.RunRefused: self._run_refused,
            events.JobFinished: self._job_finished,
            events.RunFinished: self._run_finished,
            events.VerdictGiven: self._verdict,
            events.ReleaseCreated: self._released,
            events.PromotionProposed: self._proposed,
            events.PromotionApproved: self._approved,
            events.PromotionRejected: self._decided,
            events.PromotionVoided: self._decided,
            events.PromotionReviewed: self._reviewed,
            events.PromotionFinished: self._promotion_finished,
            events.DeploymentObserved: self._deployment,
            events.RolloutFinished: self._rollout,
            events.ServiceRolledBack: self._rolled_back,
            events.ActionFailed: self._action_failed,
            events.ActionCompleted: self._action_completed,
        }

    # -- the projection's protocol -------------------------------------------------------------------------

    def apply(self, record: Record) -> None:
        """Take one record, the next in order; erased and unknown ones mean nothing here."""
        handler = self._table.get(type(record.data))
        if handler is not None:
            handler(record, record.data)

    def dump(self) -> bytes:
        """The state as a checkpoint."""
        return codec.pack(self._state)

    def load(self, data: bytes) -> None:
        """Take up a checkpoint; `ValueError` when it cannot be read."""
        self._state = codec.unpack(data, InboxState)

    # -- reading -------------------------------------------------------------------------------------------

    def entries(self, *, include_resolved: bool = False) -> tuple[Entry, ...]:
        """Every entry, the latest first."""
        snapshot = tuple(self._state.entries.values())
        kept = (one for one in snapshot if include_resolved or one.resolved_at is None)
        return tuple(sorted(kept, key=lambda one: one.last_at, reverse=True))

    def entry(self, key: str) -> Entry | None:
        """One entry by its key."""
        return self._state.entries.get(key)

    # -- pipelines -----------------------------------------------------------------------------------------

    def _run_created(self, _: Record, data: events.RunCreated) -> None:
        run = data.run
        self._state.runs[run.id] = RunNote(run.project, _short(run.ref), run.started_by, run.commit)
        _trim(self._state.runs)

    def _run_refused(self, record: Record, data: events.RunRefused) -> None:
        note = RunNote(record.project, _short(data.ref), record.actor, data.commit)
        hint = f"{data.message} — {data.hint}" if data.hint else data.message
        self._branch(record, note, "failure", "inbox.run-refused", data.change, hint=hint)

    def _job_finished(self, record: Record, data: events.JobFinished) -> None:
        job, note = data.job, self._state.runs.get(_name(record))
        if note and job.state is State.FAILED and not job.allow_failure and not data.will_retry and not note.hint:
            note.hint = f"{job.name}: {job.message or job.failure_reason or 'failed'}"

    def _run_finished(self, record: Record, data: events.RunFinished) -> None:
        note = self._state.runs.get(data.run)
        if note is None:
            return
        if data.state is State.FAILED:
            entry = self._state.entries.get(_branch_key(note))
            told = entry is not None and entry.occurrence == data.run and entry.kind == "block"
            if not told:  # the verdict has said more already
                self._branch(record, note, "failure", "inbox.run-failed", data.run, hint=note.hint)
        elif data.state is State.SUCCESS and not note.blocked:
            self._settle(_branch_key(note), record.recorded_at)

    def _verdict(self, record: Record, data: events.VerdictGiven) -> None:
        verdict = data.verdict
        note = self._state.runs.get(verdict.run)
        if note is None:
            return
        note.blocked = verdict.outcome is Outcome.BLOCK
        if not note.blocked:
            return
        first = verdict.blocking[0] if verdict.blocking else None
        hint = " — ".join(part for part in (first.message, first.mend) if part) if first else ""
        gates = ", ".join(dict.fromkeys(reason.gate for reason in verdict.blocking)) or "?"
        self._branch(record, note, "block", "inbox.run-blocked", verdict.run, hint=hint, gates=gates)

    def _branch(
        self, record: Record, note: RunNote, kind: str, title: str, occurrence: str, *, hint: str, gates: str = ""
    ) -> None:
        params = {"project": note.project, "ref": note.ref} | ({"gates": gates} if gates else {})
        link = f"/runs/{occurrence}" if title != "inbox.run-refused" else ""
        news = News(
            key=_branch_key(note), kind=kind, title=title, params=params, occurrence=occurrence, hint=hint,
            link=link, audience=(f"identity:{note.by}", f"project:{note.project}"), project=note.project,
        )  # fmt: skip
        self._note(news, record.recorded_at)

    # -- promotions ----------------------------------------------------------------------------------------

    def _released(self, _: Record, data: events.ReleaseCreated) -> None:
        self._state.involved[data.release.id] = data.release.involved
        _trim(self._state.involved)

    def _proposed(self, record: Record, data: events.PromotionProposed) -> None:
        one: Promotion = data.promotion
        note = PromotionNote(one.service, one.environment, one.release, one.requested_by, one.rollback)
        self._state.promotions[one.id] = note
        _trim(self._state.promotions)
        role = "emergency" if one.emergency else "approvers"
        news = News(
            key=f"promotion/{one.id}", kind="approval", title="inbox.approval", occurrence=one.id,
            params={"release": one.release, "environment": one.environment},
            severity="high" if one.emergency else "medium", hint=one.reason, link=f"/promotions/{one.id}",
            audience=(f"{role}:{one.environment}",), excluded=self._state.involved.get(one.release, ()),
            service=one.service, environment=one.environment,
        )  # fmt: skip
        self._note(news, record.recorded_at)

    def _approved(self, record: Record, data: events.PromotionApproved) -> None:
        key = f"promotion/{_name(record)}"
        if data.complete and data.approval.by.startswith("policy:"):
            self._state.entries.pop(key, None)  # nobody was ever asked
        elif data.complete:
            self._settle(key, record.recorded_at)
        note = self._state.promotions.get(_name(record))
        if data.review_required and note:
            news = News(
                key=f"review/{_name(record)}", kind="review", title="inbox.review", occurrence=_name(record),
                params={"release": note.release, "environment": note.environment}, severity="high",
                link=f"/promotions/{_name(record)}", audience=(f"approvers:{note.environment}",),
                excluded=(data.approval.by, note.by), service=note.service, environment=note.environment,
            )  # fmt: skip
            self._note(news, record.recorded_at)

    def _decided(self, record: Record, _: object) -> None:
        self._settle(f"promotion/{_name(record)}", record.recorded_at)

    def _reviewed(self, record: Record, _: object) -> None:
        self._settle(f"review/{_name(record)}", record.recorded_at)

    def _promotion_finished(self, record: Record, data: events.PromotionFinished) -> None:
        self._settle(f"promotion/{_name(record)}", record.recorded_at)
        note = self._state.promotions.get(_name(record))
        if note is None:
            return
        key = f"service/{note.service}/{note.environment}"
        if data.ok and note.rollback:
            return  # going back is how the trouble ended, not the mend that was asked for
        if data.ok:
            self._settle(key, record.recorded_at)
            params = {"release": note.release, "environment": note.environment}
            self._service(record, note, "news", "inbox.deployed", params, key=f"deployed/{key[8:]}", severity="info")
            self._settle(f"deployed/{key[8:]}", record.recorded_at)  # good news asks for nothing
            return
        entry = self._state.entries.get(key)
        if entry is None or entry.occurrence != note.release or entry.resolved_at:
            params = {"release": note.release, "environment": note.environment}
            self._service(record, note, "failure", "inbox.promotion-failed", params, hint=data.reason)

    # -- deployments and rollouts --------------------------------------------------------------------------

    def _deployment(self, record: Record, data: events.DeploymentObserved) -> None:
        one = data.deployment
        note = PromotionNote(one.service, one.environment, one.release, "")
        if one.state is DeploymentState.DEGRADED:
            params = {"release": one.release, "environment": one.environment}
            self._service(record, note, "failure", "inbox.deployment-failed", params, hint=one.reason)
        elif one.state is DeploymentState.HEALTHY:
            entry = self._state.entries.get(f"service/{one.service}/{one.environment}")
            if entry and entry.title == "inbox.deployment-failed" and entry.occurrence == one.release:
                self._settle(entry.key, record.recorded_at)

    def _rollout(self, record: Record, data: events.RolloutFinished) -> None:
        one = data.rollout
        if one.state is RolloutState.ROLLED_BACK:
            note = PromotionNote(one.service, one.environment, one.release, "")
            self._returned(record, note, one.previous or "–", hint=one.decision, link=f"/rollouts/{one.id}")

    def _rolled_back(self, record: Record, data: events.ServiceRolledBack) -> None:
        note = PromotionNote(record.service, record.environment, data.from_release, "")
        self._returned(record, note, data.to_release, hint=data.reason, link="")

    def _returned(self, record: Record, note: PromotionNote, to: str, *, hint: str, link: str) -> None:
        params = {"service": note.service, "environment": note.environment, "from": note.release, "to": to}
        self._service(record, note, "rollback", "inbox.rolled-back", params, hint=hint, link=link, severity="high")

    def _service(
        self, record: Record, note: PromotionNote, kind: str, title: str, params: Mapping[str, str],
        *, hint: str = "", link: str = "", severity: str = "high", key: str = "",
    ) -> None:  # fmt: skip
        by = (f"identity:{note.by}",) if note.by else ()
        involved = tuple(f"identity:{one}" for one in self._state.involved.get(note.release, ()))
        news = News(
            key=key or f"service/{note.service}/{note.environment}", kind=kind, title=title, params=params,
            occurrence=note.release, severity=severity, hint=hint, link=link or f"/releases/{note.release}",
            audience=(*by, *involved, f"service:{note.service}"), service=note.service,
            environment=note.environment,
        )  # fmt: skip
        self._note(news, record.recorded_at)

    # -- actions outside -----------------------------------------------------------------------------------

    def _action_failed(self, record: Record, data: events.ActionFailed) -> None:
        hint = f"{data.message} — {data.hint}" if data.hint else data.message
        kind = record.subject.partition("/")[0]
        if kind in _ABOUT_RELEASES:
            release = _name(record)
            title, severity = _ABOUT_RELEASES[kind]
            news = News(
                key=f"action/{record.subject}", kind="failure", title=title, occurrence=release,
                params={"release": release, "code": data.code}, severity=severity, hint=hint,
                link=f"/releases/{release}", audience=("operators", f"service:{record.service}"),
                project=record.project, service=record.service,
            )  # fmt: skip
            self._note(news, record.recorded_at)
            return
        news = News(
            key=f"action/{record.subject}", kind="failure", title="inbox.action-failed", occurrence=record.id,
            params={"action": record.subject, "code": data.code}, hint=hint, audience=("operators",),
            project=record.project, service=record.service, environment=record.environment,
        )  # fmt: skip
        self._note(news, record.recorded_at)

    def _action_completed(self, record: Record, _: object) -> None:
        self._settle(f"action/{record.subject}", record.recorded_at)

    # -- keeping -------------------------------------------------------------------------------------------

    def _note(self, news: News, at: datetime) -> None:
        entries = self._state.entries
        entries[news.key] = noted(entries.pop(news.key, None), news, at)
        if len(entries) > KEPT + KEPT // 4:
            settled = [key for key, one in entries.items() if one.resolved_at]
            for key in (settled or list(entries))[: len(entries) - KEPT]:
                del entries[key]

    def _settle(self, key: str, at: datetime) -> None:
        entry = self._state.entries.get(key)
        if entry is not None:
            self._state.entries[key] = resolved(entry, at)


def _name(record: Record) -> str:
    """The subject without its kind: `run/01h…` → `01h…`."""
    return record.subject.partition("/")[2]


def _short(ref: str) -> str:
    """A branch or tag as people name it."""
    return ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


def _branch_key(note: RunNote) -> str:
    return f"branch/{note.project}/{note.ref}"


def _trim(rows: dict[str, Any]) -> None:
    while len(rows) > _REMEMBERED:
        del rows[next(iter(rows))]
