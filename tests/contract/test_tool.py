"""The contract of `core.ports.Tool`: inherit `ToolContract` and give `tool`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from aegis.adapters.tool_sandbox import SandboxTool
from aegis.core.errors import ExternalError, UserError
from aegis.core.ports import Tool, ToolLimits


class ToolContract:
    @pytest.fixture
    def tool(self, tmp_path: Path) -> Tool:
        raise LookupError(tmp_path)

    def test_a_program_gets_its_inputs_and_leaves_its_outputs(self, tool: Tool) -> None:
        script = "cat deep/in; echo said >&2; mkdir out; cp deep/in out/copy; exit 3"
        done = tool.run(["sh", "-c", script], inputs={"deep/in": b"given"}, outputs=("out/copy", "out/none"))
        assert (done.exit_code, done.stdout, done.stderr) == (3, b"given", b"said\n")
        assert done.outputs == {"out/copy": b"given"}

    def test_outputs_may_be_patterns(self, tool: Tool) -> None:
        done = tool.run(["sh", "-c", "mkdir d; echo a > d/a.whl; echo b > d/b.txt"], outputs=("d/*.whl", "none/*"))
        assert done.outputs == {"d/a.whl": b"a\n"}

    def test_nothing_of_the_callers_environment_is_seen(self, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PRIVATE", "mine")
        done = tool.run(["env"], environment={"GIVEN": "yes"})
        names = {line.partition("=")[0] for line in done.stdout.decode().splitlines()}
        assert "GIVEN" in names
        assert names <= {"GIVEN", "PATH", "HOME", "TMPDIR", "LANG", "PWD", "OLDPWD", "SHLVL", "_"}

    def test_two_runs_share_no_directory(self, tool: Tool) -> None:
        tool.run(["touch", "left"])
        assert tool.run(["ls", "-A"]).stdout == b""

    def test_a_directory_is_worked_in_when_one_is_given(self, tool: Tool, tmp_path: Path) -> None:
        tool.run(["touch", "made"], directory=str(tmp_path))
        assert (tmp_path / "made").exists()

    def test_a_missing_program_is_told_with_a_mend(self, tool: Tool) -> None:
        with pytest.raises(ExternalError) as caught:
            tool.run(["no-such-program"])
        assert caught.value.code == "tool-missing"
        assert caught.value.hint

    def test_a_program_beyond_its_time_is_stopped_with_all_that_it_started(self, tool: Tool, tmp_path: Path) -> None:
        pid = tmp_path / "pid"
        started = time.monotonic()
        with pytest.raises(ExternalError) as caught:
            tool.run(
                ["sh", "-c", f"sleep 60 & echo $! > {pid}; echo last words >&2; wait"], limits=ToolLimits(seconds=0.5)
            )
        assert time.monotonic() - started < 20
        assert caught.value.code == "tool-timeout"
        assert "last words" in caught.value.message
        assert_gone(int(pid.read_text()))

    def test_what_a_program_leaves_running_ends_with_it(self, tool: Tool) -> None:
        done = tool.run(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"])
        assert_gone(int(done.stdout))

    def test_memory_is_bound(self, tool: Tool) -> None:
        limits = ToolLimits(memory=256 * 1024 * 1024)
        done = tool.run(["python3", "-c", "bytearray(1 << 30)"], limits=limits)
        assert done.exit_code != 0
        assert b"MemoryError" in done.stderr

    def test_inputs_and_outputs_stay_in_the_directory(self, tool: Tool) -> None:
        with pytest.raises(UserError):
            tool.run(["true"], inputs={"../out": b""})
        done = tool.run(["sh", "-c", "ln -s /etc/passwd link"], outputs=("link", "../../etc/passwd"))
        assert done.outputs == {}


def assert_gone(pid: int) -> None:
    """The process has ended, or is a corpse that nobody has buried yet."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        os.sched_yield()
    raise AssertionError(f"process {pid} still runs")


class TestSandboxTool(ToolContract):
    @pytest.fixture
    def tool(self, tmp_path: Path) -> SandboxTool:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        return SandboxTool(path=os.environ["PATH"], scratch=scratch)

    def test_nothing_is_left_in_the_scratch_folder(self, tool: SandboxTool, tmp_path: Path) -> None:
        tool.run(["touch", "x"])
        assert list((tmp_path / "scratch").iterdir()) == []

    def test_without_network_only_the_loopback_is_there_where_the_kernel_allows_it(self, tool: SandboxTool) -> None:
        listing = ["python3", "-c", "import socket; print(len(socket.if_nameindex()))"]
        count = int(tool.run(listing).stdout)
        assert (count == 1) or not tool.isolates_network
