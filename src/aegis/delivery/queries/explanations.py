"""Why jobs of a run failed, compared with the last run in which the same job succeeded.

Reads plans, trees and logs of both runs; what they say is decided in `execution.explain`. An explanation is kept in memory,
since a failed job's facts do not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aegis.core import codec
from aegis.core.errors import AegisError
from aegis.core.plan import Plan
from aegis.core.types import JobRun, State
from aegis.delivery import views
from aegis.delivery.context import Context
from aegis.delivery.queries.entries import RunEntry
from aegis.execution.explain import Explanation, Good, Inputs, Outcome, digest, explained, inputs_of
from aegis.supplychain.locks import NAMES, packages_of

TAIL: Final = 256 * 1024
_KEPT: Final = 512
_EARLIER: Final = 50


class Explanations:
    """Explanations of failed jobs. Any thread may ask: two that ask the same at once both find the same."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._known: dict[str, Explanation] = {}

    def causes(self, entry: RunEntry, plan: Plan) -> tuple[views.Cause, ...]:
        """The causes of every failed job of a run, most likely first."""
        found = [
            views.Cause(
                job=job.name, code=one.code, message=one.message, hint=one.hint, evidence=one.evidence,
                confidence=one.confidence,
            )
            for job in entry.jobs.values()
            if job.state is State.FAILED
            for one in self._explained(entry, plan, job).causes
        ]  # fmt: skip
        return tuple(sorted(found, key=lambda cause: -cause.confidence))

    def inputs(self, entry: RunEntry, plan: Plan) -> views.RunInputs:
        """What the run was made of."""
        run = entry.run
        _, locks = self._tree(run.project, run.commit)
        made = [
            (spec.name, inputs_of(spec, commit=run.commit, ref=run.ref, files={}, locks=locks)) for spec in plan.jobs
        ]
        jobs = tuple(
            views.JobInputs(
                name=name, image=one.image, services=one.services, variables=one.variables, script=one.script
            )
            for name, one in made
        )
        return views.RunInputs(run=run.id, commit=run.commit, locks=locks, jobs=jobs)

    def _explained(self, entry: RunEntry, plan: Plan, job: JobRun) -> Explanation:
        known = self._known.get(job.id)
        if known is None:
            if len(self._known) >= _KEPT:
                self._known = {}
            known = self._known[job.id] = self._make(entry, plan, job)
        return known

    def _make(self, entry: RunEntry, plan: Plan, job: JobRun) -> Explanation:
        tail = self._log(job)
        now = self._inputs(entry, plan, job.name)
        others = self._others(entry, job.name)
        same = [one for one in others if one.run.commit == entry.run.commit]
        before = [one for one in others if one.run.id < entry.run.id]
        here = [one for one in before if one.run.ref == entry.run.ref]
        good = next((one for one in (*same, *here, *before) if one.jobs[job.name].state is State.SUCCESS), None)
        if now is None or good is None:
            return explained(job, tail)
        made = self._inputs(good, self._plan(good), job.name)
        if made is None:
            return explained(job, tail)
        history = [Outcome(succeeded=False, inputs=digest(now))]
        history += [
            Outcome(succeeded=one.jobs[job.name].state is State.SUCCESS, inputs=digest(inputs))
            for one in same
            if (inputs := self._inputs(one, self._plan(one), job.name)) is not None
        ]
        last = Good(run=good.run.id, inputs=made, log=self._log(good.jobs[job.name]))
        return explained(job, tail, now=now, good=last, history=history)

    def _others(self, entry: RunEntry, job: str) -> list[RunEntry]:
        """Other runs of the project in which the job ended, the youngest first."""
        ended = {State.SUCCESS, State.FAILED}
        runs = self._context.world.read(lambda state: list(state.runs.values()))
        found = [
            one
            for one in reversed(runs)
            if one.run.project == entry.run.project
            and one.run.id != entry.run.id
            and job in one.jobs
            and one.jobs[job].state in ended
        ]
        return found[:_EARLIER]

    def _plan(self, entry: RunEntry) -> Plan | None:
        try:
            return codec.decode(self._context.blobs.get(entry.run.plan), Plan)
        except AegisError:
            return None

    def _inputs(self, entry: RunEntry, plan: Plan | None, job: str) -> Inputs | None:
        if plan is None:
            return None
        try:
            spec = plan.job(job)
        except KeyError:
            return None
        files, locks = self._tree(entry.run.project, entry.run.commit)
        return inputs_of(spec, commit=entry.run.commit, ref=entry.run.ref, files=files, locks=locks)

    def _tree(self, project: str, commit: str) -> tuple[Mapping[str, str], Mapping[str, Mapping[str, str]]]:
        """The files of a commit and the versions that its own locks name; nothing where it is gone."""
        try:
            repository = self._context.host.repository(project)
            files = {one.path: f"{one.oid}{one.mode[-3:]}" for one in repository.entries(commit)}
            locks = {
                path: {one.name: one.version or "" for one in packages_of(path, repository.read(commit, path))}
                for path in files
                if path in NAMES
            }
        except AegisError:
            return {}, {}
        return files, locks

    def _log(self, job: JobRun) -> bytes:
        if job.trace is None or not job.trace.size:
            return b""
        start = max(0, job.trace.size - TAIL)
        try:
            return b"".join(self._context.blobs.open(job.trace.digest, offset=start))
        except AegisError:
            return b""
