"""The chapters of the bad changes, and the proof at the end."""

from __future__ import annotations

from collections.abc import Callable

from aegis.core.errors import CheckFailed
from aegis.demo import changes
from aegis.demo.chapters import RATE, TRAFFIC, cell
from aegis.demo.chronicle import Record
from aegis.demo.story import Stage, Titled, is_type, released, stopped


def _propose(stage: Stage, branch: str, message: str, edit: Callable[[Stage], None]) -> None:
    """Mina commits an edit on a branch of its own and asks for it to be merged, with Git alone."""
    tree = stage.trees["shop/orders"]
    tree.branch(branch, "develop")
    edit(stage)
    tree.commit(message, stage.people["mina"])
    stage.marks[branch] = stage.mark()
    stage.push("shop/orders", branch, "mina", ("merge_request.create", "merge_request.target=develop"))


def _untested(stage: Stage) -> None:
    stage.trees["shop/orders"].write("src/orders/discounts.py", changes.DISCOUNTS)


def _vulnerable(stage: Stage) -> None:
    tree = stage.trees["shop/orders"]
    tree.write("pyproject.toml", changes.replaced(tree.read("pyproject.toml"), changes.VULNERABLE))
    tree.lock(stage.people["mina"])


def _leaking(stage: Stage) -> None:
    stage.trees["shop/orders"].write("src/orders/carrier.py", changes.leaked(stage.workshop.entropy(16)))


def blocked_by_coverage(stage: Stage) -> str:
    """All three are pushed now, so that their pipelines share the machine; this chapter waits for the first."""
    if stage.load is not None:
        stage.load.stop()
    _propose(stage, "discounts", "feat: discount codes", _untested)
    _propose(stage, "receipt-template", "feat: receipts from a template", _vulnerable)
    _propose(stage, "carrier", "feat: announce parcels to the carrier", _leaking)
    return _blocked(stage, "discounts", "coverage")


def blocked_by_advisory(stage: Stage) -> str:
    """A dependency with a published vulnerability."""
    return _blocked(stage, "receipt-template", "dependencies")


def blocked_by_leak(stage: Stage) -> str:
    """A credential in the code."""
    return _blocked(stage, "carrier", "secrets")


def _blocked(stage: Stage, branch: str, gate: str) -> str:
    opened = stage.chronicle.wait(
        f"the merge request of {branch}",
        lambda record: record["type"] == "dev.cdevents.change.created" and record["data"]["source_branch"] == branch,
        since=stage.marks[branch],
    )
    head = opened["data"]["head"]
    judged = stage.chronicle.wait(
        f"the verdict about {branch}",
        lambda record: record["type"] == "aegis.verdict.given" and record["data"]["verdict"]["commit"] == head,
        since=stage.marks[branch],
        seconds=90,
    )
    verdict = judged["data"]["verdict"]
    reasons = [one for one in verdict["reasons"] if one["outcome"] == "block"]
    found = next((one for one in reasons if one["gate"] == gate), None)
    if verdict["outcome"] != "block" or found is None:
        raise CheckFailed(
            "demo-gate", f"{branch} was to be blocked by {gate}; the gates say {reasons or verdict['outcome']}"
        )
    others = [one["gate"] for one in reasons if one["gate"] != gate]
    if others:
        raise CheckFailed("demo-gate", f"{branch} was blocked by {', '.join(others)} as well")
    place = f" at {found['where']['file']}:{found['where']['line']}" if found["where"] else ""
    stage.say(f"⊘ {found['message']}{place}")
    stage.say(f"  mend: {found['mend']}")
    return f"blocked by {gate}: {found['message']}{place} — {found['mend']}"


def passes_every_test(stage: Stage) -> str:
    """A change whose tests share its author's blind spot goes all the way to the approval."""
    tree = stage.trees["shop/orders"]
    tree.branch("labels", "develop")
    app = tree.read("src/orders/app.py")
    app = changes.replaced(changes.replaced(app, changes.LABEL_IMPORT), changes.LABEL_USE)
    tree.write("src/orders/app.py", app)
    tree.write("src/orders/labels.py", changes.LABEL)
    tree.write("tests/unit/test_labels.py", changes.LABEL_TEST)
    tree.commit("feat: print parcel labels", stage.people["joon"])
    since = stage.mark()
    stage.marks["labels"] = since
    stage.push("shop/orders", "develop", "joon")
    stage.chronicle.wait(
        "the pipeline of the labels", released("shop/orders", "develop"), since=since, unless=stopped("shop/orders")
    )
    opened = stage.as_("joon").execute(
        "open-merge-request",
        {"project": "shop/orders", "source": "develop", "target": "main", "title": "Parcel labels"},
    )
    stage.as_("mina").execute("merge", {"project": "shop/orders", "number": opened["values"]["number"]})

    def proposed(record: Record) -> bool:
        return (record["type"], record["environment"]) == ("aegis.promotion.proposed", "production")

    promotion = stage.chronicle.wait(
        "the proposal for production", proposed, since=since, seconds=90, unless=stopped("shop/orders")
    )["data"]["promotion"]
    stage.load = stage.workshop.load(cell(stage, "orders", "production")["url"], TRAFFIC, RATE)
    stage.values["bad"] = promotion["id"]
    stage.values["bad_release"] = promotion["release"]
    stage.as_("sora").execute("approve", {"promotion": promotion["id"], "plan_hash": promotion["plan_hash"]})
    return f"{promotion['release']}: every job passed, end-to-end tests in staging too; approved"


def approve_meanwhile(stage: Stage) -> str:
    """While it rolls out somebody prepares the way back, and gets a yes that will have to wait."""
    stage.chronicle.wait(
        "the rollout to begin", is_type("rollout.started", subject=f"rollout/{stage.values['bad']}"), seconds=60
    )
    fields = {
        "service": "orders",
        "environment": "production",
        "release": stage.values["release"],
        "reason": "to be safe",
    }
    asked = stage.as_("mina").execute("promote", fields)
    stage.values["stale"] = asked["values"]["promotion"]
    stage.as_("sora").execute(
        "approve", {"promotion": asked["values"]["promotion"], "plan_hash": asked["values"]["plan_hash"]}
    )
    return f"approved: back to {stage.values['release']}; it waits, because a rollout is under way"


def rolled_back(stage: Stage) -> str:
    """The statistics see what no test saw, and take it back."""
    record = stage.chronicle.wait(
        "the rollback", is_type("rollout.finished", subject=f"rollout/{stage.values['bad']}"), seconds=120
    )
    rollout = record["data"]["rollout"]
    if rollout["state"] != "rolled_back":
        raise CheckFailed("demo-rollback", f"the rollout ended as {rollout['state']}: {rollout['decision']}")
    stage.chronicle.wait("the revert", is_type("service.rolledback", service="orders"), since=record["seq"])
    quarantined = stage.chronicle.wait("the quarantine", is_type("artifact.quarantined"), since=record["seq"])
    now = cell(stage, "orders", "production")
    if now["release"] != stage.values["release"]:
        raise CheckFailed("demo-rollback", f"production runs {now['release']}")
    return f"{rollout['decision']}; {quarantined['data']['digest'][:19]} is quarantined, {now['release']} serves again"


def refused_as_stale(stage: Stage) -> str:
    """What Sora approved was a difference to a release that is gone. It is not what would be done now."""
    record = stage.chronicle.wait(
        "the stale plan to be refused",
        is_type("promotion.voided", subject=f"promotion/{stage.values['stale']}"),
        seconds=30,
        unless=is_type("promotion.committed", subject=f"promotion/{stage.values['stale']}"),
    )
    return f"refused ({record['data']['why']}): {record['data']['message']}"


def prove(stage: Stage) -> str:
    """The ledger is verified from its first record, and each running process leads back to its commit."""
    if stage.load is not None:
        stage.load.stop()
    verified = stage.workshop.verify_ledger()
    stage.values["events"] = str(verified.get("records", verified.get("events", 0)))
    if not verified.get("valid", verified.get("verified", False)):
        raise CheckFailed("demo-ledger", f"the ledger does not verify: {verified}")
    traced = 0
    for place in stage.operator.get("home", min_seq=stage.mark())["cells"]:
        if place["release"] is None:
            continue
        release = stage.operator.get(f"releases/{place['release']}")["release"]
        processes = [
            one for load in place["workloads"] if load["release"] == place["release"] for one in load["processes"]
        ]
        if not processes or release["commit"] != place["commit"]:
            raise CheckFailed("demo-trace", f"{place['service']} in {place['environment']} cannot be traced")
        traced += 1
        stage.say(
            f"{place['service']} in {place['environment']}: process {processes[0]} ← {place['digest'][:19]} ← "
            f"{place['release']} ← run {release['run'][:10]}… ← commit {release['commit'][:8]}"
        )
    return f"{stage.values['events']} records verified; {traced} places traced from process to commit"


BAD = (
    Titled(
        name="blocked-coverage", title="(a) A change with too few tests is blocked", run=blocked_by_coverage,
        why="Under 80 % of lines: the note on the merge request names the lines.",
    ),
    Titled(
        name="blocked-dependency", title="(b) A vulnerable dependency is blocked", run=blocked_by_advisory,
        why="The advisory, and the version that mends it, come from the declared store.",
    ),
    Titled(
        name="blocked-secret", title="(c) A leaked credential is blocked", run=blocked_by_leak,
        why="It would stay in the history: the mend says what to do with the key.",
    ),
    Titled(
        name="fails-in-production", title="(d) A change passes every test, and is wrong", run=passes_every_test,
        why="Its tests know only names in ASCII. Customers have others.",
    ),
    Titled(
        name="approved-plan", title="(e) Meanwhile a way back is approved", run=approve_meanwhile,
        why="An approval names one exact difference, to what production holds at this moment.",
    ),
    Titled(
        name="rollback", title="(d) The statistics roll it back", run=rolled_back,
        why="Traffic returns first, then Git says so, then the image is quarantined.",
    ),
    Titled(
        name="stale-plan", title="(e) The approved plan went stale, and is refused", run=refused_as_stale,
        why="Production is no longer what it was when the plan was made.",
    ),
    Titled(
        name="proof", title="Everything is proven", run=prove,
        why="One hash chain holds all of it; nobody can alter it unnoticed.",
    ),
)  # fmt: skip
