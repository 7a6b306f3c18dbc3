"""What Prometheus is told, folded from the ledger: runs, jobs, queues, deployments, rollouts, DORA.

Names are OpenTelemetry's `cicd.*` in Prometheus' form where that vocabulary has one, else `aegis_*`. A result is
`failure` when the code is at fault and `error` when the machinery is: whoever looks after one does not look after
the other. Label values are names from the declaration and pipelines, never ids, so that their number stays small.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from aegis.core import codec, events
from aegis.core.events import Record
from aegis.core.types import RolloutState, State
from aegis.observe.deliveries import Deliveries, DeliveryState
from aegis.observe.dora import Delivered, Dora, measure
from aegis.observe.exposition import (
    LONG,
    SECONDS,
    SHORT,
    Family,
    Labels,
    Series,
    counter_lines,
    gauge_lines,
    histogram_lines,
)
from aegis.observe.results import error_type, job_result

RUN: Final = Family("cicd_pipeline_run_duration_seconds", "Duration of finished pipeline runs.",
                    ("cicd_pipeline_name", "cicd_pipeline_result"), SECONDS)  # fmt: skip
RUN_QUEUE: Final = Family("cicd_pipeline_run_queue_seconds", "From a run's creation to its first job.",
                          ("cicd_pipeline_name",), SHORT)  # fmt: skip
JOB: Final = Family("cicd_pipeline_task_run_duration_seconds", "Duration of finished jobs.",
                    ("cicd_pipeline_name", "cicd_pipeline_task_name", "cicd_pipeline_task_run_result"), SECONDS)  # fmt: skip
JOB_QUEUE: Final = Family("cicd_pipeline_task_run_queue_seconds", "From a job's readiness to its start.",
                          ("cicd_pipeline_name",), SHORT)  # fmt: skip
ERRORS: Final = Family("cicd_pipeline_run_errors_total", "Failed attempts of jobs by what failed them.",
                         ("cicd_pipeline_name", "cicd_pipeline_task_run_result", "error_type"))  # fmt: skip
SYSTEM: Final = Family("cicd_system_errors_total", "Jobs that the machinery failed: no fault of their code.",
                       ("cicd_system_component", "error_type"))  # fmt: skip
ACTIVE: Final = Family("cicd_pipeline_run_active", "Runs that have not finished.", ("cicd_pipeline_name",))
VERDICTS: Final = Family("aegis_verdicts_total", "Verdicts of the gates.", ("project", "outcome"))
BLOCKS: Final = Family("aegis_gate_blocks_total", "Times that a gate blocked.", ("project", "gate"))
DEPLOYS: Final = Family("aegis_deployments_total", "Deployments that reached an environment.",
                        ("service", "environment", "result"))  # fmt: skip
DEPLOY_TIME: Final = Family("aegis_deployment_duration_seconds", "From the manifest's commit to the end.",
                            ("service", "environment"), SECONDS)  # fmt: skip
LEAD: Final = Family("aegis_lead_time_seconds", "From a change's first push to its first good production deployment.",
                     ("service",), LONG)  # fmt: skip
ROLLOUTS: Final = Family("aegis_rollouts_total", "Finished rollouts.", ("service", "environment", "result"))
DORA: Final[tuple[tuple[str, str, str], ...]] = (
    ("frequency_per_day", "aegis_dora_deployment_frequency_per_day", "Good production deployments a day, 30 days."),
    ("lead_seconds", "aegis_dora_lead_time_seconds", "Median lead time for changes, 30 days."),
    ("change_failure_rate", "aegis_dora_change_failure_ratio", "Failed by all production deployments, 30 days."),
    ("recovery_seconds", "aegis_dora_recovery_seconds", "Median failed deployment recovery time, 30 days."),
    ("rework_rate", "aegis_dora_rework_ratio", "Unplanned by all production deployments, 30 days."),
)
_SHARD: Final = re.compile(r" \d+/\d+$")


@dataclass(slots=True)
class RunClock:
    """What has to be known of a run until it ends."""

    project: str
    created_at: datetime
    started_at: datetime | None = None
    code_failed: bool = False
    machinery_failed: bool = False


@dataclass(slots=True)
class MetricsState:
    """Everything a checkpoint holds."""

    last_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    runs: dict[str, RunClock] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    deliveries: DeliveryState = field(default_factory=DeliveryState)


class Metrics:
    """The projection. One thread applies; others may read meanwhile: they walk over copies made in one step."""

    name: Final = "metrics"
    version: Final = 2

    def __init__(self) -> None:
        self._state = MetricsState()
        self._deliveries = Deliveries(self._state.deliveries)
        self._table: Mapping[type, Callable[[Record, Any], None]] = {
            events.RunCreated: self._run_created,
            events.RunStarted: self._run_started,
            events.JobFinished: self._job_finished,
            events.RunFinished: self._run_finished,
            events.VerdictGiven: self._verdict,
            events.RolloutFinished: self._rollout,
        }

    # -- the projection's protocol -------------------------------------------------------------------------

    def apply(self, record: Record) -> None:
        """Take one record, the next in order; erased and unknown ones count nothing."""
        self._state.last_at = record.recorded_at
        handler = self._table.get(type(record.data))
        if handler is not None:
            handler(record, record.data)
        before = len(self._state.deliveries.delivered)
        self._deliveries.apply(record)
        for one in self._state.deliveries.delivered[before:]:
            self._delivered(one)

    def dump(self) -> bytes:
        """The state as a checkpoint."""
        return codec.pack(self._state)

    def load(self, data: bytes) -> None:
        """Take up a checkpoint; `ValueError` when it cannot be read."""
        self._state = codec.unpack(data, MetricsState)
        self._deliveries = Deliveries(self._state.deliveries)

    # -- folding -------------------------------------------------------------------------------------------

    def _series(self, family: Family) -> Series:
        return self._state.series.setdefault(family.name, Series())

    def _run_created(self, record: Record, data: events.RunCreated) -> None:
        self._state.runs[data.run.id] = RunClock(data.run.project, record.recorded_at)

    def _run_started(self, record: Record, data: events.RunStarted) -> None:
        run = self._state.runs.get(data.run)
        if run is not None and run.started_at is None:
            run.started_at = record.recorded_at
            waited = (run.started_at - run.created_at).total_seconds()
            self._series(RUN_QUEUE).observe((run.project,), waited, RUN_QUEUE.bounds)

    def _job_finished(self, record: Record, data: events.JobFinished) -> None:
        job, run = data.job, self._state.runs.get(record.subject.partition("/")[2])
        project = run.project if run else record.project
        result = job_result(job)
        if run and result in ("failure", "timeout") and not job.allow_failure and not data.will_retry:
            run.code_failed = True
        if run and result == "error" and not job.allow_failure and not data.will_retry:
            run.machinery_failed = True
        if why := error_type(job):
            self._series(ERRORS).add((project, result, why))
            if result == "error":
                self._series(SYSTEM).add(("runner", why))
        if job.started_at and job.finished_at:
            seconds = (job.finished_at - job.started_at).total_seconds()
            self._series(JOB).observe((project, _SHARD.sub("", job.name), result), seconds, JOB.bounds)
        if job.queued_at and job.started_at:
            waited = (job.started_at - job.queued_at).total_seconds()
            self._series(JOB_QUEUE).observe((project,), waited, JOB_QUEUE.bounds)

    def _run_finished(self, record: Record, data: events.RunFinished) -> None:
        run = self._state.runs.pop(data.run, None)
        if run is None:
            return
        names = {State.SUCCESS: "success", State.CANCELED: "cancellation", State.SKIPPED: "skip"}
        machinery = run.machinery_failed and not run.code_failed
        result = names.get(data.state, "error" if machinery else "failure")
        seconds = (record.recorded_at - (run.started_at or run.created_at)).total_seconds()
        self._series(RUN).observe((run.project, result), seconds, RUN.bounds)

    def _verdict(self, _: Record, data: events.VerdictGiven) -> None:
        verdict = data.verdict
        self._series(VERDICTS).add((verdict.project, verdict.outcome))
        for gate in dict.fromkeys(reason.gate for reason in verdict.blocking):
            self._series(BLOCKS).add((verdict.project, gate))

    def _rollout(self, _: Record, data: events.RolloutFinished) -> None:
        one = data.rollout
        result = "promoted" if one.state is RolloutState.PROMOTED else "rolled_back"
        self._series(ROLLOUTS).add((one.service, one.environment, result))

    def _delivered(self, one: Delivered) -> None:
        where = (one.service, one.environment)
        result = "rollback" if one.rollback else "success" if one.ok else "failure"
        self._series(DEPLOYS).add((*where, result))
        self._series(DEPLOY_TIME).observe(where, (one.finished_at - one.started_at).total_seconds(), DEPLOY_TIME.bounds)
        for seconds in one.lead_seconds:
            self._series(LEAD).observe((one.service,), seconds, LEAD.bounds)

    # -- reading -------------------------------------------------------------------------------------------

    def delivered(self) -> tuple[Delivered, ...]:
        """The deployments that are remembered, oldest first."""
        return tuple(self._state.deliveries.delivered)

    def dora(self, *, until: datetime | None = None, days: float = 30.0, service: str = "") -> Dora:
        """DORA's measures of production before `until` (the last record's time where it is not given)."""
        return measure(self.delivered(), until=until or self._state.last_at, days=days, service=service)

    def exposition(self) -> str:
        """Everything in Prometheus' text form, as of the last record."""
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        active: dict[tuple[str, ...], float] = {}
        for run in tuple(self._state.runs.values()):
            active[run.project,] = active.get((run.project,), 0) + 1
        yield from gauge_lines(ACTIVE, active)
        for family in (RUN, RUN_QUEUE, JOB, JOB_QUEUE, DEPLOY_TIME, LEAD):
            yield from histogram_lines(family, self._series(family))
        for family in (ERRORS, SYSTEM, VERDICTS, BLOCKS, DEPLOYS, ROLLOUTS):
            yield from counter_lines(family, self._series(family))
        services = sorted({one.service for one in self.delivered()})
        measured = {service: self.dora(service=service) for service in services}
        for attribute, name, text in DORA:
            values = {service: getattr(dora, attribute) for service, dora in measured.items()}
            known: dict[Labels, float] = {(one,): value for one, value in values.items() if value is not None}
            yield from gauge_lines(Family(name, text, ("service",)), known)
