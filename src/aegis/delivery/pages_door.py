"""What of a project's pages an address stands for, and who may see it. Scripts of pages never act for anybody: see `visit`.

A person's session opens a visit: a signed address that shows this project's pages for some hours and is good for nothing else. Pages
are read under it without cookies, so whatever their scripts do, they do as nobody.
"""

from __future__ import annotations

import posixpath
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from aegis.access.tokens import mint_pages_token, read_pages_token
from aegis.core.errors import Denied, NotFound
from aegis.core.pages import PagesDeployment
from aegis.delivery.context import Context
from aegis.delivery.views import Actor
from aegis.execution import stored

VISIT: Final = timedelta(hours=12)
_INDEX: Final = "index.html"
_LOST: Final = "404.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A file to be sent, or (`moved`) the path within the project's pages where it is."""

    name: str = ""
    size: int = 0
    pieces: Iterable[bytes] = ()
    etag: str = ""
    found: bool = True
    moved: str | None = None


class PagesDoor:
    """See the module. Safe from any thread."""

    def __init__(self, context: Context, secret: bytes) -> None:
        self._context = context
        self._secret = secret
        self._names: dict[str, frozenset[str]] = {}

    def split(self, path: str) -> tuple[str, str]:
        """The project that an address begins with, and the rest; `NotFound`."""
        parts = path.split("/")
        for end in range(len(parts), 1, -1):
            project = "/".join(parts[:end])
            if project in self._context.options.projects:
                return project, "/".join(parts[end:])
        raise NotFound("no-such-pages", "no project of this server has pages there")

    def authorise(self, actor: Actor, project: str) -> None:
        """Whoever may read a project may see its pages; `Denied`."""
        self._context.authorise(actor, "read", project=project)

    def visit(self, actor: Actor, project: str) -> str:
        """A token that shows this project's pages, and nothing else."""
        self.authorise(actor, project)
        return mint_pages_token(self._secret, project, actor.id, self._context.clock.now() + VISIT)

    def visited(self, token: str, project: str) -> None:
        """Let a visit in; `Denied` where the token is not of this project, is over, or its person is known no more."""
        claim = read_pages_token(self._secret, token, self._context.clock.now())
        known = claim is not None and self._context.adopted.directory.by_id(claim.identity) is not None
        if claim is None or claim.project != project or not known:
            raise Denied("pages-visit", "this visit is over", hint="open the pages at their own address again")

    def page(self, project: str, rest: str) -> Page:
        """The file at an address within a project's pages; `NotFound` where there are none."""
        served = self._context.pages.of(project, self._context.clock.now())
        first, slash, inner = rest.partition("/")
        if first and first in served:
            if not slash:
                return Page(moved=f"{first}/")
            return self._file(served[first], inner)
        if "" not in served:
            raise NotFound("no-such-pages", f"{project} has no pages", hint="a job with `pages: true` makes them")
        return self._file(served[""], rest)

    def _file(self, one: PagesDeployment, path: str) -> Page:
        if ".." in path.split("/") or "\0" in path:
            raise NotFound("no-such-page", "there is no such page")
        names = self._files(one)
        base = f"{one.root}/" if one.root else ""
        wanted = posixpath.normpath(path) if path else ""
        wanted = "" if wanted == "." else wanted
        inner = f"{wanted}/" if wanted else ""
        if f"{base}{inner}{_INDEX}" in names and (not wanted or path.endswith("/")):
            return self._sent(one, f"{base}{inner}{_INDEX}")
        if wanted and f"{base}{wanted}" in names and not path.endswith("/"):
            return self._sent(one, f"{base}{wanted}")
        if f"{base}{wanted}/{_INDEX}" in names:
            return Page(moved=f"{one.prefix}/{wanted}/" if one.prefix else f"{wanted}/")
        if wanted and f"{base}{wanted}.html" in names:
            return self._sent(one, f"{base}{wanted}.html")
        if f"{base}{_LOST}" in names:
            return self._sent(one, f"{base}{_LOST}", found=False)
        raise NotFound("no-such-page", "there is no such page")

    def _files(self, one: PagesDeployment) -> frozenset[str]:
        found = self._names.get(one.archive)
        if found is None:
            found = frozenset(stored.names(self._context.blobs, one.archive))
            if len(self._names) > 64:
                self._names.clear()
            self._names[one.archive] = found
        return found

    def _sent(self, one: PagesDeployment, name: str, *, found: bool = True) -> Page:
        size, pieces = stored.file_of(self._context.blobs, one.archive, name)
        # An archive never changes, so its digest and the name say which bytes these are.
        return Page(
            name=name,
            size=size,
            pieces=pieces,
            etag=f'"{one.archive[7:23]}-{zlib.crc32(name.encode()):x}"',
            found=found,
        )
