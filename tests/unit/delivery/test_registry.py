"""The registry of verbs is whole: each has a handler, a one-line help, and a place in the access rules."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable

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


def asked_of_the_access_rules(handler: Callable[..., object]) -> set[str]:
    """The actions for which a handler, or a function of its module that it calls, asks whether they are permitted."""
    module = ast.parse(inspect.getsource(sys.modules[handler.__module__]))
    functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    reached, waiting = set[str](), [handler.__name__]
    while waiting:
        name = waiting.pop()
        if name in functions and name not in reached:
            reached.add(name)
            waiting += [node.id for node in ast.walk(functions[name]) if isinstance(node, ast.Name)]
    calls = [(name, node) for name in reached for node in ast.walk(functions[name]) if isinstance(node, ast.Call)]
    asking = {name for name, call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "authorise"}
    # An action is named where `authorise` is called, or where a function is called that hands it on.
    naming = [call for _, call in calls if ast.unparse(call.func).split(".")[-1] in {"authorise", *asking}]
    given = [part for call in naming for part in call.args]
    return {leaf.value for part in given for leaf in ast.walk(part) if isinstance(leaf, ast.Constant)} & set(SCOPES)


def test_every_public_verb_asks_the_access_rules_for_an_action_that_they_know() -> None:
    handlers.load()
    asked = {
        name: asked_of_the_access_rules(HANDLERS[verb.command]) for name, verb in VERBS.items() if not verb.internal
    }
    assert {name for name, found in asked.items() if not found} == set()


def test_every_verb_says_what_it_does_in_one_line() -> None:
    assert all(verb.help.endswith(".") and len(verb.help) < 120 for verb in VERBS.values())


def test_the_flow_and_the_history_speak_of_registered_events_only() -> None:
    assert set(FLOW) | set(_TEXTS) <= set(events.NAMES)
