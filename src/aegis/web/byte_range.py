"""Reads a Range header (RFC 9110, one range of bytes); several ranges are answered with the whole, as allowed."""

from __future__ import annotations


def wanted(header: str | None, size: int) -> tuple[int, int]:
    """The half-open range asked for of `size` bytes: the whole where there is none that is understood.

    A range outside the content comes back empty (`start >= end`): the caller answers 416.
    """
    if not header or not header.startswith("bytes=") or "," in header:
        return 0, size
    first, _, last = header.removeprefix("bytes=").partition("-")
    if first.isdigit():
        return int(first), min(size, int(last) + 1) if last.isdigit() else size
    if last.isdigit():
        return max(0, size - int(last)), size
    return 0, size
