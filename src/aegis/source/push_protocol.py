"""The head of a `git-receive-pack` request, and the report that refuses it, as bytes.

Reads what stands before the pack: the commands, the capabilities and the push options (gitprotocol-pack, "Reference
Update Request and Packfile Transfer"; gitprotocol-common, "pkt-line"). The pack itself is never looked at here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from aegis.core.errors import UserError
from aegis.source.branches import RefUpdate, Refusal

MAX_HEAD: Final = 4 * 1024 * 1024
"""Bytes that may stand before the pack: about 40 000 refs in one push."""

FLUSH: Final = b"0000"
_MAX_BAND: Final = 65515
_IDS: Final = (40, 64)
_HEX: Final = frozenset(b"0123456789abcdef")


@dataclass(frozen=True, slots=True, kw_only=True)
class PushHead:
    """What a client asks for. `raw` are the bytes up to the pack, `rest` what had already arrived of the pack."""

    updates: tuple[RefUpdate, ...]
    capabilities: frozenset[str]
    options: tuple[str, ...]
    raw: bytes
    rest: bytes

    @property
    def sideband(self) -> bool:
        """Whether the client wants its answer multiplexed, so that messages can be shown."""
        return "side-band-64k" in self.capabilities


@dataclass(slots=True)
class PushReader:
    """Give it the request as it comes; it answers the head once that is whole."""

    _bytes: bytearray = field(default_factory=bytearray)
    _at: int = 0
    _lines: list[bytes] = field(default_factory=list)
    _options: list[bytes] | None = None

    def feed(self, data: bytes) -> PushHead | None:
        """The head, or None while something of it is missing. `UserError` for what is no such request."""
        self._bytes += data
        while True:
            line = self._next()
            if line is None:
                if len(self._bytes) > MAX_HEAD:
                    raise UserError("push-too-many-refs", "the push names more refs than one push may")
                return None
            if line:
                (self._lines if self._options is None else self._options).append(line)
            elif self._options is None and "push-options" in _capabilities(self._lines):
                self._options = []
            else:
                return self._head()

    def finish(self) -> PushHead | None:
        """The end of the request: None when nothing was sent, `UserError` when the head was cut."""
        if self._bytes:
            raise UserError("push-cut", "the push ended before its list of refs was complete")
        return None

    def _next(self) -> bytes | None:
        if len(self._bytes) < self._at + 4:
            return None
        text = bytes(self._bytes[self._at : self._at + 4])
        if not _HEX.issuperset(text.lower()):
            raise UserError("push-protocol", "this is not a Git push")
        size = int(text, 16)
        if size == 0:
            self._at += 4
            return b""
        if size <= 4:
            raise UserError("push-protocol", "this is not a Git push")
        if len(self._bytes) < self._at + size:
            return None
        line = bytes(self._bytes[self._at + 4 : self._at + size])
        self._at += size
        return line

    def _head(self) -> PushHead:
        lines = [line for line in self._lines if not line.startswith(b"shallow ")]
        return PushHead(
            updates=tuple(_update(line.split(b"\0", 1)[0]) for line in lines),
            capabilities=_capabilities(self._lines),
            options=tuple(line.decode("utf-8", "replace").rstrip("\n") for line in self._options or ()),
            raw=bytes(self._bytes[: self._at]),
            rest=bytes(self._bytes[self._at :]),
        )


def refusal_report(head: PushHead, refusals: Sequence[Refusal]) -> bytes:
    """The body of the answer that refuses the whole push: what `git push` then shows for each ref, and why."""
    reasons = {refusal.ref: refusal.message for refusal in reversed(refusals)}
    lines = [b"unpack ok\n"]
    for update in head.updates:
        reason = reasons.get(update.ref, "not moved: another ref of this push was refused")
        lines.append(b"ng " + update.ref.encode("utf-8", "surrogateescape") + b" " + _one_line(reason) + b"\n")
    report = b"".join(_pkt(line) for line in lines) + FLUSH
    if not any(one.startswith("report-status") for one in head.capabilities):
        report = b""
    if not head.sideband:
        return report
    texts = [text for refusal in refusals for text in (refusal.message, f"  {refusal.hint}" if refusal.hint else "")]
    bands = [_pkt(b"\x01" + report[at : at + _MAX_BAND]) for at in range(0, len(report), _MAX_BAND)]
    return messages([text for text in texts if text]) + b"".join(bands) + FLUSH


def messages(lines: Sequence[str]) -> bytes:
    """Lines that `git push` shows as `remote: …`, for a multiplexed answer, before its closing flush."""
    return b"".join(_pkt(b"\x02" + _one_line(line) + b"\n") for line in lines)


def _pkt(data: bytes) -> bytes:
    return b"%04x%s" % (len(data) + 4, data)


def _one_line(text: str) -> bytes:
    return "".join(char if char.isprintable() else " " for char in text)[:1000].encode("utf-8", "replace")


def _capabilities(lines: Sequence[bytes]) -> frozenset[str]:
    first = next((line for line in lines if b"\0" in line), b"\0")
    return frozenset(first.split(b"\0", 1)[1].decode("utf-8", "replace").split())


def _update(line: bytes) -> RefUpdate:
    parts = line.rstrip(b"\n").split(b" ", 2)
    if len(parts) != 3 or any(len(part) not in _IDS or not _HEX.issuperset(part) for part in parts[:2]):
        raise UserError("push-protocol", "this push is of a kind that is not supported", hint="push without --signed")
    old, new, ref = (part.decode("utf-8", "surrogateescape") for part in parts)
    return RefUpdate(ref=ref, old=None if not old.strip("0") else old, new=None if not new.strip("0") else new)
