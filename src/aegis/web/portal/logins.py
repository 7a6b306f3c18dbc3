"""Logging in and out: a credential becomes a session's cookie, and nothing else of it is kept here.

A session's value is HttpOnly and SameSite=Strict; it is Secure where the page came over TLS.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from aegis.core.errors import AegisError, Denied
from aegis.web.portal.doors import COOKIE, HEADERS, Portal, foreign, from_here, safe_path, small_form
from aegis.web.portal.rendering import Page


def login_page(portal: Portal) -> Callable[[Request], Response]:
    """The form; with `?code=` a one-time link, which opens the session at once."""

    def answer(request: Request) -> Response:
        target = safe_path(request.query_params.get("next", "/"))
        code = request.query_params.get("code", "")
        return _enter(portal, request, code, target) if code else _form(portal, request, target)

    return answer


def login(portal: Portal) -> Callable[[Request], object]:
    """The posted form."""

    async def answer(request: Request) -> Response:
        fields = await small_form(request)
        target = safe_path(fields.get("next", "/"))

        def act() -> Response:
            if not from_here(request):
                return portal.refused(request, portal.words(request, None), None, foreign())
            return _enter(portal, request, fields.get("credential", "").strip(), target)

        return await run_in_threadpool(act)

    return answer


def logout(portal: Portal) -> Callable[[Request], object]:
    """Close the session and forget its cookie."""

    async def answer(request: Request) -> Response:
        def act() -> Response:
            if not from_here(request):
                return portal.refused(request, portal.words(request, None), None, foreign())
            portal.sessions.close(request.cookies.get(COOKIE, ""))
            response = RedirectResponse("/login", 303, headers=dict(HEADERS))
            response.delete_cookie(COOKIE, httponly=True, samesite="strict")
            return response

        return await run_in_threadpool(act)

    return answer


def _enter(portal: Portal, request: Request, credential: str, target: str) -> Response:
    try:
        cookie = portal.sessions.open(credential)
    except Denied:
        return _form(portal, request, target, problem=True)
    except AegisError as error:
        return portal.refused(request, portal.words(request, None), None, error)
    response = RedirectResponse(target, 303, headers=dict(HEADERS))
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", secure=secure)
    return response


def _form(portal: Portal, request: Request, target: str, *, problem: bool = False) -> Response:
    words = portal.words(request, None)
    values = {"next": target, "problem": problem}
    page = Page("login.html", words("login.title"), values, watch=None, status=403 if problem else 200)
    return portal.page(request, words, None, page)
