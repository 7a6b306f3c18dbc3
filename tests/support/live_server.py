"""A Starlette application served by uvicorn on a free port of the loopback, in a thread, for real clients."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from aegis.adapters.zero_copy import ZeroCopyProtocol


@contextmanager
def serving(application: Any) -> Iterator[str]:
    """`host:port` of the application, for as long as the block runs."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    host, port = listener.getsockname()
    ready = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets=sockets)
            ready.set()

    server = Server(uvicorn.Config(application, log_level="error", lifespan="off", ws="none", http=ZeroCopyProtocol))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    if not ready.wait(20):
        raise TimeoutError("the server did not start")
    try:
        yield f"{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
