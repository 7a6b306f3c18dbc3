"""The chapters of the good change: from an empty server to production under traffic."""

from __future__ import annotations

import dataclasses
from typing import Any

from aegis.core.errors import CheckFailed, Denied
from aegis.demo import changes
from aegis.demo.chronicle import Record, moment
from aegis.demo.ports import Call
from aegis.demo.story import PEOPLE, Stage, Titled, is_type, released, stopped

RATE = 200.0
PRICE = {"amount": "19.90", "currency": "EUR"}


def order_of(customer: str) -> dict[str, Any]:
    """An order as a shop's page would send it."""
    return {"customer": customer, "lines": [{"sku": "tea-green", "quantity": 2, "unit_price": PRICE}]}


TRAFFIC = (
    Call(method="GET", path="/orders?limit=5", share=0.55),
    Call(method="GET", path="/version", share=0.25),
    Call(method="POST", path="/orders", body=order_of("Clara Schmidt"), share=0.10),
    Call(method="POST", path="/orders", body=order_of("김하늘"), share=0.10),
)


def open_doors(stage: Stage) -> str:
    """Everybody gets a token of their own; the declaration goes into its repository."""
    for person in PEOPLE.values():
        token = stage.operator.execute("issue-token", {"identity": person.id, "purpose": "demo"})["values"]["token"]
        known = dataclasses.replace(person, token=token)
        stage.people[person.id] = known
        stage.clients[person.id] = stage.workshop.client(known)
    for project in ("shop/platform", "shop/shared", "shop/payments", "shop/orders"):
        stage.trees[project] = stage.workshop.tree(project, stage.people["dana"])
    stage.push("shop/platform", "main", "dana")
    link = stage.operator.execute("login-link", {"identity": "sora"})["values"]["link"]
    stage.say(f"watch it live as the release manager: {link}")
    return f"ready in {stage.ready_seconds:.1f} s; {len(stage.people)} people, {len(stage.trees)} repositories"


def release_library(stage: Stage) -> str:
    """The library goes through its pipeline and into the package index."""
    since = stage.mark()
    stage.push("shop/shared", "main", "dana")
    record = stage.chronicle.wait(
        "the library's release", released("shop/shared", "main"), since=since, unless=stopped("shop/shared")
    )
    release = record["data"]["release"]
    return f"{release['id']}: {', '.join(one['filename'] for one in release['artifacts'])}"


def import_services(stage: Stage) -> str:
    """Both services as they are today come in, pass staging and go to production for the first time."""
    since = stage.mark()
    for project in ("shop/payments", "shop/orders"):
        stage.trees[project].lock(stage.people["dana"])
        stage.trees[project].commit("chore: lock the dependencies", stage.people["dana"])
        stage.push(project, "main", "dana")
    found = []
    for service in ("payments", "orders"):
        proposed = _proposed(stage, service, since)
        promotion = proposed["data"]["promotion"]
        stage.as_("sora").execute(
            "approve", {"promotion": promotion["id"], "plan_hash": promotion["plan_hash"], "comment": "first release"}
        )
        found.append(promotion)
    for promotion in found:
        ended = stage.chronicle.wait(
            f"{promotion['service']} in production",
            is_type("promotion.finished", subject=f"promotion/{promotion['id']}"), since=since,
        )  # fmt: skip
        if not ended["data"]["ok"]:
            raise CheckFailed("demo-import", ended["data"]["reason"])
    for project in ("shop/payments", "shop/orders"):
        stage.push(project, "develop", "dana", ("ci.skip",) if project == "shop/orders" else ())
    return ", ".join(f"{one['release']} in production" for one in found)


def _proposed(stage: Stage, service: str, since: int, release: str = "") -> Record:
    def test(record: Record) -> bool:
        if record["type"] != "aegis.promotion.proposed" or record["environment"] != "production":
            return False
        return record["service"] == service and release in ("", record["data"]["promotion"]["release"])

    return stage.chronicle.wait(
        f"{service} to be proposed for production", test, since=since, seconds=90, unless=stopped(f"shop/{service}")
    )


def cell(stage: Stage, service: str, environment: str) -> dict[str, Any]:
    """A service in an environment, as the API tells it."""
    cells: list[dict[str, Any]] = stage.operator.get("home", min_seq=stage.mark())["cells"]
    return next(one for one in cells if (one["service"], one["environment"]) == (service, environment))


def to_development(stage: Stage) -> str:
    """A feature is pushed; the development branch deploys by itself, with limits and seeds."""
    tree = stage.trees["shop/orders"]
    tree.branch("receipts", "develop")
    tree.write("src/orders/app.py", changes.with_route(tree.read("src/orders/app.py"), changes.RECEIPT))
    tree.write("tests/integration/test_receipt.py", changes.RECEIPT_TEST)
    commit = tree.commit("feat: give customers a receipt", stage.people["joon"])
    since = stage.mark()
    stage.marks["feature"] = since
    stage.values["feature"] = commit
    stage.push("shop/orders", "develop", "joon")
    record = stage.chronicle.wait(
        "orders in development",
        is_type("promotion.finished", service="orders", environment="development"),
        since=since,
        unless=stopped("shop/orders"),
    )
    if not record["data"]["ok"]:
        raise CheckFailed("demo-development", record["data"]["reason"])
    place = cell(stage, "orders", "development")
    seeded = stage.workshop.fetch(f"{place['url']}/orders?limit=100")
    return f"{place['release']} runs with {len(seeded)} seeded orders, from commit {place['commit'][:8]}"


def to_staging(stage: Stage) -> str:
    """A merge to main deploys to staging; end-to-end tests run there against both services."""
    since = stage.mark()
    opened = stage.as_("joon").execute(
        "open-merge-request",
        {"project": "shop/orders", "source": "develop", "target": "main", "title": "Receipts for customers"},
    )
    number = opened["values"]["number"]
    stage.as_("mina").execute("merge", {"project": "shop/orders", "number": number})
    record = stage.chronicle.wait(
        "the release", released("shop/orders", "main"), since=since, unless=stopped("shop/orders")
    )
    release = record["data"]["release"]
    stage.values["release"] = release["id"]
    evidence = stage.chronicle.wait(
        "the end-to-end tests",
        is_type("evidence.recorded", subject=f"release/{release['id']}"),
        since=since,
        unless=is_type("action.failed", service="orders"),
    )
    summary = evidence["data"]["evidence"]["summary"]
    if summary["result"] != "pass":
        raise CheckFailed("demo-e2e", f"{release['id']} failed in staging: {summary['jobs']}")
    return f"{release['id']} in staging, end-to-end tests passed ({summary['jobs']})"


def refuse_the_author(stage: Stage) -> str:
    """The author is a release manager too, and still cannot approve his own change."""
    proposed = _proposed(stage, "orders", stage.marks["feature"], stage.values["release"])
    promotion = proposed["data"]["promotion"]
    stage.values["promotion"] = promotion["id"]
    stage.values["plan_hash"] = promotion["plan_hash"]
    try:
        stage.as_("joon").execute("approve", {"promotion": promotion["id"], "plan_hash": promotion["plan_hash"]})
    except Denied as denied:
        return f"refused ({denied.code}): {denied.message}"
    raise CheckFailed("demo-four-eyes", "the author's own approval was accepted")


def approve(stage: Stage) -> str:
    """Another release manager looks at the exact difference and says yes."""
    url = cell(stage, "orders", "production")["url"]
    stage.load = stage.workshop.load(url, TRAFFIC, RATE)
    stage.as_("sora").execute(
        "approve",
        {
            "promotion": stage.values["promotion"],
            "plan_hash": stage.values["plan_hash"],
            "comment": "looked at the difference and the evidence",
        },
    )
    record = stage.chronicle.wait(
        "the commit", is_type("promotion.committed", subject=f"promotion/{stage.values['promotion']}"), seconds=20
    )
    return f"committed to the GitOps repository as {record['data']['commit'][:12]}"


def canary(stage: Stage) -> str:
    """Traffic moves in steps; each step is decided by errors beside the running version, not by a fixed threshold."""
    promotion = stage.values["promotion"]
    full = stage.chronicle.wait(
        "all traffic on the new version",
        lambda record: record["subject"] == f"rollout/{promotion}" and record["data"]["rollout"]["weight"] == 100,
        seconds=120,
        unless=is_type("service.rolledback", service="orders"),
    )
    ended = stage.chronicle.wait(
        "the end of the watch", is_type("promotion.finished", subject=f"promotion/{promotion}"), seconds=60
    )
    if not ended["data"]["ok"]:
        raise CheckFailed("demo-canary", ended["data"]["reason"])
    pushed = next(
        record
        for record in stage.chronicle.records
        if record["type"] == "aegis.change.pushed" and record["data"]["change"]["commit"] == stage.values["feature"]
    )
    stage.values["push_to_production"] = f"{(moment(full) - moment(pushed)).total_seconds():.2f}"
    counts = stage.load.counts() if stage.load else None
    served = f"; {counts.sent} requests sent, {counts.failed} failed" if counts else ""
    return f"{stage.values['release']} has all traffic {stage.values['push_to_production']} s after the push{served}"


GOOD = (
    Titled(
        name="server", title="A server starts", run=open_doors,
        why="One process: Git host, runner, registries, cluster, traffic split, portal. Everybody has an own token.",
    ),
    Titled(
        name="library", title="The shared library is released", run=release_library,
        why="Tests, coverage and scans are judged before its wheel leaves quarantine.",
    ),
    Titled(
        name="baseline", title="The shop as it is today goes to production", run=import_services,
        why="A first release needs staging, end-to-end tests and an approval like any other.",
    ),
    Titled(
        name="development", title="Joon pushes a feature; development deploys by itself", run=to_development,
        why="From here on the clock runs: how long until customers have it?",
    ),
    Titled(
        name="staging", title="Mina merges it; staging runs the end-to-end tests", run=to_staging,
        why="What goes to production is the very image that was tested here, by digest.",
    ),
    Titled(
        name="four-eyes", title="Joon approves his own change, and is refused", run=refuse_the_author,
        why="He is a release manager, but he pushed it. Authentication counts, not what Git says.",
    ),
    Titled(
        name="approval", title="Sora approves exactly what she was shown", run=approve,
        why="The approval is bound to a hash of the difference. Customers' traffic begins.",
    ),
    Titled(
        name="canary", title="Traffic moves: 5, 25, 50, 100 percent", run=canary,
        why="A sequential test compares the new version with the old one beside it, valid at every look.",
    ),
)  # fmt: skip
