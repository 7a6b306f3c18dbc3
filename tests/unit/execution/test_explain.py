"""Known failures are named with their mend; unknown ones are not guessed at."""

from __future__ import annotations

import pytest

from aegis.core.types import JobRun, State
from aegis.execution.explain import causes_of, new_lines
from aegis.execution.network import refusal


def _failed(**more: object) -> JobRun:
    return JobRun(id="1", name="a", stage="test", state=State.FAILED, exit_code=1, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "first"),
    [
        ("wget: server returned error: HTTP/1.1 502 Bad Gateway", "service-not-ready"),
        ("curl: (7) Failed to connect to db port 5432: Connection refused", "service-not-ready"),
        ("FAILED tests/test_a.py::test_b - assert 1 == 2", "test-failed"),
    ],
)
def test_a_service_that_never_became_ready_is_why_nothing_answers_and_no_more(said: str, first: str) -> None:
    for how in (
        "has ended before it was ready; lately it said:\nno such file",
        "did not accept on port 5432 within 30 s",
    ):
        log = f"WARNING: the service postgres:16 {how}\nCopied 3 files.\n\x1b[32;1m$ make test\x1b[0;m\n{said}\n"
        found = causes_of(_failed(), log.encode())
        assert found[0].code == first, found
        assert "postgres:16" in next(one for one in found if one.code == "service-not-ready").message


@pytest.mark.parametrize(
    ("line", "code", "quoted"),
    [
        ("ModuleNotFoundError: No module named 'fastapi'", "module-missing", "fastapi"),
        ("WARNING: network: " + refusal("a.example:443"), "network-policy", "a.example:443"),
        ("/builds/x.tmp/.step-1: line 5: poetry: command not found", "command-missing", "poetry"),
        ("FAILED tests/test_a.py::test_b - assert 1 == 2", "test-failed", "tests/test_a.py::test_b"),
        ("ERROR collecting tests/test_a.py", "test-collection", ""),
        ("collected 0 items", "no-tests", ""),
        ("curl: (28) Operation timed out after 1000 milliseconds", "network", "Operation timed out"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "hash-mismatch", ""),
        ("ERROR: No matching distribution found for requests==99", "no-matching-version", ""),
        ("Because shop-shared was not found in the package registry and", "package-missing", "shop-shared"),
        ("curl: (6) Could not resolve host: index.invalid", "name-resolution", "index.invalid"),
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


def _log(*commands: tuple[str, str]) -> bytes:
    return "".join(f"\x1b[32;1m$ {command}\x1b[0;m\n{out}\n" for command, out in commands).encode()


def test_what_an_earlier_command_lived_with_is_no_cause() -> None:
    log = _log(("curl http://db || true", "curl: (7) Connection refused"), ("pytest", "FAILED tests/a.py::test_b"))
    assert [one.code for one in causes_of(_failed(), log)] == ["test-failed"]


def test_what_the_log_says_was_retried_is_no_cause() -> None:
    log = _log(("./wait.sh", "Connection refused, trying again\nthe totals differ"))
    assert causes_of(_failed(), log) == ()


def test_what_stood_in_the_good_log_as_well_is_no_cause() -> None:
    log = _log(("./build.sh", "ModuleNotFoundError: No module named 'uvloop'\nbuilt 17 of 18"))
    good = _log(("./build.sh", "ModuleNotFoundError: No module named 'uvloop'\nbuilt 18 of 18"))
    assert [one.code for one in causes_of(_failed(), log)] == ["module-missing"]
    assert causes_of(_failed(), log, good) == ()
    assert new_lines(log, _log(("./build.sh", "all done"))) == (
        "ModuleNotFoundError: No module named 'uvloop'", "built 17 of 18",
    )  # fmt: skip


def test_what_a_test_compared_or_printed_is_no_cause() -> None:
    log = _log(
        (
            "pytest",
            "=== FAILURES ===\nE  AssertionError: assert 'No space left on device' == ''\nFAILED a.py::b - assert",
        )
    )
    assert [one.code for one in causes_of(_failed(), log)] == ["test-failed"]


def test_after_script_is_not_why_a_job_failed() -> None:
    log = b"\x1b[32;1m$ check\x1b[0;m\nno\nsection_start:1:after_script\r\x1b[0Kbash: line 1: rmm: command not found\n"
    assert causes_of(_failed(), log) == ()
