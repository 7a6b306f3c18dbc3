"""Templates to HTML: the environment, what every page has, and how values are written.

Autoescape is on and undefined names are errors. Times are `<time>` elements that hold UTC; the script turns them
into the viewer's zone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from importlib.resources import files
from typing import Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request

from aegis.delivery.views import Actor
from aegis.web.portal import pictures, shown
from aegis.web.portal.language import LANGUAGES, Words
from aegis.web.portal.notes import inline, note

STATIC: Final = {"portal.css": "text/css", "portal.js": "text/javascript", "icon.svg": "image/svg+xml"}


@cache
def static(name: str) -> bytes:
    """A file that browsers fetch."""
    return (files("aegis.web.portal") / "static" / name).read_bytes()


@cache
def static_url(name: str) -> str:
    """Its address, with its content's hash so that it may be kept for ever."""
    return f"/static/{hashlib.sha256(static(name)).hexdigest()[:12]}/{name}"


@cache
def environment() -> Environment:
    """The templates, compiled once."""
    made = Environment(
        loader=PackageLoader("aegis.web.portal"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals.update(
        shown=shown.shown,
        job_shown=shown.job_shown,
        run_shown=shown.run_shown,
        cell_shown=shown.cell_shown,
        cell_of=shown.cell_of,
        promotion_shown=shown.promotion_shown,
        split_picture=pictures.split,
        static_url=static_url,
        languages=LANGUAGES,
    )
    made.filters.update(
        short=short,
        commit=short_commit,
        ref=short_ref,
        inline=inline,
        diff=diff_lines,
        note=note,
        segment=partial(quote, safe="@"),
    )
    return made


@dataclass(frozen=True, slots=True)
class Page:
    """What a handler answers: a template with its values.

    `address` is where the page can be had again, when the request was for something else (a form that came back).
    `watch` are the subjects whose records make the page ask again (empty: every record; None: none). `command` is
    the same page as a command line.
    """

    template: str
    title: str
    values: Mapping[str, object] = field(default_factory=dict)
    command: str = ""
    watch: tuple[str, ...] | None = ()
    seq: int = 0
    here: str = ""
    status: int = 200
    address: str = ""


def render(page: Page, *, words: Words, actor: Actor | None, request: Request) -> str:
    """The whole page as HTML."""
    query = request.query_params
    values: Mapping[str, object] = {
        "t": words,
        "words": words,
        "lang": words.language,
        "now": words.now,
        "when": partial(when, words),
        "length": words.length,
        "actor": actor,
        "page": page,
        "path": page.address or request.url.path,
        "other_languages": [(one, in_language(request, page.address, one)) for one in LANGUAGES],
        "done": query.get("done", ""),
        **page.values,
    }
    return environment().get_template(page.template).render(values)


def in_language(request: Request, address: str, language: str) -> str:
    """The address of this page in another language, without what counts once (a login's code, an action's outcome)."""
    once = ("code", "done", "min_seq", "lang")
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in once]
    return f"{address or request.url.path}?{urlencode([*kept, ('lang', language)])}"


def when(words: Words, at: datetime | None, *, focus: bool = False) -> Markup:
    """A time relative to now; the absolute one on hover and, where `focus`, with the keyboard."""
    if at is None:
        return Markup("–")
    utc = at.astimezone(UTC)
    absolute = utc.strftime("%Y-%m-%d %H:%M:%S UTC")
    stop = Markup(' tabindex="0"') if focus else Markup("")
    return Markup('<time datetime="{}" title="{}" data-tip="{}"{}>{}</time>').format(
        utc.isoformat(timespec="seconds").replace("+00:00", "Z"), absolute, absolute, stop, words.ago(at)
    )


def short(digest: str) -> str:
    """A digest short enough to compare by eye: `sha256:0123456789ab`."""
    kind, _, rest = digest.partition(":")
    return f"{kind}:{rest[:12]}" if rest else digest[:12]


def short_commit(commit: str) -> str:
    """The first eight characters of a commit id."""
    return commit[:8]


def short_ref(ref: str) -> str:
    """A branch or tag without the name space that Git keeps it in."""
    return ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


def diff_lines(text: str) -> Markup:
    """A unified difference with each line's kind as a class; the signs stay, so colour says nothing alone."""
    kinds = (("+++", "file"), ("---", "file"), ("diff ", "file"), ("@@", "at"), ("+", "add"), ("-", "del"))
    out = []
    for line in text.splitlines():
        kind = next((kind for prefix, kind in kinds if line.startswith(prefix)), "")
        out.append(Markup('<span class="{}">{}</span>').format(kind, line or " "))
    return Markup("").join(out)
