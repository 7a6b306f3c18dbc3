"""R7.3: what runs is verified again, with the real registry, signer and ledger; one entry in the inbox tells of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aegis.adapters.secrets_file import FileSecretStore, identity_from_file
from aegis.adapters.signer_file import ARTIFACT, FileSigner
from aegis.bootstrap.notary import ServerNotary
from aegis.core.errors import ExternalError, NotFound
from aegis.core.events import ArtifactQuarantined, Record
from aegis.core.types import Artifact, ArtifactKind, Release
from aegis.daemon.loops import Reporter
from aegis.daemon.verifier import Verifier
from aegis.delivery.context import Context
from aegis.delivery.handlers import trust
from aegis.notify.inbox import Inbox
from aegis.registry.manifest import IMAGE
from aegis.supplychain.options import KeylessRule
from aegis.supplychain.signing import signature_tag
from support.ledgers import opened
from support.registry_doors import TokenDoors
from support.sigstore_simulator import Sigstore, sigstore


class Running:
    """The release `web@1.0.0`, signed in a real registry, which runs in production."""

    def __init__(
        self, path: Path, rule: KeylessRule | None = None, identify: Callable[[KeylessRule], str] = str
    ) -> None:
        self.doors = TokenDoors(path / "registry")
        self.ledger = opened(path)
        self.inbox = Inbox()
        self.runs = True
        data = path / "data"
        store = FileSecretStore(data, identity_from_file(path / "keys" / "identity.txt", data=data))
        self.repository = self.doors.registry.repository("team/web", actor="test")
        config = {"mediaType": "x/config", "digest": self.repository.put_blob(b"{}"), "size": 2}
        body = json.dumps({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": []}).encode()
        self.digest = self.repository.put_manifest("1.0.0", IMAGE, body).digest
        image = Artifact(
            digest=self.digest, kind=ArtifactKind.IMAGE, name="web", version="1.0.0", project="team/web",
            commit="c" * 40, run="r", job="j", repository="team/web",
        )  # fmt: skip
        self.release = Release(
            id="web@1.0.0", project="team/web", service="web", version="1.0.0", commit="c" * 40,
            ref="refs/heads/main", run="r", verdict="v", artifacts=(image,), evidence=(),
        )  # fmt: skip
        self.rule, self.image = rule, image
        made = SimpleNamespace(
            world=self, images=self.doors.registry, append=self.append, subject=self.ledger.subject, registry="host",
            notary=ServerNotary(FileSigner(store, ARTIFACT), lambda: self.rule, identify),
        )  # fmt: skip
        self.context = cast("Context", made)

    def read(self, choose: Callable[[Any], Any]) -> Any:
        cells = {"web/production": SimpleNamespace(release="web@1.0.0")} if self.runs else {}
        return choose(
            SimpleNamespace(cells=cells, releases={"web@1.0.0": SimpleNamespace(release=self.release)})
        )  # fmt: skip

    def append(self, *drafts: Any) -> int:
        head = self.ledger.head().seq
        self.ledger.append(drafts)
        for record in self.ledger.read(after=head):
            self.inbox.apply(record)
        return self.ledger.head().seq

    def records(self) -> list[Record]:
        return list(self.ledger.read())


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
