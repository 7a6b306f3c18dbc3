"""Run an application for real inside a test: own thread, free port, stopped at the end.

Needs the extra `shop-shared[testing]`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@contextmanager
def running(app: ASGIApp, *, start_within: float = 10.0) -> Iterator[str]:
    """Serve `app` on a free loopback port; yields its URL once it has started, raises when it does not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settled = threading.Event()  # it has started, or it never will
        server = uvicorn.Server(uvicorn.Config(_announcing(app, settled), log_config=None, lifespan="on"))

        def serve() -> None:
            with contextlib.suppress(SystemExit):  # how uvicorn says that an application refused to start
                server.run(sockets=[listener])
            settled.set()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            if not settled.wait(start_within) or not thread.is_alive():
                raise RuntimeError(f"the application did not start within {start_within:g} s")
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def client_of(app: ASGIApp) -> Iterator[httpx.Client]:
    """An HTTP client of the running `app`."""
    with running(app) as url, httpx.Client(base_url=url, timeout=10, trust_env=False) as client:
        yield client


def _announcing(app: ASGIApp, settled: threading.Event) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def announce(message: Message) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                settled.set()

        await app(scope, receive, announce if scope["type"] == "lifespan" else send)

    return wrapped
