"""What execution needs from outside: traces, leases, work trees, executors, the index of caches.

`Executor` and `TraceSink` are asynchronous and used by the supervisor's loop alone; all others are synchronous and may be
called from any thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from aegis.core.plan import Image
from aegis.core.spent import JobUsage
from aegis.core.types import StoredFile
from aegis.core.values import dataclass
from aegis.execution.network import Network


class TraceStore(Protocol):
    """The growing log of each job, by byte offset. Bytes survive the process; they need not survive the machine.

    One writer per job, any number of readers. After `close` nothing is appended (`Conflict`); reads go on.
    """

    def append(self, job_id: str, offset: int, data: bytes) -> int:
        """Add `data` at `offset`; the new end. What lies before the end is ignored; a gap raises `Conflict`."""
        ...

    def read(self, job_id: str, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes from `offset`; empty at the end. An unknown job has an empty trace."""
        ...

    def size(self, job_id: str) -> int:
        """Where the trace ends."""
        ...

    def wait(self, job_id: str, offset: int, timeout: float) -> bool:
        """Block until there are bytes beyond `offset` or the trace is closed (True), or `timeout` has passed (False)."""
        ...

    def close(self, job_id: str) -> None:
        """Nothing more will come; idempotent."""
        ...

    def closed(self, job_id: str) -> bool:
        """Whether it was closed."""
        ...

    def delete(self, job_id: str) -> None:
        """Forget it; no error when it is not there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A job held by a runner. `expires` is seconds of the monotonic clock, meaningless after a restart."""

    job_id: str
    run: str
    runner: str
    resumable: bool
    expires: float


class QueueStore(Protocol):
    """Leases, and the bookmark that keeps recovery short. All of it can be lost without harm.

    After a loss `bookmark` answers (0, ()) and recovery reads the ledger from its beginning; lost leases make running
    jobs fail with `runner_system_failure`.
    """

    def put(self, lease: Lease) -> None:
        """Keep or renew a lease."""
        ...

    def remove(self, job_id: str) -> None:
        """A lease has ended; no error when it is not there."""
        ...

    def leases(self) -> tuple[Lease, ...]:
        """All leases kept."""
        ...

    def mark(self, seq: int, open_runs: Sequence[str]) -> None:
        """At ledger record `seq` exactly these runs were open."""
        ...

    def bookmark(self) -> tuple[int, tuple[str, ...]]:
        """The last mark."""
        ...


class JobFiles(Protocol):
    """What remote runners have uploaded of jobs that have not ended. It survives the process.

    Losing it loses those files: the job ends without them.
    """

    def add(self, job_id: str, file: StoredFile) -> None:
        """Keep it, in the place of one of the same kind and name: an upload that is repeated counts once."""
        ...

    def of(self, job_id: str) -> tuple[StoredFile, ...]:
        """What there is, in the order of first arrival."""
        ...

    def forget(self, job_id: str) -> None:
        """The job has ended; no error when there is nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceRequest:
    """A work tree to make in the empty directory `destination`. `checkout` False leaves it empty."""

    project: str
    commit: str
    ref: str
    destination: Path
    checkout: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceReady:
    """What else the job must be able to read (`read_only`: Git objects), and one line for its trace.

    `owned` says that everything in the tree belongs to the executor's owner already.
    """

    read_only: tuple[Path, ...] = ()
    note: str = ""
    owned: bool = False


class Workspaces(Protocol):
    """Work trees. A tree is as fresh as a clone: nothing of another job is in it, and it can be thrown away."""

    def prepare(self, request: WorkspaceRequest) -> WorkspaceReady:
        """Fill `destination`, which is empty or was called untouched. `NotFound` for an unknown project or commit, `ExternalError` when Git fails."""
        ...

    def untouched(self, destination: Path) -> bool:
        """Whether a tree is exactly as `prepare` left it, so that another job may have it: `prepare` is called for it again."""
        ...

    def files(self, request: WorkspaceRequest) -> Mapping[str, str]:
        """What the tree will hold, without making it: each path with what tells its content and mode apart; errors as above."""
        ...

    def release(self, destination: Path) -> None:
        """The tree is needed no longer and will be removed; also for what an earlier process left. Idempotent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """A kept cache archive."""

    digest: str
    size: int
    at: datetime


class Shelf(Protocol):
    """Small values by name (`folder/file` of `[0-9a-z.]`), written whole: a reader sees an old value or a new one.

    Nobody answers for who wrote a value. The last writer wins. Losing it costs only time. `ExternalError` where it fails.
    """

    def get(self, name: str) -> bytes | None:
        """The value, or None."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Keep it."""
        ...

    def delete(self, name: str) -> None:
        """Forget it; no error when it is not there."""
        ...

    def names(self) -> Iterator[tuple[str, float]]:
        """What there is, each with the Unix time of its last change."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """Bounds of one job; 0 sets none.

    `memory` is bytes of address space per process, `total_memory` what all of them may use together (per process, where the
    system cannot bound them together), `cpus` processors, `files` open files per process.
    """

    memory: int = 0
    total_memory: int = 0
    cpus: float = 0.0
    processes: int = 4096
    files: int = 65536

    @property
    def used_up(self) -> str:
        """What is said of a job that has used more memory than it may."""
        size = f"its {self.total_memory >> 20} MiB of memory" if self.total_memory else "the memory that there is"
        return f"a process was ended: the job used more than {size} (runner: {{limits: {{memory: …}}}})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a job lives. `root` is the outside directory that holds the four others and is removed at the end.

    The `inner_*` paths are what the job itself sees; they differ from the outside where the executor remaps.
    """

    root: Path
    work: Path
    tmp: Path
    home: Path
    files: Path
    inner_work: str
    inner_tmp: str
    inner_home: str
    inner_files: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """How an image says whether its program is ready: `argv` in the container ends with 0. Times in seconds."""

    argv: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRoot:
    """An image, unpacked at `path`, which nobody writes to. `shell_path` is the shell it has, a path inside.

    Where a container engine keeps the image, `digest` is its name there and `path` is empty (`Path()`). What follows
    `environment` is of the image's configuration: the program that it starts, as whom and where, the TCP ports that it
    exposes, lowest first.
    """

    name: str
    digest: str
    path: Path
    shell_path: str
    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    directory: str = ""
    ports: tuple[int, ...] = ()
    health: HealthCheck | None = None


class ImageRoots(Protocol):
    """Images as directories that jobs can have as their root. Blocks; safe from any thread."""

    def get(self, image: Image, project: str, *, service: bool = False) -> ImageRoot:
        """The image for a job of the project, fetched as its pull policies say. A `service` needs no shell in it.

        `UserError`, `Denied`, `NotFound` or `ExternalError` where it is not to be had here; the hint is the mend.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRequest:
    """A program of an image that runs beside a job, from `prepare` to `cleanup`.

    The job, and the other services, reach it as a host by each of `aliases`. `entrypoint` and `command` replace the image's
    own; None leaves them. `variables` is its environment beside the image's. It is ready when the image's own health
    check passes or, without one, when `port` accepts; after `wait_seconds` the job begins all the same, with a warning.
    `port` 0: there is nothing to wait for.
    """

    name: str
    aliases: tuple[str, ...]
    image: ImageRoot
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    port: int = 0
    wait_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRequest:
    """What an executor has to provide. `writable` maps inside paths to outside directories (a project's tool cache).

    With `image` the job's root is that image, changed as the job likes for itself alone, and nothing of the machine's
    programs is there; `entrypoint` replaces the image's own, and `user` is whom the job asks to be (empty: whoever the
    executor takes). What starts and what goes wrong with `services` is written to `log` as whole lines, and with
    `show_services` what they say themselves. `network` is what the job and its services reach; an executor that cannot keep
    it refuses the job.
    """

    job_id: str
    place: Place
    read_only: tuple[Path, ...] = ()
    writable: Mapping[str, Path] = field(default_factory=dict)
    limits: JobLimits = JobLimits()
    image: ImageRoot | None = None
    entrypoint: tuple[str, ...] | None = None
    user: str = ""
    services: tuple[ServiceRequest, ...] = ()
    log: TraceSink | None = None
    show_services: bool = False
    network: Network = field(default_factory=Network)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a step ended: its code (128+n for a signal n of the shell's), and whether it was stopped from here."""

    code: int
    stopped: bool = False
    usage: JobUsage | None = field(default=None, compare=False)
    """What its processes used (where nothing else is known, those that somebody waited for); None where it is not known."""
    out_of_memory: bool = False
    """Whether a process was ended because the job's memory was used up."""


class TraceSink(Protocol):
    """Where a running step's output goes. `write` may wait: that is the back-pressure."""

    async def write(self, data: bytes) -> None:
        """Take raw bytes; they are masked before anything keeps them."""
        ...


class Sandbox(Protocol):
    """A prepared place. Steps of one sandbox run one after another and share their files."""

    async def run(self, script: bytes, environment: Mapping[str, str], sink: TraceSink) -> Exit:
        """Run a shell script in the work tree and wait for its end; all output of both streams goes to `sink`.

        When it returns, no process of the step is left. `ExternalError` where it could not be started.
        """
        ...

    async def stop(self) -> None:
        """End the running step with everything it started, also what hides; `run` then answers `stopped`.

        Without a running step nothing happens, and the next one runs as usual.
        """
        ...

    async def interact(self, environment: Mapping[str, str]) -> None:
        """A shell for the person at this process's terminal, in the mounts and the identity of the steps; until it ends."""
        ...

    async def cleanup(self) -> None:
        """Give everything back; idempotent, also after errors."""
        ...


class Executor(Protocol):
    """Runs steps on this machine. `isolation` is recorded in the run (`namespaces`, `docker`, `podman`, `process`)."""

    @property
    def isolation(self) -> str:
        """What separates a job from the machine."""
        ...

    @property
    def owner(self) -> tuple[int, int] | None:
        """User and group that the job's files must belong to; None: whoever runs this."""
        ...

    @property
    def carries_images(self) -> bool:
        """Whether a job's root can be an image."""
        ...

    @property
    def carries_tools(self) -> bool:
        """Whether a job without an image has the machine's programs; if not, it needs an image."""
        ...

    @property
    def carries_services(self) -> bool:
        """Whether `services` can run beside a job."""
        ...

    def place(self, root: Path, project: str) -> Place:
        """The paths of a job under the outside directory `root`."""
        ...

    async def warm(self) -> None:
        """Do ahead what the first sandbox would wait for. It may be left out, and what fails here fails again then."""
        ...

    async def prepare(self, request: SandboxRequest) -> Sandbox:
        """A sandbox; `ExternalError` where the system does not give one."""
        ...

    async def close(self) -> None:
        """Give back what is kept between jobs; idempotent. No sandbox is in use any more."""
        ...
