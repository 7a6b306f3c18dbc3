"""Children that do not outlive their parent, do not see its files, and stay within their limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aegis.adapters import supervised
from aegis.adapters.supervised import Confinement, Limits
from aegis.adapters.supervised.cgroups import Cgroups
from support.workloads import until

PYTHON = str(Path(sys.executable).resolve())
linux = pytest.mark.skipif(sys.platform != "linux", reason="prctl and cgroups are Linux's")


def _run(code: str, tmp_path: Path, **how: object) -> tuple[int | None, str]:
    log = tmp_path / "log"
    with log.open("wb") as output:
        child = supervised.spawn(
            [PYTHON, "-I", "-c", code],
            env={"ONLY": "this"},
            cwd=str(tmp_path),
            output=output,
            **how,  # type: ignore[arg-type]
        )
        code_ = child.wait(20)
        child.end(grace=0)
    return code_, log.read_text()


def test_a_child_has_only_the_environment_it_is_given(tmp_path: Path):
    code, text = _run("import os; print(sorted(os.environ), os.getcwd())", tmp_path)
    assert code == 0
    assert text.split("] ")[0] in ("['ONLY'", "['LC_CTYPE', 'ONLY'")
    assert text.strip().endswith(str(tmp_path))


def test_a_program_that_is_missing_says_so(tmp_path: Path):
    with (tmp_path / "log").open("wb") as output:
        child = supervised.spawn([str(tmp_path / "gone")], env={}, cwd="/", output=output)
        assert child.wait(10) == 126
    assert "cannot be started" in (tmp_path / "log").read_text()


@linux
def test_nothing_survives_the_server_that_is_killed():
    program = (
        "import sys, subprocess, time; from aegis.adapters import supervised;"
        f"c = supervised.spawn([{PYTHON!r}, '-c', 'import time; time.sleep(600)'], env={{}}, cwd='/', output=subprocess.DEVNULL);"
        "print(c.pid, flush=True); time.sleep(600)"
    )
    server = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    child = int(server.stdout.readline())
    until(lambda: b"time.sleep" in Path(f"/proc/{child}/cmdline").read_bytes())
    started = supervised.started_at(child)
    assert started
    until(lambda: b"launcher" not in Path(f"/proc/{child}/cmdline").read_bytes())
    server.kill()
    server.wait()
    server.stdout.close()
    until(lambda: supervised.started_at(child) != started or _is_dead(child))


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def test_a_child_that_does_not_listen_is_ended_with_all_it_started(tmp_path: Path):
    code = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(inner.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    log = tmp_path / "log"
    with log.open("wb") as output:
        child = supervised.spawn([PYTHON, "-c", code], env={}, cwd="/", output=output)
    until(lambda: log.read_text().strip())
    inner = int(log.read_text())
    child.end(grace=0.1)
    assert child.poll() == -signal.SIGKILL
    until(lambda: _is_dead(inner))


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="mount namespaces need root")
def test_concealed_directories_are_empty_but_for_what_is_shown(tmp_path: Path):
    hidden, shown = tmp_path / "data", tmp_path / "data" / "store"
    shown.mkdir(parents=True)
    (hidden / "secret").write_text("x")
    (shown / "file").write_text("y")
    tmp_path.chmod(0o755)
    confined = Confinement(conceal=(str(hidden),), mounts=True)
    code = (
        f"import os; print(os.listdir({str(hidden)!r}), os.listdir({str(shown)!r}))\n"
        f"try: open({str(shown / 'new')!r}, 'w')\n"
        "except OSError as error: print(error.strerror)\n"
        f"import ctypes; print(ctypes.CDLL(None).umount2({os.fsencode(str(hidden))!r}, 2))\n"
    )
    _, text = _run(code, tmp_path, confinement=confined, show=[(str(shown), False)])
    assert text.splitlines() == ["['store'] ['file']", "Read-only file system", "-1"]


@linux
def test_memory_beyond_the_limit_is_refused_or_ends_it(tmp_path: Path):
    cgroups = Cgroups(f"aegis-test-{os.getpid()}")
    try:
        entered = cgroups.create("one", cpu=0.5, memory=64 * 2**20)
        limits = Limits(cpu=0.5, memory=64 * 2**20, cgroups=entered)
        code, text = _run("x = bytearray(200 * 2**20); print('too much')", tmp_path, limits=limits)
        assert code != 0
        assert "too much" not in text
        assert cgroups.out_of_memory("one") is cgroups.available
    finally:
        cgroups.clear()


def test_the_tail_of_a_log_is_short_and_readable(tmp_path: Path):
    log = tmp_path / "log"
    assert supervised.tail(log, 3) == ()
    log.write_bytes(b"\xff\n" + b"x" * 100_000 + b"\nlast\n")
    assert supervised.tail(log, 1) == ("last",)


def test_what_has_gone_is_never_signalled_again_for_its_id_may_be_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sent: list[tuple[int, int]] = []
    real = os.killpg

    def killpg(group: int, number: int) -> None:
        sent.append((group, number))
        real(group, number)

    monkeypatch.setattr(os, "killpg", killpg)
    with (tmp_path / "log").open("wb") as output:
        child = supervised.spawn([PYTHON, "-I", "-c", "pass"], env={}, cwd=str(tmp_path), output=output)
    assert child.wait(20) == 0
    assert sent == [(child.pid, signal.SIGKILL)]  # once, when it is noticed: what it left in its group goes with it
    assert child.poll() == 0
    child.end(grace=1)
    child.end(grace=1)
    assert len(sent) == 1


def test_what_a_leader_left_in_its_group_goes_with_it(tmp_path: Path):
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)"
    exit_code, text = _run(code, tmp_path)
    assert exit_code == 0
    left = int(text)
    until(lambda: not Path(f"/proc/{left}").exists() or "\nState:\tZ" in Path(f"/proc/{left}/status").read_text())


def test_a_group_ends_nothing_for_a_process_that_cannot_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / "aegis-x").mkdir()
    groups = Cgroups("aegis-x", root=tmp_path)
    (tmp_path / "aegis-x" / "one").mkdir()
    (tmp_path / "aegis-x" / "one" / "cgroup.procs").write_text("0\n")
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _number: killed.append(pid))
    groups.remove("one")
    assert killed == []
