"""Reads what a local run is given: variables and secrets from files of NAME=VALUE lines.

The form is that of a shell's assignments, without its expansions: see `assignments`. Files of the working tree's own folder are
taken up by themselves; which they are stands here.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aegis.core.errors import UserError, Where
from aegis.core.plan import Variable
from aegis.core.values import dataclass

ENVIRONMENT: Final = "env"
SECRETS: Final = "secrets"
REFERENCE: Final = "file:"
"""How a secret's reference begins that only the running job resolves."""
_START: Final = re.compile(r"[ \t]*(?:(?P<kind>export|file)[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)=")
_COMMENT: Final = re.compile(r"[ \t]+#.*$")
_AFTER: Final = re.compile(r"[ \t]*(?:#.*)?$")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$", "\n": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One line's name and value. `file`: the job gets a path to a file that holds the value."""

    name: str
    value: str
    file: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Everything that files give a run: variables, references in the place of secrets, and the secrets' values by name."""

    variables: tuple[Variable, ...]
    secrets: dict[str, str]
    files: tuple[str, ...] = ()
    """The files that were read though nobody named them."""


def read(folder: Path, env_files: Sequence[str], secrets_files: Sequence[str]) -> Given:
    """The variables of the working tree's own files in `folder` and of the named ones; of one name the last counts.

    `UserError` for a file that is not there, cannot be read as such, or, if it holds secrets, can be read by everybody.
    """
    own_env = [str(folder / ENVIRONMENT)] if (folder / ENVIRONMENT).is_file() else []
    own_secrets = [str(folder / SECRETS)] if (folder / SECRETS).is_file() else []
    found: dict[str, Variable] = {}
    for path in (*own_env, *env_files):
        for one in _of(path):
            found[one.name] = Variable(key=one.name, value=one.value, raw=True, file=one.file)
    secrets: dict[str, str] = {}
    for path in (*own_secrets, *secrets_files):
        for one in _of(path):
            reference = f"{REFERENCE}{one.name}"
            found[one.name] = Variable(key=one.name, value="", secret=reference, masked=True, raw=True, file=one.file)
            secrets[one.name] = one.value
        _private(path)
    return Given(variables=tuple(found.values()), secrets=secrets, files=(*own_env, *own_secrets))


def _private(path: str) -> None:
    if Path(path).stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise UserError("secrets-readable", f"{path} can be read by everybody", hint=f"chmod 600 {path}")


def _of(path: str) -> tuple[Assignment, ...]:
    file = Path(path)
    if not file.is_file():
        raise UserError("no-file", f"there is no file {path}", hint="name a file of NAME=VALUE lines")
    return tuple(
        _content(one, file) if one.file else one for one in assignments(file.read_text("utf-8", "replace"), path)
    )


def _content(one: Assignment, named_in: Path) -> Assignment:
    """The value of `file NAME=PATH`: what the file holds, whose path is relative to the one that names it."""
    source = named_in.parent / Path(one.value).expanduser()
    try:
        value = source.read_text("utf-8", "surrogateescape")
    except OSError as error:
        message = f"{named_in}: the file of {one.name} cannot be read: {source}: {error.strerror}"
        raise UserError("no-file", message, hint=f"mend the path behind `file {one.name}=`") from error
    return Assignment(name=one.name, value=value, file=True)


def assignments(text: str, path: str = "") -> tuple[Assignment, ...]:
    r"""The assignments of a text; pure.

    `NAME=value`, `export NAME=value`: the value goes to the end of the line or to ` #`, without spaces around. `'…'` is taken
    as it is, `"…"` with the escapes `\n \t \r \" \\ \$`; both may hold line ends. `file NAME=PATH` names a file. Nothing is
    expanded. Empty lines and those that begin with `#` are passed over. `UserError` with the place for anything else.
    """
    found: list[Assignment] = []
    lines = text.replace("\r\n", "\n").split("\n")
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        start = _START.match(line)
        if start is None:
            raise _wrong(path, number, "this is not NAME=VALUE", "write NAME=VALUE, or `#` before a comment")
        value = line[start.end() :]
        if value[:1] in {"'", '"'}:
            value, number = _quoted(lines, number, value, path)
        else:
            value = _COMMENT.sub("", value).strip() if not value.startswith("#") else value.strip()
        found.append(Assignment(name=start["name"], value=value, file=start["kind"] == "file"))
    return tuple(found)


def _quoted(lines: Sequence[str], number: int, value: str, path: str) -> tuple[str, int]:
    """A quoted value, which may go on over lines, and the number of the line after it."""
    quote, begun = value[0], number
    rest = value[1:]
    while True:
        end = _closing(rest, quote)
        if end is not None:
            break
        if number >= len(lines):
            raise _wrong(path, begun, f"the value that {quote} begins does not end", f"close it with {quote}")
        rest, number = f"{rest}\n{lines[number]}", number + 1
    if _AFTER.fullmatch(rest[end + 1 :]) is None:
        raise _wrong(path, number, f"something follows the closing {quote}", "quote the whole value")
    inner = rest[:end]
    return (_unescaped(inner) if quote == '"' else inner), number


def _closing(text: str, quote: str) -> int | None:
    position = 0
    while position < len(text):
        if text[position] == "\\" and quote == '"':
            position += 2
            continue
        if text[position] == quote:
            return position
        position += 1
    return None


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), text, flags=re.DOTALL)


def _wrong(path: str, line: int, message: str, hint: str) -> UserError:
    where = Where(file=path, line=line, column=1) if path else None
    return UserError("variables-file", message, hint=hint, where=where)
