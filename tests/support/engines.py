"""Container engines of a test's own: Debian's dockerd and podman, with storage, sockets and networks apart from the machine's."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from aegis.bootstrap import engines
from support.server import mounts_below


def _environment() -> dict[str, str]:
    return {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}


@contextlib.contextmanager
def bridge() -> Iterator[str]:
    """A network bridge of the test's own, for an engine whose builds want one. It leads nowhere."""
    name = f"ag{os.getpid()}"
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    try:
        subprocess.run(["ip", "addr", "add", "10.213.77.1/24", "dev", name], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", name], check=True)


@contextlib.contextmanager
def buildkitd(folder: Path, program: Path) -> Iterator[str]:
    """BuildKit's daemon; its address."""
    folder.mkdir(parents=True)
    address = f"unix://{folder / 'buildkitd.sock'}"
    (folder / "buildkitd.toml").write_text("")
    argv = [
        str(program), "--config", str(folder / "buildkitd.toml"), "--root", str(folder / "data"), "--addr", address,
        "--oci-worker-binary", "runc", "--oci-worker-net", "host",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not (folder / "buildkitd.sock").is_socket():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


_WITHIN = """#!{python}
import json, os, sys
bundle = next((sys.argv[at + 1] for at, one in enumerate(sys.argv) if one == "--bundle"), "")
if "create" in sys.argv and bundle:
    has = next(int(line.split()[1], 16) for line in open("/proc/self/status") if line.startswith("CapBnd"))
    names = ["CAP_" + one.upper() for one in "{names}".split()]
    config = json.load(open(bundle + "/config.json"))
    for kind, wanted in config["process"].get("capabilities", {{}}).items():
        config["process"]["capabilities"][kind] = [one for one in wanted if one in names and has >> names.index(one) & 1]
    json.dump(config, open(bundle + "/config.json", "w"))
os.execvp("runc", ["runc", *sys.argv[1:]])
"""
_NAMES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
    "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin "
    "sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override "
    "mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
)


def _runtime(folder: Path) -> list[str]:
    """runc that gives a privileged container all that this machine has, where that is less than everything."""
    program = folder / "runc-within"
    program.write_text(_WITHIN.format(python=sys.executable, names=_NAMES))
    program.chmod(0o755)
    return ["--add-runtime", f"within={program}", "--default-runtime", "within"]


@contextlib.contextmanager
def dockerd(folder: Path, *, bridge: str = "none", privileged: bool = False) -> Iterator[Mapping[str, str]]:
    """A docker daemon; the environment that finds it. It leaves the machine's firewall alone."""
    folder.mkdir(parents=True)
    (folder / "daemon.json").write_text("{}")
    alone = [] if bridge == "none" else ["--iptables=false", "--ip-masq=false"]
    argv = [
        "dockerd", "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid"),
        "--host", f"unix://{folder / 'docker.sock'}", "--group", "root", "--bridge", bridge,
        "--config-file", str(folder / "daemon.json"), *alone,
        *(_runtime(folder) if privileged else []),
    ]  # fmt: skip
    found = {**_environment(), "DOCKER_HOST": f"unix://{folder / 'docker.sock'}", "HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not engines._answers("docker", str(folder / "docker.sock")):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextlib.contextmanager
def podman(folder: Path) -> Iterator[Mapping[str, str]]:
    """The environment with which podman keeps everything below `folder`. Its service is started by whoever needs it."""
    folder.mkdir(parents=True)
    files, processes = (resource.getrlimit(one)[1] for one in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    (folder / "containers.conf").write_text(
        '[engine]\nruntime = "runc"\nevents_logger = "none"\ncgroup_manager = "cgroupfs"\n'
        "[containers]\n"
        f'default_ulimits = ["nofile={min(files, 4096)}:{min(files, 4096)}", "nproc={min(processes, 4096)}:{min(processes, 4096)}"]\n'
    )
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder / "data"}"\nrunroot = "{folder / "run"}"\n'
    )
    try:
        yield {
            **_environment(), "HOME": str(folder), "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }  # fmt: skip
    finally:
        # It mounts its own store upon itself and leaves that.
        for place in mounts_below(folder):
            subprocess.run(["umount", "--lazy", place], check=False)
