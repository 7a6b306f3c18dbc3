"""References to secrets: `secret://path#field`, the only form in which configuration and plans name one.

Parsing and finding them; the value comes from a `SecretStore` when a job starts, and never enters a plan.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aegis.core.errors import UserError

SCHEME: Final = "secret://"
_PATH: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_FIELD: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_LENGTH: Final = 500


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """Where a secret lies: a path such as `shop/orders` and a field of it."""

    path: str
    field: str = "value"

    def __post_init__(self) -> None:
        if not _PATH.fullmatch(self.path) or ".." in self.path or len(self.path) > _LENGTH:
            raise UserError(
                "secret-reference",
                f"{self.path!r} is no path of a secret",
                hint=f"write {SCHEME}shop/orders#password: letters, digits, '.', '_', '-' and '/'",
            )
        if not _FIELD.fullmatch(self.field) or len(self.field) > _LENGTH:
            raise UserError(
                "secret-reference",
                f"{self.field!r} is no field of a secret",
                hint=f"write {SCHEME}shop/orders#password: letters, digits, '.', '_' and '-'",
            )

    def __str__(self) -> str:
        return f"{SCHEME}{self.path}#{self.field}"


def is_reference(text: str) -> bool:
    """Whether `text` is meant as a reference, well-formed or not."""
    return text.startswith(SCHEME)


def parse(text: str) -> Reference:
    """The reference that `text` is; without `#field` the field is `value`. `UserError` where it is none."""
    if not is_reference(text):
        raise UserError("secret-reference", f"{text!r} is no reference to a secret", hint=f"it begins with {SCHEME}")
    path, separator, field = text.removeprefix(SCHEME).partition("#")
    return Reference(path, field if separator else "value")


def references(values: Mapping[str, str]) -> dict[str, Reference]:
    """Which of these variables are references."""
    return {name: parse(text) for name, text in values.items() if is_reference(text)}


def resolve(values: Mapping[str, str], get: Callable[[Reference], str]) -> tuple[dict[str, str], frozenset[str]]:
    """The variables with every reference replaced, and the secrets among them, which must be masked.

    `get` is a store's; what it raises goes to the caller: a job with a missing secret does not start.
    """
    secrets = {name: get(reference) for name, reference in references(values).items()}
    return {**values, **secrets}, frozenset(secrets.values())
