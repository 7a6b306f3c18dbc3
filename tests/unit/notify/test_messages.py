"""Entries in words."""

import re
from dataclasses import replace

import pytest

from aegis.notify.entries import KINDS, Entry
from aegis.notify.messages import CATALOGUES, rendered, text_of
from support.records import START

ENTRY = Entry(
    key="branch/shop/orders/main", kind="block", title="inbox.run-blocked", severity="medium", first_at=START,
    last_at=START, occurrence="r1", params={"project": "shop/orders", "ref": "main", "gates": "coverage"},
    hint="coverage is 74 % — cover orders/app.py:41-47", link="/runs/r1", count=3,
)  # fmt: skip


def test_a_message_says_state_what_helps_how_often_and_where():
    message = rendered(ENTRY, "en")
    assert message.subject == "⊘ blocked · shop/orders: the gates block main (coverage)"
    assert message.text.splitlines() == [
        "shop/orders: the gates block main (coverage)",
        "coverage is 74 % — cover orders/app.py:41-47",
        "3 times since 2026-05-04 14:00 UTC",
        "/runs/r1",
    ]


def test_the_same_in_korean():
    assert rendered(ENTRY, "ko").subject == "⊘ 차단됨 · shop/orders: 게이트가 main을(를) 차단함 (coverage)"


def test_a_settled_entry_says_so():
    assert rendered(replace(ENTRY, resolved_at=START), "en").subject.startswith("✓ resolved")


def test_an_unknown_language_is_english_and_an_unknown_message_its_id():
    assert rendered(ENTRY, "xx").subject == rendered(ENTRY, "en").subject
    assert text_of("inbox.unknown", {}, "ko") == "inbox.unknown"


def test_a_value_with_line_breaks_cannot_write_headers_into_a_subject():
    evil = replace(ENTRY, params={**ENTRY.params, "ref": "main\r\nBcc: all@shop.example"})
    assert "\n" not in rendered(evil, "en").subject
    assert "\r" not in rendered(evil, "en").subject


def test_both_languages_have_every_message_with_the_same_values():
    assert CATALOGUES["en"].keys() == CATALOGUES["ko"].keys()
    for name, text in CATALOGUES["en"].items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", CATALOGUES["ko"][name])), name


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_word(kind):
    assert f"kind.{kind}" in CATALOGUES["en"]


def test_the_portal_says_the_same():
    from aegis.web.portal.language import catalogue

    for language, messages in CATALOGUES.items():
        ours = {name: text for name, text in messages.items() if name.startswith("inbox.")}
        theirs = {name: text for name, text in catalogue(language).items() if name in ours}
        assert theirs == ours
