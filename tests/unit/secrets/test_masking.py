"""Secrets leave no trace, however they are written and wherever the stream is cut."""

from __future__ import annotations

import base64
import itertools
import json
import random
import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.secrets.masking import MASK, SecretMasker, _Search, forms, mask_all

_VALUE = "plain-" + 'Väl/ue+with "quotes" & 100%'


def _stream(data: bytes, values: dict[str, str], cuts: list[int], **more: object) -> bytes:
    masker = SecretMasker(values, **more)  # type: ignore[arg-type]
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [masker.feed(data[start:end]) for start, end in itertools.pairwise(edges)]
    return b"".join(pieces) + masker.finish()


@pytest.mark.parametrize(
    "written",
    [
        _VALUE.encode(),
        urllib.parse.quote(_VALUE, safe="").encode(),
        urllib.parse.quote(_VALUE, safe="").lower().encode().replace(b"v%c3", b"V%c3"),
        urllib.parse.quote_plus(_VALUE).encode(),
        _VALUE.encode().hex().encode(),
        _VALUE.encode().hex().upper().encode(),
        json.dumps(_VALUE)[1:-1].encode(),
        json.dumps(_VALUE, ensure_ascii=False)[1:-1].encode(),
    ],
)
def test_every_common_spelling_of_a_secret_is_masked(written: bytes) -> None:
    assert mask_all(b"before " + written + b" after", {"S": _VALUE}) == b"before " + MASK + b" after"


@pytest.mark.parametrize("prefix", ["", "u", "us", "use", "user"])
@pytest.mark.parametrize("suffix", ["", "x", "xy", "xyz"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_at_every_offset_is_masked(prefix: str, suffix: str, encode: object) -> None:
    shown = mask_all(encode((prefix + _VALUE + suffix).encode()), {"S": _VALUE})  # type: ignore[operator]
    assert MASK in shown
    left = shown.replace(MASK, b"")
    assert len(left) <= 16, "only the characters shared with the neighbours are left"


def test_the_lines_of_a_value_with_several_are_masked_each() -> None:
    value = "first line here\nsecond line here\n"
    shown = mask_all(b"  | first line here\r\n  | second line here\r\n", {"S": value})
    assert shown == b"  | " + MASK + b"\r\n  | " + MASK + b"\r\n"


def test_short_values_are_named_and_never_masked_silently() -> None:
    masker = SecretMasker({"SHORT": "abc", "EMPTY": "", "LONG": "long enough"})
    assert masker.unmasked == ("SHORT",)
    assert masker.feed(b"abc long enough") + masker.finish() == b"abc " + MASK


def test_overlapping_secrets_leave_nothing_of_either() -> None:
    values = {"A": "abcdefgh1234", "B": "1234ijklmnop"}
    data = b"<abcdefgh1234ijklmnop>"
    for cut in range(len(data)):
        assert set(_stream(data, values, [cut]).replace(MASK, b"")) <= set(b"<>"), cut


def test_the_end_of_a_mask_that_looks_like_a_beginning_stays_hidden() -> None:
    values = {"A": "abcdefgh1234", "B": "1234ijklmnop"}
    masker = SecretMasker(values)
    shown = masker.feed(b"abcdefgh1234") + masker.feed(b"zz") + masker.finish()
    assert shown == MASK + b"zz"


def test_ordinary_text_is_not_held_back() -> None:
    masker = SecretMasker({"S": "supersecretvalue"})
    assert masker.feed(b"compiling module 7\n") == b"compiling module 7\n"
    assert masker.feed(b"progress: super") == b"progress: "
    assert masker.feed(b"b\n") == b"superb\n"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(alphabet="abcd\n", min_size=8, max_size=14), min_size=1, max_size=4),
    st.text(alphabet="abcd\n", max_size=80),
    st.lists(st.integers(0, 200), max_size=6),
)
def test_no_secret_survives_any_cut_and_both_finders_agree(secrets: list[str], text: str, cuts: list[int]) -> None:
    values = {str(number): value for number, value in enumerate(secrets)}
    data = (text + secrets[0] + text[::-1] + secrets[-1]).encode()
    shown = _stream(data, values, cuts)
    for form in frozenset().union(*(forms(value) for value in secrets)):
        assert form not in shown.replace(MASK, b"\0")
    slow = _stream(data, values, cuts, finder=_Search)
    assert slow == shown


def test_a_line_of_ten_megabytes_is_masked_in_constant_memory() -> None:
    value = "needle-" + "in-the-haystack"
    masker = SecretMasker({"S": value})
    chunk = bytes(random.Random(1).choices(b"abcdefghij ", k=65536))
    shown = 0
    for number in range(160):
        shown += masker.feed(chunk).count(MASK)
        shown += masker.feed(value.encode()).count(MASK)
        assert len(masker._held) < 4096, number
    assert shown + masker.finish().count(MASK) == 160


def _encodings(value: str) -> list[bytes]:
    raw = value.encode()
    found = [raw, raw.hex().encode(), urllib.parse.quote(value, safe="").encode(), json.dumps(value)[1:-1].encode()]
    return [*found, *(base64.b64encode(b"\0" * offset + raw) for offset in range(3))]


def test_a_border_at_every_byte_leaks_nothing_of_two_hundred_secrets_in_any_encoding() -> None:
    rng = random.Random(7)
    values = {
        f"S{n}": "".join(rng.choice('abcXYZ019/+"% é') for _ in range(rng.randint(12, 40))).strip() for n in range(200)
    }
    values = {name: value for name, value in values.items() if len(value) >= 8}
    every = {form for value in values.values() for form in forms(value)}
    for name in rng.sample(sorted(values), 5):
        document = b" | ".join(_encodings(values[name]))
        whole = mask_all(document, values)
        assert not [form for form in every if form in whole]
        byte_by_byte = _stream(document, values, list(range(len(document))))
        assert byte_by_byte == whole
        for cut in range(len(document)):
            assert _stream(document, {name: values[name]}, [cut]) == mask_all(document, {name: values[name]}), cut
