"""What runs is verified again: once distrusted, quarantined, and told once; a registry that cannot be read is no verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aegis.core.errors import AegisError, Denied, ExternalError
from aegis.core.events import ActionCompleted, ActionFailed, ArtifactQuarantined, Draft
from aegis.core.types import Artifact, ArtifactKind, Release
from aegis.daemon.loops import Reporter
from aegis.daemon.verifier import Verifier
from aegis.delivery.context import Context
from aegis.delivery.handlers import trust

DIGEST = "sha256:" + "a" * 64


def release(name: str) -> Release:
    image = Artifact(
        digest=DIGEST, kind=ArtifactKind.IMAGE, name="web", version="1.0.0", project="team/web", commit="c" * 40, run="r",
        job="j", repository="team/web",
    )  # fmt: skip
    return Release(
        id=name, project="team/web", service="web", version="1.0.0", commit="c" * 40, ref="refs/heads/main", run="r",
        verdict="v", artifacts=(image,), evidence=(),
    )  # fmt: skip


@dataclass
class World:
    """Two environments that run one release, until it runs nowhere; what is appended can be read again."""

    drafts: list[Draft] = field(default_factory=list)
    runs: bool = True
    error: AegisError | None = None
    asked: list[str] = field(default_factory=list)

    def read(self, choose: Callable[[Any], Any]) -> Any:
        names = ("web/staging", "web/production") if self.runs else ()
        cells: dict[str, Any] = {name: SimpleNamespace(release="web@1.0.0") for name in names}
        cells["web/development"] = SimpleNamespace(release=None)
        return choose(
            SimpleNamespace(cells=cells, releases={"web@1.0.0": SimpleNamespace(release=release("web@1.0.0"))})
        )

    def append(self, *drafts: Draft) -> None:
        self.drafts += drafts

    def subject(self, name: str) -> tuple[Draft, ...]:
        return tuple(one for one in self.drafts if one.subject == name)

    def deployable(self, _: Context, one: Release) -> None:
        self.asked.append(one.id)
        if self.error is not None:
            raise self.error

    def verifier(self) -> Verifier:
        context = SimpleNamespace(world=self, append=self.append, subject=self.subject)
        return Verifier(cast("Context", context), Reporter(), pause=7.0)

    @property
    def kinds(self) -> list[type]:
        return [type(one.data) for one in self.drafts]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(trust, "deployable", made.deployable)
    return made


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        (None, []),
        (Denied("unsigned", "nothing lies beside it"), [ActionFailed, ArtifactQuarantined]),
        (Denied("bad-signature", "another key"), [ActionFailed, ArtifactQuarantined]),
        (Denied("quarantined", "it is already"), []),
        (ExternalError("registry", "the disk is gone"), [ActionFailed]),
    ],
)
def test_an_image_that_cannot_be_trusted_any_more_is_quarantined(
    world: World, error: AegisError | None, kinds: list[type]
) -> None:
    world.error = error
    assert world.verifier().round() == 7.0
    assert world.asked == ["web@1.0.0"]
    assert world.kinds == kinds


def test_what_goes_on_is_told_once_and_settled_when_it_ends(world: World) -> None:
    verifier = world.verifier()
    world.error = ExternalError("registry", "the disk is gone")
    verifier.round()
    verifier.round()
    world.verifier().round()  # after a restart
    assert world.kinds == [ActionFailed]
    world.error = Denied("unsigned", "nothing lies beside it")
    verifier.round()
    assert world.kinds == [ActionFailed, ActionFailed, ArtifactQuarantined]
    world.error = Denied("quarantined", "it is already")
    verifier.round()
    assert len(world.drafts) == 3
    world.runs = False
    again = world.verifier()
    again.round()
    again.round()
    assert world.kinds[3:] == [ActionCompleted]


def test_a_registry_that_can_be_read_again_settles_it(world: World) -> None:
    verifier = world.verifier()
    world.error = ExternalError("registry", "the disk is gone")
    verifier.round()
    world.error = None
    verifier.round()
    verifier.round()
    assert world.kinds == [ActionFailed, ActionCompleted]
