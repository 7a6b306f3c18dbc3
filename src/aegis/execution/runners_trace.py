"""The rules of a remote runner's log and of its last word: ranges, checksums, what to answer. Pure.

A runner sends its log in pieces that name their place (`Content-Range: A-B`, B inclusive, no unit and no total), and ends
with a checksum and size of the whole. Who sends what is not decided here, nor is anything stored.

Sources: gitlab-runner `network/gitlab.go`, `network/patch_response.go`; GitLab `lib/api/ci/runner.rb`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aegis.core.errors import UserError

PIECE_LIMIT: Final = 1024 * 1024
"""The largest piece that a runner sends."""
BODY_LIMIT: Final = 2 * PIECE_LIMIT
TRACE_LIMIT: Final = 512 * 1024 * 1024
"""The longest log that is kept of a remote job."""
_RANGE: Final = re.compile(r"(\d{1,15})-(\d{1,15})?")
_CHECKSUM: Final = re.compile(r"crc32:([0-9a-f]{1,8})")
RESENDS: Final = 2
"""How often a log that does not match its checksum is asked for again before it is taken as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a runner says about its whole log; `checksum` None where it says nothing (runners before 13.2)."""

    checksum: int | None = None
    size: int | None = None


class Ending(StrEnum):
    """What a runner's last word leads to."""

    DONE = "done"
    RESEND = "resend"
    """The log here is not the runner's: forget it, and let it be sent again from its beginning."""


def start_of(header: str | None, length: int) -> int:
    """Where a piece of `length` bytes begins; `UserError` for a range that cannot be read or is not that long."""
    match = _RANGE.fullmatch((header or "").strip())
    if match is None:
        raise UserError("content-range", "a piece of a log needs `Content-Range: FIRST-LAST`")
    start = int(match[1])
    if match[2] is not None and length and int(match[2]) - start + 1 != length:
        raise UserError("content-range", f"the range {header} is not {length} bytes long")
    return start


def output_of(said: object) -> Output:
    """The `output` of a runner's update; what cannot be read counts as not said."""
    if not isinstance(said, dict):
        return Output()
    checksum, size = said.get("checksum"), said.get("bytesize")
    match = _CHECKSUM.fullmatch(checksum) if isinstance(checksum, str) else None
    return Output(
        checksum=int(match[1], 16) if match else None,
        size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
    )


def crc32(chunks: Iterable[bytes]) -> int:
    """The CRC-32 (IEEE) of a log."""
    value = 0
    for chunk in chunks:
        value = zlib.crc32(chunk, value)
    return value


def ending(said: Output, *, size: int, checksum: int, resent: int) -> Ending:
    """Whether the log that is here (`size`, `checksum`) is the one that the runner means.

    A runner that cannot make them match after `resent` tries is believed about its job all the same: its log is kept as
    it came.
    """
    same_size = said.size in (None, size)
    same_content = said.checksum in (None, checksum)
    if (same_size and same_content) or resent >= RESENDS:
        return Ending.DONE
    return Ending.RESEND


def next_range(size: int) -> str:
    """The `Range` header of an answer: its second number is where the next piece begins."""
    return f"0-{size}"
