"""Known failures are named with their mend; unknown ones are not guessed at."""

from __future__ import annotations

import pytest

from aegis.core.types import JobRun, State
from aegis.execution.explain import causes_of


def _failed(**more: object) -> JobRun:
    return JobRun(id="1", name="a", stage="test", state=State.FAILED, exit_code=1, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "code", "quoted"),
    [
        ("ModuleNotFoundError: No module named 'fastapi'", "module-missing", "fastapi"),
        ("/builds/x.tmp/.step-1: line 5: poetry: command not found", "command-missing", "poetry"),
        ("FAILED tests/test_a.py::test_b - assert 1 == 2", "test-failed", "tests/test_a.py::test_b"),
        ("ERROR collecting tests/test_a.py", "test-collection", ""),
        ("collected 0 items", "no-tests", ""),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "hash-mismatch", ""),
        ("ERROR: No matching distribution found for requests==99", "no-matching-version", ""),
        ("Because shop-shared was not found in the package registry and", "package-missing", "shop-shared"),
        ("curl: (6) Could not resolve host: index.invalid", "network", ""),
        ("ssl.SSLError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "certificate", ""),
        ("OSError: [Errno 28] No space left on device", "disk-full", ""),
        ("MemoryError", "out-of-memory", ""),
        ("bash: ./run.sh: Permission denied", "permission", ""),
        ("SyntaxError: invalid syntax", "syntax-error", ""),
        ("error: 403 Forbidden", "denied-by-registry", ""),
    ],
)
def test_a_known_failure_is_named_with_its_mend(line: str, code: str, quoted: str) -> None:
    found = causes_of(_failed(), f"\x1b[32;1m$ pytest\x1b[0;m\nsome output\n{line}\n".encode())
    assert code in [one.code for one in found]
    cause = next(one for one in found if one.code == code)
    assert cause.hint
    assert line[:200] in cause.evidence
    assert quoted in cause.message + cause.hint


def test_the_runs_own_reasons_come_first() -> None:
    job = _failed(failure_reason="job_execution_timeout", message="the job ran longer than its timeout of 5 s")
    found = causes_of(job, b"FAILED tests/test_a.py::test_b\n")
    assert [one.code for one in found] == ["timeout", "test-failed"]


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert causes_of(_failed(), b"all went to pieces\n") == ()
    assert causes_of(JobRun(id="1", name="a", stage="t", state=State.SUCCESS), b"MemoryError\n") == ()
