"""The pages: each reads one view and answers one question in its first screen.

Decides only what is shown in which order. What may be seen is decided by the queries, which raise.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from aegis.core.errors import NotFound
from aegis.core.types import PromotionState, RolloutState
from aegis.delivery import log_lines
from aegis.delivery.views import Cause, JobView, PromotionView, RolloutPoint, RunView, TraceChunk
from aegis.web.portal import logs, pictures, shown
from aegis.web.portal.doors import Ask
from aegis.web.portal.rendering import Page

NAMED: Final = "production"
"""The environment whose name is typed before a promotion into it is approved."""
_OPEN: Final = (PromotionState.PROPOSED, PromotionState.APPROVED)
_ENDED: Final = (RolloutState.PROMOTED, RolloutState.ROLLED_BACK)
_LOG_LINES: Final = 3000
_BEFORE: Final = 500
"""Lines shown before one that was asked for."""


def home(ask: Ask) -> Page:
    """What runs where, since when, is it healthy, and does anything wait for me?"""
    view = ask.queries.home(ask.actor, min_seq=ask.min_seq)
    mine = [one for one in view.waiting if one.may_approve]
    values = {
        "home": view,
        "inbox": [one for one in view.inbox if one.kind != "approval"],
        "mine": mine,
        "others": [one for one in view.waiting if not one.may_approve],
        "active": [run for run in view.runs if not run.state.finished],
        "recent": [run for run in view.runs if run.state.finished][:8],
    }
    return Page(
        "home.html", view.name or ask.words("nav.home"), values, "aegis status --why", seq=view.seq, here="home"
    )


def runs(ask: Ask) -> Page:
    """What has run lately."""
    project = ask.request.query_params.get("project", "")
    size = 30
    found = ask.queries.runs(ask.actor, project=project, limit=size, before=ask.request.query_params.get("before", ""))
    values = {"runs": found, "project": project, "more": found[-1].id if len(found) == size else ""}
    return Page("runs.html", ask.words("nav.runs"), values, "aegis status", here="runs")


def run(ask: Ask) -> Page:
    """Is it going to pass, when, and what holds it up? On failure the first cause and the mend, before any log."""
    view = ask.queries.run(ask.actor, ask.path["run"], min_seq=ask.min_seq)
    now = ask.words.now
    link = f"/runs/{view.summary.id}/jobs/"
    values = {
        "run": view,
        "took": shown.seconds_between(view.summary.started_at, view.summary.finished_at, now),
        "remaining": remaining(view, now),
        "holding": holding(view),
        "causes": causes(view),
        "job_ids": {one.job.name: one.job.id for one in view.jobs},
        "graph": pictures.graph(view.stages, view.jobs, link),
        "bars": pictures.bars(view.jobs, now, view.course.jobs),
        "savings": [one for one in view.course.savings if one.seconds >= max(0.05, 0.01 * view.course.seconds)][:3],
    }
    command = f"aegis {'explain' if view.causes else 'why'} {view.summary.id}"
    title = f"{view.summary.project} {view.summary.title or view.summary.commit[:8]}"
    return Page("run.html", title, values, command, (f"run/{view.summary.id}",), view.seq, "runs")


def causes(view: RunView) -> list[tuple[Cause, tuple[str, ...]]]:
    """The causes, most likely first; one that several jobs met is one, with their names."""
    met: dict[tuple[str, str, str], list[Cause]] = {}
    for one in view.causes:
        met.setdefault((one.code, one.message, one.hint), []).append(one)
    return [(found[0], tuple(dict.fromkeys(one.job for one in found))) for found in met.values()]


def remaining(view: RunView, now: datetime) -> float | None:
    """Seconds until the run ends, from what its jobs usually take along the longest chain; None when unknown."""
    if view.summary.state.finished or any(one.usual_seconds is None for one in view.jobs):
        return None
    by_name = {one.job.name: one for one in view.jobs}
    known: dict[str, float] = {}

    def left(name: str) -> float:
        if name not in known:
            known[name] = 0.0  # a cycle cannot be, and must not hang a page
            one = by_name[name]
            own = 0.0
            if not one.job.state.finished:
                ran = shown.seconds_between(one.job.started_at, None, now) or 0.0
                own = max((one.usual_seconds or 0.0) - ran, 0.0)
            known[name] = own + max((left(need) for need in one.needs if need in by_name), default=0.0)
        return known[name]

    return max((left(name) for name in by_name), default=None)


def holding(view: RunView) -> tuple[str, ...]:
    """The jobs that the run waits for now: those that run, else those that somebody has to start."""
    if view.summary.state.finished:
        return ()
    running = tuple(one.job.name for one in view.jobs if one.job.state == "running")
    return running[:4] or tuple(one.job.name for one in view.jobs if one.job.state == "manual")[:4]


def log(ask: Ask) -> Page:
    """Take me to the line that matters; let me link to any line, and search all of them."""
    view = ask.queries.run(ask.actor, ask.path["run"])
    job = job_of(view, ask.path["job"])

    def read(offset: int) -> TraceChunk:
        return ask.queries.trace(ask.actor, view.summary.id, job.job.id, offset=offset)

    wanted, text = ask.count("line"), ask.request.query_params.get("q", "").strip()
    window = log_lines.window(read, first=max(1, wanted - _BEFORE) if wanted else 0, count=_LOG_LINES)
    found, used = logs.lines(window.data, first=window.first, complete=window.complete)
    cause = next((one for one in view.causes if one.job == job.job.name), None)
    failed = job.job.state == "failed"
    decisive = logs.decisive(found, cause.evidence if cause else ()) if failed and not wanted else wanted or None
    last = found[-1].number if found else window.first - 1
    values = {
        "run": view,
        "view": job,
        "lines": found,
        "decisive": decisive,
        "cause": cause,
        # A window in the middle does not grow: what follows it is a page of its own.
        "complete": window.complete or not window.last,
        "before": window.first - 1,
        "after": 0 if window.last else window.total - last,
        "earlier": max(1, window.first - _LOG_LINES + _BEFORE) if window.first > 1 else 0,
        "later": last + 1,
        "query": text,
        "hits": log_lines.search(read, text) if text else None,
        "next_offset": window.offset + used,
        "next_line": last + 1,
        "took": shown.seconds_between(job.job.started_at, job.job.finished_at, ask.words.now),
        "raw": f"/jobs/{view.summary.id}/{job.job.id}/trace?offset=0&as=file",
    }
    command = f"aegis logs {view.summary.id} {job.job.name}"
    return Page("log.html", job.job.name, values, command, None, view.seq, "runs")


def job_of(view: RunView, wanted: str) -> JobView:
    """The job of that id or name."""
    for one in view.jobs:
        if wanted in (one.job.id, one.job.name):
            return one
    raise NotFound("job-unknown", f"this run has no job {wanted!r}", hint="open the run to see its jobs")


def approvals(ask: Ask) -> Page:
    """What waits for a yes, and what was decided lately."""
    found = ask.queries.promotions(ask.actor)
    waiting = [one for one in found if one.promotion.state is PromotionState.PROPOSED and not one.stale]
    waiting.sort(key=lambda one: not one.may_approve)
    values = {"waiting": waiting, "decided": [one for one in found if one not in waiting]}
    seq = max((one.seq for one in found), default=0)
    return Page("approvals.html", ask.words("nav.approvals"), values, "aegis status", seq=seq, here="approvals")


def promotion(ask: Ask) -> Page:
    """What exactly will change if I say yes, what is the evidence, who is asking?"""
    return promotion_page(ask, ask.queries.promotion(ask.actor, ask.path["promotion"], min_seq=ask.min_seq))


def promotion_page(ask: Ask, view: PromotionView, *, problem: str = "", comment: str = "") -> Page:
    """The promotion's page; `problem` is shown in its form, where what was typed stays."""
    one = view.promotion
    values = {
        "view": view,
        "open": one.state in _OPEN,
        "granted": [approval for approval in one.approvals if approval.granted],
        "confirm": one.environment == NAMED,
        "problem": problem,
        "comment": comment,
    }
    title = ask.words("promotion.title", release=one.release, environment=one.environment)
    watch = (f"promotion/{one.id}", *((f"rollout/{view.rollout.id}",) if view.rollout else ()))
    command = f"aegis approve {one.id}"
    status = 422 if problem else 200
    return Page("promotion.html", title, values, command, watch, view.seq, "approvals", status, f"/promotions/{one.id}")


def rollout(ask: Ask) -> Page:
    """How is the new version doing against the old one, how sure are we, when will we know?"""
    view = ask.queries.rollout(ask.actor, ask.path["rollout"], min_seq=ask.min_seq)
    one = view.rollout
    names = (ask.words("rollout.upper"), ask.words("rollout.lower"))

    def chart(width: int) -> object:
        label = ask.words("rollout.chart")
        return pictures.evidence(view.points, upper=view.upper, lower=view.lower, width=width, names=names, label=label)

    values = {
        "view": view,
        "ended": one.state in _ENDED,
        "chart_wide": chart(720),
        "chart_narrow": chart(320),
        "rates": rates(view.points[-1]) if view.points else ("–", "–"),
    }
    title = ask.words("rollout.title", release=one.release, environment=one.environment)
    command = f"aegis status {one.service} --why"
    return Page("rollout.html", title, values, command, (f"rollout/{one.id}",), view.seq, "home")


def rates(point: RolloutPoint) -> tuple[str, str]:
    """The share of failed requests of the new and the old version, as percentages."""

    def rate(errors: int, requests: int) -> str:
        return f"{100 * errors / requests:.2f} %" if requests else "–"

    return rate(point.canary_errors, point.canary_requests), rate(point.baseline_errors, point.baseline_requests)


def releases(ask: Ask) -> Page:
    """What there is to deploy."""
    found = ask.queries.releases(ask.actor, service=ask.request.query_params.get("service", ""))
    return Page("releases.html", ask.words("nav.releases"), {"releases": found}, "aegis release", here="releases")


def release(ask: Ask) -> Page:
    """Where did this come from, what is in it, where does it run?"""
    view = ask.queries.release(ask.actor, ask.path["release"], min_seq=ask.min_seq)
    one = view.release
    environments = ask.queries.at(ask.actor, None).environments if one.image and not view.quarantined else ()
    values = {"view": view, "environments": environments}
    return Page("release.html", one.id, values, f"aegis release show {one.id}", (), view.seq, "releases")


def merge_request(ask: Ask) -> Page:
    """What do the gates say of this change, and may it be merged?"""
    number = int(ask.path["number"])
    view = ask.queries.merge_request(ask.actor, ask.path["project"], number, min_seq=ask.min_seq)
    command = f"git fetch origin {view.source_branch} && git diff origin/{view.target_branch}...FETCH_HEAD"
    return Page("merge_request.html", f"!{number} {view.title}", {"view": view}, command, (), view.seq, "home")


def at(ask: Ask) -> Page:
    """What ran at 14:05, and why?"""
    query = ask.request.query_params
    time, problem = moment(query.get("time", ""), query.get("minutes", ""), ask.words.now)
    view = None if problem else ask.queries.at(ask.actor, time)
    value = (view.at if view else ask.words.now).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    values = {"view": view, "value": value, "problem": problem}
    command = f"aegis status --at {value}Z --why"
    return Page("at.html", ask.words("at.title"), values, command, None, view.seq if view else 0, "at")


def moment(time: str, minutes: str, now: datetime) -> tuple[datetime | None, bool]:
    """The time that an address asks for (ISO 8601; UTC where it names no zone), and whether it makes no sense."""
    if minutes:
        good = minutes.isascii() and minutes.isdigit() and len(minutes) < 8
        return (now - timedelta(minutes=int(minutes)), False) if good else (None, True)
    if not time:
        return None, False
    try:
        parsed = datetime.fromisoformat(time.replace(" ", "+"))
    except ValueError:
        return None, True
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)), False


def inbox(ask: Ask) -> Page:
    """What failed and what is asked of me, each once."""
    resolved = bool(ask.request.query_params.get("resolved"))
    entries = ask.queries.inbox(ask.actor, include_resolved=resolved)
    values = {"entries": entries, "resolved": resolved}
    return Page("inbox.html", ask.words("nav.inbox"), values, "aegis status --json", here="inbox")
