"""What a terminal shows of a run: widths, folded logs, frames, drawings, and a whole run in a real pseudo-terminal."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from aegis.adapters.executor_namespace import isolation_available
from aegis.bootstrap.history import Usual
from aegis.cli import show
from aegis.cli.columns import cut, padded, plain, width
from aegis.cli.folded import FoldedLog
from aegis.cli.screen import Going, Row, Sum, frame, remaining, spoken
from aegis.core.plan import Plan
from aegis.core.types import JobRun, Run, State
from support import terminal

_AEGIS = [sys.executable, "-m", "aegis"]


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("안녕", 4), ("日本 a", 6), ("e\u0301", 1), ("é", 1), ("✓", 1), ("", 0)]
)
def test_wide_characters_take_two_columns_and_marks_none(text: str, columns: int) -> None:
    assert width(text) == columns


def test_text_is_cut_between_characters_and_filled_up() -> None:
    assert [cut("안녕하세요", columns) for columns in (10, 9, 8, 5, 2, 1, 0)] == [
        "안녕하세요", "안녕하세…", "안녕하…", "안녕…", "…", "…", "",
    ]  # fmt: skip
    for columns in range(1, 12):
        assert width(padded("안녕 abc", columns)) == columns


def test_nothing_that_a_terminal_acts_on_is_left_of_a_log_line() -> None:
    assert plain("\x1b[31mred\x1b[0m \x1b]0;title\x07and\x1b[2J\x08 clear\x9b") == "red and clear"
    assert plain("10 %\r50 %\r100 %\r\x1b[0K") == "100 %"
    assert plain("a\tb") == "a   b"


def _log(*parts: str) -> list[str]:
    log = FoldedLog()
    return [*(line for part in parts for line in log.feed(part.encode())), *log.close()]


def test_sections_are_folded_to_a_heading_and_the_scripts_own_is_not() -> None:
    text = (
        "section_start:10:get_sources\r\x1b[0KFetching\nsection_end:11:get_sources\r\x1b[0K"
        "section_start:11:step_script\r\x1b[0K$ make\n"
        "section_start:12:deps[collapsed=true]\r\x1b[0KDependencies\none\ntwo\nsection_end:15:deps\r\x1b[0Kdone\n"
        "section_end:16:step_script\r\x1b[0KJob succeeded\n"
    )
    wanted = ["Fetching", "$ make", "▸ Dependencies (2 lines, 3 s)", "done", "Job succeeded"]
    assert _log(text) == wanted
    assert _log(*text) == wanted, "whatever the pieces"
    assert _log(text.replace("section_end:15:deps\r\x1b[0K", "")) == [
        "Fetching", "$ make", "▾ Dependencies (did not end)", "one", "two", "done", "Job succeeded",
    ]  # fmt: skip
    assert FoldedLog(fold=False).feed(text.encode())[3:5] == ["one", "two"]


def test_a_line_that_has_not_ended_is_shown_as_it_is() -> None:
    log = FoldedLog()
    assert log.feed(b"whole\n 42 %\r 43 %") == ["whole"]
    assert log.unfinished == " 43 %"


def _job(name: str, lines: int = 0, usual: float | None = None) -> Going:
    return Going(
        name=name, state="running", seconds=5, usual=usual, log=tuple(f"{name} 안녕 {one}" for one in range(lines))
    )


_SUM = Sum(jobs=300, done=100, failed=2, seconds=75, left=61, at_least=True)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 10, 23, 60])
@pytest.mark.parametrize("columns", [8, 20, 79, 200])
@pytest.mark.parametrize("running", [0, 1, 4, 64])
def test_a_frame_fits_whatever_room_there_is(rows: int, columns: int, running: int) -> None:
    lines = frame([_job(f"작업 {one}", 40) for one in range(running)], _SUM, columns=columns, rows=rows)
    assert 1 <= len(lines) <= rows
    assert all(width(line.text) <= columns for line in lines)
    assert lines[-1].text.startswith("100/3")
    if running > rows > 2 and columns > 30:
        assert f"{running - (rows - 2)} more running" in lines[-2].text


def test_a_frame_shows_progress_the_ends_of_logs_and_the_sum() -> None:
    assert frame([_job("build", 1, usual=10), _job("긴 이름", 9)], _SUM, columns=60, rows=10) == [
        Row("● running build    █████░░░░░ 5 s of about 10 s", "●"),
        Row("  │ build 안녕 0", "│"),
        Row("● running 긴 이름  5 s", "●"),
        *(Row(f"  │ 긴 이름 안녕 {one}", "│") for one in range(3, 9)),
        Row("100/300 jobs · ✗ 2 failed · ● 2 running · 1 min 15 s · at l…"),
    ]
    focus = frame([_job("a", 9), _job("b", 9)], _SUM, columns=60, rows=8, focus=frozenset({"b"}))
    assert [one.text[:8] for one in focus[:2]] == ["● runnin", "  │ b 안녕"[:8]]
    assert sum(one.symbol == "│" for one in focus) == 5


def test_what_is_left_is_work_over_jobs_at_once_and_never_less_than_the_longest() -> None:
    assert remaining([10, 10, 10, 10], [_job("a", usual=25)], 2) == (30, False)
    assert remaining([40, 1], [], 8) == (40, False)
    assert remaining([None, 4], [], 2) == (4, True)
    assert remaining([None], [_job("a")], 2) == (None, False)
    assert [spoken(one) for one in (0.4, 59.6, 61, 3700)] == ["0 s", "60 s", "1 min 01 s", "1 h 01 min"]


def test_drawings_replace_one_another_and_lines_stay(capsys: pytest.CaptureFixture[str]) -> None:
    screen, seen = show.Screen(99), terminal.Screen(20, 6)
    assert screen.size() == (80, 24), "where no terminal can be asked"
    for kept, rows in (([], ["one", "two"]), (["stays"], ["three"]), ([], ["four", "five", "six"]), (["too"], ["end"])):
        screen.keep(kept)
        screen.draw([Row(text) for text in rows], 20)
    screen.draw([Row("end")], 20)
    seen.feed(capsys.readouterr().err.replace("\n", "\r\n").encode())
    assert seen.text == "stays\ntoo\nend"
    screen.clear()
    seen.feed(capsys.readouterr().err.replace("\n", "\r\n").encode())
    assert seen.text == "stays\ntoo\n"


def test_a_terminal_that_became_narrower_is_drawn_over_where_its_lines_wrapped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = show.Screen(99)
    screen.draw([Row("x" * 35), Row("y" * 10)], 40)
    capsys.readouterr()
    screen.draw([Row("z")], 10)
    assert capsys.readouterr().err.startswith("\r\x1b[4A"), "35 columns are four rows of ten, ten are one"


class _Made:
    """A run as the display sees it: every log is one line."""

    id = "r"
    attended = 0

    def __init__(self) -> None:
        self.executor = SimpleNamespace(isolation="namespaces")
        self.terminal = threading.Lock()

    def log_size(self, _: JobRun) -> int:
        return 5

    def log_piece(self, _: JobRun, offset: int, limit: int) -> bytes:
        return b"line\n"[offset:][:limit]


def test_a_thousand_jobs_are_not_a_thousand_drawings_and_a_shell_has_the_terminal_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = [0.0]
    monkeypatch.setattr(show.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(show.sys.stderr, "fileno", lambda: 99)
    plan = Plan(id="p", source="push", commit="c", project="p/q", ref="main", jobs=(), stages=())
    shown, made = show.Show(plan, show.Wish(live=True), Usual(tmp_path, "p/q")), _Made()
    shown.begin(made)  # type: ignore[arg-type]
    capsys.readouterr()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    jobs = [JobRun(id=f"j{one}", name=f"j{one}", stage="test") for one in range(1000)]
    drawn = []
    for number in range(1000):
        jobs[number] = replace(jobs[number], state=State.SUCCESS, started_at=at, finished_at=at)
        if number + 1 < len(jobs):
            jobs[number + 1] = replace(jobs[number + 1], state=State.RUNNING, started_at=at)
        now[0] += 0.002
        shown.see(
            Run(
                id="r",
                project="p/q",
                ref="main",
                commit="c",
                plan="",
                change="",
                source="push",
                started_by="",
                jobs=tuple(jobs),
            )
        )
        drawn.append(capsys.readouterr().err)
    frames = [one for one in drawn if one]
    assert 10 <= len(frames) <= 21, "two seconds, at most ten in each"
    assert "success" not in "".join(frames), "of so many jobs what went well is counted"
    with made.terminal:
        now[0] += 1
        shown.line("waits")
        assert capsys.readouterr().err == ""
        made.attended = 1
    now[0] += 1
    shown.line("for it")
    text = capsys.readouterr().err
    assert text.startswith("waits")
    assert "\x1b[1A" not in text, "what the shell left on the screen stays"


def test_a_run_in_a_terminal_shows_its_jobs_and_ends_with_the_result(tmp_path: Path) -> None:
    (tmp_path / ".gitlab-ci.yml").write_text("one: {script: ['echo 안녕; sleep 0.6; exit 3']}\n")
    session = terminal.run([*_AEGIS, "run"], cwd=tmp_path, columns=90)
    screen = terminal.Screen(90)
    screen.feed(session.out)
    assert session.code == 1
    assert "● running\x1b[0m one".encode() in session.out
    assert "\x1b[2m  │ 안녕".encode() in session.out
    lines = screen.text.split("\n")
    assert lines[0] == "reading the pipeline …"
    assert lines[2].startswith("✗ failed one  ")
    assert lines[3:5] == ["", "✗ failed one: the script ended with exit code 3"], "nothing of the moving part is left"


def test_two_interrupts_leave_at_once_with_nothing_left_and_say_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / ".gitlab-ci.yml").write_text(
        "fast: {script: ['true']}\n"
        "slow: {needs: [fast], script: ['echo up; sleep 619'], after_script: ['echo cleaning; sleep 619']}\n"
    )
    answers = [(b" up\x1b[0m", b"\x03"), (b" cleaning\x1b[0m", b"\x03")]
    session = terminal.run([*_AEGIS, "run"], answers, cwd=tmp_path)
    screen = terminal.Screen()
    screen.feed(session.out)
    assert session.code == 130
    assert "interrupted; stopping slow (again to leave at once)" in screen.text
    assert "ending by force, whatever their after_script still does: slow" in screen.text
    assert "– canceled slow" in screen.text
    assert "1 of 2 jobs had passed; go on with: aegis run slow" in screen.text
    assert "sleep 619" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    assert list(tmp_path.glob(".aegis/runs/*/jobs")) == list(tmp_path.glob(".aegis/runs/*/tree")) == []


def test_a_kill_stops_the_jobs_as_well_and_what_kill_9_leaves_goes_with_the_next_run(tmp_path: Path) -> None:
    (tmp_path / ".gitlab-ci.yml").write_text("slow: {script: ['echo up; sleep 618']}\nfast: {script: ['true']}\n")
    session = terminal.run([*_AEGIS, "run", "slow"], [(b" up\x1b[0m", lambda one: one.terminate())], cwd=tmp_path)
    assert session.code == 143
    terminal.run([*_AEGIS, "run", "slow"], [(b" up\x1b[0m", lambda one: one.kill())], cwd=tmp_path)
    assert len(list(tmp_path.glob(".aegis/runs/*/jobs"))) == 1
    assert terminal.run([*_AEGIS, "run", "fast"], cwd=tmp_path).code == 0
    assert list(tmp_path.glob(".aegis/runs/*/jobs")) == list(tmp_path.glob(".aegis/runs/*/tree")) == []
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


@pytest.mark.skipif(not isolation_available().ok, reason=isolation_available().detail)
def test_a_shell_opens_where_a_job_failed_in_its_very_mounts_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / ".gitlab-ci.yml").write_text(
        "a: {script: ['echo made > made; echo boom; exit 3'], variables: {MODE: slow}}\n"
        "b: {script: ['echo $((2+3))-after'], needs: []}\n"
    )
    answers = [
        (b"boom\r\n", b""),
        (b"$ ", b"echo $MODE-$(cat made)-$((40+2)); pwd; (setsid sleep 617 &)\n"),
        (b"slow-made-42\r\n/builds/", b"exit\n"),
    ]
    session = terminal.run([*_AEGIS, "run", "--shell-on-failure"], answers, cwd=tmp_path)
    assert session.code == 1
    assert session.moments[1] - session.moments[0] < 5, "a prompt within a second, where nobody else wants the machine"
    screen = terminal.Screen()
    screen.feed(session.out)
    assert "✗ failed a  " in screen.text
    assert "✓ success b  " in screen.text
    assert "sleep 617" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    assert list(tmp_path.glob(".aegis/runs/*/jobs")) == list(tmp_path.glob(".aegis/runs/*/tree")) == []
