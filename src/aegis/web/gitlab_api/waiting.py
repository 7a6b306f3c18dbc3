"""Runners that wait for a job: long polls held without a thread each, woken when a job becomes pending.

One task listens for new jobs and offers them to the waiting requests in the order of their arrival, so that two hundred
idle runners cost two hundred sockets and nothing more. What a runner may have is the door's to decide.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from aegis.core.errors import AegisError
from aegis.delivery.runner_door import RunnerDoor

Document = dict[str, Any]
HOLD_SECONDS: Final = 50.0
PLACES: Final = 2000
"""Requests that may wait at once; more are asked to come again later."""
_LISTEN_SECONDS: Final = 1.0


@dataclass(eq=False, slots=True, kw_only=True)
class Asking:
    """A runner's request for a job. `answer` is settled with a document, None, or an error."""

    token: str
    system_id: str
    info: Mapping[str, Any]
    address: str
    answer: asyncio.Future[Document | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class WaitingRoom:
    """Holds requests. `start` and `stop` frame its life; used by one event loop."""

    def __init__(self, door: RunnerDoor, *, hold_seconds: float = HOLD_SECONDS) -> None:
        self._door = door
        self._hold = hold_seconds
        self._waiting: dict[Asking, None] = {}
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gitlab-api-bell")
        self._stopped = False

    @property
    def full(self) -> bool:
        """Whether no more requests can wait."""
        return len(self._waiting) >= PLACES

    def _start(self) -> None:
        if not self._tasks and not self._stopped:
            self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._serve())]

    def stop(self) -> None:
        """Answer everybody that there is nothing, and listen no more."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        for asking in list(self._waiting):
            _settle(asking, None)
        self._thread.shutdown(wait=False)

    async def ask(self, request: Request, asking: Asking) -> Document | None:
        """Wait for a job; None when the time is up. A runner that hangs up gives back what it was about to get."""
        self._start()
        if self._stopped:
            return None
        self._waiting[asking] = None
        self._news.set()
        gone: asyncio.Future[Any] = asyncio.ensure_future(request.receive())
        waited: set[asyncio.Future[Any]] = {asking.answer, gone}
        try:
            await asyncio.wait(waited, timeout=self._hold, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.pop(asking, None)
            left = gone.done()
            gone.cancel()
        if not asking.answer.done():
            asking.answer.cancel()
            return None
        made = asking.answer.result()
        if made is not None and left:
            await run_in_threadpool(self._door.take_back, made["id"], made["token"])
            return None
        return made

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        seen = await loop.run_in_executor(self._thread, self._door.offered, -1, 0.0)
        while True:
            heard = await loop.run_in_executor(self._thread, self._door.offered, seen, _LISTEN_SECONDS)
            if heard != seen:
                seen = heard
                self._news.set()

    async def _serve(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            for asking in list(self._waiting):
                if not await run_in_threadpool(self._door.anything):
                    break
                await self._offer(asking)

    async def _offer(self, asking: Asking) -> None:
        if asking.answer.done():
            return
        try:
            made = await run_in_threadpool(
                self._door.request, asking.token, asking.system_id, asking.info, asking.address
            )
        except AegisError as error:
            if not asking.answer.done():
                asking.answer.set_exception(error)
            return
        if made is None:
            return
        self._waiting.pop(asking, None)
        if not _settle(asking, made):
            # Its time ran out, or it hung up, while it was being given a job.
            with contextlib.suppress(AegisError):
                await run_in_threadpool(self._door.take_back, made["id"], made["token"])


def _settle(asking: Asking, made: Document | None) -> bool:
    if asking.answer.done():
        return False
    asking.answer.set_result(made)
    return True
