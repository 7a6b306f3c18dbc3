"""What runs is verified again: once distrusted, quarantined; a registry that cannot be read is no verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aegis.core.errors import AegisError, Denied, ExternalError
from aegis.core.events import ArtifactQuarantined, Draft
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
    """Two environments that run one release."""

    drafts: list[Draft] = field(default_factory=list)

    def read(self, choose: Callable[[Any], Any]) -> Any:
        cells = {name: SimpleNamespace(release="web@1.0.0") for name in ("web/staging", "web/production")}
        cells["web/development"] = SimpleNamespace(release=None)  # type: ignore[assignment]
        return choose(
            SimpleNamespace(cells=cells, releases={"web@1.0.0": SimpleNamespace(release=release("web@1.0.0"))})
        )

    def append(self, *drafts: Draft) -> None:
        self.drafts += drafts


@pytest.mark.parametrize(
    ("error", "quarantined"),
    [
        (None, False),
        (Denied("unsigned", "nothing lies beside it"), True),
        (Denied("bad-signature", "another key"), True),
        (Denied("quarantined", "it is already"), False),
        (ExternalError("registry", "the disk is gone"), False),
    ],
)
def test_an_image_that_cannot_be_trusted_any_more_is_quarantined(
    monkeypatch: pytest.MonkeyPatch, error: AegisError | None, *, quarantined: bool
) -> None:
    asked: list[str] = []

    def deployable(_: Context, one: Release) -> None:
        asked.append(one.id)
        if error is not None:
            raise error

    monkeypatch.setattr(trust, "deployable", deployable)
    world = World()
    context = cast("Context", SimpleNamespace(world=world, append=world.append))
    assert Verifier(context, Reporter(), pause=7.0).round() == 7.0
    assert asked == ["web@1.0.0"]
    assert [type(one.data) for one in world.drafts] == ([ArtifactQuarantined] if quarantined else [])
