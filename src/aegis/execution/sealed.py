"""What the server notes for later jobs of a project, sealed: where a cache lies, what a job's result was.

A shelf may be an object store that others write to as well. Every note is sealed with a key of its project, which is made of a key
that no job ever sees, and the seal covers what the note is for: its purpose, project, name and content. A note that was changed,
copied from another project, name or trust, or made up, is refused, whoever wrote it. What it points to is named by digest and verified
when it is read. Losing notes costs time alone.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from aegis.core import codec
from aegis.core.errors import UserError
from aegis.core.values import dataclass
from aegis.execution.ports import Shelf

T = TypeVar("T")
_LIMIT: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What lies on the shelf."""

    purpose: str
    project: str
    name: str
    value: str
    seal: str


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """A value, or why a note that is there is refused; neither where there is none."""

    value: T | None = None
    refused: str = ""


class SealedNotes(Generic[T]):
    """Notes of one purpose. Safe from any thread; the last writer wins, and a reader sees a whole note."""

    def __init__(self, shelf: Shelf, key: bytes, purpose: str, kind: type[T]) -> None:
        self._shelf = shelf
        self._key = key
        self._purpose = purpose
        self._kind = kind

    def lookup(self, project: str, name: str) -> Found[T]:
        """The note of a project under a name. `ExternalError` where the shelf fails."""
        data = self._shelf.get(self._place(project, name))
        if data is None:
            return Found()
        try:
            note = codec.decode(data[:_LIMIT], Note)
            if note.project != project:
                return Found(refused="it is a note of another project")
            if note.name != name or note.purpose != self._purpose:
                return Found(refused="it is a note of another name or trust")
            if not hmac.compare_digest(note.seal.encode(), self._seal(project, name, note.value).encode()):
                return Found(refused="its seal is not this server's")
            return Found(value=codec.decode(note.value.encode(), self._kind))
        except UserError:
            return Found(refused="it cannot be read")

    def store(self, project: str, name: str, value: T) -> None:
        """Keep a note."""
        text = codec.encode(value).decode()
        note = Note(purpose=self._purpose, project=project, name=name, value=text, seal=self._seal(project, name, text))
        self._shelf.put(self._place(project, name), codec.encode(note))

    def keyed(self, project: str, data: bytes) -> str:
        """A digest of `data` with the project's key: who has not the key can neither make nor guess it."""
        return hmac.new(self._own(project), data, "sha256").hexdigest()

    def expire(self, before: float) -> int:
        """Forget what was noted before `before` (Unix time); how many."""
        old = [name for name, since in self._shelf.names() if since < before]
        for name in old:
            self._shelf.delete(name)
        return len(old)

    def values(self) -> Iterator[T]:
        """What all notes of this purpose say that this server has sealed."""
        for place, _ in self._shelf.names():
            try:
                note = codec.decode((self._shelf.get(place) or b"")[:_LIMIT], Note)
            except UserError:
                continue
            found = self.lookup(note.project, note.name).value if note.purpose == self._purpose else None
            if found is not None:
                yield found

    def _place(self, project: str, name: str) -> str:
        folder = hashlib.sha256(project.encode()).hexdigest()[:16]
        file = hashlib.sha256(f"{self._purpose}\0{name}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return f"{folder}/{file}.json"

    def _seal(self, project: str, name: str, value: str) -> str:
        parts = [part.encode("utf-8", "surrogateescape") for part in (self._purpose, project, name, value)]
        return hmac.new(
            self._own(project), b"".join(len(part).to_bytes(8) + part for part in parts), "sha256"
        ).hexdigest()

    def _own(self, project: str) -> bytes:
        return hmac.digest(self._key, f"aegis/{self._purpose}\0{project}".encode(), "sha256")
