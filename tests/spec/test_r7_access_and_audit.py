"""R7.4 and R7.5, as far as they are decided purely: the audit log holds, and access follows least privilege."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis.access.policy import Resource
from aegis.access.tokens import Grant, Kind
from aegis.core.errors import Denied
from aegis.ledger.chain import verify
from support.approvals import Team
from support.ledgers import opened, started

ACCESS = Team().access()
JOB = Grant(identity="job/7", kind=Kind.JOB, project="shop/orders", run="r1", job="7")
DEPLOY = Grant(identity="cluster", kind=Kind.DEPLOY, project="shop/orders")
PRODUCTION = Resource(kind="environment", service="orders", environment="production")


def test_r7_4_what_is_recorded_cannot_be_altered_unnoticed(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.append([started(str(number), actor="ana") for number in range(3)])
        rows = list(ledger.rows())
    rows[1] = rows[1]._replace(actor="ben")
    fault = verify(rows).fault
    assert fault is not None
    assert fault.seq == 2


def test_r7_5_a_job_reaches_its_own_project_and_never_a_decision() -> None:
    assert ACCESS.authorise(JOB, "fetch", Resource(kind="project", project="shop/orders")).allowed
    assert not ACCESS.authorise(JOB, "fetch", Resource(kind="project", project="shop/payments")).allowed
    for verb in ("approve", "reject", "promote", "rollback"):
        assert not ACCESS.authorise(JOB, verb, PRODUCTION).allowed


def test_r7_5_a_job_pushes_to_quarantine_only() -> None:
    name = {"kind": "image", "project": "shop/orders"}
    assert ACCESS.authorise(JOB, "push-image", Resource(**name, quarantined=True)).allowed
    assert not ACCESS.authorise(JOB, "push-image", Resource(**name)).allowed


def test_r7_5_a_cluster_never_pulls_what_no_verdict_released() -> None:
    assert ACCESS.authorise(DEPLOY, "pull-image", Resource(kind="image", project="shop/orders")).allowed
    quarantined = Resource(kind="image", project="shop/orders", quarantined=True)
    assert not ACCESS.authorise(DEPLOY, "pull-image", quarantined).allowed


def test_r7_5_a_token_reaches_no_further_than_its_scope() -> None:
    reading = Grant(identity="rita", kind=Kind.USER, scopes=("read",))
    assert ACCESS.authorise(reading, "read", PRODUCTION).allowed
    with pytest.raises(Denied, match="a token with the scope approve"):
        ACCESS.require(reading, "approve", PRODUCTION)


def test_r7_5_a_developer_manages_deployments_but_not_the_platform() -> None:
    ana = Grant(identity="ana", kind=Kind.SESSION, scopes=("*",))
    assert ACCESS.authorise(ana, "promote", PRODUCTION).allowed
    denied = ACCESS.authorise(ana, "create-project", Resource(kind="project", project="shop/new"))
    assert not denied.allowed
    assert "rule administer" in denied.reason


def test_r7_5_who_is_no_longer_declared_may_nothing() -> None:
    gone = Grant(identity="leaver", kind=Kind.SESSION, scopes=("*",))
    assert not ACCESS.authorise(gone, "read", Resource(kind="server")).allowed
