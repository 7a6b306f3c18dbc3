from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.core.errors import UserError
from aegis.source.branches import Refusal
from aegis.source.push_protocol import MAX_HEAD, PushHead, PushReader, refusal_report

ZERO, A, B = "0" * 40, "a" * 40, "b" * 40


def pkt(line: bytes) -> bytes:
    return b"%04x%s" % (len(line) + 4, line)


def head_of(data: bytes) -> PushHead | None:
    return PushReader().feed(data)


REQUEST = (
    pkt(f"{ZERO} {A} refs/heads/main\0report-status side-band-64k push-options agent=x".encode())
    + pkt(f"{B} {ZERO} refs/heads/old\n".encode())
    + b"0000"
    + pkt(b"merge_request.create\n")
    + b"0000PACKrest"
)


def test_commands_capabilities_and_options_are_read() -> None:
    head = head_of(REQUEST)
    assert head is not None
    assert [(one.ref, one.old, one.new) for one in head.updates] == [
        ("refs/heads/main", None, A),
        ("refs/heads/old", B, None),
    ]
    assert head.options == ("merge_request.create",)
    assert head.rest == b"PACKrest"
    assert head.raw + head.rest == REQUEST
    assert head.sideband


@given(st.lists(st.integers(0, len(REQUEST)), max_size=20))
def test_it_does_not_matter_where_the_request_is_cut(cuts: list[int]) -> None:
    reader, found = PushReader(), None
    places = [0, *sorted(cuts), len(REQUEST)]
    for start, end in itertools.pairwise(places):
        if found is None:
            found = reader.feed(REQUEST[start:end])
            seen = end
    assert found is not None
    assert found.raw + found.rest == REQUEST[:seen]
    assert len(found.updates) == 2


@given(st.binary(max_size=300))
def test_any_bytes_are_a_head_or_an_error_a_person_can_read(data: bytes) -> None:
    reader = PushReader()
    with contextlib.suppress(UserError):
        if reader.feed(data) is None:
            reader.finish()


@pytest.mark.parametrize("line", [b"push-cert\0x", b"x y z", f"{ZERO} {A}".encode(), f"{ZERO} {A[:-1]}g r".encode()])
def test_lines_that_are_no_commands_are_refused(line: bytes) -> None:
    with pytest.raises(UserError):
        head_of(pkt(line) + b"0000")


def test_a_head_without_end_is_refused_before_it_fills_the_memory() -> None:
    reader, line = PushReader(), pkt(f"{ZERO} {A} refs/heads/x".encode()) * 1000
    for _ in range(MAX_HEAD // len(line)):
        assert reader.feed(line) is None
    with pytest.raises(UserError):
        reader.feed(line)


def test_a_probe_without_commands_has_an_empty_head() -> None:
    head = head_of(b"0000")
    assert head is not None
    assert head.updates == ()


def test_the_report_refuses_each_ref_and_shows_the_way_out() -> None:
    head = head_of(REQUEST)
    assert head is not None
    report = refusal_report(
        head, [Refusal(ref="refs/heads/main", code="x", message="main is\nprotected", hint="do this")]
    )
    assert b"\x02main is protected\n" in report
    assert b"\x02  do this\n" in report
    assert b"ng refs/heads/main main is protected\n" in report
    assert b"ng refs/heads/old not moved: another ref of this push was refused\n" in report
    assert report.endswith(b"0000")
