from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from aegis.adapters.git_repository import GitRepository
from aegis.source.changelog import entry, prepend
from aegis.source.versions import Bump, decide_version, next_version, pep440, released
from support.repositories import bare, commits


@pytest.mark.parametrize(
    ("previous", "messages", "expected"),
    [
        ("1.2.3", ["fix: a"], "1.2.4"),
        ("1.2.3", ["perf(core): a"], "1.2.4"),
        ("1.2.3", ["fix: a", "feat(api): b", "docs: c"], "1.3.0"),
        ("1.2.3", ["feat!: a"], "2.0.0"),
        ("1.2.3", ["refactor(x)!: a"], "2.0.0"),
        ("1.2.3", ["fix: a\n\nmore\n\nBREAKING CHANGE: the name went"], "2.0.0"),
        ("1.2.3", ["fix: a\n\nBREAKING-CHANGE: the name went"], "2.0.0"),
        ("0.4.1", ["feat!: a"], "0.5.0"),
        ("0.4.1", ["fix: a"], "0.4.2"),
        ("0.4.1", ["chore: b\n\nRelease-As: 1.0.0", "feat: a"], "1.0.0"),
        (None, ["feat: a"], "0.1.0"),
        (None, ["fix: a"], "0.1.0"),
    ],
)
def test_commits_decide_the_release(previous: str | None, messages: list[str], expected: str) -> None:
    decision = next_version(commits(*messages), previous, release_branch=True)
    assert (decision.version, decision.release) == (expected, True)
    assert decision.reasons


@pytest.mark.parametrize(
    "messages", [["docs: a", "chore: b"], ["Merge branch 'x' into 'main'"], ["feature: no", "fix no"]]
)
def test_other_commits_release_nothing(messages: list[str]) -> None:
    decision = next_version(commits(*messages), "1.2.3", release_branch=True)
    assert not decision.release
    assert decision.version == f"1.2.4-dev.{len(messages)}"
    assert "nothing here asks for a release" in decision.reasons


def test_another_branch_gets_a_pre_release_of_what_would_come() -> None:
    decision = next_version(commits("feat: a", "fix: b", "docs: c"), "1.2.3", release_branch=False)
    assert (decision.version, decision.release, decision.bump) == ("1.3.0-dev.3", False, Bump.MINOR)
    assert pep440(decision.version) == "1.3.0.dev3"
    assert pep440("1.3.0") == "1.3.0"


def test_a_released_commit_keeps_its_version() -> None:
    decision = next_version((), "1.2.3", release_branch=True)
    assert (decision.version, decision.release) == ("1.2.3", False)


def test_a_commit_and_its_revert_cancel_each_other() -> None:
    messages = ["chore: r", "fix: a", "feat: b"]
    feature = commits(*messages)[2]
    messages[0] = f'Revert "feat: b"\n\nThis reverts commit {feature.commit}.'
    decision = next_version(commits(*messages), "1.2.3", release_branch=True)
    assert decision.version == "1.2.4"


def test_a_version_asked_for_below_the_last_one_is_not_released() -> None:
    decision = next_version(commits("fix: a\n\nRelease-As: 1.0.0"), "1.2.3", release_branch=True)
    assert not decision.release
    assert any("not above" in reason for reason in decision.reasons)


def test_release_tags_are_found_highest_first() -> None:
    tags = {
        "refs/tags/v1.9.0": "a",
        "refs/tags/v1.10.0": "b",
        "refs/tags/v2.0.0-rc.1": "c",
        "refs/tags/x": "d",
        "1.0.0": "e",
    }
    assert released(tags) == (("1.10.0", "b"), ("1.9.0", "a"), ("1.0.0", "e"))


def test_a_repository_decides_against_the_highest_tag_it_contains(tmp_path: Path) -> None:
    repository = GitRepository(bare(tmp_path / "r.git"))
    tips: list[str] = []
    for message in ("feat: one", "feat: two", "fix: three"):
        tips.append(
            repository.commit(
                "refs/heads/main", {"a": message.encode()}, message=message, author="A <a@b.test>",
                expect=tips[-1] if tips else None,
            )
        )  # fmt: skip
    assert decide_version(repository, "main", release_branch=True).version == "0.1.0"
    repository.set_ref("refs/tags/v1.0.0", tips[1], expect=None)
    other = repository.commit("refs/heads/other", {"a": b""}, message="feat: x", author="A <a@b.test>", expect=None)
    repository.set_ref("refs/tags/v9.0.0", other, expect=None)
    decision = decide_version(repository, "main", release_branch=True)
    assert (decision.version, decision.previous) == ("1.0.1", "1.0.0")
    assert decide_version(repository, tips[1], release_branch=True).version == "1.0.0"


def test_an_entry_groups_commits_and_shows_their_texts_literally() -> None:
    text = entry(
        "1.3.0",
        date(2026, 1, 2),
        commits("feat(api): add <b>orders</b>", "fix: a | b", "docs: no", "perf!: faster\n\nBREAKING CHANGE: gone"),
    )
    assert text.startswith("## 1.3.0 (2026-01-02)\n")
    assert "### Breaking changes\n\n- gone (00000004)" in text
    assert "### Features\n\n- **api:** add \\<b\\>orders\\</b\\> (00000001)" in text
    assert "### Fixes" in text
    assert "docs" not in text


def test_a_new_entry_goes_above_the_earlier_ones_and_only_once() -> None:
    new = entry("1.3.0", date(2026, 1, 2), commits("feat: a"))
    begun = prepend("", new)
    assert begun.startswith("# Changelog\n\n## 1.3.0")
    assert prepend(begun, new) == begun
    old = "# History\n\nWords.\n\n## [Unreleased]\n\n- x\n\n## [1.2.0] - 2025\n\n- y\n"
    grown = prepend(old, new)
    assert grown.index("Unreleased") < grown.index("## 1.3.0") < grown.index("## [1.2.0]")
    assert prepend("# History\n", new).startswith("# History\n\n## 1.3.0")
