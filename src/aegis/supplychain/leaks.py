"""Finds leaked credentials in files and in the lines that commits add.

Pure: text in, leaks out, and no leak ever carries its secret; what is shown is a public prefix and a length. A line with
`aegis: allow-secret REASON` (on it or above it) is allowed, with its reason; a marker without a reason allows nothing.
Lock files are full of digests, so the rules that judge by disorder alone keep away from them; rules that know an
issuer's form read them as well. The rules themselves are in `leak_rules`.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from aegis.core.types import Severity
from aegis.supplychain.leak_rules import RULES, Rule, entropy

MAXIMUM_SIZE: Final = 8 * 1024 * 1024
"""Bytes of a file that are searched; what is larger is named as not searched, never passed over in silence."""

_MARKER: Final = re.compile(r"aegis:\s*allow-secret[ \t]+(?P<reason>[^\s*#\-/][^\n]{2,200})")
_LOCKS: Final = re.compile(
    r"(?:^|/)(?:[\w.\-]*\.lock|package-lock\.json|npm-shrinkwrap\.json|pnpm-lock\.yaml|go\.sum|[\w.\-]*requirements"
    r"[\w.\-]*\.txt|pylock[\w.\-]*\.toml|\.secrets\.baseline)$"
)
_CODE: Final = re.compile(
    r"\.(?:py|pyi|js|mjs|ts|tsx|jsx|go|java|kt|rb|rs|c|h|cc|cpp|cs|php|scala|swift|md|rst|html|css|po)$"
)
_PLACEHOLDER: Final = re.compile(
    r"(?i)example|placeholder|change.?me|change.?it|replace|your[_\-]|xxxx|\*\*\*|dummy|sample|fake|insert|redact|masked|"
    r"not.?a.?secret|\.\.\.|…|1234567|abcdefg|<|>"
)
_REFERENCE: Final = re.compile(
    r"^(?:\$|%|\{\{|secret:|vault:|env:|file:|op:|arn:|ref\+|https?:|[.~]?/)|\$\{|\$\(|\{\{|%\(|%s"
)
_DIGEST: Final = re.compile(
    r"(?i)^(?:sha(?:1|256|384|512)|md5|blake2b)[:\-]|^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
)
_SEGMENT: Final = re.compile(r"[A-Za-z]+\d{0,4}|\d{1,4}")
_SPLIT: Final = re.compile(r"[-_./:@+=]+|(?<=[a-z])(?=[A-Z])")
_OTHER_NAME: Final = re.compile(
    r"(?i)public|tokeni[sz]|tokens?_?(?:type|count|limit|length|budget|url|uri)|key_?word|monkey|"
    r"(?:[_\-.]|(?<=[a-z]))(?:url|uri|path|file|name|ref|id|ids|type|endpoint|algorithm|header|field|prefix|pattern|regex|"
    r"env|var|variable|policy|scope|scopes|label|class|format|version|expiry|ttl|digest|hash|fingerprint|message|title|"
    r"description|help|status|state|kind|store|manager|provider|engine)s?$"
)
_PASSWORD: Final = re.compile(r"(?i)passw(?:or)?d|passphrase")
_LINE_WINDOW: Final = 4000
_OVERLAP: Final = 500
_LOCAL: Final = re.compile(
    r"(?i)^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\]|0\.0\.0\.0|[a-z0-9\-]+)(?::\d+)?$|\.test|\.invalid"
)
_EXAMPLE: Final = re.compile(r"(?i)(?:^|\.)example(?:\.(?:com|org|net))?(?::\d+)?$")
_WEAK: Final = frozenset(
    {"password", "passwd", "pass", "secret", "token", "user", "admin", "root", "guest", "postgres", "test"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A credential where it does not belong.

    `redacted` is all that may be shown of it. `fingerprint` names the finding across runs; it is made without the
    secret, so that nobody can guess from it. `allowed` is the reason of a marker; `commit` is set where a commit added
    the line. `identity` tells equal secrets apart within one scan and must not be stored.
    """

    rule: str
    title: str
    severity: Severity
    path: str
    line: int
    redacted: str
    fingerprint: str
    mend: str
    allowed: str = ""
    commit: str = ""
    identity: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """Lines that a commit added to a file: (number in the new file, text without its end)."""

    commit: str
    path: str
    lines: tuple[tuple[int, str], ...]


def find(path: str, data: bytes) -> tuple[Leak, ...]:
    """The leaks in a file's content; nothing for binary content."""
    text = _text(data)
    if text is None:
        return ()
    lines = text.splitlines()
    return _find(path, lines, range(1, len(lines) + 1))


def find_added(added: Added) -> tuple[Leak, ...]:
    """The leaks in the lines that a commit added."""
    texts = [text for _, text in added.lines]
    leaks = _find(added.path, texts, [number for number, _ in added.lines])
    return tuple(replace(leak, commit=added.commit) for leak in leaks)


def join(tree: Iterable[Leak], history: Iterable[Leak]) -> tuple[Leak, ...]:
    """One list without repetitions, worst first.

    A secret that stands in the tree is reported there; one that only a commit holds is reported with its commit. Where a
    marker allows a secret in the tree, the commits that brought it there are allowed as well.
    """
    kept: dict[tuple[str, str, bytes], Leak] = {}
    for leak in (*tree, *history):
        key = (leak.path, leak.rule, leak.identity)
        kept.setdefault(key, leak)
    order = {severity: place for place, severity in enumerate(Severity)}
    return tuple(sorted(kept.values(), key=lambda leak: (order[leak.severity], leak.path, leak.line, leak.rule)))


def is_searched(data: bytes) -> bool:
    """Whether a file is text of a size that is searched whole."""
    return len(data) <= MAXIMUM_SIZE and _text(data) is not None


def _text(data: bytes) -> str | None:
    if len(data) > MAXIMUM_SIZE:
        return None
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return data.decode("utf-16", "replace")
    return None if b"\0" in data[:8192] else data.decode("utf-8", "replace")


def _find(path: str, lines: Sequence[str], numbers: Sequence[int]) -> tuple[Leak, ...]:
    text = "\n".join(lines)
    lowered = text.lower()
    starts = _starts(lines)
    found: dict[tuple[int, int], Leak] = {}
    for rule in RULES:
        if not any(word in lowered for word in rule.keywords):
            continue
        for start, end, match in _matches(rule, path, text, lines, starts):
            if any(start < other_end and other_start < end for other_start, other_end in found):
                continue
            index = _index(starts, match)
            found[start, end] = _leak(rule, path, lines, (index, numbers[index]), text[start:end])
    return tuple(found[place] for place in sorted(found))


def _matches(
    rule: Rule, path: str, text: str, lines: Sequence[str], starts: Sequence[int]
) -> Iterator[tuple[int, int, int]]:
    """Start and end of each secret, and where its match begins, in offsets of the text."""
    if not rule.generic:
        for match in rule.pattern.finditer(text):
            if _issued(rule, match["secret"]):
                yield match.start("secret"), match.end("secret"), match.start()
        return
    if _LOCKS.search(path):
        return
    unquoted = _CODE.search(path) is None
    for start, line in zip(starts, lines, strict=True):
        lowered = line.lower()
        if any(word in lowered for word in rule.keywords):
            for offset, window in _windows(line):
                for match in rule.pattern.finditer(window):
                    if _plausible(rule, match, unquoted=unquoted):
                        base = start + offset
                        yield base + match.start("secret"), base + match.end("secret"), base + match.start()


def _issued(rule: Rule, secret: str) -> bool:
    """Whether what has an issuer's form is more than a picture of it: placeholders repeat signs or say so."""
    if entropy(secret) < max(rule.entropy, 2.5):
        return False
    return "EXAMPLE" not in secret and "xxxxxx" not in secret.lower()


def _plausible(rule: Rule, match: re.Match[str], *, unquoted: bool) -> bool:
    secret = match["secret"]
    if _REFERENCE.search(secret) or _DIGEST.search(secret) or _PLACEHOLDER.search(secret):
        return False
    if rule.id == "connection-string":
        return _is_password(secret, match["user"], match["host"])
    if rule.id == "bearer-token":
        return entropy(secret) >= rule.entropy and not _is_words(secret)
    if match["quote"] is None and not unquoted:
        return False
    name = match["name"]
    if _OTHER_NAME.search(name) or _is_words(secret):
        return False
    digits = sum(sign.isdigit() for sign in secret)
    if _PASSWORD.search(name):
        signs = sum(not sign.isalnum() for sign in secret)
        return digits + signs > 0 and entropy(secret) >= 2.75
    enough = 3.0 if re.fullmatch(r"[0-9a-fA-F]+", secret) else 3.5
    return len(secret) >= 16 and digits >= 2 and entropy(secret) >= enough


def _is_password(secret: str, user: str, host: str) -> bool:
    if secret.lower() in _WEAK or secret == user or secret.isupper() or _EXAMPLE.search(host):
        return False
    return not (_is_words(secret) and _LOCAL.search(host))


def _is_words(secret: str) -> bool:
    """Whether it reads as a name: words and small numbers joined by punctuation or capitals."""
    segments = [part for part in _SPLIT.split(secret) if part]
    if not all(_SEGMENT.fullmatch(part) for part in segments):
        return False
    longest = max((len(part) for part in segments), default=0)
    return longest <= 20 and (len(segments) > 1 or len(secret) < 16)


def _leak(rule: Rule, path: str, lines: Sequence[str], at: tuple[int, int], secret: str) -> Leak:
    index, number = at
    redacted = f"{secret[: rule.shown]}…({len(secret)} characters)"
    around = lines[index].replace(secret, "") if len(lines[index]) < _LINE_WINDOW else ""
    parts = (rule.id, path, redacted, around if secret in lines[index] else "")
    return Leak(
        rule=rule.id,
        title=rule.title,
        severity=rule.severity,
        path=path,
        line=number,
        redacted=redacted,
        fingerprint=hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:32],
        mend=rule.mend,
        allowed=_allowed(lines, index),
        identity=hashlib.sha256(secret.encode("utf-8", "replace")).digest(),
    )


def _allowed(lines: Sequence[str], index: int) -> str:
    for line in (lines[index], lines[index - 1] if index else ""):
        marker = _MARKER.search(line[:_LINE_WINDOW])
        if marker:
            return marker["reason"].strip().removesuffix("-->").removesuffix("*/").strip()
    return ""


def _windows(line: str) -> Iterator[tuple[int, str]]:
    """A long line (minified, generated) in overlapping parts, so that no pattern runs over megabytes."""
    if len(line) <= _LINE_WINDOW:
        yield 0, line
        return
    for offset in range(0, len(line), _LINE_WINDOW - _OVERLAP):
        yield offset, line[offset : offset + _LINE_WINDOW]


def _starts(lines: Sequence[str]) -> list[int]:
    starts: list[int] = []
    offset = 0
    for line in lines:
        starts.append(offset)
        offset += len(line) + 1
    return starts


def _index(starts: Sequence[int], offset: int) -> int:
    return bisect_right(starts, offset) - 1
