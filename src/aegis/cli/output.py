"""How commands speak: one JSON document for programs, short lines for people, one form for errors.

Results go to standard output, progress and errors to standard error. State is a symbol and a word; colour is
added only on a terminal without `NO_COLOR`.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final, NoReturn, TextIO

from aegis.core.errors import AegisError

SYMBOLS: Final = {
    "success": "✓", "pass": "✓", "passed": "✓", "healthy": "✓", "promoted": "✓",
    "failed": "✗", "degraded": "✗", "error": "✗",
    "running": "●", "progressing": "●", "pending": "◌", "created": "◌", "waiting": "◌", "proposed": "◌",
    "manual": "‖", "held": "‖", "block": "⊘", "blocked": "⊘", "rejected": "⊘", "warn": "!", "skipped": "–",
    "canceled": "–", "canceling": "–", "scheduled": "◌", "preparing": "◌", "waiting_for_resource": "◌",
    "reused": "✓", "rolled_back": "↩", "reverted": "↩",
}  # fmt: skip
_COLOURS: Final = {"✓": "32", "✗": "31", "●": "36", "◌": "33", "‖": "33", "⊘": "31", "↩": "35", "!": "33", "–": "2"}


def coloured(stream: TextIO) -> bool:
    """Whether colour helps on this stream."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def redraws(stream: TextIO) -> bool:
    """Whether lines can be drawn again on this stream."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def state(word: str, stream: TextIO | None = None) -> str:
    """A state as symbol and word, coloured where that helps."""
    symbol = SYMBOLS.get(word, "·")
    text = f"{symbol} {word}"
    return tinted(symbol, text) if coloured(stream or sys.stdout) else text


def tinted(symbol: str, text: str) -> str:
    """Text in the colour of a state's symbol, for where it is known that colour helps."""
    return f"\x1b[{_COLOURS[symbol]}m{text}\x1b[0m" if symbol in _COLOURS else text


def marked(mark: str, text: str) -> str:
    """A line of a difference, coloured by its mark where that helps."""
    colour = {"+": "32", "-": "31", "~": "33"}.get(mark)
    return f"\x1b[{colour}m{text}\x1b[0m" if colour and coloured(sys.stdout) else text


def document(schema: str, value: Any) -> None:
    """Print `value` (a dataclass or a mapping) as the one JSON document of a `--json` call."""
    from aegis.core import codec

    plain = value if isinstance(value, dict) else codec.plain(value)
    body = {"schema": schema, **plain} if isinstance(plain, dict) else {"schema": schema, "items": plain}
    data = codec.written(body) + b"\n"
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:
        sys.stdout.write(data.decode())
    else:
        sys.stdout.flush()
        binary.write(data)
    sys.stdout.flush()


def say(text: str = "") -> None:
    """A line of the result, for people."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """A line of progress on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def error_body(error: AegisError) -> dict[str, Any]:
    """An error as it stands in JSON."""
    where = {"file": error.where.file, "line": error.where.line, "column": error.where.column} if error.where else None
    return {"code": error.code, "message": error.message, "hint": error.hint, "where": where}


def fail(error: AegisError, *, as_json: bool) -> NoReturn:
    """Show an error in the form that was asked for, and leave with its exit code."""
    if as_json:
        document("aegis.error/1", {"error": error_body(error)})
    else:
        place = f"{error.where}: " if error.where else ""
        note(f"{place}error[{error.code}]: {error.message}")
        if error.hint:
            note(f"  hint: {error.hint}")
    sys.exit(error.exit_code)
