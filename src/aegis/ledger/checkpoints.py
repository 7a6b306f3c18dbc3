"""Signed checkpoints: the head of the chain, vouched for under a key of its own, so that a cut or swapped tail shows.

A chain proves that nothing inside it was changed; it cannot prove that its end is still there. A checkpoint kept
elsewhere can. The signature covers a short text with one field per line. The key is apart from the artifacts' key, so
that who may sign images cannot rewrite history.

Deliberately not here: when one is made, and where it is kept.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aegis.core import codec
from aegis.core.errors import CheckFailed, UserError
from aegis.core.ports import Head, Signer
from aegis.ledger.chain import check_fields, microseconds

FORMAT: Final = "aegis-ledger-checkpoint 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """A head of one ledger (`origin` names it), when it was signed, by which key. `signature` is base64 of DER."""

    origin: str
    seq: int
    hash: str
    at: datetime
    key: str
    signature: str

    @property
    def head(self) -> Head:
        """What is vouched for."""
        return Head(seq=self.seq, hash=self.hash)


def fingerprint(public_key: str) -> str:
    """The digest of a public key's DER form: how a key is named."""
    body = "".join(line for line in public_key.splitlines() if not line.startswith("-----"))
    try:
        der = base64.b64decode(body, validate=True)
    except ValueError as error:
        raise UserError("key-unreadable", "this is not a public key in PEM form") from error
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def statement(origin: str, head: Head, at: datetime) -> bytes:
    """The exact bytes that a checkpoint's signature covers."""
    check_fields({"origin": origin})
    return f"{FORMAT}\n{origin}\n{head.seq}\n{head.hash}\n{microseconds(at)}\n".encode()


def sign(head: Head, *, origin: str, at: datetime, signer: Signer) -> SignedHead:
    """Vouch for `head` with `signer`."""
    signature = signer.sign(statement(origin, head, at))
    return SignedHead(
        origin=origin,
        seq=head.seq,
        hash=head.hash,
        at=at,
        key=fingerprint(signer.public_key()),
        signature=base64.b64encode(signature).decode(),
    )


def check(signed: SignedHead, public_key: str) -> None:
    """`CheckFailed` (`checkpoint-forged`) unless this key made this signature over this head."""
    # Only verification needs it, and it is slow to load.
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        key = load_pem_public_key(public_key.encode())
    except ValueError as error:
        raise UserError("key-unreadable", f"this is not a public key in PEM form: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise UserError("key-unreadable", "a checkpoint's key is an ECDSA key")
    try:
        signature = base64.b64decode(signed.signature, validate=True)
        key.verify(signature, statement(signed.origin, signed.head, signed.at), ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError) as error:
        raise CheckFailed(
            "checkpoint-forged",
            f"the checkpoint of record {signed.seq} is not signed by the key {fingerprint(public_key)}",
            hint="compare the key with the one that was noted when the server was set up",
        ) from error


def anchors(signed: Iterable[SignedHead], public_key: str) -> tuple[Head, ...]:
    """The heads that the key vouches for, all of them of one ledger; `CheckFailed` at the first that is not so."""
    heads: list[Head] = []
    origin: str | None = None
    for one in signed:
        check(one, public_key)
        if origin is not None and one.origin != origin:
            raise CheckFailed("checkpoint-origin", f"checkpoints of two ledgers are mixed: {origin} and {one.origin}")
        origin = one.origin
        heads.append(one.head)
    return tuple(heads)


def to_line(signed: SignedHead) -> bytes:
    """A checkpoint as one line of JSON."""
    return codec.encode(signed) + b"\n"


def from_lines(data: bytes) -> Sequence[SignedHead]:
    """The checkpoints of a file with one per line; `UserError` at the first line that is none.

    A last line without its end is what a killed process leaves and is not counted.
    """
    lines = data.split(b"\n")[:-1]
    return tuple(codec.decode(line, SignedHead) for line in lines if line.strip())
