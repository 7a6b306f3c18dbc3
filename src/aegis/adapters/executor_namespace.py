"""`Executor` on Linux namespaces: a job sees its work tree, the machine's programs and nothing else.

Each step gets user, mount, pid, ipc and uts namespaces, a root made of named directories only, an unprivileged
identity, no capabilities and few system calls; unless it may reach everything, a network of its own, from which the relay leads out. With an image, the image is the root, and the machine's programs are not there. Control groups bound the job as a whole where they can be
made, else each process is bounded. As root, jobs
run as an identity that owns nothing else; as an ordinary user, as that user without sight of its files.
"""

from __future__ import annotations

import functools
import json
import marshal
import os
import platform
import re
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from aegis.adapters.control_groups import control_groups
from aegis.adapters.executor_process import StepSandbox, outside_places
from aegis.adapters.executor_services import ServedSandbox, Services, Surroundings
from aegis.adapters.executor_starter import INIT, Starter
from aegis.adapters.relay import Relay
from aegis.core.errors import ExternalError
from aegis.execution.network import EVERYWHERE, PROXY, Network, NetworkPolicy, refusal
from aegis.execution.ports import Place, Sandbox, SandboxRequest

JOB_ID: Final = 61357
"""User and group of jobs on a machine where Aegis is root: in the range that distributions leave free."""
_TRYING: Final = threading.Lock()
_MACHINES: Final = frozenset({"x86_64", "aarch64", "riscv64"})
_SETTINGS: Final = (
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "kernel.unprivileged_userns_clone is 0",
        "sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "kernel.apparmor_restrict_unprivileged_userns is 1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "user.max_user_namespaces is 0",
        "sysctl -w user.max_user_namespaces=15000",
    ),
)
_CONTAINER_MEND: Final = (
    "in a container: run it with `--privileged`, or `--security-opt seccomp=unconfined --security-opt "
    "systempaths=unconfined`; in a pod set securityContext `privileged: true`, or `hostUsers: false` with "
    "`procMount: Unmasked`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """Whether jobs can be isolated here: `mode` is `root` or `user`; else `detail` says why not and `mend` what to do."""

    ok: bool
    detail: str
    mend: str = ""
    mode: str = ""


def isolation_available() -> Isolation:
    """Try it: start an empty step in every mode that could work here. The answer is kept for the process's life."""
    with _TRYING:
        return _isolation()


@functools.cache
def _isolation() -> Isolation:
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        where = f"{platform.system()} on {platform.machine()}"
        return Isolation(ok=False, detail=f"namespaces need Linux, this is {where}", mend="use --executor process")
    modes = ("root", "user") if os.geteuid() == 0 else ("user",)
    trouble = ""
    for mode in modes:
        before, trouble = trouble, _try(mode)
        if not trouble:
            lesser = f"; not as an identity of their own, since: {before}" if before else ""
            return Isolation(ok=True, detail=f"user, mount, pid, ipc and uts namespaces ({mode}{lesser})", mode=mode)
    for path, value, name, mend in _SETTINGS:
        if _setting(path) == value:
            return Isolation(ok=False, detail=f"{name} ({trouble})", mend=mend)
    return Isolation(ok=False, detail=trouble, mend=_CONTAINER_MEND)


@functools.cache
def networks_available() -> bool:
    """Whether jobs can have networks of their own, too. Tried once, where somebody wants to know."""
    found = isolation_available()
    return found.ok and not _try(found.mode, network=True)


def _setting(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _try(mode: str, *, network: bool = False) -> str:
    """Why an empty step cannot be run in this mode; empty where it can."""
    with tempfile.TemporaryDirectory(prefix="aegis-probe-") as name:
        reader, writer = os.pipe()
        document: dict[str, Any] = {
            "mode": mode, "root": name, "read_only": [], "writable": [], "owner": [JOB_ID, JOB_ID], "grace": 1,
            "argv": ["/bin/sh", "-c", "exit 7"], "environment": {}, "directory": "/tmp",  # noqa: S108 - inside
            "limits": {"memory": 0, "processes": 0, "files": 256}, "report": writer, "parent": os.getpid(),
            **({"network": {}} if network else {}),
        }  # fmt: skip
        try:
            subprocess.run(
                INIT,
                input=marshal.dumps(document), capture_output=True, env={}, pass_fds=(writer,), timeout=20, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        finally:
            os.close(writer)
            told = os.read(reader, 4096)
            os.close(reader)
    lines = told.decode("utf-8", "replace").split("\n")
    answer = next(
        (one for one in lines if one and not one.startswith("used ")), "the first process died without a word"
    )
    return "" if answer == "exit 7" else answer.removeprefix("error ")


class NamespaceExecutor:
    """Runs jobs in namespaces of their own. `ExternalError` with the mend where the system forbids them.

    `read_only` paths are shown to every job where they are (tools, certificates). `grace` seconds lie between asking
    a stopped step and forcing it. `mode` `user` makes root work as an ordinary user would. `environ` is the machine's, of which
    its proxies count. Without `groups` only single processes are bounded, which costs every job a little less.
    """

    def __init__(
        self,
        *,
        read_only: Sequence[Path] = (),
        grace: float = 1.0,
        mode: str = "",
        environ: Mapping[str, str] | None = None,
        groups: bool = True,
    ) -> None:
        found = isolation_available()
        if not found.ok:
            raise ExternalError("no-isolation", f"jobs cannot be isolated here: {found.detail}", hint=found.mend)
        self._read_only = tuple(read_only)
        self._grace = grace
        self._starter = Starter()
        self._relay = Relay(environ or {})
        self._groups = control_groups() if groups else None
        foreign = found.mode == "root" and all(_world_readable(path) for path in self._read_only)
        self._mode = mode or (found.mode if foreign or found.mode == "user" else "user")

    @property
    def isolation(self) -> str:
        """See `Executor`."""
        return "namespaces"

    @property
    def owner(self) -> tuple[int, int] | None:
        """See `Executor`."""
        return (JOB_ID, JOB_ID) if self._mode == "root" else None

    @property
    def carries_images(self) -> bool:
        """See `Executor`."""
        return True

    @property
    def carries_tools(self) -> bool:
        """See `Executor`."""
        return True

    @property
    def carries_services(self) -> bool:
        """See `Executor`."""
        return True

    def place(self, root: Path, project: str) -> Place:
        """See `Executor`. Jobs see stable paths: `/builds/<project>`, `/tmp`, `/home/job`."""
        work = f"/builds/{project}"
        return Place(
            root=root,
            **outside_places(root),
            inner_work=work,
            inner_tmp="/tmp",  # noqa: S108 - a directory of the job's own
            inner_home="/home/job",
            inner_files=f"{work}.tmp",
        )

    async def warm(self) -> None:
        """See `Executor`."""
        await self._starter.warm()

    async def prepare(self, request: SandboxRequest) -> Sandbox:
        """See `Executor`."""
        if request.services and request.network.policy is NetworkPolicy.ALL:
            # Services have to be found in a network of the job's own, out of which only the relay leads.
            request = replace(request, network=Network(policy=NetworkPolicy.REGISTRIES, places=(EVERYWHERE,)))
        place = request.place
        root = _real(place.root.parent)
        # An image is the whole of what its jobs find: no programs of this machine beside it.
        read_only = (*(self._read_only if request.image is None else ()), *request.read_only)
        for path in read_only:
            if f"{root}/".startswith(f"{_real(path).rstrip('/')}/"):
                raise ExternalError(
                    "shows-too-much",
                    f"{path} cannot be shown to jobs: it holds the directory of all jobs",
                    hint="move the data directory out of it, or take it off the tool paths",
                )
        mountpoint = place.root / "root"
        mountpoint.mkdir(exist_ok=True)
        # Outer directories before what lies in them.
        writable = {
            place.inner_home: place.home,
            place.inner_tmp: place.tmp,
            "/var/tmp": place.tmp,  # noqa: S108 - as above
            place.inner_files: place.files,
            place.inner_work: place.work,
            **request.writable,
        }
        settings: dict[str, Any] = {
            "mode": self._mode,
            "owner": list(self.owner or (0, 0)),
            "root": str(mountpoint),
            "read_only": [str(path) for path in read_only],
            "writable": [[target, str(source)] for target, source in writable.items()],
        }
        if request.image is not None:
            settings["image"] = self._layers(request.image.path, place.root)
        if request.network.policy is not NetworkPolicy.ALL:
            settings["network"] = await way_out(request.network, self._relay)
        if not request.services:
            return StepSandbox(
                request, settings, grace=self._grace, starter=self._starter, groups=self._groups,
                ground=self._ground(settings) if self._mode == "root" and request.image is None else b"",
            )  # fmt: skip
        around = Surroundings(settings=settings, network=request.network, overlay=self._layers, grace=self._grace)
        services = Services(request, around, self._starter)
        served = ServedSandbox(
            request, settings, services, grace=self._grace, starter=self._starter, groups=self._groups
        )
        await served.start()
        return served

    @staticmethod
    def _ground(settings: Mapping[str, Any]) -> bytes:
        """What the steps of this job have in common with those of every job like it."""
        root = os.path.dirname(os.path.dirname(settings["root"]))  # noqa: PTH120 - for every step
        return _described(root, tuple(settings["read_only"]), tuple(target for target, _ in settings["writable"]))

    def _layers(self, image: Path, root: Path) -> str:
        """The overlay of an image: what a job changes is kept beside it, from one step to the next."""
        upper, work = root / "upper", root / "upper.work"
        for path in (upper, work):
            path.mkdir(mode=0o755, exist_ok=True)
        if self.owner is not None:
            os.chown(upper, *self.owner)
        names = ("lowerdir", image), ("upperdir", upper), ("workdir", work)
        options = [f"{name}={_escaped(path)}" for name, path in names]
        return ",".join([*options, *(["userxattr"] if self._mode == "user" else [])])

    async def close(self) -> None:
        """See `Executor`."""
        await self._starter.close()
        await self._relay.close()
        if self._groups is not None:
            self._groups.close()


async def way_out(network: Network, relay: Relay) -> dict[str, Any]:
    """What the init program makes of a network of its own: the listeners in it, and the rules for those who answer."""
    if network.policy is NetworkPolicy.NONE:
        return {}
    doors = [(address, where) for where in network.near for address in _listening(where)]
    rules = {"places": network.places, "doors": [where for _, where in doors], "hint": refusal("{}")}
    return {
        "relay": await relay.path(),
        "listen": [_address(PROXY.partition("//")[2]), *(address for address, _ in doors)],
        "rules": json.dumps(rules).encode(),
    }


def _address(where: str) -> list[str | int]:
    host, _, port = where.rpartition(":")
    return [host.strip("[]"), int(port)]


def _listening(where: str) -> Iterator[list[str | int]]:
    """The addresses inside at which a place of the machine's loopback is found."""
    host, port = _address(where)
    for one in ("127.0.0.1", "::1") if host == "localhost" else (host,):
        yield [one, port]


@functools.lru_cache(maxsize=1000)
def _real(path: Path) -> str:
    """Where a directory of tools lies; asked for every job, and the same for all of them."""
    return os.path.realpath(path)


@functools.lru_cache(maxsize=100)
def _described(root: str, read_only: tuple[str, ...], targets: tuple[str, ...]) -> bytes:
    """The wish for a ground, as the keeper reads it: the same bytes for the same ground."""
    return marshal.dumps({"root": root, "read_only": [*read_only], "targets": [*targets]})


def _world_readable(path: Path) -> bool:
    """Whether another identity can read a tool directory once it is shown (its parents do not count then)."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return True
    return bool(mode & stat.S_IROTH) and (not stat.S_ISDIR(mode) or bool(mode & stat.S_IXOTH))


def _escaped(path: Path) -> str:
    """A path as an option of an overlay mount."""
    return re.sub(r"([\\:,])", r"\\\1", str(path))
