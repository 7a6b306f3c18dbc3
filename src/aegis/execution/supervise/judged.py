"""How a job ended, from how its script ended and why it was stopped. Pure."""

from __future__ import annotations

from aegis.core.types import State
from aegis.execution.ports import Exit
from aegis.execution.runners import JobResult
from aegis.execution.schedule import SYSTEM_FAILURE
from aegis.execution.supervise.tools import Course


def judged(ended: Exit, course: Course, timeout: float) -> JobResult:
    """The result, without files. A stop counts before the exit code, which is that of what was killed; `timeout` in seconds."""
    if course.stop == "timeout":
        text = f"the job ran longer than its timeout of {timeout} s"
        return JobResult(state=State.FAILED, failure_reason="job_execution_timeout", message=text)
    if course.stop == "shutdown":
        return JobResult(state=State.FAILED, failure_reason=SYSTEM_FAILURE, message="the runner is stopping")
    if course.stop:
        return JobResult(state=State.CANCELED, message="canceled")
    if ended.code == 0:
        return JobResult(state=State.SUCCESS, exit_code=0)
    return JobResult(
        state=State.FAILED,
        exit_code=ended.code,
        failure_reason="script_failure",
        message=course.starved or f"the script ended with exit code {ended.code}",
    )
