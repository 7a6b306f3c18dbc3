"""Whom an entry concerns."""

from dataclasses import replace

import pytest

from aegis.notify.entries import Entry
from aegis.notify.routing import Routes, concerns, inbox_of
from support.records import START

ROUTES = Routes(
    approvers={"production": ("release-managers",)},
    emergency={"production": ("release-managers", "platform")},
    projects={"shop/orders": ("developers",)},
    operators=("platform",),
    everyone=("developers",),
)
ENTRY = Entry(
    key="k", kind="approval", title="inbox.approval", params={}, severity="medium", first_at=START, last_at=START,
    occurrence="p1", audience=("approvers:production",),
)  # fmt: skip


@pytest.mark.parametrize(
    ("audience", "groups", "concerned"),
    [
        ("identity:mina", (), True),
        ("identity:joon", ("developers",), False),
        ("approvers:production", ("release-managers",), True),
        ("approvers:production", ("developers",), False),
        ("approvers:unknown", ("developers",), True),
        ("emergency:production", ("platform",), True),
        ("project:shop/orders", ("developers",), True),
        ("service:orders", ("developers",), True),
        ("operators", ("platform",), True),
        ("operators", ("developers",), False),
        ("group:platform", ("platform",), True),
        ("nonsense", ("platform",), False),
    ],
)
def test_an_entry_concerns_those_its_audience_names(audience, groups, concerned):
    assert concerns(replace(ENTRY, audience=(audience,)), "mina", groups, ROUTES) is concerned


def test_who_is_excluded_is_not_concerned_whatever_group_they_are_in():
    assert not concerns(replace(ENTRY, excluded=("mina",)), "mina", ("release-managers",), ROUTES)


def test_requests_come_before_failures_and_the_latest_first():
    failure = replace(ENTRY, key="f", kind="failure", last_at=START.replace(hour=20))
    later = replace(ENTRY, key="l", last_at=START.replace(hour=16))
    settled = replace(ENTRY, key="s", resolved_at=START)
    found = inbox_of([ENTRY, failure, later, settled], "sora", ["release-managers"], ROUTES)
    assert [one.key for one in found] == ["l", "k", "f"]
    found = inbox_of([settled, ENTRY], "sora", ["release-managers"], ROUTES, include_resolved=True)
    assert [one.key for one in found] == ["k", "s"]
