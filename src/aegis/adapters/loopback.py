"""Ports of this machine's loopback: which are free now."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port that is free now; it is not reserved, so use it soon."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a program could listen there."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
