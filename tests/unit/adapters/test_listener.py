"""What is listened on: a taken port says so, and answers in pieces are not held back."""

from __future__ import annotations

import asyncio
import socket

import pytest

from aegis.adapters.listener import address_of, listening
from aegis.core.errors import Conflict


def test_a_taken_port_is_a_conflict_with_its_mend() -> None:
    with listening("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert address_of(first) == f"http://127.0.0.1:{port}"
        with pytest.raises(Conflict, match="cannot listen"):
            listening("127.0.0.1", port)


def test_the_pieces_of_an_answer_do_not_wait_for_acknowledgements() -> None:
    async def option() -> int:
        seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            own = writer.get_extra_info("socket")
            seen.set_result(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = listening("127.0.0.1", 0)
        server = await asyncio.start_server(accept, sock=listener)
        async with server:
            _, writer = await asyncio.open_connection(*listener.getsockname())
            found = await seen
            writer.close()
        return found

    assert asyncio.run(option()) != 0
