"""The trace of a job as its runner writes it: masked first, bounded, with GitLab's section marks.

Nothing unmasked leaves `TraceWriter`. It decides where a trace that is too long is closed and with which words. It
does not send: the supervisor sends what `take` gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from aegis.core.errors import UserError
from aegis.core.ports import Blobs, Masker
from aegis.core.types import StoredFile
from aegis.execution.ports import TraceStore

DEFAULT_LIMIT: Final = 64 * 1024 * 1024
_CHUNK: Final = 1024 * 1024
_RESET: Final = "\x1b[0;m"
_ESCAPES: Final = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|section_(?:start|end):\d+:[^\r\n]*\r")


class TraceWriter:
    """Collects a job's output as masked bytes. Not thread-safe.

    `limit` bounds the bytes of the whole trace; when the script writes more, one line says so and the rest of the
    script's output is dropped, while `line` still writes (the job's end must be readable).
    """

    def __init__(self, masker: Masker, *, limit: int = DEFAULT_LIMIT) -> None:
        self._masker = masker
        self._limit = limit
        self._ready = bytearray()
        self._written = 0
        self._full = False
        self._at_line_start = True

    @property
    def pending(self) -> int:
        """Bytes that wait for `take`."""
        return len(self._ready)

    def write(self, data: bytes) -> None:
        """Output of the job."""
        if self._full:
            return
        self._add(self._masker.feed(data))
        if self._written > self._limit:
            self._full = True
            over = self._written - self._limit
            if over < len(self._ready):
                del self._ready[-over:]
            self._at_line_start = False
            size = f"{self._limit} bytes"
            self.line(f"The log is longer than {size} and ends here; the job itself goes on.", colour="31;1")

    def line(self, text: str, *, colour: str = "") -> None:
        """A line of the runner's own, on a line of its own; masked like everything else."""
        if not self._full:
            self._add(self._masker.finish())
        head = "" if self._at_line_start else "\n"
        body = f"\x1b[{colour}m{text}{_RESET}\n" if colour else f"{text}\n"
        self._add(self._masker.feed((head + body).encode("utf-8", "backslashreplace")) + self._masker.finish())

    def section(self, name: str, at: float) -> None:
        """Open a section that a viewer can fold (GitLab's marks)."""
        self._mark(f"section_start:{int(at)}:{name}\r\x1b[0K")

    def section_end(self, name: str, at: float) -> None:
        """Close it."""
        self._mark(f"section_end:{int(at)}:{name}\r\x1b[0K")

    def close(self) -> None:
        """Give out what the masker still holds."""
        self._add(self._masker.finish())

    def take(self, limit: int = 1024 * 1024) -> bytes:
        """Up to `limit` masked bytes to store, in order; they are forgotten here."""
        taken = bytes(self._ready[:limit])
        del self._ready[:limit]
        return taken

    def _mark(self, text: str) -> None:
        if not self._full:
            self._add(self._masker.finish())
        if not self._at_line_start:
            self._add(b"\n")
        self._add(text.encode())
        self._at_line_start = True

    def _add(self, data: bytes) -> None:
        if data:
            self._ready += data
            self._written += len(data)
            self._at_line_start = data.endswith(b"\n")


def readable(data: bytes) -> str:
    """A trace as plain text: without colours and section marks, carriage returns as line ends."""
    text = _ESCAPES.sub(b"", data).decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def coverage(text: str, matches: Callable[[str], list[str]]) -> float | None:
    """The last figure that the job's `coverage:` expression finds in a trace, in percent; None where it finds none.

    `matches` answers the matched texts of the expression, in order (GitLab takes the last match and the first number
    in it).
    """
    for found in reversed(matches(text)):
        number = re.search(r"\d+(?:\.\d+)?", found)
        if number:
            return float(number[0])
    return None


def read_coverage(expression: str, tail: bytes) -> float | None:
    """The figure that a job's `coverage:` expression finds in the end of its log; `UserError` when it is none."""
    import re2  # noqa: PLC0415 - only jobs with `coverage:` need it

    try:
        pattern = re2.compile(f"(?m){expression.strip('/')}")
    except re2.error as error:
        raise UserError(
            "coverage-expression", f"coverage: {expression} is not a regular expression: {error}"
        ) from error
    return coverage(
        readable(tail), lambda text: [found.group(1 if pattern.groups else 0) or "" for found in pattern.finditer(text)]
    )


def tail(traces: TraceStore, job_id: str, size: int = _CHUNK) -> bytes:
    """The last bytes of a trace."""
    end = traces.size(job_id)
    return traces.read(job_id, max(0, end - size), size)


def keep(traces: TraceStore, blobs: Blobs, job_id: str) -> StoredFile:
    """Close a job's trace and keep it as a blob."""
    traces.close(job_id)
    if (size := traces.size(job_id)) <= _CHUNK:
        # Nothing is written aside where such a trace is there already.
        digest = blobs.put(b"".join(chunks(traces, job_id)))
    else:
        digest, size = blobs.put_stream(chunks(traces, job_id))
    return StoredFile(name="trace", kind="trace", digest=digest, size=size)


def chunks(traces: TraceStore, job_id: str) -> Iterator[bytes]:
    """What there is of a trace, in pieces of at most 1 MiB."""
    offset = 0
    while chunk := traces.read(job_id, offset, _CHUNK):
        offset += len(chunk)
        yield chunk
