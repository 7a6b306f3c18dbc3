"""The socket that a server listens on."""

from __future__ import annotations

import socket

from aegis.core.errors import Conflict


def listening(host: str, port: int) -> socket.socket:
    """The socket to serve on; `Conflict` with the mend when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio switches Nagle's algorithm off only where it is: without that, an answer in
    # two pieces waits 40 ms for the client's acknowledgement of the first.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
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
    found.listen(1024)
    return found


def address_of(listener: socket.socket) -> str:
    """The URL under which a listening socket is reached."""
    name, number = listener.getsockname()[:2]
    return f"http://[{name}]:{number}" if ":" in name else f"http://{name}:{number}"
