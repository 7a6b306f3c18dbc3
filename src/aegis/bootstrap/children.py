"""Child pipelines of a local run: compiled from the same working tree, carried out by the same coordinator.

What a server does with events and commands is done here by looking: `step` starts what a trigger job asks for and ends the
job when its pipeline has ended. Pipelines of other projects are refused, since there is only this one.
"""

from __future__ import annotations

from dataclasses import replace

from aegis.core.errors import AegisError, UserError
from aegis.core.plan import JobSpec, Trigger
from aegis.core.ports import Blobs
from aegis.core.types import JobRun, Run, State
from aegis.execution import downstream
from aegis.execution.coordinator import Coordinator
from aegis.execution.runners import ForeignJob, JobResult
from aegis.pipeline.child import CHILD, child_request, forwarded
from aegis.pipeline.compile import compile_pipeline
from aegis.pipeline.request import CompileRequest

_DEPTH = 2


class Children:
    """The child runs of one local run. Not thread-safe: one thread looks."""

    def __init__(self, coordinator: Coordinator, blobs: Blobs, request: CompileRequest | None) -> None:
        self._coordinator = coordinator
        self._blobs = blobs
        self._request = request
        self._root = ""
        """The id of the run that all others descend from; known once somebody looked."""
        self._started: dict[str, str] = {}
        """The trigger job's id, which is its child's, to the name under which its jobs are shown."""

    def step(self, run: Run, *, prefix: str = "", depth: int = 0) -> None:
        """Start and end what there is to start and end."""
        self._root = self._root or run.id
        specs = {spec.name: spec for spec in self._coordinator.plan(run.id).jobs if spec.trigger is not None}
        for job in run.jobs:
            spec = specs.get(job.name)
            if spec is None or spec.trigger is None:
                continue
            if job.id in self._started:
                child = self._coordinator.run(job.id)
                self.step(child, prefix=f"{self._started[job.id]}: ", depth=depth + 1)
                if child.state.finished and job.state is State.RUNNING:
                    self._coordinator.finish(job.id, downstream.mirrored(child.id, child.state))
            elif job.state is State.RUNNING:
                self._begin(run, job, spec, spec.trigger, f"{prefix}{job.name}", depth)

    def _begin(self, run: Run, job: JobRun, spec: JobSpec, trigger: Trigger, shown: str, depth: int) -> None:
        result: JobResult | None = None
        if trigger.project or self._request is None:
            text = f"a local run has no other project: {trigger.project}; run it there with `aegis run`"
            result = downstream.refused("downstream_bridge_project_not_found", text)
        elif depth >= _DEPTH:
            text = f"children are nested deeper than {_DEPTH}"
            result = downstream.refused("reached_max_descendant_pipelines_depth", text)
        else:
            try:
                self._submit(run, job, spec, trigger)
                self._started[job.id] = shown
            except AegisError as error:
                result = downstream.refused("downstream_pipeline_creation_failed", error.message)
            if result is None and not trigger.strategy:
                result = downstream.started(job.id)
        if result is not None:
            self._coordinator.finish(job.id, result)

    def _submit(self, run: Run, job: JobRun, spec: JobSpec, trigger: Trigger) -> None:
        if self._request is None:
            raise AssertionError("asked for without a request")
        known = [("CI_PIPELINE_ID", run.id), ("CI_PROJECT_PATH", run.project), ("CI_COMMIT_SHA", run.commit)]
        equipped = downstream.equipped(trigger, self._coordinator.feeders(run.id, spec.name), self._blobs, known)
        given = self._coordinator.plan(run.id).given
        asked = replace(self._request, source=CHILD, pipeline_variables=forwarded(equipped, given), changed=None)
        found = compile_pipeline(child_request(asked, equipped, downstream.reader(run.jobs, self._blobs)))
        if found.errors:
            first = found.errors[0]
            raise downstream.Unmade(f"{first.where}: {first.message}" if first.where else first.message)
        if found.plan is None:
            raise downstream.Unmade(found.skipped or "no job applies")
        plan = found.plan
        child = Run(
            id=job.id, project=run.project, ref=run.ref, commit=run.commit, plan="", change="", source=CHILD,
            started_by=run.started_by, parent=run.id,
        )  # fmt: skip
        self._coordinator.submit(child, plan, actor="local")

    def jobs(self) -> tuple[JobRun, ...]:
        """The jobs of all children under names that say whose they are."""
        return tuple(
            replace(job, name=f"{shown}: {job.name}")
            for child, shown in self._started.items()
            for job in self._coordinator.run(child).jobs
        )

    def foreign(self, run: Run, spec: JobSpec) -> tuple[ForeignJob, ...]:
        """The jobs of this run's own family whose files a job needs; there is no other project here."""
        found = []
        for need in spec.foreign_needs if any(one.artifacts for one in spec.foreign_needs) else ():
            family = {self._root, *self._started} if self._root else {run.id}
            jobs = self._coordinator.run(need.pipeline).jobs if need.pipeline in family else ()
            job = next((one for one in jobs if one.name == need.job and one.state is State.SUCCESS), None)
            if job is not None:
                found.append(ForeignJob(run=need.pipeline, job=job))
            elif need.artifacts and not need.optional:
                where = need.project or f"the pipeline {need.pipeline}"
                text = f"job {spec.name!r} needs the files of {need.job!r} of {where}, which is not to be had here"
                raise UserError("missing-dependency", text, hint="a server has other projects; or say `optional: true`")
        return tuple(found)

    def runs(self) -> tuple[str, ...]:
        """The ids of the children."""
        return tuple(self._started)

    def waits(self, job: JobRun) -> bool:
        """Whether a running job only waits for its child, whose own jobs say how far it is."""
        return job.id in self._started and not self._coordinator.run(job.id).state.finished

    def cancel(self, reason: str) -> None:
        """Stop them all."""
        for child in self._started:
            self._coordinator.cancel(child, "local", reason)
