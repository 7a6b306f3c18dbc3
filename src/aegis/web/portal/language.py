"""Which language a page is in, and the sentence of a message id in it.

A catalogue is a flat JSON object: id → text, or id → plural forms (`one`, `other`) chosen by the parameter `count`.
Parameters are named in braces and escaped, so that a text may hold no markup and a value can inject none.
Deliberately not here: codes, ids and names, which are never translated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Final

LANGUAGES: Final = ("en", "ko")
DEFAULT: Final = "en"
_PLACE: Final = re.compile(r"\{([a-z_]+)\}")
# The scale of relative times: below how many seconds, in what unit.
_SCALE: Final = ((60, 1, "second"), (3600, 60, "minute"), (86400, 3600, "hour"), (float("inf"), 86400, "day"))

Text = str | dict[str, str]


@cache
def catalogue(language: str) -> Mapping[str, Text]:
    """Every message of a language."""
    source = files("aegis.web.portal") / "messages" / f"{language}.json"
    found: dict[str, Text] = json.loads(source.read_text("utf-8"))
    return found


def choose(*, asked: str, cookie: str, preferred: str, accept: str) -> str:
    """The language of a page: what the address asks for, the cookie, the person's own, the browser's, English."""
    for one in (asked, cookie, preferred):
        if one in LANGUAGES:
            return one
    weighted: list[tuple[float, int, str]] = []
    for place, part in enumerate(accept.split(",")[:20]):
        name, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            continue
        base = name.split("-", 1)[0].lower()
        if base in LANGUAGES and weight > 0:
            weighted.append((-weight, place, base))
    return min(weighted)[2] if weighted else DEFAULT


@dataclass(frozen=True, slots=True)
class Words:
    """The sentences of one language. `now` is the moment that relative times are counted from."""

    language: str
    now: datetime

    def __call__(self, message: str, **values: object) -> str:
        """The text of a message id with its values; an id nobody wrote is shown as it is, never an error on a page."""
        text = catalogue(self.language).get(message) or catalogue(DEFAULT).get(message)
        if text is None:
            return message
        if isinstance(text, dict):
            text = text["one"] if values.get("count") == 1 and "one" in text else text["other"]
        return _PLACE.sub(lambda found: str(values.get(found[1], found[0])), text)

    def has(self, message: str) -> bool:
        """Whether somebody wrote that message."""
        return message in catalogue(DEFAULT)

    def ago(self, at: datetime) -> str:
        """`at` relative to now, in the largest fitting unit, past or to come."""
        seconds = (self.now - at).total_seconds()
        side = "ago" if seconds >= 0 else "in"
        size = abs(seconds)
        if size < 5:
            return self("ago.now")
        unit, name = next((unit, name) for below, unit, name in _SCALE if size < below)
        return self(f"{side}.{name}", count=int(size // unit))

    def length(self, span: timedelta | float | None) -> str:
        """A duration with its two largest units; a dash where there is none."""
        if span is None:
            return "–"
        seconds = span.total_seconds() if isinstance(span, timedelta) else span
        if seconds < 10:
            return self("length.tenths", seconds=f"{max(seconds, 0):.1f}")
        if seconds < 60:
            return self("length.seconds", seconds=round(seconds))
        if seconds < 3600:
            return self("length.minutes", minutes=int(seconds // 60), seconds=int(seconds % 60))
        return self("length.hours", hours=int(seconds // 3600), minutes=int(seconds % 3600 // 60))

    def scale(self) -> str:
        """The patterns of relative times as JSON, for the script that keeps them true."""
        names = ["ago.now", *(f"{side}.{unit}" for side in ("ago", "in") for _, _, unit in _SCALE)]
        return json.dumps({name: catalogue(self.language)[name] for name in names}, ensure_ascii=False)
