"""R7 Security and R1.4: 2 secrets come from a manager, 3 what comes from outside is verified; scans follow passing tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aegis.adapters.secrets_file import FileSecretStore, identity_from_file
from aegis.adapters.signer_file import ARTIFACT, FileSigner
from aegis.core.errors import Denied
from aegis.core.ids import sha256
from aegis.core.types import JobRun, Outcome, State
from aegis.gates.judge import Claim, Context, judge
from aegis.gates.policy import GatePolicy
from aegis.secrets.references import parse, resolve
from aegis.supplychain.signing import KeyNotary, Subject, sign_image, verify_image


@pytest.fixture
def store(tmp_path: Path) -> FileSecretStore:
    data = tmp_path / "data"
    return FileSecretStore(data, identity_from_file(tmp_path / "keys" / "identity.txt", data=data))


def test_r7_2_a_job_gets_secrets_from_the_store_and_the_plan_holds_references_only(store: FileSecretStore) -> None:
    reference = parse("secret://shop/orders#password")
    store.put(reference, "only-in-the-store")
    planned = {"DATABASE_PASSWORD": str(reference), "LOG_LEVEL": "info"}
    assert "only-in-the-store" not in json.dumps(planned)
    environment, masked = resolve(planned, store.get)
    assert environment["DATABASE_PASSWORD"] == "only-in-the-store"
    assert masked == {"only-in-the-store"}


def test_r7_2_a_rotation_locks_nobody_out(store: FileSecretStore) -> None:
    reference = parse("secret://shop/orders#password")
    store.put(reference, "former")
    store.rotate(reference, "present")
    assert {store.get(reference), store.get(reference, version=1)} == {"former", "present"}


def test_r7_3_nothing_unsigned_or_altered_is_taken_for_ours(store: FileSecretStore) -> None:
    signer = FileSigner(store, ARTIFACT)
    notary = KeyNotary(signer)
    image = Subject(digest=sha256(b"image"), size=5)
    signed = sign_image(image, "host/shop/orders", notary.credential())
    assert verify_image(notary.trusted(), image.digest, signed.manifest, signed.blobs).digest == image.digest
    for digest, manifest, code in (
        (image.digest, None, "unsigned"),
        (sha256(b"another image"), signed.manifest, "wrong-digest"),
    ):
        with pytest.raises(Denied) as caught:
            verify_image(notary.trusted(), digest, manifest, signed.blobs)
        assert caught.value.code == code


def test_r1_4_a_scan_does_not_stand_in_for_tests_that_failed() -> None:
    scan = json.dumps({"scan": {"type": "dependency_scanning", "status": "success"}, "vulnerabilities": []}).encode()
    tests = b'<testsuite><testcase name="a"><failure message="assert False"/></testcase></testsuite>'
    claims = (
        Claim(kind="tests", report=tests, job="test", job_state=State.FAILED),
        Claim(kind="dependencies", report=scan, job="scan"),
    )
    skipped = JobRun(id="1", name="scan", stage="scan", state=State.SKIPPED)
    outcome, reasons = judge(GatePolicy(required={}), claims, Context(target="main", jobs=(skipped,)))
    assert outcome is Outcome.BLOCK
    assert reasons[0].gate == "tests"
    passing = b'<testsuite><testcase name="a"/></testsuite>'
    outcome, reasons = judge(
        GatePolicy(required={"*": ("tests", "dependencies")}),
        (Claim(kind="tests", report=passing),),
        Context(target="main"),
    )
    assert outcome is Outcome.BLOCK
    assert reasons[0].gate == "dependencies"
