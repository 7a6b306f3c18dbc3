"""What the end of a job's last attempt means beyond the job: an environment used, a release wished for. Pure.

Decides which events are written together with the job's end. It carries nothing of it out.
"""

from __future__ import annotations

from aegis.core import events
from aegis.core.plan import JobSpec
from aegis.core.types import JobRun, Run, State
from aegis.execution.places import used


def outcomes(run: Run, spec: JobSpec, job: JobRun, *, will_retry: bool) -> tuple[object, ...]:
    """The events that follow at once; none where another attempt does."""
    if will_retry:
        return ()
    found: list[object] = list(used(run, spec, job))
    if spec.release is not None and job.state is State.SUCCESS:
        found.append(events.ReleaseAsked(job=spec.name))
    return tuple(found)
