"""The loop of the built-in runner: free slots ask for jobs, a stop drains."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from aegis.core.errors import AegisError
from aegis.execution.runners import Assignment, Runner
from aegis.execution.supervise.job import JobWork
from aegis.execution.supervise.places import remove
from aegis.execution.supervise.pool import Places
from aegis.execution.supervise.tools import Tools

P = ParamSpec("P")
T = TypeVar("T")
_ASK_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.5
_WAKE_SECONDS: Final = 0.05


class Supervisor:
    """Works jobs of `tools.source` until told to stop. One instance per directory; `run` is called once.

    Faults of the source (a ledger that cannot be written) are waited out. A job never takes the loop down.
    """

    def __init__(self, tools: Tools, *, drain_seconds: float = 10.0) -> None:
        self._tools = tools
        self._drain_seconds = drain_seconds
        self._work: dict[str, JobWork] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        options = tools.options
        self._runner = Runner(
            name=options.name,
            isolation=tools.executor.isolation,
            tags=options.tags,
            network=lambda run, spec: tools.network(run).tightened(spec.variables).policy.value,
        )
        # Only where nothing of a job outlives it can the next have its place.
        again = tools.executor.isolation == "namespaces" and not options.keep_places
        self._places = Places(options.directory, tools.executor.owner, 2 * options.concurrency + 4) if again else None
        self._threads: ThreadPoolExecutor | None = None
        self._stopping = False
        self._acquiring = False
        self.faults: list[str] = []
        """What went wrong in the runner itself, newest last; for `status`."""

    @property
    def busy(self) -> int:
        """How many jobs run now."""
        return len(self._work)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then take no more jobs, let those that run end, and stop them after a while."""
        options = self._tools.options
        # Each job watches, logs and moves files; one more waits for work.
        with ThreadPoolExecutor(options.concurrency * 2 + 4, thread_name_prefix="runner") as threads:
            self._threads = threads
            warming = asyncio.create_task(self._tools.executor.warm())
            await self._call(self._begin)
            asking = asyncio.create_task(self._ask())
            try:
                await asyncio.wait({asking, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await warming
                await self._end(asking)

    def _begin(self) -> None:
        directory = self._tools.options.directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in directory.iterdir():
            # What a killed runner left; its processes died with it.
            self._sweep(left)

    def _left(self, work: JobWork, project: str) -> Path | None:
        """After a job: its place is for the next one. What is to be removed when there is time: this place, or another."""
        places = self._places
        if (
            places is not None
            and self._tools.workspaces.untouched(work.place.work)
            and places.clean(work.place, work.shown)
        ):
            return places.give_back(project, work.place.root)
        return work.place.root

    def _sweep(self, root: Path) -> None:
        self._tools.workspaces.release(root / "work")
        remove(root)

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(function, *args, **kwargs))

    async def _ask(self) -> None:
        slots = asyncio.Semaphore(self._tools.options.concurrency)
        while not self._stopping:
            await slots.acquire()
            self._acquiring = True
            try:
                given = await self._call(self._tools.source.acquire, self._runner, timeout=_ASK_SECONDS)
            except AegisError as error:
                self.faults.append(error.message)
                given = None
                await asyncio.sleep(_PAUSE_SECONDS)
            self._acquiring = False
            if given is None:
                slots.release()
                continue
            task = asyncio.create_task(self._one(given, slots))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, given: Assignment, slots: asyncio.Semaphore) -> None:
        named = self._tools.options.directory / given.job.id
        work = JobWork(
            self._tools, given, named if self._places is None else self._places.take(given.run.project), self._call
        )
        self._work[given.job.id] = work

        def freed() -> None:
            # While the result of one job is being recorded, the next may run.
            if self._work.pop(given.job.id, None) is not None:
                slots.release()

        gone: list[Path | None] = []
        """What is to be removed at the end; empty until that is known."""

        def leave() -> None:
            gone.append(self._left(work, given.run.project))

        try:
            await work.work(freed, leave)
        except Exception as error:  # noqa: BLE001 - a bug in one job must not end the others; its lease runs out
            self.faults.append(f"job {given.job.name}: {type(error).__name__}: {error}")
        finally:
            freed()
        for root in gone or [work.place.root]:
            if root is not None and not self._tools.options.keep_places:
                await self._call(self._sweep, root)

    async def _end(self, asking: asyncio.Task[None]) -> None:
        self._stopping = True
        while self._acquiring and not asking.done():
            # It may still bring a job, which must not be lost; and it may begin to wait just after a call to wake.
            self._tools.source.wake()
            await asyncio.wait({asking}, timeout=_WAKE_SECONDS)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._drain_seconds)
        for work in self._work.values():
            work.stop("shutdown")
        if self._tasks:
            await asyncio.wait(self._tasks)
        for free in self._places.close() if self._places is not None else ():
            await self._call(self._sweep, free)
        await self._tools.executor.close()
