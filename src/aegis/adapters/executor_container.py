"""`Executor` on a container engine: a job is one container of its image, each of its steps one start of that container.

A step's first process is a small script that runs the job's and then tells what the container used; when it ends, the
engine ends everything else in it. Output comes over the engine's own stream, read as fast as the log takes it. Containers and
networks bear the runner's label, and a keeper takes them away when the runner was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from aegis.adapters.container_engine import Answer, Engine, Keeper
from aegis.adapters.container_services import Services
from aegis.adapters.container_way import Way
from aegis.adapters.executor_namespace import JOB_ID, way_out
from aegis.adapters.executor_process import outside_places
from aegis.adapters.relay import Relay
from aegis.adapters.step_file import lay
from aegis.core.errors import ExternalError
from aegis.execution import containers
from aegis.execution.containers import LABEL, ContainerPolicy, Surroundings
from aegis.execution.network import NetworkPolicy
from aegis.execution.ports import Exit, Place, Sandbox, SandboxRequest, TraceSink
from aegis.execution.supervise.places import give

_STEP, _SCRIPT, _USED = containers.step_files()
_CANNOT_START: Final = 127
_TOLD: Final = 1 << 16
_ALL: Final = "kill -TERM -1"


class ContainerSandbox:
    """One job's container, made when its first step brings the environment."""

    def __init__(
        self, engine: Engine, request: SandboxRequest, policy: ContainerPolicy, around: Surroundings, services: Services | None,
        *, grace: float, accounts: Mapping[str, bytes], way: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._request = request
        self._policy = policy
        self._around = around
        self._services = services
        self._grace = grace
        self._accounts = accounts
        self._way = way
        self._id = ""
        self._created: dict[str, str] = {}
        self._running = False
        self._stopped = False
        self._over = asyncio.Event()

    async def run(self, script: bytes, environment: Mapping[str, str], sink: TraceSink) -> Exit:
        """See `Sandbox`."""
        self._stopped = False
        await self._lay_out(script, environment)
        self._over.clear()
        try:
            return await self._carry(sink)
        finally:
            if self._running:
                await asyncio.shield(self._kill())
            self._over.set()

    async def _lay_out(self, script: bytes, environment: Mapping[str, str]) -> None:
        if not self._id:
            self._created = dict(environment)
            self._id = await self._create(environment)
        files = self._request.place.files
        lay(files / _SCRIPT, script)
        first = containers.step(self._request, self._created, environment, gated=self._way is not None)
        lay(files / _STEP, first)
        # The job writes what it used, and only into a file that is there and its own.
        used = files / _USED
        used.unlink(missing_ok=True)
        used.touch(mode=0o600)
        if os.geteuid() == 0:
            os.chown(used, *_numbers(self._around.user))

    async def _create(self, environment: Mapping[str, str]) -> str:
        document = containers.job_document(self._request, self._around, self._policy, environment)
        made = await self._engine.need("POST", "/containers/create", {}, document)
        if self._accounts:
            # An image without /etc has no use for accounts.
            await self._engine.ask(
                "PUT", f"/containers/{made['Id']}/archive", {"path": "/etc"}, _packed(self._accounts)
            )
        return str(made["Id"])

    async def _carry(self, sink: TraceSink) -> Exit:
        here = f"/containers/{self._id}"
        if self._engine.name == "podman":
            # What has ended has to be made ready before anybody can listen to it.
            await self._engine.ask("POST", f"/libpod{here}/init")
        query = {"stream": 1, "stdout": 1, "stderr": 1}
        way = None
        if self._way is not None:
            gate = self._request.place.files / containers.GATE
            way = Way(self._way, gate, _numbers(self._around.user))
        stream = await self._engine.open("POST", f"{here}/attach", query)
        try:
            if stream.status >= 300:
                answer = Answer(status=stream.status, body=await stream.body())
                return await self._refused(answer.message, sink)
            started = await self._engine.ask("POST", f"{here}/start")
            if started.status >= 300:
                return await self._refused(started.message, sink)
            self._running = True
            if self._stopped:
                await self._kill()
            elif way is not None:
                found = await self._engine.need("GET", f"{here}/json")
                await way.open(int(found["State"]["Pid"]), sink)
            async for data in stream.output():
                await sink.write(data)
        finally:
            stream.close()
            if way is not None:
                await way.close()
        ended = await self._engine.need("POST", f"{here}/wait")
        self._running = False
        used = containers.used(_told(self._request.place.files / _USED))
        return Exit(code=int(ended["StatusCode"]), stopped=self._stopped, usage=used)

    async def _refused(self, message: str, sink: TraceSink) -> Exit:
        """What the image does not have is the job's fault; anything else is the engine's."""
        argv = containers.job_document(self._request, self._around, self._policy, {})["Entrypoint"]
        if "no such file" in message or "not found" in message or "permission denied" in message:
            await sink.write(f"cannot start {argv[0]}: {message}\n".encode())
            return Exit(code=_CANNOT_START)
        raise ExternalError("engine", f"{self._engine.name}: {message}")

    async def stop(self) -> None:
        """See `Sandbox`."""
        self._stopped = True
        if not self._running:
            return
        await self._ask_to_end()
        try:
            await asyncio.wait_for(self._over.wait(), self._grace)
        except TimeoutError:
            await self._kill()
        await self._over.wait()

    async def _ask_to_end(self) -> None:
        wish = {"Cmd": ["/bin/sh", "-c", _ALL], "AttachStdout": False, "AttachStderr": False}
        made = await self._engine.ask("POST", f"/containers/{self._id}/exec", {}, wish)
        if made.status < 300:
            await self._engine.ask("POST", f"/exec/{made.value['Id']}/start", {}, {"Detach": True})

    async def _kill(self) -> None:
        await self._engine.ask("POST", f"/containers/{self._id}/kill", {"signal": "SIGKILL"})

    async def interact(self, environment: Mapping[str, str], terminal: int = 0) -> None:
        """See `Sandbox`."""
        ready = asyncio.Event()

        class Sink:
            async def write(self, _: bytes) -> None:
                ready.set()

        resting = asyncio.create_task(
            self.run(b"echo ready\nwhile :; do sleep 3600 & wait $!; done\n", environment, Sink())
        )
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait({resting, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not resting.done():
                await asyncio.to_thread(self._attend, environment, terminal)
        finally:
            waiting.cancel()
            self._stopped = True
            if self._running:
                await self._kill()
            with contextlib.suppress(ExternalError):
                await resting

    def _attend(self, environment: Mapping[str, str], terminal: int) -> None:
        term = {"TERM": os.environ.get("TERM", "dumb"), "PS1": "job \\w $ "}
        where = ["docker", "--host"] if self._engine.name == "docker" else ["podman", "--url"]
        # Values do not appear in a command line, except of what the engine's program needs for itself.
        own = {key: os.environ[key] for key in ("PATH", "HOME", "XDG_RUNTIME_DIR") if key in os.environ}
        shown = {**environment, **term}
        marks = [f"{key}={value}" if key in own else key for key, value in shown.items()]
        shell = "[ -x /bin/bash ] && exec /bin/bash --norc --noprofile -i; exec /bin/sh -i"
        argv = [
            *where, f"unix://{self._engine.socket}", "exec", "-it", *(part for one in marks for part in ("--env", one)),
            "--workdir", self._request.place.inner_work, self._id, "/bin/sh", "-c", shell,
        ]  # fmt: skip
        try:
            ends = {"stdin": terminal, "stdout": terminal or 1, "stderr": terminal or 2}
            subprocess.run(argv, **ends, env={**shown, **own}, check=False)  # type: ignore[call-overload]
        except OSError as error:
            raise ExternalError("engine", f"{argv[0]} cannot be started: {error.strerror}") from error

    async def cleanup(self) -> None:
        """See `Sandbox`."""
        container, self._id = self._id, ""
        if container:
            await self._engine.ask("DELETE", f"/containers/{container}", {"force": 1, "v": 1})
        if self._services is not None:
            await self._services.close()


def _numbers(user: str) -> tuple[int, int]:
    uid, _, gid = user.partition(":")
    return int(uid), int(gid)


def _told(path: Path) -> bytes:
    """What a job wrote into a file; nothing where it made something else of it."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(file, _TOLD) if stat.S_ISREG(os.fstat(file).st_mode) else b""
    finally:
        os.close(file)


def _unpacked(answer: Answer) -> bytes:
    if answer.status != 200:
        return b""
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
        member = next(iter(archive), None)
        file = archive.extractfile(member) if member is not None and member.isreg() else None
        return file.read() if file is not None else b""


def _packed(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            about = tarfile.TarInfo(name)
            about.mode, about.size = 0o644, len(data)
            archive.addfile(about, io.BytesIO(data))
    return packed.getvalue()


class ContainerExecutor:
    """Runs jobs in containers of `engine`. `label` marks what belongs to this runner alone; `keeper` watches over it.

    As root, jobs are an identity that owns nothing else; for an ordinary user they are that user.
    """

    def __init__(
        self,
        engine: Engine,
        keeper: Keeper,
        *,
        label: str,
        policy: ContainerPolicy | None = None,
        grace: float = 1.0,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.engine = engine
        self._keeper = keeper
        self._label = label
        self._relay = Relay(environ or {})
        self.policy = policy or ContainerPolicy()
        self._grace = grace
        self._accounts: dict[tuple[str, int], dict[str, bytes]] = {}
        self._number = 0
        # Who may use the socket on this machine may use it in a job that is given it.
        self._groups = (str(Path(engine.socket).stat().st_gid),) if self.policy.socket else ()

    @property
    def isolation(self) -> str:
        """See `Executor`."""
        return self.engine.name

    @property
    def owner(self) -> tuple[int, int] | None:
        """See `Executor`."""
        return (JOB_ID, JOB_ID) if os.geteuid() == 0 else None

    @property
    def carries_images(self) -> bool:
        """See `Executor`."""
        return True

    @property
    def carries_tools(self) -> bool:
        """See `Executor`."""
        return False

    @property
    def carries_services(self) -> bool:
        """See `Executor`."""
        return True

    def place(self, root: Path, project: str) -> Place:
        """See `Executor`. Jobs see the paths that they see in namespaces."""
        work = f"/builds/{project}"
        return Place(
            root=root,
            **outside_places(root),
            inner_work=work,
            inner_tmp="/tmp",  # noqa: S108 - a directory of the job's own
            inner_home="/home/job",
            inner_files=f"{work}.tmp",
        )

    def ready(self) -> None:
        """Start what is needed before the first question; idempotent, blocks."""
        self._keeper.start()

    async def warm(self) -> None:
        """See `Executor`. The engine runs already."""

    async def prepare(self, request: SandboxRequest) -> Sandbox:
        """See `Executor`."""
        await asyncio.to_thread(self.ready)
        self._number = number = self._number + 1
        user = self.owner or (os.geteuid(), os.getegid())
        rootless = self.engine.name == "podman" and os.geteuid() != 0
        around = Surroundings(
            labels={LABEL: self._label, "aegis.job": request.job_id}, user=f"{user[0]}:{user[1]}", keep_id=rootless,
            socket=self.engine.socket if self.policy.socket else "",
            groups=self._groups,
        )  # fmt: skip
        accounts = await self._identity(request, user)
        if request.user:
            user = self._asked(request, accounts.pop("asked", b""))
            around = replace(around, user=f"{user[0]}:{user[1]}")
            place = request.place
            await asyncio.to_thread(give, (place.work, place.tmp, place.home, place.files), user)
        closed, way = request.network.policy is not NetworkPolicy.ALL, None
        if request.network.policy is NetworkPolicy.REGISTRIES:
            way = await self._way_out(request)
        around = replace(around, closed=closed)
        services = None
        if request.services:
            services = Services(self.engine, request, self.policy, around, name=f"aegis-{self._label}-{number}")
            around = await services.start()
        return ContainerSandbox(
            self.engine, request, self.policy, around, services, grace=self._grace, accounts=accounts, way=way
        )

    def _asked(self, request: SandboxRequest, passwd: bytes) -> tuple[int, int]:
        user = containers.identity(request.user, passwd)
        if user[0] == 0 and not self.policy.root:
            raise ExternalError(
                "container-root", "the job asks to be root in its container, and this runner does not allow it",
                hint="leave image:docker:user out, or declare `runner: {containers: {root: true}}`",
            )  # fmt: skip
        if os.geteuid() != 0 and user[0] not in {0, os.geteuid()}:
            raise ExternalError(
                "container-user", f"only root can run jobs as {request.user}", hint="leave image:docker:user out"
            )
        return user

    async def _way_out(self, request: SandboxRequest) -> dict[str, Any]:
        if os.geteuid() != 0:
            raise ExternalError(
                "network-policy", "only root can open a way to the registries in a container's network",
                hint="declare `runner: {network: …}` none or all, or --network; or use --executor namespaces",
            )  # fmt: skip
        made = await way_out(request.network, self._relay)
        return {**made, "rules": made["rules"].decode()}

    async def _identity(self, request: SandboxRequest, user: tuple[int, int]) -> dict[str, bytes]:
        """The image's accounts with the job's, to be put into its container; `asked` is the image's own list."""
        image = request.image
        if image is None:
            return {}
        key = (image.digest, user[0])
        if key not in self._accounts:
            people, groups = await self._read(image.digest, "/etc/passwd", "/etc/group")
            passwd, group = containers.accounts(people, groups, user)
            self._accounts[key] = {"passwd": passwd, "group": group, "asked": people}
        known = dict(self._accounts[key])
        if not request.user:
            known.pop("asked")
        return known

    async def _read(self, image: str, *paths: str) -> list[bytes]:
        """Files of an image, through a container that never runs; empty what it does not have."""
        nowhere = {"NetworkMode": "none"}
        document = {"Image": image, "Entrypoint": ["/x"], "Labels": {LABEL: self._label}, "HostConfig": nowhere}
        made = await self.engine.need("POST", "/containers/create", {}, document)
        here = f"/containers/{made['Id']}"
        try:
            return [_unpacked(await self.engine.ask("GET", f"{here}/archive", {"path": path})) for path in paths]
        finally:
            await self.engine.ask("DELETE", here, {"force": 1, "v": 1})

    async def close(self) -> None:
        """See `Executor`."""
        await asyncio.to_thread(self._keeper.close)
        await self._relay.close()
