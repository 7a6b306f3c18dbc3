"""What ledger tests share: drafts, a ledger on a folder, blobs in memory, and a signer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from aegis.adapters.ledger_sqlite import SqliteLedger
from aegis.core.errors import NotFound
from aegis.core.events import Draft, MergeRequestNoted, RunStarted
from aegis.core.ports import Blobs
from support.clock import FakeClock, SeededEntropy


def started(name: str = "1", **fields: str) -> Draft:
    """A small event on `run/<name>`."""
    return Draft(subject=f"run/{name}", actor=fields.pop("actor", "ana"), data=RunStarted(run=name), **fields)


def noted(body: str, number: int = 1) -> Draft:
    """An event with as much data as wanted."""
    data = MergeRequestNoted(number=number, head="c0ffee", body=body)
    return Draft(subject=f"merge-request/shop/orders/{number}", actor="aegis", project="shop/orders", data=data)


def opened(folder: Path, *, clock: FakeClock | None = None, blobs: Blobs | None = None, seed: int = 1) -> SqliteLedger:
    """A ledger on `folder`; close it."""
    return SqliteLedger(
        folder / "ledger.sqlite",
        clock=clock or FakeClock(),
        entropy=SeededEntropy(seed),
        blobs=MemoryBlobs() if blobs is None else blobs,
        recorded_by="test",
    )


class MemoryBlobs:
    """The `Blobs` port in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.kept[digest] = data
        return digest

    def put_each(self, parts: Iterable[bytes]) -> Iterator[str]:
        return (self.put(part) for part in parts)

    def put_stream(self, source: BinaryIO | Iterable[bytes], *, expected: str | None = None) -> tuple[str, int]:
        data = b"".join(source)
        assert expected in (None, f"sha256:{hashlib.sha256(data).hexdigest()}")
        return self.put(data), len(data)

    def get(self, digest: str) -> bytes:
        if digest not in self.kept:
            raise NotFound("no-blob", f"{digest} is not kept")
        return self.kept[digest]

    def open(self, digest: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        yield self.get(digest)[offset : None if length is None else offset + length]

    def size(self, digest: str) -> int | None:
        return len(self.kept[digest]) if digest in self.kept else None

    def delete(self, digest: str) -> None:
        self.kept.pop(digest, None)

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()

    def forget(self, digest: str) -> bool:
        self.delete(digest)
        return True


class FreshSigner:
    """The `Signer` port with a key made for one test."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self._key = ec.generate_private_key(ec.SECP256R1())

    def sign(self, data: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.hashes import SHA256

        return self._key.sign(data, ec.ECDSA(SHA256()))

    def public_key(self) -> str:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
