"""Several blobs are written at once: waiting for one to be durable keeps nobody from writing the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

_WRITERS: Final = 3


def each(put: Callable[[bytes], str], parts: Iterable[bytes]) -> Iterator[str]:
    """The digests of `parts` in their order, each once it is stored. At most three parts are in memory beside the caller's."""
    with ThreadPoolExecutor(_WRITERS, thread_name_prefix="blobs") as pool:
        waiting: deque[Future[str]] = deque()
        for part in parts:
            if len(waiting) == _WRITERS:
                yield waiting.popleft().result()
            waiting.append(pool.submit(put, part))
        while waiting:
            yield waiting.popleft().result()
