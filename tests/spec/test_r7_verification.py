"""R7.3: what runs is verified again, with the real registry, signer and ledger; one entry in the inbox tells of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aegis.core.errors import ExternalError, NotFound
from aegis.core.events import ArtifactQuarantined
from aegis.daemon.loops import Reporter
from aegis.daemon.verifier import Verifier
from aegis.delivery.handlers import trust
from aegis.supplychain.options import KeylessRule
from aegis.supplychain.signing import signature_tag
from support.running_release import Running
from support.sigstore_simulator import Sigstore, sigstore


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    trust.sign_image(made.context, made.repository, made.image)
    yield made
    made.doors.close()
    made.ledger.close()


def test_r7_3_a_signature_that_is_gone_is_found_quarantined_and_told_once(running: Running) -> None:
    verifier = Verifier(running.context, Reporter())
    verifier.round()
    assert running.records() == []
    running.repository.delete_manifest(signature_tag(running.digest))
    for _ in range(3):
        verifier.round()
    Verifier(running.context, Reporter()).round()  # a server that was started again
    (entry,) = running.inbox.entries()
    assert (entry.title, entry.count, entry.severity) == ("inbox.distrusted", 1, "critical")
    assert entry.params == {"release": "web@1.0.0", "code": "unsigned"}
    assert entry.link == "/releases/web@1.0.0"
    quarantined = [one.data.digest for one in running.records() if isinstance(one.data, ArtifactQuarantined)]
    assert quarantined == [running.digest]
    running.runs = False
    Verifier(running.context, Reporter()).round()
    assert running.inbox.entries() == ()


def test_r7_3_with_a_sigstore_an_identity_signs_and_nothing_is_signed_otherwise_while_it_is_away(
    tmp_path: Path,
) -> None:
    with sigstore("https://aegis.example.org") as log:
        log.claims = lambda token: {"sub": token, "iss": "https://aegis.example.org"}  # type: ignore[method-assign]
        rule = KeylessRule(
            fulcio=log.url, rekor=log.url, identity="https://aegis.example.org/signer", issuer="https://aegis.example.org",
            authorities=log.authorities, log_key=log.log_key, certificate_log_key=log.certificate_log_key,
            private=(log.url.removeprefix("http://"),),
        )  # fmt: skip
        made = Running(tmp_path, rule, lambda rule: rule.identity)
        log.down = True
        with pytest.raises(ExternalError, match="503"):
            trust.sign_image(made.context, made.repository, made.image)
        with pytest.raises(NotFound):
            made.repository.manifest(signature_tag(made.digest))
        log.down = False
        assert trust.sign_image(made.context, made.repository, made.image).key == rule.name
        Verifier(made.context, Reporter()).round()
        assert made.records() == []
        # Somebody declares another log: what runs is not what it vouches for.
        made.rule = replace(rule, log_key=Sigstore().log_key)
        Verifier(made.context, Reporter()).round()
        assert [one.data.digest for one in made.records() if isinstance(one.data, ArtifactQuarantined)] == [made.digest]
        made.doors.close()
        made.ledger.close()
