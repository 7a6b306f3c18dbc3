"""R6.2: what is released is looked up again when advisories change, from the signed bill of materials and without reading a layer."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aegis.core.errors import Denied
from aegis.core.events import EvidenceRecorded
from aegis.core.types import Outcome
from aegis.delivery import commands as ask
from aegis.delivery.dispatch import SYSTEM, Asking
from aegis.delivery.handlers import rescans, trust
from aegis.delivery.handlers.attestations import push, subject_of
from aegis.delivery.views import Result
from aegis.gates.policy import GatePolicy, from_document
from aegis.supplychain import signing
from aegis.supplychain.provenance import sbom_statement
from aegis.supplychain.sbom import Component, Product, document
from support.clock import FakeClock
from support.running_release import Running

ASKING = Asking(actor=SYSTEM)


def advisories(**fixed: str) -> bytes:
    """An archive of one critical advisory for each package, mended in a version."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, version in fixed.items():
            events = [{"introduced": "0"}, {"fixed": version}]
            affected = {
                "package": {"ecosystem": "PyPI", "name": name},
                "ranges": [{"type": "ECOSYSTEM", "events": events}],
            }
            vector = {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}
            text = {
                "id": f"CVE-2026-{name}",
                "modified": "2026-01-02T03:04:05Z",
                "affected": [affected],
                "severity": [vector],
            }
            archive.writestr(f"{name}.json", json.dumps(text))
    return made.getvalue()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    trust.sign_image(made.context, made.repository, made.image)
    bill = document(
        Product(kind="image", name="web", version="1.0.0", digest=made.digest, commit="c" * 40),
        (Component(name="jinja2", version="3.1.0"), Component(name="idna", version="3.7")),
        made_at=FakeClock().now(), tool_version="1",
    )  # fmt: skip
    statement = sbom_statement({"host/team/web": made.digest}, json.loads(bill))
    credential = made.context.notary.credential()
    push(made.repository, signing.attest_image(subject_of(made.repository, made.digest), (statement,), credential))
    yield made
    made.doors.close()
    made.ledger.close()


def looked_up(running: Running, archive: bytes) -> Result:
    running.advisories = archive
    return rescans.rescan_releases(running.context, ask.RescanReleases(), ASKING)


def test_r6_2_a_new_advisory_is_found_told_once_and_settled_by_the_mend(running: Running) -> None:
    assert looked_up(running, advisories(other="1")).values["releases"] == ["web@1.0.0"]
    assert running.inbox.entries() == ()
    for _ in range(2):
        looked_up(running, advisories(jinja2="3.1.5"))
    (entry,) = running.inbox.entries()
    assert (entry.title, entry.count, entry.severity) == ("inbox.vulnerable", 1, "high")
    assert entry.link == "/releases/web@1.0.0"
    assert "jinja2" in entry.hint
    claims = [one.data.evidence for one in running.records() if isinstance(one.data, EvidenceRecorded)]
    assert [(one.kind, one.summary["findings"], one.summary["packages"]) for one in claims] == [
        ("dependencies", "0", "2"),
        ("dependencies", "1", "2"),
    ]
    looked_up(running, advisories(jinja2="3.0"))
    assert running.inbox.entries() == ()


def test_r6_2_the_policy_stops_promotions_of_what_has_become_vulnerable(running: Running) -> None:
    looked_up(running, advisories(jinja2="3.1.5"))
    rescans.permitted(running.context, running.release)
    running.gates = replace(GatePolicy(), released=Outcome.BLOCK)
    with pytest.raises(Denied, match="jinja2") as caught:
        rescans.permitted(running.context, running.release)
    assert caught.value.code == "vulnerable"
    exempt = {"rule": "CVE-2026-jinja2", "package": "jinja2", "until": "2099-01-01", "reason": "no template is read"}
    running.gates = from_document({"dependencies": {"released": "block"}, "exemptions": [exempt]}, "aegis.yaml")
    rescans.permitted(running.context, running.release)


def test_r6_2_a_rescan_whose_report_is_gone_is_no_clean_one(running: Running) -> None:
    looked_up(running, advisories(other="1"))
    running.gates = replace(GatePolicy(), released=Outcome.BLOCK)
    rescans.permitted(running.context, running.release)
    known = rescans.latest(running.context, "web@1.0.0")
    assert known is not None
    running.doors.blobs.delete(known.digest)
    with pytest.raises(Denied, match="cannot be read"):
        rescans.permitted(running.context, running.release)


def test_r6_2_what_has_no_signed_bill_of_materials_is_named_and_not_called_clean(running: Running) -> None:
    running.repository.delete_manifest(signing.attestation_tag(running.digest))
    found = looked_up(running, advisories(jinja2="3.1.5"))
    assert found.values["unreadable"] == ["web@1.0.0"]
    assert rescans.latest(running.context, "web@1.0.0") is None


def test_r6_2_without_advisories_nothing_is_said(running: Running) -> None:
    assert looked_up(running, advisories()).message == "no advisories are declared"
    assert running.records() == []
