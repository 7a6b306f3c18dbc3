"""`python crossings.py PLAN -- ARGUMENTS`: the aegis command, with a fault where it crosses to the outside.

A *crossing* is one call of a method that changes something outside the process' memory: a row of the ledger, a lease, a piece
of a log, a blob, a ref, a manifest, a process. `POINTS` names them. Every crossing is counted per point, so that one of them
is told by `(point, number)`. `PLAN` is a JSON file:

    {"record": FILE}                 every crossing is written there, one line each: `point number`
    {"witness": FILE}                every script that is begun is written there: the id of its job
    {"silence": SECONDS}             how long a runner may be silent
    {"point", "number", "when", "action", "mark": FILE}

`when` is `before` or `after` the deed. `action`: `kill` (SIGKILL of this process), `partial` (half of the deed, then the kill), `error`
(an `ExternalError` that may be tried again; after the deed it is an answer that was lost), `full` (the file system has no byte
left, for a while), `stop` (SIGSTOP: somebody else wakes it), `slay` (SIGKILL of the process in the file `victim`, and it goes on), `clock` (the wall clock jumps by `jump` seconds and stays there,
the monotonic one does not). `mark` is made when it happens, and where it is there already
nothing happens any more: the second start comes through.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import importlib
import inspect
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

AT: Final = "aegis.adapters."
POINTS: Final = {
    "ledger.append": f"{AT}ledger_writer:LedgerWriter.append",
    "ledger.insert": f"{AT}ledger_sqlite.writer:SqliteRows.insert",
    "ledger.commit": f"{AT}ledger_sqlite.writer:SqliteRows.commit",
    "postgres.insert": f"{AT}ledger_postgres.writer:PostgresRows.insert",
    "postgres.commit": f"{AT}ledger_postgres.writer:PostgresRows.commit",
    "queue.put": f"{AT}queue_sqlite:SqliteQueue.put",
    "queue.remove": f"{AT}queue_sqlite:SqliteQueue.remove",
    "queue.mark": f"{AT}queue_sqlite:SqliteQueue.mark",
    "trace.append": f"{AT}traces_directory:DirectoryTraces.append",
    "trace.close": f"{AT}traces_directory:DirectoryTraces.close",
    "blob.put": f"{AT}blobs_directory:DirectoryBlobs.put",
    "blob.stream": f"{AT}blobs_directory:DirectoryBlobs.put_stream",
    "blob.adopt": f"{AT}blobs_directory:DirectoryBlobs.adopt",
    "blob.delete": f"{AT}blobs_directory:DirectoryBlobs.delete",
    "files.add": f"{AT}job_files_sqlite:SqliteJobFiles.add",
    "files.forget": f"{AT}job_files_sqlite:SqliteJobFiles.forget",
    "upload.start": f"{AT}uploads_directory:DirectoryUploads.start",
    "upload.append": f"{AT}uploads_directory:DirectoryUploads.append",
    "upload.commit": f"{AT}uploads_directory:DirectoryUploads.commit",
    "image.link": f"{AT}registry_sqlite:SqliteImages.link_blob",
    "image.manifest": f"{AT}registry_sqlite:SqliteImages.put_manifest",
    "package.add": f"{AT}registry_sqlite:SqliteIndexes.add",
    "note.store": "aegis.execution.sealed:SealedNotes.store",
    "tree.prepare": f"{AT}workspace_shared:SharedWorkspaces.prepare",
    "tree.release": f"{AT}workspace_shared:SharedWorkspaces.release",
    "job.prepare": f"{AT}executor_namespace:NamespaceExecutor.prepare",
    "job.run": f"{AT}executor_process:StepSandbox.run",
    "job.cleanup": f"{AT}executor_process:StepSandbox.cleanup",
    "git.create": f"{AT}githost_directory:DirectoryGitHost.create",
    "git.begun": "aegis.delivery.entrance:Entrance.git_begun",
    "git.received": "aegis.delivery.entrance:Entrance.git_received",
    "git.committed": f"{AT}git_repository:GitRepository.committed",
    "git.tagged": f"{AT}git_repository:GitRepository.tagged",
    "git.set-ref": f"{AT}git_repository:GitRepository.set_ref",
    "git.delete-ref": f"{AT}git_repository:GitRepository.delete_ref",
    "sync.request": f"{AT}sync_own:OwnSync.request",
    "cluster.apply": f"{AT}cluster_local:LocalCluster.apply",
    "cluster.prune": f"{AT}cluster_local:LocalCluster.prune",
    "cluster.active": f"{AT}cluster_local:LocalCluster.set_active",
    "cluster.retire": f"{AT}cluster_local:LocalCluster.retire",
    "traffic.weights": f"{AT}traffic_traefik:TraefikTraffic.set_weights",
    "traffic.addresses": f"{AT}traffic_traefik:TraefikTraffic.set_addresses",
    "checkpoint.save": f"{AT}checkpoints_sqlite:SqliteCheckpoints.save",
    "anchor.append": f"{AT}anchors_file:AnchorFile.append",
    "sign": f"{AT}signer_file:FileSigner.sign",
}  # fmt: skip
WHEN: Final = ("before", "after")
PARTIAL: Final = ("ledger.insert", "trace.append", "blob.stream", "upload.append")
"""Points whose deed can be done by half."""
FULL_SECONDS: Final = 1.5
"""For how long the file system stays full."""


class Wrapper:
    """Counts the crossings of a process and lets one of them go wrong."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._record = _appending(plan.get("record"))
        self._witness = _appending(plan.get("witness"))
        self._mark = Path(plan["mark"]) if "mark" in plan else None
        armed = self._mark is not None and not self._mark.exists()
        self._due = (plan["point"], plan["number"]) if armed else None
        self._when, self._action = plan.get("when", ""), plan.get("action", "")
        self._jump, self._ahead = float(plan.get("jump", 0)), 0.0
        if self._jump:
            self._take_over_the_clock()
        if "silence" in plan:
            from aegis.execution.options import CoordinatorOptions

            CoordinatorOptions.silence = lambda *_, **__: float(plan["silence"])  # type: ignore[method-assign]
        self._victim = Path(plan.get("victim", "."))
        self._room = Path(plan.get("room", "."))

    def _take_over_the_clock(self) -> None:
        real, now = time.time, dt.datetime.now
        time.time = lambda: real() + self._ahead
        from aegis.adapters.clock_system import SystemClock

        SystemClock.now = lambda _: now(dt.UTC) + dt.timedelta(seconds=self._ahead)  # type: ignore[method-assign]

    def install(self) -> None:
        """Put the wrapper around every point."""
        for point, target in POINTS.items():
            module_name, _, path = target.partition(":")
            owner: Any = importlib.import_module(module_name)
            *parents, name = path.split(".")
            for parent in parents:
                owner = getattr(owner, parent)
            setattr(owner, name, self._around(point, getattr(owner, name)))

    def _around(self, point: str, real: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(real):

            @functools.wraps(real)
            async def crossing_async(*arguments: Any, **named: Any) -> Any:
                if point == "job.run":
                    self._saw(arguments[0])
                due = self._crossing(point)
                self._happens(due, "before")
                answer = await real(*arguments, **named)
                self._happens(due, "after")
                return answer

            return crossing_async

        @functools.wraps(real)
        def crossing(*arguments: Any, **named: Any) -> Any:
            due = self._crossing(point)
            self._happens(due, "before")
            if due and self._action == "partial":
                self._marked()
                real(*_half(point, arguments), **named)
                os.kill(os.getpid(), signal.SIGKILL)
            answer = real(*arguments, **named)
            self._happens(due, "after")
            return answer

        return crossing

    def _crossing(self, point: str) -> bool:
        """Count it; whether it is the one that goes wrong."""
        with self._lock:
            number = self._counts[point] = self._counts.get(point, 0) + 1
            if self._record is not None:
                os.write(self._record, f"{point} {number}\n".encode())
        return self._due == (point, number)

    def _saw(self, sandbox: Any) -> None:
        if self._witness is not None:
            os.write(self._witness, f"{sandbox._request.job_id}\n".encode())

    def _marked(self) -> None:
        assert self._mark is not None
        self._mark.write_text(repr(time.monotonic()))

    def _happens(self, due: bool, now: str) -> None:
        if not due or now != self._when:
            return
        self._marked()
        if self._action == "error":
            from aegis.core.errors import ExternalError

            raise ExternalError("fault", "a fault of the test's", hint="none", retryable=True)
        if self._action == "clock":
            self._ahead = self._jump
            return
        if self._action == "slay":
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(self._victim.read_text()), signal.SIGKILL)
            return
        if self._action == "full":
            threading.Thread(target=_fill, args=(self._room, threading.Event()), daemon=True).start()
            while not (self._room / "filler").exists() or not _is_full(self._room):
                time.sleep(0.001)
            return
        os.kill(os.getpid(), signal.SIGSTOP if self._action == "stop" else signal.SIGKILL)


def _half(point: str, arguments: Sequence[Any]) -> list[Any]:
    """The arguments of half a deed; what it would be told by is left as it is."""
    made = list(arguments)
    if point == "ledger.insert":
        made[1] = made[1][: (len(made[1]) + 1) // 2]
    elif point == "blob.stream":
        made[1] = _until_killed(made[1])
    else:
        made[3] = made[3][: len(made[3]) // 2] if isinstance(made[3], bytes) else _until_killed(made[3])
    return made


def _until_killed(source: Any) -> Iterator[bytes]:
    """One piece of a stream by half, then the end of the process: what is being written stays as it is."""
    chunks: Iterable[bytes] = iter(functools.partial(source.read, 65536), b"") if hasattr(source, "read") else source
    for chunk in chunks:
        yield chunk[: len(chunk) // 2]
        break
    os.kill(os.getpid(), signal.SIGKILL)


def _fill(room: Path, wait: threading.Event) -> None:
    """Leave no byte for a while."""
    filler = room / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"x" * size):
                    continue
            except OSError:
                continue
    wait.wait(FULL_SECONDS)
    filler.unlink()


def _is_full(room: Path) -> bool:
    found = os.statvfs(room)
    return found.f_bavail == 0


def _appending(path: str | None) -> int | None:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600) if path else None


if __name__ == "__main__":
    file = Path(sys.argv[1])
    sys.argv = ["aegis", *sys.argv[3:]]
    Wrapper(json.loads(file.read_text())).install()
    from aegis.cli import main

    main()
