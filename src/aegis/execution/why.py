"""Why a job waits, or why it is slow: from what is known of it, of its run, of the runners and of its history. Pure.

Every reason rests on a fact that it quotes. What holds a job is told in the order in which it has to be resolved: what it needs,
who has to act, what it waits for by declaration, then the runners. Of slowness it tells what a comparison with the job's own
history shows; without a history it tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Final

from aegis.core.plan import JobSpec
from aegis.core.types import JobRun, State

_SLOWER: Final = 1.5
_SLOWER_SECONDS: Final = 2.0
"""A job is called slow from half as long again as usual, and at least two seconds."""
_QUEUED: Final = 0.5
_QUEUED_SECONDS: Final = 5.0
_COLD: Final = re.compile(
    r"^No cache under (?P<key>.+)\.$|WARNING: the cache (?P<unused>\S+) is not used", re.MULTILINE
)
_WARM: Final = re.compile(r"^Restored cache ", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRunner:
    """A runner as far as it decides who gets a job. `limit` 0: no bound is known."""

    name: str
    tags: tuple[str, ...] | None = None
    untagged: bool = True
    paused: bool = False
    online: bool = True
    protected: bool = False
    projects: tuple[str, ...] = ()
    isolated: bool = True
    running: int = 0
    limit: int = 0

    def serves(self, project: str) -> bool:
        """Whether it is there for that project."""
        return not self.projects or any(project == one or project.startswith(f"{one}/") for one in self.projects)

    def fits(self, spec: JobSpec) -> bool:
        """Whether its tags are enough."""
        if not spec.tags:
            return self.untagged
        return self.tags is None or set(spec.tags) <= set(self.tags)

    @property
    def full(self) -> bool:
        """Whether it has as many jobs as it may."""
        return self.limit > 0 and self.running >= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """An earlier success of the same job. `parallel` is into how many it was split; `cache` "warm", "cold" or empty."""

    seconds: float
    parallel: int = 1
    cache: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known. `states` are those of the other jobs of the run; `at_once` how many shards ran at the same time."""

    spec: JobSpec
    job: JobRun
    project: str
    now: datetime
    states: Mapping[str, State] = field(default_factory=dict)
    earlier_stages: tuple[str, ...] = ()
    """Jobs of earlier stages, for a job without `needs`."""
    due: datetime | None = None
    group_holder: str = ""
    runners: tuple[KnownRunner, ...] = ()
    protected_ref: bool = False
    require_isolation: bool = False
    ahead: int = 0
    lost: tuple[JobRun, ...] = ()
    """Earlier attempts of it that a lost runner took with it."""
    log: str = ""
    history: tuple[Earlier, ...] = ()
    at_once: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason. `evidence` quotes the facts that it rests on."""

    code: str
    message: str
    hint: str
    evidence: tuple[str, ...] = ()


def why(facts: Facts) -> tuple[Reason, ...]:
    """Why a job waits or is slow, the weightiest first; nothing where neither is the case."""
    state = facts.job.state
    if state in {State.CREATED, State.PENDING, State.WAITING_FOR_RESOURCE, State.MANUAL, State.SCHEDULED}:
        return tuple(_waiting(facts))
    if state is State.SKIPPED:
        return tuple(_skipped(facts))
    return tuple(_slow(facts))


# -- waiting ------------------------------------------------------------------------------------------------------


def _waiting(facts: Facts) -> Iterator[Reason]:
    state, spec = facts.job.state, facts.spec
    if state is State.MANUAL:
        yield Reason(
            code="manual",
            message="it waits for a person to start it (when: manual)",
            hint="start it on the run's page, or: aegis run JOB",
            evidence=(f"when: {spec.when}",),
        )
    elif state is State.SCHEDULED:
        until = facts.due.isoformat(timespec="seconds") if facts.due else f"{spec.start_in} s after its turn"
        yield Reason(
            code="delayed",
            message=f"it is delayed until {until} (when: delayed)",
            hint="start it at once by hand, or shorten start_in",
            evidence=(f"start_in: {spec.start_in} s",),
        )
    elif state is State.WAITING_FOR_RESOURCE:
        holder = facts.group_holder or "another job"
        yield Reason(
            code="resource-group",
            message=f"the resource group {spec.resource_group} is held by {holder}",
            hint="it goes on by itself when that job has ended; cancel that one if it is not wanted any more",
            evidence=(f"resource_group: {spec.resource_group}", f"held by {holder}"),
        )
    elif state is State.CREATED:
        yield from _before(facts)
    else:
        yield from _unassigned(facts)


def _before(facts: Facts) -> Iterator[Reason]:
    """What has to end first."""
    named = tuple(need.job for need in facts.spec.needs or ())
    code, first = ("needs", named) if facts.spec.needs is not None else ("stage", facts.earlier_stages)
    open_ = [name for name in first if name in facts.states and not facts.states[name].finished]
    if open_:
        told = "what it needs has" if code == "needs" else "earlier stages have"
        yield Reason(
            code=code,
            message=f"{told} not ended: {_listed(open_)}",
            hint=f"aegis why RUN {open_[0]} says what that one waits for",
            evidence=tuple(f"{name}: {facts.states[name].value}" for name in open_[:5]),
        )


def _unassigned(facts: Facts) -> Iterator[Reason]:
    """Why no runner has taken it: runners are left out one condition after the other, and the last that empties is it."""
    spec = facts.spec
    if facts.lost:
        last = facts.lost[-1]
        yield Reason(
            code="lost-runner",
            message=f"its runner {last.runner} was lost; attempt {facts.job.attempt} waits for another",
            hint="see whether that machine is alive; a lost runner's jobs are tried once more by themselves",
            evidence=tuple(f"attempt {one.attempt}: {one.message or one.failure_reason}" for one in facts.lost[-3:]),
        )
    left: Sequence[KnownRunner] = facts.runners
    wanted = ", ".join(spec.tags) or "no tags"
    protection = "protected" if facts.protected_ref else "not protected"
    for code, kept, message, hint, told in (
        ("no-runner", [one for one in left if one.serves(facts.project)], "no runner serves this project",
         "register one for it, or share one", f"{len(facts.runners)} runners, none for {facts.project}"),
        ("no-matching-runner", [one for one in left if one.fits(spec)], f"no runner has its tags ({wanted})",
         "correct `tags:`, or give a runner those tags", f"tags: {wanted}"),
        ("protected", [one for one in left if facts.protected_ref or not one.protected],
         "the runners with its tags run jobs of protected refs only", "protect the branch, or let a runner take other refs",
         f"the ref is {protection}"),
        ("not-isolated", [one for one in left if one.isolated or not facts.require_isolation],
         "the runners with its tags do not isolate jobs, and this server requires it",
         "see `aegis doctor`, or declare `runner: {isolation: optional}`", "isolation: required"),
        ("runner-paused", [one for one in left if not one.paused], "the runners that may take it are paused",
         "let one go on: aegis runner resume", "paused"),
        ("runner-offline", [one for one in left if one.online], "the runners that may take it are not connected",
         "start one, and look at its log", "not heard of"),
        ("busy", [one for one in left if not one.full], "every runner that may take it is busy (concurrency)",
         "wait, raise the concurrency, or add a runner", "busy"),
    ):  # fmt: skip
        fitting = [one for one in kept if one in left]
        if not fitting:
            names = tuple(_runner(one) for one in left[:5])
            ahead = (f"{facts.ahead} jobs are ahead of it",) if code == "busy" and facts.ahead else ()
            yield Reason(code=code, message=message, hint=hint, evidence=(told, *names, *ahead))
            return
        left = fitting
    if not facts.lost:
        yield Reason(
            code="next",
            message=f"a runner is free; {facts.ahead} jobs are ahead of it",
            hint="it is taken with the next request of a runner",
            evidence=tuple(_runner(one) for one in left[:5]),
        )


def _runner(one: KnownRunner) -> str:
    tags = "any job" if one.tags is None else ", ".join(one.tags) or "no tags"
    busy = f", {one.running} of {one.limit} jobs" if one.limit else ""
    return f"runner {one.name}: {tags}{busy}{', paused' if one.paused else ''}{'' if one.online else ', offline'}"


def _skipped(facts: Facts) -> Iterator[Reason]:
    failed = [name for name, state in facts.states.items() if state in {State.FAILED, State.CANCELED}]
    first = [need.job for need in facts.spec.needs or ()] or list(facts.earlier_stages)
    guilty = [name for name in first if name in failed]
    if guilty:
        yield Reason(
            code="skipped",
            message=f"it was skipped, since {_listed(guilty)} did not succeed",
            hint=f"aegis explain RUN says why {guilty[0]} failed",
            evidence=tuple(f"{name}: {facts.states[name].value}" for name in guilty[:5]),
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


# -- slow ---------------------------------------------------------------------------------------------------------


def _slow(facts: Facts) -> Iterator[Reason]:
    job = facts.job
    if job.started_at is None:
        return
    seconds = ((job.finished_at or facts.now) - job.started_at).total_seconds()
    queued = (job.started_at - job.queued_at).total_seconds() if job.queued_at else 0.0
    if queued > max(_QUEUED_SECONDS, _QUEUED * seconds):
        yield Reason(
            code="queue",
            message=f"it waited {queued:.0f} s for a runner and ran {seconds:.0f} s",
            hint="add a runner or raise the concurrency; `needs` lets jobs begin earlier",
            evidence=(f"queued {queued:.1f} s", f"ran {seconds:.1f} s on {job.runner}"),
        )
    if not facts.history:
        return
    usual = median(one.seconds for one in facts.history)
    if seconds < max(usual * _SLOWER, usual + _SLOWER_SECONDS):
        return
    compared = f"{seconds:.1f} s; usually {usual:.1f} s (median of {len(facts.history)})"
    yield from _slower(facts, compared)


def _slower(facts: Facts, compared: str) -> Iterator[Reason]:
    """What explains a job that is slower than usual."""
    cold = _COLD.search(facts.log)
    found = False
    if cold and not _WARM.search(facts.log) and any(one.cache == "warm" for one in facts.history):
        found = True
        yield Reason(
            code="cold-cache",
            message=f"its cache was cold: nothing under {cold['key'] or cold['unused']}",
            hint="a changed key file begins a new cache: fallback_keys, or a key of less, keep it warm",
            evidence=(cold[0], compared),
        )
    parallel = facts.spec.parallel_total or 1
    before = max(one.parallel for one in facts.history)
    if parallel < before:
        found = True
        yield Reason(
            code="lost-parallelism",
            message=f"it is split into {parallel} now, and was split into {before}",
            hint="put `parallel:` back, or see which change took it away",
            evidence=(f"parallel: {before} → {parallel}", compared),
        )
    elif parallel > 1 and 0 < facts.at_once < parallel:
        found = True
        yield Reason(
            code="lost-parallelism",
            message=f"only {facts.at_once} of its {parallel} parts ran at the same time",
            hint="raise the concurrency of the runners to the number of parts",
            evidence=(f"{facts.at_once} of {parallel} at once", compared),
        )
    if not found:
        yield Reason(
            code="slower",
            message=f"it is slower than its history: {compared}",
            hint="aegis explain compares a failed one; look at what changed in its log, image and dependencies",
            evidence=(compared,),
        )


def cache_of(log: str) -> str:
    """What a log says of the job's cache: "warm", "cold", or nothing."""
    if _WARM.search(log):
        return "warm"
    return "cold" if _COLD.search(log) else ""
