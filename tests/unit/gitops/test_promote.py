"""Plans, their hash, and the commits they become."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from aegis.core.errors import Conflict, NotFound
from aegis.core.types import ApprovedPromotion, Promotion
from aegis.gitops import overlay, promote
from aegis.gitops.overlay import EnvironmentSpec, Placed, ServiceSpec
from aegis.gitops.promote import PromotionPlan

SPEC = ServiceSpec(name="orders", environments=(EnvironmentSpec(name="production", namespace="aegis-prod"),))
OTHER = ServiceSpec(name="payments", environments=(EnvironmentSpec(name="production", namespace="aegis-prod"),))
POLICY = "sha256:" + "1" * 64


def _placed(version: str, digit: str) -> Placed:
    return Placed(release=f"orders@{version}", image="r.test/orders", digest="sha256:" + digit * 64, commit=digit * 40)


def _plan(files: dict[str, bytes], placed: Placed, policy: str = POLICY, base: str = "b" * 40) -> PromotionPlan:
    return promote.plan(files, base=base, spec=SPEC, environment="production", placed=placed, policy_digest=policy)


def _apply(files: dict[str, bytes], planned: PromotionPlan) -> dict[str, bytes]:
    return {path: data for path, data in {**files, **planned.files}.items() if data is not None}


def _approved(planned: PromotionPlan, **changes: object) -> ApprovedPromotion:
    promotion = Promotion(
        id="p1",
        service="orders",
        environment="production",
        release=planned.release,
        previous=planned.previous,
        plan_hash=planned.plan_hash,
        base=planned.base,
        diff=planned.diff,
        requested_by="maria",
        requested_at=datetime(2025, 1, 1, tzinfo=UTC),
    )
    return ApprovedPromotion(promotion=replace(promotion, **changes), approved_by=("riley",))


FILES = {**overlay.generate(SPEC), **overlay.generate(OTHER)}


def test_the_first_plan_shows_everything_and_the_second_only_the_difference():
    first = _plan(FILES, _placed("1.0.0", "a"))
    assert first.previous is None
    assert "+kind: Deployment" in first.diff
    second = _plan(_apply(FILES, first), _placed("1.1.0", "d"))
    assert second.previous == "orders@1.0.0"
    assert "-          image: r.test/orders@sha256:" + "a" * 64 in second.diff
    assert "readinessProbe" not in "".join(line for line in second.diff.splitlines() if line.startswith(("+", "-")))
    assert set(second.files) == {"services/orders/overlays/production/release/kustomization.yaml"}


def test_planning_what_is_there_changes_nothing():
    placed = _placed("1.0.0", "a")
    again = _plan(_apply(FILES, _plan(FILES, placed)), placed)
    assert not again.changes
    assert not again.files


def test_an_unrelated_commit_leaves_the_hash_and_a_related_one_does_not():
    planned = _plan(FILES, _placed("1.0.0", "a"))
    elsewhere = {**FILES, "services/payments/base/service.yaml": b"changed", "README.md": b"hello"}
    assert _plan(elsewhere, _placed("1.0.0", "a"), base="e" * 40).plan_hash == planned.plan_hash
    assert promote.still_holds(planned, elsewhere, policy_digest=POLICY) == ""
    path = "services/orders/base/deployment.yaml"
    edited = {**FILES, path: FILES[path] + b"# looked at\n"}
    assert _plan(edited, _placed("1.0.0", "a")).plan_hash != planned.plan_hash
    assert "have changed" in promote.still_holds(planned, edited, policy_digest=POLICY)


@pytest.mark.parametrize("other", ["digest", "release", "policy"])
def test_the_hash_binds_digest_release_and_policy(other: str):
    planned = _plan(FILES, _placed("1.0.0", "a"))
    changed = {
        "digest": lambda: _plan(FILES, replace(_placed("1.0.0", "a"), digest="sha256:" + "f" * 64)),
        "release": lambda: _plan(FILES, _placed("1.0.1", "a")),
        "policy": lambda: _plan(FILES, _placed("1.0.0", "a"), "sha256:" + "2" * 64),
    }[other]()
    assert changed.plan_hash != planned.plan_hash


def test_a_policy_change_makes_a_plan_stale_in_words():
    planned = _plan(FILES, _placed("1.0.0", "a"))
    assert "policy" in promote.still_holds(planned, FILES, policy_digest="sha256:" + "2" * 64)


def test_another_release_in_between_makes_a_plan_stale_in_words():
    planned = _plan(FILES, _placed("1.0.0", "a"))
    moved = _apply(FILES, _plan(FILES, _placed("0.9.0", "9")))
    assert "now holds orders@0.9.0" in promote.still_holds(planned, moved, policy_digest=POLICY)


def test_an_approved_plan_becomes_a_commit_with_trailers():
    planned = _plan(FILES, _placed("1.0.0", "a"))
    commit = promote.carry_out(_approved(planned, reason="weekly\nAegis-Plan: forged"), planned)
    assert commit.files == planned.files
    assert commit.message.startswith("Promote orders@1.0.0 to production\n\n")
    found = promote.trailers(commit.message)
    assert found["Aegis-Promotion"] == "p1"
    assert found["Aegis-Release"] == "orders@1.0.0"
    assert found["Aegis-Plan"] == planned.plan_hash
    assert found["Aegis-Approved-By"] == "riley"
    assert "Aegis-Plan: forged" not in commit.message


def test_a_stale_approval_is_refused():
    planned = _plan(FILES, _placed("1.0.0", "a"))
    path = "services/orders/overlays/production/kustomization.yaml"
    fresh = _plan({**FILES, path: FILES[path].replace(b"256Mi", b"999Mi")}, _placed("1.0.0", "a"))
    with pytest.raises(Conflict) as caught:
        promote.carry_out(_approved(planned), fresh)
    assert caught.value.code == "plan-stale"


def test_a_plan_of_another_promotion_or_without_approval_is_refused():
    planned = _plan(FILES, _placed("1.0.0", "a"))
    with pytest.raises(Conflict, match="another promotion"):
        promote.carry_out(_approved(planned, environment="staging"), planned)
    with pytest.raises(Conflict, match="nobody approved"):
        promote.carry_out(replace(_approved(planned), approved_by=()), planned)


def test_a_failed_deployment_returns_by_a_new_commit():
    old, new = _placed("1.0.0", "a"), _placed("1.1.0", "d")
    first = _apply(FILES, _plan(FILES, old))
    second = _apply(first, _plan(first, new))
    planned, commit = promote.revert(
        second, base="b" * 40, spec=SPEC, environment="production", to=old, policy_digest=POLICY, reason="crash loop"
    )
    assert _apply(second, planned) == first
    assert commit.message.startswith("Return production to orders@1.0.0\n\ncrash loop\n\n")
    assert promote.trailers(commit.message)["Aegis-Reverts"] == "orders@1.1.0"
    with pytest.raises(Conflict, match="already holds"):
        promote.revert(
            first, base="b" * 40, spec=SPEC, environment="production", to=old, policy_digest=POLICY, reason="x"
        )


def test_an_environment_without_overlay_is_not_found():
    with pytest.raises(NotFound, match="has no services/orders/overlays/production"):
        _plan({}, _placed("1.0.0", "a"))
