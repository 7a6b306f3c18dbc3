"""A whole execution in a directory: ledger, blobs, coordinator and a supervisor in a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.adapters.clock_system import SystemClock
from aegis.adapters.executor_process import ProcessExecutor
from aegis.adapters.ledger_sqlite import SqliteLedger
from aegis.adapters.queue_sqlite import SqliteQueue
from aegis.adapters.shelf_directory import DirectoryShelf
from aegis.adapters.traces_directory import DirectoryTraces
from aegis.adapters.workspace_git import GitWorkspaces
from aegis.core.plan import JobSpec, Plan, Variable
from aegis.core.ports import Clock, Masker
from aegis.core.types import JobRun, Run, State
from aegis.execution.coordinator import Coordinator
from aegis.execution.options import CoordinatorOptions, SupervisorOptions
from aegis.execution.ports import CacheEntry, Executor, ImageRoots
from aegis.execution.reuse import Proven
from aegis.execution.runners import JobCredentials
from aegis.execution.sealed import SealedNotes
from aegis.execution.supervise import Supervisor, Tools
from aegis.execution.supervise.timings import Durations, Timings
from aegis.secrets.masking import SecretMasker
from support.clock import SeededEntropy

PROJECT = "shop/orders"
TOKEN = "job-token-" + "0123456789abcdef"


def repository(path: Path, files: Mapping[str, str]) -> str:
    """Make a bare repository with one commit; its id. Made once for the same files, then copied."""
    made, commit = _template(tuple(sorted(files.items())))
    shutil.copytree(made, path)
    return commit


@functools.cache
def _template(files: tuple[tuple[str, str], ...]) -> tuple[Path, str]:
    root = Path(tempfile.mkdtemp(prefix="aegis-template-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    path, work = root / "repo.git", root / "work"
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "a@example.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=work, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    work.mkdir(parents=True)
    git("init", "-q", "-b", "main")
    for name, text in files:
        file = work / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    git("tag", "v1.0.0")
    git("clone", "-q", "--bare", str(work), str(path))
    return path, git("rev-parse", "HEAD")


def job(name: str, *script: str, stage: str = "test", **more: Any) -> JobSpec:
    """A job with a script."""
    variables = tuple(Variable(key=key, value=value) for key, value in more.pop("values", {}).items())
    return JobSpec(name=name, stage=stage, script=script, variables=(*variables, *more.pop("variables", ())), **more)


def plan(*jobs: JobSpec, stages: Iterable[str] = ("build", "test", "deploy"), commit: str = "0" * 40) -> Plan:
    """A plan of these jobs."""
    return Plan(
        id="plan", project=PROJECT, commit=commit, ref="refs/heads/main", source="push", stages=tuple(stages), jobs=jobs
    )


def masker(values: Mapping[str, str]) -> tuple[Masker, tuple[str, ...]]:
    """What the bootstrap gives to the supervisor."""
    made = SecretMasker(values)
    return made, made.unmasked


class Engine:
    """Everything that execution needs, in one directory. `restart` begins anew on the same data, as after a crash."""

    def __init__(
        self,
        root: Path,
        *,
        clock: Clock | None = None,
        options: CoordinatorOptions | None = None,
        executor: Executor | None = None,
        files: Mapping[str, str] | None = None,
        resolve: Callable[[Run, JobSpec, str], str] | None = None,
        images: ImageRoots | None = None,
    ) -> None:
        self.root = root
        self.clock = clock or SystemClock()
        self.options = options
        self.executor = executor
        self.resolve = resolve
        self.images = images
        self.changes: list[str] = []
        self.runs = 0
        self.commit = repository(root / "data" / "repo.git", files or {"README.md": "# orders\n"})
        self.blobs = DirectoryBlobs(root / "data" / "blobs")
        self.open()

    def open(self) -> None:
        data = self.root / "data"
        self.traces = DirectoryTraces(data / "traces")
        self.queue = SqliteQueue(data / "queue.db")
        self.ledger = SqliteLedger(
            data / "ledger.db", clock=self.clock, entropy=SeededEntropy(7), blobs=self.blobs, recorded_by="test"
        )
        self.coordinator = Coordinator(
            ledger=self.ledger,
            blobs=self.blobs,
            clock=self.clock,
            traces=self.traces,
            queue=self.queue,
            credentials=lambda *_: JobCredentials(token=TOKEN),
            options=self.options,
            resolve_secret=self.resolve,
            on_change=self.changes.append,
        )

    def close(self) -> None:
        self.ledger.close()
        self.queue.close()
        self.traces.release()

    def restart(self) -> tuple[Run, ...]:
        self.close()
        self.open()
        return self.coordinator.recover()

    def submit(self, *jobs: JobSpec, **more: Any) -> str:
        self.runs += 1
        run = Run(
            id=f"01run{self.runs:021d}", project=PROJECT, ref="refs/heads/main", commit=self.commit, plan="",
            change="change", source="push", started_by="dev",
        )  # fmt: skip
        made = plan(*jobs, commit=self.commit, **more)
        self.coordinator.submit(run, made, actor="dev", project=PROJECT)
        return run.id

    def supervisor(self, **more: Any) -> Supervisor:
        options = {"directory": self.root / "jobs", "concurrency": 4, "poll_seconds": 0.05, "flush_seconds": 0.02}
        tools = Tools(
            source=self.coordinator,
            executor=self.executor or ProcessExecutor(grace=0.3),
            workspaces=GitWorkspaces(lambda _: self.root / "data" / "repo.git"),
            blobs=self.blobs,
            caches=SealedNotes(DirectoryShelf(self.root / "data" / "caches"), b"key", "cache", CacheEntry),
            timings=Timings(
                SealedNotes(DirectoryShelf(self.root / "data" / "caches"), b"key", "durations", Durations), self.blobs
            ),
            results=SealedNotes(DirectoryShelf(self.root / "data" / "caches"), b"key", "result", Proven),
            clock=self.clock,
            masker=masker,
            options=SupervisorOptions(**{**options, **more}),
            images=self.images,
        )
        return Supervisor(tools, drain_seconds=0.5)

    def run(
        self, *jobs: JobSpec, seconds: float = 30.0, supervisor: Mapping[str, Any] | None = None, **more: Any
    ) -> Run:
        """Submit, work until the run is finished, and answer it."""
        run_id = self.submit(*jobs, **more)
        with Working(self, **(supervisor or {})):
            return self.wait(run_id, seconds)

    def wait(self, run_id: str, seconds: float = 30.0, *states: State) -> Run:
        """Wait for the end of a run, or for one of `states`."""
        return self.until(lambda: self._reached(run_id, states), seconds)

    def _reached(self, run_id: str, states: tuple[State, ...]) -> Run | None:
        run = self.coordinator.run(run_id)
        return run if (run.state in states if states else run.state.finished) else None

    def until(self, look: Callable[[], Any], seconds: float = 30.0) -> Any:
        """Ask until there is an answer."""
        deadline = time.monotonic() + seconds
        seen = self.ledger.head().seq
        while not (found := look()):
            assert time.monotonic() < deadline, "it did not happen in time"
            self.ledger.wait(seen, 0.02)
            seen = self.ledger.head().seq
        return found

    def log(self, one: JobRun) -> str:
        return self.traces.read(one.id, 0, 1 << 30).decode("utf-8", "replace")


class Working:
    """A supervisor at work in a thread, for the length of a `with` block."""

    def __init__(self, engine: Engine, **options: Any) -> None:
        self.supervisor = engine.supervisor(**options)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name="supervisor")

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self.supervisor.run(self._stop))
        self._loop.close()

    def __enter__(self) -> Supervisor:
        self._thread.start()
        return self.supervisor

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive(), "the supervisor did not stop"
        assert self.supervisor.faults == []


def by_name(run: Run) -> dict[str, JobRun]:
    """A run's jobs."""
    return {one.name: one for one in run.jobs}
