"""Signals that end a command as an exception, but never in the midst of drawing: half a drawing could not be drawn over.

Ctrl-C is 130, a polite kill 143, a closed terminal 129: what the process leaves with.
"""

from __future__ import annotations

import signal
from types import FrameType


class Stopped(KeyboardInterrupt):
    """Somebody ends this process; `code` is what it is to leave with."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


class Interrupts:
    """Handles the signals from `listen` on. As a context it holds them back; one that came meanwhile is raised at its end."""

    def __init__(self) -> None:
        self._held = False
        self._came: int | None = None

    def listen(self) -> None:
        """From now on signals raise `Stopped` in the main thread, which is the one to call this."""
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._signal)

    def ignore(self) -> None:
        """Ctrl-C does nothing any more: what is under way is the end already."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _signal(self, number: int, _: FrameType | None) -> None:
        if self._held:
            self._came = number
            return
        raise Stopped(128 + number)

    def __enter__(self) -> None:
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False
        came, self._came = self._came, None
        if came is not None:
            raise Stopped(128 + came)
