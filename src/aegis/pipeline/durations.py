"""Durations as GitLab reads them: `1h 30m`, `3 minutes`, `2 weeks and 1 day`, `1:30:00`, `90`. Pure."""

from __future__ import annotations

from typing import Final

from aegis.pipeline.patterns import Rare

_UNITS: Final[dict[str, float]] = {}
for _names, _seconds in (
    ("s sec secs second seconds", 1),
    ("m min mins minute minutes", 60),
    ("h hr hrs hour hours", 3600),
    ("d dy day days", 86400),
    ("w wk wks week weeks", 604800),
    ("mo mos month months", 2592000),
    ("y yr yrs year years", 31557600),
):
    _UNITS.update(dict.fromkeys(_names.split(), float(_seconds)))

_WORDS: Final = {
    word: float(number)
    for number, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
} | {
    word: (index + 2) * 10.0
    for index, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"])
}
_JOINERS: Final = frozenset({"and", "with", "plus"})
_TOKEN: Final = Rare(r"(\d+(?:\.\d+)?)|([a-z]+)|[,\s]+")
_CLOCK: Final = Rare(r"\d+(?::\d+){1,2}(?:\.\d+)?")
LONGEST: Final = 100 * 31557600


def seconds(text: str) -> int | None:
    """The duration in whole seconds; None where it is not one. A number without a unit is seconds."""
    low = text.strip().lower()
    if not low or len(low) > 100:
        return None
    total = _clock(low) if _CLOCK.fullmatch(low) else _spoken(low)
    if total is None or total > LONGEST:
        return None
    return int(total)


def _clock(text: str) -> float:
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + float(part)
    return total


def _spoken(text: str) -> float | None:
    total = 0.0
    number: float | None = None
    found = False
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            return None
        position = token.end()
        digits, word = token.groups()
        if digits is not None:
            if number is not None:
                return None
            number = float(digits)
        elif word in _WORDS and word is not None:
            if number is not None and not (number >= 20 and number % 10 == 0 and 0 < _WORDS[word] < 10):
                return None
            number = (number or 0.0) + _WORDS[word]
        elif word is not None and word not in _JOINERS:
            if number is None or word not in _UNITS:
                return None
            total += number * _UNITS[word]
            number, found = None, True
    if number is not None:
        total, found = total + number, True
    return total if found else None
