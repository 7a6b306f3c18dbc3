"""A run as its records tell it: what was judged of an earlier end counts no longer once it has ended again."""

from __future__ import annotations

from datetime import UTC, datetime

from aegis.core import events
from aegis.core.events import Record
from aegis.core.types import JobRun, Outcome, Run, State, Verdict
from aegis.delivery.queries.entries import RunEntry

RUN = Run(
    id="r", project="team/web", ref="refs/heads/main", commit="c" * 40, plan="sha256:" + "0" * 64, change="x",
    source="push", started_by="ana",
)  # fmt: skip


def records(*data: object) -> list[Record]:
    return [
        Record(
            seq=number, id=str(number), recorded_at=datetime(2026, 1, 1, 0, 0, number, tzinfo=UTC), recorded_by="server",
            actor="aegis", project="team/web", service="", environment="", type="", version=1, subject="run/r",
            subject_version=number, cause="", data_digest="", prev="", hash="", data=one,
        )
        for number, one in enumerate(data, 1)
    ]  # fmt: skip


def ended(state: State) -> list[object]:
    job = JobRun(id="j", name="unit", stage="test", state=state)
    return [events.JobFinished(job=job), events.RunFinished(run="r", state=state)]


def judged(outcome: Outcome) -> events.VerdictGiven:
    verdict = Verdict(
        id="v", project="team/web", commit="c" * 40, run="r", outcome=outcome, reasons=(), policy_digest="p"
    )
    return events.VerdictGiven(verdict=verdict)


def test_a_verdict_belongs_to_the_end_that_it_judged() -> None:
    entry = RunEntry.fold(records(events.RunCreated(run=RUN, job_count=1), *ended(State.FAILED), judged(Outcome.BLOCK)))
    assert entry is not None
    assert entry.verdict is not None
    assert entry.verdict.outcome is Outcome.BLOCK


def test_a_retried_run_that_has_ended_again_is_not_judged_yet() -> None:
    first = [events.RunCreated(run=RUN, job_count=1), *ended(State.FAILED), judged(Outcome.BLOCK)]
    again = [events.JobChanged(name="unit", state=State.PENDING, by="ana", reason="retried"), *ended(State.SUCCESS)]
    going_on = RunEntry.fold(records(*first, again[0]))
    assert going_on is not None
    assert (going_on.run.state, going_on.run.finished_at) == (State.RUNNING, None)
    entry = RunEntry.fold(records(*first, *again))
    assert entry is not None
    assert entry.verdict is None
    assert entry.evidence == []
    assert entry.run.state is State.SUCCESS


def test_no_run_is_made_of_records_without_a_beginning() -> None:
    assert RunEntry.fold(records(*ended(State.SUCCESS))) is None
