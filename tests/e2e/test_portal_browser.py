"""The portal in a real browser: every page, three widths, two themes, two languages; with and without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aegis.core.types import State
from support.chromium import chromium
from support.portal_server import Served, portal
from support.portal_world import World

PAGES = (
    "/", "/runs", "/runs/run-now", "/runs/run-failed", "/runs/run-failed/jobs/job-unit-test", "/approvals",
    "/promotions/pr-orders-prod", "/rollouts/ro1", "/releases", "/releases/orders@1.2.0",
    "/merge-requests/shop/orders/12", "/at", "/inbox", "/login", "/status", "/runs/unknown",
)  # fmt: skip
CHECKS = (Path(__file__).parents[1] / "support" / "page_checks.js").read_text("utf-8")
NARROW, MIDDLE, WIDE = 360, 768, 1440


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    """A portal for tests that change nothing."""
    with portal() as one:
        yield one


@pytest.fixture
def served() -> Iterator[Served]:
    """A portal of the test's own."""
    with portal() as one:
        yield one


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """Open a portal as somebody, in a fresh profile; what the browser complains of fails the test."""
    contexts, complaints = [], []

    def opened(served: Served, path: str = "/", *, who: str = "sora", language: str = "en", **options: Any) -> Any:
        context = browser.new_context(**({"viewport": {"width": WIDE, "height": 800}} | options))
        contexts.append(context)
        cookies = {"aegis_language": language} | ({"aegis_session": f"cookie-{who}"} if who else {})
        context.add_cookies([{"name": name, "value": value, "url": served.url} for name, value in cookies.items()])
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(served.url + path)
        return page

    opened.complaints = complaints
    yield opened
    for context in contexts:
        context.close()
    real = [one for one in complaints if not re.search(r"status of (404|422|503)|ERR_(CONNECTION|INCOMPLETE)", one)]
    assert real == []


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_fits_every_width_and_passes_the_checks(visit, shared, theme, language):
    page = visit(shared, language=language, color_scheme=theme)
    problems = []
    for path in PAGES:
        page.goto(shared.url + path)
        for width in (NARROW, MIDDLE, WIDE):
            page.set_viewport_size({"width": width, "height": 800})
            over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if over:
                problems.append(f"{path} at {width}: {over} px too wide")
        problems += [f"{path}: {one}" for one in page.evaluate(CHECKS)]
    assert problems == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_first_day_passes_the_checks_too(visit, theme):
    with portal(World().empty()) as first_day:
        page = visit(first_day, color_scheme=theme, viewport={"width": NARROW, "height": 700})
        for path in ("/", "/runs", "/approvals", "/releases", "/inbox", "/at", "/rollouts/ro1", "/status"):
            page.goto(first_day.url + path)
            assert page.evaluate(CHECKS) == [], path
            assert page.evaluate("document.documentElement.scrollWidth") == NARROW, path


def test_the_keyboard_reaches_everything_and_shows_where_it_is(visit, shared):
    page = visit(shared, "/promotions/pr-orders-prod")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            """() => { const e = document.activeElement, s = getComputedStyle(e);
                 return [e.id || e.textContent.trim().slice(0, 20), s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2] }"""
        )
        if page.evaluate("document.activeElement === document.body"):
            break
        assert seen[1], f"no focus ring on {seen[0]}"
        reached.add(seen[0])
    assert {"confirm", "comment", "reject", "Home", "Log out"} <= reached


def test_times_are_in_the_viewers_zone_with_offset(visit, shared):
    page = visit(shared, timezone_id="Asia/Seoul")
    assert page.locator("#service-orders time").first.get_attribute("title").endswith("UTC+09:00")
    assert page.locator("#service-orders time").first.inner_text().endswith(" min ago")


def test_an_approval_with_scripts(visit, served):
    page = visit(served)
    page.get_by_role("link", name="Review and decide").click()
    assert page.locator("#approve").is_disabled()
    page.get_by_label("Type production to approve").fill("production")
    page.get_by_label("Comment").fill("looks good")
    page.locator("#approve").click()
    page.get_by_text("Approved.").wait_for()
    assert served.world.done[0][1]["comment"] == "looks good"


def test_an_approval_without_scripts_on_a_phone(visit, served):
    page = visit(served, java_script_enabled=False, viewport={"width": NARROW, "height": 700})
    page.get_by_role("link", name="Review and decide").click()
    page.locator("#approve").click()
    assert page.get_by_role("alert").filter(has_text="Type production").is_visible()
    assert served.world.done == []
    page.get_by_label("Type production to approve").fill("production")
    page.locator("#approve").click()
    page.get_by_text("Approved.").wait_for()
    assert served.world.done[0][0] == "approve"


def test_a_rejection(visit, served):
    page = visit(served, "/promotions/pr-orders-prod")
    page.locator("#reject").click()
    page.get_by_text("Rejected.").wait_for()
    assert served.world.done[0][0] == "reject"


def test_logging_in_with_a_token_and_out_again(visit, served):
    page = visit(served, "/inbox", who="")
    page.get_by_label("Token").fill("token-" + "sora")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/inbox")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")


def test_a_link_from_another_site_arrives_where_it_leads(visit, served):
    page = visit(served, "/")
    page.route("http://chat.example/**", lambda route: route.fulfill(
        content_type="text/html", body=f'<a href="{served.url}/inbox">open</a>'))  # fmt: skip
    page.goto("http://chat.example/")
    page.get_by_role("link", name="open").click()
    page.get_by_role("heading", name="Inbox").wait_for()


def progress(world: World, name: str, state: State) -> None:
    """A job of the running run goes on."""
    run = world.runs_now[0]
    jobs = tuple(replace(one, state=state) if one.name == name else one for one in run.jobs)
    world.runs_now = (replace(run, jobs=jobs), *world.runs_now[1:])


def test_an_event_changes_what_changed_and_keeps_focus_scroll_and_what_was_typed(visit, served):
    page = visit(served, "/promotions/pr-orders-prod", viewport={"width": MIDDLE, "height": 500})
    page.get_by_label("Comment").fill("half a sen")
    page.evaluate(
        "window.before = { nodes: [document.querySelector('#comment'), document.querySelector('.diff')], y: scrollY }"
    )
    view = served.world.waiting[0]
    served.world.waiting = (replace(view, forecast="about 9 min of canary now"),)
    served.stream.send(301, "promotion/pr-orders-prod")

    page.get_by_text("about 9 min of canary now").wait_for()
    assert page.evaluate("document.activeElement.id") == "comment"
    assert page.get_by_label("Comment").input_value() == "half a sen"
    assert page.evaluate("before.nodes.every((one) => one.isConnected)")
    assert page.evaluate("scrollY === before.y")
    page.keyboard.type("tence")
    assert page.get_by_label("Comment").input_value() == "half a sentence"


def test_a_run_page_follows_its_run_and_leaves_others_alone(visit, served):
    page = visit(served, "/runs/run-now")
    page.get_by_text("● live").wait_for()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    served.stream.send(302, "run/another")
    progress(served.world, "image", State.SUCCESS)
    served.stream.send(303, "run/run-now")
    page.locator("#job-job-image").get_by_text("passed").wait_for()
    assert [one for one in asked if "min_seq" in one] == [f"{served.url}/runs/run-now?min_seq=303"]


def test_a_cut_connection_resumes_where_it_was_and_misses_nothing(visit, served):
    page = visit(served, "/runs/run-now")
    page.get_by_text("● live").wait_for()
    served.stream.send(304)
    page.wait_for_function("document.getElementById('main').dataset.seq !== ''")
    served.stream.closed = True
    page.get_by_text("◌ reconnecting").wait_for()
    page.get_by_role("alert").filter(has_text="No connection").wait_for()

    progress(served.world, "image", State.FAILED)
    served.stream.closed = False
    served.stream.send(305)
    page.locator("#job-job-image").get_by_text("failed").wait_for()
    assert page.locator("#stale").is_hidden()
    assert served.stream.asked[0] == "240"
    assert served.stream.asked[-1] == "304"


def test_details_that_were_opened_stay_open(visit, served):
    page = visit(served, "/rollouts/ro1")
    page.get_by_text("The same as a table").click()
    served.world.points = served.world.points[:-1]
    served.stream.send(306, "rollout/ro1")
    page.get_by_text("Failed requests: 0.34 %").wait_for()
    assert page.get_by_role("cell", name="-1.90").is_visible()


def test_a_log_grows_while_one_reads_and_ends(visit, served):
    served.world.log, served.world.log_complete = b"first line\nsecond li", False
    page = visit(served, "/runs/run-now/jobs/job-image")
    page.get_by_text("first line").wait_for()
    served.world.log += b"ne \x1b[31mred\x1b[0m\n<b>third</b>\n"
    served.world.grown.set()
    page.locator("#L3").get_by_text("<b>third</b>").wait_for()
    assert page.locator("#L2 .a31").inner_text() == "red"
    served.world.log += b"the end\n"
    served.world.log_complete = True
    served.world.grown.set()
    page.locator("#L4").get_by_text("the end").wait_for()
    page.locator("#log-more").wait_for(state="detached")


def test_a_log_can_be_searched_and_leads_to_its_line(visit, shared):
    page = visit(shared, "/runs/run-failed")
    page.get_by_role("link", name="To the line in unit-test").click()
    page.wait_for_url("**#L46")
    page.get_by_label("Search the log").fill("test_0")
    assert page.get_by_text("10 lines").is_visible()
    assert page.locator(".log li.found").count() == 10


def test_the_command_of_a_page_can_be_copied(visit, shared):
    page = visit(shared, "/runs/run-now", permissions=["clipboard-read", "clipboard-write"])
    page.locator("[data-copy='#command']").click()
    page.get_by_text("Copied ✓").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "aegis why run-now"


def test_a_time_can_be_asked_in_the_viewers_zone(visit, shared):
    page = visit(shared, "/at", timezone_id="Asia/Seoul")
    assert page.get_by_text("Time (UTC+09:00)").is_visible()
    page.locator("#time").fill("2026-05-04T14:05:00")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**/at?time=2026-05-04T05%3A05%3A00Z")


def test_the_language_is_remembered(visit, shared):
    page = visit(shared, "/")
    page.get_by_role("link", name="한국어").click()
    page.get_by_role("heading", name="내가 할 일").wait_for()
    page.goto(shared.url + "/runs")
    assert page.get_by_role("heading", name="실행").first.is_visible()
