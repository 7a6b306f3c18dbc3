"""Identities: who is in which group, and whose an e-mail is."""

from __future__ import annotations

import pytest

from aegis.access.identities import Directory, Identity
from aegis.core.errors import UserError

ANA = Identity(id="ana", name="Ana", emails=("Ana@Shop.example", "ana@home.example"))
BEN = Identity(id="ben", name="Ben", emails=("ben@shop.example",))
BOT = Identity(id="renovator", name="Renovator", robot=True)


def test_groups_hold_groups_and_everyone_holds_all() -> None:
    directory = Directory([ANA, BEN, BOT], {"leads": ["ben"], "staff": ["leads", "ana"], "all": ["everyone"]})
    ben, bot = directory.by_id("ben"), directory.by_id("renovator")
    assert ben is not None
    assert bot is not None
    assert ben.groups == {"leads", "staff", "all", "everyone"}
    assert bot.groups == {"all", "everyone"}
    assert ben.within(["leads"])
    assert ben.within(["ben"])
    assert not bot.within(["staff", "ben"])
    assert [one.id for one in directory.members(["staff"])] == ["ana", "ben"]


def test_an_email_is_found_whatever_its_case_and_nobodys_stays_nobodys() -> None:
    directory = Directory([ANA, BEN], {})
    assert directory.by_email(" ANA@shop.EXAMPLE ") == directory.by_id("ana")
    assert directory.by_email("ana@elsewhere.example") is None
    assert directory.by_id("nobody") is None


def test_authors_are_mapped_once_each_and_the_others_are_named() -> None:
    emails = ["ana@home.example", "ana@shop.example", "ghost@x.example", "ben@shop.example", "ghost@x.example"]
    assert Directory([ANA, BEN], {}).authors(emails) == (("ana", "ben"), ("ghost@x.example",))


@pytest.mark.parametrize(
    ("groups", "code"),
    [
        ({"leads": ["nobody"]}, "unknown-member"),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, "group-ring"),
        ({"ana": ["ben"]}, "group-name"),
        ({"everyone": ["ben"]}, "group-name"),
    ],
)
def test_groups_that_cannot_be_are_refused(groups: dict[str, list[str]], code: str) -> None:
    with pytest.raises(UserError) as caught:
        Directory([ANA, BEN], groups)
    assert caught.value.code == code


def test_an_email_of_two_people_is_refused() -> None:
    other = Identity(id="eve", name="Eve", emails=("ANA@shop.example",))
    with pytest.raises(UserError, match="ana and to eve"):
        Directory([ANA, other], {})
