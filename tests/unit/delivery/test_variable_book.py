"""Kept variables stand beside declared ones at their level, and what a plan refers to is only its own project's."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from aegis.core import events
from aegis.core.errors import Denied, NotFound
from aegis.core.plan import CiVariable
from aegis.delivery.options import ProjectOptions
from aegis.delivery.variable_book import VariableBook, named
from aegis.pipeline.declared import DeclaredVariable, given
from aegis.secrets.references import parse

PROJECT = ProjectOptions(name="shop/eu/orders", kind="service")


class Ledger:
    def __init__(self) -> None:
        self.records: list[Any] = []

    def tell(self, data: object) -> None:
        self.records.append(SimpleNamespace(seq=len(self.records) + 1, data=data))

    def head(self) -> Any:
        return SimpleNamespace(seq=len(self.records))

    def read(self, *, after: int, limit: int, query: object) -> list[Any]:
        _ = query
        return self.records[after : after + limit]


class Store:
    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, reference: object) -> str:
        return self.values[str(reference)]

    def put(self, reference: object, value: str) -> int:
        self.values[str(reference)] = value
        return 1

    def delete(self, reference: object) -> None:
        self.values.pop(str(reference), None)


class Shelf:
    def __init__(self) -> None:
        self.ledger, self.store, self.puts = Ledger(), Store(), 0
        self.book = VariableBook(self.ledger, threading.RLock(), self.store)  # type: ignore[arg-type]

    def keep(self, owner: str, key: str, value: str, **more: Any) -> CiVariable:
        self.puts += 1
        stored = self.book.keep(owner, key, value, f"{self.puts:020x}")
        made = CiVariable(owner=owner, key=key, stored=stored, **more)
        self.ledger.tell(events.VariableSet(variable=made))
        return made


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def run(project: str) -> Any:
    return SimpleNamespace(project=project)


def test_a_level_wins_over_those_outside_it_and_what_is_declared_over_what_is_kept(shelf: Shelf) -> None:
    for owner in ("shop", "shop/eu", "shop/eu/orders"):
        shelf.keep(owner, owner.replace("/", "_").upper(), owner)
        shelf.keep(owner, "WHO", owner)
    shelf.keep("shop", "ONLY_DECLARED", "kept")
    shelf.keep("other", "FOREIGN", "x")
    declared = ((), (DeclaredVariable(key="ONLY_DECLARED", value="declared"),), (), ())
    project = ProjectOptions(name="shop/eu/orders", kind="service", variables=declared)
    found = {one.key: one.value for one in given(shelf.book.levels(project), protected=True).everywhere}
    assert found == {
        "SHOP": "shop", "SHOP_EU": "shop/eu", "SHOP_EU_ORDERS": "shop/eu/orders", "WHO": "shop/eu/orders",
        "ONLY_DECLARED": "declared",
    }  # fmt: skip


def test_a_masked_value_is_no_part_of_a_plan_and_follows_its_variable(shelf: Shelf) -> None:
    first = shelf.keep("shop", "KEY", "first-value", masked=True)
    (one,) = given(shelf.book.levels(PROJECT), protected=False).everywhere
    assert (one.value, one.masked, one.secret) == ("", True, named(first))
    reference = parse(one.secret or "")
    assert shelf.book.resolve(run("shop/eu/orders"), reference, protected=False) == "first-value"
    shelf.keep("shop", "KEY", "second-value", masked=True)
    shelf.book.forget(first.stored)
    assert shelf.book.resolve(run("shop/eu/orders"), reference, protected=False) == "second-value"
    shelf.ledger.tell(events.VariableRemoved(owner="shop", key="KEY", environment_scope="*"))
    with pytest.raises(NotFound, match="was removed"):
        shelf.book.resolve(run("shop/eu/orders"), reference, protected=False)


@pytest.mark.parametrize("project", ["shopping/orders", "sho/p", "other/shop", "shop"])
def test_another_project_never_gets_it_whatever_its_plan_says(shelf: Shelf, project: str) -> None:
    reference = parse(named(shelf.keep("shop/eu", "KEY", "of-the-group", masked=True)))
    with pytest.raises(Denied, match="does not belong"):
        shelf.book.resolve(run(project), reference, protected=True)


def test_a_protected_one_is_for_protected_refs_alone(shelf: Shelf) -> None:
    kept = shelf.keep("shop", "KEY", "a-value-to-protect", masked=True, protected=True)
    assert given(shelf.book.levels(PROJECT), protected=False).everywhere == ()
    with pytest.raises(Denied, match="only for protected"):
        shelf.book.resolve(run("shop/eu/orders"), parse(named(kept)), protected=False)
    assert shelf.book.resolve(run("shop/eu/orders"), parse(named(kept)), protected=True) == "a-value-to-protect"


def test_a_moved_scope_leaves_nothing_behind(shelf: Shelf) -> None:
    kept = shelf.keep("shop", "KEY", "v", environment_scope="live")
    moved = CiVariable(owner="shop", key="KEY", stored=kept.stored, environment_scope="live/*")
    shelf.ledger.tell(events.VariableSet(variable=moved, before="live"))
    assert [one.environment_scope for one in shelf.book.of("shop")] == ["live/*"]
