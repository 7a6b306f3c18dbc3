"""Doors for tests: two tokens, one that may do everything and one that may only read; nobody else gets in."""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.adapters.registry_sqlite import SqliteImages, SqliteIndexes
from aegis.adapters.turns_memory import MemoryPins, MemoryTurns
from aegis.adapters.uploads_directory import DirectoryUploads
from aegis.core.errors import Denied
from aegis.delivery.entrance import ChartView
from aegis.registry.charts import Charts
from aegis.registry.image_mirror import ImageMirror
from aegis.registry.oci import OciRegistry
from aegis.registry.options import ImageMirrorRule, RegistryOptions
from aegis.registry.package_mirror import PackageMirror
from aegis.registry.pypi import PackageIndexes
from support.clock import FakeClock

WRITER = f"writer-{secrets.token_hex(8)}"
READER = f"reader-{secrets.token_hex(8)}"


@dataclass(frozen=True)
class TestGrant:
    __test__ = False
    actor: str
    anonymous: bool = False


@dataclass(frozen=True)
class TestIssued:
    __test__ = False
    token: str
    seconds: int
    issued_at: datetime


class DoorsHolder:
    """Lets one live server serve the doors of one test after the other."""

    def __init__(self) -> None:
        self.doors: TokenDoors | None = None

    def __call__(self) -> Any:
        assert self.doors is not None
        return self.doors


class TokenDoors:
    def __init__(self, path: Path, **options: Any) -> None:
        self.blobs = DirectoryBlobs(path / "blobs")
        self.images = SqliteImages(path / "registry.db")
        self.store = SqliteIndexes(path / "registry.db")
        self.asked: list[list[tuple[str, list[str]]]] = []
        self.pushed: list[tuple[str, str, str | None, str]] = []
        self.clock = FakeClock()
        self.egress: Any = None
        self.mirrors: dict[str, ImageMirrorRule] = {}
        pins = MemoryPins()
        self.registry = OciRegistry(
            pins=pins,
            mirror=ImageMirror(
                egress=lambda: self.egress,
                images=self.images,
                blobs=self.blobs,
                clock=self.clock,
                rules=lambda: self.mirrors,
                turns=MemoryTurns(),
                credential=lambda reference: READER if reference == "$AEGIS_REGISTRY_HUB" else "",
            ),
            blobs=self.blobs,
            images=self.images,
            uploads=DirectoryUploads(path / "uploads", self.blobs),
            on_manifest=lambda *what: self.pushed.append(what),
            **options,
        )
        self.options = RegistryOptions()
        mirror = PackageMirror(
            egress=lambda: self.egress, store=self.store, blobs=self.blobs, clock=self.clock, turns=MemoryTurns(),
            credential=lambda reference: READER if reference == "$AEGIS_REGISTRY_HUB" else "",
        )  # fmt: skip
        self.indexes = PackageIndexes(
            blobs=self.blobs,
            store=self.store,
            clock=self.clock,
            options=lambda: self.options,
            mirror=mirror,
            pins=pins,
        )

    def close(self) -> None:
        self.images.close()
        self.store.close()

    def authenticate(self, authorization: str | None) -> TestGrant:
        if authorization is None:
            return TestGrant("anonymous", anonymous=True)
        kind, _, value = authorization.partition(" ")
        token = value
        if kind.lower() == "basic":
            try:
                token = base64.b64decode(value, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                token = ""
        actors = {WRITER: "writer", READER: "reader"}
        if token not in actors:
            raise Denied("token", "this token is not known")
        return TestGrant(actors[token])

    def registry_token(self, authorization: str | None, wanted: Any) -> Any:
        grant = self.authenticate(authorization)
        if grant.anonymous:
            raise Denied("token", "a token is needed")
        token = {"writer": WRITER, "reader": READER}[grant.actor]
        self.asked.append([(name, sorted(actions)) for name, actions in wanted])
        return TestIssued(token, 300, datetime(2026, 1, 5, tzinfo=UTC))

    def oci(self, grant: Any, repository: str, actions: frozenset[Any]) -> Any:
        if grant.actor != "writer" and not (grant.actor == "reader" and actions <= {"pull"}):
            raise Denied("oci-denied", f"{grant.actor} may not {', '.join(sorted(actions))}")
        return self.registry.repository(repository, actor=grant.actor, actions=actions)

    def charts(self, grant: Any) -> Any:
        if grant.anonymous:
            raise Denied("token", "a token is needed")
        return ChartView(Charts(self.registry), lambda name: grant.actor == "writer" or not name.startswith("secret/"))

    def pypi(self, grant: Any, index: str, action: Any) -> Any:
        if grant.actor != "writer" and not (grant.actor == "reader" and action == "read"):
            raise Denied("index-denied", f"{grant.actor} may not {action}")
        return self.indexes.index(index, actor=grant.actor, actions=frozenset({action}))
