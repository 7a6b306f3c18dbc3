"""How a local run ended, told on standard output: what failed and why, what was slow, what is otherwise on the server."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aegis.cli import output
from aegis.cli.columns import padded, plain, width
from aegis.cli.comparison import Here, There, document, tell
from aegis.cli.screen import spoken

if TYPE_CHECKING:
    from aegis.bootstrap.pipeline import Local
    from aegis.bootstrap.run import LocalJob, LocalRun
    from aegis.core.plan import Plan
    from aegis.core.types import JobRun, Run

_LOG_LINES: Final = 20
_DETAILED: Final = 10
"""How many failed jobs are told at length."""
_SLOWEST: Final = 5
_SLOW_SECONDS: Final = 1.0
_SLOW_TEST: Final = 0.5
_PRECISE: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A run that has been laid out. `usual` are the usual seconds of its jobs, where they were asked for."""

    made: LocalRun
    state: Run
    jobs: tuple[LocalJob, ...]
    usual: Mapping[str, float]
    plan: Plan
    local: Local


def tell_result(result: Result, there: There | None, *, as_json: bool) -> None:
    """Tell it as a document or for people, with the comparison where one was asked for."""
    from aegis.core import codec

    compared = _compared(result, there) if there is not None else None
    if as_json:
        body = {
            "run": result.made.id,
            "status": result.state.state.value,
            "jobs": [codec.plain(job) for job in result.jobs],
        }
        output.document("aegis.run/1", {**body, **({"compared": compared} if compared is not None else {})})
        return
    _tell(result)
    if compared is not None:
        tell(compared)


def _compared(result: Result, there: There) -> dict[str, Any]:
    from aegis.bootstrap.comparison import files_apart, local_inputs

    here = Here(
        commit=result.state.commit,
        jobs=result.jobs,
        inputs=local_inputs(result.made.directory, result.plan),
        files=files_apart(result.local, str(there.view["summary"]["commit"])),
    )
    return document(here, there)


def _tell(result: Result) -> None:
    """The result, for people: what failed, why, where to look."""
    runs = {job.name: job for job in result.state.jobs}
    failed = [job for job in result.jobs if job.status == "failed"]
    for job in failed[:_DETAILED]:
        _tell_failed(result.made, job, runs[job.name])
    if len(failed) > _DETAILED:
        names = ", ".join(job.name for job in failed[_DETAILED : _DETAILED + 20])
        output.say()
        output.say(f"{output.state('failed')} {len(failed) - _DETAILED} more: {names}")
    for job in result.jobs:
        if job.status == "manual":
            output.say(f"{output.state('manual')} {job.name}: start it with `aegis run {shlex.quote(job.name)}`")
    _tell_slowest(result)
    _tell_slow_tests(result)
    if result.jobs:
        output.say()
    for line in result.made.course if len(result.jobs) > 1 else ():
        output.say(line)
    total = sum(job.seconds for job in result.jobs)
    word = output.state(result.state.state.value)
    output.say(f"{word}: {_counts(result.jobs)}, {total:.1f} s of work, logs in {result.made.directory}")


def _tell_failed(made: LocalRun, job: LocalJob, run: JobRun) -> None:
    from aegis.execution.explain import causes_of
    from aegis.execution.trace import readable

    output.say()
    output.say(f"{output.state('failed')} {job.name}{' (allowed)' if job.allow_failure else ''}: {job.message}")
    tail = made.tail_of(run)
    shown = [plain(line) for line in readable(tail).rstrip("\n").split("\n")][-_LOG_LINES:]
    causes = causes_of(run, tail)[:2]
    # The line that decides may stand far above the end.
    decisive = [line for one in causes for line in one.evidence if plain(line) not in shown]
    for line in decisive[:3]:
        output.say(f"    │ {plain(line)}")
    if decisive:
        output.say("    │ …")
    for line in shown:
        output.say(f"    │ {line}")
    for cause in causes:
        output.say(f"    cause: {cause.message}")
        output.say(f"    mend: {cause.hint}")
    output.say(f"    log: {job.log}" if job.log else "    it never began")
    output.say(f"    more: aegis explain {shlex.quote(job.name)}")


def _counts(jobs: tuple[LocalJob, ...]) -> str:
    """`12 jobs (10 success, 2 failed)`."""
    by_state: dict[str, int] = {}
    for job in jobs:
        by_state[job.status] = by_state.get(job.status, 0) + 1
    told = ", ".join(f"{count} {state}" for state, count in by_state.items())
    whole = "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"
    return whole + (f" ({told})" if len(by_state) > 1 else "")


def _tell_slow_tests(result: Result) -> None:
    """The tests that took longest, and how evenly parallel jobs shared theirs out."""
    slow = [one for one in result.made.slow_tests(result.state, _SLOWEST) if one[1].seconds >= _SLOW_TEST]
    if slow:
        output.say()
        output.say("slowest tests")
    for job, test in slow:
        output.say(f"  {_precise(test.seconds):>9}  {plain(f'{test.place}::{test.name}')}  ({plain(job)})")
    groups: dict[str, list[float]] = {}
    for one in result.jobs:
        base, _, part = one.name.rpartition(" ")
        if base and part.replace("/", "").isdigit() and "/" in part and not one.reused:
            groups.setdefault(base, []).append(one.seconds)
    for base, took in groups.items():
        if len(took) > 1 and max(took) >= _SLOW_SECONDS:
            text = f"{len(took)} parts, the longest {spoken(max(took))}, evenly {spoken(sum(took) / len(took))}"
            output.say(f"  {plain(base)}: {text}")


def _tell_slowest(result: Result) -> None:
    """The jobs that took longest, where there is a choice and it matters."""
    slow = sorted((job for job in result.jobs if job.seconds >= _SLOW_SECONDS), key=lambda job: -job.seconds)[:_SLOWEST]
    if len(result.jobs) < 3 or not slow:
        return
    output.say()
    output.say("slowest jobs")
    columns = min(40, max(width(job.name) for job in slow))
    for job in slow:
        usual = result.usual.get(job.name)
        told = f"  usually {_precise(usual)}" if usual is not None else ""
        waited = f"  waited {_precise(job.queue_seconds)}" if job.queue_seconds >= _SLOW_SECONDS else ""
        output.say(f"  {padded(job.name, columns)}  {_precise(job.seconds):>9}{told}{waited}")


def _precise(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < _PRECISE else spoken(seconds)
