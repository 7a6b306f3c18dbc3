"""The release `web@1.0.0`, in a real registry and ledger, which runs in production: what is verified and looked up again."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from aegis.adapters.secrets_file import FileSecretStore, identity_from_file
from aegis.adapters.signer_file import ARTIFACT, FileSigner
from aegis.bootstrap.notary import ServerNotary
from aegis.core.events import Record
from aegis.core.types import Artifact, ArtifactKind, Release
from aegis.delivery.context import Context
from aegis.gates.policy import GatePolicy
from aegis.notify.inbox import Inbox
from aegis.registry.manifest import IMAGE
from aegis.supplychain.options import KeylessRule
from support.clock import FakeClock
from support.ledgers import opened
from support.registry_doors import TokenDoors


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
        self.advisories, self.gates = b"", GatePolicy()
        signer, numbers = FileSigner(store, ARTIFACT), itertools.count(1)
        made = SimpleNamespace(
            world=self, images=self.doors.registry, append=self.append, subject=self.ledger.subject, registry="host",
            notary=ServerNotary(signer, lambda: self.rule, identify), signer=signer, ledger=self.ledger,
            blobs=self.doors.blobs, clock=FakeClock(), new_id=lambda: f"id-{next(numbers)}", options=self,
            adopted=SimpleNamespace(advisories=lambda: self.advisories), authorise=lambda *_, **__: None,
        )  # fmt: skip
        self.context = cast("Context", made)

    def read(self, choose: Callable[[Any], Any]) -> Any:
        cells = {"web/production": SimpleNamespace(release="web@1.0.0")} if self.runs else {}
        return choose(
            SimpleNamespace(
                cells=cells, promotions={}, releases={"web@1.0.0": SimpleNamespace(release=self.release)}
            )
        )  # fmt: skip

    def append(self, *drafts: Any) -> int:
        head = self.ledger.head().seq
        self.ledger.append(drafts)
        for record in self.ledger.read(after=head):
            self.inbox.apply(record)
        return self.ledger.head().seq

    def records(self) -> list[Record]:
        return list(self.ledger.read())
