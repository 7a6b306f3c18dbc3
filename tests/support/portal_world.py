# ruff: noqa: ARG002 - a fake takes what the protocols pass
"""A shop in the middle of a working day, for the portal's tests: everything a page may have to show at once.

`World` answers as `Queries`, `Commands` and `Sessions` do, holds its views in plain attributes that a test may
replace, and says what it was asked to carry out.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aegis.core.errors import Denied, NotFound, Where
from aegis.core.types import (
    Approval,
    Artifact,
    ArtifactKind,
    DeploymentState,
    Evidence,
    JobRun,
    Outcome,
    Promotion,
    PromotionState,
    Reason,
    Release,
    Rollout,
    State,
    Verdict,
)
from aegis.delivery import dossiers, views
from aegis.delivery.views import Actor, Cell, JobView, RunSummary, RunView
from aegis.delivery.why_views import WhyView
from aegis.observe.course import Course, Leg, Saving
from aegis.observe.spans import RunTrace
from aegis.supplychain.compare import Difference, Known, compare
from aegis.supplychain.sbom import Component

NOW = datetime.now(UTC).replace(microsecond=0)  # browsers count from their own clock
SORA = Actor(id="sora", name="Sora Lee", groups=("release-managers",), kind="session")
MINA = Actor(id="mina", name="Mina Kim", groups=("developers",), kind="session", language="ko")
STAGES = ("lint", "test", "build", "scan", "publish")
DIGEST = "sha256:" + "3f6c1d" * 10 + "9a0b"
WHEEL = "orders-1.2.0-py3-none-any.whl"
COMMIT = "c0ffee" * 6 + "1234"
HASH = "sha256:" + "8d2e41" * 10 + "77aa"
DIFF = """\
--- services/orders/overlays/production/release/kustomization.yaml
+++ services/orders/overlays/production/release/kustomization.yaml
@@ -3,10 +3,10 @@
 kind: Component
 images:
   - name: orders
-    newName: registry.aegis-prod.svc:5000/shop/orders
-    digest: sha256:1f0b7c2d9e8a4b5c6d7e8f901a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d
+    newName: registry.aegis-prod.svc:5000/shop/orders
+    digest: sha256:3f6c1d3f6c1d3f6c1d3f6c1d3f6c1d3f6c1d3f6c1d3f6c1d3f6c1d3f6c1d9a0b
 patches:
-  - patch: '[{"op": "replace", "path": "/metadata/annotations/aegis.io~1release", "value": "orders@1.1.4"}]'
+  - patch: '[{"op": "replace", "path": "/metadata/annotations/aegis.io~1release", "value": "orders@1.2.0"}]'
"""
LOG = (
    b"section_start:1777903200:prepare\r\x1b[0K\x1b[36mPreparing the workspace\x1b[0m\n"
    b"$ aegis project install\n"
    b"installing 24 locked packages, hashes verified\n"
    b"$ aegis project test\n"
    + b"".join(b"tests/unit/test_model.py::test_%02d \x1b[32mPASSED\x1b[0m\n" % one for one in range(40))
    + b"tests/unit/test_model.py::test_an_order_costs_what_its_lines_cost \x1b[31mFAILED\x1b[0m\n"
    b"E   assert Money(minor=3990) == Money(minor=3995)\n"
    b"<script>alert('a log is text')</script>\n"
    b"collecting 10%\rcollecting 55%\rcollected 41 tests\n"
    b"\x1b[1;31m1 failed\x1b[0m, 40 passed in 2.31s\n"
    b"TOTAL 93%\n"
)


COURSE = Course(
    seconds=96.0, run_seconds=90.5, wait_seconds=5.5, queue_seconds=4.0,
    legs=tuple(
        Leg(job=name, id=name, attempt=attempt, wait_seconds=wait, queue_seconds=min(wait, 2.0), run_seconds=ran)
        for name, attempt, wait, ran in (
            ("lint", 1, 1.5, 20.5), ("integration-test 1/2", 1, 2.0, 10.0), ("integration-test 1/2", 2, 0.0, 30.0),
            ("image", 1, 2.0, 30.0),
        )
    ),
    savings=(Saving(cause="job", job="integration-test 1/2", seconds=31.0), Saving(cause="queue", job="", seconds=4.0)),
)  # fmt: skip


def ago(**span: float) -> datetime:
    """A time before now."""
    return NOW - timedelta(**span)


def job(name: str, stage: str, state: State, start: float, seconds: float | None, **more: Any) -> JobRun:
    """A job that was queued a little before it started, `start` seconds before now."""
    started = None if state in (State.CREATED, State.PENDING, State.MANUAL) else ago(seconds=start)
    return JobRun(
        id=f"job-{name.replace(' ', '-').replace('/', '-')}", name=name, stage=stage, state=state,
        queued_at=ago(seconds=start + 1.5) if state is not State.CREATED else None,
        started_at=started,
        finished_at=started + timedelta(seconds=seconds) if started and seconds is not None else None,
        isolation="user, mount and pid namespaces", **more,
    )  # fmt: skip


def verdict(outcome: Outcome, *reasons: Reason) -> Verdict:
    """A verdict under the policy in force."""
    return Verdict(
        id="v1", project="shop/orders", commit=COMMIT, run="run-good", outcome=outcome, reasons=reasons,
        policy_digest=HASH, at=ago(minutes=21),
    )  # fmt: skip


GOOD = verdict(
    Outcome.WARN,
    Reason(gate="tests", outcome=Outcome.PASS, message="67 tests passed"),
    Reason(gate="coverage", outcome=Outcome.PASS, message="93.4 % of 80 %"),
    Reason(gate="dependencies", outcome=Outcome.WARN, message="idna 3.6 has a medium advisory (GHSA-jjg7-2v4v-x38h)",
           mend="raise idna to 3.7 or later: aegis project lock --upgrade idna"),
    Reason(gate="secrets", outcome=Outcome.PASS, message="nothing found in 1 214 lines"),
)  # fmt: skip
BAD = verdict(
    Outcome.BLOCK,
    Reason(gate="coverage", outcome=Outcome.BLOCK, message="74.1 % of 80 %: orders/discounts.py has no test",
           mend="cover lines 12-31 and 40-44 of src/orders/discounts.py", where=Where("src/orders/discounts.py", 12, 1)),
    Reason(gate="tests", outcome=Outcome.PASS, message="61 tests passed"),
)  # fmt: skip


def summary(identity: str, state: State, jobs: tuple[JobRun, ...], **more: Any) -> RunSummary:
    """A run of shop/orders."""
    values: dict[str, Any] = {
        "project": "shop/orders", "ref": "refs/heads/main", "commit": COMMIT, "title": "feat: discounts for regular customers",
        "source": "push", "started_by": "mina", "created_at": ago(seconds=95), "started_at": ago(seconds=94),
        "finished_at": None if not state.finished else ago(seconds=10), "job_count": len(jobs),
    }  # fmt: skip
    return RunSummary(id=identity, state=state, jobs=jobs, **(values | more))


RUNNING_JOBS = (
    JobView(job=job("lint", "lint", State.SUCCESS, 92, 4.2), usual_seconds=4.0),
    JobView(job=job("unit-test", "test", State.SUCCESS, 87, 21.0, coverage=93.4), needs=("lint",), usual_seconds=19.0),
    JobView(job=job("integration-test 1/2", "test", State.SUCCESS, 87, 33.0), needs=("lint",), usual_seconds=30.0),
    JobView(job=job("integration-test 2/2", "test", State.FAILED, 87, 12.0, allow_failure=True, attempt=2,
                    failure_reason="script_failure", exit_code=1), needs=("lint",), usual_seconds=14.0),
    JobView(job=job("wheel", "build", State.SUCCESS, 50, 6.0), needs=("unit-test",), usual_seconds=6.0),
    JobView(job=job("image", "build", State.RUNNING, 40, None), needs=("unit-test", "integration-test 1/2"),
            usual_seconds=55.0),
    JobView(job=job("scan-dependencies", "scan", State.PENDING, 10, None), needs=("image",), usual_seconds=8.0),
    JobView(job=job("scan-secrets", "scan", State.CREATED, 10, None), needs=("image",), usual_seconds=3.0),
    JobView(job=job("publish", "publish", State.MANUAL, 10, None), needs=("scan-dependencies", "scan-secrets"),
            usual_seconds=5.0),
)  # fmt: skip
FAILED_JOB = job("unit-test", "test", State.FAILED, 200, 24.0, exit_code=1, failure_reason="script_failure")
FAILED_JOBS = (
    JobView(job=job("lint", "lint", State.SUCCESS, 210, 4.0)),
    JobView(job=FAILED_JOB, needs=("lint",), usual_seconds=19.0),
    JobView(job=job("image", "build", State.SKIPPED, 170, 0.0), needs=("unit-test",)),
)
CAUSE = views.Cause(
    job="unit-test", code="test-failed",
    message="test_an_order_costs_what_its_lines_cost: 39.90 EUR instead of 39.95 EUR",
    hint="OrderRequest.total in src/orders/model.py:46 leaves out the last line; run pytest tests/unit/test_model.py",
    evidence=("E   assert Money(minor=3990) == Money(minor=3995)",),
)  # fmt: skip
EVIDENCE = (
    Evidence(id="e1", kind="tests", subject=COMMIT, project="shop/orders", digest=DIGEST, media_type="application/xml",
             run="run-good", uploaded_by="unit-test", summary={"passed": "67", "failed": "0"}, signature="MEUC"),
    Evidence(id="e2", kind="coverage", subject=COMMIT, project="shop/orders", digest=DIGEST, signature="MEUC",
             media_type="application/xml", run="run-good", uploaded_by="unit-test", summary={"lines": "93.4 %"}),
    Evidence(id="e3", kind="sbom", subject=DIGEST, project="shop/orders", digest=DIGEST, run="run-good",
             media_type="application/vnd.cyclonedx+json", uploaded_by="image", summary={"components": "24"}),
)  # fmt: skip
IMAGE = Artifact(
    digest=DIGEST, kind=ArtifactKind.IMAGE, name="shop/orders", version="1.2.0", project="shop/orders", commit=COMMIT,
    run="run-good", job="image", repository="127.0.0.1:8700/shop/orders", tags=("1.2.0", "1.2.0-c0ffee1"),
    quarantined=False,
)  # fmt: skip
RELEASE = Release(
    id="orders@1.2.0", project="shop/orders", service="orders", version="1.2.0", commit=COMMIT, ref="main",
    run="run-good", verdict="v1", artifacts=(IMAGE,), evidence=("e1", "e2", "e3"), previous="orders@1.1.4",
    changelog="### Features\n- discounts for **regular** customers (`c0ffee1`)\n\n### Fixes\n- round won to whole won",
    involved=("mina",), at=ago(minutes=20),
)  # fmt: skip
LIBRARY = replace(RELEASE, id="shop-shared@0.4.0", service="shop-shared", version="0.4.0", artifacts=())
ROLLOUT = Rollout(
    id="ro1", deployment="d1", service="payments", environment="production", release="payments@2.3.1",
    previous="payments@2.3.0", steps=(5, 25, 50, 100), step=1, weight=25, evidence=0.8,
    decision="25 % since 40 s: neither bound is reached, so the step is held",
    forecast="a decision in about 50 s at 240 requests a second", started_at=ago(seconds=70), updated_at=ago(seconds=1),
)  # fmt: skip
POINTS = tuple(
    views.RolloutPoint(
        seconds=3.0 * one, weight=5 if one < 8 else 25, evidence=value, canary_requests=40 * one,
        canary_errors=one // 6, baseline_requests=500 * one, baseline_errors=one * 2,
    )
    for one, value in enumerate([0, .1, .4, .2, .9, 1.4, 1.1, .7, .2, -.3, -.6, -.2, .5, 1.2, .9, .3, -.4, -.9, -1.3, -1.1, -1.8, -2.2, -1.9, -2.4])
)  # fmt: skip
PROMOTION = Promotion(
    id="pr-orders-prod", service="orders", environment="production", release="orders@1.2.0", previous="orders@1.1.4",
    plan_hash=HASH, base=COMMIT, diff=DIFF, requested_by="mina", requested_at=ago(minutes=12),
    expires_at=NOW + timedelta(hours=23, minutes=48), reason="discounts go live with the newsletter at three",
)  # fmt: skip
HISTORY = (
    views.HistoryLine(seq=201, at=ago(minutes=12), actor="mina", type="aegis.promotion.proposed",
                      text="asked for orders@1.2.0 in production"),
    views.HistoryLine(seq=204, at=ago(minutes=9), actor="mina", type="aegis.promotion.approval-refused",
                      text="approval refused: whoever pushed a change cannot approve it"),
)  # fmt: skip


def cells() -> tuple[Cell, ...]:
    """What runs where."""

    def cell(service: str, environment: str, version: str, state: DeploymentState, minutes: int, **more: Any) -> Cell:
        return Cell(
            service=service, environment=environment, release=f"{service}@{version}", version=version, commit=COMMIT,
            digest=DIGEST, state=state, since=ago(minutes=minutes), **more,
        )  # fmt: skip

    return (
        cell("orders", "development", "1.3.0-dev.5", DeploymentState.HEALTHY, 3, why="push to develop by Mina Kim"),
        cell("orders", "staging", "1.2.0", DeploymentState.HEALTHY, 14, why="merge of !12 by Joon Park"),
        cell("orders", "production", "1.1.4", DeploymentState.HEALTHY, 2900, why="approved by Sora Lee", pending="pr-orders-prod"),
        cell("payments", "development", "2.4.0-dev.1", DeploymentState.DEGRADED, 1, why="0 of 1 ready: exit code 3"),
        cell("payments", "staging", "2.3.1", DeploymentState.HEALTHY, 55, why="merge of !9 by Mina Kim"),
        cell("payments", "production", "2.3.1", DeploymentState.PROGRESSING, 1, why="approved by Joon Park", rollout=ROLLOUT),
    )  # fmt: skip


def entry(key: str, kind: str, title: str, **more: Any) -> views.InboxEntry:
    """An inbox entry."""
    values: dict[str, Any] = {"severity": "medium", "first_at": ago(minutes=40), "last_at": ago(minutes=4)}
    return views.InboxEntry(key=key, kind=kind, title=title, **(values | more))


INBOX = (
    entry("promotion/pr-orders-prod", "approval", "inbox.approval", link="/promotions/pr-orders-prod",
          params={"release": "orders@1.2.0", "environment": "production"}),
    entry("branch/shop/orders/feature", "block", "inbox.run-blocked", link="/runs/run-failed", count=3,
          params={"project": "shop/orders", "ref": "feature/discounts", "gates": "coverage"},
          hint="74.1 % of 80 % — cover lines 12-31 of src/orders/discounts.py"),
    entry("service/payments/development", "failure", "inbox.deployment-failed", link="/releases/payments@2.4.0-dev.1",
          params={"release": "payments@2.4.0-dev.1", "environment": "development"}, severity="high"),
)  # fmt: skip
MERGE_REQUEST = views.MergeRequestView(
    project="shop/orders", number=12, title="feat: discounts for regular customers", description="Closes the wish.",
    state="opened", source_branch="feature/discounts", target_branch="main", head=COMMIT, opened_by="mina",
    note="## ⊘ blocked\n\n| gate | says |\n| --- | --- |\n| coverage | 74.1 % of **80 %** |\n\n"
    "- cover `src/orders/discounts.py` 12-31\n\n[the run](/runs/run-failed)\n\n<script>alert(1)</script>",
    verdict="block", why_not="the gates block it", seq=240,
)  # fmt: skip


class World:
    """The fake behind the portal; times are relative to `NOW`, which is its clock."""

    def __init__(self) -> None:
        self.people = {"cookie-sora": SORA, "cookie-mina": MINA}
        self.credentials = {"token-" + "sora": "cookie-sora", "one-time-code": "cookie-mina"}
        self.done: list[tuple[str, Mapping[str, Any], str]] = []
        self.refuse: Exception | None = None
        self.fail: Exception | None = None
        self.seq = 240
        self.grown = threading.Event()
        self.log = LOG
        self.log_complete = True
        self.runs_now = (
            summary("run-now", State.RUNNING, tuple(one.job for one in RUNNING_JOBS)),
            summary("run-failed", State.FAILED, tuple(one.job for one in FAILED_JOBS), ref="refs/heads/feature/discounts",
                    verdict="block", merge_request=12, title="feat: discounts"),
            summary("run-good", State.SUCCESS, (RUNNING_JOBS[0].job, RUNNING_JOBS[1].job), verdict="warn",
                    finished_at=ago(minutes=21), started_at=ago(minutes=22), created_at=ago(minutes=22)),
        )  # fmt: skip
        self.waiting = (
            views.PromotionView(
                promotion=PROMOTION, release=RELEASE, verdict=GOOD, evidence=EVIDENCE, requested_by="Mina Kim",
                may_approve=True, forecast="about 4 min of canary at today's traffic", history=HISTORY, seq=240,
            ),
        )  # fmt: skip
        self.inbox_entries: tuple[views.InboxEntry, ...] = INBOX
        self.cells_now = cells()
        self.warnings: tuple[str, ...] = ()
        self.services: tuple[str, ...] = ("orders", "payments")
        self.points = POINTS
        self.status = views.StatusView(
            name="Shop", at=NOW,
            lines=(
                views.StatusLine(service="orders", state="operational", since=ago(days=2)),
                views.StatusLine(service="payments", state="deploying", since=ago(minutes=1)),
            ),
            incidents=(views.HistoryLine(seq=1, at=ago(hours=5), actor="", type="", text="payments was slow for 4 min"),),
        )  # fmt: skip

    def clock(self) -> datetime:
        """The portal's clock."""
        return NOW

    def empty(self) -> World:
        """A server on its first day."""
        self.services, self.cells_now, self.runs_now, self.waiting, self.inbox_entries = (), (), (), (), ()
        self.points = ()
        self.status = views.StatusView(name="Shop", lines=())
        return self

    def _ask(self, actor: Actor) -> None:
        if self.fail is not None:
            raise self.fail
        assert isinstance(actor, Actor)

    def for_actor(self, actor: Actor) -> tuple[views.PromotionView, ...]:
        """Four eyes: who asked may not approve."""
        if actor.id != "mina":
            return self.waiting
        why = "you pushed a change that is in this release"
        return tuple(replace(one, may_approve=False, why_not=why) for one in self.waiting)

    # -- Queries --------------------------------------------------------------------------------------------

    def home(self, actor: Actor, *, min_seq: int = 0) -> views.HomeView:
        self._ask(actor)
        return views.HomeView(
            services=self.services, environments=("development", "staging", "production"), cells=self.cells_now,
            runs=self.runs_now, waiting=self.for_actor(actor), rollouts=(ROLLOUT,), inbox=self.inbox_entries,
            merge_requests=(MERGE_REQUEST,) if self.services else (), libraries=(LIBRARY,) if self.services else (),
            warnings=self.warnings, name="Shop", seq=max(self.seq, min_seq),
        )  # fmt: skip

    def runs(self, actor: Actor, *, project: str = "", limit: int = 30, before: str = "") -> tuple[RunSummary, ...]:
        self._ask(actor)
        return () if before else self.runs_now

    def why(self, actor: Actor, run: str, job: str) -> WhyView:
        self._ask(actor)
        return WhyView(job=job, state="pending")

    def run(self, actor: Actor, run: str, *, min_seq: int = 0) -> RunView:
        self._ask(actor)
        found = next((one for one in self.runs_now if one.id == run), None)
        if found is None:
            raise NotFound("run-unknown", f"there is no run {run}", hint="aegis status shows those there are")
        common: dict[str, Any] = {
            "stages": STAGES, "isolation": "user, mount and pid namespaces", "seq": self.seq, "course": COURSE,
        }  # fmt: skip
        if run == "run-failed":
            return RunView(summary=found, jobs=FAILED_JOBS, causes=(CAUSE,), verdict=BAD, **common)
        jobs = tuple(replace(view, job=one) for view, one in zip(RUNNING_JOBS, found.jobs, strict=False))
        if run == "run-good":
            return RunView(summary=found, jobs=jobs, verdict=GOOD, evidence=EVIDENCE, artifacts=(IMAGE,),
                           release="orders@1.2.0", **common)  # fmt: skip
        return RunView(summary=found, jobs=jobs, excluded=(("pages", "rules: only on tags"),), **common)

    def spans(self, actor: Actor, run: str) -> RunTrace:
        self._ask(actor)
        return RunTrace(run=run, id="0" * 31 + "1", resource={}, spans=(), course=COURSE)

    def trace(self, actor: Actor, run: str, job: str, *, offset: int = 0, limit: int = 1 << 20) -> views.TraceChunk:
        self._ask(actor)
        data = self.log[offset : offset + limit]
        after = offset + len(data)
        return views.TraceChunk(
            data=data, offset=offset, next_offset=after, complete=self.log_complete and after >= len(self.log)
        )

    def trace_wait(self, actor: Actor, run: str, job: str, *, offset: int, timeout: float) -> bool:
        if self.log_complete or len(self.log) > offset:
            return True
        self.grown.wait(min(timeout, 5))
        self.grown.clear()
        return True

    def promotions(self, actor: Actor, *, waiting: bool = False, limit: int = 50) -> tuple[views.PromotionView, ...]:
        self._ask(actor)
        return self.for_actor(actor)

    def promotion(self, actor: Actor, promotion: str, *, min_seq: int = 0) -> views.PromotionView:
        self._ask(actor)
        for one in self.for_actor(actor):
            if one.promotion.id == promotion:
                return one
        raise NotFound("promotion-unknown", f"there is no promotion {promotion}")

    def rollout(self, actor: Actor, rollout: str, *, min_seq: int = 0) -> views.RolloutView:
        self._ask(actor)
        return views.RolloutView(
            rollout=ROLLOUT, points=self.points, upper=4.6, lower=-3.0, promotion="pr-payments-prod", commit=COMMIT,
            previous_commit="1234" * 10, url="http://payments.aegis-prod.svc", seq=self.seq,
        )  # fmt: skip

    def releases(self, actor: Actor, *, service: str = "", limit: int = 50) -> tuple[Release, ...]:
        self._ask(actor)
        return (RELEASE, LIBRARY) if self.services else ()

    def release(self, actor: Actor, release: str, *, min_seq: int = 0) -> views.ReleaseView:
        self._ask(actor)
        approval = Approval(by="Sora Lee", role="release-managers", granted=True, plan_hash=HASH, at=ago(minutes=2))
        running = tuple(one for one in self.cells_now if one.release == release)
        return views.ReleaseView(
            release=RELEASE, verdict=GOOD, evidence=EVIDENCE, running_in=running, signature="MEUCIQD" + "x" * 60,
            approvals=(approval,), history=HISTORY, seq=self.seq,
        )  # fmt: skip

    def dossier(self, actor: Actor, release: str) -> dossiers.Dossier:
        self._ask(actor)
        packages = (
            dossiers.PackageLine(
                name="jinja2", version="3.1.5", purl="pkg:pypi/jinja2@3.1.5", licences=("BSD-3-Clause",)
            ),
        )
        image = dossiers.ImageDossier(
            digest=DIGEST, repository="host/shop/orders", tags=("1.2.0",), size=41_000_000, layers={DIGEST: 41_000_000},
            packages=packages, trusted="yes", attested=("https://slsa.dev/provenance/v1",),
        )  # fmt: skip
        return dossiers.Dossier(
            release=release, commit=RELEASE.commit, author="Mina Kim <mina@shop.example>", authored_at=NOW, message="feat: x",
            jobs=(), figures={"tests": {"passed": "412"}}, findings=("low jinja2 CVE-2026-1",), image=image,
            files=(
                dossiers.FileDossier(filename=WHEEL, digest=DIGEST, size=9000, index="shop"),
                dossiers.FileDossier(filename=WHEEL, digest=DIGEST, size=9000, index="staging", yanked="loses orders"),
            ),
        )  # fmt: skip

    def comparison(self, actor: Actor, before: str, after: str) -> Difference:
        self._ask(actor)
        package = Component(name="jinja2", version="3.1.4", licences=("MIT",))
        one = Known(
            name=before, digest="a", size=40_000_000, layers={"x": 1}, packages=(package,), findings={"high jinja2": ""}
        )
        other = replace(one, name=after, digest="b", packages=(replace(package, version="3.1.5"),), findings={})
        return compare(one, other)

    def merge_requests(
        self, actor: Actor, *, project: str = "", state: str = "opened"
    ) -> tuple[views.MergeRequestView, ...]:
        return (MERGE_REQUEST,)

    def merge_request(self, actor: Actor, project: str, number: int, *, min_seq: int = 0) -> views.MergeRequestView:
        self._ask(actor)
        return replace(MERGE_REQUEST, runs=self.runs_now[1:2])

    def at(self, actor: Actor, time: datetime | None, *, min_seq: int = 0) -> views.AtView:
        self._ask(actor)
        return views.AtView(
            at=time or NOW, cells=self.cells_now, services=self.services,
            environments=("development", "staging", "production"), seq=self.seq,
        )  # fmt: skip

    def inbox(self, actor: Actor, *, include_resolved: bool = False) -> tuple[views.InboxEntry, ...]:
        self._ask(actor)
        return self.inbox_entries

    def status_page(self) -> views.StatusView:
        if self.fail is not None:
            raise self.fail
        return self.status

    # -- Commands -------------------------------------------------------------------------------------------

    def execute(self, verb: str, fields: Mapping[str, Any], actor: Actor, *, dry_run: bool = False) -> views.Result:
        if self.refuse is not None:
            raise self.refuse
        self.done.append((verb, dict(fields), actor.id))
        self.seq += 1
        if verb in ("approve", "reject"):
            state = PromotionState.APPROVED if verb == "approve" else PromotionState.REJECTED
            given = Approval(by=actor.id, role="release-managers", granted=verb == "approve", plan_hash=HASH, at=NOW)
            self.waiting = tuple(
                replace(one, promotion=replace(one.promotion, state=state, approvals=(given,)), may_approve=False,
                        why_not="it has been decided")
                for one in self.waiting
            )  # fmt: skip
        return views.Result(seq=self.seq, message=verb)

    # -- Sessions -------------------------------------------------------------------------------------------

    def open(self, credential: str) -> str:
        if credential not in self.credentials:
            raise Denied("credential-unknown", "that is neither a token nor a link")
        return self.credentials[credential]

    def resolve(self, cookie: str) -> Actor | None:
        return self.people.get(cookie)

    def close(self, cookie: str) -> None:
        self.people.pop(cookie, None)
