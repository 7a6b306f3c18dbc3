"""What a hostile job tries: more processes and memory than it may have, the kernel's rarer doors, its own keeper. All of it bounded."""

from __future__ import annotations

import errno
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.adapters.control_groups import control_groups
from aegis.adapters.executor_init.calls import LATER, denied
from aegis.adapters.executor_namespace import NamespaceExecutor, isolation_available
from aegis.execution.ports import JobLimits
from aegis.execution.supervise.places import remove
from contract.test_executor import Bench, alive, run

pytestmark = pytest.mark.skipif(not isolation_available().ok, reason=isolation_available().detail)
GROUPS = control_groups() is not None


@pytest.fixture(params=["root", "user"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(NamespaceExecutor(grace=0.2, mode="user" if request.param == "user" else ""), tmp_path / "jobs")
    yield made
    remove(made.root)


BOMB = """
import os, time
made = 0
try:
    while made < 5000:
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                time.sleep(%d)
            time.sleep(%d)
        made += 1
except OSError as error:
    print("stopped at", made, error.errno, flush=True)
"""


def test_a_fork_bomb_is_bounded_and_ends_with_the_job(bench: Bench) -> None:
    length = 100000 + os.getpid()

    async def work() -> None:
        ended, text = await bench.step(
            f"cat > bomb.py <<'END'\n{BOMB % (length, length)}\nEND", f"{sys.executable} -I -S bomb.py",
            limits=JobLimits(processes=100), read_only=(Path(sys.prefix), Path(sys.base_prefix)),
        )  # fmt: skip
        assert f"{errno.EAGAIN}\n" in text, text
        made = int(text.split("stopped at ")[1].split()[0])
        assert made < 100
        # The machine, and the next job, go on.
        assert (await bench.step("true"))[0].code == 0
        assert ended.code in {0, 1}
        assert alive("bomb.py") == []

    run(work, bench.executor)


def test_a_job_that_uses_up_its_memory_is_told_so(bench: Bench) -> None:
    program = 'held = [b"x" * (16 << 20) for _ in range(40)]; print(len(held), "had it all")'

    async def work() -> None:
        ended, text = await bench.step(f"python3 -I -S -c '{program}'", limits=JobLimits(total_memory=96 << 20))
        assert ended.code != 0
        assert "40 had it all\n" not in text
        assert ended.out_of_memory is GROUPS
        if GROUPS:
            assert ended.code == 137
            assert ended.usage is not None
            assert 60 << 20 < ended.usage.peak_memory <= 96 << 20
        assert (await bench.step("true"))[0].code == 0

    run(work, bench.executor)


def test_what_runs_in_the_background_is_counted_too(bench: Bench) -> None:
    busy = "import time; [None for _ in iter(time.process_time, 1) if time.process_time() > 0.4 and exit()]"

    async def work() -> None:
        ended, _ = await bench.step(
            f"setsid sh -c \"python3 -I -S -c '{busy}'; touch done; sleep 60\" &",
            "while [ ! -e done ]; do sleep 0.05; done",
        )  # fmt: skip
        assert ended.usage is not None
        if GROUPS:
            assert ended.usage.cpu_seconds > 0.3

    run(work, bench.executor)


CALLS = """
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
for pair in sys.argv[1:]:
    name, number = pair.split("=")
    ctypes.set_errno(0)
    done = libc.syscall(int(number), -1, -1, -1, -1, -1, -1)
    print("call", name, done, errno.errorcode.get(ctypes.get_errno(), "-"))
"""


def test_calls_that_are_for_whoever_runs_the_machine_are_denied(bench: Bench) -> None:
    wanted = denied(platform.machine())

    async def work() -> None:
        pairs = " ".join(f"{name}={number}" for name, number in wanted.items() if name != "reboot")
        ended, text = await bench.step(
            f"cat > calls.py <<'END'\n{CALLS}\nEND", f"python3 -I -S calls.py {pairs} later=462 future=480 wide={0x40000000 + 39}",
            "grep Seccomp: /proc/self/status",
        )  # fmt: skip
        assert ended.code == 0, text
        said = {words[1]: words[2:] for line in text.splitlines() if (words := line.split()) and words[0] == "call"}
        assert set(said) == (set(wanted) - {"reboot"}) | {"later", "future", "wide"}
        for name in set(wanted) - {"reboot"}:
            assert said[name] == ["-1", "ENOSYS" if name in LATER else "EPERM"], name
        assert said["future"] == said["wide"] == ["-1", "ENOSYS"]
        assert "Seccomp:\t2" in text

    run(work, bench.executor)


def test_what_programs_need_is_there(bench: Bench) -> None:
    """Threads, pipes, debugging oneself, namespaces of one's own as browsers make them, terminals, the clock."""

    async def work() -> None:
        ended, text = await bench.step(
            "python3 -c 'import threading, subprocess, multiprocessing as m; t = threading.Thread(target=print); t.start(); t.join(); "
            "subprocess.run([\"true\"], check=True); p = m.Process(target=print); p.start(); p.join(); m.Semaphore()'",
            "unshare --user --net --pid --fork true", "date", "git init -q x && git -C x status",
            "python3 -c 'import pty; pty.spawn([\"true\"])' </dev/null",
        )  # fmt: skip
        assert ended.code == 0, text

    run(work, bench.executor)


def test_a_job_cannot_look_into_its_keeper(bench: Bench) -> None:
    attach = (
        "import ctypes, sys; libc = ctypes.CDLL(None, use_errno=True); done = libc.ptrace(0x4206, 1, 0, 0); "
        "sys.exit(0 if done == -1 and ctypes.get_errno() == 1 else 3)"
    )

    async def work() -> None:
        ended, text = await bench.step(
            f"python3 -I -S -c '{attach}'", "! ls /proc/1/fd 2>/dev/null | grep .", "! cat /proc/1/maps | grep ."
        )
        assert ended.code == 0, text

    run(work, bench.executor)
