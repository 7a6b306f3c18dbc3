"""A job's log as an explanation reads it: the commands it ran, and the shapes of its lines. Pure.

Decides which part of a log belongs to the command that failed, and when two lines are the same but for numbers, names of
temporary files and times. It does not know causes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from aegis.execution.trace import readable

LINES: Final = 4000
"""Lines of a log that are looked at, counted from its end."""
_COMMAND: Final = re.compile(rb"\x1b\[32;1m\$ ([^\x1b]*)\x1b\[0;m")
_SECTION: Final = re.compile(rb"section_(start|end):\d+:([\w.-]+)[^\r\n]*\r(?:\x1b\[0K)?")
_OWN: Final = re.compile(
    rb"\x1b\[3[123];1m(?:ERROR: Job failed(?:: exit code| \()|WARNING: after_script|Job succeeded)[^\n]*\n?"
)
_VARYING: Final = (
    (re.compile(r"\b[0-9a-f]{7,64}\b|0x[0-9a-fA-F]+"), "#"),
    (re.compile(r"/(?:tmp|builds)/\S+"), "/"),
    (re.compile(r"\d+"), "0"),
    (re.compile(r"\s+"), " "),
)
_PREFIX: Final = re.compile(
    r"^(?:E\s{3,}|\d{4}-\d\d-\d\d[T ][\d:.,]+Z?(?: \d\d[OE][+ ]?)? ?|#\d+ (?:\d+\.\d+ )?|\[\d+/\d+\] |\d+\.\d+ )+"
)
"""What pytest, GitLab's time stamps and BuildKit put before the words of others."""
_NOT_LIVED_WITH: Final = re.compile(
    r"after connection broken by|^WARNING: (?:network: |the service )|^Could not fetch URL|^npm (?:ERR|error)"
)
_SURROUNDINGS: Final = re.compile(r"^WARNING: the service ")
"""What the runner says of the job's surroundings: as good as the failed command's own words, wherever it stands."""
_LIVED_WITH: Final = re.compile(
    r"\bretrying\b|will retry|try(?:ing)? again|\bwarn(?:ing)?\b|ignor|skipp|fall(?:ing)? ?back|going on|go on without|optional|continuing|attempt \d|"
    r"not ready|still waiting|known to fail|expected failure|xfail|as expected|deprecat|starting afresh",
    re.IGNORECASE,
)


_FAILURES: Final = re.compile(r"^=+ (?:FAILURES|ERRORS) =+$")
_SUMMARY: Final = re.compile(r"^=+ .*\bin [\d.]+s|^\d+ (?:failed|passed|errors?)\b.* in [\d.]+s")
_RAISED: Final = re.compile(
    r"^(?:E\s+|(?:FAILED|ERROR) \S+ - )(?!AssertionError|assert\b)(?:[\w.]+(?:Error|Exception|Refused|Timeout|Exit)\b|Failed:|fixture )"
)
_ASSERTION: Final = re.compile(r"AssertionError|\bassert\b|^FAILED \S+(?: - (?:assert|AssertionError)|$)")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log. `last` is true where the command that failed wrote it, or the runner of what the command relied on."""

    text: str
    last: bool
    lived_with: bool
    quoted: bool
    """Whether a failed test shows it: only its own exception tells of the surroundings, not what it compared or printed."""
    place: float
    """Where in the output of its command: 0 at the beginning, 1 at the end."""


def template(line: str) -> str:
    """A line without what differs between runs."""
    for pattern, instead in _VARYING:
        line = pattern.sub(instead, line)
    return line.strip()


def lines_of(log: bytes) -> tuple[Line, ...]:
    """The lines of a log's end, without the runner's own and `after_script`'s, marked by the command they belong to."""
    script = _OWN.sub(b"", _without_after(log))
    pieces = _COMMAND.split(script)
    # pieces: text, command, text, command, text …: what stands before the first command is preparation.
    last_text = len(pieces) - 1
    found: list[Line] = []
    for position in range(0, len(pieces), 2):
        texts = [one.rstrip() for one in readable(pieces[position]).split("\n")]
        marks = [bool(_LIVED_WITH.search(one)) and not _NOT_LIVED_WITH.search(one) for one in texts]
        inside = False
        for number, text in enumerate(texts):
            inside = bool(_FAILURES.match(text)) or (inside and not _SUMMARY.match(text))
            if text.strip():
                # A remark of going on stands in the line itself or right after it.
                near = marks[number] or (number + 1 < len(texts) and marks[number + 1] and not _final(texts, number))
                last = position == last_text or bool(_SURROUNDINGS.match(text))
                found.append(Line(text, last, near, _quoted(text, inside=inside), (number + 1) / len(texts)))
    return tuple(found[-LINES:])


def _quoted(text: str, *, inside: bool) -> bool:
    return bool(_ASSERTION.search(text)) or (inside and not _RAISED.match(text))


def _final(texts: list[str], number: int) -> bool:
    return not any(one.strip() for one in texts[number + 2 :])


def bare(text: str) -> str:
    """A line without what another program put before it."""
    return _PREFIX.sub("", text)


def _without_after(log: bytes) -> bytes:
    """The log up to `after_script`, which cannot be why a job failed."""
    for found in _SECTION.finditer(log):
        if found[1] == b"start" and found[2] == b"after_script":
            return log[: found.start()]
    return log
