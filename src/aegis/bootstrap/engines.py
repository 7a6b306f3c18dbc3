"""Container engines of this machine: which answer, where, and the executor on one. Reads the environment for their sockets.

docker is found as its own program finds it (`DOCKER_HOST`, the usual sockets), podman by `CONTAINER_HOST` or its socket; where
podman has no service running, one is started for as long as the runner lives.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aegis.adapters.container_engine import Engine, Keeper
from aegis.adapters.container_images import EngineImages, Login
from aegis.adapters.executor_container import ContainerExecutor
from aegis.adapters.image_roots import Located
from aegis.core.errors import AegisError, ExternalError
from aegis.execution.containers import LABEL, ContainerPolicy

ENGINES: Final = ("docker", "podman")
_UNIX: Final = "unix://"
_KEPT: Final = ("PATH", "HOME", "USER", "LANG", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
"""What podman's service needs of the environment, beside its own `CONTAINERS_…`, `CONTAINER_…` and `STORAGE_…`."""
_MENDS: Final = {
    "docker": "install docker (Debian: apt-get install docker.io), start it, and let this user at its socket",
    "podman": "install podman (Debian: apt-get install podman)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An engine: its socket, and the command line that serves there where nothing does yet."""

    name: str
    socket: str
    service: tuple[str, ...] = ()


def find(name: str, environ: Mapping[str, str]) -> Found:
    """The engine of this name; `ExternalError` with the mend where there is none."""
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    if name == "docker":
        named = environ.get("DOCKER_HOST", "")
        near = [f"{environ.get('HOME', '')}/.docker/run/docker.sock", f"{runtime}/docker.sock", "/var/run/docker.sock"]
    else:
        named = environ.get("CONTAINER_HOST", "")
        near = ["/run/podman/podman.sock"] if os.geteuid() == 0 else [f"{runtime}/podman/podman.sock"]
    if named and not named.startswith(_UNIX):
        raise ExternalError(
            "engine-far", f"{name} is at {named}, where the files of jobs are not",
            hint="run Aegis on that machine, and name the socket there: unix:///…",
        )  # fmt: skip
    for socket in [named.removeprefix(_UNIX)] if named else near:
        if _answers(name, socket):
            return Found(name=name, socket=socket)
    program = shutil.which("podman", path=environ.get("PATH"))
    if name == "podman" and program and not named:
        # The folder is this user's alone: whoever reaches the socket commands the engine.
        socket = f"{tempfile.mkdtemp(prefix='aegis-podman-')}/podman.sock"
        return Found(
            name=name, socket=socket, service=(program, "system", "service", "--time", "0", f"{_UNIX}{socket}")
        )
    where = named or " or ".join(near)
    raise ExternalError("engine-away", f"{name} does not answer at {where}", hint=_MENDS[name])


def _answers(name: str, socket: str) -> bool:
    async def asked() -> bool:
        return (await asyncio.wait_for(Engine(name, socket).ask("GET", "/version"), 5)).status == 200

    if not Path(socket).is_socket():
        return False
    try:
        return asyncio.run(asked())
    except (AegisError, TimeoutError):
        return False


def label() -> str:
    """What marks the containers of this process: which it is, and in which namespace of processes."""
    try:
        began = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19]
        space = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        began = space = "0"
    return f"{os.getpid()}.{began}.{space}"


def executor(name: str, environ: Mapping[str, str], policy: ContainerPolicy) -> ContainerExecutor:
    """Jobs in containers of the engine `name`."""
    found = find(name, environ)
    engine, mark = Engine(found.name, found.socket), label()
    prefixes = ("CONTAINERS_", "CONTAINER_", "STORAGE_")
    kept = {key: value for key, value in environ.items() if key in _KEPT or key.startswith(prefixes)}
    keeper = Keeper(engine, f"{LABEL}={mark}", found.service, kept)
    return ContainerExecutor(engine, keeper, label=mark, policy=policy, environ=environ)


def images(
    made: ContainerExecutor, locate: Callable[[str, str], Located | None], environ: Mapping[str, str]
) -> EngineImages:
    """The images of that executor's engine."""
    return EngineImages(
        made.engine, locate, policy=made.policy, login=lambda host: login(host, environ), ready=made.ready
    )


def login(host: str, environ: Mapping[str, str]) -> Login | None:
    """What `docker login` or `podman login` has kept in a file for a registry; what lies in a keyring is not asked."""
    home = environ.get("HOME", "")
    files = [
        environ.get("REGISTRY_AUTH_FILE", ""), f"{environ.get('DOCKER_CONFIG') or f'{home}/.docker'}/config.json",
        f"{environ.get('XDG_RUNTIME_DIR', '')}/containers/auth.json", f"{home}/.config/containers/auth.json",
    ]  # fmt: skip
    key = "https://index.docker.io/v1/" if host == "docker.io" else host
    for name in filter(None, files):
        try:
            document = json.loads(Path(name).read_bytes())
            kept = document.get("auths", {}).get(key, {}).get("auth") or document.get("auths", {}).get(host, {}).get(
                "auth"
            )
            if kept:
                user, _, password = base64.b64decode(kept).decode().partition(":")
                return {"username": user, "password": password, "serveraddress": host}
        except (OSError, ValueError, AttributeError):
            continue
    return None
