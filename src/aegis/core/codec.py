"""The one codec: frozen dataclasses to bytes and back, deterministic.

JSON with sorted mapping keys, fields in the order of their definition. Unknown fields of a known version are
refused by nobody: reading forward is the reader's right, and a new field always has a default.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from aegis.core.errors import UserError

T = TypeVar("T")

_json = msgspec.json.Encoder(order="deterministic")
_pack = msgspec.msgpack.Encoder()


def encode(value: object) -> bytes:
    """`value` as canonical JSON bytes."""
    return _json.encode(value)


def written(value: object) -> bytes:
    """`value` as JSON bytes in the order it has: for showing, where nothing is hashed."""
    return msgspec.json.encode(value)


def decode(data: bytes, kind: type[T]) -> T:
    """The `kind` that `data` holds, checked against its annotations; `UserError` where it does not fit."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise UserError("undecodable", f"not a {kind.__name__}: {error}") from error


def plain(value: object) -> Any:
    """`value` as dicts, lists, strings and numbers: what JSON would hold."""
    return msgspec.to_builtins(value)


def convert(value: object, kind: type[T], *, lenient: bool = False) -> T:
    """The `kind` that plain `value` describes; `UserError` where it does not fit. Lenient reads numbers from text."""
    try:
        return msgspec.convert(value, kind, strict=not lenient)
    except msgspec.ValidationError as error:
        raise UserError("unfitting", f"not a {kind.__name__}: {error}") from error


def pack(value: object) -> bytes:
    """`value` in a compact binary form, for checkpoints that are never shown and may be thrown away."""
    return _pack.encode(value)


def unpack(data: bytes, kind: type[T]) -> T:
    """The `kind` that packed `data` holds; `ValueError` where it does not fit, so that the caller rebuilds it."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ValueError(str(error)) from error
