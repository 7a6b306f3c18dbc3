"""Puts together `aegis run`: the compiler, one coordinator and one supervisor over `.aegis/` of the working tree.

It reads this machine's environment (PATH, proxy and certificate settings) and decides what of it a job may see. The rules
of execution are those of the server: the same coordinator, the same supervisor.
"""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.adapters.clock_system import SystemClock, SystemEntropy
from aegis.adapters.executor_namespace import NamespaceExecutor, isolation_available, networks_available
from aegis.adapters.executor_process import ProcessExecutor
from aegis.adapters.ledger_sqlite import SqliteLedger
from aegis.adapters.queue_sqlite import SqliteQueue
from aegis.adapters.shelf_directory import DirectoryShelf
from aegis.adapters.traces_directory import DirectoryTraces
from aegis.adapters.workspace_copy import CopyWorkspaces
from aegis.bootstrap.children import Children
from aegis.bootstrap.explain import log_name, remember
from aegis.bootstrap.leftovers import sweep
from aegis.bootstrap.local_variables import REFERENCE
from aegis.bootstrap.machine import Near, machine
from aegis.bootstrap.pipeline import Local
from aegis.core import codec, ids
from aegis.core.errors import ExternalError, UserError
from aegis.core.plan import Image, JobSpec, Plan
from aegis.core.ports import Masker
from aegis.core.spent import JobUsage
from aegis.core.types import JobRun, Run, State
from aegis.execution import stored
from aegis.execution.containers import ContainerPolicy
from aegis.execution.coordinator import Coordinator
from aegis.execution.network import Network, NetworkPolicy
from aegis.execution.options import SupervisorOptions
from aegis.execution.ports import CacheEntry, Executor, ImageRoot, ImageRoots, Sandbox
from aegis.execution.reuse import Proven
from aegis.execution.runners import Assignment, JobCredentials
from aegis.execution.sealed import SealedNotes
from aegis.execution.shards import Test, slowest
from aegis.execution.supervise import Supervisor, Tools
from aegis.execution.supervise.timings import Durations, Timings
from aegis.execution.trace import readable, tail
from aegis.pipeline.request import CompileRequest
from aegis.secrets.masking import SecretMasker

if TYPE_CHECKING:
    from aegis.access.id_tokens import Key

FOLDER: Final = ".aegis"
_PACE: Final = 0.1
"""Seconds between two looks at a run that goes on."""
_SHOWN: Final = 8192
_SHOWN_LINES: Final = 15
LOCAL_ISSUER: Final = "https://aegis.invalid/local-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """How a local run is carried out. `executor` None takes the best there is."""

    parallel: int = 2
    executor: str | None = None
    privileged: tuple[str, ...] = ()
    """Patterns of images whose containers have every right; `engine_socket` shows the engine's socket to jobs."""
    engine_socket: bool = False
    host_tools: bool = False
    reuse: bool = True
    secrets: Mapping[str, str] = field(default_factory=dict)
    shell_on_failure: bool = False
    network: str = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalJob:
    """A job of a local run as it is shown: paths are absolute; `artifacts` is empty where the job left nothing."""

    name: str
    stage: str
    status: str
    exit_code: int | None
    seconds: float
    failure_reason: str | None
    message: str
    log: str
    artifacts: str
    allow_failure: bool
    queue_seconds: float = 0.0
    fault: str = ""
    """`error` where the surroundings failed, `failure` where the code did, else empty."""
    usage: JobUsage | None = None
    reused: str = ""
    """`RUN/JOB` whose result this is; empty for a job that was worked."""
    verified: str = ""
    """Of a job that was worked again: `same`, or how it differs from what was proven."""


class _Images:
    """The images of a run. What fetches and unpacks them is loaded when a job first names one."""

    def __init__(self, project: Path, executor: Executor) -> None:
        self._project = project
        self._executor = executor

    @functools.cached_property
    def _roots(self) -> ImageRoots:
        from aegis.bootstrap.job_images import local_images  # noqa: PLC0415 - as above

        return local_images(self._project, self._executor, os.environ)

    def get(self, image: Image, project: str, *, service: bool = False) -> ImageRoot:
        """See `ImageRoots`."""
        return self._roots.get(image, project, service=service)


class LocalRun:
    """One run over `.aegis/` of a project. Use it as a context: leaving stops what is left and gives everything back.

    `start` submits; `state` answers the run as it is; `changed` is set whenever something happened.
    """

    def __init__(self, local: Local, plan: Plan, options: LocalOptions, request: CompileRequest | None = None) -> None:
        self.plan = plan
        self._request = request
        self._identity: Key | None = None
        self.options = options
        self.changed = threading.Event()
        self.idle = threading.Event()
        """Set when nothing waits for a runner and nothing runs: worth a look at once."""
        self.course: tuple[str, ...] = ()
        """Where the time went, in sentences; known once it is laid out."""
        self.terminal = threading.Lock()
        """Held while somebody has a shell in the terminal; nothing else may be written there then."""
        self.attended = 0
        """How many shells there were."""
        self._project = local
        self._folder = local.directory / FOLDER
        self._clock = SystemClock()
        self._entropy = SystemEntropy()
        self.id = ids.ulid(int(self._clock.now().timestamp() * 1000), self._entropy.take(10))
        self.directory = self._folder / "runs" / self.id
        self.executor = self._executor()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name="supervisor", daemon=True)

    def _executor(self) -> Executor:
        wanted = self.options.executor
        if wanted in {"docker", "podman"}:
            from aegis.bootstrap import engines  # noqa: PLC0415 - only asked for by name

            asked = ContainerPolicy(privileged=self.options.privileged, root=True, socket=self.options.engine_socket)
            return engines.executor(wanted, os.environ, asked)
        if wanted == "namespaces" or (wanted is None and isolation_available().ok):
            if self.options.network != NetworkPolicy.ALL:
                self._can_keep_network(ok=networks_available())
            return NamespaceExecutor(environ=os.environ, groups=False)
        self._can_keep_network(ok=False)
        return ProcessExecutor()

    def _can_keep_network(self, *, ok: bool) -> None:
        if not ok and self.options.network != NetworkPolicy.ALL:
            raise ExternalError(
                "no-isolation", f"jobs cannot be kept from the network here: {isolation_available().detail}",
                hint=f"--executor namespaces where the system allows it ({isolation_available().mend}), or --network all",
            )  # fmt: skip

    # -- life -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            # Ignored by itself, so that the project's own files need not change.
            (self._folder / ".gitignore").write_text("*\n", encoding="utf-8")
        except OSError as error:
            raise UserError(
                "folder-not-writable", f"{self._folder} cannot be written: {error.strerror}",
                hint="what a run leaves lies there; work in a copy of the project that you can write to",
            ) from error  # fmt: skip
        self._blobs = DirectoryBlobs(self._folder / "blobs")
        self._ledger = SqliteLedger(
            self._folder / "ledger.db",
            clock=self._clock,
            entropy=self._entropy,
            blobs=self._blobs,
            recorded_by="aegis run",
        )
        sweep(self._folder / "runs")
        self.directory.mkdir(parents=True)
        self._traces = DirectoryTraces(self.directory / "traces")
        self._queue = SqliteQueue()
        self._workspaces = CopyWorkspaces(
            self._project.directory, self.directory / "tree", self.executor.owner, kept=self._folder / "tree"
        )
        self._coordinator = Coordinator(
            ledger=self._ledger,
            blobs=self._blobs,
            clock=self._clock,
            traces=self._traces,
            queue=self._queue,
            credentials=self._credentials,
            resolve_secret=self._resolve,
            foreign=lambda run, spec: self._children.foreign(run, spec),  # noqa: PLW0108 - they come after it
            on_change=self._noticed,
        )
        self._children = Children(self._coordinator, self._blobs, self._request)
        self._thread.start()
        return self

    def halt(self) -> None:
        """End what still runs, by force; idempotent. Nothing runs any more when it returns."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    def __exit__(self, *_: object) -> None:
        self.halt()
        self._workspaces.close()
        self._remove_places()
        self._queue.close()
        self._traces.release()
        self._ledger.close()

    def _remove_places(self) -> None:
        places = self.directory / "jobs"
        for left in places.iterdir() if places.is_dir() else ():
            self._workspaces.release(left / "work")
        shutil.rmtree(places, ignore_errors=True)

    def _work(self) -> None:
        here = machine(os.environ, whole_path=True, hide=self._folder)
        policy = NetworkPolicy(self.options.network)
        network = Near(os.environ).network() if policy is NetworkPolicy.REGISTRIES else Network(policy=policy)
        options = SupervisorOptions(
            directory=self.directory / "jobs",
            name="this machine",
            concurrency=self.options.parallel,
            tool_paths=here.tool_paths,
            read_only=here.read_only,
            tool_cache=self._folder / "cache",
            passthrough=here.passthrough,
            host_tools=self.options.host_tools,
            reuse=self.options.reuse,
            machine=here.identity(),
            publishes=False,
        )
        tools = Tools(
            source=self._coordinator,
            executor=self.executor,
            workspaces=self._workspaces,
            blobs=self._blobs,
            caches=SealedNotes(DirectoryShelf(self._folder / "caches"), b"local", "cache", CacheEntry),
            timings=Timings(
                SealedNotes(DirectoryShelf(self._folder / "results"), b"local", "durations", Durations), self._blobs
            ),
            results=SealedNotes(DirectoryShelf(self._folder / "results"), b"local", "result", Proven),
            clock=self._clock,
            masker=masker,
            options=options,
            images=_Images(self._project.directory, self.executor),
            on_failure=self._shell if self.options.shell_on_failure else None,
            network=lambda _: network,
        )
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(Supervisor(tools, drain_seconds=0.0).run(self._stop))

    async def _shell(self, given: Assignment, sandbox: Sandbox, variables: Mapping[str, str]) -> None:
        await asyncio.to_thread(self.terminal.acquire)
        try:
            self.attended += 1
            lines = readable(tail(self._traces, given.job.id, _SHOWN)).rstrip("\n").split("\n")[-_SHOWN_LINES:]
            text = "".join(f"  │ {line}\n" for line in lines)
            head = f"\n{text}job {given.spec.name} failed; this shell sees what it saw. Leave with `exit`.\n"
            sys.stderr.write(head)
            sys.stderr.flush()
            await sandbox.interact(variables)
        finally:
            self.terminal.release()

    def _credentials(self, run: Run, spec: JobSpec, job: JobRun) -> JobCredentials:
        """No token of a server; `id_tokens` are signed by a key of this run alone, which nobody trusts."""
        if not spec.id_tokens:
            return JobCredentials(token="")
        from aegis.delivery.credentials import identity_variables  # noqa: PLC0415 - only jobs with id_tokens need it

        if self._identity is None:
            from aegis.adapters.signer_rsa import fleeting  # noqa: PLC0415 - as above

            self._identity = fleeting()
        made = identity_variables(self._identity, LOCAL_ISSUER, self._clock, run, spec, job, trusted=False)
        return JobCredentials(token="", variables=made)

    def _resolve(self, _run: Run, _spec: JobSpec, reference: str) -> str:
        name = reference.removeprefix(REFERENCE)
        if name not in self.options.secrets:
            raise UserError(
                "no-such-secret",
                f"there is no value for the secret {name!r}",
                hint=f"add {name}=… to .aegis/secrets or --secrets-file",
            )
        return self.options.secrets[name]

    # -- the run --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Submit the plan."""
        plan = self.plan
        run = Run(
            id=self.id,
            project=plan.project,
            ref=plan.ref if plan.ref.startswith("refs/") else f"refs/heads/{plan.ref}",
            commit=plan.commit,
            plan="",
            change="",
            source=plan.source,
            started_by="local",
        )
        self._coordinator.submit(run, plan, actor="local")
        # While the first jobs begin.
        remember(self.directory, self._project, plan)

    def state(self) -> Run:
        """The run as it is, with the jobs of its child pipelines under their names; first what they ask for is done."""
        self._children.step(self._coordinator.run(self.id))
        run = self._coordinator.run(self.id)
        return replace(run, jobs=(*run.jobs, *self._children.jobs()))

    def cancel(self) -> Run:
        """Stop everything that runs; answered at once."""
        self._coordinator.cancel(self.id, "local", "interrupted")
        self._children.cancel("interrupted")
        return self.state()

    def _noticed(self, _run: str) -> None:
        if self._coordinator.depth() == (0, 0):
            self.idle.set()
        self.changed.set()

    def wait(self, seconds: float) -> bool:
        """Wait for something to happen; whether it did."""
        happened = self.changed.wait(seconds)
        self.changed.clear()
        return happened

    def at_rest(self, run: Run) -> bool:
        """Whether nothing happens any more without a person."""
        active = {State.PENDING, State.RUNNING, State.CANCELING, State.WAITING_FOR_RESOURCE}
        return not any(job.state in active and not self._children.waits(job) for job in run.jobs)

    def log(self, job: JobRun) -> Path:
        """Where a job's log lies."""
        return self.directory / f"{log_name(job.name)}.log"

    def log_size(self, job: JobRun) -> int:
        """How long the log of a job is by now; its bytes are had by `log_piece` until `lay_out`."""
        return self._traces.size(job.id)

    def log_piece(self, job: JobRun, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes of a job's log from `offset`; empty at what is its end now."""
        return self._traces.read(job.id, offset, limit)

    def slow_tests(self, run: Run, count: int) -> tuple[tuple[str, Test], ...]:
        """The slowest tests of the jobs' reports, with the jobs' names."""
        return slowest(self._blobs, run.jobs, count)

    def tail_of(self, job: JobRun, size: int = 65536) -> bytes:
        """The end of a finished job's log."""
        if not self.log(job).is_file():
            return b""
        with self.log(job).open("rb") as file:
            file.seek(max(0, self.log(job).stat().st_size - size))
            return file.read()

    def lay_out(self, run: Run) -> tuple[LocalJob, ...]:
        """Write each job's log and unpack what it left; what is to be shown."""
        shown = tuple(self._shown(job) for job in run.jobs)
        summary = {"run": self.id, "status": run.state.value, "jobs": run.jobs}
        (self.directory / "run.json").write_bytes(codec.written(summary))
        latest = self._folder / "runs" / "latest"
        latest.unlink(missing_ok=True)
        latest.symlink_to(self.id)
        shutil.rmtree(self.directory / "traces", ignore_errors=True)
        from aegis.bootstrap import local_traces  # noqa: PLC0415 - not before the jobs begin

        self.course = local_traces.write(
            self.directory, self._ledger, self._coordinator.plan, (self.id, *self._children.runs())
        )
        return shown

    def _shown(self, job: JobRun) -> LocalJob:
        log = self.log(job)
        if job.started_at is not None:
            self._traces.hand_over(job.id, log)
        return LocalJob(
            name=job.name,
            stage=job.stage,
            status=job.state.value,
            exit_code=job.exit_code,
            seconds=round(job.run_seconds or 0.0, 3),
            failure_reason=job.failure_reason,
            message=job.message,
            log=str(log) if job.started_at is not None else "",
            artifacts=str(self._artifacts(job)) if job.files else "",
            allow_failure=job.allow_failure,
            queue_seconds=round(job.queue_seconds or 0.0, 3),
            fault=job.fault,
            usage=job.usage,
            reused=job.reused_from,
            verified=job.reuse.verified if job.reuse is not None else "",
        )

    def _artifacts(self, job: JobRun) -> Path:
        folder = self.directory / "artifacts" / log_name(job.name)
        folder.mkdir(parents=True, exist_ok=True)
        for file in job.files:
            if file.kind == "archive":
                stored.unpack(self._blobs, file.digest, folder)
            else:
                target = folder / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self._blobs.get(file.digest))
        return folder


def masker(values: Mapping[str, str]) -> tuple[Masker, tuple[str, ...]]:
    """A masker for named secrets, and the names of those that it cannot mask."""
    made = SecretMasker(values)
    return made, made.unmasked


def watch(run: LocalRun, seen: Callable[[Run], None], *, every: float) -> Run:
    """Call `seen` whenever something happened and at least every `every` seconds, until the run is at rest."""
    while True:
        begun = time.monotonic()
        run.idle.clear()
        state = run.state()
        seen(state)
        if run.at_rest(state):
            return state
        # A look costs in proportion to the jobs, and takes the time from them: not every event is looked at by itself.
        run.idle.wait(min(0.5, max(_PACE, 10 * (time.monotonic() - begun))))
        deadline = time.monotonic() + every
        while not run.wait(0.1) and time.monotonic() < deadline:
            continue
