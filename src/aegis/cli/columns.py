"""How many columns text takes on a terminal, and how it is cut to fit. Pure.

Wide characters (Korean, Chinese, Japanese, most emoji) take two columns, marks that combine none. It knows nothing of colours:
cut first, colour afterwards.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_CONTROLS: Final = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;:<=>?]*[ -/]*[@-~]|\x1b[PX^_][^\x1b]*\x1b\\|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
"""Everything with which a line could do more to a terminal than be shown: sequences of ISO 6429 and single controls."""
_NARROW_END: Final = 0x300
"""Below it, of what is printable every character takes one column."""


def plain(text: str) -> str:
    """Text without anything that a terminal would act on; tabs become spaces.

    Of a line that was overwritten (carriage returns) what was written last is left, as a terminal would show it.
    """
    if text.isascii() and text.isprintable():
        return text
    parts = [part for part in (_CONTROLS.sub("", one) for one in text.split("\r")) if part]
    return parts[-1].expandtabs(4) if parts else ""


def width(text: str) -> int:
    """The columns that printable text takes."""
    if text.isascii():
        return len(text)
    return sum(_of(character) for character in text)


def _of(character: str) -> int:
    if ord(character) < _NARROW_END:
        return 1
    if unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def cut(text: str, columns: int) -> str:
    """The beginning of printable text that fits; what was cut is marked by `…`."""
    if len(text) * 2 <= columns or width(text) <= columns:
        return text
    if columns <= 0:
        return ""
    taken, used = 0, 0
    for character in text:
        wide = _of(character)
        if used + wide > columns - 1:
            break
        taken, used = taken + 1, used + wide
    return text[:taken] + "…"


def padded(text: str, columns: int) -> str:
    """Text cut or filled up to exactly so many columns."""
    fitting = cut(text, columns)
    return fitting + " " * (columns - width(fitting))
