"""Logs as lines: true numbers, colours kept, nothing that could become markup or a control sequence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.web.portal.logs import LONGEST, decisive, lines
from support.portal_world import LOG


def texts(data, **more):
    return [one.text for one in lines(data, complete=True, **more)[0]]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain\n", "plain"),
        (b"no end", "no end"),
        (b"windows\r\n", "windows"),
        (b"10%\r50%\rdone\n", "done"),
        (b"section_start:177:build\r\x1b[0KBuilding\n", "Building"),
        (b"\x1b]0;title\x07text\n", "text"),
        (b"a\x00b\x08c\n", "abc"),
        (b"\xff\xfe\n", "��"),
        ("한국어\n".encode(), "한국어"),
    ],
)
def test_a_line_is_what_a_terminal_would_show(raw, text):
    assert texts(raw) == [text]


def test_colours_become_classes_and_end():
    (line,), _ = lines(b"\x1b[1;31mred\x1b[0m plain \x1b[32mgreen\x1b[39m none\n", complete=True)
    assert str(line.markup) == '<span class="a1 a31">red</span> plain <span class="a32">green</span> none'


def test_a_log_cannot_write_markup():
    (line,), _ = lines(b"<script>alert(1)</script>&\x1b[31m<b>\n", complete=True)
    assert "<script>" not in line.markup
    assert "<b>" not in line.markup


def test_a_line_of_ten_megabytes_is_cut_and_says_by_how_much():
    (line,), used = lines(b"x" * 10_000_000, complete=True)
    assert used == 10_000_000
    assert len(line.text) < LONGEST + 30
    assert line.text.endswith(f"(+{10_000_000 - LONGEST})")


def test_what_has_no_end_yet_is_kept_for_later():
    found, used = lines(b"whole\nhal", first=7, complete=False)
    assert [(one.number, one.text) for one in found] == [(7, "whole")]
    assert used == 6


def test_the_decisive_line_is_the_quoted_one_else_the_first_trouble():
    found, _ = lines(LOG, complete=True)
    assert decisive(found, ["E   assert Money(minor=3990) == Money(minor=3995)"]) == 46
    assert decisive(found, ["not in there"]) == 45
    assert decisive(found[:40], []) is None


@given(st.binary(max_size=400), st.integers(0, 400))
def test_reading_in_two_pieces_shows_the_same_lines(data, cut):
    whole, used = lines(data, complete=True)
    assert used == len(data)
    first, taken = lines(data[:cut], complete=False)
    rest, _ = lines(data[taken:], first=1 + len(first), complete=True)
    assert [one.text for one in (*first, *rest)] == [one.text for one in whole]
