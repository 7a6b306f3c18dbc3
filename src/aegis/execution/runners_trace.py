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
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from aegis.core.errors import UserError
from aegis.core.spent import JobStep

PIECE_LIMIT: Final = 1024 * 1024
"""The largest piece that a runner sends."""
BODY_LIMIT: Final = 2 * PIECE_LIMIT
TRACE_LIMIT: Final = 512 * 1024 * 1024
"""The longest log that is kept of a remote job."""
_RANGE: Final = re.compile(r"(\d{1,15})-(\d{1,15})?")
_CHECKSUM: Final = re.compile(r"crc32:([0-9a-f]{1,8})")
_MARK: Final = re.compile(rb"section_(start|end):(\d{1,11}):([a-z_]{1,40})[\r\[]")
_MARK_LONGEST: Final = 80
_SECTIONS: Final = frozenset({
    "prepare_executor", "prepare_script", "get_sources", "restore_cache", "download_artifacts", "step_script", "build_script",
    "after_script", "archive_cache", "archive_cache_on_failure", "upload_artifacts_on_success", "upload_artifacts_on_failure",
    "upload_artifacts", "cleanup_file_variables",
})  # fmt: skip
"""The runner's own sections (`common/build.go`, `shells/abstract.go`); a script may make others, which are its own business."""
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


def sections(chunks: Iterable[bytes]) -> tuple[JobStep, ...]:
    """The runner's own sections in a log, in their order; whole seconds, as it writes them.

    A mark within another of the runner's sections counts for nothing: that is what its script printed.
    """
    found: list[JobStep] = []
    open_: tuple[str, int] | None = None
    rest = b""
    for chunk in chunks:
        data = rest + chunk
        end = 0
        for match in _MARK.finditer(data):
            end = match.end()
            kind, at, name = match[1], int(match[2]), match[3].decode()
            if name not in _SECTIONS:
                continue
            if kind == b"start" and open_ is None:
                open_ = (name, at)
            elif kind == b"end" and open_ is not None and open_[0] == name:
                begun = datetime.fromtimestamp(open_[1], UTC)
                found.append(JobStep(name=name, started_at=begun, seconds=float(max(at - open_[1], 0))))
                open_ = None
        rest = data[max(end, len(data) - _MARK_LONGEST) :]
    return tuple(found)


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
