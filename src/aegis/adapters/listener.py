"""The socket that a server listens on."""

from __future__ import annotations

import socket

from aegis.core.errors import Conflict


def listening(host: str, port: int) -> socket.socket:
    """The socket to serve on; `Conflict` with the mend when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise Conflict(
            "port-taken",
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="choose another: --port 0 takes a free one",
        ) from error
    found.listen(256)
    return found


def address_of(listener: socket.socket) -> str:
    """The URL under which a listening socket is reached."""
    name, number = listener.getsockname()[:2]
    return f"http://[{name}]:{number}" if ":" in name else f"http://{name}:{number}"
