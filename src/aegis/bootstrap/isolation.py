"""Asks ahead whether jobs can be isolated here: trying it takes a process, during which the rest of a command is loaded."""

from __future__ import annotations

import threading

from aegis.adapters.executor_namespace import isolation_available


def ask_ahead() -> None:
    """Begin to try; whoever needs the answer waits for it."""
    threading.Thread(target=isolation_available, name="isolation", daemon=True).start()
