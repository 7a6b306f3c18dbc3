"""A published package is yanked and taken back, and goes from one index into another; the quarantine is the verdict's."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aegis.core.errors import Denied, NotFound
from aegis.core.events import Draft, PackagePromoted, PackageYanked
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import SYSTEM, Asking
from aegis.delivery.handlers.packages import promote, yank
from support.registry_doors import TokenDoors
from support.tiny_packages import wheel

ASKING = Asking(actor=SYSTEM)
DRY = Asking(actor=SYSTEM, dry_run=True)
NAME, DATA = wheel()


@dataclass
class Server:
    doors: TokenDoors
    drafts: list[Draft] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def context(self) -> Context:
        return cast(
            "Context",
            SimpleNamespace(packages=self.doors.indexes, authorise=self._authorise, append=self._append),
        )

    def _authorise(self, _: Any, action: str, **__: Any) -> None:
        self.asked.append(action)

    def _append(self, *drafts: Draft) -> int:
        self.drafts += drafts
        return len(self.drafts)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    doors = TokenDoors(tmp_path)
    doors.indexes.index("staging", actor="test").upload({}, NAME, io.BytesIO(DATA))
    yield Server(doors)
    doors.close()


def test_a_file_is_yanked_with_a_reason_and_taken_back(server: Server) -> None:
    command = ask.YankPackage(index="staging", filename=NAME, reason="loses orders")
    yank(server.context, command, DRY)
    assert server.doors.store.file("staging", NAME).yanked is None  # type: ignore[union-attr]
    yank(server.context, command, ASKING)
    assert server.doors.store.file("staging", NAME).yanked == "loses orders"  # type: ignore[union-attr]
    yank(server.context, ask.YankPackage(index="staging", filename=NAME, back=True), ASKING)
    assert server.doors.store.file("staging", NAME).yanked is None  # type: ignore[union-attr]
    assert [type(one.data) for one in server.drafts] == [PackageYanked, PackageYanked]
    assert set(server.asked) == {"yank-package"}
    with pytest.raises(NotFound):
        yank(server.context, ask.YankPackage(index="staging", filename="other-1.0-py3-none-any.whl"), ASKING)


def test_a_file_goes_from_staging_into_the_index_that_others_install_from(server: Server) -> None:
    command = ask.PromotePackage(source="staging", target="shop", filename=NAME)
    promote(server.context, command, DRY)
    assert server.doors.store.file("shop", NAME) is None
    for _ in range(2):
        promote(server.context, command, ASKING)
    before, after = (server.doors.store.file(index, NAME) for index in ("staging", "shop"))
    assert before is not None
    assert after is not None
    assert before.digest == after.digest
    assert isinstance(server.drafts[0].data, PackagePromoted)
    with pytest.raises(NotFound):
        promote(server.context, ask.PromotePackage(source="shop", target="x", filename="no-1-py3-none-any.whl"), ASKING)


@pytest.mark.parametrize(("source", "target"), [("quarantine", "shop"), ("staging", "quarantine")])
def test_what_is_under_test_leaves_by_its_verdict_alone(server: Server, source: str, target: str) -> None:
    with pytest.raises(Denied, match="verdict"):
        promote(server.context, ask.PromotePackage(source=source, target=target, filename=NAME), ASKING)
    assert not server.drafts
