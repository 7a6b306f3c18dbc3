"""What the capability needs of the outside: a place that keeps secrets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from aegis.secrets.references import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretInfo:
    """What may be known of a secret without seeing it. `versions` are those that can still be read, oldest first."""

    reference: Reference
    version: int
    versions: tuple[int, ...]
    created_at: datetime
    rotated_at: datetime


class SecretStore(Protocol):
    """Secrets by reference, with versions that count from 1.

    Calls may come from any thread; each sees the effect of those that returned before. A write is durable when it
    returns and is whole or not there at all. No method, error or log line shows a value but `get` itself. Errors:
    `NotFound` for what is not there, `Conflict` where something else changed it, `ExternalError` when the store
    cannot be read or written.
    """

    @property
    def protected(self) -> bool:
        """Whether what opens the store lies apart from it. `aegis status` says "unprotected" when it does not."""
        ...

    def get(self, reference: Reference, *, version: int | None = None) -> str:
        """The current value, or that of an older version that has not been retired."""
        ...

    def put(self, reference: Reference, value: str) -> int:
        """Keep a value as the only one of this reference; its version. The same value again changes nothing."""
        ...

    def rotate(self, reference: Reference, value: str) -> int:
        """Keep a new value beside the former one, which can be read until it is retired; the new version.

        `NotFound` where there is nothing to rotate.
        """
        ...

    def retire(self, reference: Reference) -> None:
        """Forget all versions but the current one; no error when there is none but that."""
        ...

    def delete(self, reference: Reference) -> None:
        """Forget the secret; no error when it is not there."""
        ...

    def list(self, prefix: str = "") -> tuple[SecretInfo, ...]:
        """What is kept under a path prefix, in the order of the references; never a value."""
        ...
