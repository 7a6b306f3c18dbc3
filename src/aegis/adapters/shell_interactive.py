"""An interactive shell for a person, in the very mounts, identity and environment of a job that failed.

The shell has a terminal of its own, whose keys and characters are carried to and from the person's; when either end closes,
everything in the shell's namespaces ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
import pty
import select
import subprocess
import termios
import threading
import tty
from collections.abc import Iterator, Mapping
from typing import Any, Final

from aegis.adapters.executor_starter import INIT

_ONE: Final = threading.Lock()


def attend(document: Mapping[str, Any], terminal: int = 0) -> None:
    """Start the shell that `document` describes and stay until it has ended. One at a time; blocks its thread."""
    with _ONE:
        here, there = pty.openpty()
        request, report = os.pipe(), os.pipe()
        with contextlib.suppress(OSError):
            fcntl.ioctl(there, termios.TIOCSWINSZ, fcntl.ioctl(terminal, termios.TIOCGWINSZ, b"\0" * 8))
        process = subprocess.Popen(
            [*INIT, "terminal", str(request[0])],
            stdin=there, stdout=there, stderr=there, pass_fds=(request[0], report[1]), env={}, start_new_session=True,
        )  # fmt: skip
        for descriptor in (there, request[0], report[1]):
            os.close(descriptor)
        given = {**document, "report": report[1], "parent": os.getpid(), "terminal": True}
        with os.fdopen(request[1], "wb") as file:
            file.write(marshal.dumps(given))
        try:
            with _raw(terminal):
                _carry(terminal, here)
        finally:
            # Without its terminal the shell gets a hang-up and takes everything with it.
            os.close(here)
            os.close(report[0])
            process.wait()


@contextlib.contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Keys go through as they are typed."""
    try:
        before = termios.tcgetattr(terminal)
    except termios.error:
        yield
        return
    tty.setraw(terminal, termios.TCSANOW)  # what was typed already counts
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _carry(terminal: int, here: int) -> None:
    screen = 1 if terminal == 0 else terminal
    while True:
        ready, _, _ = select.select([terminal, here], [], [])
        if here in ready:
            try:
                data = os.read(here, 65536)
            except OSError:
                return  # the shell has ended
            if not data:
                return
            os.write(screen, data)
        if terminal in ready:
            typed = os.read(terminal, 4096)
            if not typed:
                return
            os.write(here, typed)
