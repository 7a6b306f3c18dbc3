"""`TraceStore` in a directory: `<job>.part` while a job writes, `<job>.log` once it is closed.

Nothing is flushed to the disk on purpose: a trace survives the process, and when the job ends its bytes go to the blob
store, which is durable.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
import time
from pathlib import Path
from typing import Final

from aegis.core.errors import Conflict, ExternalError, UserError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


class DirectoryTraces:
    """Traces under `path`, which is made (mode 0700) when it is not there. Thread-safe; one process writes."""

    def __init__(self, path: Path) -> None:
        self._root = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._grown = threading.Condition(self._lock)
        self._open: dict[str, tuple[io.FileIO, int]] = {}

    def append(self, job_id: str, offset: int, data: bytes) -> int:
        """See `TraceStore`."""
        with self._lock:
            if self._file(job_id, "log").exists():
                raise Conflict("trace-closed", f"the trace of job {job_id} is closed")
            handle, end = self._writer(job_id)
            if offset > end:
                raise Conflict("trace-gap", f"the trace of job {job_id} ends at {end}, not at {offset}", retryable=True)
            fresh = data[end - offset :]
            if fresh:
                try:
                    _write_all(handle, fresh)
                except OSError as error:
                    # What part of it was written is unknown: the next call looks at the file again.
                    self._open.pop(job_id, None)
                    handle.close()
                    raise ExternalError(
                        "trace-store", f"the trace cannot be written: {error.strerror}", retryable=True
                    ) from error
                end += len(fresh)
                self._open[job_id] = (handle, end)
                self._grown.notify_all()
            return end

    def read(self, job_id: str, offset: int, limit: int) -> bytes:
        """See `TraceStore`."""
        for kind in ("part", "log"):
            with contextlib.suppress(FileNotFoundError), self._file(job_id, kind).open("rb") as file:
                file.seek(offset)
                return file.read(limit)
        return b""

    def size(self, job_id: str) -> int:
        """See `TraceStore`."""
        for kind in ("part", "log"):
            with contextlib.suppress(FileNotFoundError):
                return self._file(job_id, kind).stat().st_size
        return 0

    def wait(self, job_id: str, offset: int, timeout: float) -> bool:
        """See `TraceStore`."""
        deadline = time.monotonic() + timeout
        with self._lock:
            while self.size(job_id) <= offset and not self.closed(job_id):
                left = deadline - time.monotonic()
                if left <= 0 or not self._grown.wait(left):
                    return self.size(job_id) > offset or self.closed(job_id)
            return True

    def close(self, job_id: str) -> None:
        """See `TraceStore`."""
        with self._lock:
            if self.closed(job_id):
                return
            handle, _ = self._writer(job_id)
            handle.close()
            del self._open[job_id]
            self._file(job_id, "part").replace(self._file(job_id, "log"))
            self._grown.notify_all()

    def closed(self, job_id: str) -> bool:
        """See `TraceStore`."""
        return self._file(job_id, "log").exists()

    def delete(self, job_id: str) -> None:
        """See `TraceStore`."""
        with self._lock:
            held = self._open.pop(job_id, None)
            if held is not None:
                held[0].close()
            for kind in ("part", "log"):
                self._file(job_id, kind).unlink(missing_ok=True)
            self._grown.notify_all()

    def hand_over(self, job_id: str, target: Path) -> None:
        """Let a trace be the file `target` from now on; of one that is not there, an empty file."""
        with self._lock:
            held = self._open.pop(job_id, None)
            if held is not None:
                held[0].close()
            for kind in ("log", "part"):
                with contextlib.suppress(FileNotFoundError):
                    self._file(job_id, kind).replace(target)
                    return
        target.touch()

    def release(self) -> None:
        """Give open files back; the store can go on being used."""
        with self._lock:
            for handle, _ in self._open.values():
                handle.close()
            self._open.clear()

    def _file(self, job_id: str, kind: str) -> Path:
        if not _NAME.fullmatch(job_id):
            raise UserError("job-id", f"{job_id!r} is not the id of a job")
        return self._root / f"{job_id}.{kind}"

    def _writer(self, job_id: str) -> tuple[io.FileIO, int]:
        held = self._open.get(job_id)
        if held is None:
            handle = self._file(job_id, "part").open("ab", buffering=0)
            held = (handle, handle.tell())
            self._open[job_id] = held
        return held


def _write_all(handle: io.FileIO, data: bytes) -> None:
    """All of it, or an error: a disk that is nearly full takes a part and says so only when the next one comes."""
    left = memoryview(data)
    while left:
        left = left[handle.write(left) or 0 :]
