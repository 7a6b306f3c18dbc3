"""How long the tests of a job took when it last passed, given to the instances of a job with `parallel`. Called in threads.

All instances of one run are given the same durations, whatever ends in between: else they would share out the tests differently, and
some would be worked by none of them. So what the first instance was given is noted for the others.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from aegis.core.errors import AegisError
from aegis.core.ports import Blobs
from aegis.core.types import StoredFile
from aegis.execution import shards
from aegis.execution.runners import Assignment
from aegis.execution.sealed import SealedNotes


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """Seconds by file or class of tests."""

    seconds: Mapping[str, float] = field(default_factory=dict)


class Timings:
    """Durations of the jobs of projects, in sealed notes."""

    def __init__(self, notes: SealedNotes[Durations], blobs: Blobs) -> None:
        self._notes = notes
        self._blobs = blobs
        self._lock = threading.Lock()

    @staticmethod
    def concerned(assignment: Assignment) -> bool:
        """Whether a job is an instance of many: only such are given durations, and only theirs are kept."""
        return assignment.spec.parallel_total is not None

    def given(self, assignment: Assignment) -> str:
        """What an instance is given, as JSON; empty for a job without `parallel`."""
        if assignment.spec.parallel_total is None or assignment.spec.parallel_index is None:
            return ""
        project, job = assignment.run.project, _group(assignment)
        pinned = f"run/{assignment.run.id}/{job}"
        with self._lock:
            try:
                found = self._notes.lookup(project, pinned).value
                if found is None:
                    found = self._notes.lookup(project, job).value or Durations()
                    self._notes.store(project, pinned, found)
            except AegisError:
                # Without durations in any of them: the instances agree all the same.
                found = Durations()
        return json.dumps(dict(found.seconds), sort_keys=True)

    def keep(self, assignment: Assignment, files: tuple[StoredFile, ...]) -> None:
        """Note the durations in the reports of an instance that passed, over what was noted of the same places."""
        if assignment.spec.parallel_total is None:
            return
        fresh: dict[str, float] = {}
        for file in files:
            if file.kind == "junit":
                fresh |= shards.durations(shards.tests_of(self._blobs.get(file.digest)))
        if not fresh:
            return
        project, job = assignment.run.project, _group(assignment)
        with self._lock:
            known = self._notes.lookup(project, job).value or Durations()
            # The newest come last and stay when there are too many.
            merged = {place: one for place, one in known.seconds.items() if place not in fresh} | fresh
            self._notes.store(project, job, Durations(seconds=dict(list(merged.items())[-shards.MOST :])))


def _group(assignment: Assignment) -> str:
    trust = "protected" if assignment.trusted else "open"
    return f"{assignment.spec.name.rpartition(' ')[0] or assignment.spec.name}/{trust}"
