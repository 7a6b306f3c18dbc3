"""What every reader needs: bounded parsing of XML and JSON, and careful access to what came out.

Nothing here knows a report format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from aegis.core.errors import Where

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAXIMUM_SIZE: Final = 64 * 1024 * 1024
"""Bytes of one report. A job that leaves more is told so; nobody reads a report of that size."""

_TEXT_LIMIT: Final = 2000
_LINE_LIMIT: Final = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """What is wrong with a report. `code` is stable, `message` says what was seen and what was expected."""

    code: str
    message: str
    where: Where | None = None


def xml(data: bytes) -> tuple[Element | None, tuple[Diagnostic, ...]]:
    """The root of an XML document; entities and external references are refused, a DOCTYPE alone is not."""
    if early := _bounds(data):
        return None, (early,)
    from defusedxml import ElementTree as Safe  # noqa: PLC0415 - only a start that reads a report pays for it

    try:
        return Safe.fromstring(data), ()
    except Safe.ParseError as error:
        line, column = getattr(error, "position", (1, 0))
        return None, (
            Diagnostic(code="report-xml", message=f"not well-formed XML: {error}", where=Where("", line, column + 1)),
        )
    except (ValueError, LookupError, RecursionError, OverflowError) as error:
        return None, (Diagnostic(code="report-xml", message=f"not readable as XML: {error or type(error).__name__}"),)


def json(data: bytes) -> tuple[Any, tuple[Diagnostic, ...]]:
    """The value of a JSON document; None with a diagnostic where there is none."""
    if early := _bounds(data):
        return None, (early,)
    try:
        return msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf")), ()
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return None, (Diagnostic(code="report-json", message=f"not JSON: {error or type(error).__name__}"),)


def _bounds(data: bytes) -> Diagnostic | None:
    if not data.strip():
        return Diagnostic(code="report-empty", message="the report is empty")
    if len(data) > MAXIMUM_SIZE:
        return Diagnostic(
            code="report-too-large",
            message=f"the report has {len(data)} bytes; at most {MAXIMUM_SIZE} are read",
        )
    return None


def at(value: Any, *path: str | int) -> Any:
    """What lies at `path` in nested mappings and lists; None where the way ends."""
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def text(value: Any, limit: int = _TEXT_LIMIT) -> str:
    """`value` as bounded text; empty where it is no string or number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return clean(str(value))[:limit]


def clean(value: str) -> str:
    """`value` without control characters, which could steer a terminal; line ends and tabs stay."""
    return "".join(sign for sign in value if sign in "\n\t" or sign.isprintable())


def items(value: Any) -> list[Any]:
    """`value` where it is a list, else nothing."""
    return value if isinstance(value, list) else []


def number(value: Any) -> int | None:
    """`value` as a whole number that is not negative, from JSON or from an XML attribute; else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        stripped = value.strip()
        if not (stripped.isascii() and stripped.isdigit()) or len(stripped) > 18:
            return None
        return int(stripped)
    if isinstance(value, int) and value >= 0:
        return value
    return None


def place(file: str, line: Any = None, column: Any = None) -> Where | None:
    """A place in the repository; None where no file is named."""
    if not file:
        return None
    return Where(
        file.removeprefix("./"), max(1, min(number(line) or 1, _LINE_LIMIT)), max(1, min(number(column) or 1, 100_000))
    )
