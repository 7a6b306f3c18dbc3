"""Commands about the CI variables that are kept on the server. `owner` is a project (`shop/orders`) or a group (`shop`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from aegis.delivery.commands.verbs import verb


@verb("create-variable")
@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVariable:
    """Keep a CI variable for a project or group; its value never enters the ledger."""

    CONCEALED: ClassVar[tuple[str, ...]] = ("value",)

    owner: str
    key: str
    value: str
    protected: bool = False
    masked: bool = False
    hidden: bool = False
    raw: bool = False
    file: bool = False
    environment_scope: str = "*"
    description: str = ""


@verb("change-variable")
@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeVariable:
    """Change a CI variable of a project or group; what is not named stays."""

    CONCEALED: ClassVar[tuple[str, ...]] = ("value",)

    owner: str
    key: str
    scope: str | None = None
    """The environment scope of the one that is meant, where several have the key."""
    value: str | None = None
    protected: bool | None = None
    masked: bool | None = None
    raw: bool | None = None
    file: bool | None = None
    environment_scope: str | None = None
    description: str | None = None


@verb("remove-variable")
@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveVariable:
    """Remove a CI variable of a project or group."""

    owner: str
    key: str
    scope: str | None = None
