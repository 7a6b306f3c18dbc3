"""The registry of verbs is whole: each has a handler, a one-line help, and a place in the access rules."""

from __future__ import annotations

from aegis.access.policy import SCOPES
from aegis.core import events
from aegis.delivery import handlers
from aegis.delivery.commands import VERBS
from aegis.delivery.dispatch import HANDLERS
from aegis.delivery.flow import FLOW
from aegis.delivery.queries.lines import _TEXTS


def test_every_verb_has_a_handler() -> None:
    handlers.load()
    assert {verb.command for verb in VERBS.values()} == set(HANDLERS)


def test_every_public_verb_is_known_to_the_access_rules() -> None:
    assert {name for name, verb in VERBS.items() if not verb.internal} <= set(SCOPES)


def test_every_verb_says_what_it_does_in_one_line() -> None:
    assert all(verb.help.endswith(".") and len(verb.help) < 120 for verb in VERBS.values())


def test_the_flow_and_the_history_speak_of_registered_events_only() -> None:
    assert set(FLOW) | set(_TEXTS) <= set(events.NAMES)
