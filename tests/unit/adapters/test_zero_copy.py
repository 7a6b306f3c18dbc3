"""Files sent by the kernel: what holds when a request ends in the middle."""

from __future__ import annotations

import asyncio
import threading

import pytest

from aegis.adapters import zero_copy


def test_a_cancelled_request_ends_after_the_thread_that_writes_on_its_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def some(*_: int) -> int:
        begun.set()
        assert may_end.wait(20)
        ended.set()
        return 1

    monkeypatch.setattr(zero_copy, "_some", some)

    async def cut() -> None:
        task = asyncio.create_task(zero_copy._pump(-1, -1, 0, 1))
        await asyncio.get_running_loop().run_in_executor(None, begun.wait, 20)
        task.cancel()
        asyncio.get_running_loop().call_later(0.05, may_end.set)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(cut())
