"""The table of GitLab's REST: a row per call, its address matched segment by segment, its answer in pages.

An address is matched before it is decoded, as GitLab does: a project's path or a branch is one segment, with its slashes
encoded. `:name` stands for one segment, `*name` for the rest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlencode

from starlette.responses import Response, StreamingResponse

from aegis.core.errors import UserError
from aegis.delivery.gitlab_door import GitlabDoor
from aegis.delivery.options import ProjectOptions
from aegis.delivery.views import Actor
from aegis.web.gitlab_api.answers import said

PER_PAGE: Final = 20
MOST_PER_PAGE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: who asks, the parts of its address, its parameters (those of a body win over those of the query)."""

    door: GitlabDoor
    actor: Actor
    path: Mapping[str, str]
    given: Mapping[str, Any]
    url: str
    """Address without its query, for links to other pages."""
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def project(self) -> ProjectOptions:
        """The project that the address names; `NotFound`."""
        return self.door.project(self.actor, self.path["id"])

    def text(self, name: str, default: str = "") -> str:
        """A parameter as text."""
        value = self.given.get(name)
        return default if value is None else str(value)

    def need(self, name: str) -> str:
        """A parameter that must be there; `UserError` in GitLab's words."""
        value = self.text(name)
        if not value:
            raise UserError("parameter", f"{name} is missing")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A parameter as yes or no."""
        value = self.given.get(name)
        return default if value is None else str(value).lower() in ("1", "true", "yes", "on")

    def whole(self, name: str, default: int) -> int:
        """A parameter as a number of at least 1; `UserError` when it is none."""
        value = self.text(name)
        if not value:
            return default
        if not value.isascii() or not value.isdigit() or int(value) < 1:
            raise UserError("parameter", f"{name} does not have a valid value")
        return int(value)

    def run(self, verb: str, **fields: Any) -> Mapping[str, Any]:
        """Carry out a verb of Aegis; its values."""
        return self.door.commands.execute(verb, fields, self.actor).values


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A list to be cut into pages. `shown` turns one row into GitLab's form; only the page's rows are turned."""

    rows: Sequence[Any]
    shown: Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bytes:
    """A file or log, streamed. `size` None where it is not known before its end."""

    chunks: Iterator[bytes]
    size: int | None = None
    media: str = "application/octet-stream"
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An answer with a status other than 200; `value` None has no body."""

    value: Any = None
    status: int = 201


Handler = Callable[[Call], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A supported call, as the documentation lists it; `python` is how python-gitlab's users make it."""

    method: str
    path: str
    what: str
    python: str
    handler: Handler

    @property
    def key(self) -> str:
        """The row's name."""
        return f"{self.method} {self.path}"

    def match(self, segments: Sequence[str]) -> Mapping[str, str] | None:
        """The parts of an address that fits, or None."""
        found: dict[str, str] = {}
        wanted = self.path.split("/")
        for at, part in enumerate(wanted):
            if part.startswith("*"):
                if at >= len(segments):
                    return None
                found[part[1:]] = unquote("/".join(segments[at:]))
                return found
            if at >= len(segments):
                return None
            if part.startswith(":"):
                found[part[1:]] = unquote(segments[at])
            elif part != segments[at]:
                return None
        return found if len(segments) == len(wanted) else None


TABLE: Final[list[Row]] = []


def row(method: str, path: str, what: str, python: str) -> Callable[[Handler], Handler]:
    """Register the decorated handler as a row of the table."""

    def register(handler: Handler) -> Handler:
        TABLE.append(Row(method=method, path=path, what=what, python=python, handler=handler))
        return handler

    return register


def find(method: str, segments: Sequence[str]) -> tuple[Row, Mapping[str, str]] | set[str]:
    """The row of an address and its parts; else the methods that the address has."""
    methods = set()
    for one in TABLE:
        parts = one.match(segments)
        if parts is not None:
            if one.method == method:
                return one, parts
            methods.add(one.method)
    return methods


def answered(call: Call, value: Any) -> Response:
    """A handler's answer as a response."""
    if isinstance(value, Rows):
        return _page(call, value)
    if isinstance(value, Made):
        return Response(status_code=204) if value.value is None else said(value.value, value.status)
    if isinstance(value, Bytes):
        headers = {
            "Content-Security-Policy": "sandbox",
            "Content-Disposition": f"attachment; filename={json.dumps(value.name)}",
        }
        if value.size is not None:
            headers["Content-Length"] = str(value.size)
        return StreamingResponse(value.chunks, media_type=value.media, headers=headers)
    return said(value)


def _page(call: Call, found: Rows) -> Response:
    """One page: by number, with GitLab's `X-` headers, or by key, with a link to the next alone."""
    size = min(call.whole("per_page", PER_PAGE), MOST_PER_PAGE)
    total = len(found.rows)
    keyset = call.text("pagination") == "keyset"
    if keyset:
        start = _cursor(call.text("cursor"))
        page = start // size + 1
    else:
        page = call.whole("page", 1)
        start = (page - 1) * size
    rows = [found.shown(one) for one in found.rows[start : start + size]]
    more = start + size < total
    headers = {"X-Per-Page": str(size)}
    links = []
    if keyset:
        if more:
            links.append(_link(call, "next", {"cursor": f"c{start + size}"}))
    else:
        pages = max(1, math.ceil(total / size))
        headers |= {
            "X-Total": str(total), "X-Total-Pages": str(pages), "X-Page": str(page),
            "X-Next-Page": str(page + 1) if more else "", "X-Prev-Page": str(page - 1) if page > 1 else "",
        }  # fmt: skip
        beside = {"prev": page - 1 if page > 1 else 0, "next": page + 1 if more else 0, "first": 1, "last": pages}
        links = [_link(call, word, {"page": str(number)}) for word, number in beside.items() if number]
    if links:
        headers["Link"] = ", ".join(links)
    return said(rows, headers=headers)


def _cursor(text: str) -> int:
    if not text:
        return 0
    if not text.startswith("c") or not text[1:].isdigit():
        raise UserError("parameter", "cursor does not have a valid value")
    return int(text[1:])


def _link(call: Call, word: str, more: Mapping[str, str]) -> str:
    return f'<{call.url}?{urlencode({**call.query, **more})}>; rel="{word}"'
