"""Lines of a log however long it is: a window around a line, the last ones, and a search, in constant memory.

It reads a log in pieces through whatever authorises that, counts line ends, and never keeps more than it answers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from aegis.delivery.views import TraceChunk

Read = Callable[[int], TraceChunk]
"""A piece of the log from an offset."""
WINDOW_LIMIT: Final = 4 * 1024 * 1024
"""The most bytes of a window: a line may be long."""
EXCERPT: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Lines of a log as it stands: `data` begins with line `first`, at `offset`; `total` are all there are by now."""

    first: int
    total: int
    data: bytes
    offset: int
    last: bool
    """Whether nothing follows the window yet; the last line may still be growing."""
    complete: bool
    """Whether nothing follows the window, ever."""

    @property
    def end(self) -> int:
        """Where the log goes on after the window."""
        return self.offset + len(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A line that holds what was looked for, as it stands in the log, cut where it is long."""

    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """What a search found; `more` says that it stopped at its limit."""

    hits: tuple[Hit, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class _Outline:
    """Where pieces begin and how many line ends come before each; then the log's size and all of its line ends."""

    offsets: list[int]
    before: list[int]
    size: int
    ends: int
    tail: bool
    """Whether the log ends within a line."""
    complete: bool


def _pieces(read: Read) -> Iterator[TraceChunk]:
    offset = 0
    while True:
        chunk = read(offset)
        yield chunk
        offset = chunk.next_offset
        if chunk.complete or not chunk.data:
            return


def _outline(read: Read) -> _Outline:
    offsets, before, ends, size, tail, complete = list[int](), list[int](), 0, 0, False, False
    for chunk in _pieces(read):
        complete = chunk.complete
        if chunk.data:
            offsets.append(chunk.offset)
            before.append(ends)
            ends += chunk.data.count(b"\n")
            size, tail = chunk.next_offset, not chunk.data.endswith(b"\n")
    return _Outline(offsets, before, size, ends, tail, complete)


def window(read: Read, *, first: int = 0, count: int = 1000) -> Window:
    """`count` lines from line `first` (from 1); 0 for the last ones. A window beyond the end is empty."""
    outline = _outline(read)
    total = outline.ends + int(outline.tail)
    start = first if first > 0 else max(1, total - count + 1)
    begin, stop = _start_of(read, outline, start), _start_of(read, outline, start + count)
    data = bytearray()
    while begin + len(data) < stop and len(data) < WINDOW_LIMIT:
        chunk = read(begin + len(data))
        if not chunk.data:
            break
        data += chunk.data[: stop - begin - len(data)]
    whole = bytes(data[:WINDOW_LIMIT])
    last = begin + len(whole) >= outline.size
    return Window(
        first=start, total=total, data=whole, offset=begin, last=last, complete=last and outline.complete
    )  # fmt: skip


def _start_of(read: Read, outline: _Outline, line: int) -> int:
    """Where a line begins; the log's end for a line that is not there."""
    wanted = line - 1
    if wanted <= 0:
        return 0
    if wanted > outline.ends:
        return outline.size
    at = bisect_left(outline.before, wanted) - 1
    data, place = read(outline.offsets[at]).data, -1
    for _ in range(wanted - outline.before[at]):
        place = data.find(b"\n", place + 1)
    return outline.offsets[at] + place + 1


def search(read: Read, text: str, *, limit: int = 200, after: int = 0) -> Hits:
    """The lines beyond line `after` that hold `text`, in either case; at most `limit`."""
    needle = text.encode().lower()
    hits: list[Hit] = []
    if not needle:
        return Hits(hits=(), more=False)
    rest, line = b"", 1
    for chunk in _pieces(read):
        data = rest + chunk.data
        last = chunk.complete or not chunk.data
        used = len(data) if last else data.rfind(b"\n") + 1
        block, rest = data[:used], data[used:]
        for found, raw in _matches(block, needle, line):
            if found > after:
                if len(hits) == limit:
                    return Hits(hits=tuple(hits), more=True)
                hits.append(Hit(line=found, text=raw[:EXCERPT].decode("utf-8", "replace")))
        line += block.count(b"\n")
    return Hits(hits=tuple(hits), more=False)


def _matches(block: bytes, needle: bytes, line: int) -> Iterator[tuple[int, bytes]]:
    """Numbers and bytes of the lines of whole lines that hold `needle` (lower case); `line` is the first one's number."""
    lower = block.lower()
    at, counted = lower.find(needle), 0
    while at >= 0:
        line += block.count(b"\n", counted, at)
        begin = block.rfind(b"\n", 0, at) + 1
        end = block.find(b"\n", at)
        end = len(block) if end < 0 else end
        yield line, block[begin:end]
        counted = at
        at = lower.find(needle, end)
