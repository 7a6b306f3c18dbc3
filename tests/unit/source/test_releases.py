from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from aegis.adapters.git_repository import GitRepository
from aegis.core.events import ChangePushed, MergeRequestMerged, Record
from aegis.core.types import Change
from aegis.source.branches import RefUpdate
from aegis.source.changes import brought, changes_of
from aegis.source.releases import cut, involvement
from aegis.source.versions import next_version
from support.repositories import bare, commits

MAIN = "refs/heads/main"
ADA = "Ada Example <ada@example.test>"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(data: object, *, kind: str = "x", actor: str = "server") -> Record:
    return Record(
        seq=1, id="i", recorded_at=NOW, recorded_by="s", actor=actor, project="shop/orders", service="", environment="",
        type=kind, version=1, subject="s", subject_version=1, cause="", data_digest="", prev="", hash="", data=data,
    )  # fmt: skip


def pushed(commit: str, by: str, before: str | None = None) -> Record:
    change = Change(
        id="c", project="shop/orders", ref="refs/heads/main", commit=commit, before=before, author_name="", author_email="",
        pushed_by=by, message="", changed=(), at=NOW,
    )  # fmt: skip
    return record(ChangePushed(change=change))


def test_a_release_is_cut_with_tag_and_changelog() -> None:
    listed = commits("feat: a")
    found = cut(next_version(listed, "1.0.0", release_branch=True), listed, date(2026, 1, 1))
    assert found is not None
    assert (found.tag, found.version) == ("v1.1.0", "1.1.0")
    assert "### Features" in found.changelog
    assert cut(next_version(listed, "1.0.0", release_branch=False), listed, date(2026, 1, 1)) is None


def test_pushers_mergers_and_authors_are_involved_and_strangers_are_named() -> None:
    listed = commits("feat: a", "fix: b\n\nCo-authored-by: Eve <eve@nowhere.test>")
    found = involvement(
        "shop/orders",
        [
            pushed(listed[0].commit, "bob"),
            pushed("f" * 40, "not-in-it"),
            record(MergeRequestMerged(number=1, commit=listed[1].commit, merged_by="rita")),
            record(None, kind="aegis.change.pushed", actor="erased"),
        ],
        listed,
        identity_of={"ada@example.test": "ada"}.get,
    )
    assert found.involved == ("ada", "bob", "erased", "rita")
    assert found.unmapped == ("Eve <eve@nowhere.test>",)


def test_who_pushed_a_commit_below_a_later_head_is_involved_too() -> None:
    listed = commits("feat: a", "fix: b")
    found = involvement(
        "shop/orders",
        [pushed("e" * 40, "bob")],
        listed,
        identity_of=lambda _email: "ada",
        brought=lambda _change: [listed[1].commit],
    )
    assert found.involved == ("ada", "bob")


def test_refs_that_moved_become_changes_with_what_they_touch(tmp_path: Path) -> None:
    repository = GitRepository(bare(tmp_path / "r.git"))
    one = repository.commit(MAIN, {"a": b"1", "b": b"1"}, message="feat: one\n", author=ADA, expect=None)
    repository.set_ref("refs/heads/topic", one, expect=None)
    two = repository.commit("refs/heads/topic", {"b": b"2"}, message="fix: two", author=ADA, expect=one)
    names = iter(range(9))
    found = changes_of(
        repository,
        [
            RefUpdate(ref=MAIN, old=None, new=one),
            RefUpdate(ref="refs/heads/topic", old=None, new=two),
            RefUpdate(ref="refs/heads/gone", old=one, new=None),
            RefUpdate(ref="refs/tags/v1.0.0", old=None, new=two),
            RefUpdate(ref="refs/heads/topic", old=one, new=two),
            RefUpdate(ref="refs/heads/topic", old="d" * 40, new=two),
        ],
        project="shop/orders",
        identity="ada",
        at=NOW,
        new_id=lambda: str(next(names)),
    )
    assert [(one.ref, one.changed, one.source) for one in found] == [
        (MAIN, ("a", "b"), "push"),
        ("refs/heads/topic", ("b",), "push"),
        ("refs/tags/v1.0.0", ("b",), "tag"),
        ("refs/heads/topic", ("b",), "push"),
        ("refs/heads/topic", ("a", "b"), "push"),
    ]
    assert (found[0].message, found[0].author_email, found[0].pushed_by) == ("feat: one", "ada@example.test", "ada")
    assert [one.commit for one in brought(repository, found[3])] == [two]
    assert [one.commit for one in brought(repository, found[4])] == [two, one]
