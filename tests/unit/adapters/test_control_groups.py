"""Where control groups are found, what is written into them, what is read: both kinds of the kernel's interface, on plain folders."""

from __future__ import annotations

import os
from pathlib import Path

from aegis.adapters.control_groups import ControlGroups, Group, control_groups, found
from aegis.core.types import JobUsage
from aegis.execution.ports import JobLimits

OLD = """25 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw
26 25 0:23 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
27 25 0:24 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
28 25 0:25 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
29 25 0:26 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
LIMITS = JobLimits(total_memory=1 << 30, cpus=1.5, processes=100)


def test_the_older_kind_has_a_place_for_each_controller() -> None:
    own = "4:memory:/user/x\n3:cpu,cpuacct:/docker/abc/y\n2:pids:/\n1:name=systemd:/\n0::/\n"
    assert found(own, OLD) == (
        {
            "memory": Path("/sys/fs/cgroup/memory/user/x"), "cpu": Path("/sys/fs/cgroup/cpu,cpuacct/y"),
            "cpuacct": Path("/sys/fs/cgroup/cpu,cpuacct/y"), "pids": Path("/sys/fs/cgroup/pids"),
        },
        False,
    )  # fmt: skip


def test_the_unified_kind_has_one() -> None:
    mounts = "29 25 0:26 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"
    assert found("0::/system.slice/aegis.service\n", mounts) == (
        {"": Path("/sys/fs/cgroup/system.slice/aegis.service")},
        True,
    )
    assert found("0::/\n", "1 1 0:1 / / rw - ext4 /dev/a rw\n") == ({}, False)


def folders(root: Path, *names: str) -> dict[str, Path]:
    places = {name: root / name for name in names}
    for place in places.values():
        place.mkdir(exist_ok=True)
    return places


def test_bounds_are_written_as_each_kind_has_them(tmp_path: Path) -> None:
    old = folders(tmp_path, "memory", "pids", "cpu")
    Group(old, unified=False).limit(LIMITS)
    assert (old["memory"] / "memory.limit_in_bytes").read_text() == str(1 << 30)
    assert (old["pids"] / "pids.max").read_text() == "100"
    assert (old["cpu"] / "cpu.cfs_quota_us").read_text() == "150000"
    one = tmp_path / "one"
    one.mkdir()
    Group(dict.fromkeys(("memory", "pids", "cpu"), one), unified=True).limit(LIMITS)
    said = {path.name: path.read_text() for path in one.iterdir()}
    assert said == {"memory.max": str(1 << 30), "memory.swap.max": "0", "pids.max": "100", "cpu.max": "150000 100000"}


def test_use_is_read_as_each_kind_tells_it(tmp_path: Path) -> None:
    old = folders(tmp_path, "memory", "cpuacct", "blkio")
    (old["memory"] / "memory.max_usage_in_bytes").write_text("7000\n")
    (old["memory"] / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    (old["cpuacct"] / "cpuacct.usage").write_text("1500000000\n")
    (old["blkio"] / "blkio.throttle.io_service_bytes_recursive").write_text(
        "8:0 Read 10\n8:0 Write 20\n8:16 Read 5\nTotal 35\n"
    )
    seen = Group(old, unified=False).seen()
    assert seen.usage == JobUsage(cpu_seconds=1.5, peak_memory=7000, read_bytes=15, written_bytes=20)
    assert seen.killed == 2

    one = tmp_path / "one"
    one.mkdir()
    (one / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (one / "memory.peak").write_text("9000\n")
    (one / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    (one / "io.stat").write_text("8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n")
    group = Group(dict.fromkeys(("memory", "cpu", "io"), one), unified=True)
    usage, killed = group.since(JobUsage(cpu_seconds=9.0))
    assert usage == JobUsage(cpu_seconds=2.5, peak_memory=9000, read_bytes=11, written_bytes=22)
    assert killed == 1
    # The next step counts from there; what nothing was counted of is what the step says.
    usage, killed = group.since(JobUsage(cpu_seconds=0.1))
    assert (usage and usage.cpu_seconds, usage and usage.read_bytes, killed) == (0.1, 0, 0)


def test_a_group_is_made_for_each_job_and_removed_after_it(tmp_path: Path) -> None:
    places = folders(tmp_path, "memory", "pids")
    left, foreign = places["pids"] / "aegis-jobs-999999999", places["pids"] / "aegis-1234567890"
    foreign.mkdir()
    (left / "3").mkdir(parents=True)
    groups = ControlGroups(places, unified=False)
    assert not left.exists()
    assert foreign.exists()
    foreign.rmdir()
    assert groups.controllers == ("memory", "pids")
    group = groups.make(JobLimits(processes=0))
    assert group is not None
    assert group.entrances == [
        str(places[name] / f"aegis-jobs-{os.getpid()}" / "1" / "cgroup.procs") for name in ("memory", "pids")
    ]
    assert group.bounds_memory
    groups.give_back(group)
    groups.close()
    assert [*places["memory"].iterdir(), *places["pids"].iterdir()] == []


def test_here_there_are_groups_or_none_and_nothing_stays() -> None:
    groups = control_groups()
    if groups is not None:
        made = groups.make(LIMITS)
        assert made is not None
        assert made.seen().killed == 0
        groups.give_back(made)
        groups.close()
        assert not any(Path(path).parent.exists() for path in made.entrances)
