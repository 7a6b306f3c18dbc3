"""What a form may ask for: one verb with its fields, carried out by the commands, answered by a redirect.

Decides only what a form has to say (production's name typed); whether the person may is decided by the commands.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode, urlsplit

from starlette.responses import RedirectResponse, Response

from aegis.core.errors import NotFound, UserError
from aegis.web.portal import pages
from aegis.web.portal.doors import HEADERS, Ask, safe_path
from aegis.web.portal.rendering import Page

FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "approve": ("promotion", "plan_hash", "comment"),
    "reject": ("promotion", "plan_hash", "comment"),
    "promote": ("service", "environment", "release", "emergency", "reason"),
    "rollback": ("service", "environment", "release", "reason"),
    "cancel": ("run",),
    "retry": ("run", "job"),
    "play": ("run", "job"),
    "merge": ("project", "number"),
    "close": ("project", "number"),
    "yank-package": ("index", "filename", "reason", "chosen"),
    "promote-package": ("source", "target", "filename"),
}
_OPTIONAL: Final = frozenset({"comment", "reason", "emergency", "release", "chosen"})


def act(ask: Ask) -> Page | Response:
    """Carry out the verb of the address and go back to the page that asked, which then reflects it."""
    verb = ask.path["verb"]
    if verb not in FIELDS:
        raise NotFound("verb-unknown", f"there is no form for {verb!r}", hint=f"known are {', '.join(FIELDS)}")
    given: dict[str, object] = {name: ask.fields[name].strip() for name in FIELDS[verb] if ask.fields.get(name)}
    missing = [name for name in FIELDS[verb] if name not in given and name not in _OPTIONAL]
    if missing:
        raise UserError(
            "field-missing", f"{verb} needs {' and '.join(missing)}", hint="go back and fill the form again"
        )
    if verb == "approve":
        view = ask.queries.promotion(ask.actor, str(given["promotion"]))
        environment = view.promotion.environment
        if environment == pages.NAMED and ask.fields.get("confirm", "").strip() != environment:
            problem = ask.words("promotion.type-name", name=environment)
            return pages.promotion_page(ask, view, problem=problem, comment=ask.fields.get("comment", ""))
    if "number" in given:
        given["number"] = _number(str(given["number"]))
    if "emergency" in given:
        given["emergency"] = given["emergency"] in ("1", "on", "true")
    if given.pop("chosen", ""):
        given["back"] = True  # of the verb; the form's own `back` is where it came from
    result = ask.commands.execute(verb, given, ask.actor)
    target = urlsplit(safe_path(ask.fields.get("back", "/"), ask.request)).path
    query = urlencode({"done": verb, "min_seq": result.seq})
    return RedirectResponse(f"{target}?{query}", 303, headers=dict(HEADERS))


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 12:
        return int(text)
    raise UserError("field-number", f"{text!r} is not a number", hint="a merge request is named by its number")
