"""Forms that stream: the file is found wherever the pieces are cut, and nothing but the file is its content."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from aegis.core.errors import UserError
from aegis.web.gitlab_api import intake, multipart

BOUNDARY = "5d60c97b"
KIND = f"multipart/form-data; boundary={BOUNDARY}"


def form(content: bytes, *, before: bytes = b"", after: bytes = b"") -> bytes:
    head = b'Content-Disposition: form-data; name="file"; filename="a \\"b\\".zip"\r\nContent-Type: application/zip\r\n\r\n'
    line = b"--" + BOUNDARY.encode()
    return before + line + b"\r\n" + head + content + b"\r\n" + after + line + b"--\r\n"


def field(name: str, value: str) -> bytes:
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]
        yield b""


def read(data: bytes, size: int, kind: str = KIND) -> tuple[bytes | None, str, dict[str, str]]:
    async def all_of_it() -> tuple[bytes | None, str, dict[str, str]]:
        found = await multipart.read(pieces(data, size), kind)
        content = None if found.file is None else b"".join([piece async for piece in found.file])
        return content, found.filename, found.fields

    return asyncio.run(all_of_it())


CONTENTS = [b"", b"x", b"\r\n", b"\r\n--", b"--5d60c97b", b"\r\n--5d60c97", b"a\r\n\r\nb" * 50, os.urandom(3000)]


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_the_file_is_what_was_sent_however_it_is_cut(content: bytes, size: int) -> None:
    assert read(form(content), size) == (content, 'a "b".zip', {})


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_fields_before_and_after_the_file_are_read(size: int) -> None:
    data = form(b"content", before=field("expire_in", "1 day"), after=field("empty", "") + field("b", "z\r\ny"))
    assert read(data, size) == (b"content", 'a "b".zip', {"expire_in": "1 day", "empty": "", "b": "z\r\ny"})


def test_a_form_without_a_file_has_none() -> None:
    assert read(field("a", "b") + f"--{BOUNDARY}--\r\n".encode(), 4) == (None, "", {"a": "b"})


@pytest.mark.parametrize(
    "data", [b"", b"no form", form(b"content")[:-14], form(b"content")[:40], b"--5d60c97b\r\n" + b"x" * 40_000]
)
def test_a_form_that_breaks_off_is_refused(data: bytes) -> None:
    with pytest.raises(UserError):
        read(data, 100)


@pytest.mark.parametrize("kind", ["", "application/json", "multipart/form-data", "text/plain; boundary=x"])
def test_what_is_no_form_is_refused(kind: str) -> None:
    with pytest.raises(UserError):
        read(form(b""), 100, kind)


def test_a_body_is_poured_into_a_thread_whole_or_not_at_all() -> None:
    data = os.urandom(5_000_000)
    assert asyncio.run(intake.pour(pieces(data, 70_000), b"".join, limit=len(data))) == data
    with pytest.raises(intake.TooLarge):
        asyncio.run(intake.pour(pieces(data, 70_000), b"".join, limit=len(data) - 1))

    async def broken() -> AsyncIterator[bytes]:
        yield data
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(intake.pour(broken(), b"".join, limit=len(data)))
