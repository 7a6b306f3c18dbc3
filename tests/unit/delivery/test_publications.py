"""Releases that jobs ask for: the tag with the rights of who started the run, texts expanded, never twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aegis.access.identities import Identity
from aegis.adapters.git_repository import GitRepository
from aegis.core import events
from aegis.core.errors import Conflict, Denied, UserError
from aegis.core.plan import ReleaseSpec, Variable
from aegis.core.types import PublishedRelease, State, StoredFile
from aegis.delivery import commands as ask
from aegis.delivery.dispatch import SYSTEM, Asking
from aegis.delivery.flow import follow
from aegis.delivery.handlers.publications import publish
from aegis.delivery.options import Options, ProjectOptions
from aegis.execution.runners import JobResult, Runner
from aegis.source.branches import ProtectedTag
from support.execution import PROJECT, Engine, job

RUNNER = Runner(name="one", isolation="namespaces")
LINK = {"name": "The file", "url": "https://files.example/$VERSION"}
WISH = ReleaseSpec(
    tag_name="v$VERSION",
    description="$VERSION of $CI_PROJECT_NAME",
    name="Release $VERSION",
    milestones=("m1",),
    links=(LINK,),
)


class _World:
    """An engine over a real repository; who starts its runs is `dev`."""

    def __init__(self, root: Path) -> None:
        self.engine = Engine(root, files={"README.md": "# orders\n", "NOTES.md": "What is new\n"})
        self.repository = GitRepository(root / "data" / "repo.git")
        self.dev = Identity(id="dev", name="Dev", emails=("dev@team.example",), groups=frozenset({"developers"}))
        self.options = Options(projects={PROJECT: ProjectOptions(name=PROJECT, kind="service")}, tags=())
        access = SimpleNamespace(options=SimpleNamespace(developers=("developers",)))
        directory = SimpleNamespace(by_id=lambda name: self.dev if name == "dev" else None)
        self.made = 0
        self.context = cast(
            "Any",
            SimpleNamespace(
                engine=self.engine.coordinator, ledger=self.engine.ledger, clock=self.engine.clock,
                blobs=self.engine.blobs, options=self.options, adopted=SimpleNamespace(access=access, directory=directory),
                repository=lambda _: self.repository, subject=self.engine.ledger.subject, new_id=self._new_id,
                append=lambda *drafts, expect=None: self.engine.ledger.append(drafts, expect=expect)[-1].seq,
            ),
        )  # fmt: skip

    def _new_id(self) -> str:
        self.made += 1
        return f"01id{self.made:022d}"

    def run(self, wish: ReleaseSpec, state: State = State.SUCCESS) -> list[Any]:
        """Carry out a job with a release; the commands that follow."""
        since = self.engine.ledger.head().seq
        names = (Variable(key="CI_PROJECT_NAME", value="orders"), Variable(key="TOKEN", value="hidden", masked=True))
        self.engine.submit(job("release", "true", release=wish, variables=names))
        taken = self.engine.coordinator.acquire(RUNNER)
        assert taken is not None
        report = b"VERSION=1.2.0\n"
        file = StoredFile(name="dotenv", kind="dotenv", digest=self.engine.blobs.put(report), size=len(report))
        failed = "script_failure" if state is State.FAILED else ""
        self.engine.coordinator.finish(
            taken.job.id, JobResult(state=state, failure_reason=failed, files=(file,), exit_code=0)
        )
        found = [one for record in self.engine.ledger.read(after=since, limit=100) for one in follow(record)]
        return [one for one in found if isinstance(one, ask.PublishRelease)]

    def publish(self, wish: ReleaseSpec = WISH) -> None:
        for one in self.run(wish):
            publish(self.context, one, Asking(actor=SYSTEM))

    def releases(self) -> list[PublishedRelease]:
        records = self.engine.ledger.read(after=0, limit=1000)
        return [one.data.release for one in records if isinstance(one.data, events.ReleasePublished)]

    def tags(self) -> dict[str, str]:
        return {name.removeprefix("refs/tags/"): at for name, at in self.repository.refs("refs/tags/").items()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[_World]:
    made = _World(tmp_path)
    yield made
    made.engine.close()


def test_the_tag_is_made_and_the_release_says_what_was_asked_for(world: _World) -> None:
    world.publish()
    assert world.tags()["v1.2.0"] == world.engine.commit
    (made,) = world.releases()
    assert (made.tag, made.name, made.description, made.by) == ("v1.2.0", "Release 1.2.0", "1.2.0 of orders", "dev")
    assert made.links == ({"name": "The file", "url": "https://files.example/1.2.0"},)
    assert made.milestones == ("m1",)
    pushed = [one for one in world.engine.ledger.read(after=0, limit=1000) if isinstance(one.data, events.ChangePushed)]
    assert [(one.data.change.ref, one.actor) for one in pushed] == [("refs/tags/v1.2.0", "dev")]


def test_a_message_makes_an_annotated_tag(world: _World) -> None:
    world.publish(ReleaseSpec(tag_name="v2", tag_message="The second of $CI_PROJECT_NAME"))
    found = world.repository._run("cat-file", "tag", "refs/tags/v2").out.decode()
    assert "tagger Dev <dev@team.example>" in found
    assert found.endswith("The second of orders\n")
    assert world.repository.resolve("refs/tags/v2") == world.engine.commit


def test_a_failed_job_releases_nothing(world: _World) -> None:
    assert world.run(WISH, State.FAILED) == []


def test_asked_twice_it_is_made_once_and_another_run_meets_a_conflict(world: _World) -> None:
    (first,) = world.run(WISH)
    for _ in range(2):
        publish(world.context, first, Asking(actor=SYSTEM))
    assert len(world.releases()) == 1
    with pytest.raises(Conflict, match="already"):
        world.publish()


def test_a_tag_that_exists_is_released_as_it_is(world: _World) -> None:
    world.publish(ReleaseSpec(tag_name="v1.0.0", description="./NOTES.md"))
    (made,) = world.releases()
    assert (made.commit, made.description) == (world.repository.resolve("refs/tags/v1.0.0"), "What is new\n")


def test_protected_tags_and_strangers_are_refused(world: _World) -> None:
    world.options = world.context.options = Options(
        projects=world.options.projects, tags=(ProtectedTag(pattern="v*", create=("managers",)),)
    )
    with pytest.raises(Denied):
        world.publish()
    world.dev = Identity(id="dev", name="Dev", emails=(), groups=frozenset({"guests"}))
    with pytest.raises(Denied, match="may not push"):
        world.publish(ReleaseSpec(tag_name="other"))
    assert set(world.tags()) == {"v1.0.0"}
    assert world.releases() == []


def test_a_name_that_nobody_knows_and_secrets_name_no_tag(world: _World) -> None:
    for name in ("v$NOBODY", "v$TOKEN", ""):
        with pytest.raises(UserError, match="names no tag"):
            world.publish(ReleaseSpec(tag_name=name))
