"""What every executor has to do, and what those that isolate have to keep apart."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from aegis.adapters.executor_namespace import NamespaceExecutor, _try, isolation_available
from aegis.adapters.executor_process import ProcessExecutor
from aegis.adapters.image_roots import DirectoryImageRoots, Located
from aegis.adapters.layout_directory import OciLayout
from aegis.core.errors import ExternalError
from aegis.core.plan import Image
from aegis.execution.ports import Executor, Exit, ImageRoot, JobLimits, Sandbox, SandboxRequest
from aegis.execution.script import render
from aegis.execution.supervise.places import give, remove
from support.images import Entry, layer, layout, shell_layer

_PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


class Collected:
    """A sink that keeps everything and can be waited on."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.grown = asyncio.Event()

    async def write(self, data: bytes) -> None:
        self.data += data
        self.grown.set()

    async def until(self, text: bytes) -> None:
        while text not in self.data:
            self.grown.clear()
            await asyncio.wait_for(self.grown.wait(), 20)

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")


class Bench:
    """One executor and a directory for its jobs."""

    def __init__(self, executor: Executor, root: Path) -> None:
        self.executor = executor
        self.root = root
        self.jobs = 0
        self.image: ImageRoot | None = None

    async def sandbox(self, **more: Any) -> tuple[Sandbox, SandboxRequest]:
        self.jobs += 1
        place = self.executor.place(self.root / f"job-{self.jobs}", "shop/orders")
        paths = (place.root, place.work, place.tmp, place.home, place.files)
        for path in paths:
            path.mkdir(parents=True)
        if self.executor.owner is not None:
            give(paths[1:], self.executor.owner)
        request = SandboxRequest(job_id=f"job-{self.jobs}", place=place, **{"image": self.image, **more})
        return await self.executor.prepare(request), request

    async def step(self, *commands: str, environment: Mapping[str, str] | None = None, **more: Any) -> tuple[Exit, str]:
        sandbox, _ = await self.sandbox(**more)
        sink = Collected()
        ended = await sandbox.run(render(commands), {**_PATH, **(environment or {})}, sink)
        await sandbox.cleanup()
        return ended, sink.text


def run(work: Callable[[], Coroutine[Any, Any, None]], executor: Executor) -> None:
    async def whole() -> None:
        try:
            await work()
        finally:
            await executor.close()

    asyncio.run(whole())


def alive(mark: str) -> list[int]:
    """The processes on this machine whose command line holds `mark`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


class ExecutorContract:
    """Inherited for each executor."""

    def make(self) -> Executor:
        raise AssertionError

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[Bench]:
        made = Bench(self.make(), tmp_path / "jobs")
        yield made
        remove(made.root)

    def test_output_of_both_streams_and_the_exit_code_arrive(self, bench: Bench) -> None:
        async def work() -> None:
            ended, text = await bench.step("echo to stdout", "echo to stderr >&2", "exit 42")
            assert ended == Exit(code=42)
            assert ended.usage is not None
            assert 0.0 < ended.usage.cpu_seconds < 60.0
            assert ended.usage.peak_memory > 1_000_000
            assert "to stdout\n" in text
            assert "to stderr\n" in text

        run(work, bench.executor)

    def test_the_first_failing_command_ends_the_script_also_in_a_pipe(self, bench: Bench) -> None:
        async def work() -> None:
            ended, text = await bench.step("false | cat", "echo not reached")
            assert ended.code == 1
            assert "not reached\n" not in text.replace("$ echo not reached", "")

        run(work, bench.executor)

    def test_commands_cannot_read_the_script(self, bench: Bench) -> None:
        async def work() -> None:
            ended, text = await bench.step("cat", "echo still here")
            assert ended.code == 0
            assert "still here\n" in text

        run(work, bench.executor)

    def test_the_environment_is_exactly_what_was_given(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AEGIS_TEST_OUTSIDE", "must-not-be-seen")

        async def work() -> None:
            ended, text = await bench.step("env", environment={"GIVEN": "a b\nc"})
            assert ended.code == 0
            assert "GIVEN=a b\nc\n" in text
            assert "must-not-be-seen" not in text

        run(work, bench.executor)

    def test_steps_of_one_sandbox_share_their_files(self, bench: Bench) -> None:
        async def work() -> None:
            sandbox, request = await bench.sandbox()
            place = request.place
            first = f"touch {place.inner_work}/w {place.inner_tmp}/t {place.inner_home}/h"
            assert (await sandbox.run(render([first]), _PATH, Collected())).code == 0
            again = f"test -f w && test -f {place.inner_tmp}/t && test -f {place.inner_home}/h"
            assert (await sandbox.run(render([again]), _PATH, Collected())).code == 0
            assert (place.work / "w").is_file()

        run(work, bench.executor)

    def test_a_stop_ends_everything_also_what_ignores_signals_and_has_a_session_of_its_own(self, bench: Bench) -> None:
        mark = f"sleep 9{os.getpid()}"

        async def work() -> None:
            sandbox, _ = await bench.sandbox()
            sink = Collected()
            script = render(
                [f"setsid sh -c 'trap \"\" TERM; {mark} & {mark} & wait' &", "trap '' TERM", "echo ready; wait"]
            )
            running = asyncio.create_task(sandbox.run(script, _PATH, sink))
            await sink.until(b"ready\n")
            await asyncio.to_thread(_until, lambda: len(alive(mark.replace(" ", "\0"))) >= 2)
            await sandbox.stop()
            assert (await asyncio.wait_for(running, 20)).stopped
            assert alive(mark.replace(" ", "\0")) == []

        run(work, bench.executor)

    def test_a_person_gets_a_shell_where_the_steps_were_and_nothing_of_it_is_left(self, bench: Bench) -> None:
        async def work() -> None:
            sandbox, request = await bench.sandbox()
            await sandbox.run(render(["echo left > seen"]), _PATH, Collected())
            person, terminal = pty.openpty()
            mark = f"77.{os.getpid()}"
            os.write(person, f"sleep {mark} & cat seen; echo at-$PWD-$((40+2)); exit\n".encode())
            shown = bytearray()

            def look() -> None:
                while b"THE END" not in shown:
                    shown.extend(os.read(person, 4096))

            looking = asyncio.create_task(asyncio.to_thread(look))
            await asyncio.wait_for(sandbox.interact(_PATH, terminal), 30)  # type: ignore[call-arg]
            os.write(terminal, b"THE END")
            await asyncio.wait_for(looking, 30)
            for descriptor in (person, terminal):
                os.close(descriptor)
            text = shown.decode("utf-8", "replace")
            assert "left\r" in text
            assert f"at-{request.place.inner_work}-42" in text
            await sandbox.cleanup()
            assert alive(mark) == []

        run(work, bench.executor)

    def test_a_daemon_dies_with_its_step(self, bench: Bench) -> None:
        mark = f"sleep 8{os.getpid()}"

        async def work() -> None:
            ended, _ = await bench.step(f"(setsid sh -c '({mark} &) ; {mark}' >/dev/null 2>&1 &)", "sleep 0.1")
            assert ended.code == 0
            assert alive(mark.replace(" ", "\0")) == []

        run(work, bench.executor)

    def test_after_a_stop_the_next_step_runs(self, bench: Bench) -> None:
        async def work() -> None:
            sandbox, _ = await bench.sandbox()
            sink = Collected()
            running = asyncio.create_task(sandbox.run(render(["echo ready; sleep 60"]), _PATH, sink))
            await sink.until(b"ready\n")
            await sandbox.stop()
            assert (await running).stopped
            assert await sandbox.run(render(["exit 3"]), _PATH, Collected()) == Exit(code=3)

        run(work, bench.executor)

    def test_ten_megabytes_in_one_line_arrive_whole(self, bench: Bench) -> None:
        async def work() -> None:
            _, text = await bench.step("head -c 10485760 /dev/zero | tr '\\0' x")
            assert text.count("x") == 10485760 + "head -c 10485760 /dev/zero | tr '\\0' x".count("x")

        run(work, bench.executor)

    def test_limits_hold(self, bench: Bench) -> None:
        async def work() -> None:
            _, text = await bench.step("ulimit -n; ulimit -v; ulimit -c", limits=JobLimits(memory=512 << 20, files=77))
            assert text.split("\n")[1:4] == ["77", str(512 << 10), "0"]

        run(work, bench.executor)

    def test_nothing_outlives_a_killed_runner(self, tmp_path: Path) -> None:
        mark = f"7{os.getpid()}"
        program = (
            "import asyncio, sys; from pathlib import Path; sys.path[:0] = sys.argv[3:]\n"
            "from contract_executor import Bench, make\n"
            "bench = Bench(make(sys.argv[1]), Path(sys.argv[2]))\n"
            f"asyncio.run(bench.step('echo up > up; sleep {mark} & setsid sleep {mark} & wait'))\n"
        )
        (tmp_path / "contract_executor.py").write_text(
            f"import sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}\n"
            "from test_executor import *\n"
            "def make(kind): return NamespaceExecutor() if kind == 'namespaces' else ProcessExecutor()\n"
        )
        kind = self.make().isolation
        runner = subprocess.Popen([sys.executable, "-c", program, kind, str(tmp_path / "jobs"), str(tmp_path)])
        try:
            _until(lambda: len(alive(f"sleep\0{mark}")) == 2)
            runner.kill()
            runner.wait()
            _until(lambda: alive(f"sleep\0{mark}") == [])
        finally:
            runner.kill()
            runner.wait()
            remove(tmp_path / "jobs")


def _until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class TestProcessExecutor(ExecutorContract):
    def make(self) -> Executor:
        return ProcessExecutor(grace=0.2)


@pytest.mark.skipif(not isolation_available().ok, reason=isolation_available().detail)
class TestNamespaceExecutor(ExecutorContract):
    def make(self) -> Executor:
        return NamespaceExecutor(grace=0.2)

    def test_a_job_sees_no_other_process(self, bench: Bench) -> None:
        async def work() -> None:
            _, text = await bench.step("for p in /proc/[0-9]*; do echo pid ${p#/proc/}; done")
            pids = [int(line.split()[1]) for line in text.splitlines() if line.startswith("pid ")]
            assert max(pids) < 20
            assert os.getpid() not in pids

        run(work, bench.executor)

    def test_a_job_sees_only_what_it_was_given(self, bench: Bench, tmp_path: Path) -> None:
        secret = tmp_path / "data" / "server.key"
        secret.parent.mkdir()
        secret.write_text("key")
        other = bench.root / "job-0" / "work"
        other.mkdir(parents=True)
        (other / "file").write_text("of another job")

        async def work() -> None:
            for path in (secret, other / "file", Path.home(), "/root", "/var/lib", "/sys/kernel", "/run/lock"):
                ended, text = await bench.step(f"ls -la {path}")
                assert ended.code != 0, text
            _, text = await bench.step("ls /builds /home /tmp")
            assert "/builds:\nshop\n" in text
            assert "/home:\njob\n" in text

        run(work, bench.executor)

    def test_a_job_cannot_write_outside_nor_undo_its_mounts(self, bench: Bench) -> None:
        async def work() -> None:
            for command in (
                "touch /usr/bin/x", "touch /etc/x", "touch /x", "mount -o remount,rw /usr", "umount /etc/passwd",
                "mount -t tmpfs none /tmp", "chroot / true", "cat /etc/shadow | grep .", "mknod /tmp/d b 254 0",
                "unshare -Urm sh -c 'mount -o remount,rw,bind /usr && touch /usr/x'", "kill -9 1 && sleep 1 && kill -0 1 && false",
            ):  # fmt: skip
                ended, text = await bench.step(command)
                assert ended.code != 0, f"{command}: {text}"

        run(work, bench.executor)

    def test_a_job_has_no_privilege_and_a_name_of_its_own(self, bench: Bench) -> None:
        async def work() -> None:
            ended, text = await bench.step("id -un; hostname; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status")
            assert ended.code == 0
            assert "job\njob\n" in text
            assert "CapEff:\t0000000000000000" in text
            assert "CapBnd:\t0000000000000000" in text
            assert "NoNewPrivs:\t1" in text

        run(work, bench.executor)

    def test_a_script_is_not_written_through_what_a_step_left(self, bench: Bench, tmp_path: Path) -> None:
        victims = [tmp_path.parent / f"{tmp_path.name}-{number}" for number in (1, 2)]
        for one in victims:
            one.write_text("kept")

        async def work() -> None:
            sandbox, request = await bench.sandbox()
            folder, sink = request.place.inner_files, Collected()
            left = [f"ln -s {victims[0]} {folder}/.step-2", f"ln {victims[1]} {folder}/.step-3 || true"]
            assert (await sandbox.run(render(left), _PATH, sink)).code == 0
            for _ in range(2):
                assert (await sandbox.run(render(["echo went on"]), _PATH, sink)).code == 0
            await sandbox.cleanup()
            assert [one.read_text() for one in victims] == ["kept", "kept"]

        run(work, bench.executor)

    def test_read_only_and_writable_directories_are_shown(self, bench: Bench, tmp_path: Path) -> None:
        tools, cache = tmp_path / "tools", tmp_path / "cache"
        for path in (tools, cache):
            path.mkdir()
        (tools / "tool").write_text("#!/bin/sh\necho tool runs\n")
        (tools / "tool").chmod(0o755)
        if bench.executor.owner is not None:
            give((cache,), bench.executor.owner)

        async def work() -> None:
            ended, text = await bench.step(
                f"{tools}/tool", "echo kept > /cache/file", f"if touch {tools}/x; then exit 9; fi",
                read_only=(tools,), writable={"/cache": cache},
            )  # fmt: skip
            assert ended.code == 0, text
            assert "tool runs\n" in text
            assert (cache / "file").read_text() == "kept\n"

        run(work, bench.executor)

    def test_a_directory_that_holds_the_jobs_is_never_shown(self, bench: Bench, tmp_path: Path) -> None:
        async def work() -> None:
            with pytest.raises(ExternalError, match="holds the directory of all jobs"):
                await bench.sandbox(read_only=(tmp_path,))

        run(work, bench.executor)

    def test_the_usual_devices_and_name_resolution_are_there(self, bench: Bench) -> None:
        async def work() -> None:
            ended, text = await bench.step(
                "head -c 4 /dev/urandom | wc -c", "echo x > /dev/null", "test -r /etc/resolv.conf -o ! -e /etc/resolv.conf",
                "echo shm > /dev/shm/x", "python3 -c 'import socket; socket.getaddrinfo(\"localhost\", 80)'",
                "test -c /dev/tty",
            )  # fmt: skip
            assert ended.code == 0, text

        run(work, bench.executor)

    def test_tools_that_were_replaced_are_shown_as_they_are_now(self, bench: Bench, tmp_path: Path) -> None:
        tools = tmp_path.parent / f"{tmp_path.name}-tools"

        async def work() -> None:
            for word in ("first", "second"):
                tools.mkdir()
                (tools / "word").write_text(word)
                ended, text = await bench.step(f"cat {tools}/word", read_only=(tools,))
                assert ended.code == 0
                assert word in text
                tools.rename(tmp_path.parent / f"{tmp_path.name}-{word}")

        run(work, bench.executor)


@pytest.mark.skipif(
    os.geteuid() != 0 or not isolation_available().ok, reason="only root can give jobs another identity"
)
def test_jobs_of_the_machines_root_are_somebody_else() -> None:
    # Not where the system forbids it; but a fault of ours must not pass for that.
    assert isolation_available().mode == "root" or "EPERM" in _try("root")


@pytest.mark.skipif(not isolation_available().ok, reason=isolation_available().detail)
class TestNamespaceExecutorOfAnOrdinaryUser(TestNamespaceExecutor):
    def make(self) -> Executor:
        return NamespaceExecutor(grace=0.2, mode="user")


@pytest.mark.skipif(not isolation_available().ok, reason=isolation_available().detail)
class TestNamespaceExecutorWithAnImage(ExecutorContract):
    """The same contract, with an image as the root. Its links are there to lead the set-up of mounts astray."""

    def make(self) -> Executor:
        return NamespaceExecutor(grace=0.2)

    def root(self, folder: Path, executor: Executor, config: Mapping[str, Any] | None = None) -> ImageRoot:
        outside = str(folder / "outside")
        (folder / "outside").mkdir(parents=True)
        astray = [
            Entry(name=name, kind=tarfile.SYMTYPE, link=outside)
            for name in ("builds", "home", "run", "proc", "var/tmp", "etc/resolv.conf", "etc/hosts", "etc/group")
        ]
        program = Entry(name="usr/bin/start", data=b'#!/bin/sh\necho started with $1\nexec "$@"\n')
        layout(folder / "layout", shell_layer(), layer([*astray, program]), config=config)
        located = Located(key="tiny", reference="1", open=lambda: contextlib.nullcontext(OciLayout(folder / "layout")))
        roots = DirectoryImageRoots(folder / "roots", lambda *_: located, owner=executor.owner)
        return roots.get(Image(name="tiny"), "shop/orders")

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[Bench]:
        made = Bench(self.make(), tmp_path / "jobs")
        made.image = self.root(tmp_path / "image", made.executor)
        yield made
        assert list((tmp_path / "image" / "outside").iterdir()) == []
        remove(made.root)

    def test_the_image_is_the_root_and_nothing_of_the_machine_is_there(self, bench: Bench, tmp_path: Path) -> None:
        async def work() -> None:
            ended, text = await bench.step(
                "cat /etc/os-release", "id -un", "test ! -e /usr/bin/python3", "test ! -e /opt", f"test ! -e {tmp_path}",
                "grep -c app:x:33 /etc/passwd", "test -L /proc/self && test -c /dev/null && test -d /dev/shm", "echo x > /tmp/x",
                "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status", "test ! -e /etc/shadow",
            )  # fmt: skip
            assert ended.code == 0, text
            assert "ID=tiny\n" in text
            assert "\njob\n" in text
            assert "CapEff:\t0000000000000000" in text
            assert "CapBnd:\t0000000000000000" in text
            assert "NoNewPrivs:\t1" in text

        run(work, bench.executor)

    def test_what_a_job_changes_in_the_image_is_its_own_and_lasts_as_long_as_it(self, bench: Bench) -> None:
        async def work() -> None:
            first, _ = await bench.sandbox()
            second, _ = await bench.sandbox()
            sink = Collected()
            change = render(["echo changed > /usr/bin/start", "mkdir /opt && echo x > /opt/x", "rm /etc/os-release"])
            assert (await first.run(change, _PATH, sink)).code == 0, sink.text
            assert (await first.run(render(["cat /opt/x; test ! -e /etc/os-release"]), _PATH, sink)).code == 0, (
                sink.text
            )
            untouched = render(["cat /etc/os-release; test ! -e /opt; grep -q started /usr/bin/start"])
            assert (await second.run(untouched, _PATH, sink)).code == 0, sink.text

        run(work, bench.executor)
        assert bench.image is not None
        assert (bench.image.path / "etc/os-release").read_text() == "ID=tiny\n"
        assert not (bench.image.path / "opt").exists()

    def test_a_job_cannot_become_more_than_it_is(self, bench: Bench) -> None:
        async def work() -> None:
            for command in (
                "mount -o remount,rw /proc", "umount /etc/passwd", "mount -t tmpfs none /mnt", "chroot / true",
                "mknod /tmp/d b 254 0", "cat /proc/1/environ | grep .", "echo x >> /etc/passwd", "rm -rf /builds",
            ):  # fmt: skip
                ended, text = await bench.step(command)
                assert ended.code != 0, f"{command}: {text}"

        run(work, bench.executor)

    def test_the_entry_point_starts_the_shell_unless_the_job_takes_it_away(self, bench: Bench, tmp_path: Path) -> None:
        image = self.root(tmp_path / "other", bench.executor, {"Entrypoint": ["start"]})

        async def work() -> None:
            _, text = await bench.step("echo ran", image=image)
            assert "started with /bin/bash\n" in text
            assert "\nran\n" in text
            _, text = await bench.step("echo ran", image=image, entrypoint=("",))
            assert "started" not in text
            assert "\nran\n" in text
            ended, text = await bench.step("echo ran", image=image, entrypoint=("/no/such",))
            assert (ended.code, "cannot start /no/such" in text) == (127, True)

        run(work, bench.executor)

    def test_a_read_only_directory_is_shown_where_it_is(self, bench: Bench, tmp_path: Path) -> None:
        objects = tmp_path / "objects"
        objects.mkdir()
        (objects / "one").write_text("object\n")

        async def work() -> None:
            ended, text = await bench.step(
                f"cat {objects}/one", f"if touch {objects}/x; then exit 9; fi", read_only=(objects,)
            )
            assert (ended.code, "object\n" in text) == (0, True), text

        run(work, bench.executor)


@pytest.mark.skipif(not isolation_available().ok, reason=isolation_available().detail)
class TestNamespaceExecutorOfAnOrdinaryUserWithAnImage(TestNamespaceExecutorWithAnImage):
    def make(self) -> Executor:
        return NamespaceExecutor(grace=0.2, mode="user")


def test_without_namespaces_an_image_is_no_root(tmp_path: Path) -> None:
    bench = Bench(ProcessExecutor(), tmp_path / "jobs")
    image = ImageRoot(name="tiny", digest="sha256:0", path=tmp_path, shell_path="/bin/sh")
    assert not bench.executor.carries_images

    async def work() -> None:
        with pytest.raises(ExternalError, match="cannot be a job's root"):
            await bench.sandbox(image=image)

    run(work, bench.executor)


def test_the_probe_says_what_it_found() -> None:
    found = isolation_available()
    assert found.detail
    assert found.ok or found.mend


@pytest.mark.skipif(not isolation_available().ok, reason="no namespaces here")
def test_a_server_of_roots_gives_jobs_an_identity_that_owns_nothing_wherever_python_lies() -> None:
    assert isolation_available().mode == ("root" if os.geteuid() == 0 else "user")
