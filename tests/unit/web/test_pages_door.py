"""A visit's address shows one project's pages, without cookies, and its scripts reach nothing but these pages."""

from __future__ import annotations

import asyncio
import io
import threading
import zipfile
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.core import events
from aegis.core.errors import AegisError, Denied
from aegis.core.pages import PagesDeployment
from aegis.delivery.handlers.pages import slug
from aegis.delivery.pages_book import PagesBook
from aegis.delivery.pages_door import PagesDoor
from aegis.delivery.views import Actor
from aegis.web.answers import SESSION_COOKIE, refusal
from aegis.web.pages_door import policy, routes

NOW = datetime(2026, 5, 4, 14, 0, tzinfo=UTC)
SECRET = b"s" * 32
ANA = Actor(id="ana", name="Ana")


class Ledger:
    """What the book needs of one."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def tell(self, data: object) -> None:
        self.records.append(SimpleNamespace(seq=len(self.records) + 1, data=data))

    def head(self) -> Any:
        return SimpleNamespace(seq=len(self.records))

    def read(self, *, after: int, limit: int, query: object) -> list[Any]:
        _ = query
        return self.records[after : after + limit]


class Browser:
    """Requests straight to the application; redirects are not followed."""

    def __init__(self, app: Starlette) -> None:
        self.app = app

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://aegis.test") as client:
                return await client.get(path, headers=headers)

        return asyncio.run(answer())


class World:
    def __init__(self, root: Any) -> None:
        self.blobs = DirectoryBlobs(root)
        self.ledger = Ledger()
        self.now = NOW
        self.people = {"ana"}
        self.context = SimpleNamespace(
            blobs=self.blobs,
            clock=SimpleNamespace(now=lambda: self.now),
            pages=PagesBook(self.ledger, threading.Lock()),  # type: ignore[arg-type]
            options=SimpleNamespace(projects={"team/tools": 1, "team/tools/deep": 1, "team/other": 1}),
            adopted=SimpleNamespace(directory=SimpleNamespace(by_id=lambda who: who if who in self.people else None)),
            authorise=self.authorise,
        )
        door = PagesDoor(self.context, SECRET)  # type: ignore[arg-type]

        def actor(header: str | None, cookie: str | None = None) -> Actor:
            if header is None and cookie != "ana":
                raise Denied("unauthenticated", "no")
            return ANA

        async def refused(_request: Any, error: Exception) -> Any:
            assert isinstance(error, AegisError)
            return refusal(error)

        app = Starlette(routes=routes(door, SimpleNamespace(actor=actor)), exception_handlers={AegisError: refused})  # type: ignore[arg-type]
        self.browser = Browser(app)

    def authorise(self, actor: Actor, verb: str, *, project: str) -> None:
        assert (actor, verb) == (ANA, "read")
        assert project

    def publish(
        self, project: str = "team/tools", prefix: str = "", lasts: timedelta | None = None, **files: str
    ) -> None:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            for name, text in files.items():
                archive.writestr(f"public/{name.replace('__', '/').replace('_', '.')}", text)
        digest = self.blobs.put(made.getvalue())
        self.ledger.tell(
            events.PagesPublished(
                deployment=PagesDeployment(
                    id=f"job-{len(self.ledger.records)}", project=project, prefix=prefix, archive=digest, root="public",
                    files=len(files), run="r", job="pages", ref="refs/heads/main", commit="c", created_at=self.now,
                    expires_at=self.now + lasts if lasts else None,
                )
            )
        )  # fmt: skip

    def visit(self, project: str = "team/tools", path: str = "") -> str:
        found = self.browser.get(f"/pages/{project}/{path}", headers={"cookie": f"{SESSION_COOKIE}=ana"})
        assert found.status_code == 303
        return str(found.headers["location"])


@pytest.fixture
def world(tmp_path: Any) -> World:
    made = World(tmp_path)
    made.publish(index_html="<p>one</p>", a_js="1", guide__index_html="guide")
    return made


def test_a_session_opens_a_visit_and_the_visit_needs_no_cookie(world: World) -> None:
    where = world.visit()
    assert where.startswith("/pages/~aegispage.")
    page = world.browser.get(where)
    assert page.text == "<p>one</p>"
    assert world.browser.get(f"{where}a.js").headers["content-type"].endswith("javascript; charset=utf-8")
    assert "set-cookie" not in page.headers
    assert page.headers["referrer-policy"] == "no-referrer"


def test_pages_have_no_origin_and_reach_nothing_but_themselves(world: World) -> None:
    where = world.visit()
    said = world.browser.get(where).headers["content-security-policy"]
    assert said == policy(f"http://aegis.test{where}")
    rules = dict(one.strip().partition(" ")[::2] for one in said.split(";"))
    assert "allow-scripts" in rules["sandbox"]
    assert not {"allow-same-origin", "allow-top-navigation", "allow-forms"} & set(rules["sandbox"].split())
    assert rules["connect-src"] == f"http://aegis.test{where}"
    assert rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert "'self'" not in said
    lost = world.browser.get(f"{where}nope")
    assert lost.status_code == 404
    assert lost.headers["content-security-policy"] == said


def test_a_visit_shows_one_project_until_it_is_over_or_its_person_is_gone(world: World) -> None:
    world.publish("team/other", index_html="other")
    where = world.visit()
    token = where.split("/")[2]
    for path in (f"/pages/{token}/team/other/", f"/pages/{token}x/team/tools/", "/pages/~nothing/team/tools/"):
        found = world.browser.get(path)
        assert (found.status_code, found.headers["location"]) == (303, path.replace(path.split("/")[2] + "/", "", 1))
    world.people = set()
    assert world.browser.get(where).status_code == 303
    world.people = {"ana"}
    world.now += timedelta(hours=12)
    assert world.browser.get(where).headers["location"] == "/pages/team/tools/"
    assert world.browser.get("/pages/team/tools/").headers["location"] == "/login?next=%2Fpages%2Fteam%2Ftools%2F"


def test_a_deployment_takes_over_at_once_and_one_beside_it_ends_with_its_time(world: World) -> None:
    world.publish(index_html="<p>two</p>")
    world.publish(prefix="review-1", lasts=timedelta(days=1), index_html="review")
    where = world.visit()
    assert world.browser.get(where).text == "<p>two</p>"
    assert world.browser.get(f"{where}a.js").status_code == 404
    assert world.browser.get(f"{where}review-1").headers["location"] == f"{where}review-1/"
    assert world.browser.get(f"{where}review-1/").text == "review"
    world.now += timedelta(days=1)
    assert world.browser.get(f"{world.visit()}review-1/").status_code == 404
    world.ledger.tell(events.PagesRemoved(project="team/tools"))
    assert world.browser.get(world.visit()).status_code == 404


def test_addresses_are_completed_and_never_lead_out_of_the_published_directory(world: World) -> None:
    where = world.visit()
    assert world.browser.get(f"{where}guide").headers["location"] == f"{where}guide/"
    assert world.browser.get(f"{where}guide/").text == "guide"
    assert world.browser.get(f"{where}a.js/").status_code == 404
    for path in ("%2e%2e/%2e%2e/secret", "guide/%2e%2e/%2e%2e/x", "a%00.js", "public/index.html"):
        assert world.browser.get(f"{where}{path}").status_code == 404
    assert world.browser.get(world.visit(path="guide/")).text == "guide"
    assert world.browser.get("/pages/nobody/knows/").status_code == 404


@pytest.mark.parametrize(
    ("written", "found"), [("", ""), ("Review/2", "review-2"), ("--a--", "a"), ("x" * 80, "x" * 63)]
)
def test_a_prefix_is_made_fit_for_an_address(written: str, found: str) -> None:
    assert slug(written) == found
