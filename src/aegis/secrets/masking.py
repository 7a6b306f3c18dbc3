"""Masking: which byte sequences betray a secret, and how they are taken out of a stream.

It looks for the value itself and for what programs make of it: base64 at its three offsets (both alphabets), URL
escapes, hexadecimal, JSON escapes, and the single lines of a value with several. It does not know values that were
transformed otherwise (encrypted, compressed, printed letter by letter), and says which values are too short to be
looked for, since masking those would make a log unreadable.
"""

from __future__ import annotations

import base64
import bisect
import json
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

MASK: Final = b"[MASKED]"
SHORTEST: Final = 8
"""Fewer characters than these cannot be masked without masking ordinary words (GitLab's bound as well)."""


_HEAD: Final = 4


def forms(value: str) -> frozenset[bytes]:
    """Every byte sequence of at least `SHORTEST` bytes that betrays `value`."""
    found: set[bytes] = set()
    pieces = {value, value.strip(), *(line.strip() for line in value.splitlines())}
    for piece in pieces:
        if len(piece) >= SHORTEST:
            found.update(_written(piece))
    return frozenset(form for form in found if len(form) >= SHORTEST)


def _written(text: str) -> Iterator[bytes]:
    raw = text.encode("utf-8", "surrogateescape")
    yield raw
    yield raw.replace(b"\n", b"\r\n")
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    yield raw.hex(" ").encode()
    yield raw.hex(":").encode()
    for quoted in (
        urllib.parse.quote_from_bytes(raw, safe=""),
        urllib.parse.quote_from_bytes(raw),
        urllib.parse.quote_plus(raw),
    ):
        yield quoted.encode()
        yield _lower_escapes(quoted).encode()
    for ascii_only in (True, False):
        written = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield written.encode("utf-8", "surrogateescape")
        yield written.replace("/", "\\/").encode("utf-8", "surrogateescape")
    yield from _base64(raw)


def _lower_escapes(quoted: str) -> str:
    head, *rest = quoted.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def _base64(raw: bytes) -> Iterator[bytes]:
    """The characters that `raw` determines wherever it lies in a longer encoded text (offset 0, 1 or 2 modulo 3)."""
    for offset in range(3):
        whole = base64.b64encode(b"\0" * offset + raw).rstrip(b"=")
        # The first characters mix with what stands before, the last with what follows.
        start = (0, 2, 3)[offset]
        end = len(whole) if (offset + len(raw)) % 3 == 0 else len(whole) - 1
        body = whole[start:end]
        yield body
        yield body.translate(bytes.maketrans(b"+/", b"-_"))


class _Finder(Protocol):
    def find(self, data: bytes) -> list[tuple[int, int]]:
        """All matches as (start, end), overlapping ones too."""
        ...


class _Automaton:
    """All patterns in one pass."""

    def __init__(self, patterns: tuple[bytes, ...]) -> None:
        from ahocorasick_rs import BytesAhoCorasick  # noqa: PLC0415 - the base install works without it

        self._automaton = BytesAhoCorasick(patterns)

    def find(self, data: bytes) -> list[tuple[int, int]]:
        """All matches."""
        found = self._automaton.find_matches_as_indexes(data, overlapping=True)
        return [(start, end) for _, start, end in found]


class _Search:
    """One pass for each pattern: for installs without the library."""

    def __init__(self, patterns: tuple[bytes, ...]) -> None:
        self._patterns = patterns

    def find(self, data: bytes) -> list[tuple[int, int]]:
        """All matches."""
        matches: list[tuple[int, int]] = []
        for pattern in self._patterns:
            start = data.find(pattern)
            while start >= 0:
                matches.append((start, start + len(pattern)))
                start = data.find(pattern, start + 1)
        return sorted(matches)


def _finder(patterns: tuple[bytes, ...]) -> _Finder:
    try:
        return _Automaton(patterns)
    except ImportError:
        return _Search(patterns)


class SecretMasker:
    """The `Masker` port over named values.

    `unmasked` names the values that cannot be looked for; whoever makes a masker decides what to do about them, and
    must not go on as if they were masked. Bytes are held back only while they may be the beginning of a secret, so a
    live log is not late. Overlapping matches become one mask.
    """

    def __init__(self, values: Mapping[str, str], *, finder: type[_Search] | None = None) -> None:
        wanted = {name: forms(value) for name, value in values.items() if value}
        self.unmasked: tuple[str, ...] = tuple(
            sorted(name for name, found in wanted.items() if not found or len(values[name].strip()) < SHORTEST)
        )
        self._patterns = tuple(sorted(frozenset().union(*wanted.values())))
        self._longest = max((len(one) for one in self._patterns), default=0)
        self._heads = frozenset(one[:_HEAD] for one in self._patterns)
        make = finder or _finder
        self._finder: _Finder | None = make(self._patterns) if self._patterns else None
        self._held = b""
        self._covered = 0
        """Bytes at the start of `_held` that lie under a mask already given out."""

    def feed(self, data: bytes) -> bytes:
        """What may be shown by now."""
        if self._finder is None:
            return data
        whole = self._held + data
        return self._emit(whole, self._safe(whole))

    def finish(self) -> bytes:
        """The rest."""
        return self._emit(self._held, len(self._held)) if self._finder else b""

    def _safe(self, whole: bytes) -> int:
        """Where the longest end of `whole` begins that may be the beginning of a secret."""
        start = max(0, len(whole) - self._longest + 1)
        for position in range(start, len(whole)):
            # Most places are told apart by a few bytes; near the end there are too few of them.
            if whole[position : position + _HEAD] in self._heads or position > len(whole) - _HEAD:
                tail = whole[position:]
                at = bisect.bisect_left(self._patterns, tail)
                if at < len(self._patterns) and self._patterns[at].startswith(tail):
                    return position
        return len(whole)

    def _emit(self, whole: bytes, cut: int) -> bytes:
        spans = self._spans(whole)
        pieces: list[bytes] = []
        position = self._covered
        for start, end in spans:
            if start >= cut:
                break
            if start >= self._covered:
                pieces.append(whole[position:start])
                pieces.append(MASK)
            position = end
        if position < cut:
            pieces.append(whole[position:cut])
        self._held = whole[cut:]
        self._covered = max(0, position - cut)
        return b"".join(pieces)

    def _spans(self, whole: bytes) -> list[tuple[int, int]]:
        """Matches joined where they overlap; the part already under a mask is one as well."""
        finder = self._finder
        found = sorted(finder.find(whole)) if finder else []
        if self._covered:
            found.insert(0, (0, self._covered))
        joined: list[tuple[int, int]] = []
        for start, end in found:
            if joined and start < joined[-1][1]:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            else:
                joined.append((start, end))
        return joined


def mask_all(data: bytes, values: Mapping[str, str]) -> bytes:
    """`data` as a whole without the given values."""
    masker = SecretMasker(values)
    return masker.feed(data) + masker.finish()


__all__ = ["MASK", "SHORTEST", "SecretMasker", "forms", "mask_all"]
