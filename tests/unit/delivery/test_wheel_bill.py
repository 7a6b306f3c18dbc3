"""A released wheel has a bill of materials: its own metadata, versions of the commit's lock, signed by the server."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cyclonedx.model.bom import Bom

from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.adapters.secrets_file import FileSecretStore, identity_from_file
from aegis.adapters.signer_file import ARTIFACT, FileSigner
from aegis.core.errors import Denied, NotFound
from aegis.core.ids import sha256
from aegis.core.types import Artifact, ArtifactKind, Run
from aegis.delivery.context import Context
from aegis.delivery.handlers.attestations import describe_wheel
from aegis.delivery.queries.dossier import _wheel
from aegis.supplychain.signing import verify_evidence

METADATA = b"""Metadata-Version: 2.4
Name: shared
Version: 1.2.0
License-Expression: MIT
Requires-Dist: Starlette>=1
Requires-Dist: h11
Requires-Dist: rich; extra == "shell"
"""
LOCK = f"starlette==1.0.1 --hash=sha256:{'1' * 64}\nrich==9.9 --hash=sha256:{'2' * 64}\n"


class Repository:
    """One commit with a lock, or none."""

    def __init__(self, lock: str) -> None:
        self._lock = lock

    def read(self, _: str, path: str) -> bytes:
        if path != "requirements.lock" or not self._lock:
            raise NotFound("path", path)
        return self._lock.encode()

    def log(self, _: str, *, limit: int) -> list[Any]:
        return [SimpleNamespace(authored_at=datetime(2026, 1, 2, tzinfo=UTC))][:limit]


@pytest.mark.parametrize("lock", [LOCK, ""])
def test_what_a_wheel_needs_is_told_with_the_versions_of_the_lock(tmp_path: Path, lock: str) -> None:
    data = tmp_path / "data"
    store = FileSecretStore(data, identity_from_file(tmp_path / "keys" / "identity.txt", data=data))
    made = SimpleNamespace(
        blobs=DirectoryBlobs(tmp_path / "blobs"), signer=FileSigner(store, ARTIFACT), new_id=lambda: "one",
        repository=lambda _: Repository(lock),
    )  # fmt: skip
    context = cast("Context", made)
    artifact = Artifact(
        digest=sha256(b"the wheel"), kind=ArtifactKind.WHEEL, name="shared", version="1.2.0", project="team/shared",
        commit="c" * 40, run="r", job="j", repository="team", filename="shared-1.2.0-py3-none-any.whl",
    )  # fmt: skip
    run = Run(
        id="r", project="team/shared", ref="refs/heads/main", commit="c" * 40, plan="", change="", source="push",
        started_by="mina",
    )  # fmt: skip
    evidence = describe_wheel(context, artifact, METADATA, run)
    bill = json.loads(made.blobs.get(evidence.digest))
    assert bill["metadata"]["component"]["hashes"][0]["content"] == artifact.digest.removeprefix("sha256:")
    assert bill["metadata"]["component"]["licenses"] == [{"expression": "MIT"}]
    found = {one["name"]: one for one in bill["components"]}
    assert set(found) == {"Starlette", "h11"}
    assert found["Starlette"].get("version") == ("1.0.1" if lock else None)
    assert found["h11"]["purl"] == "pkg:pypi/h11"
    Bom.from_json(bill).validate()  # type: ignore[attr-defined]
    shown = _wheel(context, evidence)
    assert shown.needs == (("h11", "Starlette 1.0.1") if lock else ("h11", "Starlette"))
    assert shown.sbom == evidence.digest
    other = FileSecretStore(
        tmp_path / "b", identity_from_file(tmp_path / "other" / "identity.txt", data=tmp_path / "b")
    )
    with pytest.raises(Denied):
        verify_evidence(FileSigner(other, ARTIFACT).public_key(), evidence)
