"""Takes a verb or a command to its handler, and writes down who was refused what.

A handler is a function `(context, command, asking) -> Result`, registered by the type of its command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, TypeVar

from aegis.core import codec, events
from aegis.core.errors import Denied, NotFound
from aegis.core.events import Draft
from aegis.delivery.commands import NAMES, VERBS
from aegis.delivery.context import Context
from aegis.delivery.views import Actor, Result

SYSTEM: Final = Actor(id="aegis", name="Aegis", kind="system")

Handler = Callable[[Context, Any, "Asking"], Result]
H = TypeVar("H", bound=Callable[..., Result])
HANDLERS: Final[dict[type, Handler]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who asks, because of which event, and whether only to say what would happen."""

    actor: Actor
    cause: str = ""
    dry_run: bool = False


def handles(command: type) -> Callable[[H], H]:
    """Register the decorated function as the handler of `command`."""

    def register(handler: H) -> H:
        if command in HANDLERS:
            raise ValueError(f"{command.__name__} has two handlers")
        HANDLERS[command] = handler
        return handler

    return register


class Dispatcher:
    """The one way in for everything that changes something."""

    def __init__(self, context: Context) -> None:
        # Handlers register themselves when they are imported.
        from aegis.delivery import handlers  # noqa: PLC0415 - handlers import this module

        handlers.load()
        self.context = context

    def execute(self, verb: str, fields: Mapping[str, Any], actor: Actor, *, dry_run: bool = False) -> Result:
        """Carry out a verb that somebody outside asked for."""
        known = VERBS.get(verb)
        if known is None or known.internal:
            public = [name for name, one in VERBS.items() if not one.internal]
            close = get_close_matches(verb, public, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(sorted(public))}"
            raise NotFound("no-such-verb", f"there is no verb {verb!r}", hint=hint)
        command: object = codec.convert(dict(fields), known.command, lenient=True)
        return self.run(command, Asking(actor=actor, dry_run=dry_run))

    def run(self, command: object, asking: Asking) -> Result:
        """Carry out a command; a refusal is written to the ledger before it is raised."""
        try:
            return HANDLERS[type(command)](self.context, command, asking)
        except Denied as denied:
            self._record(command, asking, denied)
            raise

    def _record(self, command: object, asking: Asking, denied: Denied) -> None:
        concealed = dict.fromkeys(getattr(type(command), "CONCEALED", ()), "[masked]")
        refusal = events.AccessDenied(
            verb=NAMES.get(type(command), type(command).__name__),
            resource=str({**codec.plain(command), **concealed})[:500],
            reason=f"{denied.code}: {denied.message}",
        )
        subject = f"identity/{asking.actor.id}"
        self.context.ledger.append([Draft(subject=subject, data=refusal, actor=asking.actor.id, cause=asking.cause)])
