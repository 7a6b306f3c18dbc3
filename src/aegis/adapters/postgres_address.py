"""Addresses of PostgreSQL databases, as text: what is one, and how it is shown without its password."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit, urlunsplit

SCHEMES: Final = ("postgres", "postgresql")


def is_address(text: str) -> bool:
    """Whether this names a PostgreSQL database."""
    return urlsplit(text).scheme in SCHEMES


def shown(address: str) -> str:
    """An address without its password."""
    parts = urlsplit(address)
    if parts.password is None:
        return address
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}@{host}"))
