"""Jobs and services as containers: what a container engine is asked for, and the script that is a step's first process. Pure.

Decides who a job is in its container, what it may, and which pull policies, privileges and sockets are refused. Documents are
those of Docker Engine's interface; how they are sent, and in which order, is the executor's.
"""

from __future__ import annotations

import fnmatch
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aegis.core.errors import ExternalError, UserError
from aegis.core.spent import JobUsage
from aegis.core.values import dataclass
from aegis.execution import images
from aegis.execution.ports import Place, SandboxRequest, ServiceRequest

LABEL: Final = "aegis.runner"
SOCKET: Final = "/var/run/docker.sock"
"""Where a job finds the engine's socket, when it is given to jobs."""
_SHELLS: Final = ("/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash")
_CHOOSE: Final = "".join(f'[ -x {one} ] && exec {one} "$0" {one}\n' for one in _SHELLS) + 'exec /bin/sh "$0" /bin/sh'
_ENGINES_OWN: Final = ("HOSTNAME", "HOME", "TERM", "container")
"""Variables that engines add."""
_ROOT_NEEDS: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID")
"""What installing packages takes; nothing of it reaches beyond the container."""
_SERVICE_DROPS: Final = ("AUDIT_WRITE", "MKNOD", "NET_RAW", "SETPCAP", "SYS_CHROOT")
_STEP: Final = ".step"
_SCRIPT: Final = ".script"
_USED: Final = ".used"
GATE: Final = ".gate"
"""In the job's directory of files: what a step waits for until its way out is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPolicy:
    """What an operator lets jobs have of a container engine.

    `privileged` are patterns of images that run with every right (docker:*-dind); `root` lets a job be root where its
    `image:docker:user` asks for it; `socket` shows the engine's socket to every job. `pull_policies` are those allowed, the
    first of them that of jobs without a wish. `image` is that of jobs that name none.
    """

    privileged: tuple[str, ...] = ()
    root: bool = False
    socket: bool = False
    pull_policies: tuple[str, ...] = ("always", "if-not-present", "never")
    image: str = ""

    def is_privileged(self, image: str) -> bool:
        """Whether an image may have every right."""
        return any(fnmatch.fnmatchcase(image, one) for one in self.privileged)

    def pulls(self, asked: Sequence[str]) -> tuple[str, ...]:
        """The pull policies to try, in order; `UserError` where none of those asked for is allowed."""
        wanted = images.policies(asked) if asked else self.pull_policies[:1]
        found = tuple(one for one in wanted if one in self.pull_policies)
        if not found:
            raise UserError(
                "pull-policy", f"the pull policy {', '.join(wanted)} is not allowed here",
                hint=f"pull_policy: one of {', '.join(self.pull_policies)}",
            )  # fmt: skip
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What belongs to a job's containers alone: labels, the network (empty: the engine's own), hosts, who the job is."""

    labels: Mapping[str, str]
    user: str
    network: str = ""
    hosts: tuple[str, ...] = ()
    closed: bool = False
    """Whether the network leads nowhere by itself."""
    keep_id: bool = False
    socket: str = ""
    """The engine's own, where jobs may use it; `groups` are those that may."""
    groups: tuple[str, ...] = ()


def step_files() -> tuple[str, str, str]:
    """The names of a step's files in the job's directory of files: its first process, its script, what it used."""
    return _STEP, _SCRIPT, _USED


def job_document(
    request: SandboxRequest, around: Surroundings, policy: ContainerPolicy, environment: Mapping[str, str]
) -> dict[str, Any]:
    """The container of a job. Each step is one start of it; what it changes in the image stays from step to step."""
    place, image, limits = request.place, request.image, request.limits
    if image is None:
        raise ExternalError(
            "no-image", "a container needs an image, and the job names none",
            hint="image: NAME in the job or under `default:`; or run it with --executor namespaces",
        )  # fmt: skip
    mounts = {
        place.inner_home: str(place.home), place.inner_tmp: str(place.tmp), place.inner_files: str(place.files),
        place.inner_work: str(place.work), **{target: str(source) for target, source in request.writable.items()},
    }  # fmt: skip
    privileged = policy.is_privileged(image.name)
    root = around.user.partition(":")[0] in {"0", "root"}
    host: dict[str, Any] = {
        "Mounts": [
            *(_mount(source, target) for target, source in mounts.items()),
            *(_mount(str(path), str(path), read_only=True) for path in request.read_only),
            *([_mount(around.socket, SOCKET)] if around.socket else []),
        ],
        **_confinement(around, privileged=privileged),
        "CapDrop": [] if privileged else ["ALL"],
        "CapAdd": list(_ROOT_NEEDS) if root and not privileged else [],
        "GroupAdd": list(around.groups),
        "ShmSize": 256 << 20,
    }
    if limits.memory:
        host["Memory"] = host["MemorySwap"] = limits.memory
    if limits.processes:
        host["PidsLimit"] = limits.processes
    step = f"{place.inner_files}/{_STEP}"
    argv = images.command(image.entrypoint, request.entrypoint, "/bin/sh", ["-c", _CHOOSE, step])
    return {
        "Image": image.digest,
        "Entrypoint": argv[:1],
        "Cmd": argv[1:],
        "Env": [f"{key}={value}" for key, value in environment.items()],
        "WorkingDir": place.inner_work,
        "User": around.user,
        "Hostname": "job",
        "Labels": dict(around.labels),
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": host,
    }


def service_document(
    service: ServiceRequest, around: Surroundings, policy: ContainerPolicy, place: Place
) -> dict[str, Any]:
    """The container of a service: its image's own program and user, in the job's network under its aliases.

    One with every right sees the job's work tree where the job sees it: an engine in it mounts the job's files.
    """
    privileged = policy.is_privileged(service.image.name) or policy.is_privileged(service.name)
    document: dict[str, Any] = {
        "Image": service.image.digest,
        "Env": [f"{key}={value}" for key, value in service.variables.items()],
        "Labels": dict(around.labels),
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": {
            **_confinement(around, privileged=privileged),
            "CapDrop": [] if privileged else list(_SERVICE_DROPS),
            "Mounts": [_mount(str(place.work), place.inner_work)] if privileged else [],
        },
        "NetworkingConfig": {"EndpointsConfig": {around.network: {"Aliases": list(service.aliases)}}},
    }
    if service.entrypoint is not None:
        document["Entrypoint"] = [one for one in service.entrypoint if one]
    if service.command is not None:
        document["Cmd"] = list(service.command)
    if service.user:
        document["User"] = service.user
    return document


def _mount(source: str, target: str, *, read_only: bool = False) -> dict[str, Any]:
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only}


def _confinement(around: Surroundings, *, privileged: bool) -> dict[str, Any]:
    host: dict[str, Any] = {
        "Privileged": privileged,
        "SecurityOpt": [] if privileged else ["no-new-privileges"],
        "LogConfig": {"Type": "none"},
        "RestartPolicy": {"Name": "no"},
        "ExtraHosts": list(around.hosts),
    }
    if around.network or around.closed:
        host["NetworkMode"] = around.network or "none"
    if around.keep_id:
        host["UsernsMode"] = "keep-id"
    return host


def step(
    request: SandboxRequest, created: Mapping[str, str], environment: Mapping[str, str], *, gated: bool = False
) -> bytes:
    """The first process of a step: the environment as it is now, the limits, the script, and what all of it used.

    `created` is the environment that the container was made with. A `gated` one waits until its network is ready. Whatever
    the script starts ends with this process.
    """
    place, limits = request.place, request.limits
    images_own = request.image.environment if request.image is not None else {}
    extra = [one for one in (*_ENGINES_OWN, *images_own, *created) if one not in environment]
    lines = [
        *([f"read -r line <{shlex.quote(f'{place.inner_files}/{GATE}')}"] if gated else []),
        *(f"unset {name} 2>/dev/null" for name in dict.fromkeys(extra) if name.isidentifier()),
        *(f"export {key}={shlex.quote(value)}" for key, value in environment.items() if created.get(key) != value),
        f"cd {shlex.quote(place.inner_work)} || exit 127\nunset OLDPWD",
        # Never more than the engine gives: setting limits is the step's, since an engine fails where it cannot raise them.
        f"ulimit -n {limits.files} 2>/dev/null || ulimit -n $(ulimit -Hn)",
        "ulimit -c 0",
        *([f"ulimit -v {limits.memory >> 10}"] if limits.memory else []),
        f'"$1" {shlex.quote(f"{place.inner_files}/{_SCRIPT}")} </dev/null',
        "code=$?",
        f"{{\n{_MEASURE}}} >{shlex.quote(f'{place.inner_files}/{_USED}')} 2>/dev/null",
        "exit $code",
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


_MEASURE: Final = """g=/sys/fs/cgroup
while read -r k v; do echo "$k $v"; done <$g/cpu.stat
for f in cpuacct/cpuacct.usage cpu,cpuacct/cpuacct.usage; do read -r v <$g/$f && echo "ns $v"; done
for f in memory.peak memory/memory.max_usage_in_bytes; do read -r v <$g/$f && echo "peak $v"; done
while read -r l; do echo "io $l"; done <$g/io.stat
while read -r l; do echo "blk $l"; done <$g/blkio/blkio.throttle.io_service_bytes
"""


def used(told: bytes) -> JobUsage | None:
    """What a step told of its control group; None where it could not. A job could tell something else of itself."""
    seconds, peak, read, written = -1.0, 0, 0, 0
    for line in told[: 1 << 16].decode("utf-8", "replace").splitlines():
        kind, _, what = line.partition(" ")
        words = what.split()
        if kind == "usage_usec" and what.isdecimal():
            seconds = int(what) / 1e6
        elif kind == "ns" and what.isdecimal():
            seconds = int(what) / 1e9
        elif kind == "peak" and what.isdecimal():
            peak = int(what)
        elif kind == "blk" and len(words) == 3 and words[2].isdecimal():
            read += int(words[2]) if words[1] == "Read" else 0
            written += int(words[2]) if words[1] == "Write" else 0
        elif kind == "io":
            pairs = dict(one.partition("=")[::2] for one in words)
            read += _count(pairs.get("rbytes"))
            written += _count(pairs.get("wbytes"))
    if seconds < 0:
        return None
    return JobUsage(cpu_seconds=seconds, peak_memory=peak, read_bytes=read, written_bytes=written)


def _count(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 0


def accounts(passwd: bytes, group: bytes, user: tuple[int, int]) -> tuple[bytes, bytes]:
    """The accounts of an image with the job's own, `job`, in the place of any of that name or number."""
    uid, gid = user

    def others(data: bytes, number: int) -> list[bytes]:
        lines = [line for line in data[: 1 << 20].split(b"\n") if line.count(b":") >= 2]
        return [one for one in lines if one.split(b":")[0] != b"job" and one.split(b":")[2] != str(number).encode()]

    people = [*others(passwd, uid), f"job:x:{uid}:{gid}:job:/home/job:/bin/sh".encode()]
    groups = [*others(group, gid), f"job:x:{gid}:".encode()]
    return b"\n".join(people) + b"\n", b"\n".join(groups) + b"\n"


def identity(asked: str, passwd: bytes) -> tuple[int, int]:
    """User and group of `image:docker:user` (a name or number, `user:group`); `UserError` for a name nobody has."""
    name, _, group = asked.partition(":")
    rows = [line.split(":") for line in passwd.decode("utf-8", "replace").splitlines()]
    known = {row[0]: row for row in rows if len(row) > 3} | {row[2]: row for row in rows if len(row) > 3}
    row = known.get(name)
    uid = row[2] if row is not None else name
    gid = group or (row[3] if row is not None else uid)
    if not (uid.isdecimal() and gid.isdecimal()):
        raise UserError(
            "image-user",
            f"the image has no user {asked!r}",
            hint="image:docker:user is a name of its /etc/passwd, or a number",
        )
    return int(uid), int(gid)


def listening(table: str, port: int) -> bool:
    """Whether somebody listens on `port` for others than itself: `/proc/PID/net/tcp` or `tcp6`."""
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) < 4 or words[3] != "0A":
            continue
        address, _, number = words[1].partition(":")
        if int(number, 16) == port and address not in {"0100007F", "00000000000000000000000001000000"}:
            return True
    return False
