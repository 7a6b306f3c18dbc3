"""Lines of logs of any length, read in pieces of any size."""

from __future__ import annotations

import random

import pytest

from aegis.delivery.log_lines import Read, search, window
from aegis.delivery.views import TraceChunk


def reader(data: bytes, size: int, *, ended: bool = True) -> Read:
    def read(offset: int) -> TraceChunk:
        piece = data[offset : offset + size]
        end = offset + len(piece)
        return TraceChunk(data=piece, offset=offset, next_offset=end, complete=ended and end >= len(data))

    return read


TEXTS = [
    b"",
    b"\n",
    b"one",
    b"one\n",
    b"a\n\n\nb\n",
    b"x" * 100 + b"\ny",
    b"".join(b"line %d\n" % n for n in range(1, 400)),
]


@pytest.mark.parametrize("data", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("size", [1, 3, 64, 10_000])
def test_a_window_is_what_splitting_the_whole_gives(data: bytes, size: int) -> None:
    lines = data.splitlines(keepends=True)
    for first, count in ((1, 1), (1, 10), (2, 3), (len(lines), 1), (len(lines) + 1, 5), (50, 7)):
        if first:
            found = window(reader(data, size), first=first, count=count)
            assert found.data == b"".join(lines[first - 1 : first - 1 + count]), (first, count)
            assert (found.first, found.total) == (first, len(lines))
            assert found.complete == (first - 1 + count >= len(lines))


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_the_last_lines_are_asked_for_without_a_number(size: int) -> None:
    found = window(reader(TEXTS[-1], size), count=2)
    assert (found.first, found.data) == (398, b"line 398\nline 399\n")
    assert found.end == len(TEXTS[-1])
    growing = window(reader(b"a\nb\nc", size, ended=False), count=2)
    assert (growing.first, growing.data, growing.complete) == (2, b"b\nc", False)


@pytest.mark.parametrize("size", [1, 4, 33, 10_000])
def test_a_search_finds_each_line_once_in_either_case(size: int) -> None:
    data = b"Error here\nnothing\n  eRRor error ERROR\nlast error"
    found = search(reader(data, size), "error")
    assert [(one.line, one.text) for one in found.hits] == [
        (1, "Error here"), (3, "  eRRor error ERROR"), (4, "last error"),
    ]  # fmt: skip
    assert not found.more
    some = search(reader(data, size), "error", limit=1, after=1)
    assert ([one.line for one in some.hits], some.more) == ([3], True)
    assert search(reader(data, size), "").hits == ()
    assert search(reader(data, size), "no such thing").hits == ()


def test_random_logs_agree_with_the_simple_way() -> None:
    dice = random.Random(7)
    for _ in range(60):
        data = b"".join(bytes(dice.choices(b"ab \n", k=dice.randint(0, 12))) for _ in range(dice.randint(0, 40)))
        lines, size = data.split(b"\n"), dice.randint(1, 50)
        expected = [number for number, line in enumerate(lines, 1) if b"ab" in line]
        assert [one.line for one in search(reader(data, size), "AB").hits] == expected
        first, count = dice.randint(1, 30), dice.randint(1, 30)
        wanted = b"".join(data.splitlines(keepends=True)[first - 1 : first - 1 + count])
        assert window(reader(data, size), first=first, count=count).data == wanted
