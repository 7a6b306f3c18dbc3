"""How a request becomes a page: who asks, in which language, and what an error looks like.

Decides nothing about what may be seen or done (queries and commands do); it refuses only requests that did not come
from its own pages. Handlers are plain functions and run in threads, because what they read blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from aegis.core.errors import AegisError, Denied, NotFound
from aegis.delivery.views import Actor, Commands, Queries, Sessions
from aegis.web.answers import SESSION_COOKIE
from aegis.web.portal import language
from aegis.web.portal.rendering import Page, render

COOKIE: Final = SESSION_COOKIE
LANGUAGE_COOKIE: Final = "aegis_language"
_YEAR: Final = 365 * 24 * 3600
_STATUS: Final = {
    "user": 400, "check": 422, "denied": 403, "not-found": 404, "conflict": 409, "external": 502, "waiting": 409,
}  # fmt: skip
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as handlers see it. `fields` is the form of a POST."""

    request: Request
    actor: Actor
    words: language.Words
    queries: Queries
    commands: Commands
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Mapping[str, str]:
        """The parameters of the path."""
        return self.request.path_params

    @property
    def min_seq(self) -> int:
        """What the page must reflect, from the address; a page right after an action or an event asks for it."""
        return self.count("min_seq")

    def count(self, name: str) -> int:
        """A whole number of the address; 0 where it is absent or none."""
        given = self.request.query_params.get(name, "")
        return int(given) if given.isascii() and given.isdigit() and len(given) < 16 else 0


Handler = Callable[[Ask], Page | Response]


@dataclass(frozen=True, slots=True)
class Portal:
    """The portal's dependencies, and the doors that its handlers stand behind."""

    queries: Queries
    commands: Commands
    sessions: Sessions
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def door(self, handler: Handler) -> Callable[[Request], Response]:
        """A page for people who are logged in; others are sent to the login and come back."""

        def answer(request: Request) -> Response:
            actor = self.actor(request)
            words = self.words(request, actor)
            if actor is None:
                return self._to_login(request, words)
            return self._guarded(request, words, actor, handler, {})

        return answer

    def form(self, handler: Handler) -> Callable[[Request], object]:
        """A form of ours, posted by somebody logged in from our own pages."""

        async def answer(request: Request) -> Response:
            fields = await small_form(request)

            def act() -> Response:
                actor = self.actor(request)
                words = self.words(request, actor)
                if not from_here(request):
                    return self.refused(request, words, actor, foreign())
                if actor is None:
                    return self._to_login(request, words)
                return self._guarded(request, words, actor, handler, fields)

            return await run_in_threadpool(act)

        return answer

    def actor(self, request: Request) -> Actor | None:
        """Who the session's cookie stands for."""
        cookie = request.cookies.get(COOKIE, "")
        return self.sessions.resolve(cookie) if cookie else None

    def words(self, request: Request, actor: Actor | None) -> language.Words:
        """The language of this request's answer."""
        chosen = language.choose(
            asked=request.query_params.get("lang", ""),
            cookie=request.cookies.get(LANGUAGE_COOKIE, ""),
            preferred=actor.language if actor else "",
            accept=request.headers.get("accept-language", ""),
        )
        return language.Words(chosen, self.clock())

    def _guarded(
        self, request: Request, words: language.Words, actor: Actor, handler: Handler, fields: Mapping[str, str]
    ) -> Response:
        ask = Ask(request, actor, words, self.queries, self.commands, fields)
        try:
            answer = handler(ask)
        except AegisError as error:
            return self.refused(request, words, actor, error)
        return answer if isinstance(answer, Response) else self.page(request, words, actor, answer)

    def page(self, request: Request, words: language.Words, actor: Actor | None, page: Page) -> Response:
        """The page as HTML with its headers; a language that the address asks for is remembered."""
        html = render(page, words=words, actor=actor, request=request)
        response = HTMLResponse(html, page.status, headers=dict(HEADERS))
        response.headers["Content-Language"] = words.language
        if request.query_params.get("lang", "") in language.LANGUAGES:
            response.set_cookie(LANGUAGE_COOKIE, words.language, max_age=_YEAR, samesite="strict", httponly=True)
        return response

    def refused(self, request: Request, words: language.Words, actor: Actor | None, error: AegisError) -> Response:
        """The page of an error: what was seen, what helps, and a way back."""
        family = error.family
        kind = "forbidden" if isinstance(error, Denied) else "missing" if isinstance(error, NotFound) else "error"
        values = {"error": error, "kind": kind, "back": safe_path(request.headers.get("referer", ""), request)}
        page = Page("refused.html", words(f"refused.{kind}"), values, watch=None, status=_STATUS.get(family, 500))
        return self.page(request, words, actor, page)

    def _to_login(self, request: Request, words: language.Words) -> Response:
        if wants_fragment(request):
            return Response(status_code=401, headers=dict(HEADERS))
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site") and COOKIE not in request.cookies:
            # A strict cookie is not sent on the way in from a mail or a chat: one hop from our own page sends it.
            return self.page(request, words, None, Page("hop.html", words("hop.title"), watch=None))
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(target, safe='')}", 303, headers=dict(HEADERS))


def wants_fragment(request: Request) -> bool:
    """Whether our own script asks, which cannot follow a way through the login."""
    return request.headers.get("x-requested-with") == "portal"


def from_here(request: Request) -> bool:
    """Whether a browser says that the request comes from a page of this very origin. No word of it: no."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = request.headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc == request.headers.get("host")
    return site == "same-origin"


def foreign() -> Denied:
    """What a request from elsewhere is told."""
    return Denied(
        "foreign-form",
        "this form was not sent from a page of this server",
        hint="open the page here and press the button there; API clients use /api/aegis/v1/ with a token",
    )


async def small_form(request: Request) -> dict[str, str]:
    """The text fields of a form; files and more than a hundred fields are refused by the parser."""
    form: FormData = await request.form(max_files=0, max_fields=100, max_part_size=64 * 1024)
    return {name: value for name, value in form.items() if isinstance(value, str)}


def safe_path(target: str, request: Request | None = None) -> str:
    """A path of this server that a person may be sent to; `/` where `target` is none (an open redirect is none)."""
    parts = urlsplit(target)
    own = request is not None and parts.netloc == request.headers.get("host")
    if (parts.scheme or parts.netloc) and not own:
        return "/"
    path = parts.path
    if not path.startswith("/") or path.startswith("//") or "\\" in target or any(ord(one) < 32 for one in target):
        return "/"
    return path + (f"?{parts.query}" if parts.query else "")
