"""Languages: which one, whole catalogues, times and durations."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from aegis.web.portal.language import LANGUAGES, Words, catalogue, choose
from support.portal_world import NOW

SOURCES = Path(__file__).parents[3] / "src" / "aegis" / "web"
PLACE = re.compile(r"\{([a-z_]+)\}")


def places(text):
    forms = [text] if isinstance(text, str) else list(text.values())
    return {one for form in forms for one in PLACE.findall(form)}


def test_both_languages_have_the_same_messages_with_the_same_values():
    english, korean = catalogue("en"), catalogue("ko")
    assert english.keys() == korean.keys()
    for message, text in english.items():
        assert places(text) == places(korean[message]), message


def test_every_message_that_a_page_asks_for_is_written():
    asked = set()
    for source in [*SOURCES.rglob("portal/**/*.html"), *SOURCES.glob("portal/*.py"), SOURCES / "status_page.py"]:
        asked |= set(re.findall(r"""\b(?:t|words)\(["']([a-z]+(?:[.-][a-z-]+)*)["']""", source.read_text("utf-8")))
        asked |= set(re.findall(r'"(state\.[a-z-]+)"', source.read_text("utf-8")))
    assert len(asked) > 150
    assert sorted(asked - catalogue("en").keys() - {"state.finished"}) == []  # a property of jobs


def test_no_message_is_kept_that_nobody_asks_for():
    text = "".join(one.read_text("utf-8") for one in SOURCES.rglob("portal/**/*.*") if one.suffix in (".html", ".py"))
    text += (SOURCES / "status_page.py").read_text("utf-8")
    made_of_parts = re.compile(r"(ago|in|length|event|nav|language|inbox|done|refused|status|at)\.")
    unused = [one for one in catalogue("en") if f'"{one}"' not in text and f"'{one}'" not in text]
    assert [one for one in unused if not made_of_parts.match(one)] == []


@pytest.mark.parametrize(
    ("asked", "cookie", "preferred", "accept", "language"),
    [
        ("", "", "", "", "en"),
        ("ko", "en", "en", "en", "ko"),
        ("", "ko", "en", "en", "ko"),
        ("", "", "ko", "en", "ko"),
        ("", "", "", "ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("", "", "", "de-DE,de;q=0.9,en;q=0.5,ko;q=0.4", "en"),
        ("", "", "", "en;q=0.3, ko;q=0.8", "ko"),
        ("", "", "", "ko;q=0, fr", "en"),
        ("xx", "yy", "zz", "ko;q=nonsense", "en"),
    ],
)
def test_the_language_is_what_was_asked_for_then_remembered_then_preferred(asked, cookie, preferred, accept, language):
    assert choose(asked=asked, cookie=cookie, preferred=preferred, accept=accept) == language


@pytest.mark.parametrize(
    ("span", "english", "korean"),
    [
        (timedelta(seconds=2), "just now", "방금"),
        (timedelta(seconds=42), "42 s ago", "42초 전"),
        (timedelta(minutes=3, seconds=59), "3 min ago", "3분 전"),
        (timedelta(hours=1), "1 hour ago", "1시간 전"),
        (timedelta(days=3), "3 days ago", "3일 전"),
        (-timedelta(minutes=5), "in 5 min", "5분 후"),
    ],
)
def test_times_are_relative_to_now(span, english, korean):
    assert Words("en", NOW).ago(NOW - span) == english
    assert Words("ko", NOW).ago(NOW - span) == korean


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (0.42, "0.4 s"),
        (42, "42 s"),
        (192, "3 min 12 s"),
        (7500, "2 h 5 min"),
        (None, "–"),
        (timedelta(minutes=1), "1 min 0 s"),
    ],
)
def test_durations_have_two_units(span, text):
    assert Words("en", NOW).length(span) == text


def test_an_unknown_message_is_shown_as_its_id_and_never_breaks_a_page():
    assert Words("en", NOW)("nobody.wrote-this") == "nobody.wrote-this"
    assert LANGUAGES == ("en", "ko")


def test_history_is_translated_by_the_types_of_events_that_there_are():
    from aegis.core.events import NAMES

    types = {name for name, _ in NAMES.values()}
    written = {one.removeprefix("event.") for one in catalogue("en") if one.startswith("event.")}
    assert len(written) > 20
    assert written <= types
