"""Takes over what a job like this one has left, and notes what this one leaves. Synchronous; called in threads.

`reuse` decides; here are the notes, the files and the sentences for the log.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from aegis.core.errors import AegisError
from aegis.core.reuse import JobReuse
from aegis.core.types import State
from aegis.execution import reuse, stored
from aegis.execution.environment import JobEnvironment
from aegis.execution.ports import WorkspaceRequest
from aegis.execution.reuse import Fingerprint, Proven
from aegis.execution.runners import Assignment, JobResult
from aegis.execution.sealed import SealedNotes
from aegis.execution.supervise.tools import Course, Tools

TRUSTED, OPEN = "protected", "open"


@dataclass(slots=True, kw_only=True)
class Reuse:
    """One attempt's view of what was proven."""

    tools: Tools
    notes: SealedNotes[Proven]
    assignment: Assignment
    lines: list[str] = field(default_factory=list)
    """What the log is to say."""
    _made: Fingerprint | None = None
    _earlier: Proven | None = None

    def look(self, values: JobEnvironment, wish: WorkspaceRequest, course: Course, network: str) -> JobResult | None:
        """The result of an earlier job that this one may take over; None: it is to be worked."""
        assignment, options = self.assignment, self.tools.options
        image = course.image.digest if course.image is not None else ""
        if why := reuse.hindrance(assignment.spec, image, services=len(course.services)):
            self.lines.append(f"Not reused: {why}.")
            return None
        beside = [
            (one.aliases, one.image.digest, one.entrypoint, one.command, one.variables) for one in course.services
        ]
        seen = reuse.Seen(
            variables=values.variables, files=values.files, tree=self.tools.workspaces.files(wish),
            dependencies=assignment.dependencies, isolation=self.tools.executor.isolation,
            surroundings=(image or options.machine, network, *map(repr, beside)),
        )  # fmt: skip
        self._made = reuse.fingerprint(assignment.spec, seen, self._keyed)
        found = self._earlier = self._proven(self._made.whole)
        if found is None:
            self._why_not()
            return None
        if not options.reuse or reuse.forbidden(seen.variables):
            self.lines.append(f"Run {found.run} has proven this already; it is worked again, since that was asked for.")
            return None
        self.lines.append(
            f"Reused: {assignment.spec.name} passed in run {found.run} with the same script, image, variables and inputs."
        )
        self.lines.append(
            f"It took {found.seconds:.1f} s there, on commit {found.commit[:8]}. Nothing was run; AEGIS_NO_REUSE=true runs it."
        )
        taken = JobReuse(
            fingerprint=self._made.whole,
            run=found.run,
            job=found.job,
            commit=found.commit,
            same_tree=found.fingerprint.tree == self._made.tree,
        )
        return JobResult(state=State.SUCCESS, exit_code=0, files=found.files, coverage=found.coverage, reuse=taken)

    def told(self, result: JobResult) -> JobResult:
        """The result of a job that was worked, with what comparing it with the earlier one has shown."""
        if self._made is None:
            return result
        found, verified = self._earlier, ""
        if found is not None:
            if result.state is not State.SUCCESS:
                verified = f"it ended as {result.state}, run {found.run} had passed"
            elif changed := reuse.deviations(result.files, found.files):
                verified = f"other files than in run {found.run}: {', '.join(changed[:10])}"
            else:
                verified = "same"
            same = verified == "same"
            self.lines.append(
                f"Verified: the same result and files as in run {found.run}."
                if same
                else f"WARNING: not reproducible: {verified}"
            )
        made = JobReuse(fingerprint=self._made.whole, verified=verified)
        return replace(result, reuse=made)

    def keep(self, result: JobResult, seconds: float) -> None:
        """Note a job that passed, once its end is written down. What cannot be noted is worked again next time."""
        made, run = self._made, self.assignment.run
        if made is None or result.state is not State.SUCCESS or (result.reuse is not None and result.reuse.run):
            return
        proven = Proven(
            fingerprint=made, run=run.id, job=self.assignment.job.id, commit=run.commit, at=self.tools.clock.now(),
            trusted=self.assignment.trusted, isolation=self.tools.executor.isolation, files=result.files, coverage=result.coverage,
            seconds=seconds,
        )  # fmt: skip
        trust = TRUSTED if self.assignment.trusted else OPEN
        for name in (f"{made.whole}/{trust}", f"last/{self.assignment.spec.name}/{trust}"):
            self.notes.store(run.project, name, proven)

    def _keyed(self, data: bytes) -> str:
        return self.notes.keyed(self.assignment.run.project, data)

    def _proven(self, whole: str) -> Proven | None:
        for trust in (TRUSTED,) if self.assignment.trusted else (TRUSTED, OPEN):
            found = self._note(f"{whole}/{trust}")
            if found is None or not reuse.usable(found, trusted=self.assignment.trusted):
                continue
            if all(stored.is_whole(self.tools.blobs, one.digest) for one in found.files):
                return found
            self.lines.append(f"Not reused: files of run {found.run} are gone.")
        return None

    def _note(self, name: str) -> Proven | None:
        try:
            found = self.notes.lookup(self.assignment.run.project, name)
        except AegisError as error:
            self.lines.append(f"WARNING: what was proven cannot be looked up: {error.message}")
            return None
        if found.refused:
            self.lines.append(f"WARNING: a proven result is refused: {found.refused}.")
        return found.value

    def _why_not(self) -> None:
        trust = TRUSTED if self.assignment.trusted else OPEN
        last = self._note(f"last/{self.assignment.spec.name}/{trust}")
        if last is None or self._made is None:
            self.lines.append("Not reused: nothing like it has passed yet.")
        elif changed := reuse.differences(self._made, last.fingerprint):
            self.lines.append(f"Not reused: other {', '.join(changed)} than in run {last.run}.")
