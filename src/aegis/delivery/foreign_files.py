"""The jobs of other pipelines whose files a job fetches: `needs:project` and `needs:pipeline`.

Of another project the newest pipeline of the ref counts in which the job passed, for whoever may read that project. Of a pipeline
by its id only one of the same family counts: parents, children and siblings of one commit. Nothing is waited for: what is not
there fails the job, unless the need is optional.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from aegis.access.policy import Resource
from aegis.core.errors import NotFound, UserError
from aegis.core.plan import ForeignNeed, JobSpec
from aegis.core.types import JobRun, Run, State
from aegis.delivery.context import Context
from aegis.delivery.queries.entries import RunEntry
from aegis.execution.runners import ForeignJob
from aegis.pipeline.child import CHILD

_DEEPEST = 10


class ForeignFiles:
    """Answers for one server. Safe from any thread. `numbered` turns a pipeline's number into its id; `NotFound`."""

    def __init__(self, context: Callable[[], Context], numbered: Callable[[int], str]) -> None:
        self._context = context
        self._numbered = numbered

    def __call__(self, run: Run, spec: JobSpec) -> tuple[ForeignJob, ...]:
        """See `Coordinator`: in the order of the needs. `UserError` names the need that cannot be met."""
        found = []
        for need in spec.foreign_needs:
            one = self._one(run, need) if need.artifacts else None
            if one is not None:
                found.append(one)
            elif need.artifacts and not need.optional:
                raise UserError(
                    "missing-dependency",
                    f"job {spec.name!r} needs the files of {_said(need)}, and no such job has passed and left any",
                    hint="run that pipeline first, or say `optional: true`",
                )
        return tuple(found)

    def feeds(self, run: Run, spec: JobSpec, run_id: str, wanted: JobRun) -> bool:
        """Whether a job of another run is one that this one may fetch from, at whatever time it was chosen."""
        other = self._run(run_id)
        for need in spec.foreign_needs if other is not None else ():
            if not need.artifacts or need.job != wanted.name or other is None:
                continue
            if (
                need.project
                and other.project == need.project
                and other.ref in _refs(need)
                and self._may(run, need.project)
            ):
                return True
            if not need.project and self._related(run, other) and other.id == self._id(need.pipeline):
                return True
        return False

    def _one(self, run: Run, need: ForeignNeed) -> ForeignJob | None:
        if need.project:
            return self._of_project(run, need)
        other = self._run(self._id(need.pipeline))
        if other is None or not self._related(run, other):
            return None
        return _passed(other, need.job)

    def _of_project(self, run: Run, need: ForeignNeed) -> ForeignJob | None:
        if not self._may(run, need.project):
            return None
        for other in self._newest(need.project):
            if other.ref in _refs(need) and other.source != CHILD and (found := _passed(other, need.job)) is not None:
                return found
        return None

    def _newest(self, project: str) -> Iterator[Run]:
        """A project's runs, newest first: open ones as they are now, then those that ended."""
        context = self._context()
        still = sorted((one for one in context.engine.open_runs() if one.project == project), key=lambda one: one.id)
        yield from reversed(still)
        seen = {one.id for one in still}
        entries = context.world.read(lambda state: [one for one in state.runs.values() if one.run.project == project])
        for entry in reversed(entries):
            if entry.run.id not in seen:
                yield _with_jobs(entry)

    def _may(self, run: Run, project: str) -> bool:
        """Whether whoever started a run may read another project."""
        if project == run.project:
            return True
        context = self._context()
        identity = context.adopted.directory.by_id(run.started_by)
        if identity is None or project not in context.options.projects:
            return False
        return context.adopted.access.authorise(identity, "read", Resource(kind="project", project=project)).allowed

    def _id(self, pipeline: str) -> str:
        """A pipeline's id; empty where nothing has that number."""
        if not (pipeline.isascii() and pipeline.isdigit()):
            return pipeline
        try:
            return self._numbered(int(pipeline))
        except NotFound:
            return ""

    def _run(self, run_id: str) -> Run | None:
        try:
            return self._context().engine.run(run_id)
        except NotFound:
            return None

    def _related(self, run: Run, other: Run) -> bool:
        return run.project == other.project and self._root(run) == self._root(other)

    def _root(self, run: Run) -> str:
        found: Run | None = run
        for _ in range(_DEEPEST):
            if found is None or not found.parent or found.source != CHILD:
                break
            run, found = found, self._run(found.parent)
        return found.id if found is not None else run.id


def _passed(run: Run, name: str) -> ForeignJob | None:
    job = next((one for one in run.jobs if one.name == name), None)
    kept = (
        job is not None and job.state is State.SUCCESS and any(one.kind in {"archive", "dotenv"} for one in job.files)
    )
    return ForeignJob(run=run.id, job=job) if job is not None and kept else None


def _with_jobs(entry: RunEntry) -> Run:
    return replace(entry.run, jobs=tuple(entry.jobs.values()))


def _refs(need: ForeignNeed) -> tuple[str, str]:
    return f"refs/heads/{need.ref}", f"refs/tags/{need.ref}"


def _said(need: ForeignNeed) -> str:
    if need.project:
        return f"{need.job!r} of {need.project} at {need.ref}"
    return f"{need.job!r} of the pipeline {need.pipeline!r}"
